package recorder

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Status is how a store is. It holds no addresses and no secrets.
type Status struct {
	Inputs []InputStatus `json:"inputs"`
	// Series is how many there are in the newest part of the store, which is
	// kept in memory and spans two to three hours.
	Series uint64 `json:"series"`
	// Bytes is what the store takes of the disk.
	Bytes int64 `json:"bytes"`
	// Oldest is the time of the oldest sample and Settled the settled time, in
	// Unix milliseconds; Oldest is 0 before there is a sample.
	Oldest  int64 `json:"oldest"`
	Settled int64 `json:"settled"`
}

// InputStatus is how an input has been since it began.
type InputStatus struct {
	ID      string  `json:"id"`
	Samples uint64  `json:"samples"`
	Late    uint64  `json:"late"`
	Refused Refused `json:"refused"`
	// Rate is in samples per second, over the last ten seconds.
	Rate float64 `json:"rate"`
	// Trouble is what is wrong now, LastError what last kept samples from being
	// stored.
	Trouble   string `json:"trouble,omitempty"`
	LastError string `json:"lastError,omitempty"`
}

// Refused counts samples that were not stored, by reason.
type Refused struct {
	Future    uint64 `json:"future"`
	TooOld    uint64 `json:"tooOld"`
	Duplicate uint64 `json:"duplicate"`
}

func (r *Refused) add(o Refused) {
	r.Future += o.Future
	r.TooOld += o.TooOld
	r.Duplicate += o.Duplicate
}

// Status returns how the store is.
func (s *Store) Status() Status {
	head := s.db.Head()
	st := Status{Series: head.NumSeries(), Bytes: head.Size()}
	for _, b := range s.db.Blocks() {
		st.Bytes += b.Size()
	}
	if oldest, err := s.db.StartTime(); err == nil && (head.NumSeries() > 0 || len(s.db.Blocks()) > 0) {
		st.Oldest = oldest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Settled = s.settle()
	now := s.now()
	for id, sink := range s.sinks {
		in := sink.status
		in.ID, in.Rate = id, sink.recent.perSecond(now)
		st.Inputs = append(st.Inputs, in)
	}
	slices.SortFunc(st.Inputs, func(a, b InputStatus) int { return cmp.Compare(a.ID, b.ID) })
	return st
}

// rate counts what came in each of the last seconds.
type rate struct {
	counts [10]uint64
	last   int64 // the second that was counted last
}

func (r *rate) roll(now time.Time) int {
	second, n := now.Unix(), int64(len(r.counts))
	for r.last = max(r.last, second-n); r.last < second; {
		r.last++
		r.counts[r.last%n] = 0
	}
	return int(r.last % n)
}

func (r *rate) add(now time.Time, n uint64) {
	r.counts[r.roll(now)] += n
}

func (r *rate) perSecond(now time.Time) float64 {
	r.roll(now)
	var sum uint64
	for _, n := range r.counts {
		sum += n
	}
	return float64(sum) / float64(len(r.counts))
}

// LabelNames returns the names of labels that series with samples from mint to
// maxt (Unix ms) have, at most limit of them.
func (s *Store) LabelNames(ctx context.Context, mint, maxt int64, limit int, matchers ...*labels.Matcher) (names []string, err error) {
	err = s.query(mint, maxt, func(q storage.Querier) (w annotations.Annotations, err error) {
		names, w, err = q.LabelNames(ctx, &storage.LabelHints{Limit: limit}, matchers...)
		return w, err
	})
	return names[:min(len(names), limit)], err
}

// LabelValues returns the values of a label, as LabelNames does its names.
func (s *Store) LabelValues(ctx context.Context, mint, maxt int64, limit int, name string, matchers ...*labels.Matcher) (values []string, err error) {
	err = s.query(mint, maxt, func(q storage.Querier) (w annotations.Annotations, err error) {
		values, w, err = q.LabelValues(ctx, name, &storage.LabelHints{Limit: limit}, matchers...)
		return w, err
	})
	return values[:min(len(values), limit)], err
}
