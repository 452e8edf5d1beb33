package recorder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// backupsDir is beside the folders of the organisations, whose names are numbers.
const backupsDir = "backups"

// Backup copies the store of key into a new folder, and returns the path of that
// folder relative to the recorder's root. To restore the store, stop Grafana and put
// the folder in the place of the store's own. Recording goes on during a backup.
func (r *Recorder) Backup(ctx context.Context, key Key) (string, error) {
	s, err := r.Store(ctx, key)
	if err != nil {
		return "", err
	}
	name := r.clock.Now().UTC().Format("20060102T150405.000Z")
	folder := filepath.Join(backupsDir, strconv.FormatInt(key.Org, 10), key.UID, name)
	whole := filepath.Join(r.root, folder)
	partial := whole + ".partial" // until it is complete
	err = panics.Catch("store", func() error { return s.backup(ctx, partial) })
	if err == nil {
		err = files.Rename(partial, whole)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("back up the store: %w", err), files.RemoveAll(partial))
	}
	return folder, nil
}

func (s *Store) backup(ctx context.Context, dir string) error {
	db, err := s.database.acquire()
	if err != nil {
		return err
	}
	defer db.readers.Done()
	if full, _, why := s.ready.disk(); full != levelEnough {
		return why
	}
	if err := files.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	// First what rules have recorded: what they have missed then is evaluated from the
	// samples of inputs.
	resume, err := s.rules.backup(ctx, dir)
	if err != nil {
		return err
	}
	defer resume()
	if err := db.snapshot(ctx, dir); err != nil {
		if errors.As(err, new(*panics.Error)) {
			s.ready.fail(err) // as after database.toBlocks
		}
		return err
	}
	if err := s.rules.lateness.copy(dir); err != nil {
		return err
	}
	// The memory has the identity, with which the restored store resumes its
	// sessions at brokers.
	memory, err := files.Open(filepath.Join(s.database.dir, memoryFile))
	if err != nil {
		return err
	}
	return errors.Join(write(filepath.Join(dir, memoryFile), memory), memory.Close())
}

// backup copies what rules have recorded, and has no rule evaluated until resume is
// called.
func (r *rules) backup(ctx context.Context, dir string) (resume func(), err error) {
	r.working.Lock()
	d := r.results()
	if d == nil {
		return r.working.Unlock, nil
	}
	db, err := d.acquire()
	if err == nil {
		err = db.snapshot(ctx, filepath.Join(dir, rulesDir))
		db.readers.Done()
	}
	if err != nil {
		if errors.As(err, new(*panics.Error)) {
			r.fail(err)
		}
		r.working.Unlock()
	}
	return r.working.Unlock, err
}

// snapshot copies all samples to a folder. After a *panics.Error the TSDB must not go on.
func (o *opened) snapshot(ctx context.Context, dir string) error {
	return panics.Catch("store", func() error {
		// It would leave out samples out of order in the head, so they go to blocks first.
		if err := o.CompactOOOHead(ctx); err != nil {
			return err
		}
		head := o.Head()
		return o.Snapshot(dir, head.NumSeries() > 0 && head.MinTime() <= head.MaxTime())
	})
}

// copy copies the file to another folder.
func (l *lateness) copy(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	text, err := files.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, lateFile), bytes.NewReader(text))
}
