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
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// Engine evaluates PromQL. Times and steps are Unix milliseconds.
type Engine interface {
	// Settled returns the time up to which samples are final.
	Settled(ctx context.Context) (int64, error)
	// Watch is as source.Watched says.
	Watch() (late uint64, changed <-chan struct{})
	// Range evaluates expr at first, first + step and so on until last. Series
	// without any value are left out, the others come in any order.
	Range(ctx context.Context, expr string, lookback time.Duration, first, last, step int64) ([]Series, error)
	// Exact says whether the same question always has the same answer, to the
	// last bit: settled samples do not change, and series are added up in one
	// order.
	Exact() bool
	// Check is as source.Source says.
	Check(ctx context.Context) (string, error)

	// LabelNames returns the names of labels that series with samples from one
	// time to another have, in order and at most limit of them. There may be
	// matchers that the series must match.
	LabelNames(ctx context.Context, from, to int64, limit int, matchers ...*labels.Matcher) ([]string, error)
	// LabelValues returns the values of a label, as LabelNames does its names.
	LabelValues(ctx context.Context, from, to int64, limit int, name string, matchers ...*labels.Matcher) ([]string, error)
	// Metadata returns what is known of metrics, by name.
	Metadata(ctx context.Context) (map[string]recorder.Metadata, error)
}

// Series is one series of an answer, with a value for each time; NaN is none.
type Series struct {
	Labels labels.Labels
	Values []float64
}

// maxSeries is the most series that an answer may have. Grafana draws far fewer.
const maxSeries = 1000

// Source answers PromQL queries.
type Source struct {
	Engine Engine
	// Interval is how far apart samples usually are. Rows are never closer, and
	// $__rate_interval covers four of it.
	Interval time.Duration
	// Lookback is how long a series keeps its last value.
	Lookback time.Duration
}

// Check implements source.Source.
func (s Source) Check(ctx context.Context) (string, error) { return s.Engine.Check(ctx) }

var promParser = parser.NewParser(parser.Options{})

// Query implements source.Source. It reads the field expr, and window, which
// only its own JSON has, and ignores all others.
func (s Source) Query(raw json.RawMessage) (source.Query, error) {
	q := query{source: s}
	if err := json.Unmarshal(raw, &q); err != nil {
		return nil, fmt.Errorf("the query is not a JSON object with the text expr: %w", err)
	}
	q.Expr = strings.TrimSpace(q.Expr)
	if q.Expr == "" {
		return nil, errors.New("the query is empty: enter a PromQL expression")
	}
	if q.Window < 0 {
		return nil, fmt.Errorf("window %d is negative", q.Window)
	}
	expr, err := promParser.ParseExpr(masked(q.Expr))
	if err != nil {
		return nil, fmt.Errorf("PromQL: %w", err)
	}
	if t := expr.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return nil, fmt.Errorf("PromQL: the expression gives a %s: make it an instant vector or a scalar, "+
			"for example with rate() or last_over_time()", parser.DocumentedType(t))
	}
	q.traits = traitsOf(expr)
	q.unit = unitOf(expr)
	if !usesWindow(q.Expr) {
		q.Window = 0
	}
	return q, nil
}

type query struct {
	Expr string `json:"expr"`
	// Window is in milliseconds, 0 if the expression does not depend on it.
	Window int64 `json:"window,omitempty"`

	source Source
	traits traits
	unit   string
}

var (
	_ source.Windowed = query{}
	_ source.Unsplit  = query{}
	_ source.Watched  = query{}
	_ source.Revised  = query{}
)

func (q query) JSON() json.RawMessage {
	b, err := json.Marshal(q)
	if err != nil {
		panic(err) // a string and a number
	}
	return b
}

func (q query) String() string { return q.Expr }

func (q query) MinStep() int64 { return max(1, q.source.Interval.Milliseconds()) }

func (q query) Within(window int64) source.Query {
	if usesWindow(q.Expr) {
		q.Window = window
	}
	return q
}

func (q query) Unsplit() error { return q.traits.unsplit }

func (q query) Revised() bool { return !q.source.Engine.Exact() }

func (q query) Watch() (uint64, <-chan struct{}) { return q.source.Engine.Watch() }

// Settled is the engine's, less what a negative offset looks ahead.
func (q query) Settled(ctx context.Context) (int64, error) {
	settled, err := q.source.Engine.Settled(ctx)
	if err != nil {
		return 0, err
	}
	if q.traits.fixed > settled {
		return 0, source.Downstream(fmt.Errorf("the query reads at %s, which is not over yet: choose an earlier time after @",
			time.UnixMilli(q.traits.fixed).UTC().Format(time.RFC3339)))
	}
	return settled - q.traits.ahead, nil
}

func (q query) Rows(ctx context.Context, step, after, through int64) (grid.Rows, error) {
	settled, err := q.Settled(ctx)
	if err != nil {
		return grid.Rows{}, err
	}
	if through > settled {
		return grid.Rows{}, source.ErrNotSettled
	}
	rows := grid.Rows{Step: step, After: after, Through: through}
	if err := rows.Check(); err != nil {
		return grid.Rows{}, err
	}
	expr, err := q.expand(step)
	if err != nil {
		return grid.Rows{}, err
	}
	first := after + step
	if after == through {
		first = through // the fields are those of the row before
	}
	series, err := q.source.Engine.Range(ctx, expr, q.source.Lookback, first, through, step)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return grid.Rows{}, err
	}
	if len(series) > maxSeries {
		return grid.Rows{}, source.Downstream(fmt.Errorf("the query gives %d series, more than %d: narrow it down or aggregate", len(series), maxSeries))
	}
	slices.SortFunc(series, func(a, b Series) int { return labels.Compare(a.Labels, b.Labels) })
	for _, s := range series {
		rows.Series = append(rows.Series, grid.Series{
			Name: s.Labels.String(), Labels: data.Labels(s.Labels.Map()), Display: q.display(s.Labels), Unit: q.unit,
			Values: s.Values[:rows.Len()],
		})
	}
	return rows, rows.Check()
}

// none returns n times no value.
func none(n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = math.NaN()
	}
	return values
}

// display returns a series' name as people write it, the expression where the
// series has no labels.
func (q query) display(l labels.Labels) string {
	name := l.Get(model.MetricNameLabel)
	rest := l.DropReserved(func(label string) bool { return label == model.MetricNameLabel })
	switch {
	case l.IsEmpty():
		return q.Expr
	case name == "":
		return l.String()
	case rest.IsEmpty():
		return name
	}
	return name + rest.String()
}
