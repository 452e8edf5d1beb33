// Package recorder keeps a history of data that has none, such as MQTT messages: it
// holds stores on Prometheus' TSDB, and the inputs that fill them.
//
// Stores belong to the process, one per organisation and data source. Each is opened
// once and never twice at a time. The package guarantees that
//
//   - a committed sample is found again after the process was killed, whatever
//     happens to the disk: see readiness;
//   - every sample that comes at or before the settled time of a store is counted as
//     late; that time only goes back when the clock was ahead, which ends all marks;
//   - a change of settings reopens no store, and stops no input that the new settings
//     leave as it was.
//
// Only the TSDB and afero touch files. The package knows nothing of Grafana: it must
// not import the SDK, pkg/source, pkg/tail or pkg/plugin.
package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// Key identifies a store. The uid of a data source is not enough, because data
// sources of two organisations may have the same.
type Key struct {
	Org int64
	UID string
}

// Config has the settings of a store.
type Config struct {
	// Retention is how long samples are kept. MaxBytes is how much of the disk the
	// store may take, 0 for no limit; the oldest samples are deleted first.
	Retention time.Duration
	MaxBytes  int64
	// OutOfOrder is how far a sample may be behind the newest one of the store.
	OutOfOrder time.Duration
	// MaxAhead is how far ahead of this machine's clock a sample may be.
	MaxAhead time.Duration
	// With less than DiskLow free bytes nothing is acknowledged. With less than
	// DiskCritical the store is closed until there is room again. 0 means no floor.
	DiskLow, DiskCritical int64
	// MaxWait is the longest that the settled time waits for one input.
	MaxWait time.Duration
	// Idle is how long inputs run while nobody asks for samples, 0 for ever.
	Idle time.Duration
	// Inputs fill the store.
	Inputs []Input
	// Rules are evaluated with Evaluate, and what they record is kept for
	// RulesRetention.
	Rules          []Rule
	RulesRetention time.Duration
	Evaluate       Evaluate
	// Remember is what Recorder.Remembered returns after a restart, nil for nothing.
	// It is written to the disk, so it must hold no secrets.
	Remember json.RawMessage
}

// Recorder holds the stores of the process under one directory.
type Recorder struct {
	root    string
	logger  *slog.Logger
	clock   *clock.Clock
	free    func(dir string) (int64, error) // bytes on its disk
	reserve *reserve

	belief belief

	mu      sync.Mutex
	entries map[Key]*entry
	closed  bool
}

// entry is a store that is open, will be opened, or was deleted.
type entry struct {
	// configuring is held while settings are applied to the store, which may have to
	// wait for inputs to stop, and while it is taken away. It is locked before mu, which
	// nobody holds while waiting.
	configuring sync.Mutex

	mu       sync.Mutex
	config   Config
	store    *Store
	opening  chan struct{} // closed once opening has succeeded or failed
	err      error         // why opening failed
	closed   bool
	identity string // of a deleted store, kept for the next one
}

// New returns a recorder that keeps its stores in <root>/<organisation>/<uid>. It
// opens no store yet.
func New(root string, logger *slog.Logger) *Recorder {
	r := &Recorder{root: root, logger: logger, clock: clock.System(), free: freeBytes, reserve: newReserve(root), entries: make(map[Key]*entry)}
	r.resumeClock()
	return r
}

var (
	// ErrClosed means that the recorder was closed, as the process is about to end.
	ErrClosed = errors.New("the recorder is closed: the plugin is about to end")
	// ErrNotConfigured means that Configure was not called for this data source.
	ErrNotConfigured = errors.New("the recorder has no settings for this data source")
)

// uids matches Grafana's uids. Anything else must not become part of a path.
var uids = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// Configure sets the settings of key's store from now on. The newest settings apply
// to everybody who uses the store. Configure opens no store.
func (r *Recorder) Configure(key Key, c Config) error {
	if !uids.MatchString(key.UID) || key.Org < 1 {
		return fmt.Errorf("there can be no store for organisation %d and data source %q", key.Org, key.UID)
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return ErrClosed
	}
	e := r.entries[key]
	if e == nil {
		e = &entry{}
		r.entries[key] = e
	}
	r.mu.Unlock()

	e.configuring.Lock()
	defer e.configuring.Unlock()
	e.mu.Lock()
	before := e.config.Inputs
	e.config = c
	s := e.store
	e.mu.Unlock()
	if s == nil {
		return nil
	}
	err := s.apply(c)
	s.leave(slices.DeleteFunc(slices.Clone(before), func(in Input) bool {
		return slices.ContainsFunc(c.Inputs, func(other Input) bool { return other.Name() == in.Name() })
	}))
	return err
}

// Idle stops the inputs of key's store, if it is open, and forgets them and
// Remember: the data source does not record any more. Recorded samples stay.
func (r *Recorder) Idle(key Key) error {
	r.mu.Lock()
	e := r.entries[key]
	r.mu.Unlock()
	if e == nil {
		return nil
	}
	e.configuring.Lock()
	defer e.configuring.Unlock()
	e.mu.Lock()
	e.config.Inputs, e.config.Remember = nil, nil
	c, s := e.config, e.store
	e.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.apply(c)
}

// Store returns the store of key, and opens it if it is not open yet. That may take
// seconds, and goes on after ctx has ended. After an error Store may be called
// again. The caller must not close the store.
func (r *Recorder) Store(ctx context.Context, key Key) (*Store, error) {
	r.mu.Lock()
	e, closed := r.entries[key], r.closed
	r.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case e == nil:
		return nil, ErrNotConfigured
	}
	e.mu.Lock()
	if e.store != nil || e.closed {
		defer e.mu.Unlock()
		if e.closed {
			return nil, ErrClosed
		}
		return e.store, nil
	}
	if e.opening == nil {
		e.opening = make(chan struct{})
		go r.open(key, e)
	}
	opening := e.opening
	e.mu.Unlock()

	select {
	case <-opening:
	case <-ctx.Done():
		return nil, fmt.Errorf("the recorder's store is still being opened: %w", context.Cause(ctx))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return nil, ErrClosed
	case e.store == nil && e.err == nil: // it was deleted meanwhile, and is opened again
		e.mu.Unlock()
		defer e.mu.Lock()
		return r.Store(ctx, key)
	}
	return e.store, e.err
}

func (r *Recorder) open(key Key, e *entry) {
	r.keepClock() // before anything is stamped
	e.mu.Lock()
	config, identity := e.config, e.identity
	e.mu.Unlock()
	dir := r.dir(key)
	var s *Store
	err := panics.Catch("store", func() (err error) {
		s, err = open(r, dir, config, identity, r.logger.With("org", key.Org, "uid", key.UID))
		return err
	})
	if err != nil {
		err = openError(dir, err)
	}
	e.configuring.Lock()
	defer e.configuring.Unlock()
	if err == nil {
		e.mu.Lock()
		config = e.config // the settings may have changed meanwhile
		e.mu.Unlock()
		if err = panics.Catch("store", func() error { return s.apply(config) }); err != nil {
			err = errors.Join(err, s.close())
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err = err; err == nil {
		e.store = s
	}
	close(e.opening)
	e.opening = nil
}

func (r *Recorder) dir(key Key) string {
	return filepath.Join(r.root, strconv.FormatInt(key.Org, 10), key.UID)
}

// Delete deletes all that key's store has recorded, from the disk too, also if it
// cannot be opened because of that. It goes on recording if it did.
func (r *Recorder) Delete(ctx context.Context, key Key) error {
	for {
		s, err := r.Store(ctx, key)
		if err != nil && (errors.Is(err, ErrClosed) || errors.Is(err, ErrNotConfigured) || ctx.Err() != nil) {
			return err
		}
		r.mu.Lock()
		e := r.entries[key]
		r.mu.Unlock()
		if e == nil {
			return ErrClosed
		}
		taken := e.take(s)
		switch {
		case !taken && s != nil: // another call has deleted it already
			return nil
		case !taken: // it may be open by now
			continue
		}
		if s != nil {
			err = s.close()
		} else {
			err = nil
		}
		err = errors.Join(err, r.erase(key, e))
		r.open(key, e)
		if err != nil {
			return fmt.Errorf("not everything could be deleted: %w", err)
		}
		_, err = r.Store(ctx, key)
		return err
	}
}

// take takes the store away, nil if it could not be opened, and reports whether it was
// still the one. Whoever asks for it waits until it has been opened anew.
func (e *entry) take(s *Store) bool {
	e.configuring.Lock()
	defer e.configuring.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.store != s || e.opening != nil || e.closed {
		return false
	}
	if s != nil {
		e.identity = s.identity
	}
	e.store, e.err = nil, nil
	e.opening = make(chan struct{})
	return true
}

// erase deletes the folder of a store that is not open, unless another process has it.
// The next one in it has the same identity, or servers would send all that they hold
// again.
func (r *Recorder) erase(key Key, e *entry) error {
	dir := r.dir(key)
	db, err := newDatabase(dir, Config{}, r.clock.Now, r.logger)
	if err != nil {
		return openError(dir, err)
	}
	e.mu.Lock()
	if m, err := recall(dir, e.identity, r.clock.Now(), r.logger); err == nil {
		e.identity = m.Identity
	}
	e.mu.Unlock()
	all, err := files.ReadDir(dir)
	errs := []error{err}
	for _, f := range all {
		if f.Name() != lockFile {
			errs = append(errs, files.RemoveAll(filepath.Join(dir, f.Name())))
		}
	}
	db.unclean = false // there is nothing to be repaired any more
	return errors.Join(append(errs, db.release())...)
}

// Close stops all inputs and closes all stores.
func (r *Recorder) Close() error {
	r.mu.Lock()
	r.closed = true
	entries := r.entries
	r.entries = nil
	r.mu.Unlock()
	var errs []error
	for _, e := range entries {
		errs = append(errs, e.close())
	}
	return errors.Join(errs...)
}

func (e *entry) close() error {
	e.mu.Lock()
	e.closed = true
	opening := e.opening
	e.mu.Unlock()
	if opening != nil {
		<-opening
	}
	e.configuring.Lock()
	defer e.configuring.Unlock()
	e.mu.Lock()
	s := e.store
	e.store = nil
	e.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.close()
}

// openError adds to err what somebody can do about it.
func openError(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the recorder cannot write to %s: give Grafana's user the right to, "+
			"or set recorder_dir in the section [plugin.continuum-live-datasource] of Grafana's configuration: %w", dir, err)
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("another process holds the recorder's store %s: a store belongs to one Grafana alone, "+
			"so stop the other or give this one its own recorder_dir: %w", dir, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk of the recorder's store %s is full: free some space: %w", dir, err)
	}
	return fmt.Errorf("the recorder's store %s cannot be opened: %w", dir, err)
}
