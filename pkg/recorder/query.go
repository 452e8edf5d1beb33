package recorder

import (
	"context"
	"errors"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Querier implements storage.Queryable. It leaves out samples older than the
// retention, which the TSDB only deletes in whole blocks. It sorts series by their
// labels: otherwise sums of them would differ in the last bits.
func (s *Store) Querier(mint, maxt int64) (storage.Querier, error) {
	db, err := s.database.acquire()
	if err != nil {
		return nil, err
	}
	oldest, _ := s.horizon.times()
	s.usage.note()
	q := storage.NoopQuerier()
	if maxt >= oldest {
		if q, err = db.Querier(max(mint, oldest), maxt); err != nil {
			db.readers.Done()
			return nil, err
		}
	}
	return &querier{Querier: q, oldest: oldest, release: sync.OnceFunc(db.readers.Done)}, nil
}

type querier struct {
	storage.Querier
	oldest  int64
	release func()
}

func (q *querier) Close() error {
	defer q.release()
	return q.Querier.Close()
}

func (q *querier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
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

// query runs do on a querier of the times from mint to maxt.
func (s *Store) query(mint, maxt int64, do func(storage.Querier) (annotations.Annotations, error)) error {
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
	n = db.Head().NumSeries()
	for _, b := range db.Blocks() {
		n += b.Meta().Stats.NumSeries
	}
	return n, nil
}

// CountSeries returns how many matching series may have samples from mint to maxt
// (Unix ms).
func (s *Store) CountSeries(ctx context.Context, mint, maxt int64, matchers ...*labels.Matcher) (n uint64, err error) {
	err = s.query(mint, maxt, func(q storage.Querier) (annotations.Annotations, error) {
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
