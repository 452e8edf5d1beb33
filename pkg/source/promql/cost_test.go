package promql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

func refusedBy(err error, limit limits.Limit) bool {
	var e *limits.Error
	return errors.As(err, &e) && e.Limit == limit
}

func TestAffordable(t *testing.T) {
	for _, tc := range []struct {
		expr  string
		rows  int64 // of a second each
		limit limits.Limit
	}{
		{"x", 50_000, limits.Limit{}},
		{"x", 1_000_001, limits.Steps},
		{"rate(x[5m])", 50_000, limits.Limit{}},
		{"avg_over_time(x[1d])", 10_000, limits.Limit{}},
		{"avg_over_time(x[30d])", 10_000, limits.Reads},
		{"max_over_time(rate(x[1m])[1d:1m])", 10_000, limits.Limit{}},
		{"max_over_time(sum(x offset 3h)[4h:1ms])", 1, limits.Steps},
		{"max_over_time(vector(1)[4h:1ms])", 1, limits.Steps},
		{"max_over_time(x[4h:1ms] @ 1000)", 1, limits.Steps},
		{"max_over_time(vector(time())[200d:10s])", 1, limits.Steps},
		{"max_over_time(max_over_time(x[1d:1s])[1d:1s])", 1, limits.Reads},
		{"max_over_time(max_over_time(max_over_time(x[1h:10s])[1h:10s])[1h:10s])", 100, limits.Limit{}},
		{"max_over_time(x[290y:1ms])", 1, limits.Steps},
		{strings.Repeat("avg_over_time(x[1d]) + ", 60) + "1", 1000, limits.Reads},
		{"quantile_over_time(0.9, x[1d])", 10_000, limits.Reads},
		{strings.Repeat("x + ", 900) + "1", 50_000, limits.Values},
		{strings.Repeat("label_replace(", 12) + "x" + strings.Repeat(`, "a", "$1$1", "a", "(.*)")`, 12), 1, limits.Label},
		{strings.Repeat("label_replace(", 12) + "x" + strings.Repeat(`, "a", "$1", "a", "(.*)")`, 12), 1, limits.Limit{}},
		{strings.Repeat("label_join(", 12) + "x" + strings.Repeat(`, "a", "", "a", "a")`, 12), 1, limits.Label},
		{`label_join(label_replace(x, "a", "$1-$2", "b", "(.*)/(.*)"), "c", "/", "a", "b")`, 50_000, limits.Limit{}},
	} {
		parsed, err := parse(tc.expr)
		if err != nil {
			t.Fatal(err)
		}
		err = affordable(parsed, span{1_700_000_000_000, 1_700_000_000_000 + (tc.rows-1)*1000, 1000}, time.Second)
		if tc.limit == (limits.Limit{}) && err != nil || tc.limit != (limits.Limit{}) && !refusedBy(err, tc.limit) {
			t.Errorf("%s at %d rows: %v", tc.expr, tc.rows, err)
		}
	}
}

// A query of many series is evaluated in parts, and refused only if a part of one
// row would take too much.
func TestPlan(t *testing.T) {
	for _, tc := range []struct {
		expr   string
		series float64 // that each selector has
		rows   int64   // a minute apart
		parts  int64
		heavy  bool
		limit  limits.Limit
	}{
		{"sum(rate(x[5m]))", 100, 1440, 1, false, limits.Limit{}},
		{"sum(rate(x[5m]))", 3000, 1440, 5, true, limits.Limit{}},
		{"sum by (a) (rate(x[5m])) / sum by (a) (rate(y[5m]))", 3000, 1440, 13, true, limits.Limit{}},
		{"histogram_quantile(0.9, sum by (le) (rate(x[5m])))", 5000, 1440, 15, true, limits.Limit{}},
		{"sum(max_over_time(rate(x[5m])[1d:1m]))", 300, 1440, 2, true, limits.Limit{}},
		{"sum(max_over_time(rate(x[5m])[1d:1m]))", 3000, 2, 1, true, limits.Limit{}},
		{"sum(max_over_time(rate(x[5m])[1d:1m]))", 4000, 2, 0, true, limits.Samples},
		{"avg_over_time(x[30d])", 20, 10, 1, false, limits.Limit{}},
		{`count_values("v", x)`, 100, 1440, 15, true, limits.Limit{}},
		{`count_values("v", x)`, 3000, 1440, 0, true, limits.Values},
		{"x * on (a) group_left (b) y", 10, 1440, 1, false, limits.Limit{}},
		{"x * on (a) group_left (b) y", 1000, 1440, 0, true, limits.Values},
		{"x", 5000, 50_000, 0, true, limits.Values},
	} {
		parsed, err := parse(tc.expr)
		if err != nil {
			t.Fatal(err)
		}
		const first = 1_700_000_040_000
		at := span{first, first + (tc.rows-1)*60_000, 60_000}
		w, err := plan(parsed, at, 15*time.Second, 1e9, func(*parser.VectorSelector) float64 { return tc.series })
		if tc.limit == (limits.Limit{}) && err != nil || tc.limit != (limits.Limit{}) && !refusedBy(err, tc.limit) {
			t.Errorf("%s with %v series at %d rows: %v", tc.expr, tc.series, tc.rows, err)
		}
		if parts := (tc.rows + int64(w.rows) - 1) / int64(w.rows); err == nil && (parts != tc.parts || w.heavy != tc.heavy) {
			t.Errorf("%s with %v series at %d rows: %d parts, heavy: %v", tc.expr, tc.series, tc.rows, parts, w.heavy)
		}
	}
	// Where there are few series at all, none are counted.
	parsed, _ := parse("sum(rate(x[5m]))")
	if _, err := plan(parsed, span{1000, 100_000, 1000}, time.Second, 100, nil); err != nil {
		t.Error(err)
	}
}

// What keeps parsers and walks over trees busy is refused before it is parsed, also
// where macros make it longer.
func TestExpressionsAreBounded(t *testing.T) {
	s := Source{Engine: &Remote{}, Interval: time.Second}
	many := strings.Repeat
	for name, tc := range map[string]struct {
		expr  string
		limit limits.Limit
	}{
		"brackets":                       {many("(", 60_000), limits.Nesting},
		"signs":                          {many("-", 60_000) + "x", limits.Operators},
		"a sum":                          {many("a+", 30_000) + "a", limits.Operators},
		"subqueries":                     {"x" + many("[1m:]", 10_000), limits.Operators},
		"offsets":                        {"x" + many(" offset 1m", 6000), limits.Operators},
		"a long text":                    {"x # " + many("x", 64<<10), limits.Text},
		"a text that macros make longer": {"x # " + many("$__range ", 7000), limits.Text},
	} {
		raw, _ := json.Marshal(map[string]string{"expr": tc.expr})
		q, err := s.Query(raw)
		if err == nil {
			_, err = q.Bind(1000, 86_399_999)
		}
		if !refusedBy(err, tc.limit) {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

// The largest expressions that are allowed are parsed in no time.
func BenchmarkLargestExpressions(b *testing.B) {
	many := strings.Repeat
	for name, expr := range map[string]string{
		"nested": many("(", 200) + "x" + many(")", 200),
		"sum":    many("a+", 1000) + "a",
		"signs":  many("-", 1000) + "a",
		"side":   "sum(" + many("(x),", 10_000) + "x)",
		"labels": "x{" + many(`a="b",`, 10_000) + "}",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = parse(expr) // not all are valid
			}
		})
	}
}

// A small answer of many series with one value each has all rows for each of them.
func TestRemoteCells(t *testing.T) {
	for name, tc := range map[string]struct {
		series string
		limit  limits.Limit
	}{
		"sparse":         {`,{"metric":{"i":"#"},"values":[[1,"1"]]}`, limits.Cells},
		"metric at last": {`,{"values":[[1,"1"]],"metric":{"i":"#"}}`, limits.Cells},
		"of no value":    {`,{"metric":{"i":"#"},"values":[]}`, limits.Series},
		"large labels":   {`,{"metric":{"i":"#","x":"` + strings.Repeat("x", 60<<10) + `"},"values":[[1,"1"]]}`, limits.Request},
		"many labels":    {`,{"metric":{` + strings.Repeat(`"a":"",`, 60_000) + `"i":"#"},"values":[]}`, limits.Token},
	} {
		var b strings.Builder
		b.WriteString(`{"status":"success","data":{"resultType":"matrix","result":[`)
		for i := range 1100 {
			part := strings.Replace(tc.series, "#", strings.Repeat("x", i%37)+string(rune('a'+i%26))+strings.Repeat("y", i/37), 1)
			if i == 0 {
				part = part[1:]
			}
			b.WriteString(part)
			if b.Len() > 10<<20 {
				break
			}
		}
		b.WriteString("]}}")
		s := script{says(200, "", b.String())}
		r := remoteOf(t, RemoteConfig{URL: "http://server", Client: &http.Client{Transport: &s}, Timeout: time.Minute})
		ctx, end := limits.Begin(context.Background())
		_, err := r.Range(ctx, "x", time.Minute, 1000, 50_000_000, 1000)
		end()
		if !refusedBy(err, tc.limit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is evaluated in parts is the same as what is asked for in parts, to the last
// bit.
func TestParts(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		const many, rows = 1500, 1000
		through := time.Now().UnixMilli()
		after := through - rows*1000
		for at := after - 100_000; at <= through; at += 100_000 {
			samples := make([]recorder.Sample, many)
			for i := range samples {
				samples[i] = f.sample(at, level(int64(i), at), "level_bytes", "machine", fmt.Sprint(i), "line", fmt.Sprint(i%3))
			}
			if err := f.Commit(t.Context(), samples, at); err != nil {
				t.Fatal(err)
			}
		}
		for _, expr := range []string{"sum(level_bytes)", "avg by (line) (level_bytes * 1.1)", "sum(rate(level_bytes[5m] offset 1m))", "stddev(sum_over_time(level_bytes[3m:30s]))"} {
			q := f.bind(t, expr, 1000)
			parsed, _ := parse(expr)
			how, err := f.Engine.(Embedded).plan(t.Context(), f.store, parsed, f.Lookback, span{after + 1000, through, 1000})
			if err != nil || how.rows >= rows {
				t.Errorf("%s: %d rows at once, %v", expr, how.rows, err)
			}
			whole, err := q.Rows(t.Context(), after, through)
			if err != nil {
				t.Fatal(err)
			}
			for begin := after; begin < through; begin += 50_000 {
				part, err := q.Rows(t.Context(), begin, begin+50_000)
				if err != nil {
					t.Fatal(err)
				}
				part, known := part.Onto(whole.Schema())
				if !known {
					t.Fatalf("%s: the fields are %q, and %q of a part", expr, whole.Fields(), part.Fields())
				}
				for i, of := range part.Series {
					for j, v := range of.Values {
						if got := whole.Series[i].Values[(begin-after)/1000+int64(j)]; math.Float64bits(v) != math.Float64bits(got) {
							t.Fatalf("%s: row %d of %s is %v, and %v of a part", expr, j, of.Name, got, v)
						}
					}
				}
			}
		}
	})
}
