package promql

import (
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

// affordable refuses an expression whose evaluation at the given times would take
// too much memory or time even for few series: a subquery evaluates what is in it
// at all of its steps, and a range is read anew for each row. Samples are taken to
// be an interval apart.
func affordable(expr parser.Expr, at span, interval time.Duration) error {
	c := cost{interval: max(1, interval.Milliseconds()), whole: at}
	c.visit(expr, at)
	if err := limits.Steps.Check(c.steps); err != nil {
		return err
	}
	return limits.Visits.Check(int64(min(c.visits, 1e18)))
}

type cost struct {
	interval int64 // ms
	whole    span
	steps    int64 // of the part that is evaluated most often
	visits   float64
}

func (c *cost) visit(n parser.Node, at span) {
	steps := (at.last-at.first)/at.step + 1
	c.steps = max(c.steps, steps)
	switch n := n.(type) {
	case *parser.MatrixSelector:
		c.visits += float64(steps) * max(1, float64(n.Range.Milliseconds()/c.interval))
		return
	case *parser.SubqueryExpr:
		inside := within(n, at, c.whole)
		if inside.last < inside.first {
			return
		}
		c.visits += float64(steps) * max(1, float64(n.Range.Milliseconds()/inside.step))
		at = inside
	case *parser.VectorSelector, *parser.NumberLiteral:
		c.visits += float64(steps)
	}
	for child := range parser.ChildrenIter(n) {
		c.visit(child, at)
	}
}
