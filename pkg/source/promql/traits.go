package promql

import (
	"errors"

	"github.com/prometheus/prometheus/promql/parser"
)

// traits are what an expression needs for its rows to be functions of time.
type traits struct {
	// unsplit is why its rows cannot be that, if so.
	unsplit error
	// ahead is how far into the future of a row the expression looks, in
	// milliseconds; fixed is the latest time that it always reads.
	ahead, fixed int64
}

func traitsOf(expr parser.Expr) traits {
	var t traits
	t.visit(expr, nil, 0)
	return t
}

var errStartEnd = errors.New("@ start() and @ end() depend on the time range, so every row changes as time goes on. " +
	"Leave them out to have a live stream.")

// visit looks at a part of the expression. It is read at the time base, or that
// of the row if base is nil, plus shift.
func (t *traits) visit(n parser.Node, base *int64, shift int64) {
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
	}
	for child := range parser.ChildrenIter(n) {
		t.visit(child, base, shift)
	}
}
