package recorder

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
)

// fleetingTypes are file systems whose content does not outlive a container or a
// restart of the machine, and what to call them. A volume is none of these, whatever it
// is on. The layers of some ways to run containers (btrfs, zfs) cannot be told from it,
// nor can a volume that goes with its pod.
var fleetingTypes = map[string]string{
	"overlay": "inside the container", "aufs": "inside the container", "tmpfs": "in memory", "ramfs": "in memory",
}

// fleeting returns why what is in dir may not be there after the next start, empty if
// nothing is known.
func fleeting(dir string) string {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return ""
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return ""
	}
	all, err := disk.Partitions(true)
	if err != nil {
		return ""
	}
	where := fleetingTypes[mountOf(dir, all).Fstype]
	if where == "" {
		return ""
	}
	return fmt.Sprintf("the folder %s lies %s: what is recorded may be gone with it. "+
		"Mount a volume there, or set recorder_dir in the section [plugin.continuum-live-datasource] of Grafana's configuration", dir, where)
}

// mountOf returns the mount that a path is on: of several on each other the last.
func mountOf(path string, all []disk.PartitionStat) disk.PartitionStat {
	var on disk.PartitionStat
	for _, p := range all {
		below := strings.TrimSuffix(p.Mountpoint, string(filepath.Separator)) + string(filepath.Separator)
		if (path == p.Mountpoint || strings.HasPrefix(path, below)) && len(p.Mountpoint) >= len(on.Mountpoint) {
			on = p
		}
	}
	return on
}
