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

// reads returns what the rows of an expression are made of, and why they cannot
// be asked for in parts, if so. For @ start() and @ end() it counts the times
// from the row's own.
func reads(expr parser.Expr, lookback time.Duration) ([]source.Read, error) {
	r := reader{lookback: lookback}
	r.visit(expr, instants{})
	return r.reads, r.unsplit
}

type reader struct {
	lookback time.Duration
	reads    []source.Read
	unsplit  error
}

// instants are when a part of an expression is evaluated for a row: from first to
// last, in Unix milliseconds if it is fixed, else counted from the row's time.
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

// selector adds what a selector reads, which goes back from each time by length.
func (r *reader) selector(s *parser.VectorSelector, at instants, length time.Duration) {
	at = r.modified(at, s.Timestamp, s.StartOrEnd, s.OriginalOffset)
	r.reads = append(r.reads, source.Read{
		Metric: metricOf(s.LabelMatchers), Fixed: at.fixed, After: at.first - length.Milliseconds(), Through: at.last,
	})
}

// farAway keeps times far enough from the limits of int64 to be calculated with.
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

// metricOf returns the one name that a series can have, empty if there may be
// several.
func metricOf(matchers []*labels.Matcher) string {
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}
