package recorder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/storage"

	"github.com/continuum-live/continuum-datasource/pkg/internal/defence"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

const (
	// DefaultMaxAhead is how far ahead of this clock a sample may be, unless the
	// settings say otherwise.
	DefaultMaxAhead = 10 * time.Minute
	// maxSpread is how far behind the newest sample of its series an arrival may be, in
	// ms, to be stored after it: so far ahead are many stored that come at once. If it
	// is further behind, the clock was set back since, or there are too many.
	maxSpread = 5000
)

// Why a sample is refused.
var (
	ErrFuture    = errors.New("too far ahead of this clock")
	ErrTooOld    = errors.New("too old")
	ErrDuplicate = errors.New("another value for a time that has one already")
)

// ingester is the way of samples into the TSDB, for one batch at a time: of two
// samples of one time the first wins, so the second has to know the first.
//
// What is newer than all that its series has is stored at once. For the rest it has
// to be looked up what there is, which takes long. Others go on meanwhile: what they
// store is newer than what is looked up, unless they have to look, too.
type ingester struct {
	database *database
	horizon  *horizon
	ready    *readiness
	now      func() time.Time

	// looking is held from before a batch looks up what there is until it is
	// stored. It is locked before mu.
	looking sync.Mutex

	mu       sync.Mutex
	maxAhead int64 // ms
	newest   newest
	failed   float64 // writes of the logs of newest.of
}

// outcome is what came of a batch.
type outcome struct {
	stored, late, repeated uint64
	refused                Refused
	written                written
}

func (g *ingester) configure(maxAhead time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.maxAhead = cmp.Or(maxAhead, DefaultMaxAhead).Milliseconds()
}

// commit stores the samples of an input, see Sink.CommitEach.
func (g *ingester) commit(ctx context.Context, input string, samples []Sample, watermark int64, refuse func(int, error)) (outcome, error) {
	defence.Leak(len(samples))
	b := &batch{samples: samples, refuse: refuse}
	out, unknown, err := g.try(ctx, input, b, watermark)
	if unknown == nil {
		return out, err
	}
	g.looking.Lock()
	defer g.looking.Unlock()
	for {
		if err := b.look(ctx, unknown); err != nil {
			return outcome{}, err
		}
		// Others have stored samples meanwhile, so that there may be more to know.
		if out, unknown, err = g.try(ctx, input, b, watermark); unknown == nil {
			return out, err
		}
	}
}

// try stores a batch, unless more has to be known for that: then it returns what,
// to be looked up. Until its readers are done the TSDB stays open.
func (g *ingester) try(ctx context.Context, input string, b *batch, watermark int64) (out outcome, need *unknown, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	db, err := g.database.acquire()
	if err != nil {
		return out, nil, err
	}
	defer func() {
		if need == nil {
			db.readers.Done()
		}
	}()
	if len(b.samples) > 0 {
		if err := g.ready.check(); err != nil {
			return out, nil, err
		}
	}
	if g.newest.of != db {
		g.newest, g.failed = newest{of: db, times: make(map[storage.SeriesRef]*int64)}, db.failures.failedWrites()
	}
	g.newest.learn(b)
	if len(b.samples) == 0 {
		g.horizon.pass(input, watermark)
		return out, nil, nil
	}
	app := db.Appender(ctx)
	var wanted *unknown
	err = panics.Catch("store", func() error {
		wanted = b.plan(&g.newest, app)
		return nil
	})
	if err != nil || wanted != nil {
		if err = errors.Join(err, app.Rollback()); err == nil {
			need = wanted
		}
		return out, need, err
	}
	oldest, settled := g.horizon.hold()
	committing := false
	err = panics.Catch("store", func() (err error) {
		committing, err = g.append(app, b, oldest, settled, &out)
		return err
	})
	failed := db.failures.failedWrites()
	if err == nil && failed > g.failed {
		err = errors.New("a log of the TSDB could not be written")
	}
	if err != nil && (committing || failed > g.failed || errors.As(err, new(*panics.Error))) {
		g.ready.fail(err)
		err = fmt.Errorf("%w: %w", errWrite, err)
	}
	g.failed = failed
	if err != nil {
		out, watermark = outcome{written: written{metrics: out.written.metrics}}, math.MinInt64
	} else {
		b.stamp()
	}
	g.horizon.release(input, watermark, out.written)
	return out, nil, err
}

// append needs g.mu. It reports whether an error is one of writing.
func (g *ingester) append(app storage.Appender, b *batch, oldest, settled int64, out *outcome) (committing bool, err error) {
	latest, window := g.now().UnixMilli()+g.maxAhead, g.database.outOfOrder()
	for i := range b.samples {
		p := &b.samples[i]
		if p.T > latest {
			out.refused.Future++
			b.refuse(i, ErrFuture)
			continue
		}
		if p.T < oldest {
			out.refused.TooOld++
			b.refuse(i, ErrTooOld)
			continue
		}
		t, is, v := b.before(&g.newest, app, i)
		if is {
			if math.Float64bits(v) == math.Float64bits(p.V) {
				out.repeated++
			} else {
				out.refused.Duplicate++
				b.refuse(i, ErrDuplicate)
			}
			continue
		}
		if b.beyond(&g.newest, i, t, window) {
			out.refused.TooOld++
			b.refuse(i, ErrTooOld)
			continue
		}
		ref, err := app.Append(p.Series.ref, p.Series.Labels, t, p.V)
		switch {
		case err == nil:
			b.add(&g.newest, i, t, ref)
			out.stored++
			if !p.Series.noted {
				p.Series.noted = true
				out.written.metrics = append(out.written.metrics, p.Series.Labels.Get(model.MetricNameLabel))
			}
			if t <= settled {
				out.late++
				out.written.noteLate(p.Series.Labels.Get(model.MetricNameLabel), t)
			}
		case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrOutOfOrderSample):
			out.refused.TooOld++
			b.refuse(i, ErrTooOld)
		case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
			out.refused.Duplicate++
			b.refuse(i, ErrDuplicate)
		default:
			return false, errors.Join(err, app.Rollback())
		}
	}
	return true, app.Commit()
}

// pause keeps everybody from committing until resume is called.
func (g *ingester) pause() (resume func()) {
	g.mu.Lock()
	return g.mu.Unlock
}

// ahead returns how far ahead of the clock a sample may be, in ms.
func (g *ingester) ahead() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.maxAhead
}
