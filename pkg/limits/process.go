package limits

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

var (
	evaluations = semaphore.NewWeighted(Evaluations.Most)
	heavy       = semaphore.NewWeighted(Heavy.Most)
	inFlight    atomic.Int64 // bytes
)

// Evaluate waits until the process has room for one more evaluation, or returns the
// cause of ctx if that ends first. The caller must call done after the evaluation.
// Heavy evaluations are fewer than all, so that others need not wait for them.
func Evaluate(ctx context.Context, isHeavy bool) (done func(), err error) {
	if isHeavy {
		if err := heavy.Acquire(ctx, 1); err != nil {
			return nil, context.Cause(ctx)
		}
	}
	if err := evaluations.Acquire(ctx, 1); err != nil {
		if isHeavy {
			heavy.Release(1)
		}
		return nil, context.Cause(ctx)
	}
	return sync.OnceFunc(func() {
		evaluations.Release(1)
		if isHeavy {
			heavy.Release(1)
		}
	}), nil
}

// account is what the answers to one request, or a part of them, have taken of
// [Bytes]. What a part takes counts for the whole too.
type account struct {
	whole *account // itself, if it is no part

	mu    sync.Mutex // that of the whole guards the parts
	bytes int64
	ended bool
}

type accountKey struct{}

// Begin returns the context of one request, or of a part of one, which [Charge]
// charges. What it was charged is given back with the function, and charges after
// that count for nothing.
func Begin(ctx context.Context) (context.Context, func()) {
	a := &account{}
	if a.whole = a; ctx.Value(accountKey{}) != nil {
		a.whole = ctx.Value(accountKey{}).(*account).whole
	}
	return context.WithValue(ctx, accountKey{}, a), a.end
}

func (a *account) end() {
	a.whole.mu.Lock()
	defer a.whole.mu.Unlock()
	if !a.ended && !a.whole.ended { // what ends with the whole is given back with it
		inFlight.Add(-a.bytes)
		a.whole.bytes -= a.bytes
	}
	a.bytes, a.ended = 0, true
}

// Charge notes that the answer of ctx is about to take so many bytes more, or
// returns an *[Error] if the request or the process has no room for them. It does
// not wait, because who waits holds what it has.
func Charge(ctx context.Context, bytes int64) error {
	a, _ := ctx.Value(accountKey{}).(*account)
	if a == nil {
		return nil
	}
	whole := a.whole
	whole.mu.Lock()
	defer whole.mu.Unlock()
	if a.ended || whole.ended { // nobody waits for the answer
		return nil
	}
	if err := Request.Check(whole.bytes + bytes); err != nil { // others have no part in it
		return err
	}
	taken := inFlight.Add(bytes)
	if whole.bytes+bytes > small {
		taken += reserve
	}
	if err := Bytes.Check(taken); err != nil {
		inFlight.Add(-bytes)
		return err
	}
	whole.bytes += bytes
	if a != whole {
		a.bytes += bytes
	}
	return nil
}

// Large answers leave a reserve of [Bytes] to requests whose answers are small, so
// that these are answered whatever is asked for beside them. Both are in bytes.
const (
	reserve = 8 << 20
	small   = 256 << 10
)

// PerAnswer is how many bytes an answer takes besides its cells, for a frame and its
// schema in JSON. It counts because a request may have very many queries.
const PerAnswer = 8 << 10

const (
	// perCell is how many bytes a cell takes in all its forms: as a number, in a frame
	// that can have nulls, in JSON, and in the message to Grafana.
	perCell = 40
	// perSeries is how many bytes a series takes besides that, and perLabel how many
	// for each byte of its labels: they are in the source's answer, in the field, in
	// its name, and in JSON.
	perSeries = 4 << 10
	perLabel  = 8
)

// Answer counts the cells of an answer while the answer is made.
type Answer struct {
	ctx          context.Context
	rows, series int64
}

// NewAnswer returns the Answer for an answer with this many rows.
func NewAnswer(ctx context.Context, rows int) *Answer { return &Answer{ctx: ctx, rows: int64(rows)} }

// Add charges one more series, whose labels have this many bytes. It returns an
// *[Error] if the answer or the process has no room for it.
func (a *Answer) Add(labels int) error {
	a.series++
	if err := Series.Check(a.series); err != nil {
		return err
	}
	if err := Cells.Check(a.series * a.rows); err != nil {
		return err
	}
	return Charge(a.ctx, a.rows*perCell+perSeries+int64(labels)*perLabel)
}

// ChargeLabels charges this many bytes of a series' labels or name.
func ChargeLabels(ctx context.Context, bytes int) error { return Charge(ctx, int64(bytes)*perLabel) }
