package remote

import (
	"context"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// Notes are what a server says of names, such as the descriptions of metrics. They change
// rarely and nothing depends on them but how rows look, so a note is asked for once in ten
// minutes, and is missing if the server does not have it or fails.
type Notes[V any] struct {
	ask     func(ctx context.Context, name string) (V, error)
	flights singleflight.Group
	known   *lru.Cache[string, note[V]]
	// rest is when to ask again for any name, after a failure.
	rest atomic.Pointer[time.Time]
}

type note[V any] struct {
	value V
	until time.Time // when to ask again
}

const (
	maxNotes    = 5000 // the least recently used are forgotten
	noteEvery   = 10 * time.Minute
	noteTimeout = 5 * time.Second
	// noteAgain is when to ask again after a failure, for any name: a server that fails
	// for one is not asked for all the others too.
	noteAgain = time.Minute
)

// NewNotes returns the notes that ask gets.
func NewNotes[V any](ask func(ctx context.Context, name string) (V, error)) *Notes[V] {
	known, err := lru.New[string, note[V]](maxNotes)
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return &Notes[V]{ask: ask, known: known}
}

// Get returns the note about a name, the zero value if there is none. It waits for the
// server until the given time, no longer than ctx, and only if the server has not been
// asked before.
func (n *Notes[V]) Get(ctx context.Context, name string, until time.Time) (v V) {
	known, ok := n.known.Get(name)
	now := time.Now()
	if ok && now.Before(known.until) || !ok && (ctx.Err() != nil || !now.Before(until)) || n.resting(now) {
		return known.value
	}
	// Not with the caller's context, because it goes on for those who come later.
	flight := n.flights.DoChan(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), noteTimeout)
		defer cancel()
		next, every := known.value, noteAgain
		err := panics.Catch("description", func() error {
			value, err := n.ask(ctx, name)
			if err == nil {
				next, every = value, noteEvery
			}
			return nil
		})
		until := time.Now().Add(every)
		n.known.Add(name, note[V]{next, until})
		if every == noteAgain {
			n.rest.Store(&until)
		}
		return next, err
	})
	if ok {
		return known.value
	}
	wait := time.NewTimer(time.Until(until))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return v
	case <-wait.C:
		return v
	case r := <-flight:
		return r.Val.(V)
	}
}

func (n *Notes[V]) resting(now time.Time) bool {
	until := n.rest.Load()
	return until != nil && now.Before(*until)
}
