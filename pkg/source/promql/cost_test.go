package promql

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
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
		{"avg_over_time(x[30d])", 10_000, limits.Visits},
		{"max_over_time(rate(x[1m])[1d:1m])", 10_000, limits.Limit{}},
		{"max_over_time(sum(x offset 3h)[4h:1ms])", 1, limits.Steps},
		{"max_over_time(vector(1)[4h:1ms])", 1, limits.Steps},
		{"max_over_time(x[4h:1ms] @ 1000)", 1, limits.Steps},
		{"max_over_time(vector(time())[200d:10s])", 1, limits.Steps},
		{"max_over_time(max_over_time(x[12h:1s])[12h:1s])", 1, limits.Visits},
		{"max_over_time(max_over_time(max_over_time(x[1h:10s])[1h:10s])[1h:10s])", 100, limits.Limit{}},
		{"max_over_time(x[290y:1ms])", 1, limits.Steps},
		{strings.Repeat("avg_over_time(x[1d]) + ", 20) + "1", 1000, limits.Visits},
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
		"large labels":   {`,{"metric":{"i":"#","x":"` + strings.Repeat("x", 60<<10) + `"},"values":[[1,"1"]]}`, limits.Cells},
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
