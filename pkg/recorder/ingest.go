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
	// maxBehind is how many samples out of order are stored at once. The time that
	// the TSDB takes for them grows with the square of their number.
	maxBehind = 100
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
// they wait for looking. They are also stored between the parts of a batch with many
// samples out of order.
type ingester struct {
	database *database
	horizon  *horizon
	ready    *readiness
	rules    *rules
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
	if len(samples) == 0 {
		return outcome{}, g.pass(input, watermark)
	}
	b := &batch{samples: samples, refuse: refuse}
	err := g.store(ctx, b)
	if err != nil {
		// The caller commits all samples again. Those of earlier parts are there then.
		b.out.refused, b.out.repeated = Refused{}, 0
		watermark = math.MinInt64
	}
	if b.held {
		g.horizon.release(input, watermark, b.out.written)
	}
	return b.out, err
}

// pass notes that an input has given all that it has up to watermark.
func (g *ingester) pass(input string, watermark int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	db, err := g.acquire()
	if err != nil {
		return err
	}
	defer db.readers.Done()
	g.newest.learn(&batch{})
	g.horizon.pass(input, watermark)
	return nil
}

// acquire returns the TSDB, as database.acquire does, and makes sure that what is
// known is known of this one. It needs g.mu.
func (g *ingester) acquire() (*opened, error) {
	db, err := g.database.acquire()
	if err == nil && g.newest.of != db {
		g.newest, g.failed = newest{of: db, times: make(map[storage.SeriesRef]*int64)}, db.failures.failedWrites()
	}
	return db, err
}

// store stores a batch, one part after another. Others can store samples in between.
func (g *ingester) store(ctx context.Context, b *batch) error {
	looking := false
	for b.next < len(b.samples) {
		need, err := g.try(ctx, b)
		if err != nil {
			return err
		}
		if need == nil {
			continue
		}
		if !looking {
			g.looking.Lock()
			defer g.looking.Unlock()
			looking = true
		}
		if err := b.look(ctx, need); err != nil {
			return err
		}
	}
	return nil
}

// try stores the next part of a batch. If something has to be read first, it stores
// nothing and returns what; the TSDB then stays open until look has read it.
func (g *ingester) try(ctx context.Context, b *batch) (need *unknown, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	db, err := g.acquire()
	if err != nil {
		return nil, err
	}
	defer func() {
		if need == nil {
			db.readers.Done()
		}
	}()
	if err := g.ready.check(); err != nil {
		return nil, err
	}
	g.newest.learn(b)
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
		return need, err
	}
	if !b.held {
		b.oldest, b.settled = g.horizon.hold()
		b.held = true
	}
	before := b.out
	committing := false
	err = panics.Catch("store", func() (err error) {
		committing, err = g.append(app, b)
		return err
	})
	failed := db.failures.failedWrites()
	if err == nil && failed > g.failed {
		err = errors.New("a log of the TSDB could not be written")
	}
	if err != nil && (committing || failed > g.failed || errors.As(err, new(*panics.Error))) {
		g.ready.fail(err)
		err = fmt.Errorf("%w: %w", errWrite, err)
	} else if err != nil {
		// The part was rolled back, but its times are noted: read them again.
		db.refs.Store(refs.Add(1))
		g.newest = newest{of: db, times: make(map[storage.SeriesRef]*int64)}
	}
	g.failed = failed
	if err != nil {
		before.written = b.out.written // some may be there
		b.out = before
	}
	return nil, err
}

// append adds the samples of the next part and commits them. committing is true once
// an error can only come from writing. It needs g.mu.
func (g *ingester) append(app storage.Appender, b *batch) (committing bool, err error) {
	latest, window := g.now().UnixMilli()+g.maxAhead, g.database.outOfOrder()
	out := &b.out
	var part written
	for behind := 0; b.next < len(b.samples) && behind < maxBehind; b.next++ {
		i := b.next
		p := &b.samples[i]
		if g.rules.own(p.Series) {
			out.refused.Recorded++
			b.refuse(i, ErrRecorded)
			continue
		}
		if p.T > latest && !p.tried { // it was not, when it came
			out.refused.Future++
			b.refuse(i, ErrFuture)
			continue
		}
		if p.T < b.oldest {
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
		outOfOrder, beyond := b.behind(&g.newest, i, t, window)
		if beyond {
			out.refused.TooOld++
			b.refuse(i, ErrTooOld)
			continue
		}
		ref, err := app.Append(p.Series.ref, p.Series.Labels, t, p.V)
		switch {
		case err == nil:
			if outOfOrder {
				behind++
			}
			b.add(&g.newest, i, t, ref)
			out.stored++
			if !p.Series.noted {
				p.Series.noted = true
				out.written.metrics = append(out.written.metrics, p.Series.Labels.Get(model.MetricNameLabel))
			}
			if t <= b.settled {
				out.late++
				part.noteLate(p.Series.Labels.Get(model.MetricNameLabel), span{t, t})
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
	for metric, s := range part.late {
		out.written.noteLate(metric, s)
	}
	done, err := g.rules.announce(part.late)
	if err != nil {
		return false, errors.Join(err, app.Rollback())
	}
	defer done()
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
