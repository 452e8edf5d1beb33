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

// disk is a file system of limited size for the plugin's stores, which can be
// filled.
type disk struct {
	dir     string
	size    int64
	mounted bool
}

// mountDisk mounts a file system in memory at dir. If that is not allowed, it also
// returns an error; the disk is then a folder, which cannot be filled.
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

// unmount removes the file system with all files on it.
func (d *disk) unmount() error {
	if !d.mounted {
		return nil
	}
	return run("umount", d.dir)
}

// resize changes the size so that left bytes are free.
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

// restore changes the size back to the original one.
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

// fill fills the disk with a file until left bytes are free.
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

// empty removes the file of fill.
func (d *disk) empty() error {
	if err := os.Remove(d.ballast()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
