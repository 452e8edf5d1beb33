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

// A sample that was stored while the clock was far ahead makes the TSDB refuse all
// correct ones until its time has come. So once the clock is right again, and has
// been for a while, the samples ahead of it are deleted.
//
// But the clock may be wrong now instead: a machine without a battery for its clock
// starts in the past, until it is told the time. Then the samples ahead are correct,
// and stay. Two signs tell these cases apart: correct samples continue from the
// clock's time without a hole, and no clock is right that is before this program was
// built.

// future is what a store knows about samples ahead of the clock.
type future struct {
	mu      sync.Mutex
	look    bool   // whether there may be such samples
	setBack uint64 // how often the clock was set back when due was called last
	since   time.Time
	removed *Removed
}

// Removed says which samples were deleted because they were ahead of this machine's
// clock.
type Removed struct {
	// Samples is the number of samples and At when they were deleted. The samples
	// were from From to To. All times are in Unix milliseconds.
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

// due reports whether watchFuture has to look for samples ahead of the clock.
func (f *future) due(setBack uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if setBack != f.setBack {
		f.setBack, f.look, f.since = setBack, true, time.Time{}
	}
	return f.look
}

// waited notes whether there are samples ahead of the clock, and whether all that the
// store has was looked at. It reports whether there have been such samples for at least
// clock.Confirmation.
func (f *future) waited(ahead, whole bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look = ahead || !whole
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

// watchFuture looks for samples ahead of the clock if there may be some. Nothing is
// acknowledged until they were deleted or found to be correct.
func (s *Store) watchFuture() {
	setBack := s.clock.SetBack()
	if !s.future.due(setBack) {
		return
	}
	s.horizon.setBack(s.limit())
	db, err := s.database.acquire()
	if err != nil {
		return // tried again once the store is open
	}
	now, doubt := s.clock.Check()
	limit := s.limit()
	newest := db.newest()
	inputs := db.hasAfter(limit)
	db.readers.Done()
	rules, known := s.rules.hasAfter(limit)
	s.ready.setAhead(inputs || rules, setBack)
	if !s.future.waited(inputs || rules, known) || doubt != nil {
		return
	}
	var removed *Removed
	behind := limit < built()
	if inputs && !behind {
		removed, err = s.removeFuture(limit)
		behind = removed == nil
	}
	switch {
	case err != nil:
		s.logger.Error("What the store has ahead of this machine's clock could not be deleted", "error", err)
		return // it is tried again
	case behind:
		s.logger.Warn("The store has samples ahead of this machine's clock, which is behind: set it", "clock", now, "newest", time.UnixMilli(newest))
	default:
		if err := s.rules.deleteUnsettled(context.Background()); err != nil {
			// Samples of inputs do not wait for that. It is tried again at the next start.
			s.logger.Error("What recording rules have recorded ahead of this machine's clock could not be deleted", "error", err)
		}
	}
	if removed != nil {
		removed.At = now.UnixMilli()
		s.logger.Warn("Samples ahead of this machine's clock were deleted", "samples", removed.Samples,
			"from", time.UnixMilli(removed.From), "to", time.UnixMilli(removed.To))
		s.horizon.changed("", removed.From, removed.To)
	}
	s.future.settle(removed)
	s.ready.setAhead(false, setBack)
}

// removeFuture deletes all samples of inputs after limit (Unix ms) and returns which.
// If the clock is wrong, not the samples, it deletes nothing and returns nil.
func (s *Store) removeFuture(limit int64) (*Removed, error) {
	resume := s.ingester.pause()
	defer resume()
	db, err := s.database.acquire()
	if err != nil {
		return nil, err
	}
	removed, err := ahead(db.DB, limit, s.ingester.maxAhead)
	db.readers.Done()
	if err != nil || removed == nil {
		return nil, err
	}
	return removed, s.database.deleteAfter(context.Background(), limit)
}

// deleteAfter deletes all samples after t (Unix ms), and has the TSDB take samples
// from then on as if there never were later ones: those that are in the two hours of a
// block before its end are out of order. Nobody may write meanwhile.
func (d *database) deleteAfter(ctx context.Context, t int64) error {
	return d.toBlocks(ctx, t, func(db *tsdb.DB) error {
		if err := db.Delete(ctx, t+1, math.MaxInt64, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".*")); err != nil {
			return err
		}
		return db.CleanTombstones()
	})
}

// ahead returns which samples are after limit, nil if the first of them is within
// hole (ms) of it.
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

// built returns about when this program was built, from the time of its file (Unix
// ms), 0 if unknown.
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
