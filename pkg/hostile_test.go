package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
)

// hostile is a server whose answers are small and would take much, by the metric
// that is asked for.
func hostile(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "/query") {
		now := float64(time.Now().UnixMilli()) / 1000
		_, _ = fmt.Fprintf(w, `{"status":"success","data":{"resultType":"scalar","result":[%f,"%f"]}}`, now, now)
		return
	}
	series := func(n int, one func(i int) string) {
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[`)
		for i := range n {
			comma := ","
			if i == 0 {
				comma = ""
			}
			if _, err := io.WriteString(w, comma+one(i)); err != nil {
				return // nobody reads any more
			}
		}
		_, _ = io.WriteString(w, "]}}")
	}
	endless := func(text string) {
		for range 32 << 4 {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	}
	start := r.Form.Get("start")
	switch r.Form.Get("query") {
	case "sparse": // one value in each of many series
		series(1000, func(i int) string { return fmt.Sprintf(`{"metric":{"i":"%d"},"values":[[%s,"1"]]}`, i, start) })
	case "many": // more series than anybody draws
		series(300_000, func(i int) string { return fmt.Sprintf(`{"metric":{"i":"%d"},"values":[]}`, i) })
	case "labels": // large labels
		text := strings.Repeat("x", 60<<10)
		series(1000, func(i int) string {
			return fmt.Sprintf(`{"metric":{"i":"%d","x":"%s"},"values":[[%s,"1"]]}`, i, text, start)
		})
	case "deep":
		endless(strings.Repeat("[", 64<<10))
	case "text":
		_, _ = io.WriteString(w, `{"status":"`)
		endless(strings.Repeat("x", 64<<10))
	case "login":
		w.Header().Set("Location", "/login%ff")
		w.WriteHeader(http.StatusFound)
	default:
		series(1, func(int) string { return fmt.Sprintf(`{"metric":{},"values":[[%s,"1"]]}`, start) })
	}
}

// peak returns the most memory that the plugin has ever had resident, in MB.
func peak(t *testing.T, p *grafana.Plugin) (mb int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Skip("NOT TESTED: there is no /proc here, so the memory of the plugin is not known")
	}
	for line := range strings.Lines(string(status)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb >> 10
		}
	}
	t.Fatal("the status has no VmHWM")
	return 0
}

// No question and no answer takes the process down, or keeps others from theirs.
func TestHostileQueries(t *testing.T) {
	root := t.TempDir()
	now := time.Now().UnixMilli() / 1000 * 1000
	var all []*gauge
	for i := range 1200 {
		all = append(all, &gauge{labels: labels.FromStrings(model.MetricNameLabel, "x", "i", fmt.Sprint(i)), value: float64(i), next: func(v float64) float64 { return v + 1 + float64(i)/7 }})
	}
	record(t, root, all, now-600_000, now-5000)
	onStore(t, root)
	server := httptest.NewServer(http.HandlerFunc(hostile))
	defer server.Close()
	p := start(t)

	recorder := pluginContext
	remote := pluginContext
	settings := *pluginContext.DataSourceInstanceSettings
	settings.UID, settings.URL, settings.JSONData = "remote", server.URL, []byte(`{"source":"prometheus","prometheus":{"interval":1000}}`)
	remote.DataSourceInstanceSettings = &settings

	type question struct {
		name string
		in   backend.PluginContext
		expr string
		rows int64  // of a second each
		want string // in the error, which is the asker's
	}
	many := strings.Repeat
	questions := []question{
		{"brackets", recorder, many("(", 60_000), 10, "Nesting: "},
		{"a long text", recorder, many("(", 1<<20), 10, "Text of a query: "},
		{"signs", recorder, many("-", 60_000) + "x", 10, "Operators of a query: "},
		{"a sum", recorder, many("a+", 30_000) + "a", 10, "Operators of a query: "},
		{"a subquery of many steps", recorder, "max_over_time(sum(x offset 3h)[4h:1ms])", 1, "Steps of a query with its subqueries: "},
		{"subqueries in subqueries", recorder, "max_over_time(max_over_time(sum(x)[1d:1s])[1d:1s])", 1, "Samples read by a query: "},
		{"ranges of many rows", recorder, "sum(sum_over_time(x[30d]))", 50_000, "Samples read by a query: "},
		{"more series than are drawn", recorder, "x", 10, "Series of an answer: "},
		{"cells", recorder, `x{i=~".?.?."}`, 2100, "Cells of an answer: "},
		{"cells of very many rows", recorder, "rate(x{i=~'.?.?.'}[1m])", 20_000, "Cells of an answer: "},
		{"ranges of many series", recorder, "sum(sum_over_time(x[10m]))", 50_000, "Samples read by a query: "},
		{"ranges that are sorted", recorder, "sum(quantile_over_time(0.9, x[10m]))", 2000, "Samples read by a query: "},
		{"many operators on many series", recorder, "sum(" + many("x+", 900) + "x)", 600, "Values of an evaluation: "},
		{"samples", recorder, fmt.Sprintf("sum_over_time((x @ %d + time())[2h:1s])", now/1000-10), 1, "Samples of an evaluation: "},
		{"samples that are kept", recorder, "max_over_time(sum(last_over_time(x[2h]) + 1)[2h:1s])", 1, "Samples of an evaluation: "},
		{"a series of each value", recorder, `count(count_values("v", x))`, 600, "Values of an evaluation: "},
		{"a series of each match", recorder, `count(x * on() group_left(j) topk(1, label_replace(sin(x + time() * 3), "j", "$1", "i", "(.*)")))`, 600, "Values of an evaluation: "},
		{"labels that double", recorder, many("label_replace(", 24) + `x` + many(`,"i","$1$1","i","(.*)")`, 24), 10, "Label or legend of a series: "},
		{"labels that are joined", recorder, many("label_join(", 20) + `x` + many(`,"i","","i","i","i")`, 20), 10, "Label or legend of a series: "},
		{"long labels", recorder, `count(label_replace(x,"a","` + many("x", 60_000) + `","",""))`, 10, "Samples of an evaluation: "},
		{"a matcher that is a large program", recorder, `count(x{i=~"` + many(".{1000}", 1500) + `"})`, 10, "Regular expressions of a query: "},
		{"a matcher of 60 KB", recorder, `count(x{i=~"` + many("(.*a.*b)|", 6500) + `"})`, 10, "Regular expressions of a query: "},
		{"a replacement that is a large program", recorder, `count(label_replace(x,"a","b","i","` + many(".{1000}", 1500) + `"))`, 10, "Regular expressions of a query: "},
		{"sparse series", remote, "sparse", 50_000, "Cells of an answer: "},
		{"many series", remote, "many", 10, "Series of an answer: "},
		{"large labels", remote, "labels", 10, "Answers being made: "},
		{"a deep answer", remote, "deep", 10, "Nesting: "},
		{"a long text in an answer", remote, "text", 10, "Text in an answer of a server: "},
		{"a redirect that is not UTF-8", remote, "login", 10, "redirects to /login\ufffd"},
	}
	ask := func(ctx context.Context, in backend.PluginContext, expr string, rows int64) (backend.DataResponse, error) {
		raw, err := json.Marshal(map[string]string{"expr": expr})
		if err != nil {
			return backend.DataResponse{}, err
		}
		rsp, err := p.QueryData(ctx, &backend.QueryDataRequest{PluginContext: in, Queries: []backend.DataQuery{{
			RefID: "A", Interval: time.Second, JSON: raw, TimeRange: backend.TimeRange{From: time.UnixMilli(now - rows*1000 - 4999), To: time.UnixMilli(now - 5000)},
		}}})
		if err != nil {
			return backend.DataResponse{}, err
		}
		return rsp.Responses["A"], nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if rsp, err := ask(ctx, recorder, "count(x)", 10); err != nil || rsp.Error != nil || len(rsp.Frames) != 1 {
		t.Fatalf("the store does not answer: %v, %v", err, rsp.Error)
	}

	// Others go on asking meanwhile.
	var others sync.WaitGroup
	meanwhile, end := context.WithCancel(ctx)
	answered, slowest := 0, time.Duration(0)
	others.Go(func() {
		for meanwhile.Err() == nil {
			began := time.Now()
			rsp, err := ask(ctx, recorder, "count(x)", 60)
			if err != nil || rsp.Error != nil || rsp.Frames[0].Rows() != 60 {
				t.Errorf("another query is not answered: %v, %v", err, rsp.Error)
				return
			}
			answered++
			slowest = max(slowest, time.Since(began))
			time.Sleep(20 * time.Millisecond)
		}
	})
	refuse := func(q question) {
		// Under load too, it is far less than what each of these once took.
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		began := time.Now()
		rsp, err := ask(ctx, q.in, q.expr, q.rows)
		if err != nil || rsp.Error == nil || !strings.Contains(rsp.Error.Error(), q.want) || rsp.ErrorSource != backend.ErrorSourceDownstream {
			t.Errorf("%s: %v, %.300v", q.name, err, rsp.Error)
		}
		t.Logf("%s: refused with %d after %v, %d MB at most by now", q.name, rsp.Status, time.Since(began).Round(time.Millisecond), peak(t, p))
	}
	for _, q := range questions {
		refuse(q)
	}
	// What is large in parts alone is answered.
	if rsp, err := ask(ctx, recorder, "sum(rate(x[1m]))", 3000); err != nil || rsp.Error != nil || rsp.Frames[0].Rows() != 3000 {
		t.Errorf("a sum over many series and rows is not answered: %v, %v", err, rsp.Error)
	}
	var crowd sync.WaitGroup // and all at once
	for _, q := range questions {
		crowd.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
			defer cancel()
			if rsp, err := ask(ctx, q.in, q.expr, q.rows); err != nil || rsp.Error == nil {
				t.Errorf("%s, at once with others: %v, %v", q.name, err, rsp.Error)
			}
		})
	}
	crowd.Wait()
	end()
	others.Wait()
	if mb := peak(t, p); mb > 300 {
		t.Errorf("the plugin has had %d MB resident", mb)
	} else {
		t.Logf("the plugin has had %d MB resident; meanwhile %d others were answered, the slowest after %v", mb, answered, slowest.Round(time.Millisecond))
	}
}
