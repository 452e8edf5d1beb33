package recorder

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// precision is how far apart the times are at least for which rules are evaluated, in
// ms. The value of a time may be stored at any of the times before the next one.
const precision = 1000

// learn finds out which metrics the TSDB has.
func (r *rules) learn(d *database) error {
	db, err := d.acquire()
	if err != nil {
		return err
	}
	defer db.readers.Done()
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	all, _, err := q.LabelValues(context.Background(), model.MetricNameLabel, nil)
	if err == nil {
		r.mu.Lock()
		for _, name := range all {
			r.names[name] = true
		}
		r.mu.Unlock()
	}
	return errors.Join(err, q.Close())
}

// has reports whether there may be samples of a metric. It needs r.mu.
func (r *rules) has(metric string) bool {
	return r.names[metric] || slices.ContainsFunc(r.all, func(u *rule) bool { return u.Record == metric })
}

// matches reports whether there may be samples that match. It needs r.mu.
func (r *rules) matches(matchers []*labels.Matcher) bool {
	metric := metricOf(matchers)
	return metric == "" || r.has(metric)
}

// querier returns a querier of what the rules have recorded, and nil if they have
// recorded no series that match.
func (r *rules) querier(mint, maxt int64, matchers []*labels.Matcher) (storage.Querier, error) {
	r.mu.Lock()
	d, retention, trouble := r.recorded, r.retention, r.trouble
	none := d == nil && trouble == nil || !r.matches(matchers)
	r.mu.Unlock()
	_, settled := r.horizon.times()
	mint = ceil(max(mint, settled-retention), precision)
	if none || maxt < mint {
		return nil, nil
	}
	if d == nil {
		return nil, trouble
	}
	db, err := d.acquire()
	if err != nil {
		return nil, err
	}
	q, err := db.Querier(mint, throughOf(maxt))
	if err != nil {
		db.readers.Done()
		return nil, err
	}
	return &onGrid{Querier: q, mint: mint, release: sync.OnceFunc(db.readers.Done)}, nil
}

// throughOf returns the last time at which the value of a grid time up to maxt may be
// stored.
func throughOf(maxt int64) int64 {
	if maxt > math.MaxInt64-precision {
		return math.MaxInt64
	}
	return ceil(maxt+1, precision) - 1
}

// delete deletes what rules have recorded, as Store.Delete does.
func (r *rules) delete(ctx context.Context, mint, maxt int64, matchers []*labels.Matcher) error {
	r.working.Lock()
	defer r.working.Unlock()
	r.mu.Lock()
	d, matches := r.recorded, r.matches(matchers)
	r.mu.Unlock()
	if d == nil || !matches {
		return nil
	}
	if err := d.delete(ctx, ceil(mint, precision), throughOf(maxt), matchers); err != nil {
		return err
	}
	return d.clean()
}

// hasAfter reports whether there is a sample after t (Unix ms). known is false if that
// cannot be known, because the TSDB is not open.
func (r *rules) hasAfter(t int64) (has, known bool) {
	d := r.results()
	if d == nil {
		return false, true
	}
	db, err := d.acquire()
	if err != nil {
		return false, false
	}
	defer db.readers.Done()
	return db.hasAfter(t), true
}

// deleteUnsettled deletes what is after the settled time, because the clock was ahead.
// The rules are evaluated for these times once they have come.
func (r *rules) deleteUnsettled(ctx context.Context) error {
	_, settled := r.horizon.times()
	r.working.Lock()
	defer r.working.Unlock()
	r.mu.Lock()
	d := r.recorded
	for _, u := range r.all {
		u.through = min(u.through, settled-settled%u.step())
	}
	r.mu.Unlock()
	if d == nil {
		return nil
	}
	return d.deleteAfter(ctx, throughOf(settled))
}

// mostSeries returns an upper bound of how many series there are.
func (r *rules) mostSeries() uint64 {
	d := r.results()
	if d == nil {
		return 0
	}
	db, err := d.acquire()
	if err != nil {
		return 0
	}
	defer db.readers.Done()
	return db.series()
}

// series returns an upper bound of how many series the TSDB has.
func (o *opened) series() uint64 {
	n := o.Head().NumSeries()
	for _, b := range o.Blocks() {
		n += b.Meta().Stats.NumSeries
	}
	return n
}

// size returns how many bytes of the disk the TSDB takes.
func (o *opened) size() int64 {
	n := o.Head().Size()
	for _, b := range o.Blocks() {
		n += b.Size()
	}
	return n
}

// oldest returns the time (Unix ms) of the oldest sample by the TSDB's own bookkeeping,
// which leaves out late samples that are in memory; math.MaxInt64 if the TSDB is empty.
func (o *opened) oldest() int64 {
	oldest := o.Head().MinTime()
	for _, b := range o.Blocks() {
		oldest = min(oldest, b.Meta().MinTime)
	}
	return oldest
}

// onGrid reads what rules have recorded: of the samples that are stored for a grid time
// the last one, at the grid time.
type onGrid struct {
	storage.Querier
	mint    int64
	release func()
}

func (q *onGrid) Close() error {
	defer q.release()
	return q.Querier.Close()
}

func (q *onGrid) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	if hints != nil {
		h := *hints
		h.Start, h.End = max(q.mint, ceil(h.Start, precision)), throughOf(h.End)
		if hints = &h; h.End < h.Start {
			return storage.EmptySeriesSet()
		}
	}
	return gridSet{q.Querier.Select(ctx, true, hints, matchers...)}
}

type gridSet struct{ storage.SeriesSet }

func (s gridSet) At() storage.Series { return gridSeries{s.SeriesSet.At()} }

type gridSeries struct{ storage.Series }

func (s gridSeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	g, ok := it.(*gridIterator)
	if !ok {
		g = &gridIterator{}
	}
	*g = gridIterator{of: s.Series.Iterator(g.of), at: math.MinInt64}
	return g
}

// gridIterator is one sample ahead of what it returns.
type gridIterator struct {
	of   chunkenc.Iterator
	at   int64
	v    float64
	next chunkenc.ValueType
	read bool // next is known
}

var _ chunkenc.Iterator = (*gridIterator)(nil)

// Next implements chunkenc.Iterator.
func (g *gridIterator) Next() chunkenc.ValueType {
	if !g.read {
		g.next, g.read = g.of.Next(), true
	}
	return g.last()
}

// last moves to the last of the samples of the grid time at which of is.
func (g *gridIterator) last() chunkenc.ValueType {
	if g.next != chunkenc.ValFloat {
		return chunkenc.ValNone
	}
	t := g.of.AtT()
	g.at = t - t%precision
	for g.next == chunkenc.ValFloat && g.of.AtT() < g.at+precision {
		_, g.v = g.of.At()
		g.next = g.of.Next()
	}
	return chunkenc.ValFloat
}

// Seek implements chunkenc.Iterator.
func (g *gridIterator) Seek(t int64) chunkenc.ValueType { //nolint:govet // it is not io.Seeker's
	if g.read && g.at >= t && g.at != math.MinInt64 {
		return chunkenc.ValFloat
	}
	if !g.read || g.next != chunkenc.ValNone {
		g.next, g.read = g.of.Seek(ceil(t, precision)), true
	}
	return g.last()
}

// At implements chunkenc.Iterator.
func (g *gridIterator) At() (int64, float64) { return g.at, g.v }

// AtT implements chunkenc.Iterator.
func (g *gridIterator) AtT() int64 { return g.at }

// AtST implements chunkenc.Iterator. There are no start times.
func (*gridIterator) AtST() int64 { return 0 }

// Err implements chunkenc.Iterator.
func (g *gridIterator) Err() error { return g.of.Err() }

// AtHistogram implements chunkenc.Iterator. Rules record no histograms.
func (g *gridIterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return g.at, nil
}

// AtFloatHistogram implements chunkenc.Iterator.
func (g *gridIterator) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return g.at, nil
}
