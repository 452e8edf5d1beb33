package promql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// query is an expression as the user wrote it.
type query struct {
	Expr string `json:"expr"`
	// Format is formatStates or, for numbers, empty.
	Format string `json:"format,omitempty"`
	// StateLabel is the label that has the states, by default the one that is called
	// as the metric is.
	StateLabel string `json:"stateLabel,omitempty"`

	source Source
	parsed parser.Expr // with placeholders for macros, until it is bound
}

// Query implements source.Source. It reads the fields expr, format and stateLabel and
// ignores all others.
func (s Source) Query(raw json.RawMessage) (source.Query, error) {
	q := query{source: s}
	if err := json.Unmarshal(raw, &q); err != nil {
		return nil, fmt.Errorf("the query is not a JSON object with the text expr: %w", err)
	}
	q.Expr = strings.TrimSpace(q.Expr)
	if q.StateLabel = strings.TrimSpace(q.StateLabel); q.Format != formatStates {
		q.Format, q.StateLabel = "", "" // the others are made of the same rows
	}
	if q.Expr == "" {
		return nil, errors.New("the query is empty: enter a PromQL expression")
	}
	var err error
	if q.parsed, err = parse(masked(q.Expr)); err != nil {
		return nil, err
	}
	if t := q.parsed.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return nil, fmt.Errorf("PromQL: the expression gives a %s: make it an instant vector or a scalar, "+
			"for example with rate() or last_over_time()", parser.DocumentedType(t))
	}
	return q, nil
}

var promParser = parser.NewParser(parser.Options{})

// parse parses an expression from a user within the limits.
func parse(expr string) (parser.Expr, error) {
	if err := limits.PromQL(expr); err != nil {
		return nil, err
	}
	parsed, err := promParser.ParseExpr(expr)
	if err != nil {
		return nil, fmt.Errorf("PromQL: %w", err)
	}
	return parsed, limits.Patterns.Check(replaced(parsed))
}

// replaced returns the size of the regular expressions in calls of label_replace.
// limits.PromQL counts those of matchers.
func replaced(n parser.Node) (steps int64) {
	if c, ok := n.(*parser.Call); ok && c.Func.Name == "label_replace" && len(c.Args) == 5 {
		if text, ok := c.Args[4].(*parser.StringLiteral); ok {
			steps += limits.Pattern(text.Val)
		}
	}
	for child := range parser.ChildrenIter(n) {
		steps += replaced(child)
	}
	return steps
}

func (q query) JSON() json.RawMessage {
	b, err := json.Marshal(q)
	if err != nil {
		panic(err) // of strings
	}
	return b
}

func (q query) String() string {
	if q.Format == formatStates {
		return q.Expr + " as states"
	}
	return q.Expr
}

func (q query) MinStep() int64 { return max(1, q.source.Interval.Milliseconds()) }

// Bind implements source.Query: it replaces the macros, and determines which samples
// the expression reads.
func (q query) Bind(step, window int64) (source.Bound, error) {
	expanded, err := q.expand(step, window)
	if err != nil {
		return nil, err
	}
	parsed := q.parsed
	if expanded != q.Expr {
		if parsed, err = parse(expanded); err != nil {
			return nil, err
		}
	}
	b := bound{query: q, expr: expanded}
	b.parsed = parsed
	b.traits = source.Traits{Step: step, Revised: !q.source.Engine.Exact()}
	if usesWindow(q.Expr) {
		b.traits.Window = window
	}
	b.traits.Reads, b.traits.Unsplit = reads(parsed, q.source.Lookback)
	if q.Format == formatStates {
		b.metric = soleMetric(b.traits.Reads)
		b.traits.Drawn = b.drawn()
	}
	return b, nil
}

// bound is a query whose macros have values.
type bound struct {
	query
	expr   string
	metric string // the only one that is read, for states; else empty
	traits source.Traits
}

func (b bound) Query() source.Query { return b.query }

func (b bound) Traits() source.Traits { return b.traits }

func (b bound) Watch() (string, <-chan struct{}) { return b.source.Engine.Watch(b.traits.Reads) }

func (b bound) Since(mark string, after int64) error {
	return b.source.Engine.Since(b.traits.Reads, mark, after)
}

// Settled returns the engine's settled time, less the time that negative offsets
// look ahead.
func (b bound) Settled(ctx context.Context) (int64, error) {
	settled, err := b.source.Engine.Settled(ctx, b.traits.Reads)
	if err != nil {
		return 0, err
	}
	ahead := int64(0)
	for _, r := range b.traits.Reads {
		switch {
		case !r.Fixed:
			ahead = max(ahead, r.Through)
		case r.Through > settled:
			return 0, source.Downstream(fmt.Errorf("the query reads at %s, which is not over yet: choose an earlier time after @",
				time.UnixMilli(r.Through).UTC().Format(time.RFC3339)))
		}
	}
	return settled - ahead, nil
}

func (b bound) Rows(ctx context.Context, after, through int64) (grid.Rows, error) {
	settled, err := b.Settled(ctx)
	if err != nil {
		return grid.Rows{}, err
	}
	if through > settled {
		return grid.Rows{}, source.ErrNotSettled
	}
	step := b.traits.Step
	rows := grid.Rows{Step: step, After: after, Through: through}
	if err := rows.Check(); err != nil {
		return grid.Rows{}, err
	}
	first := after + step
	if after == through {
		first = through // an empty range has the fields of the row at its end
	}
	if err := affordable(b.parsed, span{first, through, step}, b.source.Interval); err != nil {
		return grid.Rows{}, err
	}
	answer, err := b.source.Engine.Range(ctx, b.expr, b.source.Lookback, first, through, step)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return grid.Rows{}, err
	}
	slices.SortFunc(answer.Series, func(a, b Series) int { return labels.Compare(a.Labels, b.Labels) })
	if b.Format == formatStates {
		if err := b.fold(ctx, &answer, &rows); err != nil {
			return grid.Rows{}, err
		}
	}
	rows.Notices, rows.Samples = answer.Notices, answer.Samples
	for _, text := range b.source.Engine.Notices(b.traits.Reads) {
		rows.Notices = append(rows.Notices, data.Notice{Severity: data.NoticeSeverityWarning, Text: text})
	}
	units := b.units(ctx, answer.Series)
	for i, s := range answer.Series {
		rows.Series = append(rows.Series, grid.Series{
			Name: s.Labels.String(), Labels: data.Labels(s.Labels.Map()), Display: b.display(s.Labels), Unit: units[i],
			Values: s.Values[:rows.Len()],
		})
	}
	return rows, rows.Check()
}

const (
	// describeWait is how long rows wait for descriptions of their metrics.
	describeWait = time.Second
	// maxVarious is how many metrics are looked up that the expression does not name.
	maxVarious = 20
)

// units returns Grafana's ids of the units of an answer's series, empty for none.
func (b bound) units(ctx context.Context, series []Series) []string {
	units := make([]string, len(series))
	if b.Format == formatStates || len(series) == 0 {
		return units
	}
	until := time.Now().Add(describeWait)
	var d describe = func(metric string) recorder.Metadata { return b.source.Engine.Describe(ctx, metric, until) }
	q := d.quantity(b.parsed)
	metrics := make(map[string]quantity)
	for i, s := range series {
		if q.of != various {
			units[i] = q.id()
			continue
		}
		name := s.Labels.Get(model.MetricNameLabel)
		of, ok := metrics[name]
		if !ok && name != "" && len(metrics) < maxVarious {
			of = d.metric(name)
			metrics[name] = of
		}
		units[i] = of.id()
	}
	return units
}

// display returns the name of a series in PromQL's notation, or the expression if
// the series has no labels.
func (q query) display(l labels.Labels) string {
	if l.IsEmpty() {
		return q.Expr
	}
	return recorder.Text(l)
}
