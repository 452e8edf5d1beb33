package promql

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	upstream "github.com/prometheus/prometheus/promql"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Limits of one evaluation. A sample takes 16 bytes of memory.
const (
	maxSamples = 20_000_000
	timeout    = 30 * time.Second // as long as Grafana waits
)

// engine is Prometheus' own, with the interval of subqueries that say none that
// Prometheus has by default.
var engine = upstream.NewEngine(upstream.EngineOpts{
	MaxSamples: maxSamples, Timeout: timeout, EnableAtModifier: true, EnableNegativeOffset: true,
	NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	Parser:                   promParser,
})

// Embedded evaluates queries with Prometheus' engine on a store of this process.
type Embedded struct {
	// Store opens the store, or returns the one that is open.
	Store func(context.Context) (*recorder.Store, error)
}

// ready is how long a check waits for inputs to connect.
const ready = 5 * time.Second

// Check implements Engine.
func (e Embedded) Check(ctx context.Context) (string, error) {
	s, err := e.Store(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()
	s.Ready(ctx)
	st := s.Status()
	var b strings.Builder
	fmt.Fprintf(&b, "The recorder has %d series in %d MB.", st.Series, (st.Bytes+1<<20-1)>>20)
	for _, in := range st.Inputs {
		switch {
		case in.Trouble != "":
			fmt.Fprintf(&b, " Input %s has trouble: %s.", in.Name, strings.TrimSuffix(in.Trouble, "."))
		case !in.Connected:
			fmt.Fprintf(&b, " Input %s is still connecting.", in.Name)
		default:
			fmt.Fprintf(&b, " Input %s: %.0f samples/s.", in.Name, in.Rate)
		}
	}
	if stops := time.UnixMilli(st.Stops); st.Stops != 0 && 2*time.Until(stops) < stops.Sub(time.UnixMilli(st.Used)) {
		fmt.Fprintf(&b, " Nobody has asked for its samples since %s: recording stops on %s unless a panel or an alert rule does.",
			time.UnixMilli(st.Used).UTC().Format(time.DateOnly), stops.UTC().Format(time.DateOnly))
	}
	return b.String(), nil
}

// Settled implements Engine.
func (e Embedded) Settled(ctx context.Context) (int64, error) {
	s, err := e.Store(ctx)
	if err != nil {
		return 0, err
	}
	return s.Settled(), nil
}

// Watch implements Engine. A store that is not open has nothing to watch, and is
// not waited for.
func (e Embedded) Watch() (uint64, <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s, err := e.Store(ctx)
	if err != nil {
		return 0, nil
	}
	return s.Watch()
}

// Range implements Engine.
func (e Embedded) Range(ctx context.Context, expr string, lookback time.Duration, first, last, step int64) ([]Series, error) {
	s, err := e.Store(ctx)
	if err != nil {
		return nil, err
	}
	q, err := engine.NewRangeQuery(ctx, s, upstream.NewPrometheusQueryOpts(false, lookback), expr,
		time.UnixMilli(first), time.UnixMilli(last), time.Duration(step)*time.Millisecond)
	if err != nil {
		return nil, fmt.Errorf("PromQL: %w", err)
	}
	defer q.Close() // its points belong to the engine
	res := q.Exec(ctx)
	matrix, err := res.Matrix()
	if err != nil {
		return nil, fmt.Errorf("PromQL: %w", err)
	}
	series := make([]Series, 0, len(matrix))
	for _, m := range matrix {
		values := none(int((last-first)/step) + 1)
		found := false
		for _, p := range m.Floats {
			if !math.IsNaN(p.F) {
				values[(p.T-first)/step], found = p.F, true
			}
		}
		if found {
			series = append(series, Series{m.Metric, values})
		}
	}
	return series, nil
}
