// Package promql is the source of PromQL queries: each row is an instant query
// at its grid time.
//
// PromQL by itself is not a function of time alone. This package makes it one, or
// says that it cannot: sums are added up in the order of labels; macros depend on
// step and window and never on a clock; rows with a negative offset wait for the
// samples that they read. Queries that depend on the requested range, such as those
// with @ start(), are not streamed.
//
// The package knows engines and nothing of Grafana, and must not import pkg/tail,
// pkg/plugin or the SDK's backend package.
package promql

import (
	"context"
	"math"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// Engine evaluates PromQL. Times and steps are Unix milliseconds.
type Engine interface {
	// Settled returns the time up to which these samples are final.
	Settled(ctx context.Context, reads []source.Read) (int64, error)
	// Watch and Since are those of source.Bound, for rows that are made of these
	// samples.
	Watch(reads []source.Read) (mark string, changed <-chan struct{})
	Since(reads []source.Read, mark string, after int64) error
	// Notices returns what people should know at the moment about rows that are made
	// of these samples, one sentence each.
	Notices(reads []source.Read) []string
	// Describe returns what is known of a metric, the zero value if nothing is. It waits
	// for a server until then, and no longer than ctx.
	Describe(ctx context.Context, metric string, until time.Time) recorder.Metadata
	// Range evaluates expr at first, first + step and so on up to last. The answer
	// has only series with a value, in any order.
	Range(ctx context.Context, expr string, lookback time.Duration, first, last, step int64) (Answer, error)
	// Exact reports whether the same query always has the same answer, to the last
	// bit: settled samples do not change, and series are added up in a fixed order.
	Exact() bool
	// Check is that of source.Source.
	Check(ctx context.Context) (string, error)
}

// Browser lists metrics and labels for editors. Times are Unix milliseconds.
type Browser interface {
	// LabelNames returns the label names of series with samples in a time range,
	// sorted and at most limit of them. Only series that match all matchers count.
	LabelNames(ctx context.Context, from, to int64, limit int, matchers ...*labels.Matcher) ([]string, error)
	// LabelValues returns the values of a label, with the same arguments as
	// LabelNames.
	LabelValues(ctx context.Context, from, to int64, limit int, name string, matchers ...*labels.Matcher) ([]string, error)
	// Metadata returns the descriptions of metrics, by name.
	Metadata(ctx context.Context) (map[string]recorder.Metadata, error)
}

// Answer is the answer of an engine.
type Answer struct {
	Series []Series
	// Notices are what people should know about the expression or the answer. The
	// answer is complete all the same.
	Notices []data.Notice
	// Samples is that of grid.Rows.
	Samples int64
}

// Series is a series of an answer. It has one value per time; NaN means none.
type Series struct {
	Labels labels.Labels
	Values []float64
}

// none returns n values that are all missing.
func none(n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = math.NaN()
	}
	return values
}

// Source answers PromQL queries.
type Source struct {
	Engine  Engine
	Browser Browser
	// Interval is the usual time between two samples of a series. No step is
	// smaller, and $__rate_interval is at least four times as long.
	Interval time.Duration
	// Lookback is how long a series keeps its last value.
	Lookback time.Duration
}

var _ source.Source = Source{}

// Check implements source.Source.
func (s Source) Check(ctx context.Context) (string, error) { return s.Engine.Check(ctx) }
