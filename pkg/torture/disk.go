package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// disk is where the plugin records: a file system of its own, of limited size,
// that can be filled.
type disk struct {
	dir     string
	size    int64
	mounted bool
}

// mountDisk makes a file system in memory. Where that is refused the disk is a
// folder, which cannot be filled.
func mountDisk(dir string, size int64) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d := &disk{dir: dir, size: size}
	output, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size), "tmpfs", dir).CombinedOutput()
	if err != nil {
		return d, fmt.Errorf("%s: %w", strings.TrimSpace(string(output)), err)
	}
	d.mounted = true
	return d, nil
}

// unmount takes the file system away, with all that is on it.
func (d *disk) unmount() error {
	if !d.mounted {
		return nil
	}
	return exec.Command("umount", d.dir).Run()
}

// resize gives it so many bytes more than are used, which may be none.
func (d *disk) resize(left int64) error {
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(d.dir, &s); err != nil {
			return err
		}
		err := d.remount(int64(s.Blocks-s.Bfree)*s.Bsize + left)
		if !errors.Is(err, syscall.EINVAL) {
			return err
		}
		// Somebody has written meanwhile.
	}
}

// restore gives it the size that it had at first.
func (d *disk) restore() error { return d.remount(d.size) }

func (d *disk) remount(size int64) error {
	return syscall.Mount("tmpfs", d.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", size))
}

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill takes all of the disk but so many bytes.
func (d *disk) fill(left int64) (err error) {
	file, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	block := make([]byte, 1<<20)
	var size int64
	for len(block) > 0 {
		n, err := file.Write(block)
		size += int64(n)
		switch {
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, io.ErrShortWrite):
			block = block[:len(block)/2]
		case err != nil:
			return err
		}
	}
	return file.Truncate(max(0, size-left))
}

// empty gives it back.
func (d *disk) empty() error {
	if err := os.Remove(d.ballast()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
