package endpoint

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Cause is what kind of failure keeps an input from its server.
type Cause int

const (
	// Unreachable is a server that may be back at any moment: it does not answer,
	// or the connection was lost.
	Unreachable Cause = iota
	// Refused is a server that is there and does not want this client: the login
	// is wrong, or somebody else has its name. Only people can change that, and
	// servers may lock out clients that try too often.
	Refused
)

// waits is how long to wait before connecting again, give or take a quarter.
var waits = map[Cause]struct{ first, longest time.Duration }{
	Unreachable: {250 * time.Millisecond, 4 * time.Second},
	Refused:     {2 * time.Second, 48 * time.Second},
}

const (
	// steady is how long a connection must have lasted to count as a good one.
	steady = 10 * time.Second
	// conflict is how many connections in a row that were not steady count as
	// being refused: another client may cut this one off each time.
	conflict = 3
)

// Backoff says how long to wait before connecting again. Its methods may be called
// from any goroutine.
type Backoff struct {
	mu   sync.Mutex
	last Cause
	next backoff.ExponentialBackOff
}

// Next returns how long to wait after a failure. Waits grow while the cause stays
// the same.
func (b *Backoff) Next(c Cause) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next.Multiplier == 0 || b.last != c {
		w := waits[c]
		b.last = c
		b.next = backoff.ExponentialBackOff{InitialInterval: w.first, MaxInterval: w.longest, Multiplier: 2, RandomizationFactor: 0.25}
	}
	return b.next.NextBackOff()
}

// Reset makes the next wait a first one.
func (b *Backoff) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next.Reset()
}

// Failure is why there is no connection.
type Failure struct {
	Err error
	// Connected: there was a connection, which is lost. It is the Again-th in a row
	// that did not last.
	Connected bool
	Again     int
}

// Conflict reports whether connections are lost soon, again and again.
func (f Failure) Conflict() bool { return f.Connected && f.Again >= conflict }

// Reconnect calls connect again and again, with waits, until ctx ends. connect
// returns when there is no connection any more, and whether there was one. explain
// says what the sink is to report.
func Reconnect(ctx context.Context, sink Sink, connect func(context.Context) (connected bool, err error), explain func(Failure) (string, Cause)) {
	var wait Backoff
	for again := 0; ; {
		begin := time.Now()
		connected, err := connect(ctx)
		if ctx.Err() != nil {
			return
		}
		switch {
		case connected && time.Since(begin) >= steady:
			again = 0
			wait.Reset()
		case connected:
			again++
		}
		f := Failure{Err: err, Connected: connected, Again: again}
		trouble, cause := explain(f)
		if f.Conflict() {
			cause = Refused
		}
		d := wait.Next(cause)
		sink.Retry(trouble, time.Now().Add(d))
		if !Sleep(ctx, d, nil) {
			return
		}
	}
}

// Sink is what is needed of a *recorder.Sink.
type Sink interface {
	Retry(trouble string, next time.Time)
}

var _ Sink = (*recorder.Sink)(nil)

// Sleep waits for d, or until something comes from wake. It returns false if ctx
// ends before.
func Sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
