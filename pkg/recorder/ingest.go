package recorder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/prometheus/prometheus/storage"
)

// DefaultMaxAhead is how far ahead of this clock a sample may be, unless the
// settings say otherwise.
const DefaultMaxAhead = 10 * time.Minute

// Why a sample is refused.
var (
	ErrFuture    = errors.New("too far ahead of this clock")
	ErrTooOld    = errors.New("too old")
	ErrDuplicate = errors.New("another value for a time that has one already")
)

// ingester is the way of samples into the TSDB, for one batch at a time: of two
// samples of one time the first wins, so the second has to know the first.
type ingester struct {
	database *database
	horizon  *horizon
	ready    *readiness
	now      func() time.Time

	mu       sync.Mutex
	maxAhead int64                       // ms
	of       *opened                     // what the next two are about
	last     map[storage.SeriesRef]int64 // the newest time of series, where known
	failed   float64                     // writes
}

// outcome is what came of a batch.
type outcome struct {
	stored, late, repeated uint64
	refused                Refused
}

func (g *ingester) configure(maxAhead time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.maxAhead = cmp.Or(maxAhead, DefaultMaxAhead).Milliseconds()
}

// commit stores the samples of an input, see Sink.CommitEach.
func (g *ingester) commit(ctx context.Context, input string, samples []Sample, watermark int64, refuse func(int, error)) (out outcome, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	db, err := g.database.acquire()
	if err != nil {
		return out, err
	}
	defer db.readers.Done()
	if len(samples) > 0 {
		if err := g.ready.check(); err != nil {
			return out, err
		}
	}
	if g.of != db {
		g.of, g.last, g.failed = db, make(map[storage.SeriesRef]int64), db.failures.failedWrites()
	}
	oldest, settled := g.horizon.hold()
	if len(samples) > 0 {
		committing := false
		err = recovered("store samples", func() (err error) {
			committing, err = g.append(ctx, samples, oldest, settled, refuse, &out)
			return err
		})
		failed := db.failures.failedWrites()
		if err == nil && failed > g.failed {
			err = errors.New("a log of the TSDB could not be written")
		}
		if err != nil && (committing || failed > g.failed || errors.As(err, new(panicked))) {
			g.ready.fail(err)
			err = fmt.Errorf("%w: %w", errWrite, err)
		}
		g.failed = failed
	}
	if err != nil {
		out, watermark = outcome{}, math.MinInt64
	}
	g.horizon.release(input, watermark, out.late)
	return out, err
}

// append needs g.mu. It reports whether an error is one of writing.
func (g *ingester) append(ctx context.Context, samples []Sample, oldest, settled int64, refuse func(int, error), out *outcome) (committing bool, err error) {
	newest := g.now().UnixMilli() + g.maxAhead
	app := g.of.Appender(ctx)
	seen := g.seenBy(ctx, app, samples)
	for i := range samples {
		p := &samples[i]
		if p.T > newest {
			out.refused.Future++
			refuse(i, ErrFuture)
			continue
		}
		if p.T < oldest {
			out.refused.TooOld++
			refuse(i, ErrTooOld)
			continue
		}
		is, v, err := seen.before(i)
		if err != nil {
			return false, errors.Join(err, app.Rollback())
		}
		if is {
			if math.Float64bits(v) == math.Float64bits(p.V) {
				out.repeated++
			} else {
				out.refused.Duplicate++
				refuse(i, ErrDuplicate)
			}
			continue
		}
		ref, err := app.Append(p.Series.ref, p.Series.Labels, p.T, p.V)
		switch {
		case err == nil:
			seen.add(p, ref)
			out.stored++
			if p.T <= settled {
				out.late++
			}
		case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrOutOfOrderSample):
			out.refused.TooOld++
			refuse(i, ErrTooOld)
		case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
			out.refused.Duplicate++
			refuse(i, ErrDuplicate)
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
