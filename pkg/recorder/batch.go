package recorder

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// batch is samples on their way into the TSDB. It finds those that the store has
// already. The TSDB checks that only for the newest sample of a series: of two older
// samples of the same time it would keep both, and show sometimes one, sometimes the
// other.
type batch struct {
	samples []Sample
	refuse  func(int, error)

	next int // all samples before it are stored or refused
	out  outcome
	// held: the horizon holds the settled time, which is settled, until the last part
	// is stored. oldest is the oldest time that is kept.
	held            bool
	oldest, settled int64

	of    *opened
	known map[seriesKey]*known
	// newest has the times that look has read of all series, for newest.learn.
	newest map[storage.SeriesRef]int64
	// series are the indexes of samples by the labels of their series, nil until they
	// are needed.
	series map[string][]int
}

// seriesKey is how the TSDB refers to a series or, if the series is not in the head,
// its labels: several Series of inputs may have the same labels.
type seriesKey struct {
	ref    storage.SeriesRef
	labels string
}

func keyOf(s *Series) seriesKey {
	if s.ref != 0 {
		return seriesKey{ref: s.ref}
	}
	return seriesKey{labels: string(s.Labels.Bytes(nil))}
}

// known are samples of a series: all from one time through another that were stored
// when it was read, and those of the batch that were added since.
type known struct {
	series        *Series
	from, through int64
	samples       map[int64]float64 // by time
	newest        int64
	searched      [2]int64 // the times from the first up to the second have samples
}

func (k *known) add(t int64, v float64) {
	k.samples[t] = v
	k.newest = max(k.newest, t)
}

// unknown is what has to be read before a batch can be stored.
type unknown struct {
	newest bool // the newest times of all series
	series map[seriesKey]*known
}

// plan returns what has to be read before the rest of the batch can be stored, nil if
// nothing.
// It needs the ingester's lock.
func (b *batch) plan(n *newest, app storage.Appender) *unknown {
	if b.of != n.of {
		b.of, b.known = n.of, nil
	}
	need := &unknown{}
	bound := n.bound()
	for i := b.next; i < len(b.samples); i++ {
		p := &b.samples[i]
		b.resolve(p.Series, app)
		newest, sure := bound.of(n, p.Series)
		again := p.tried && p.T <= newest
		if p.T > newest || sure && p.Arrived && !again && newest-p.T < maxSpread {
			continue
		}
		if !sure && p.Series.ref != 0 && !n.all {
			need.newest = true
			continue
		}
		key := keyOf(p.Series)
		k := b.known[key]
		if k != nil && k.from <= p.T && (p.T <= k.through && !p.Arrived || newest <= k.through) {
			continue
		}
		next := need.series[key]
		if next == nil {
			next = &known{series: p.Series, from: p.T, through: newest, samples: make(map[int64]float64), newest: math.MinInt64}
			if k != nil {
				next.from, next.through = min(next.from, k.from), max(next.through, k.through)
			}
			if need.series == nil {
				need.series = make(map[seriesKey]*known)
			}
			need.series[key] = next
		}
		next.from = min(next.from, p.T)
	}
	if !need.newest && need.series == nil {
		return nil
	}
	return need
}

// resolve sets how the opened TSDB refers to the series.
func (b *batch) resolve(s *Series, app storage.Appender) {
	if now := b.of.refs.Load(); s.of != now {
		s.of, s.ref, s.newest = now, 0, nil
	}
	if refs, ok := app.(storage.GetRef); ok && s.ref == 0 {
		s.ref, _ = refs.GetRef(s.Labels, s.Labels.Hash())
	}
}

// look reads what is unknown and releases the TSDB. It does not need the ingester's
// lock, so others can store samples meanwhile.
func (b *batch) look(ctx context.Context, need *unknown) (err error) {
	defer b.of.readers.Done()
	return panics.Catch("store", func() (err error) {
		if need.newest {
			if b.newest, err = readNewest(ctx, b.of.Head()); err != nil {
				return err
			}
		}
		if len(need.series) == 0 {
			return nil
		}
		from, through := int64(math.MaxInt64), int64(math.MinInt64)
		for _, k := range need.series {
			from, through = min(from, k.from), max(through, k.through)
		}
		q, err := b.of.Querier(from, through)
		if err != nil {
			return fmt.Errorf("look for samples that came before: %w", err)
		}
		defer func() { _ = q.Close() }() // nothing was written
		if b.known == nil {
			b.known = make(map[seriesKey]*known)
		}
		var it chunkenc.Iterator
		for key, k := range need.series {
			if it, err = k.read(ctx, q, it); err != nil {
				return err
			}
			b.known[key] = k
		}
		return nil
	})
}

func (k *known) read(ctx context.Context, q storage.Querier, it chunkenc.Iterator) (chunkenc.Iterator, error) {
	var matchers []*labels.Matcher
	k.series.Labels.Range(func(l labels.Label) {
		matchers = append(matchers, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
	})
	set := q.Select(ctx, false, &storage.SelectHints{Start: k.from, End: k.through}, matchers...)
	for set.Next() {
		if !labels.Equal(set.At().Labels(), k.series.Labels) {
			continue // it has more labels
		}
		it = set.At().Iterator(it)
		if it.Seek(k.from) == chunkenc.ValNone {
			if it.Err() != nil {
				return it, it.Err()
			}
			continue
		}
		for ok := true; ok && it.AtT() <= k.through; ok = it.Next() != chunkenc.ValNone {
			k.add(it.At())
		}
		if err := it.Err(); err != nil {
			return it, err
		}
	}
	return it, set.Err()
}

// before returns the time at which sample i is to be stored. If the series has a
// sample of that time already, is is true, and v is its value. What plan returns
// must have been read.
func (b *batch) before(n *newest, app storage.Appender, i int) (t int64, is bool, v float64) {
	p := &b.samples[i]
	b.resolve(p.Series, app) // an equal one may have been added since
	var k *known
	if len(b.known) > 0 {
		k = b.known[keyOf(p.Series)]
	}
	if k != nil && p.tried {
		if v, is := k.samples[p.T]; is && math.Float64bits(v) == math.Float64bits(p.V) {
			return p.T, true, v
		}
	}
	newest, sure := n.timeOf(p.Series)
	if k == nil && sure && p.T <= newest && !p.Arrived {
		k = b.within(i)
	}
	if k != nil && !sure {
		newest, sure = k.newest, true
	}
	if p.Arrived && sure && p.T <= newest {
		return b.spread(i, k, newest)
	}
	if k != nil {
		v, is = k.samples[p.T]
	}
	return p.T, is, v
}

// spread returns the time of a sample with Arrived that is not newer than the newest
// sample of its series: the next free millisecond. If there is none nearby, full is
// true, unless the sample is the last one of its series in the batch: that one is
// stored. v is the value of that last one.
func (b *batch) spread(i int, k *known, newest int64) (t int64, full bool, v float64) {
	p := &b.samples[i]
	if newest-p.T < maxSpread || k == nil {
		return newest + 1, false, 0
	}
	// The clock was set back, or very many came at once.
	if t, ok := k.free(p.T); ok {
		return t, false, 0
	}
	last := b.lastOf(p.Series)
	return newest + 1, last != i, b.samples[last].V
}

// free returns the first time from t on, within maxSpread, that has no sample.
func (k *known) free(t int64) (int64, bool) {
	if t < k.searched[0] || t > k.searched[1] {
		k.searched = [2]int64{t, t}
	}
	for ; k.searched[1] < t+maxSpread; k.searched[1]++ {
		if _, taken := k.samples[k.searched[1]]; !taken {
			return k.searched[1], true
		}
	}
	return 0, false
}

// lastOf returns the index of the last sample of a series in the batch.
func (b *batch) lastOf(s *Series) int {
	all := b.indexes(s)
	return all[len(all)-1]
}

// indexes returns the indexes of all samples of a series in the batch.
func (b *batch) indexes(s *Series) []int {
	var key []byte
	if b.series == nil {
		b.series = make(map[string][]int)
		for i := range b.samples {
			key = b.samples[i].Series.Labels.Bytes(key)
			b.series[string(key)] = append(b.series[string(key)], i)
		}
	}
	return b.series[string(s.Labels.Bytes(key))]
}

// within returns the samples of i's series that come before i in the batch.
func (b *batch) within(i int) *known {
	s := b.samples[i].Series
	// Nothing was read, so these are all samples of no time.
	k := &known{series: s, from: math.MaxInt64, through: math.MinInt64, samples: make(map[int64]float64), newest: math.MinInt64}
	for _, j := range b.indexes(s) {
		if j == i {
			break
		}
		t := b.samples[j].T
		if _, twice := k.samples[t]; !twice {
			k.add(t, b.samples[j].V)
		}
	}
	if b.known == nil {
		b.known = make(map[seriesKey]*known)
	}
	b.known[keyOf(s)] = k
	return k
}

// behind reports whether sample i is out of order at the time t, and whether it is
// beyond the window. The TSDB itself does not see that of samples after newer ones of
// the same part, and drops them without a word.
func (b *batch) behind(n *newest, i int, t, window int64) (is, beyond bool) {
	newest, known := n.timeOf(b.samples[i].Series)
	is = known && t < newest
	return is, is && (window == 0 || t < n.of.Head().MaxTime()-window)
}

// add notes that the TSDB has taken sample i for the time t, and refers to its
// series as ref.
func (b *batch) add(n *newest, i int, t int64, ref storage.SeriesRef) {
	p := &b.samples[i]
	latest := t
	if len(b.known) > 0 {
		if k := b.known[keyOf(p.Series)]; k != nil {
			k.add(t, p.V)
			latest = k.newest
			b.known[seriesKey{ref: ref}] = k // the head has it from now on
		}
	}
	n.note(p.Series, ref, latest)
	if p.Arrived {
		p.T, p.tried = t, true
	}
}

// newest has the times of the newest samples by series.
type newest struct {
	of    *opened
	times map[storage.SeriesRef]*int64
	// all means that a series that is not in times has no sample in order in the
	// head.
	all bool
}

// timeOf returns the time of the newest sample of a series, if it is known.
func (n *newest) timeOf(s *Series) (int64, bool) {
	if s.newest == nil && s.ref != 0 {
		s.newest = n.times[s.ref]
	}
	if s.newest == nil {
		return 0, false
	}
	return *s.newest, true
}

// note notes that the TSDB refers to a series as ref, and has a sample of it at t.
func (n *newest) note(s *Series, ref storage.SeriesRef, t int64) {
	if s.ref != ref {
		s.ref, s.newest = ref, nil
	}
	if old, ok := n.timeOf(s); ok {
		*s.newest = max(old, t)
		return
	}
	s.newest = n.add(ref, t)
}

func (n *newest) add(ref storage.SeriesRef, t int64) *int64 {
	n.times[ref] = &t
	return &t
}

// learn takes over what a batch has read, and forgets series that left the head.
func (n *newest) learn(b *batch) {
	defer func() {
		for _, ref := range n.of.takeGone() {
			delete(n.times, ref)
		}
	}()
	if b.newest == nil {
		return
	}
	if b.of == n.of {
		for ref, t := range b.newest {
			if old := n.times[ref]; old != nil {
				*old = max(*old, t)
			} else {
				n.add(ref, t)
			}
		}
		n.all = true
	}
	b.newest = nil
}

// bound is the latest time that a sample may have if the newest sample of its series
// is not known: in the head, and in blocks or out of order.
type bound struct{ head, elsewhere int64 }

func (n *newest) bound() bound {
	b := bound{head: n.of.Head().MaxTime(), elsewhere: n.of.Head().MaxOOOTime()}
	for _, block := range n.of.Blocks() {
		b.elsewhere = max(b.elsewhere, block.Meta().MaxTime)
	}
	return b
}

// of returns the time of the newest sample of a series. If that is not known, sure
// is false, and the time is a bound: no sample of the series is newer.
func (b bound) of(n *newest, s *Series) (newest int64, sure bool) {
	if t, ok := n.timeOf(s); ok {
		return t, true
	}
	if s.ref == 0 || n.all {
		return b.elsewhere, false
	}
	return max(b.head, b.elsewhere), false
}

// readNewest returns the time of the newest in-order sample in the head of each
// series.
func readNewest(ctx context.Context, head *tsdb.Head) (_ map[storage.SeriesRef]int64, err error) {
	ir, err := head.Index()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ir.Close()) }()
	cr, err := head.Chunks()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cr.Close()) }()
	name, value := index.AllPostingsKey()
	all, err := ir.Postings(ctx, name, value)
	if err != nil {
		return nil, err
	}
	times := make(map[storage.SeriesRef]int64, head.NumSeries())
	var builder labels.ScratchBuilder
	var metas []chunks.Meta
	for all.Next() {
		err := ir.Series(all.At(), &builder, &metas)
		if errors.Is(err, storage.ErrNotFound) || err == nil && len(metas) == 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		last := metas[len(metas)-1]
		// An open chunk has no end time in the index, so its reader is asked.
		if reader, ok := cr.(tsdb.ChunkReaderWithCopy); ok && last.MaxTime == math.MaxInt64 {
			if _, _, last.MaxTime, err = reader.ChunkOrIterableWithCopy(last); err != nil {
				if errors.Is(err, storage.ErrNotFound) {
					continue
				}
				return nil, err
			}
		}
		times[all.At()] = last.MaxTime
	}
	return times, all.Err()
}
