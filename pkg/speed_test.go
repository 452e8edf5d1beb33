package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
)

// Benchmarks of the built binary on a recorder's store, and what they need.

// gauge is a series to be simulated: its labels, and its next value after the
// last one.
type gauge struct {
	labels labels.Labels
	next   func(last float64) float64
	value  float64
	ref    storage.SeriesRef
}

// hostSeries are the series that the host input gives on a machine with 16 CPUs,
// three file systems, two disks, four network devices and ten sensors.
func hostSeries() []*gauge {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []*gauge
	add := func(next func(float64) float64, first float64, name string, nameValues ...string) {
		all = append(all, &gauge{labels.FromStrings(append([]string{model.MetricNameLabel, name}, nameValues...)...), next, first, 0})
	}
	constant := func(v float64) float64 { return v }
	walk := func(by float64) func(float64) float64 {
		return func(v float64) float64 { return v + math.Round((rng.Float64()-0.5)*by) }
	}
	count := func(most int64) func(float64) float64 {
		return func(v float64) float64 { return v + float64(rng.Int64N(most)) }
	}
	for cpu := range 16 {
		for mode, share := range map[string]int64{"user": 30, "nice": 1, "system": 15, "idle": 100, "iowait": 3, "irq": 1, "softirq": 2, "steal": 1} {
			add(func(v float64) float64 { return math.Round(v*100+float64(rng.Int64N(share))) / 100 }, 1e5,
				"node_cpu_seconds_total", "cpu", strconv.Itoa(cpu), "mode", mode)
		}
	}
	for _, name := range []string{"node_load1", "node_load5", "node_load15"} {
		add(func(v float64) float64 { return math.Round(math.Abs(v*100+float64(rng.IntN(9)-4))) / 100 }, 1, name)
	}
	add(constant, 64<<30, "node_memory_MemTotal_bytes")
	for _, name := range []string{"MemFree", "MemAvailable", "Buffers", "Cached", "SReclaimable"} {
		add(func(v float64) float64 { return v + float64(rng.IntN(2001)-1000)*4096 }, 8<<30, "node_memory_"+name+"_bytes")
	}
	add(constant, 8<<30, "node_memory_SwapTotal_bytes")
	add(constant, 8<<30, "node_memory_SwapFree_bytes")
	for i := range 3 {
		l := []string{"device", fmt.Sprint("/dev/sd", i), "mountpoint", fmt.Sprint("/mnt/", i), "fstype", "ext4"}
		add(constant, 1<<40, "node_filesystem_size_bytes", l...)
		add(walk(1<<20), 1<<39, "node_filesystem_free_bytes", l...)
		add(walk(1<<20), 1<<39, "node_filesystem_avail_bytes", l...)
		add(constant, 1<<26, "node_filesystem_files", l...)
		add(walk(10), 1<<25, "node_filesystem_files_free", l...)
	}
	for _, name := range []string{"read_bytes", "written_bytes", "reads_completed", "writes_completed", "io_time_seconds"} {
		for i := range 2 {
			add(count(1<<16), 1e9, "node_disk_"+name+"_total", "device", fmt.Sprint("sd", i))
		}
	}
	for _, name := range []string{"bytes", "packets", "errs", "drop"} {
		for i := range 4 {
			add(count(1<<18), 1e10, "node_network_receive_"+name+"_total", "device", fmt.Sprint("eth", i))
			add(count(1<<18), 1e10, "node_network_transmit_"+name+"_total", "device", fmt.Sprint("eth", i))
		}
	}
	for i := range 10 {
		add(walk(3), 45, "node_hwmon_temp_celsius", "chip", "coretemp", "sensor", fmt.Sprint("core", i))
	}
	add(constant, 1.7e9, "node_boot_time_seconds")
	for _, name := range []string{"node_processes_pids", "node_procs_running", "node_procs_blocked"} {
		add(walk(5), 400, name)
	}
	add(count(1<<14), 1e9, "node_context_switches_total")
	return all
}

// record writes a sample per second and series into the store of the data source
// of these tests, and compacts it as time would have.
func record(t testing.TB, root string, all []*gauge, from, through int64) {
	t.Helper()
	db, err := tsdb.Open(filepath.Join(root, "1", "uid"), slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	db.DisableCompactions() // but when told to
	for at := from; at <= through; {
		app := db.Appender(context.Background())
		for range 60 { // more would take a long commit's memory
			for _, g := range all {
				if g.ref, err = app.Append(g.ref, g.labels, at, g.value); err != nil {
					t.Fatal(err)
				}
				g.value = g.next(g.value)
			}
			if at += 1000; at > through {
				break
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
		if at/60_000%30 == 0 {
			db.EnableCompactions()
			if err := db.Compact(context.Background()); err != nil {
				t.Fatal(err)
			}
			db.DisableCompactions()
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// onStore has the plugins of this test use the recorder's stores in root, and
// record nothing themselves.
func onStore(t testing.TB, root string) {
	t.Setenv("GF_PLUGIN_RECORDER_DIR", root)
	before := pluginContext
	settings := *before.DataSourceInstanceSettings
	settings.JSONData = []byte(`{"source":"recorder","recorder":{"noHost":true}}`)
	pluginContext.DataSourceInstanceSettings = &settings
	t.Cleanup(func() { pluginContext = before })
}

// query asks for the rows of an expression in (from, through].
func query(t testing.TB, p *grafana.Plugin, expr string, step, from, through int64) *data.Frame {
	t.Helper()
	raw, err := json.Marshal(map[string]string{"expr": expr})
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := p.QueryData(context.Background(), &backend.QueryDataRequest{
		PluginContext: pluginContext,
		Queries: []backend.DataQuery{{RefID: "A", JSON: raw, Interval: time.Duration(step) * time.Millisecond,
			TimeRange: backend.TimeRange{From: time.UnixMilli(from), To: time.UnixMilli(through)}}},
	})
	if err := errors.Join(err, rsp.Responses["A"].Error); err != nil {
		t.Fatal(err)
	}
	return rsp.Responses["A"].Frames[0]
}

const day = 86_400_000

// 86,400 samples to 1,000 rows, over the plugin's gRPC.
func BenchmarkDay(b *testing.B) {
	root := b.TempDir()
	through := time.Now().Truncate(time.Minute).UnixMilli()
	record(b, root, hostSeries()[:1], through-day+1000, through)
	onStore(b, root)
	p := start(b)
	const step = day / 1000
	for _, expr := range []string{
		"node_cpu_seconds_total",
		"avg_over_time(node_cpu_seconds_total[$__interval])",
		"rate(node_cpu_seconds_total[$__rate_interval])",
		"sum(node_cpu_seconds_total * 2)",
	} {
		b.Run(expr, func(b *testing.B) {
			for b.Loop() {
				if f := query(b, p, expr, step, through-day, through); f.Rows() < 1000 || len(f.Fields) != 2 {
					b.Fatalf("%d rows of %d fields", f.Rows(), len(f.Fields))
				}
			}
		})
	}
}

// shown is what a dashboard of a machine shows.
var shown = []string{
	"sum by (mode) (rate(node_cpu_seconds_total[$__rate_interval]))",
	"node_load1",
	"node_memory_MemAvailable_bytes",
	"node_filesystem_avail_bytes",
	"rate(node_disk_read_bytes_total[$__rate_interval])",
	"rate(node_network_receive_bytes_total[$__rate_interval])",
	"node_hwmon_temp_celsius",
	"rate(node_context_switches_total[$__rate_interval])",
}

// memory is what a process has in memory, in MiB. Files that are mapped count in
// all, and go when others need the room; anonymous is the rest.
type memory struct{ all, anonymous int64 }

// openHost starts the plugin on a store with host metrics of the given length
// and returns how long the first answer took, and the process' memory after that
// and after a dashboard of all that the store has.
func openHost(t testing.TB, root string, length, through int64) (answer time.Duration, opened, used memory) {
	t.Helper()
	onStore(t, root)
	p := start(t)
	defer p.Stop()
	began := time.Now()
	query(t, p, "node_load1", 1000, through-60_000, through)
	answer = time.Since(began)
	opened = resident(t, p)
	for range 3 {
		for _, expr := range shown {
			if f := query(t, p, expr, max(1000, length/1000), through-length, through); f.Rows() < 1000 || len(f.Fields) < 2 {
				t.Fatalf("%s: %d rows of %d fields", expr, f.Rows(), len(f.Fields))
			}
		}
	}
	return answer, opened, resident(t, p)
}

func resident(t testing.TB, p *grafana.Plugin) (m memory) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Skip("NOT MEASURED: there is no /proc here, so the memory of the plugin is not known")
	}
	for line := range strings.Lines(string(status)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			m.all = kb >> 10
		} else if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kb); n == 1 {
			m.anonymous = kb >> 10
		}
	}
	return m
}

// hostEnd is the end of recorded host metrics: a time in the past at which the
// TSDB has most in memory, because it is about to write its next block.
func hostEnd() int64 {
	const block = 2 * time.Hour
	return time.Now().Add(-2 * block).Truncate(block).Add(block * 3 / 2).Add(-5 * time.Minute).UnixMilli()
}

// A store with an hour of host metrics is open at once and takes little memory.
func TestOpensHour(t *testing.T) {
	root, through := t.TempDir(), hostEnd()
	const hour = 3_600_000
	record(t, root, hostSeries(), through-hour, through)
	answer, opened, used := openHost(t, root, hour, through)
	t.Logf("the first answer took %v; %d MB resident, after use %d MB", answer, opened.all, used.all)
	if answer > time.Second || used.all > 150 {
		t.Error("it is to take less than 1 s and 150 MB")
	}
}

// The same for a day and for a week.
func BenchmarkOpen(b *testing.B) {
	for _, c := range []struct {
		name   string
		length int64
	}{{"day", day}, {"week", 7 * day}} {
		b.Run(c.name, func(b *testing.B) {
			root, through := b.TempDir(), hostEnd()
			record(b, root, hostSeries(), through-c.length, through)
			var answer time.Duration
			var opened, used memory
			for b.Loop() {
				answer, opened, used = openHost(b, root, c.length, through)
			}
			b.ReportMetric(0, "ns/op") // it is the dashboard's
			b.ReportMetric(float64(answer.Milliseconds()), "ms-to-answer")
			b.ReportMetric(float64(opened.all), "MB-opened")
			b.ReportMetric(float64(used.all), "MB-used")
			b.ReportMetric(float64(used.anonymous), "MB-used-but-files")
		})
	}
}
