package promql

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/continuum-live/continuum-datasource/pkg/internal/prometheus"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// same are queries whose rows Prometheus gives to the last bit. START is a time
// within the data.
var same = []string{
	// selectors, and what changes when and how a series is read
	`level`,
	`{__name__=~"level|sparse"}`,
	`level{machine!~"m[0-3]", zone="z1"}`,
	`level offset 7m`,
	`level offset -3m`,
	`level @ START`,
	`level @ start() - level @ end()`,
	`sparse`,
	`last_over_time(sparse[1h])`,
	`timestamp(level)`,
	`level{machine="none"}`,
	// range vectors: resets, gaps, late samples, ends
	`rate(work_total[1m])`,
	`rate(work_total[$__rate_interval])`,
	`increase(work_total[17m])`,
	`irate(work_total[1m])`,
	`rate(work_total[5m] offset 4m)`,
	`increase(work_total[10m] @ START)`,
	`resets(work_total[1h])`,
	`delta(level[3m])`,
	`idelta(level[3m])`,
	`deriv(level[3m])`,
	`predict_linear(level[10m], 600)`,
	`changes(level[5m])`,
	`avg_over_time(level[$__interval])`,
	`avg_over_time(level[11m])`,
	`sum_over_time(level[11m])`,
	`min_over_time(level[11m])`,
	`max_over_time(level[11m])`,
	`count_over_time(level[11m])`,
	`quantile_over_time(0.37, level[11m])`,
	`stddev_over_time(level[11m])`,
	`stdvar_over_time(level[11m])`,
	`present_over_time(level[1m])`,
	`absent_over_time(work_total{machine="m1"}[1m])`,
	`absent_over_time(none{a="b"}[1m])`,
	`absent(level{machine="m4"})`,
	`absent(level)`,
	// subqueries
	`max_over_time(rate(work_total[1m])[10m:30s])`,
	`avg_over_time((level * 2)[5m:])`,
	`quantile_over_time(0.9, abs(level)[7m:13s] offset 2m)`,
	`max_over_time(sum by (zone) (level)[5m:20s] @ START)`,
	// arithmetic, comparisons and sets
	`level * 1.1 + 3`,
	`-level`,
	`level % 7`,
	`2 ^ (level / 1000)`,
	`level / work_total`,
	`level - on (machine, zone) rate(work_total[1m])`,
	`level atan2 work_total`,
	`level > 20`,
	`20 < bool level`,
	`level > bool -5 == 1`,
	`level and on (machine) work_total > 500`,
	`level or work_total`,
	`level unless on (machine) (work_total > 500)`,
	`level * on (machine) group_left (version) machine_info`,
	`machine_info * on (machine) group_right (version) level`,
	// functions
	`abs(level)`, `ceil(level)`, `floor(level)`, `round(level, 0.3)`, `sgn(level)`, `sqrt(level)`, `exp(level / 100)`,
	`ln(level)`, `log2(level)`, `log10(level)`, `sin(level)`, `deg(acos(level / 1000))`,
	`clamp(level, -20, 20)`, `clamp_min(level, 0)`, `clamp_max(level, 0)`,
	`label_replace(level, "short", "$1", "machine", "m(.*)")`,
	`label_join(level, "place", "/", "zone", "machine")`,
	`time()`, `vector(time())`, `scalar(level{machine="m1"})`, `scalar(level)`, `pi()`, `42`, `1 < bool 2`,
	`minute()`, `hour(vector(time() + 3600))`, `day_of_week()`, `days_in_month()`, `month(level * 1e6)`,
	// aggregations whose order does not matter, or is that of the store: there
	// Prometheus adds up as we do, in the order of labels
	`count(level)`, `count by (zone) (level > 0)`, `min by (zone) (level)`, `max(abs(level))`, `group by (zone) (level)`,
	`quantile(0.3, level)`, `quantile by (zone) (0.9, rate(work_total[1m]))`,
	`count_values("value", round(level, 10))`,
	`topk(3, level)`, `bottomk by (zone) (1, level)`, `topk(2, rate(work_total[1m]))`,
	`sum(level)`, `sum by (zone) (level)`, `sum without (machine) (work_total)`, `avg(level)`,
	`stddev by (zone) (level)`, `stdvar(level)`,
	`sum by (zone) (rate(work_total[1m]))`,
	`avg(avg_over_time(level[3m]))`,
	`sum(level) / count(level)`,
	`histogram_quantile(0.95, rate(request_seconds_bucket[5m]))`,
	`histogram_quantile(0.5, sum by (le) (rate(request_seconds_bucket[5m])))`,
	`rate(request_seconds_sum[5m]) / rate(request_seconds_count[5m])`,
}

// nearly are queries that Prometheus adds up in an order of its own, another one
// at each evaluation, because it keeps the results of operators in a map. We add
// up in the order of labels. The last bits may differ.
var nearly = []string{
	`sum(level * 1.1)`,
	`sum by (zone) (abs(level))`,
	`avg by (zone) (level - work_total)`,
	`stddev(level * 3)`,
	`sum(sum by (zone) (level))`,
	`sum(level * on (machine) group_left (version) machine_info)`,
	`avg(label_replace(level / 3, "x", "$1", "machine", "(.*)"))`,
	`sum by (zone) (level > 20)`, // series come and go
	`avg(level > 0 < 3) or vector(-1)`,
	`max_over_time(avg(level / 7)[5m:20s])`,
	`max_over_time(avg(level / 7)[5m:20s] offset 3m)`,
	`max_over_time(sum(level * 1.1)[5m:20s] @ START offset 1m)`,
	`max_over_time(sum(level * 1.1)[5m:30s] @ start()) - min_over_time(sum(level * 1.1)[5m:30s] @ end())`,
	`max_over_time(sum(level @ start() * 1.1)[5m:30s]) - min_over_time(avg(level @ end() * 3)[5m:30s] offset 1m)`,
	`sum by (zone) (sum_over_time((work_total @ end() - rate(work_total[1m] @ start()))[5m:30s] @ start()))`,
	`max_over_time(sum(max_over_time((level * 1.1)[5m:20s] @ start()) + level)[7m:1m])`,
	`avg_over_time(max_over_time(sum by (zone) (level / 3)[2m:20s] offset 10s)[5m:])`,
	`sum(avg_over_time(sum by (zone) (work_total * 7)[3m:]))`,
	`sum(2 * level @ START) + sum(level @ START * 2)`,
	`topk(scalar(count(level > -1000)) - scalar(sum(work_total * 0)), level * 3)`,
	`quantile(scalar(avg(work_total * 0.1)) / 1e4, level * 2)`,
	`histogram_quantile(0.9, sum by (le, machine) (rate(request_seconds_bucket[5m]) * 1.5))`,
	`sum(rate({__name__=~"work_total|request_seconds_count"}[1m]))`,
}

// fillAll commits hours of data as they come from machines: counters that begin
// anew, gauges below zero, gaps, late samples, series that end with or without a
// word, values that are no numbers.
func (f *fixture) fillAll(t *testing.T, from, through int64) {
	t.Helper()
	stale := math.Float64frombits(value.StaleNaN)
	var late []recorder.Sample
	minute := func(at int64) int64 { return (at - from) / 60_000 }
	for at := from; at <= through; at += 10_000 {
		var samples []recorder.Sample
		// In the order of labels: until its first block is written, Prometheus
		// reads series in the order in which they came.
		for i := range int64(9) {
			name := fmt.Sprint("m", i)
			kv := []string{"machine", name, "zone", fmt.Sprint("z", i%3)}
			m := minute(at)
			if i == 1 && m >= 40 && m < 70 || i == 2 && m == 100 { // gaps, longer and shorter than the lookback
				continue
			}
			v := math.Sin(float64(at/1000%(600+i*97)))*float64(10+i*17) + float64(i)/3
			switch {
			case i == 4 && m > 90: // ends
				continue
			case i == 5 && m > 90: // ends and says so, and comes back
				if v = stale; m > 91 && m < 130 {
					continue
				} else if m >= 130 {
					v = 5
				}
			case i == 6 && m%20 == 0:
				v = math.NaN()
			case i == 7 && m%30 == 0:
				v = math.Inf(1 - int(m/30)%2*2)
			}
			s := f.sample(at+i*7, v, "level", kv...)
			if i == 3 && at > from && at/10_000%5 == 0 { // comes late
				late = append(late, s)
			} else {
				samples = append(samples, s)
			}
		}
		for i := range int64(9) {
			samples = append(samples, f.sample(at, 1, "machine_info", "machine", fmt.Sprint("m", i), "version", fmt.Sprint("v", i%2)))
		}
		for _, le := range []string{"+Inf", "0.1", "0.5", "1", "5"} {
			for i := range int64(3) {
				n := float64((at-from)/10_000) * float64(i+1)
				share := map[string]float64{"0.1": 0.1, "0.5": 0.35, "1": 0.8, "5": 0.97, "+Inf": 1}[le]
				samples = append(samples, f.sample(at, math.Floor(n*share), "request_seconds_bucket", "le", le, "machine", fmt.Sprint("m", i)))
			}
		}
		for i := range int64(3) {
			n := float64((at-from)/10_000) * float64(i+1)
			samples = append(samples, f.sample(at, n, "request_seconds_count", "machine", fmt.Sprint("m", i)),
				f.sample(at, n*0.7321, "request_seconds_sum", "machine", fmt.Sprint("m", i)))
		}
		if at/10_000%240 == 0 { // every 40 minutes
			samples = append(samples, f.sample(at, float64(at%1_000_000)/7, "sparse"))
		}
		for i := range int64(9) {
			if m := minute(at); i == 1 && m >= 40 && m < 70 {
				continue
			}
			turn := 1000 + i*531 // seconds until the counter begins anew
			samples = append(samples, f.sample(at, float64(at/1000%turn)*(1+float64(i)/3), "work_total", "machine", fmt.Sprint("m", i), "zone", fmt.Sprint("z", i%3)))
		}
		if minute(at)%13 == 0 {
			samples, late = append(samples, late...), nil
		}
		if err := f.Commit(t.Context(), samples, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Commit(t.Context(), late, through); err != nil {
		t.Fatal(err)
	}
}

// The recorder's rows are what Prometheus itself answers from the same directory.
func TestSameAsPrometheus(t *testing.T) {
	t.Parallel()
	f, r := newFixture(t)
	through := time.Now().Add(-time.Minute).Truncate(time.Minute).UnixMilli()
	f.fillAll(t, through-3*time.Hour.Milliseconds(), through) // all that happens does in the first 130 minutes
	start := fmt.Sprint((through - time.Hour.Milliseconds()) / 1000)

	const n = 60 // rows
	type answer struct {
		expr        string
		exact       bool
		step, first int64
		values      map[string][]float64
	}
	var answers []answer
	for i, expr := range slices.Concat(same, nearly) {
		for _, step := range []int64{40_000, 143_000} {
			q := f.bind(t, strings.ReplaceAll(expr, "START", start), step)
			last := (through - 20*60_000) / step * step
			after := last - n*step
			rows, err := q.Rows(t.Context(), after, last)
			if err != nil {
				t.Fatalf("%s: %v", expr, err)
			}
			a := answer{expr: q.(bound).expr, step: step, first: after + step, exact: i < len(same), values: make(map[string][]float64)}
			for _, s := range rows.Series {
				a.values[s.Name] = s.Values
			}
			answers = append(answers, a)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	server := prometheus.Start(t, prometheus.Options{
		Dir:    f.dir,
		Config: "storage: {tsdb: {out_of_order_time_window: 24h}}", // else it does not read late samples
		Flags:  []string{"--storage.tsdb.retention.time=30d", "--query.lookback-delta=" + model.Duration(f.Lookback).String()},
	})
	client, err := api.NewClient(api.Config{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	all, differ := 0, 0
	for _, a := range answers {
		result, _, _, err := v1.NewAPI(client).QueryRange(t.Context(), a.expr, v1.Range{
			Start: time.UnixMilli(a.first), End: time.UnixMilli(a.first + (n-1)*a.step), Step: time.Duration(a.step) * time.Millisecond})
		if err != nil {
			t.Errorf("%s: %v", a.expr, err)
			continue
		}
		found := 0
		for _, s := range result.(model.Matrix) {
			name := labelsOf(s.Metric).String()
			got := a.values[name]
			delete(a.values, name)
			if got == nil {
				got = none(n)
			}
			want := none(n)
			for _, p := range s.Values {
				want[(int64(p.Timestamp)-a.first)/a.step] = float64(p.Value)
			}
			for i := range want {
				switch g, w := got[i], want[i]; {
				case math.Float64bits(g) == math.Float64bits(w), math.IsNaN(g) && math.IsNaN(w): // NaN is no value
				case !a.exact && math.Abs(g-w) <= 1e-12*math.Abs(w):
					differ++
				default:
					t.Fatalf("%s: at %d, %s is %v, and %v in Prometheus", a.expr, a.first+int64(i)*a.step, name, g, w)
				}
				if !math.IsNaN(want[i]) {
					found++
				}
			}
		}
		for name := range a.values {
			t.Errorf("%s: Prometheus has no %s", a.expr, name)
		}
		seen[a.expr] += found
		all += found
	}
	t.Logf("%d values of %d queries are the same, of which %d differ in their last bits", all, len(answers), differ)
	for expr, n := range seen {
		none := expr == `level{machine="none"}` || expr == "absent(level)" || expr == "scalar(level)"
		if (n == 0) != none {
			t.Errorf("%s has %d values", expr, n)
		}
	}
}

func labelsOf(m model.Metric) labels.Labels {
	b := labels.NewScratchBuilder(len(m))
	for name, v := range m {
		b.Add(string(name), string(v))
	}
	b.Sort()
	return b.Labels()
}
