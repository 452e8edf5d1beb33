package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	psutil "github.com/shirou/gopsutil/v4/disk"
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
	if err := run("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size), "tmpfs", dir); err != nil {
		return d, err
	}
	d.mounted = true
	return d, nil
}

// unmount takes the file system away, with all that is on it.
func (d *disk) unmount() error {
	if !d.mounted {
		return nil
	}
	return run("umount", d.dir)
}

// resize gives it so many bytes more than are used, which may be none.
func (d *disk) resize(left int64) error {
	var errs []error
	for range 10 { // somebody may write meanwhile, so that it is too small
		usage, err := psutil.Usage(d.dir)
		if err == nil {
			err = d.remount(int64(usage.Used) + left)
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// restore gives it the size that it had at first.
func (d *disk) restore() error { return d.remount(d.size) }

func (d *disk) remount(size int64) error {
	return run("mount", "-o", fmt.Sprintf("remount,size=%d", size), d.dir)
}

// run runs a program, whose output is in the error.
func run(program string, args ...string) error {
	output, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(output))
	}
	return nil
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
