// Package promql is the source of PromQL queries: each row is an instant query
// at its grid time.
//
// PromQL as it comes is not a function of time alone. This package makes it one,
// or says that it cannot: sums are added up in the order of labels, macros
// depend on step and window and never on a clock, samples that an offset would
// take from the future are waited for, and what still depends on the range asked
// for, such as @ start(), is not streamed.
//
// It knows engines and nothing of Grafana, and must not import pkg/tail,
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
	// Settled returns the time up to which samples are final.
	Settled(ctx context.Context) (int64, error)
	// Watch and Since are as source.Bound says, for rows that are made of the given
	// samples.
	Watch(reads []source.Read) (mark string, changed <-chan struct{})
	Since(reads []source.Read, mark string, after int64) error
	// Notices are what people should know now of rows that are made of the given
	// samples, a sentence each.
	Notices(reads []source.Read) []string
	// Range evaluates expr at first, first + step and so on until last. Series
	// without any value are left out, the others come in any order.
	Range(ctx context.Context, expr string, lookback time.Duration, first, last, step int64) (Answer, error)
	// Exact says whether the same question always has the same answer, to the
	// last bit: settled samples do not change, and series are added up in one
	// order.
	Exact() bool
	// Check is as source.Source says.
	Check(ctx context.Context) (string, error)
}

// Browser lists what there is to ask for.
type Browser interface {
	// LabelNames returns the names of labels that series with samples from one
	// time to another have, in order and at most limit of them. There may be
	// matchers that the series must match.
	LabelNames(ctx context.Context, from, to int64, limit int, matchers ...*labels.Matcher) ([]string, error)
	// LabelValues returns the values of a label, as LabelNames does its names.
	LabelValues(ctx context.Context, from, to int64, limit int, name string, matchers ...*labels.Matcher) ([]string, error)
	// Metadata returns what is known of metrics, by name.
	Metadata(ctx context.Context) (map[string]recorder.Metadata, error)
}

// Answer is what an engine answers.
type Answer struct {
	Series []Series
	// Notices are what people should know of the expression or of the answer,
	// which is whole all the same.
	Notices []data.Notice
}

// Series is one series of an answer, with a value for each time; NaN is none.
type Series struct {
	Labels labels.Labels
	Values []float64
}

// none returns n times no value.
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
	// Interval is how far apart samples usually are. Rows are never closer, and
	// $__rate_interval covers four of it.
	Interval time.Duration
	// Lookback is how long a series keeps its last value.
	Lookback time.Duration
}

var _ source.Source = Source{}

// Check implements source.Source.
func (s Source) Check(ctx context.Context) (string, error) { return s.Engine.Check(ctx) }
