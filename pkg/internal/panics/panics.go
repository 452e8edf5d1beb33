// Package panics turns panics into errors. Grafana's SDK recovers panics of
// requests; in any other goroutine a panic would end the process and with it all
// recorders.
package panics

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var caught = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "continuum_panics_total",
	Help: "Panics that became errors, by what ran.",
}, []string{"in"})

// Error is a recovered panic. Log [Attrs] with it.
type Error struct {
	Value any
	Stack []byte
}

func (e *Error) Error() string {
	// Prometheus' TSDB panics at some places when the disk is full.
	if err := e.Unwrap(); errors.Is(err, syscall.ENOSPC) {
		return err.Error()
	}
	return fmt.Sprintf("internal error, please report it with Grafana's log: %v", e.Value)
}

// Unwrap returns the panic's value if it is an error.
func (e *Error) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Attrs returns the attributes to log with err: the stack if it is a panic,
// otherwise none.
func Attrs(err error) []any {
	if e := (*Error)(nil); errors.As(err, &e) {
		return []any{"stack", string(e.Stack)}
	}
	return nil
}

// Catch runs do and returns its error. If do panics, Catch returns an *Error, and
// counts the panic in a metric with what as its label.
func Catch(what string, do func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			caught.WithLabelValues(what).Inc()
			err = errorOf(value)
		}
	}()
	return do()
}

func errorOf(value any) *Error {
	if e, ok := value.(*Error); ok { // from a goroutine of a Group
		return e
	}
	return &Error{value, debug.Stack()}
}

// Group runs goroutines that belong together: a panic of one ends all of them.
// Make it with [NewGroup].
type Group struct {
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	first *Error
}

// NewGroup returns an empty group, and the context for its goroutines. The context
// ends with ctx, at the first panic, and when Wait returns.
func NewGroup(ctx context.Context) (*Group, context.Context) {
	ctx, stop := context.WithCancel(ctx)
	return &Group{stop: stop}, ctx
}

// Go runs do in a goroutine.
func (g *Group) Go(do func()) { g.running.Go(func() { g.Do(do) }) }

// Do runs do as a part of the group, in the caller's goroutine.
func (g *Group) Do(do func()) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.first == nil {
			g.first = errorOf(value)
		}
		g.stop()
	}()
	do()
}

// Wait waits for the goroutines. If one of them has panicked, Wait panics with the
// first *Error, which has the stack of that goroutine.
func (g *Group) Wait() {
	g.running.Wait()
	g.stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first != nil {
		panic(g.first)
	}
}
