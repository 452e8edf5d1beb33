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
	// DefaultMaxAhead is Config.MaxAhead if the settings have none.
	DefaultMaxAhead = 10 * time.Minute
	// maxSpread is how far, in ms, a sample with Arrived may be behind the newest
	// sample of its series to be stored right after it. When many such samples come
	// at once, they are stored up to this far ahead. If a sample is further behind,
	// the clock was set back, or too many have come.
	maxSpread = 5000
)

// Why a sample is refused.
var (
	ErrFuture    = errors.New("too far ahead of this clock")
	ErrTooOld    = errors.New("too old")
	ErrDuplicate = errors.New("another value for a time that has one already")
)

// ingester stores batches of samples, one after another: of two samples of one time
// the first wins, so the ingester must know the first before it stores the second.
//
// A sample that is newer than all others of its series is stored at once. For any
// other sample the ingester has to read what the series has, which takes long. Other
// batches are stored meanwhile: their samples are newer than what is being read, or
// they wait for looking.
type ingester struct {
	database *database
	horizon  *horizon
	ready    *readiness
	now      func() time.Time

	// looking is held from before a batch reads what the store has until the batch
	// is stored. It is locked before mu.
	looking sync.Mutex

	mu       sync.Mutex
	maxAhead int64 // ms
	newest   newest
	failed   float64 // failed writes of the logs of newest.of, so far
}

// outcome is the result of a commit.
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
		// Others have stored samples meanwhile, so there may be more to read.
		if out, unknown, err = g.try(ctx, input, b, watermark); unknown == nil {
			return out, err
		}
	}
}

// try stores a batch. If something has to be read first, it stores nothing and
// returns what; the TSDB then stays open until look has read it.
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

// append adds the samples and commits them. committing is true once an error can
// only come from writing. It needs g.mu.
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

// pause blocks all commits until resume is called.
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
