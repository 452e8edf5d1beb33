package recorder

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Querier implements storage.Queryable. It has what inputs bring and what rules record,
// and leaves out samples older than the retention of these, which the TSDB only deletes
// in whole blocks. It sorts series by their labels: otherwise sums of them would differ
// in the last bits.
func (s *Store) Querier(mint, maxt int64) (storage.Querier, error) {
	s.usage.note()
	return s.querier(mint, maxt)
}

func (s *Store) querier(mint, maxt int64) (storage.Querier, error) {
	db, err := s.database.acquire()
	if err != nil {
		return nil, err
	}
	oldest, _ := s.horizon.times()
	q := storage.NoopQuerier()
	if maxt >= oldest {
		if q, err = db.Querier(max(mint, oldest), maxt); err != nil {
			db.readers.Done()
			return nil, err
		}
	}
	return &querier{Querier: q, oldest: oldest, release: sync.OnceFunc(db.readers.Done),
		recorded: func(matchers []*labels.Matcher) (storage.Querier, error) {
			return s.rules.querier(mint, maxt, matchers)
		}}, nil
}

// quiet are the samples of a store for those who do not count as somebody who asks.
type quiet struct{ *Store }

func (s quiet) Querier(mint, maxt int64) (storage.Querier, error) { return s.querier(mint, maxt) }

func (s quiet) CountSeries(ctx context.Context, mint, maxt int64, matchers ...*labels.Matcher) (uint64, error) {
	return countSeries(ctx, s, mint, maxt, matchers)
}

// querier reads what inputs bring and, once it is needed, what rules record.
type querier struct {
	storage.Querier
	oldest  int64
	release func()
	// recorded returns nil if rules have recorded nothing that matches.
	recorded func([]*labels.Matcher) (storage.Querier, error)
	opened   []storage.Querier
}

func (q *querier) Close() error {
	defer q.release()
	err := q.Querier.Close()
	for _, o := range q.opened {
		err = errors.Join(err, o.Close())
	}
	return err
}

// rules returns what recorded does. It is closed with q.
func (q *querier) rules(matchers []*labels.Matcher) (storage.Querier, error) {
	of, err := q.recorded(matchers)
	if of != nil {
		q.opened = append(q.opened, of)
	}
	return of, err
}

func (q *querier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	rules, err := q.rules(matchers)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	set := q.inputs(ctx, hints, matchers)
	if rules == nil {
		return set
	}
	return storage.NewMergeSeriesSet([]storage.SeriesSet{set, rules.Select(ctx, true, hints, matchers...)}, 0, storage.ChainedSeriesMerge)
}

// inputs selects from what inputs bring.
func (q *querier) inputs(ctx context.Context, hints *storage.SelectHints, matchers []*labels.Matcher) storage.SeriesSet {
	if hints != nil && hints.Start < q.oldest {
		h := *hints
		h.Start = q.oldest
		hints = &h
		if h.End < h.Start {
			return storage.EmptySeriesSet()
		}
	}
	return q.Querier.Select(ctx, true, hints, matchers...)
}

// LabelNames implements storage.Querier.
func (q *querier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.labels(matchers, func(of storage.Querier) ([]string, annotations.Annotations, error) {
		return of.LabelNames(ctx, hints, matchers...)
	})
}

// LabelValues implements storage.Querier.
func (q *querier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.labels(matchers, func(of storage.Querier) ([]string, annotations.Annotations, error) {
		return of.LabelValues(ctx, name, hints, matchers...)
	})
}

// labels returns what get returns of both, sorted.
func (q *querier) labels(matchers []*labels.Matcher, get func(storage.Querier) ([]string, annotations.Annotations, error)) ([]string, annotations.Annotations, error) {
	all, said, err := get(q.Querier)
	if err != nil {
		return nil, said, err
	}
	rules, err := q.rules(matchers)
	if rules == nil || err != nil {
		return all, said, err
	}
	more, also, err := get(rules)
	all = append(slices.Clone(all), more...)
	slices.Sort(all)
	return slices.Compact(all), said.Merge(also), err
}

// query runs do on a querier of the times from mint to maxt.
func (s *Store) query(mint, maxt int64, do func(storage.Querier) (annotations.Annotations, error)) error {
	return query(s, mint, maxt, do)
}

func query(s storage.Queryable, mint, maxt int64, do func(storage.Querier) (annotations.Annotations, error)) error {
	q, err := s.Querier(mint, maxt)
	if err != nil {
		return err
	}
	_, err = do(q)
	return errors.Join(err, q.Close())
}

// MostSeries returns an upper bound of how many series the store has.
func (s *Store) MostSeries() (n uint64, err error) {
	db, err := s.database.acquire()
	if err != nil {
		return 0, err
	}
	defer db.readers.Done()
	return db.series() + s.rules.mostSeries(), nil
}

// CountSeries returns how many matching series may have samples from mint to maxt
// (Unix ms).
func (s *Store) CountSeries(ctx context.Context, mint, maxt int64, matchers ...*labels.Matcher) (uint64, error) {
	return countSeries(ctx, s, mint, maxt, matchers)
}

func countSeries(ctx context.Context, s storage.Queryable, mint, maxt int64, matchers []*labels.Matcher) (n uint64, err error) {
	err = query(s, mint, maxt, func(q storage.Querier) (annotations.Annotations, error) {
		set := q.Select(ctx, false, &storage.SelectHints{Start: mint, End: maxt, Func: "series", DisableTrimming: true}, matchers...)
		for set.Next() {
			n++
		}
		return set.Warnings(), set.Err()
	})
	return n, err
}

// LabelNames returns the label names of matching series with samples from mint to
// maxt (Unix ms), at most limit of them.
func (s *Store) LabelNames(ctx context.Context, mint, maxt int64, limit int, matchers ...*labels.Matcher) (names []string, err error) {
	err = s.query(mint, maxt, func(q storage.Querier) (w annotations.Annotations, err error) {
		names, w, err = q.LabelNames(ctx, &storage.LabelHints{Limit: limit}, matchers...)
		return w, err
	})
	return names[:min(len(names), limit)], err
}

// LabelValues returns the values of a label, with the same arguments as LabelNames.
func (s *Store) LabelValues(ctx context.Context, mint, maxt int64, limit int, name string, matchers ...*labels.Matcher) (values []string, err error) {
	err = s.query(mint, maxt, func(q storage.Querier) (w annotations.Annotations, err error) {
		values, w, err = q.LabelValues(ctx, name, &storage.LabelHints{Limit: limit}, matchers...)
		return w, err
	})
	return values[:min(len(values), limit)], err
}
