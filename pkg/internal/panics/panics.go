// Package panics keeps a panic to what panicked. Grafana's SDK recovers the
// panics of requests; in any other goroutine a panic would end the process and
// every recorder in it.
package panics

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var caught = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "continuum_panics_total",
	Help: "Panics that became errors, by what ran.",
}, []string{"in"})

// Error is what was a panic. Whoever handles it logs [Attrs] of it.
type Error struct {
	Value any
	Stack []byte
}

func (e *Error) Error() string {
	return fmt.Sprintf("internal error, please report it with Grafana's log: %v", e.Value)
}

// Unwrap returns the panic's value if it is an error.
func (e *Error) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Attrs returns what a log line about err needs beside its text: the stack of a
// panic, else nothing.
func Attrs(err error) []any {
	if e := (*Error)(nil); errors.As(err, &e) {
		return []any{"stack", string(e.Stack)}
	}
	return nil
}

// Catch runs do and returns its error. If do panics, Catch counts that under what
// ran and returns an *Error.
func Catch(what string, do func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			caught.WithLabelValues(what).Inc()
			err = &Error{value, debug.Stack()}
		}
	}()
	return do()
}
