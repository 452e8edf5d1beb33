// Package recorder gives a history to what has none: stores on Prometheus' TSDB
// and the inputs that fill them.
//
// Stores belong to the process, one per organisation and data source, opened
// once and never twice. It guarantees that
//
//   - a sample that was committed is found again after the process was killed,
//     and whatever becomes of the disk: see readiness;
//   - the settled time of a store never goes back, and no sample at or before it
//     comes without being counted as late;
//   - a change of settings opens nothing anew, and stops no input that stays.
//
// The TSDB and afero alone touch files. The package knows nothing of Grafana: it must
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

// Key names a store: a data source's uid alone does not, because two
// organisations may have the same.
type Key struct {
	Org int64
	UID string
}

// Config is what a store is kept by.
type Config struct {
	// Retention is how long samples are kept, MaxBytes how much of the disk the
	// store may take, 0 for as much as there is. The oldest go first.
	Retention time.Duration
	MaxBytes  int64
	// OutOfOrder is how far behind the newest sample of the store another one
	// is still taken.
	OutOfOrder time.Duration
	// MaxAhead is how far ahead of this machine's clock a sample may be.
	MaxAhead time.Duration
	// Below DiskLow free bytes nothing is acknowledged, below DiskCritical the
	// store is closed until there is room again. 0 is no floor.
	DiskLow, DiskCritical int64
	// MaxWait is the longest that the settled time waits for one input.
	MaxWait time.Duration
	// Idle is how long inputs run although nobody asks for samples, 0 for ever.
	Idle time.Duration
	// Inputs are to fill the store.
	Inputs []Input
	// Remember is what Recorder.Remembered returns after a restart, nil for
	// nothing. It must have no secrets: it is written down.
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

// entry is one store, or what it will be.
type entry struct {
	mu       sync.Mutex
	config   Config
	store    *Store
	opening  chan struct{} // closed when the store was opened or could not be
	err      error         // why it could not
	closed   bool
	identity string // of the store that was deleted
}

// New returns a recorder whose stores live in <root>/<organisation>/<uid>. It
// opens nothing yet.
func New(root string, logger *slog.Logger) *Recorder {
	r := &Recorder{root: root, logger: logger, clock: clock.System(), free: freeBytes, reserve: newReserve(root), entries: make(map[Key]*entry)}
	r.resumeClock()
	return r
}

var (
	// ErrClosed says that the process is about to end.
	ErrClosed = errors.New("the recorder is closed: the plugin is about to end")
	// ErrNotConfigured says that nobody has told how to keep the store.
	ErrNotConfigured = errors.New("the recorder has no settings for this data source")
)

// uids are Grafana's; whatever else came would become a path.
var uids = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// Configure says how the store of key is to be kept from now on: the newest
// settings win, whoever still uses older ones. It opens nothing.
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

	e.mu.Lock()
	defer e.mu.Unlock()
	removed := slices.DeleteFunc(slices.Clone(e.config.Inputs), func(in Input) bool {
		return slices.ContainsFunc(c.Inputs, func(other Input) bool { return other.Name() == in.Name() })
	})
	e.config = c
	if e.store == nil {
		return nil
	}
	err := e.store.apply(c)
	e.store.leave(removed)
	return err
}

// Idle stops the inputs of key's store, if it is open, and forgets its settings:
// its data source wants them no more. What was recorded stays.
func (r *Recorder) Idle(key Key) error {
	r.mu.Lock()
	e := r.entries[key]
	r.mu.Unlock()
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.config.Inputs, e.config.Remember = nil, nil
	if e.store == nil {
		return nil
	}
	return e.store.apply(e.config)
}

// Store returns the store of key, and opens it if no one has yet. That may take
// seconds, and goes on when ctx ends. After an error it may be asked for again.
// Whoever gets it does not close it.
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
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		err = panics.Catch("store", func() error { return s.apply(e.config) }) // the newest, not those of above
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}
	if e.err = err; err == nil {
		e.store = s
	}
	close(e.opening)
	e.opening = nil
}

func (r *Recorder) dir(key Key) string {
	return filepath.Join(r.root, strconv.FormatInt(key.Org, 10), key.UID)
}

// Delete deletes all that key's store has recorded, from the disk too. It goes
// on recording if it did.
func (r *Recorder) Delete(ctx context.Context, key Key) error {
	s, err := r.Store(ctx, key)
	if err != nil {
		return err
	}
	r.mu.Lock()
	e := r.entries[key]
	r.mu.Unlock()
	if e == nil {
		return ErrClosed
	}
	e.mu.Lock()
	if e.store != s { // somebody else was quicker
		e.mu.Unlock()
		return nil
	}
	// The same identity, or servers would send all that they hold again.
	e.store, e.err, e.identity = nil, nil, s.identity
	// Whoever asks for the store waits until it has been opened anew.
	e.opening = make(chan struct{})
	e.mu.Unlock()
	err = errors.Join(s.close(), files.RemoveAll(r.dir(key)))
	r.open(key, e)
	if err != nil {
		return fmt.Errorf("not everything could be deleted: %w", err)
	}
	_, err = r.Store(ctx, key)
	return err
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
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.store == nil {
		return nil
	}
	s := e.store
	e.store = nil
	return s.close()
}

// openError says what to do about err.
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
