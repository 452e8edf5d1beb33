package endpoint

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Cause is why an input has no connection to its server.
type Cause int

const (
	// Unreachable: the server does not answer, or the connection was lost. It may be
	// back at any moment.
	Unreachable Cause = iota
	// Refused: the server answers and does not want this client, because the login is
	// wrong or another client uses the same name. Only people can change that, and
	// servers may lock out clients that try too often.
	Refused
)

// waits are the first and the longest wait before the next attempt, each give or
// take a quarter.
var waits = map[Cause]struct{ first, longest time.Duration }{
	Unreachable: {250 * time.Millisecond, 4 * time.Second},
	Refused:     {2 * time.Second, 48 * time.Second},
}

const (
	// steady is how long a connection must last to count as a good one.
	steady = 10 * time.Second
	// conflict is how many connections in a row that were not steady count as
	// Refused: another client with the same name may end this one each time.
	conflict = 3
)

// Backoff computes the waits between attempts to connect. Its methods may be called
// from any goroutine.
type Backoff struct {
	mu   sync.Mutex
	last Cause
	next backoff.ExponentialBackOff
}

// Next returns how long to wait after a failure. The waits double while the cause
// stays the same.
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

// Reset makes the next wait as short as the first.
func (b *Backoff) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next.Reset()
}

// Failure is why there is no connection.
type Failure struct {
	Err error
	// Connected says that there was a connection, which was lost. Again is how many
	// connections in a row, this one included, did not last.
	Connected bool
	Again     int
}

// Conflict reports whether several connections in a row were lost soon.
func (f Failure) Conflict() bool { return f.Connected && f.Again >= conflict }

// Reconnect calls connect again and again, with waits between, until ctx ends.
// connect returns once there is no connection any more, and whether there was one.
// explain returns the text that the sink reports, and the cause.
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

// Sink is the part of *recorder.Sink that Reconnect needs.
type Sink interface {
	Retry(trouble string, next time.Time)
}

var _ Sink = (*recorder.Sink)(nil)

// Sleep waits for d, or until wake gets a value. It returns false if ctx has ended.
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
