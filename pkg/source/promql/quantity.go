package promql

import (
	"strings"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/continuum-live/continuum-datasource/pkg/source/unit"
)

// quantity says what the values of an expression are. The zero value is numbers
// without a unit, or of which nothing is known.
type quantity struct {
	unit unit.Unit
	of   kind
	rate bool // per second
}

// kind is what there is so much or so many of.
type kind int

const (
	amounts kind = iota
	events       // of which each has an amount in the unit, as those of a histogram
	moments      // Unix times, in seconds for sure
	// various values, as those of a selector without a name: the metric of each series
	// says what they are.
	various
)

// id returns Grafana's id of the unit, empty for none.
func (q quantity) id() string {
	switch {
	case q.of != amounts:
		return ""
	case q.rate:
		return q.unit.Rate
	}
	return q.unit.Amount
}

// unless returns the quantity, and nothing if it is of a kind.
func (q quantity) unless(k kind) quantity {
	if q.of == k {
		return quantity{}
	}
	return q
}

// quantity returns what the values of an expression are. If it does not know what a part
// of the expression makes of them, it returns nothing: no unit is better than a wrong one.
func (d describe) quantity(expr parser.Expr) quantity {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		if e.Name == "" {
			return quantity{of: various}
		}
		return d.metric(e.Name)
	case *parser.MatrixSelector:
		return d.quantity(e.VectorSelector)
	case *parser.SubqueryExpr:
		return d.quantity(e.Expr)
	case *parser.ParenExpr:
		return d.quantity(e.Expr)
	case *parser.StepInvariantExpr:
		return d.quantity(e.Expr)
	case *parser.UnaryExpr:
		return d.quantity(e.Expr).unless(various)
	case *parser.AggregateExpr:
		switch e.Op {
		case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
			return d.quantity(e.Expr)
		case parser.SUM, parser.AVG, parser.MIN, parser.MAX, parser.QUANTILE, parser.STDDEV:
			return d.quantity(e.Expr).unless(various)
		}
	case *parser.BinaryExpr:
		return d.binary(e)
	case *parser.Call:
		return d.call(e)
	}
	return quantity{}
}

// binary returns what the values of an operation are.
func (d describe) binary(e *parser.BinaryExpr) quantity {
	l, r := d.quantity(e.LHS), d.quantity(e.RHS)
	switch e.Op {
	case parser.LAND, parser.LUNLESS:
		return l
	case parser.LOR:
		if l == r || isConstant(e.RHS) { // as in … or vector(0)
			return l
		}
	case parser.EQLC, parser.NEQ, parser.GTR, parser.LSS, parser.GTE, parser.LTE:
		switch {
		case e.ReturnBool:
		case e.LHS.Type() == parser.ValueTypeScalar: // the values are those of the vector
			return r
		default:
			return l
		}
	case parser.SUB:
		if l.of == moments && r.of == moments {
			return quantity{unit: unit.Seconds}
		}
		fallthrough
	case parser.ADD:
		if l == r {
			return l.unless(various).unless(moments)
		}
	case parser.MUL: // with 1 to take over labels
		switch {
		case isInfo(e.RHS):
			return l.unless(various)
		case isInfo(e.LHS):
			return r.unless(various)
		}
	case parser.DIV: // the mean of a histogram
		if l.of == amounts && r.of == events && l.unit == r.unit && l.rate == r.rate {
			return quantity{unit: l.unit}
		}
	}
	return quantity{}
}

func isConstant(expr parser.Expr) bool {
	c, ok := expr.(*parser.Call)
	if !ok || c.Func.Name != "vector" {
		return false
	}
	_, ok = c.Args[0].(*parser.NumberLiteral)
	return ok
}

// isInfo reports whether an expression is a metric whose values are all 1.
func isInfo(expr parser.Expr) bool {
	s, ok := expr.(*parser.VectorSelector)
	return ok && strings.HasSuffix(s.Name, "_info")
}

// call returns what the values of a function are.
func (d describe) call(c *parser.Call) quantity {
	argument := func(i int) quantity { return d.quantity(c.Args[i]) }
	switch c.Func.Name {
	case "time", "timestamp", "ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time", "ts_of_min_over_time":
		return quantity{of: moments}
	case "rate", "irate", "deriv":
		q := argument(0)
		if q.rate || q.of == moments || q.of == various {
			return quantity{}
		}
		q.rate = true
		return q
	case "increase", "delta", "idelta", "stddev_over_time", "mad_over_time":
		return argument(0).unless(moments).unless(various)
	case "sort", "sort_desc", "sort_by_label", "sort_by_label_desc", "last_over_time", "first_over_time": // which keep the names
		return argument(0)
	case "abs", "ceil", "floor", "round", "clamp", "clamp_max", "clamp_min", "scalar", "vector", "label_replace", "label_join", "info",
		"avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "double_exponential_smoothing", "predict_linear", "histogram_sum":
		return argument(0).unless(various)
	case "quantile_over_time":
		return argument(1).unless(various)
	case "histogram_avg", "histogram_stddev":
		return quantity{unit: argument(0).unit}
	case "histogram_quantile":
		return quantity{unit: argument(1).unit}
	}
	return quantity{}
}
