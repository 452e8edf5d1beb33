package recorder

import (
	"context"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// seen tells which samples of a batch have come before. The TSDB tells so of a
// series' newest sample alone: of two older ones of the same time it would keep
// both, and show now the one and now the other.
type seen struct {
	ctx     context.Context
	in      *ingester
	refs    storage.GetRef
	samples []Sample
	// head and blocks are the newest times in the two parts of the TSDB.
	head, blocks int64
	found        map[seriesKey]*found
}

// found are the samples of a series that had to be looked up.
type found struct {
	// All samples of the times from and through are known.
	from, through int64
	newest        int64
	samples       map[int64]float64 // by time
}

// seriesKey is how the TSDB refers to a series or, where it is not in the head,
// the series itself: inputs may have several of the same labels.
type seriesKey struct {
	ref    storage.SeriesRef
	series *Series
}

func keyOf(s *Series) seriesKey {
	if s.ref != 0 {
		return seriesKey{ref: s.ref}
	}
	return seriesKey{series: s}
}

// seenBy needs g.mu.
func (g *ingester) seenBy(ctx context.Context, app storage.Appender, samples []Sample) *seen {
	w := &seen{ctx: ctx, in: g, samples: samples, head: g.of.Head().MaxTime(), blocks: -1 << 62}
	w.refs, _ = app.(storage.GetRef)
	// Series come and go: forget those that the TSDB has forgotten.
	if n := g.of.Head().NumSeries(); uint64(len(g.last)) > 2*n+1<<16 {
		clear(g.last)
	}
	for _, b := range g.of.Blocks() {
		w.blocks = max(w.blocks, b.Meta().MaxTime)
	}
	return w
}

// before reports whether the batch's sample i has come before, and its value then.
func (w *seen) before(i int) (bool, float64, error) {
	p := &w.samples[i]
	if p.Series.of != w.in.of.number {
		p.Series.of, p.Series.ref = w.in.of.number, 0
	}
	if p.Series.ref == 0 && w.refs != nil {
		p.Series.ref, _ = w.refs.GetRef(p.Series.Labels, p.Series.Labels.Hash())
	}
	if p.Series.ref == 0 {
		// A series that is not in the head has samples in blocks at most.
		if p.T > w.blocks {
			return false, 0, nil
		}
	} else {
		last, known := w.in.last[p.Series.ref]
		if !known {
			last = w.head
		}
		if p.T > last {
			return false, 0, nil
		}
	}
	f := w.found[keyOf(p.Series)]
	if f == nil || p.T < f.from || p.T > f.through {
		var err error
		if f, err = w.look(i); err != nil {
			return false, 0, err
		}
	}
	v, ok := f.samples[p.T]
	return ok, v, nil
}

// look finds the samples that the series of the batch's sample i has from the
// earliest time of the batch on.
func (w *seen) look(i int) (*found, error) {
	series := w.samples[i].Series
	key := keyOf(series)
	f := &found{from: w.samples[i].T, through: w.samples[i].T, newest: w.samples[i].T, samples: make(map[int64]float64)}
	for j := range w.samples {
		p := &w.samples[j]
		if keyOf(p.Series) != key {
			continue
		}
		f.from, f.through = min(f.from, p.T), max(f.through, p.T)
		if _, twice := f.samples[p.T]; j < i && !twice {
			f.add(p.T, p.V) // not yet committed, so the query does not see it
		}
	}
	var matchers []*labels.Matcher
	series.Labels.Range(func(l labels.Label) {
		matchers = append(matchers, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
	})
	// Up to the newest one if that is not known yet, to know it from now on.
	if _, known := w.in.last[key.ref]; !known {
		f.through = math.MaxInt64
	}
	q, err := w.in.of.Querier(f.from, f.through)
	if err != nil {
		return nil, fmt.Errorf("look for samples that came before: %w", err)
	}
	defer func() { _ = q.Close() }() // nothing was written
	set := q.Select(w.ctx, false, nil, matchers...)
	for set.Next() {
		if !labels.Equal(set.At().Labels(), series.Labels) {
			continue // it has more labels
		}
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			f.add(it.At())
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	if w.found == nil {
		w.found = make(map[seriesKey]*found)
	}
	w.found[key] = f
	return f, nil
}

func (f *found) add(t int64, v float64) {
	f.samples[t] = v
	f.newest = max(f.newest, t)
}

// add notes a sample that was given to the TSDB, which refers to it as ref.
func (w *seen) add(p *Sample, ref storage.SeriesRef) {
	newest := p.T
	if f := w.found[keyOf(p.Series)]; f != nil {
		f.add(p.T, p.V)
		newest = f.newest
		if p.Series.ref != ref { // the head has it from now on
			w.found[seriesKey{ref: ref}] = f
		}
	}
	p.Series.ref = ref
	w.in.last[ref] = max(newest, w.in.last[ref])
}
