package promql

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	upstream "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// A sum differs in its last bits with the order in which it is added up, and for a
// range the engine returns the series of most operators in random order. So the
// argument of an aggregation is evaluated before the aggregation and separately. The
// engine then gets the result as if it were series of the store, sorted by labels.
// All arithmetic is still the engine's.

// span are the times at which a part of an expression is evaluated: first, first +
// step and so on up to last, in Unix milliseconds.
type span struct{ first, last, step int64 }

// evaluation is the state of one evaluation.
type evaluation struct {
	store      recorder.Samples
	lookback   time.Duration
	whole      span // the times of the whole query
	calculated [][]storage.Series
	queries    []upstream.Query // to be closed at the end, as their points belong to the engine
	samples    int64            // samples kept so far: the engine only counts those of one query
	read       int64            // samples read so far, calculated ones too
	annotated  annotations.Annotations
}

// result is the answer of an evaluation, with the engine's annotations and how many
// samples it read.
type result struct {
	matrix      upstream.Matrix
	annotations annotations.Annotations
	read        int64
}

// evaluate evaluates expr, which it replaces parts of, at the times at; text is its
// text. The caller must call free, which is never nil; the answer is valid until then.
func evaluate(ctx context.Context, store recorder.Samples, expr parser.Expr, text string, lookback time.Duration, at span) (r result, free func(), err error) {
	e := &evaluation{store: store, lookback: lookback, whole: at}
	changed, err := e.calculate(ctx, expr, at)
	if err != nil {
		return r, e.free, err
	}
	if changed {
		text = expr.String()
	}
	r.matrix, err = e.run(ctx, text, at)
	r.annotations, r.read = e.annotated, e.read
	return r, e.free, err
}

// resolveStartEnd replaces @ start() and @ end() by the times of the whole query,
// because a part that is evaluated separately has others. It reports whether there
// were any.
func resolveStartEnd(n parser.Node, whole span) (resolved bool) {
	resolve := func(timestamp **int64, startOrEnd *parser.ItemType) {
		switch *startOrEnd {
		case parser.START:
			*timestamp = &whole.first
		case parser.END:
			*timestamp = &whole.last
		default:
			return
		}
		*startOrEnd = 0
		resolved = true
	}
	switch n := n.(type) {
	case *parser.VectorSelector:
		resolve(&n.Timestamp, &n.StartOrEnd)
	case *parser.SubqueryExpr:
		resolve(&n.Timestamp, &n.StartOrEnd)
	}
	for child := range parser.ChildrenIter(n) {
		resolved = resolveStartEnd(child, whole) || resolved
	}
	return resolved
}

func (e *evaluation) free() {
	for _, q := range e.queries {
		q.Close()
	}
}

// run evaluates expr and returns its series sorted by labels.
func (e *evaluation) run(ctx context.Context, expr string, at span) (upstream.Matrix, error) {
	q, err := engine.NewRangeQuery(ctx, e, upstream.NewPrometheusQueryOpts(false, e.lookback), expr,
		time.UnixMilli(at.first), time.UnixMilli(at.last), time.Duration(at.step)*time.Millisecond)
	if err != nil {
		return nil, err
	}
	e.queries = append(e.queries, q)
	answer := q.Exec(ctx)
	e.annotated.Merge(answer.Warnings)
	e.read += q.Stats().Samples.SamplesRead
	matrix, err := answer.Matrix()
	if err != nil {
		return nil, err
	}
	return matrix, e.keep(int64(matrix.TotalSamples()))
}

// keep counts samples that are kept until the evaluation ends, and checks the limit.
func (e *evaluation) keep(samples int64) error {
	e.samples += samples
	return limits.Samples.Check(e.samples)
}

// calculatedLabel is the label with which an expression selects results that are
// calculated already.
const calculatedLabel = "__calculated__"

// calculate evaluates the parameters of aggregations in n, and the arguments whose
// series would not come sorted by labels, the innermost first. It replaces them in n
// by selectors of the results, and reports whether there were any.
func (e *evaluation) calculate(ctx context.Context, n parser.Node, at span) (changed bool, err error) {
	if s, ok := n.(*parser.SubqueryExpr); ok {
		if at = within(s, at, e.whole); at.last < at.first {
			return false, nil
		}
	}
	for child := range parser.ChildrenIter(n) {
		c, err := e.calculate(ctx, child, at)
		if err != nil {
			return false, err
		}
		changed = changed || c
	}
	a, ok := n.(*parser.AggregateExpr)
	if !ok {
		return changed, nil
	}
	// For a range, the engine evaluates a parameter with @ only once, at the first
	// time.
	if _, literal := a.Param.(*parser.NumberLiteral); a.Param != nil && !literal && a.Param.Type() == parser.ValueTypeScalar {
		selector, err := e.precalculate(ctx, a.Param, at)
		if err != nil {
			return false, err
		}
		a.Param = &parser.Call{Func: parser.Functions["scalar"], Args: parser.Expressions{selector}}
		changed = true
	}
	if dependsOnOrder(a.Op) && !ordered(a.Expr) {
		selector, err := e.precalculate(ctx, a.Expr, at)
		if err != nil {
			return false, err
		}
		a.Expr = selector
		changed = true
	}
	return changed, nil
}

// precalculate evaluates a part of the expression separately, and returns a selector
// of the result.
func (e *evaluation) precalculate(ctx context.Context, part parser.Expr, at span) (*parser.VectorSelector, error) {
	matrix, err := e.run(ctx, part.String(), at)
	if err != nil {
		return nil, err
	}
	series := make([]storage.Series, len(matrix))
	for i, s := range matrix {
		all := dense(s, at)
		if len(all.Floats)+len(all.Histograms) > len(s.Floats)+len(s.Histograms) {
			if err := e.keep(int64(at.len())); err != nil {
				return nil, err
			}
		}
		series[i] = upstream.NewStorageSeries(all)
	}
	e.calculated = append(e.calculated, series)
	return &parser.VectorSelector{LabelMatchers: []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, calculatedLabel, strconv.Itoa(len(e.calculated)-1)),
	}}, nil
}

// within returns the times at which the inside of a subquery is evaluated, if the
// subquery itself is evaluated at the times at. whole are the times of the query.
func within(s *parser.SubqueryExpr, at, whole span) span {
	switch {
	case s.Timestamp != nil:
		at.first, at.last = *s.Timestamp, *s.Timestamp
	case s.StartOrEnd == parser.START:
		at.first, at.last = whole.first, whole.first
	case s.StartOrEnd == parser.END:
		at.first, at.last = whole.last, whole.last
	}
	offset := s.OriginalOffset.Milliseconds()
	step := s.Step.Milliseconds()
	if step == 0 {
		step = subqueryStep.Milliseconds()
	}
	before := at.first - offset - s.Range.Milliseconds()
	first := before / step * step // rounded to zero as in the engine, also before 1970
	if first <= before {
		first += step
	}
	return span{first, at.last - offset, step}
}

// dense returns a series with a stale marker at each time without a value, so that
// the lookback of a selector does not find an earlier value.
func dense(s upstream.Series, at span) upstream.Series {
	n := at.len()
	if len(s.Floats)+len(s.Histograms) == n {
		return s
	}
	values := make([]float64, n)
	stale := math.Float64frombits(value.StaleNaN)
	for i := range values {
		values[i] = stale
	}
	for _, p := range s.Floats {
		values[(p.T-at.first)/at.step] = p.F
	}
	floats, histograms := make([]upstream.FPoint, 0, n), s.Histograms
	for i, v := range values {
		t := at.first + int64(i)*at.step
		if len(histograms) > 0 && histograms[0].T == t {
			histograms = histograms[1:]
			continue
		}
		floats = append(floats, upstream.FPoint{T: t, F: v})
	}
	s.Floats = floats
	return s
}

// Querier implements storage.Queryable. It has the calculated results and the store.
func (e *evaluation) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := e.store.Querier(mint, maxt)
	return querier{q, e.calculated}, err
}

type querier struct {
	storage.Querier
	calculated [][]storage.Series
}

func (q querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	if m := matchers[0]; m.Name == calculatedLabel && m.Type == labels.MatchEqual && len(matchers) == 1 {
		if i, err := strconv.Atoi(m.Value); err == nil && i >= 0 && i < len(q.calculated) {
			return &list{series: q.calculated[i]}
		}
	}
	return q.Querier.Select(ctx, sorted, hints, matchers...)
}

// list is a storage.SeriesSet of a slice.
type list struct {
	series []storage.Series
	next   int
}

func (l *list) Next() bool {
	l.next++
	return l.next <= len(l.series)
}
func (l *list) At() storage.Series                { return l.series[l.next-1] }
func (l *list) Err() error                        { return nil }
func (l *list) Warnings() annotations.Annotations { return nil }

// dependsOnOrder reports whether the result of an aggregation depends on the order
// of its series, be it in the last bits or in the sign of a zero.
func dependsOnOrder(op parser.ItemType) bool {
	switch op {
	case parser.COUNT, parser.GROUP, parser.COUNT_VALUES:
		return false
	}
	return true
}

// ordered reports whether the engine, for a range, always returns the series of an
// expression in the same order. It does for selectors, because the store sorts
// series; for functions of range vectors, which keep the order; and for a single
// series.
func ordered(expr parser.Expr) bool {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		// If there are several metrics, functions make series with the same labels,
		// which the engine joins in random order.
		return e.Name != ""
	case *parser.MatrixSelector:
		return ordered(e.VectorSelector)
	case *parser.ParenExpr:
		return ordered(e.Expr)
	case *parser.UnaryExpr:
		return ordered(e.Expr)
	case *parser.SubqueryExpr:
		return ordered(e.Expr)
	case *parser.AggregateExpr:
		return !e.Without && len(e.Grouping) == 0 && single(e.Op)
	case *parser.Call:
		if e.Func.Name == "label_replace" || e.Func.Name == "label_join" {
			return ordered(e.Args[0])
		}
		for _, arg := range e.Args {
			if arg.Type() == parser.ValueTypeMatrix {
				return ordered(arg) && !strings.HasPrefix(e.Func.Name, "absent")
			}
		}
	}
	return expr.Type() == parser.ValueTypeScalar
}

// single reports whether an aggregation without groups returns a single series.
func single(op parser.ItemType) bool {
	switch op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO, parser.COUNT_VALUES:
		return false
	}
	return true
}
