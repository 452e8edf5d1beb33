package promql

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cortexproject/promqlsmith"
	"github.com/prometheus/prometheus/model/labels"
	upstream "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/internal/prometheus"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

var (
	exprSeed = flag.Int64("expr.seed", 0, "begin the random expressions with this seed")
	exprTime = flag.Duration("expr.time", 3*time.Second, "for how long to try random expressions")
)

// Random expressions have the same rows at once and in parts, those of upstream's
// engine on the same sorted series, and those of a Prometheus server. A failure
// names its seed; -args -expr.time=10m looks longer.
func TestRandomExpressions(t *testing.T) {
	f, r := newFixture(t)
	through := time.Now().Add(-time.Minute).Truncate(time.Minute).UnixMilli()
	from := through - 3*time.Hour.Milliseconds()
	f.fillAll(t, from, through)
	var series []labels.Labels
	for _, s := range f.series {
		series = append(series, s.Labels)
	}
	slices.SortFunc(series, labels.Compare)

	seed := *exprSeed
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	t.Logf("the first seed is %d", seed)
	var tried []try
	var refused, unsteady int
	for end := time.Now().Add(*exprTime); time.Now().Before(end); seed++ {
		x := try{seed: seed, expr: randomExpr(seed, series, from, through)}
		step := []int64{40_000, 61_000, 143_000}[seed%3]
		last := (through - 40*60_000) / step * step
		x.at = span{last - 39*step, last, step}
		_, errUpstream := x.upstream(t, f)
		switch err := x.ask(t, f); {
		case errors.As(err, new(*limits.Error)), err != nil && errUpstream != nil:
			refused++
			continue
		case err != nil || errUpstream != nil:
			t.Fatalf("seed %d: %s: the error is %v, upstream's is %v", seed, x.expr, err, errUpstream)
		}
		if x.incomparable {
			continue
		}
		steady, err := x.compare(func() (rowsByName, error) { return x.upstream(t, f) })
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, x.expr, err)
		}
		if !steady {
			unsteady++
		} else if len(tried) < 1000 {
			tried = append(tried, x)
		}
	}
	t.Logf("%d expressions are compared, %d are refused, to %d upstream gives another answer each time", len(tried), refused, unsteady)
	if unsteady > len(tried)/5 {
		t.Error("few expressions are compared")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	server := prometheus.Start(t, prometheus.Options{
		Dir:    f.dir,
		Config: "storage: {tsdb: {out_of_order_time_window: 24h}}", // else it does not read late samples
		Flags:  []string{"--storage.tsdb.retention.time=30d"},
	})
	remote := remoteOf(t, RemoteConfig{URL: server.URL, Client: http.DefaultClient, Timeout: time.Minute})
	for _, x := range tried {
		_, err := x.compare(func() (rowsByName, error) {
			answer, err := remote.Range(t.Context(), x.expr, f.Lookback, x.at.first, x.at.last, x.at.step)
			a := make(rowsByName)
			for _, s := range answer.Series {
				a[s.Labels.String()] = s.Values
			}
			return a, err
		})
		if err != nil {
			t.Errorf("seed %d: %s: over HTTP: %v", x.seed, x.expr, err)
		}
	}
}

// randomExpr returns an expression of the given series, whose fixed times lie
// within their samples.
func randomExpr(seed int64, series []labels.Labels, from, through int64) string {
	smith := promqlsmith.New(rand.New(rand.NewSource(seed)), series, promqlsmith.WithEnableOffset(true),
		promqlsmith.WithEnableAtModifier(true), promqlsmith.WithEnableVectorMatching(true),
		promqlsmith.WithAtModifierMaxTimestamp(through-from-40*60_000))
	expr := smith.WalkRangeQuery()
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		var fixed *int64
		switch n := n.(type) {
		case *parser.VectorSelector:
			fixed = n.Timestamp
		case *parser.SubqueryExpr:
			fixed = n.Timestamp
		}
		if fixed != nil {
			*fixed += from
		}
		return nil
	})
	return expr.String()
}

// rowsByName has the values of each series, by its labels.
type rowsByName map[string][]float64

// try is an expression with the rows that it has.
type try struct {
	seed int64
	expr string
	at   span
	rows grid.Rows
	// incomparable says that it depends on which of equal values comes first, makes
	// labels of a value's last bits, or has @ in a parameter, which upstream takes
	// for the first row alone.
	incomparable bool
}

// ask asks for the rows at once, and in parts if they may be.
func (x *try) ask(t *testing.T, f *fixture) (err error) {
	raw, _ := json.Marshal(map[string]string{"expr": x.expr})
	q, err := f.Query(raw)
	if err != nil {
		return err
	}
	b, err := q.Bind(x.at.step, time.Hour.Milliseconds())
	if err != nil {
		return err
	}
	parser.Inspect(b.(bound).parsed, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			switch a.Op {
			case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO, parser.COUNT_VALUES:
				x.incomparable = true
			}
			x.incomparable = x.incomparable || a.Param != nil && strings.Contains(a.Param.String(), "@")
		}
		return nil
	})
	after := x.at.first - x.at.step
	if x.rows, err = b.Rows(t.Context(), after, x.at.last); err != nil || b.Traits().Unsplit != nil {
		return err
	}
	rng := rand.New(rand.NewSource(x.seed))
	for from := after; from < x.at.last; {
		to := min(from+x.at.step*(1+rng.Int63n(20)), x.at.last)
		part, err := b.Rows(t.Context(), from, to)
		if err != nil {
			return err
		}
		part, ok := part.Onto(x.rows.Schema())
		if !ok {
			return fmt.Errorf("the rows after %d have the series %q, which are not those of all of them", from, part.Fields())
		}
		for i, s := range part.Series {
			for j, v := range s.Values {
				whole := x.rows.Series[i].Values[(from-after)/x.at.step+int64(j)]
				if math.Float64bits(v) != math.Float64bits(whole) && (isValue(v) || isValue(whole)) {
					return fmt.Errorf("the row at %d of %s is %v, but %v as a part", part.Time(j), s.Name, whole, v)
				}
			}
		}
		from = to
	}
	return nil
}

// upstream asks upstream's engine.
func (x *try) upstream(t *testing.T, f *fixture) (rowsByName, error) {
	q, err := engine.NewRangeQuery(t.Context(), f.store, upstream.NewPrometheusQueryOpts(false, f.Lookback), x.expr,
		time.UnixMilli(x.at.first), time.UnixMilli(x.at.last), time.Duration(x.at.step)*time.Millisecond)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	matrix, err := q.Exec(t.Context()).Matrix()
	a := make(rowsByName)
	for _, s := range matrix {
		values := none(x.at.len())
		for _, p := range s.Floats {
			values[(p.T-x.at.first)/x.at.step] = p.F
		}
		a[s.Metric.String()] = values
	}
	return a, err
}

// compare looks for the rows among a reference's answers, which may add up in
// another order each time. Where it contradicts itself there is nothing to compare,
// and the answer is not steady.
func (x *try) compare(reference func() (rowsByName, error)) (steady bool, err error) {
	own := make(rowsByName)
	for _, s := range x.rows.Series {
		own[s.Name] = s.Values
	}
	var first rowsByName
	for range 10 {
		a, errReference := reference()
		if errReference != nil {
			return false, errReference
		}
		if first == nil {
			first = a
		}
		if err = near(own, a); err == nil {
			return true, nil
		}
		if steady := near(first, a) == nil; !steady {
			return false, nil // what the reference itself does not repeat is no difference
		}
	}
	return true, err
}

// near compares two answers with a tolerance for sums in another order.
func near(got, want rowsByName) error {
	for name := range got {
		if want[name] == nil && slices.ContainsFunc(got[name], isValue) {
			return fmt.Errorf("%s is there, and is not in the reference", name)
		}
	}
	for name, values := range want {
		for i, w := range values {
			g := math.NaN()
			if got[name] != nil {
				g = got[name][i]
			}
			if isValue(g) != isValue(w) || isValue(g) && g != w && !(math.Abs(g-w) <= 1e-9*max(math.Abs(w), 1)) {
				return fmt.Errorf("row %d of %s is %v, and %v in the reference", i, name, g, w)
			}
		}
	}
	return nil
}

func isValue(v float64) bool { return !math.IsNaN(v) }
