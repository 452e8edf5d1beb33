package recorder

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/shirou/gopsutil/v4/disk"
)

// freeBytes returns how many bytes this process may still write to dir.
func freeBytes(dir string) (int64, error) {
	u, err := disk.Usage(dir)
	if err != nil {
		return 0, err
	}
	return int64(min(u.Free, 1<<62)), nil
}

// probeBytes is how much must fit on a disk for a TSDB to be opened.
const probeBytes = 8 << 20

// probe returns an error if probeBytes cannot be written to dir. Unlike the free
// space, this notices quotas.
func probe(dir string) error {
	file := filepath.Join(dir, "probe")
	return errors.Join(files.WriteFile(file, make([]byte, probeBytes), 0o600), files.Remove(file))
}

// reserve is a file that takes room on the disk of all stores. It is deleted when
// the disk is full, because closing a TSDB may write.
type reserve struct {
	file string

	mu    sync.Mutex
	bytes int64 // 0 if there is none
}

const reserveFile = "reserve"

func newReserve(root string) *reserve {
	r := &reserve{file: filepath.Join(root, reserveFile)}
	if info, err := files.Stat(r.file); err == nil {
		r.bytes = info.Size()
	}
	return r
}

// reserveBytes returns the size of the reserve of a store with this
// Config.DiskCritical. It is less than the free space that next requires before a
// TSDB is opened again.
func reserveBytes(critical int64) int64 { return min(critical/4, 64<<20) }

// ensure makes the reserve at least this large, in bytes.
func (r *reserve) ensure(bytes int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes >= bytes {
		return nil
	}
	// The zeros are really written: file systems take no room for a file that only
	// has a size.
	if err := write(r.file, io.LimitReader(zeros{}, bytes)); err != nil {
		return fmt.Errorf("keep a reserve of the disk: %w", err)
	}
	r.bytes = bytes
	return nil
}

// zeros is an endless reader of zeros.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// release deletes the reserve.
func (r *reserve) release() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes == 0 {
		return nil
	}
	if err := files.Remove(r.file); err != nil {
		return fmt.Errorf("give the reserve of the disk back: %w", err)
	}
	r.bytes = 0
	return nil
}
