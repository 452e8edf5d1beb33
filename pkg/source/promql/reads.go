package promql

import (
	"errors"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/continuum-live/continuum-datasource/pkg/source"
)

var errStartEnd = errors.New("@ start() and @ end() depend on the time range, so every row changes as time goes on. " +
	"Leave them out to have a live stream.")

// reads returns the samples that rows of an expression are made of. The error says
// why a range cannot be split. @ start() and @ end() are treated as the time of the
// row.
func reads(expr parser.Expr, lookback time.Duration) ([]source.Read, error) {
	r := reader{lookback: lookback}
	r.visit(expr, instants{})
	return r.reads, r.unsplit
}

type reader struct {
	lookback  time.Duration
	reads     []source.Read
	selectors []*parser.VectorSelector // one for each of reads
	unsplit   error
}

// instants are the times at which a part of an expression is evaluated for one row:
// from first to last, in Unix milliseconds if fixed, otherwise counted from the
// row's time.
type instants struct {
	fixed       bool
	first, last int64
}

func (r *reader) visit(n parser.Node, at instants) {
	switch n := n.(type) {
	case *parser.MatrixSelector:
		r.selector(n.VectorSelector.(*parser.VectorSelector), at, n.Range)
		return
	case *parser.VectorSelector:
		r.selector(n, at, r.lookback)
		return
	case *parser.SubqueryExpr:
		at = r.modified(at, n.Timestamp, n.StartOrEnd, n.OriginalOffset)
		at.first -= n.Range.Milliseconds()
	}
	for child := range parser.ChildrenIter(n) {
		r.visit(child, at)
	}
}

// selector adds the samples of a selector, which reads back from each time by
// length.
func (r *reader) selector(s *parser.VectorSelector, at instants, length time.Duration) {
	at = r.modified(at, s.Timestamp, s.StartOrEnd, s.OriginalOffset)
	r.selectors = append(r.selectors, s)
	r.reads = append(r.reads, source.Read{
		Metric: metricOf(s.LabelMatchers), Fixed: at.fixed, After: at.first - length.Milliseconds(), Through: at.last,
	})
}

// farAway limits times, so that sums and differences do not overflow an int64.
const farAway = math.MaxInt64 / 4

// modified applies the modifiers @ and offset.
func (r *reader) modified(at instants, timestamp *int64, startOrEnd parser.ItemType, offset time.Duration) instants {
	if startOrEnd != 0 {
		r.unsplit = errStartEnd
	}
	if timestamp != nil {
		t := max(-farAway, min(*timestamp, farAway))
		at = instants{fixed: true, first: t, last: t}
	}
	at.first -= offset.Milliseconds()
	at.last -= offset.Milliseconds()
	return at
}

// metricOf returns the only metric that matches, empty if there may be several.
func metricOf(matchers []*labels.Matcher) string {
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}
