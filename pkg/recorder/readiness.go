package recorder

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
	"github.com/continuum-live/continuum-datasource/pkg/internal/defence"
)

// Why nothing is acknowledged now. All of these are ErrNotReady, too.
var (
	// ErrNotReady says that samples cannot be acknowledged now, whatever they are.
	// They should be kept and committed again.
	ErrNotReady = errors.New("nothing can be stored now")
	// ErrDiskLow says that the disk has too little free space.
	ErrDiskLow = fmt.Errorf("%w: the disk is nearly full", ErrNotReady)

	errReopening = fmt.Errorf("%w: the store is being opened anew", ErrNotReady)
	errWrite     = fmt.Errorf("%w: it could not be written to the disk", ErrNotReady)
	errAhead     = fmt.Errorf("%w: the store has samples ahead of this machine's clock", ErrNotReady)
)

// lookEvery is how often the free space is looked at.
const lookEvery = 200 * time.Millisecond

// level is how full a disk is.
type level int

const (
	levelEnough   level = iota
	levelLow            // nothing is acknowledged
	levelCritical       // nothing may be written at all
)

// readiness owns the question whether a store may acknowledge samples: what is
// acknowledged must be found again after a crash, and under its true time.
//
// It may not while the disk has less free space than the first floor, and
// below the second the TSDB has to be closed; after a write failed, until the
// TSDB was opened anew; while the clock is in doubt; and while it is not known
// what becomes of samples that the store has of the future.
type readiness struct {
	clock *clock.Clock
	// free returns the bytes that are free on the store's disk.
	free func() (int64, error)
	// trouble is sent to when a write failed.
	trouble chan struct{}

	mu     sync.Mutex
	low    int64 // the floors, in bytes
	closes int64
	looked time.Time
	bytes  int64
	level  level
	failed error // the write that failed
	ahead  bool
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

// check returns nil if samples may be acknowledged, else an ErrNotReady that
// says why they may not.
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
	if r.ahead {
		return errAhead
	}
	return nil
}

func (r *readiness) diskError() error {
	return fmt.Errorf("%w: %d MiB are free, and nothing is stored below %d MiB: free some space, or keep less",
		ErrDiskLow, r.bytes>>20, r.low>>20)
}

// disk returns how full the disk is, how many bytes are free and, if it is too
// full, that as an error.
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

// look looks at the disk, if nobody has of late. It needs r.mu.
func (r *readiness) look() {
	if time.Since(r.looked) < lookEvery {
		return
	}
	r.looked = time.Now()
	bytes, err := r.free()
	if err != nil {
		return // nothing is known of this file system
	}
	r.bytes = bytes
	r.level = next(r.level, bytes, r.low, r.closes)
}

// next is the level after before. A level is left upwards only when there is
// a half more than its floor, so that nothing opens and closes all the time, and
// that the reserve, once released, is not taken for room.
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

// recover notes that the TSDB was opened anew.
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

// setAhead notes whether the store has samples of the future of which it is not
// yet known what becomes.
func (r *readiness) setAhead(ahead bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ahead = ahead
}
