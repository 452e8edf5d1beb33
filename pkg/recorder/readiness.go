package recorder

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
	"github.com/continuum-live/continuum-datasource/pkg/internal/defence"
)

// The reasons why nothing is acknowledged now. Each of them is an ErrNotReady, too.
var (
	// ErrNotReady means that no samples can be acknowledged now, whatever they are.
	// Keep them and commit them again.
	ErrNotReady = errors.New("nothing can be stored now")
	// ErrDiskLow means that the disk has too little free space.
	ErrDiskLow = fmt.Errorf("%w: the disk is nearly full", ErrNotReady)

	errReopening = fmt.Errorf("%w: the store is being opened anew", ErrNotReady)
	errWrite     = fmt.Errorf("%w: it could not be written to the disk", ErrNotReady)
	errAhead     = fmt.Errorf("%w: the store has samples ahead of this machine's clock", ErrNotReady)
)

// lookEvery is the interval of looking at the free space.
const lookEvery = 200 * time.Millisecond

// level is how full a disk is.
type level int

const (
	levelEnough   level = iota
	levelLow            // nothing is acknowledged
	levelCritical       // nothing may be written at all
)

// readiness decides whether a store may acknowledge samples: what is acknowledged
// must be found again after a crash, and under its true time.
//
// The store may not while the disk has less free space than the first floor; below
// the second floor the TSDB has to be closed, too. It may not from a failed write
// until the TSDB was reopened, nor while the clock is in doubt, nor while the store
// has samples from the future that may have to be deleted.
type readiness struct {
	clock *clock.Clock
	// free returns the bytes that are free on the store's disk.
	free func() (int64, error)
	// trouble gets a value when a write has failed.
	trouble chan struct{}

	mu     sync.Mutex
	low    int64 // the first floor, in bytes
	closes int64 // the second floor, in bytes
	looked time.Time
	bytes  int64
	level  level
	failed error // the write that failed
	ahead  bool
	// setBack is how often the clock was set back when it was last looked for samples
	// from the future.
	setBack uint64
}

func newReadiness(c *clock.Clock, free func() (int64, error)) *readiness {
	return &readiness{clock: c, free: free, trouble: make(chan struct{}, 1)}
}

// configure sets the floors, in bytes: below low nothing is acknowledged, below
// critical nothing is written.
func (r *readiness) configure(low, critical int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if defence.Off(defence.LowDisk) {
		low = 0
	}
	if defence.Off(defence.CriticalDisk) {
		critical = 0
	}
	r.low, r.closes, r.looked = low, critical, time.Time{}
}

// check returns nil if samples may be acknowledged, else an ErrNotReady that says
// why not.
func (r *readiness) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.look(); r.level != levelEnough {
		return r.diskError()
	}
	if r.failed != nil {
		return fmt.Errorf("%w: %w", errWrite, r.failed)
	}
	if _, err := r.clock.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	if r.ahead || r.setBack != r.clock.SetBack() {
		return errAhead
	}
	return nil
}

func (r *readiness) diskError() error {
	return fmt.Errorf("%w: %d MiB are free, and nothing is stored below %d MiB: free some space, or keep less",
		ErrDiskLow, r.bytes>>20, r.low>>20)
}

// disk returns how full the disk is, how many bytes are free and, if there are too
// few, an error that says so.
func (r *readiness) disk() (level, int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.look(); r.level != levelEnough {
		return r.level, r.bytes, r.diskError()
	}
	return r.level, r.bytes, nil
}

// room returns how many bytes are free, and the first floor.
func (r *readiness) room() (free, low int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look()
	return r.bytes, r.low
}

// look updates the free space if that is older than lookEvery. It needs r.mu.
func (r *readiness) look() {
	if time.Since(r.looked) < lookEvery {
		return
	}
	r.looked = time.Now()
	bytes, err := r.free()
	if err != nil {
		return // without a number, the last level stays
	}
	r.bytes = bytes
	r.level = next(r.level, bytes, r.low, r.closes)
}

// next returns the level that follows before. A level is left upwards only with more
// free space than its floor, half as much again for levelCritical and an eighth for
// levelLow. So the store does not open and close all the time, and the released
// reserve does not count as room.
func next(before level, free, low, critical int64) level {
	if before == levelCritical && free < critical+critical/2 || free < critical {
		return levelCritical
	}
	if before >= levelLow && free < low+low/8 || free < low {
		return levelLow
	}
	return levelEnough
}

// fail notes that a write failed. Nothing is acknowledged until recover.
func (r *readiness) fail(err error) {
	if defence.Off(defence.Reopen) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = err
	}
	select {
	case r.trouble <- struct{}{}:
	default:
	}
}

// recover notes that the TSDB was reopened.
func (r *readiness) recover() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = nil
}

// failure returns the write that failed, nil if none did since the TSDB was opened.
func (r *readiness) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// setAhead notes whether the store has samples from the future that may have to be
// deleted, and how often the clock was set back before that was looked at.
func (r *readiness) setAhead(ahead bool, setBack uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ahead, r.setBack = ahead, setBack
}
