package promql

import (
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// units are Grafana's unit ids for units at the end of metric names: for an amount,
// and for an amount per second.
var units = map[string]struct{ amount, rate string }{
	"seconds": {"s", "percentunit"}, // seconds per second are a share of the time
	"bytes":   {"bytes", "binBps"},
	"bits":    {"bits", "bps"},
	"celsius": {"celsius", ""},
	"percent": {"percent", ""},
	"ratio":   {"percentunit", ""},
	"volts":   {"volt", ""},
	"amperes": {"amp", ""},
	"watts":   {"watt", ""},
	"joules":  {"joule", "watt"},
	"hertz":   {"hertz", ""},
	"meters":  {"lengthm", "velocityms"},
	"grams":   {"massg", ""},
	"pascals": {"pressurepa", ""},
	// As sensors name them.
	"milliseconds": {"ms", ""},
	"fahrenheit":   {"fahrenheit", ""},
	"kelvin":       {"kelvin", ""},
	"volt":         {"volt", ""},
	"ampere":       {"amp", ""},
	"watt":         {"watt", ""},
	"kilowatts":    {"kwatt", ""},
	"kw":           {"kwatt", ""},
	"wh":           {"watth", ""},
	"kwh":          {"kwatth", ""},
	"hpa":          {"pressurehpa", ""},
	"lux":          {"lux", ""},
	"ppm":          {"ppm", ""},
	"rpm":          {"rotrpm", ""},
	"liters":       {"litre", ""},
}

// unitOf returns the unit of an expression's values if the name of the metric has
// one and the expression does not change it, or changes it in a known way.
func unitOf(expr parser.Expr) string {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return units[suffix(e.Name)].amount
	case *parser.ParenExpr:
		return unitOf(e.Expr)
	case *parser.UnaryExpr:
		return unitOf(e.Expr)
	case *parser.AggregateExpr:
		switch e.Op {
		case parser.SUM, parser.AVG, parser.MIN, parser.MAX, parser.TOPK, parser.BOTTOMK, parser.QUANTILE, parser.STDDEV, parser.LIMITK:
			return unitOf(e.Expr)
		}
	case *parser.Call:
		for _, arg := range e.Args {
			m, ok := arg.(*parser.MatrixSelector)
			if !ok {
				continue
			}
			u := units[suffix(m.VectorSelector.(*parser.VectorSelector).Name)]
			switch e.Func.Name {
			case "rate", "irate", "deriv":
				return u.rate
			case "increase", "delta", "idelta", "avg_over_time", "min_over_time", "max_over_time", "sum_over_time",
				"last_over_time", "quantile_over_time", "stddev_over_time", "predict_linear":
				return u.amount
			}
		}
	}
	return ""
}

func suffix(name string) string {
	name = strings.TrimSuffix(name, "_total")
	return name[strings.LastIndexByte(name, '_')+1:]
}
