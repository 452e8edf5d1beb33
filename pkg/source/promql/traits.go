package promql

import (
	"errors"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// traits are what an expression needs for its rows to be functions of time.
type traits struct {
	// unsplit is why its rows cannot be that, if so.
	unsplit error
	// rowByRow: the engine must be asked for each row by itself. Over a range it
	// hands the results of most operators on in a random order, in which sums
	// differ in their last bits. At a single time it keeps the order.
	rowByRow bool
	// ahead is how far into the future of a row the expression looks, in
	// milliseconds; fixed is the latest time that it always reads.
	ahead, fixed int64
}

func traitsOf(expr parser.Expr) traits {
	var t traits
	t.visit(expr, nil, 0, false)
	return t
}

var (
	errStartEnd = errors.New("@ start() and @ end() depend on the time range, so every row changes as time goes on. " +
		"Leave them out to have a live stream.")
	errSubquery = errors.New("a sum over calculated series within a subquery has no exact value: its last digits differ from time to time. " +
		"Aggregate before calculating to have a live stream.")
)

// visit looks at a part of the expression. It is read at the time base, or that
// of the row if base is nil, plus shift. Subqueries are evaluated over a range
// even for a single row.
func (t *traits) visit(n parser.Node, base *int64, shift int64, subquery bool) {
	at := func(timestamp *int64, startOrEnd parser.ItemType, offset int64) {
		if startOrEnd != 0 {
			t.unsplit = errStartEnd
		}
		if timestamp != nil {
			base, shift = timestamp, 0
		}
		shift -= offset
	}
	switch n := n.(type) {
	case *parser.VectorSelector:
		at(n.Timestamp, n.StartOrEnd, n.OriginalOffset.Milliseconds())
		if base == nil {
			t.ahead = max(t.ahead, shift)
		} else {
			t.fixed = max(t.fixed, *base+shift)
		}
	case *parser.SubqueryExpr:
		at(n.Timestamp, n.StartOrEnd, n.OriginalOffset.Milliseconds())
		subquery = true
	case *parser.AggregateExpr:
		if dependsOnOrder(n.Op) && !ordered(n.Expr) {
			t.rowByRow = true
			if subquery && t.unsplit == nil {
				t.unsplit = errSubquery
			}
		}
	}
	for child := range parser.ChildrenIter(n) {
		t.visit(child, base, shift, subquery)
	}
}

// dependsOnOrder says whether an aggregation gives another result, if only in
// its last bits, when its series come in another order.
func dependsOnOrder(op parser.ItemType) bool {
	switch op {
	case parser.COUNT, parser.GROUP, parser.MIN, parser.MAX, parser.QUANTILE, parser.COUNT_VALUES:
		return false
	}
	return true
}

// ordered says whether the engine, over a range, gives the series of an
// expression in an order that does not depend on the range: selectors do,
// because the store sorts them, functions of range vectors keep the order, and
// a single series has one.
func ordered(expr parser.Expr) bool {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		// Of several metrics, functions make series of the same labels, which the
		// engine joins in any order.
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

// single says whether an aggregation without groups gives one series.
func single(op parser.ItemType) bool {
	switch op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO, parser.COUNT_VALUES:
		return false
	}
	return true
}
