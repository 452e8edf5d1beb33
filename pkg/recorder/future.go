package recorder

import (
	"context"
	"errors"
	"math"
	"os"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
)

// A sample that was taken while the clock was far ahead has the TSDB refuse all
// true ones until its time has come. So once the clock is right again, and has
// been for a while, what is ahead of it is deleted.
//
// It may as well be the clock of now that is wrong: a machine without a battery
// for its clock starts in the past, until it is told the time. Then what is ahead
// is as true as the rest, and stays. That it goes on from where the clock is,
// without a hole, tells the one from the other; and no clock is right that is
// before this program was built.

// future has what a store knows of samples that are ahead of the clock.
type future struct {
	mu      sync.Mutex
	look    bool   // whether there are any is not known
	setBack uint64 // how often the clock was set back when that was last known
	since   time.Time
	removed *Removed
}

// Removed is what was deleted because it was ahead of this machine's clock.
type Removed struct {
	// Samples is how many there were, from From to To; At is when they were
	// deleted. All are in Unix milliseconds.
	Samples uint64 `json:"samples"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
	At      int64  `json:"at"`
}

// opened notes that the TSDB may have other samples than before.
func (f *future) opened() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look = true
}

func (f *future) last() *Removed {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.removed
}

// due reports whether it has to be looked for samples ahead of the clock.
func (f *future) due(setBack uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if setBack != f.setBack {
		f.setBack, f.look, f.since = setBack, true, time.Time{}
	}
	return f.look
}

// waited notes whether there are samples ahead of the clock, and reports whether
// there have been for long enough.
func (f *future) waited(ahead bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look = ahead
	if !ahead {
		f.since = time.Time{}
		return false
	}
	if f.since.IsZero() {
		f.since = time.Now()
	}
	return time.Since(f.since) >= clock.Confirmation
}

func (f *future) settle(removed *Removed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look, f.since = false, time.Time{}
	if removed != nil {
		f.removed = removed
	}
}

// limit returns the newest time (Unix ms) that a sample may have.
func (s *Store) limit() int64 { return s.clock.Now().UnixMilli() + s.ingester.ahead() }

// watchFuture looks for samples ahead of the clock when there may be some, and
// has nothing acknowledged until it is known what becomes of them.
func (s *Store) watchFuture() {
	if !s.future.due(s.clock.SetBack()) {
		return
	}
	db, err := s.database.acquire()
	if err != nil {
		return // until it is open
	}
	now, doubt := s.clock.Check()
	limit := s.limit()
	newest := db.newest()
	ahead := newest > limit && db.hasAfter(limit)
	db.readers.Done()
	s.ready.setAhead(ahead)
	if !s.future.waited(ahead) || doubt != nil {
		return
	}
	removed, err := s.removeFuture(limit)
	switch {
	case err != nil:
		s.logger.Error("What the store has ahead of this machine's clock could not be deleted", "error", err)
		return // and is tried again
	case removed == nil:
		s.logger.Warn("The store has samples ahead of this machine's clock, which is behind: set it", "clock", now, "newest", time.UnixMilli(newest))
	default:
		removed.At = now.UnixMilli()
		s.logger.Warn("Samples ahead of this machine's clock were deleted", "samples", removed.Samples,
			"from", time.UnixMilli(removed.From), "to", time.UnixMilli(removed.To))
		s.horizon.changed("", removed.From, removed.To)
	}
	s.future.settle(removed)
	s.ready.setAhead(false)
}

// removeFuture deletes all samples after limit (Unix ms), unless it is the clock
// that is wrong: then it returns nil.
func (s *Store) removeFuture(limit int64) (*Removed, error) {
	resume := s.ingester.pause()
	defer resume()
	db, err := s.database.acquire()
	if err != nil {
		return nil, err
	}
	removed, err := ahead(db.DB, limit, s.ingester.maxAhead)
	db.readers.Done()
	if err != nil || removed == nil || limit < built() {
		return nil, err
	}
	ctx := context.Background()
	err = s.database.toBlocks(ctx, limit, func(db *tsdb.DB) error {
		if err := db.Delete(ctx, limit+1, math.MaxInt64, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".*")); err != nil {
			return err
		}
		return db.CleanTombstones()
	})
	return removed, err
}

// ahead returns what there is after limit, nil if that begins within hole (ms).
func ahead(db *tsdb.DB, limit, hole int64) (*Removed, error) {
	q, err := db.Querier(limit+1, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	r := &Removed{From: math.MaxInt64, To: math.MinInt64}
	set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".*"))
	for r != nil && set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			t := it.AtT()
			if t <= limit+hole {
				r = nil
				break
			}
			r.Samples++
			r.From, r.To = min(r.From, t), max(r.To, t)
		}
		if it.Err() != nil {
			return nil, errors.Join(it.Err(), q.Close())
		}
	}
	return r, errors.Join(set.Err(), q.Close())
}

// built returns about when this program was built, 0 if that is not known.
func built() int64 {
	file, err := os.Executable()
	if err != nil {
		return 0
	}
	info, err := files.Stat(file)
	if err != nil {
		return 0
	}
	return info.ModTime().UnixMilli()
}
