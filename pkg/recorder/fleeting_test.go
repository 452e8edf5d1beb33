package recorder

import (
	"runtime"
	"strings"
	"testing"

	"github.com/shirou/gopsutil/v4/disk"
)

func TestMountOf(t *testing.T) {
	all := []disk.PartitionStat{
		{Mountpoint: "/", Fstype: "overlay"}, {Mountpoint: "/dev/shm", Fstype: "tmpfs"}, {Mountpoint: "/var/lib/grafana", Fstype: "overlay"},
		{Mountpoint: "/var/lib/grafana", Fstype: "ext4"}, {Mountpoint: "/var/lib/grafana/plugins", Fstype: "nfs"},
	}
	for path, want := range map[string]string{
		"/data": "overlay", "/": "overlay", "/var/lib/grafana": "ext4", "/var/lib/grafana/continuum-recorder": "ext4",
		"/var/lib/grafana2": "overlay", "/var/lib/grafana/plugins/x": "nfs", "/dev/shm/a": "tmpfs",
	} {
		if got := mountOf(path, all).Fstype; got != want {
			t.Errorf("%s is on %s, not %s", path, got, want)
		}
	}
}

// A store in memory says so, with what to do.
func TestFleeting(t *testing.T) {
	const shm = "/dev/shm"
	if runtime.GOOS != "linux" {
		t.Skip("NOT TESTED: only Linux has " + shm)
	}
	t.Setenv("TMPDIR", shm)
	r, _ := newRecorder(t, t.TempDir())
	s, err := openStore(r, Key{1, "uid"}, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Status().Fleeting; !strings.Contains(got, "lies in memory") || !strings.Contains(got, "recorder_dir") {
		t.Errorf("the status says %q", got)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}
