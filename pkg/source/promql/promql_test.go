package promql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/sourcetest"
)

// fixture is a source on a store that the test fills.
type fixture struct {
	Source
	*recorder.Sink
	store  *recorder.Store
	dir    string // of the store
	series map[string]*recorder.Series
}

type manual chan *recorder.Sink

func (manual) Name() string { return "manual" }

func (manual) Version() string { return "" }

func (m manual) Run(ctx context.Context, sink *recorder.Sink) {
	m <- sink
	<-ctx.Done()
}

func newFixture(t testing.TB) (*fixture, *recorder.Recorder) {
	t.Helper()
	return newFixtureIn(t, t.TempDir())
}

func newFixtureIn(t testing.TB, root string) (*fixture, *recorder.Recorder) {
	t.Helper()
	r := recorder.New(root, slog.New(slog.DiscardHandler))
	in := make(manual, 1)
	key := recorder.Key{Org: 1, UID: "uid"}
	if err := r.Configure(key, recorder.Config{Retention: 30 * 24 * time.Hour, OutOfOrder: 24 * time.Hour, MaxWait: 2 * time.Second, Inputs: []recorder.Input{in}}); err != nil {
		t.Fatal(err)
	}
	s, err := r.Store(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{
		Source: Source{Engine: Embedded{func(context.Context) (*recorder.Store, error) { return s, nil }, time.Second}, Interval: time.Second, Lookback: 5 * time.Minute},
		Sink:   <-in, store: s, dir: filepath.Join(root, "1", "uid"), series: make(map[string]*recorder.Series),
	}, r
}

// bubble runs do with a fixture in virtual time, some hours after its begin.
func bubble(t *testing.T, do func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(6 * time.Hour)
		f, r := newFixture(t)
		defer func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}()
		do(t, f)
	})
}

func (f *fixture) sample(at int64, v float64, name string, kv ...string) recorder.Sample {
	l := labels.FromStrings(append([]string{model.MetricNameLabel, name}, kv...)...)
	s := f.series[l.String()]
	if s == nil {
		s = &recorder.Series{Labels: l}
		f.series[l.String()] = s
	}
	return recorder.Sample{Series: s, T: at, V: v}
}

// level has digits enough for sums to depend on their order.
func level(i, at int64) float64 {
	return math.Sqrt(float64(at%977+13*i+1)) * math.Pow(10, float64(i%7))
}

const machines = 8

// fill commits samples of the times in (after, through], one per second: a
// counter and a gauge of each machine.
func (f *fixture) fill(t testing.TB, after, through int64) {
	t.Helper()
	var samples []recorder.Sample
	for at := after + 1000; at <= through; at += 1000 {
		for i := range int64(machines) {
			m := fmt.Sprint("m", i)
			samples = append(samples,
				f.sample(at, float64(at/1000%86400)*(1+float64(i)/3), "work_seconds_total", "machine", m, "line", fmt.Sprint(i%3)),
				f.sample(at, level(i, at), "level_bytes", "machine", m, "line", fmt.Sprint((i+1)%3)))
		}
	}
	if err := f.Commit(t.Context(), samples, through); err != nil {
		t.Fatal(err)
	}
}

var exprs = []string{
	"level_bytes",
	"rate(work_seconds_total[$__rate_interval])",
	"sum(level_bytes)",
	"sum by (line) (rate(work_seconds_total[30s]))",
	"sum(level_bytes * 1.1)",
	"avg without (machine) (level_bytes / on (machine) group_left (line) work_seconds_total)",
	"sum(sum by (line) (level_bytes))",
	"stddev(abs(level_bytes))",
	"topk(3, level_bytes - 0)",
	"max_over_time(level_bytes[1m:7s])",
	"sum(avg_over_time((level_bytes > 5)[1m:3s]))",
	"max_over_time(sum(level_bytes)[1m:])",
	"max_over_time(sum(level_bytes * 1.1)[30s:5s])",
	"sum(avg_over_time(avg by (line) (level_bytes / 3)[30s:7s]))",
	"stddev(topk(5, level_bytes * 1.1))",
	"topk(2, work_seconds_total * 0)", // all the same
	"quantile(0.3, level_bytes) + scalar(count(level_bytes))",
	`sum by (x) (label_replace(level_bytes, "x", "$1", "machine", "m(.).*"))`,
	"level_bytes offset 10s",
	"level_bytes offset -10s",
	"level_bytes offset -$__interval",
	"rate(work_seconds_total[30s] offset -$__rate_interval)",
	"level_bytes offset -$__range",
	"max_over_time(level_bytes[$__range] offset -${__interval})",
	"time() - timestamp(level_bytes)",
	"sum(level_bytes) or vector(1)",
	"absent(no_such_metric)",
	"no_such_metric",
	"vector(time())",
	"42",
	"$__interval_ms",
}

func TestConforms(t *testing.T) {
	t.Parallel() // it takes seconds with the race detector
	bubble(t, func(t *testing.T, f *fixture) {
		now := time.Now().UnixMilli()
		f.Lookback = 30 * time.Second
		f.fill(t, now-3*60_000, now)
		for _, expr := range exprs {
			t.Logf("%s", expr)
			raw, _ := json.Marshal(map[string]string{"expr": expr})
			err := sourcetest.Verify(t.Context(), sourcetest.Subject{
				Source: f.Source, Query: raw, Steps: []int64{1000, 2500}, Rows: 16,
				Between: func() {
					then := time.Now().UnixMilli()
					time.Sleep(2 * time.Second)
					f.fill(t, then, time.Now().UnixMilli())
				},
			})
			if err != nil {
				t.Errorf("%s: %v", expr, err)
			}
		}
	})
}

// aboutTheRange are expressions whose rows depend on the range asked for.
var aboutTheRange = []string{
	"level_bytes @ end()",
	"sum by (line) (level_bytes @ start() * 1.1)",
	"max_over_time(sum by (line) (level_bytes @ start())[30s:5s])",
	"sum_over_time(avg by (line) (level_bytes @ end() * 3)[30s:5s] offset 10s)",
	"max_over_time(sum by (line) (rate(work_seconds_total[30s] @ end()))[1m:7s] @ start())",
}

// What stands for the ends of the range is what these are, however deep it stands.
func TestStartAndEndConform(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, f *fixture) {
		now := time.Now().UnixMilli()
		f.Lookback = 30 * time.Second
		f.fill(t, now-3*60_000, now)
		for _, expr := range aboutTheRange {
			raw, _ := json.Marshal(map[string]string{"expr": expr})
			err := sourcetest.Verify(t.Context(), sourcetest.Subject{
				Source: f.Source, Query: raw, Steps: []int64{1000, 2500}, Rows: 16,
				Alike: func(first, last int64) json.RawMessage {
					at := func(ms int64) string { return fmt.Sprintf("%.3f", float64(ms)/1000) }
					raw, _ := json.Marshal(map[string]string{"expr": strings.NewReplacer("start()", at(first), "end()", at(last)).Replace(expr)})
					return raw
				},
				Except: map[string]string{"SplitInvariant": "the rows depend on the range"},
			})
			if err != nil {
				t.Errorf("%s: %v", expr, err)
			}
		}
	})
}

// Instant queries are what rows are said to be.
func TestRowsAreInstantQueries(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, f *fixture) {
		now := time.Now().UnixMilli()
		f.Lookback = 30 * time.Second
		f.fill(t, now-2*60_000, now)
		for _, expr := range exprs {
			b := f.bind(t, expr, 1000)
			settled, err := b.Settled(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			through := settled / 1000 * 1000
			rows, err := b.Rows(t.Context(), through-20_000, through)
			if err != nil {
				t.Fatal(err)
			}
			plain := b.(bound).expr
			for i := range rows.Len() {
				at := rows.Time(i)
				row, err := f.Engine.Range(t.Context(), plain, f.Lookback, at, at, 1000)
				if err != nil {
					t.Fatal(err)
				}
				want := make(map[string]float64)
				for _, s := range row.Series {
					want[s.Labels.String()] = s.Values[0]
				}
				for _, s := range rows.Series {
					v, ok := want[s.Name]
					if ok != !math.IsNaN(s.Values[i]) || ok && math.Float64bits(v) != math.Float64bits(s.Values[i]) {
						t.Errorf("%s: row %d of %s is %v, not %v", expr, at, s.Name, s.Values[i], v)
					}
					delete(want, s.Name)
				}
				if len(want) > 0 {
					t.Errorf("%s: row %d lacks %v", expr, at, want)
				}
			}
		}
	})
}

// Native histograms are no numbers. They are not left out, but refused with what to
// ask for instead.
func TestHistograms(t *testing.T) {
	root := t.TempDir()
	through := time.Now().Add(-time.Minute).Truncate(time.Minute).UnixMilli()
	db, err := tsdb.Open(filepath.Join(root, "1", "uid"), nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	app := db.Appender(t.Context())
	for i := range int64(61) {
		at := through - (60-i)*10_000
		_, errNumber := app.Append(0, labels.FromStrings(model.MetricNameLabel, "level"), at, float64(i))
		_, errHistogram := app.AppendHistogram(0, labels.FromStrings(model.MetricNameLabel, "request_seconds"), at, tsdbutil.GenerateTestHistogram(i), nil)
		mixed := labels.FromStrings(model.MetricNameLabel, "mixed")
		var errMixed error
		if i < 30 {
			_, errMixed = app.Append(0, mixed, at, float64(i))
		} else {
			_, errMixed = app.AppendHistogram(0, mixed, at, tsdbutil.GenerateTestHistogram(i), nil)
		}
		if err := errors.Join(errNumber, errHistogram, errMixed); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(app.Commit(), db.Close()); err != nil {
		t.Fatal(err)
	}
	f, r := newFixtureIn(t, root)
	defer r.Close()
	if err := f.Commit(t.Context(), nil, through); err != nil {
		t.Fatal(err)
	}
	err = sourcetest.Verify(t.Context(), sourcetest.Subject{
		Source: f.Source, Query: []byte(`{"expr":"histogram_count(request_seconds)"}`), Steps: []int64{10_000}, Rows: 40,
		Refused: []json.RawMessage{
			[]byte(`{"expr":"request_seconds"}`), []byte(`{"expr":"rate(request_seconds[1m])"}`),
			[]byte(`{"expr":"mixed"}`), []byte(`{"expr":"{__name__=~\"level|request_seconds\"}"}`)},
	})
	if err != nil {
		t.Error(err)
	}
	for expr, number := range map[string]bool{
		"level": true, "histogram_count(request_seconds)": true, "histogram_quantile(0.9, rate(request_seconds[1m]))": true,
		"sum(level + 1)": true, "request_seconds": false, "rate(request_seconds[1m])": false, "mixed": false,
		`{__name__=~"level|request_seconds"}`: false, "sum(request_seconds * 2)": false,
		"histogram_count(sum(request_seconds * 2))": true, "histogram_quantile(0.9, sum(rate(mixed[1m]) * 2))": true,
	} {
		rows, err := f.bind(t, expr, 10_000).Rows(t.Context(), through-600_000, through)
		switch {
		case number && (err != nil || len(rows.Series) != 1):
			t.Errorf("%s has %d series and the error %v", expr, len(rows.Series), err)
		case !number && (!errors.Is(err, source.ErrDownstream) || !strings.Contains(err.Error(), "histogram_quantile(0.9, …)")):
			t.Errorf("%s has %d series and the error %v", expr, len(rows.Series), err)
		}
	}
}

// What the engine says of an expression is a notice, also of its parts.
func TestNotices(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		now := time.Now().UnixMilli()
		f.fill(t, now-60_000, now)
		for expr, want := range map[string]string{
			"level_bytes":                          "[]",
			"rate(level_bytes[10s])":               `[{info PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "level_bytes"`,
			"sum(rate(level_bytes[10s]) * 2)":      `[{info PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "level_bytes"`,
			"quantile(1.5, level_bytes)":           "[{warning PromQL warning: quantile value should be between 0 and 1, got 1.5",
			"stddev(quantile(1.5, level_bytes)*1)": "[{warning PromQL warning: quantile value should be between 0 and 1, got 1.5",
		} {
			rows, err := f.bind(t, expr, 1000).Rows(t.Context(), now-10_000, now)
			if got := fmt.Sprint(rows.Notices); err != nil || !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s, %v", expr, got, err)
			}
		}
	})
}

// bind returns expr at a step and for a window of an hour.
func (f *fixture) bind(t testing.TB, expr string, step int64) source.Bound {
	t.Helper()
	raw, _ := json.Marshal(map[string]string{"expr": expr})
	q, err := f.Query(raw)
	if err != nil {
		t.Fatal(err)
	}
	b, err := q.Bind(step, time.Hour.Milliseconds())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInvalid(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{`{}`, "the query is empty"},
		{`[]`, "not a JSON object"},
		{`{"expr":7}`, "not a JSON object with the text expr"},
		{`{"expr":"sum(x"}`, "1:6: parse error: unclosed left parenthesis"},
		{`{"expr":"sum(rate(x[$__rate_interval])) by by"}`, "1:35: parse error"},
		{`{"expr":"x[5m]"}`, "range vector"},
		{`{"expr":"\"text\""}`, "gives a string"},
	} {
		if _, err := (Source{}).Query(json.RawMessage(c.raw)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, and not about %q", c.raw, err, c.want)
		}
	}
}

func TestMacros(t *testing.T) {
	s := Source{Interval: time.Second}
	for _, c := range []struct {
		expr, want string
		step       int64
	}{
		{"rate(x[$__interval])", "rate(x[1m])", 60_000},
		{"rate(x[$__rate_interval])", "rate(x[4s])", 1000},
		{"rate(x[${__rate_interval}])", "rate(x[1m1s])", 60_000},
		{"x * $__interval_ms / $__rate_interval_ms", "x * 250 / 4000", 250},
		{"increase(x[$__range]) / $__range_s / $__range_ms", "increase(x[6m40s]) / 400 / 400000", 1000},
		{"$__intervals", "", 0},
	} {
		q, err := s.Query(json.RawMessage(fmt.Sprintf(`{"expr":%q}`, c.expr)))
		if c.want == "" {
			if err == nil {
				t.Errorf("%s is taken", c.expr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		got, err := q.(query).expand(c.step, 400_000)
		if err != nil || got != c.want {
			t.Errorf("%s becomes %q, %v, not %q", c.expr, got, err, c.want)
		}
	}
	for _, c := range []struct{ step, window int64 }{{0, 1000}, {-1000, 1000}, {1000, 999}, {1000, 1 << 62}} {
		if _, err := (query{Expr: "x", source: s}).Bind(c.step, c.window); err == nil {
			t.Errorf("a step of %d in a window of %d is taken", c.step, c.window)
		}
	}
}

func TestTraits(t *testing.T) {
	read := func(metric string, after, through int64) source.Read {
		return source.Read{Metric: metric, After: after, Through: through}
	}
	fixed := func(metric string, after, through int64) source.Read {
		return source.Read{Metric: metric, Fixed: true, After: after, Through: through}
	}
	s := Source{Engine: Embedded{}, Interval: time.Second, Lookback: 5 * time.Minute}
	for _, c := range []struct {
		expr    string
		unsplit error
		window  int64
		reads   []source.Read
	}{
		{expr: "time() + 1"},
		{expr: "x", reads: []source.Read{read("x", -300_000, 0)}},
		{expr: `{__name__="x"} / {job="a"}`, reads: []source.Read{read("x", -300_000, 0), read("", -300_000, 0)}},
		{expr: `{__name__=~"x|y"}`, reads: []source.Read{read("", -300_000, 0)}},
		{expr: "sum(rate(x[1m]))", reads: []source.Read{read("x", -60_000, 0)}},
		{expr: "max_over_time(sum(x + 1)[1m:1s])", reads: []source.Read{read("x", -360_000, 0)}},
		{expr: "x @ start()", unsplit: errStartEnd, reads: []source.Read{read("x", -300_000, 0)}},
		{expr: "rate(x[5m:1s] @ end())", unsplit: errStartEnd, reads: []source.Read{read("x", -600_000, 0)}},
		{expr: "x offset 5s", reads: []source.Read{read("x", -305_000, -5000)}},
		{expr: "x offset -5s", reads: []source.Read{read("x", -295_000, 5000)}},
		{expr: "x offset -$__interval", reads: []source.Read{read("x", -290_000, 10_000)}},
		{expr: "x offset -$__rate_interval", reads: []source.Read{read("x", -289_000, 11_000)}},
		{expr: "x offset -$__range", window: 600_000, reads: []source.Read{read("x", 300_000, 600_000)}},
		{expr: "increase(x[$__range])", window: 600_000, reads: []source.Read{read("x", -600_000, 0)}},
		{expr: "max_over_time(x[1m:1s] offset -5s) + max_over_time((y offset 2s)[1m:1s] offset -9s)",
			reads: []source.Read{read("x", -355_000, 5000), read("y", -353_000, 7000)}},
		{expr: "x @ 100 offset -5s", reads: []source.Read{fixed("x", -195_000, 105_000)}},
		{expr: "rate(x[1m] @ 100)", reads: []source.Read{fixed("x", 40_000, 100_000)}},
		{expr: "max_over_time((x offset -1s)[1m:1s] @ 100 offset 3s)", reads: []source.Read{fixed("x", -262_000, 98_000)}},
		{expr: "x @ 9e15 offset -250y", reads: []source.Read{fixed("x", farAway+250*365*86400_000-300_000, farAway+250*365*86400_000)}},
	} {
		raw, _ := json.Marshal(map[string]string{"expr": c.expr})
		q, err := s.Query(raw)
		if err != nil {
			t.Fatal(err)
		}
		b, err := q.Bind(10_000, 600_000)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := b.Traits(), (source.Traits{Step: 10_000, Window: c.window, Reads: c.reads, Unsplit: c.unsplit}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s has the traits %+v, not %+v", c.expr, got, want)
		}
		if string(q.JSON()) != string(raw) {
			t.Errorf("%s has the JSON %s", c.expr, q.JSON())
		}
	}
}

func TestAheadAndFixed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		now := time.Now().UnixMilli()
		f.fill(t, now-60_000, now)
		if got, err := f.bind(t, "level_bytes offset -10s", 1000).Settled(t.Context()); err != nil || got != now-10_000 {
			t.Errorf("settled is %d before now, %v", now-got, err)
		}
		late := f.bind(t, fmt.Sprintf("level_bytes @ %d", now/1000+60), 1000)
		if _, err := late.Settled(t.Context()); err == nil {
			t.Error("the future is settled")
		}
		time.Sleep(63 * time.Second)
		if _, err := late.Settled(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestFieldsAndLimits(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		now := time.Now().UnixMilli()
		f.fill(t, now-60_000, now)
		rows, err := f.bind(t, `level_bytes{machine="m1"}`, 1000).Rows(t.Context(), now-2000, now)
		if err != nil || len(rows.Series) != 1 {
			t.Fatal(err, rows)
		}
		s := rows.Series[0]
		if s.Name != `{__name__="level_bytes", line="2", machine="m1"}` || s.Display != `level_bytes{line="2", machine="m1"}` ||
			s.Unit != "bytes" || s.Labels["machine"] != "m1" || len(s.Values) != 2 {
			t.Errorf("the series is %+v", s)
		}
		rows, err = f.bind(t, `sum(level_bytes)`, 1000).Rows(t.Context(), now-2000, now)
		if err != nil || rows.Series[0].Display != "sum(level_bytes)" || rows.Series[0].Name != "{}" {
			t.Errorf("the series is %+v, %v", rows.Series, err)
		}
		for _, expr := range []string{`level_bytes / on (line) level_bytes`, `label_replace(level_bytes, "machine", "x", "", "")`} {
			if _, err := f.bind(t, expr, 1000).Rows(t.Context(), now-2000, now); !errors.Is(err, source.ErrDownstream) {
				t.Errorf("%s cannot be evaluated, which is not this plugin's fault: %v", expr, err)
			}
		}
		var many []recorder.Sample
		for i := range int(limits.Series.Most) + 1 {
			many = append(many, f.sample(now, 1, "many", "i", fmt.Sprint(i)))
		}
		if err := f.Commit(t.Context(), many, now); err != nil {
			t.Fatal(err)
		}
		for _, expr := range []string{"many", "topk(2000, many + 1)"} {
			if _, err := f.bind(t, expr, 1000).Rows(t.Context(), now-2000, now); err == nil || !strings.Contains(err.Error(), "series") {
				t.Errorf("%s: the error is %v", expr, err)
			}
		}
	})
}

// 86,400 samples to 1,000 rows.
func BenchmarkDay(b *testing.B) {
	f, r := newFixture(b)
	defer r.Close()
	now := time.Now().Truncate(time.Minute).UnixMilli()
	day := 24 * time.Hour.Milliseconds()
	samples := make([]recorder.Sample, 0, 86400)
	for at := now - day + 1000; at <= now; at += 1000 {
		samples = append(samples, f.sample(at, float64(at%86_400_000)*1.7, "work_seconds_total"))
	}
	for part := range slices.Chunk(samples, 100) { // as they would come
		if err := f.Commit(b.Context(), part, part[len(part)-1].T); err != nil {
			b.Fatal(err)
		}
	}
	step := day / 1000
	through := now / step * step
	for _, expr := range []string{"work_seconds_total", "avg_over_time(work_seconds_total[$__interval])", "rate(work_seconds_total[$__rate_interval])", "sum(work_seconds_total * 2)"} {
		b.Run(expr, func(b *testing.B) {
			q := f.bind(b, expr, step)
			for b.Loop() {
				rows, err := q.Rows(b.Context(), through-1000*step, through)
				if err != nil || rows.Len() != 1000 || len(rows.Series) != 1 {
					b.Fatal(err, rows.Len())
				}
			}
		})
	}
	for _, expr := range []string{"rate(work_seconds_total[1m])", "sum(work_seconds_total * 2)"} {
		b.Run("one row of "+expr, func(b *testing.B) {
			q := f.bind(b, expr, 1000)
			for b.Loop() {
				rows, err := q.Rows(b.Context(), now-1000, now)
				if err != nil || rows.Len() != 1 || len(rows.Series) != 1 {
					b.Fatal(err)
				}
			}
		})
	}
}
