package promql

import (
	"maps"
	"math"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

// affordable refuses an expression whose evaluation at these times would take too
// long even for a single series: a subquery evaluates its inside at all of its own
// steps, and a range is read again for each row. It assumes that samples are an
// interval apart.
func affordable(expr parser.Expr, at span, interval time.Duration) error {
	c := costOf(expr, at, interval, func(*parser.VectorSelector) float64 { return 1 })
	if err := limits.Steps.Check(c.steps); err != nil {
		return err
	}
	if err := limits.Label.Check(whole(c.label)); err != nil {
		return err
	}
	return c.check(1)
}

// cost is an upper bound of what it takes to evaluate an expression. Counts are
// floats because they may be too large for integers.
type cost struct {
	interval int64 // ms
	whole    span
	count    func(*parser.VectorSelector) float64

	steps  int64   // of the part that is evaluated most often
	read   float64 // samples that are read
	values float64 // values that are calculated
	now    float64 // samples that are held at this point of the evaluation
	held   float64 // the most samples that are held at once
	kept   float64 // samples that are held until the evaluation ends
	label  float64 // bytes of the longest label that the expression makes
	series float64 // series of the result
}

// costOf returns the cost of an expression at these times. count returns how many
// series a selector has.
func costOf(expr parser.Expr, at span, interval time.Duration, count func(*parser.VectorSelector) float64) cost {
	c := cost{interval: max(1, interval.Milliseconds()), whole: at, count: count}
	c.series = c.visit(expr, at).series
	return c
}

// check returns an error if evaluating this many times takes too long.
func (c cost) check(times float64) error {
	if err := limits.Reads.Check(whole(c.read * times)); err != nil {
		return err
	}
	return limits.Values.Check(whole(c.values * times))
}

// whole converts a number to an integer, at most 1e18.
func whole(n float64) int64 { return int64(min(n, 1e18)) }

// part describes the result of a part of an expression.
type part struct {
	series float64
	held   float64            // samples that are held until the outer part is calculated
	labels map[string]float64 // bytes of the labels that the expression makes
}

const (
	// labelBytes is how long the labels of a store are taken to be.
	labelBytes = 1 << 10
	// sampleBytes is what a sample takes of memory.
	sampleBytes = 16
	// labelCopies is how often labels that an expression makes are in memory.
	labelCopies = 4
	// making is how many values take as long as a series that is not known yet.
	making = 100
	// matching is how many values take as long as one of an operator between vectors,
	// which finds the series that belong together anew at each time.
	matching = 5
	// sorting is how much longer functions take that sort a range than those that
	// add it up.
	sorting = 16
	// slice is the most samples for which the engine makes room in a series before
	// it has any.
	slice = 5000
)

func (c *cost) hold(samples float64) {
	c.now += samples
	c.held = max(c.held, c.now+c.kept)
}

func (c *cost) visit(n parser.Node, at span) part {
	steps := float64(at.len())
	c.steps = max(c.steps, int64(at.len()))
	var r part
	var args []part
	read := c.read
	switch n := n.(type) {
	case *parser.ParenExpr:
		return c.visit(n.Expr, at)
	case *parser.StringLiteral:
		return r
	case *parser.MatrixSelector:
		return c.matrix(n, steps)
	case *parser.SubqueryExpr:
		inside := within(n, at, c.whole)
		if inside.last < inside.first {
			return r
		}
		r = c.visit(n.Expr, inside)
		c.read += r.series * steps * max(1, float64(n.Range.Milliseconds()/inside.step))
		return r
	}
	for child := range parser.ChildrenIter(n) {
		args = append(args, c.visit(child, at))
	}
	for _, arg := range args {
		r.series = max(r.series, arg.series)
		for name, bytes := range arg.labels {
			r.set(name, max(bytes, r.labels[name]))
		}
	}
	room := steps // samples that a series has room for
	made := 0.0   // series whose labels are looked up at each time
	each := 1.0   // how many values one takes as long as
	switch n := n.(type) {
	case *parser.VectorSelector:
		r.series = c.count(n)
		c.read += r.series * steps
	case *parser.Call:
		r.series = max(1, r.series)
		c.call(n, &r, read)
	case *parser.AggregateExpr:
		if dependsOnOrder(n.Op) && !ordered(n.Expr) { // its argument is evaluated separately, see order.go
			c.kept += r.series * steps
		}
		switch {
		case n.Op == parser.COUNT_VALUES: // each value may make another series
			r.series, room = r.series*steps, min(steps, slice)
			made = r.series
		case !n.Without && len(n.Grouping) == 0 && single(n.Op):
			r = part{series: 1}
		}
	case *parser.BinaryExpr:
		if m := n.VectorMatching; m != nil {
			each = matching
			switch {
			case n.Op == parser.LOR:
				r.series = args[0].series + args[1].series
			case len(m.Include) > 0: // each row may have other labels
				r.series, room = min(args[0].series*args[1].series, r.series*steps), min(steps, slice)
				made = r.series
			}
		}
	default:
		r.series = max(1, r.series)
	}
	c.values += each*r.series*steps + making*made
	r.held = r.series * room
	for _, bytes := range r.labels {
		r.held += labelCopies * r.series * bytes / sampleBytes
	}
	c.hold(r.held)
	for _, arg := range args {
		c.now -= arg.held
	}
	return r
}

// matrix adds the cost of a range selector: the engine reads one series after
// another, and holds one range at a time.
func (c *cost) matrix(n *parser.MatrixSelector, steps float64) part {
	s := n.VectorSelector.(*parser.VectorSelector)
	series := c.count(s)
	samples := max(1, float64(n.Range.Milliseconds()/c.interval))
	c.read += series * steps * samples
	c.hold(samples)
	c.now -= samples
	return part{series: series}
}

// call adds the cost of particular functions. before is how many samples were read
// before its arguments.
func (c *cost) call(n *parser.Call, r *part, before float64) {
	text := func(i int) string {
		if i < len(n.Args) {
			if s, ok := n.Args[i].(*parser.StringLiteral); ok {
				return s.Val
			}
		}
		return ""
	}
	bytes := 0.0
	switch n.Func.Name {
	case "quantile_over_time", "mad_over_time":
		c.read += (c.read - before) * (sorting - 1)
		return
	case "label_replace":
		with := text(2)
		bytes = float64(len(with)) + float64(strings.Count(with, "$"))*r.label(text(3))
	case "label_join":
		for i := 3; i < len(n.Args); i++ {
			bytes += r.label(text(i)) + float64(len(text(2)))
		}
	default:
		return
	}
	r.set(text(1), bytes)
	c.label = max(c.label, bytes)
}

func (p *part) label(name string) float64 {
	if bytes, ok := p.labels[name]; ok {
		return bytes
	}
	return labelBytes
}

func (p *part) set(name string, bytes float64) {
	p.labels = maps.Clone(p.labels) // it may belong to an argument
	if p.labels == nil {
		p.labels = make(map[string]float64)
	}
	p.labels[name] = bytes
}

// work says how an expression is evaluated: in parts of this many rows, so that few
// samples are held at once. The first part is smaller if the answer may have too
// many series.
type work struct {
	first, rows int
	heavy       bool
}

const (
	// Up to these limits an evaluation is light: it runs beside heavy ones.
	lightHeld, lightReads, lightValues = 1_000_000, 100_000_000, 2_000_000
	// doubtful is how many times smaller the first part is if the answer may have too
	// many series.
	doubtful = 16
)

// plan refuses an expression that would take too much, and returns how another one
// is evaluated. count returns how many series a selector has. most is how many
// series there are in all: if the evaluation is light even with so many, plan does
// not call count.
func plan(expr parser.Expr, at span, interval time.Duration, most float64, count func(*parser.VectorSelector) float64) (work, error) {
	all := costOf(expr, at, interval, func(*parser.VectorSelector) float64 { return most })
	if all.light() {
		return work{first: at.len(), rows: at.len()}, nil
	}
	counts := make(map[*parser.VectorSelector]float64)
	same := make(map[string]float64) // by the text of selectors
	of := func(rows int) cost {
		return costOf(expr, span{at.last - int64(rows-1)*at.step, at.last, at.step}, interval, func(s *parser.VectorSelector) float64 {
			if n, ok := counts[s]; ok {
				return n
			}
			plain := (&parser.VectorSelector{Name: s.Name, LabelMatchers: s.LabelMatchers}).String()
			if _, ok := same[plain]; !ok {
				same[plain] = count(s)
			}
			counts[s] = same[plain]
			return counts[s]
		})
	}
	if all = of(at.len()); all.light() {
		return work{first: at.len(), rows: at.len()}, nil
	}
	w := work{first: at.len(), rows: at.len(), heavy: true}
	least := of(1).held
	target := min(float64(limits.Samples.Most), max(lightHeld, 2*least))
	low, high := 1, at.len() // the most rows within the target
	for low < high {
		if middle := (low + high + 1) / 2; of(middle).held <= target {
			low = middle
		} else {
			high = middle - 1
		}
	}
	w.first, w.rows = low, low
	if all.series*float64(at.len()) > float64(limits.Cells.Most) || all.series > float64(limits.Series.Most) {
		w.first = max(1, w.rows/doubtful)
	}
	one := of(w.rows)
	if err := limits.Samples.Check(whole(one.held)); err != nil {
		return w, err
	}
	return w, one.check(math.Ceil(float64(at.len()) / float64(w.rows)))
}

func (c cost) light() bool {
	return c.held <= lightHeld && c.read <= lightReads && c.values <= lightValues
}
