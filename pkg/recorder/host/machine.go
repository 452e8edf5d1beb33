package host

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	psutil "github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
	"github.com/shirou/gopsutil/v4/process"
	"github.com/shirou/gopsutil/v4/sensors"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// machine has all collectors. Each runs by itself: if one hangs, as a network file
// system can, only its own samples are lost.
var machine = []collector{
	{"cpu", collectCPU},
	{"load", collectLoad},
	{"memory", collectMemory},
	{"swap", collectSwap},
	{"filesystem", collectFilesystems},
	{"disk", collectDisks},
	{"network", collectNetwork},
	{"temperature", collectTemperatures},
	{"uptime", collectUptime},
	{"processes", collectProcesses},
}

// metrics describes the metrics of all collectors.
var metrics = map[string]recorder.Metadata{
	"node_cpu_seconds_total":              counter("seconds", "Seconds that each CPU spent in each mode."),
	"node_load1":                          gauge("", "1m load average."),
	"node_load5":                          gauge("", "5m load average."),
	"node_load15":                         gauge("", "15m load average."),
	"node_memory_MemTotal_bytes":          gauge("bytes", "Memory of the machine."),
	"node_memory_MemFree_bytes":           gauge("bytes", "Memory that nothing uses."),
	"node_memory_MemAvailable_bytes":      gauge("bytes", "Memory that programs can have without swapping."),
	"node_memory_Buffers_bytes":           gauge("bytes", "Memory that buffers file system metadata."),
	"node_memory_Cached_bytes":            gauge("bytes", "Memory that caches files."),
	"node_memory_SReclaimable_bytes":      gauge("bytes", "Memory of the kernel that can be reclaimed."),
	"node_memory_SwapTotal_bytes":         gauge("bytes", "Swap space."),
	"node_memory_SwapFree_bytes":          gauge("bytes", "Swap space that nothing uses."),
	"node_filesystem_size_bytes":          gauge("bytes", "Size of the file system."),
	"node_filesystem_free_bytes":          gauge("bytes", "Free space of the file system, also for root alone."),
	"node_filesystem_avail_bytes":         gauge("bytes", "Space of the file system that any user can have."),
	"node_filesystem_files":               gauge("", "File nodes of the file system."),
	"node_filesystem_files_free":          gauge("", "Free file nodes of the file system."),
	"node_disk_read_bytes_total":          counter("bytes", "Bytes read from the disk."),
	"node_disk_written_bytes_total":       counter("bytes", "Bytes written to the disk."),
	"node_disk_reads_completed_total":     counter("", "Reads that the disk completed."),
	"node_disk_writes_completed_total":    counter("", "Writes that the disk completed."),
	"node_disk_io_time_seconds_total":     counter("seconds", "Seconds that the disk spent on reads and writes."),
	"node_network_receive_bytes_total":    counter("bytes", "Bytes that the network device received."),
	"node_network_transmit_bytes_total":   counter("bytes", "Bytes that the network device sent."),
	"node_network_receive_packets_total":  counter("", "Packets that the network device received."),
	"node_network_transmit_packets_total": counter("", "Packets that the network device sent."),
	"node_network_receive_errs_total":     counter("", "Errors of the network device in receiving."),
	"node_network_transmit_errs_total":    counter("", "Errors of the network device in sending."),
	"node_network_receive_drop_total":     counter("", "Packets that the network device dropped in receiving."),
	"node_network_transmit_drop_total":    counter("", "Packets that the network device dropped in sending."),
	"node_hwmon_temp_celsius":             gauge("celsius", "Temperature of the sensor."),
	"node_boot_time_seconds":              gauge("seconds", "Unix time of the last boot; time() less this is the uptime."),
	"node_procs_running":                  gauge("", "Processes that run or could."),
	"node_procs_blocked":                  gauge("", "Processes that wait for reads or writes."),
	"node_context_switches_total":         counter("", "Context switches."),
	"node_processes_pids":                 gauge("", "Processes."),
}

func counter(unit, help string) recorder.Metadata {
	return recorder.Metadata{Type: model.MetricTypeCounter, Unit: unit, Help: help}
}

func gauge(unit, help string) recorder.Metadata {
	return recorder.Metadata{Type: model.MetricTypeGauge, Unit: unit, Help: help}
}

func collectCPU(ctx context.Context, emit emit) error {
	cpus, err := cpu.TimesWithContext(ctx, true)
	for _, c := range cpus {
		name := strings.TrimPrefix(c.CPU, "cpu")
		for mode, seconds := range map[string]float64{
			"user": c.User, "nice": c.Nice, "system": c.System, "idle": c.Idle,
			"iowait": c.Iowait, "irq": c.Irq, "softirq": c.Softirq, "steal": c.Steal,
		} {
			emit("node_cpu_seconds_total", seconds, "cpu", name, "mode", mode)
		}
	}
	return err
}

func collectLoad(ctx context.Context, emit emit) error {
	avg, err := load.AvgWithContext(ctx)
	if err != nil {
		return err
	}
	emit("node_load1", avg.Load1)
	emit("node_load5", avg.Load5)
	emit("node_load15", avg.Load15)
	return nil
}

func collectMemory(ctx context.Context, emit emit) error {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return err
	}
	emit("node_memory_MemTotal_bytes", float64(m.Total))
	emit("node_memory_MemFree_bytes", float64(m.Free))
	emit("node_memory_MemAvailable_bytes", float64(m.Available))
	emit("node_memory_Buffers_bytes", float64(m.Buffers))
	// gopsutil counts reclaimable kernel memory as cached; node_exporter does not.
	emit("node_memory_Cached_bytes", float64(m.Cached-min(m.Cached, m.Sreclaimable)))
	emit("node_memory_SReclaimable_bytes", float64(m.Sreclaimable))
	return nil
}

func collectSwap(ctx context.Context, emit emit) error {
	s, err := mem.SwapMemoryWithContext(ctx)
	if err != nil {
		return err
	}
	emit("node_memory_SwapTotal_bytes", float64(s.Total))
	emit("node_memory_SwapFree_bytes", float64(s.Free))
	return nil
}

// As node_exporter by default, leave out file systems without a disk, mounts of
// containers, and partitions of disks. In a container the root is an overlay, so /
// always stays.
var (
	pseudoTypes  = regexp.MustCompile(`^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs)$`)
	pseudoMounts = regexp.MustCompile(`^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)`)
	parts        = regexp.MustCompile(`^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`)
)

func collectFilesystems(ctx context.Context, emit emit) error {
	mounts, err := disk.PartitionsWithContext(ctx, true)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range mounts {
		if m.Mountpoint != "/" && (pseudoTypes.MatchString(m.Fstype) || pseudoMounts.MatchString(m.Mountpoint)) {
			continue
		}
		u, err := disk.UsageWithContext(ctx, m.Mountpoint)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l := []string{"device", m.Device, "mountpoint", m.Mountpoint, "fstype", m.Fstype}
		emit("node_filesystem_size_bytes", float64(u.Total), l...)
		emit("node_filesystem_free_bytes", float64(u.Total-min(u.Total, u.Used)), l...)
		emit("node_filesystem_avail_bytes", float64(u.Free), l...)
		emit("node_filesystem_files", float64(u.InodesTotal), l...)
		emit("node_filesystem_files_free", float64(u.InodesFree), l...)
	}
	return errors.Join(errs...)
}

func collectDisks(ctx context.Context, emit emit) error {
	disks, err := disk.IOCountersWithContext(ctx)
	for name, d := range disks {
		if parts.MatchString(name) {
			continue
		}
		emit("node_disk_read_bytes_total", float64(d.ReadBytes), "device", name)
		emit("node_disk_written_bytes_total", float64(d.WriteBytes), "device", name)
		emit("node_disk_reads_completed_total", float64(d.ReadCount), "device", name)
		emit("node_disk_writes_completed_total", float64(d.WriteCount), "device", name)
		emit("node_disk_io_time_seconds_total", float64(d.IoTime)/1000, "device", name)
	}
	return err
}

func collectNetwork(ctx context.Context, emit emit) error {
	devices, err := net.IOCountersWithContext(ctx, true)
	for _, d := range devices {
		emit("node_network_receive_bytes_total", float64(d.BytesRecv), "device", d.Name)
		emit("node_network_transmit_bytes_total", float64(d.BytesSent), "device", d.Name)
		emit("node_network_receive_packets_total", float64(d.PacketsRecv), "device", d.Name)
		emit("node_network_transmit_packets_total", float64(d.PacketsSent), "device", d.Name)
		emit("node_network_receive_errs_total", float64(d.Errin), "device", d.Name)
		emit("node_network_transmit_errs_total", float64(d.Errout), "device", d.Name)
		emit("node_network_receive_drop_total", float64(d.Dropin), "device", d.Name)
		emit("node_network_transmit_drop_total", float64(d.Dropout), "device", d.Name)
	}
	return err
}

// collectTemperatures ignores errors: many machines have no sensors, and some
// sensors cannot be read. Nobody could change that.
func collectTemperatures(ctx context.Context, emit emit) error {
	temperatures, _ := sensors.TemperaturesWithContext(ctx)
	for _, t := range temperatures {
		chip, sensor, ok := strings.Cut(t.SensorKey, "_")
		if !ok {
			sensor = chip
		}
		emit("node_hwmon_temp_celsius", t.Temperature, "chip", chip, "sensor", sensor)
	}
	return nil
}

func collectUptime(ctx context.Context, emit emit) error {
	boot, err := psutil.BootTimeWithContext(ctx)
	if err != nil {
		return err
	}
	emit("node_boot_time_seconds", float64(boot))
	return nil
}

func collectProcesses(ctx context.Context, emit emit) error {
	pids, err := process.PidsWithContext(ctx)
	if err != nil {
		return err
	}
	emit("node_processes_pids", float64(len(pids)))
	if misc, err := load.MiscWithContext(ctx); err == nil { // not on all systems
		emit("node_procs_running", float64(misc.ProcsRunning))
		emit("node_procs_blocked", float64(misc.ProcsBlocked))
		emit("node_context_switches_total", float64(misc.Ctxt))
	}
	return nil
}
