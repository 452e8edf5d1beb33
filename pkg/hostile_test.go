package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

// endless writes a text again and again until nobody reads any more.
func endless(w io.Writer, text string) {
	text = strings.Repeat(text, max(1, (64<<10)/len(text)))
	for {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}

// zipped returns a text compressed with gzip.
func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text) // to memory
	_ = w.Close()
	return b.String()
}

// never answers until the asker has gone.
func never(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// hostilePrometheus is a server whose answers are small and would take much, by the
// metric that is asked for.
func hostilePrometheus(w http.ResponseWriter, r *http.Request) {
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
	case "values":
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"other":[0`)
		endless(w, ",0")
	case "deep":
		endless(w, "[")
	case "text":
		_, _ = io.WriteString(w, `{"status":"`)
		endless(w, "x")
	case "login":
		w.Header().Set("Location", "/login%ff")
		w.WriteHeader(http.StatusFound)
	case "silence":
		never(w, r)
	default:
		series(1, func(int) string { return fmt.Sprintf(`{"metric":{},"values":[[%s,"1"]]}`, start) })
	}
}

// hostileAPI is a metrics API of the same kind. The name of a metric says where it is
// hostile, and how.
func hostileAPI(w http.ResponseWriter, r *http.Request) {
	where, how, _ := strings.Cut(r.FormValue("metric"), " ")
	now := time.Now().UnixMilli()
	if "/"+where != r.URL.Path {
		if r.URL.Path == "/latest" {
			_, _ = fmt.Fprintf(w, `{"timestamp":%d,"value":1}`, now)
		} else {
			_, _ = fmt.Fprintf(w, `{"timestamps":[],"values":[]}`)
		}
		return
	}
	begin := func(text string) { _, _ = io.WriteString(w, text) }
	switch how {
	case "points":
		var from, to int64
		_, _ = fmt.Sscan(r.FormValue("from"), &from)
		_, _ = fmt.Sscan(r.FormValue("to"), &to)
		b := bufio.NewWriter(w)
		_, _ = b.WriteString(`{"timestamps":[`)
		for at := from; at < to; at++ {
			if _, err := b.Write(append(strconv.AppendInt(b.AvailableBuffer(), at, 10), ',')); err != nil {
				return // nobody reads any more
			}
		}
		_, _ = b.Write(append(strconv.AppendInt(b.AvailableBuffer(), to, 10), `],"values":[]}`...))
		_ = b.Flush()
	case "values":
		begin(`{"values":[1`)
		endless(w, ",1")
	case "fields":
		begin(`{"a":0`)
		endless(w, `,"a":0`)
	case "lists":
		begin(`{"a":[[]`)
		endless(w, ",[]")
	case "labels":
		begin(`{"labels":{"a":""`)
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, `,"a%d":"x"`, i); err != nil {
				return
			}
		}
	case "deep":
		endless(w, `{"a":`)
	case "text":
		begin(`{"a":"`)
		endless(w, "x")
	case "number":
		begin(`{"a":`)
		endless(w, "1")
	case "spaces", "texts": // which are next to nothing on their way
		w.Header().Set("Content-Encoding", "gzip")
		begin(zipped(`{"a":[""`))
		// What is compressed once may come again and again.
		endless(w, zipped(strings.Repeat(map[string]string{"spaces": strings.Repeat(" ", 60_000), "texts": `,"` + strings.Repeat("x", 60_000) + `"`}[how], 20)))
	case "header":
		w.Header().Set("X", strings.Repeat("x", 16<<20))
		w.WriteHeader(http.StatusOK)
	case "silence":
		never(w, r)
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

// hostileQuery is a question that would take much.
type hostileQuery struct {
	name   string
	in     backend.PluginContext
	query  string // in its canonical form
	legend string
	rows   int64  // of a second each
	want   string // in the error, which is the asker's
	// tail is in the log when a tail is refused, or has ended, if not the same: it
	// reads few rows, whatever is on screen.
	tail string
}

// What becomes of tails that are asked for what is large in a history alone, or is not
// what any history hands out.
const (
	fits   = "the query has a new series"
	forged = "does not belong to the stream path"
)

// hostileWorld is a plugin that is asked hostile questions.
type hostileWorld struct {
	*grafana.Plugin
	log  *logged
	now  int64                   // what is recorded ends before
	data map[string]channel.Data // of a stream, by data source
}

// request asks for several queries at once. Alerts are asked for as rules do.
func (w hostileWorld) request(ctx context.Context, alert bool, in backend.PluginContext, queries ...hostileQuery) (*backend.QueryDataResponse, error) {
	req := &backend.QueryDataRequest{PluginContext: in}
	if alert {
		req.Headers = map[string]string{backend.FromAlertHeaderName: "true"}
	}
	for i, q := range queries {
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(q.query), &fields); err != nil {
			return nil, err
		}
		if q.legend != "" {
			fields["legend"] = q.legend
		}
		raw, err := json.Marshal(fields)
		if err != nil {
			return nil, err
		}
		req.Queries = append(req.Queries, backend.DataQuery{RefID: fmt.Sprint(i), Interval: time.Second, JSON: raw,
			TimeRange: backend.TimeRange{From: time.UnixMilli(w.now - q.rows*1000 - 4999), To: time.UnixMilli(w.now - 5000)}})
	}
	return w.QueryData(ctx, req)
}

// refused asks one query and returns why that is not refused as it should be.
func (w hostileWorld) refused(ctx context.Context, alert bool, q hostileQuery) error {
	rsp, err := w.request(ctx, alert, q.in, q)
	if err != nil {
		return err
	}
	got := rsp.Responses["0"]
	if got.Error == nil || !strings.Contains(got.Error.Error(), q.want) || got.ErrorSource != backend.ErrorSourceDownstream {
		return fmt.Errorf("got %d: %.300v", got.Status, got.Error)
	}
	return nil
}

// tail opens a stream of the query, which no history has offered, and returns an
// error unless its viewers are told that it cannot go on, and the log why.
func (w hostileWorld) tail(ctx context.Context, q hostileQuery) error {
	d := w.data[q.in.DataSourceInstanceSettings.UID]
	d.Query, d.Legend = json.RawMessage(q.query), q.legend
	encoded, err := d.Encode()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(encoded)
	if err != nil {
		return err
	}
	path := channel.Path{Step: 1000, Window: grid.Window(60_000, 1000), Digest: channel.DigestOf(encoded)}.String()
	logged := len(w.log.String())
	status, _, err := w.SubscribeStream(ctx, &backend.SubscribeStreamRequest{PluginContext: q.in, Path: path, Data: raw})
	if err != nil {
		return err
	}
	want := q.tail
	if want == "" {
		want = q.want
	}
	if want == forged {
		if status != backend.SubscribeStreamStatusPermissionDenied {
			return fmt.Errorf("the subscription has status %d", status)
		}
	} else { // Grafana calls RunStream alone too
		running, end := context.WithCancel(ctx)
		defer end()
		told := false
		err = w.RunStream(running, &backend.RunStreamRequest{PluginContext: q.in, Path: path, Data: raw}, func(packet []byte) {
			if strings.Contains(string(packet), `"changed"`) {
				told = true
				end()
			}
		})
		if !told {
			return fmt.Errorf("the stream ended with %w, and the log has %.1000s", err, w.log.String()[logged:])
		}
	}
	return w.log.wait(ctx, logged, want)
}

// wait waits until a text is logged behind a place.
func (l *logged) wait(ctx context.Context, behind int, text string) error {
	for {
		changed := l.changed()
		if strings.Contains(l.String()[behind:], text) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%q is not in the log: %.1000s", text, l.String()[behind:])
		}
	}
}

// during asks for what anybody may ask for, again and again while do runs.
func (w hostileWorld) during(t *testing.T, in backend.PluginContext, do func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		do()
	}()
	for {
		rsp, err := w.request(t.Context(), false, in, hostileQuery{query: `{"expr":"count(x)"}`, rows: 60})
		if err != nil {
			t.Errorf("another query is not answered: %v", err)
			<-ended
			return
		}
		if got := rsp.Responses["0"]; got.Error != nil || got.Frames[0].Rows() != 60 {
			t.Errorf("another query is not answered: %v", got.Error)
		}
		select {
		case <-ended:
			return
		case <-time.After(50 * time.Millisecond): // the time of what is hostile is logged
		}
	}
}

// patience is far more than any of these takes, under load too, and far less than
// what each of them once took.
const patience = time.Minute

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
	serve := func(h http.HandlerFunc) string {
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		return server.URL
	}
	of := func(uid, url, json string) backend.PluginContext {
		pc := pluginContext
		settings := *pc.DataSourceInstanceSettings
		settings.UID, settings.URL, settings.JSONData = uid, url, []byte(json)
		pc.DataSourceInstanceSettings = &settings
		return pc
	}
	// Tails find what was recorded for as long as this test takes.
	pluginContext.DataSourceInstanceSettings.JSONData = []byte(`{"source":"recorder","recorder":{"noHost":true,"lookback":3600000}}`)
	recorder := pluginContext
	prometheusURL, apiURL := serve(hostilePrometheus), serve(hostileAPI)
	const prometheusSettings, apiSettings = `{"source":"prometheus","timeout":%d,"prometheus":{"interval":1000}}`, `{"source":"metrics-api","timeout":%d,"metricsApi":{"endpoint":%q}}`
	prometheus := of("prometheus", prometheusURL, fmt.Sprintf(prometheusSettings, 60))
	hasty := of("hasty-prometheus", prometheusURL, fmt.Sprintf(prometheusSettings, 1))
	api := of("api", "", fmt.Sprintf(apiSettings, 60, apiURL))
	hastyAPI := of("hasty-api", "", fmt.Sprintf(apiSettings, 1, apiURL))

	many := strings.Repeat
	expr := func(text string) string {
		b, err := json.Marshal(map[string]string{"expr": text})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	metric := func(name string) string {
		return fmt.Sprintf(`{"metricName":%q,"aggregation":"last","minStep":1000}`, name)
	}
	queries := []hostileQuery{
		{name: "brackets", in: recorder, query: expr(many("(", 40_000)), rows: 10, want: "Nesting: "},
		{name: "a long text", in: recorder, query: expr(many("(", 1<<20)), rows: 10, want: "Text of a query: ", tail: forged},
		{name: "signs", in: recorder, query: expr(many("-", 40_000) + "x"), rows: 10, want: "Operators of a query: "},
		{name: "a sum", in: recorder, query: expr(many("a+", 20_000) + "a"), rows: 10, want: "Operators of a query: "},
		{name: "matchers", in: recorder, query: expr("x{" + many(`a!="b",`, 5000) + "}"), rows: 10, want: "Matchers of a selector: "},
		{name: "a subquery of many steps", in: recorder, query: expr("max_over_time(sum(x offset 3h)[4h:1ms])"), rows: 1, want: "Steps of a query with its subqueries: "},
		{name: "subqueries in subqueries", in: recorder, query: expr("max_over_time(max_over_time(sum(x)[1d:1s])[1d:1s])"), rows: 1, want: "Samples read by a query: "},
		{name: "ranges of many rows", in: recorder, query: expr("sum(sum_over_time(x[30d]))"), rows: 50_000, want: "Samples read by a query: "},
		{name: "more series than are drawn", in: recorder, query: expr("x"), rows: 10, want: "Series of an answer: "},
		{name: "cells", in: recorder, query: expr(`x{i=~".?.?."}`), rows: 2100, want: "Cells of an answer: ", tail: fits},
		{name: "cells of very many rows", in: recorder, query: expr("rate(x{i=~'.?.?.'}[1m])"), rows: 20_000, want: "Cells of an answer: ", tail: noTail},
		{name: "ranges of many series", in: recorder, query: expr("sum(sum_over_time(x[10m]))"), rows: 50_000, want: "Samples read by a query: ", tail: fits},
		{name: "ranges that are sorted", in: recorder, query: expr("sum(quantile_over_time(0.9, x[10m]))"), rows: 2000, want: "Samples read by a query: ", tail: fits},
		{name: "many operators on many series", in: recorder, query: expr("sum(" + many("x+", 900) + "x)"), rows: 600, want: "Values of an evaluation: "},
		{name: "samples", in: recorder, query: expr(fmt.Sprintf("sum_over_time((x @ %d + time())[2h:1s])", now/1000-10)), rows: 1, want: "Samples of an evaluation: "},
		{name: "samples that are kept", in: recorder, query: expr("max_over_time(sum(last_over_time(x[2h]) + 1)[2h:1s])"), rows: 1, want: "Samples of an evaluation: "},
		{name: "a series of each value", in: recorder, query: expr(`count(count_values("v", x))`), rows: 600, want: "Values of an evaluation: ", tail: fits},
		{name: "a series of each match", in: recorder, query: expr(`count(x * on() group_left(j) topk(1, label_replace(sin(x + time() * 3), "j", "$1", "i", "(.*)")))`), rows: 600, want: "Values of an evaluation: ", tail: fits},
		{name: "labels that double", in: recorder, query: expr(many("label_replace(", 24) + `x` + many(`,"i","$1$1","i","(.*)")`, 24)), rows: 10, want: "Label or legend of a series: "},
		{name: "labels that are joined", in: recorder, query: expr(many("label_join(", 20) + `x` + many(`,"i","","i","i","i")`, 20)), rows: 10, want: "Label or legend of a series: "},
		{name: "long labels", in: recorder, query: expr(`count(label_replace(x,"a","` + many("x", 40_000) + `","",""))`), rows: 10, want: "Samples of an evaluation: "},
		{name: "a matcher that is a large program", in: recorder, query: expr(`count(x{i=~"` + many(".{1000}", 1500) + `"})`), rows: 10, want: "Regular expressions of a query: "},
		{name: "a matcher of 60 KB", in: recorder, query: expr(`count(x{i=~"` + many("(.*a.*b)|", 6500) + `"})`), rows: 10, want: "Regular expressions of a query: ", tail: forged},
		{name: "a replacement that is a large program", in: recorder, query: expr(`count(label_replace(x,"a","b","i","` + many(".{1000}", 1500) + `"))`), rows: 10, want: "Regular expressions of a query: "},
		{name: "a long legend of many series", in: recorder, query: expr(`x{i=~".?.?."}`), legend: many("x", 60_000), rows: 10, want: "Answers to one request: ", tail: forged},
		{name: "a legend of long labels", in: recorder, query: expr(`label_replace(x{i="1"},"a","` + many("x", 1000) + `","","")`), legend: many("{{a}}", 5000), rows: 10, want: "Label or legend of a series: ", tail: fits},

		{name: "sparse series", in: prometheus, query: expr("sparse"), rows: 50_000, want: "Cells of an answer: ", tail: fits},
		{name: "many series", in: prometheus, query: expr("many"), rows: 10, want: "Series of an answer: "},
		{name: "large labels", in: prometheus, query: expr("labels"), rows: 10, want: "Answers to one request: "},
		{name: "endless values", in: prometheus, query: expr("values"), rows: 10, want: "Values in an answer of a server: "},
		{name: "a deep answer", in: prometheus, query: expr("deep"), rows: 10, want: "Nesting: "},
		{name: "an endless text", in: prometheus, query: expr("text"), rows: 10, want: "Text in an answer of a server: "},
		{name: "a redirect that is not UTF-8", in: prometheus, query: expr("login"), rows: 10, want: "redirects to /login\ufffd", tail: noTail},
		{name: "silence", in: hasty, query: expr("silence"), rows: 10, want: "did not answer in time", tail: noTail},

		{name: "points", in: api, query: metric("query points"), rows: 2000, want: "Points of a metrics API: ", tail: noTail},
		{name: "endless values of an API", in: api, query: metric("query values"), rows: 10, want: "Points of a metrics API: "},
		{name: "endless fields", in: api, query: metric("query fields"), rows: 10, want: "Points of a metrics API: "},
		{name: "endless lists", in: api, query: metric("query lists"), rows: 10, want: "Points of a metrics API: "},
		{name: "endless labels", in: api, query: metric("query labels"), rows: 10, want: "more than 100 labels", tail: noTail},
		{name: "a deep answer of an API", in: api, query: metric("query deep"), rows: 10, want: "Nesting: "},
		{name: "an endless text of an API", in: api, query: metric("query text"), rows: 10, want: "Text in an answer of a server: "},
		{name: "an endless number", in: api, query: metric("query number"), rows: 10, want: "Text in an answer of a server: "},
		{name: "endless spaces, compressed", in: api, query: metric("query spaces"), rows: 10, want: "Text in an answer of a server: "},
		{name: "endless texts, compressed", in: api, query: metric("query texts"), rows: 10, want: "Answer of a server: "},
		{name: "a large header", in: api, query: metric("query header"), rows: 10, want: "Header of an answer: "},
		{name: "silence of an API", in: hastyAPI, query: metric("query silence"), rows: 10, want: "did not answer in time", tail: noTail},
		{name: "a newest point that is deep", in: api, query: metric("latest deep"), rows: 10, want: "Nesting: "},
		{name: "a newest point with endless fields", in: api, query: metric("latest fields"), rows: 10, want: "Points of a metrics API: "},
		{name: "a newest point with endless texts", in: api, query: metric("latest texts"), rows: 10, want: "Answer of a server: "},
	}

	w := hostileWorld{log: &logged{}, now: now, data: make(map[string]channel.Data)}
	var err error
	if w.Plugin, err = grafana.StartLogging(programs.Plugin.Path(t), w.log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	for _, q := range []hostileQuery{{in: recorder, query: `{"expr":"count(x)"}`}, {in: prometheus, query: `{"expr":"fine"}`}, {in: api, query: metric("fine")}} {
		w.data[q.in.DataSourceInstanceSettings.UID] = w.offered(t, q)
	}

	bounded := func(do func(ctx context.Context) error) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		began := time.Now()
		err := do(ctx)
		return time.Since(began).Round(time.Millisecond), err
	}
	for _, q := range queries {
		w.during(t, recorder, func() {
			panel, err := bounded(func(ctx context.Context) error { return w.refused(ctx, false, q) })
			if err != nil {
				t.Errorf("%s: %v", q.name, err)
			}
			alert, err := bounded(func(ctx context.Context) error { return w.refused(ctx, true, q) })
			if err != nil {
				t.Errorf("%s, for an alert rule: %v", q.name, err)
			}
			tail := time.Duration(0)
			if q.tail != noTail {
				if tail, err = bounded(func(ctx context.Context) error { return w.tail(ctx, q) }); err != nil {
					t.Errorf("%s, as a tail: %v", q.name, err)
				}
			}
			t.Logf("%s: refused after %v, for an alert rule %v, as a tail %v; %d MB at most by now", q.name, panel, alert, tail, peak(t, w.Plugin))
		})
	}
	// What is large in parts alone is answered.
	rsp, err := w.request(t.Context(), false, recorder, hostileQuery{query: expr("sum(rate(x[1m]))"), rows: 3000})
	if got := rsp.Responses["0"]; err != nil || got.Error != nil || got.Frames[0].Rows() != 3000 {
		t.Errorf("a sum over many series and rows is not answered: %v, %v", err, got.Error)
	}
	w.crowds(t, queries)

	if mb := peak(t, w.Plugin); mb > 300 {
		t.Errorf("the plugin has had %d MB resident", mb)
	} else {
		t.Logf("the plugin has had %d MB resident", mb)
	}
}

// noTail is of what is in no tail: one tries again what may pass, and asks for the newest
// rows, which may have no samples any more.
const noTail = "-"

// offered returns the subscription data that come with a query that is as it should
// be, for others of its data source to be forged like them.
func (w hostileWorld) offered(t *testing.T, q hostileQuery) (d channel.Data) {
	t.Helper()
	fields := map[string]any{"live": true}
	if err := json.Unmarshal([]byte(q.query), &fields); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := w.QueryData(t.Context(), &backend.QueryDataRequest{PluginContext: q.in, Queries: []backend.DataQuery{{RefID: "A", Interval: time.Second, JSON: raw,
		TimeRange: backend.TimeRange{From: time.UnixMilli(w.now - 60_000), To: time.UnixMilli(w.now)}}}})
	if err := errors.Join(err, rsp.Responses["A"].Error); err != nil {
		t.Fatal(err)
	}
	custom, err := json.Marshal(rsp.Responses["A"].Frames[0].Meta.Custom)
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ Data string }
	if err := errors.Join(json.Unmarshal(custom, &s), json.Unmarshal([]byte(s.Data), &d)); err != nil {
		t.Fatalf("%v: %s", err, custom)
	}
	d.Fields = []string{"another"}
	return d
}

// crowds asks for very much at once.
func (w hostileWorld) crowds(t *testing.T, queries []hostileQuery) {
	recorder := queries[0].in
	var short []hostileQuery
	var crowd sync.WaitGroup
	for _, q := range queries {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		for _, alert := range []bool{false, true} {
			crowd.Go(func() {
				rsp, err := w.request(ctx, alert, q.in, q)
				if err != nil || rsp.Responses["0"].Error == nil {
					t.Errorf("%s, at once with others: %v", q.name, err)
				}
			})
		}
		if q.tail != noTail {
			crowd.Go(func() {
				if err := w.tail(ctx, q); err != nil {
					t.Errorf("%s, as a tail at once with others: %v", q.name, err)
				}
			})
		}
		// Those that are refused before they take any of what the request may.
		if q.in.DataSourceInstanceSettings == recorder.DataSourceInstanceSettings && len(q.query) < 4096 && q.legend == "" && !strings.HasPrefix(q.want, "Cells ") {
			short = append(short, q)
		}
	}
	w.during(t, recorder, crowd.Wait)

	// Thousands of targets in a request.
	fine := hostileQuery{in: recorder, query: `{"expr":"count(x)"}`, rows: 10}
	var targets []hostileQuery
	for range 2000 / len(short) {
		targets = append(append(targets, fine), short...)
	}
	w.during(t, recorder, func() {
		took := time.Now()
		rsp, err := w.request(t.Context(), false, recorder, targets...)
		if err != nil {
			t.Errorf("%d targets: %v", len(targets), err)
			return
		}
		for i, q := range targets {
			if got := rsp.Responses[fmt.Sprint(i)]; (got.Error == nil) != (q.want == "") || got.Error != nil && !strings.Contains(got.Error.Error(), q.want) {
				t.Errorf("target %d, %s: %v", i, q.name, got.Error)
			}
		}
		t.Logf("%d targets in one request: answered after %v, %d MB at most by now", len(targets), time.Since(took).Round(time.Millisecond), peak(t, w.Plugin))
	})
	targets = nil
	for range 20_000 {
		targets = append(targets, hostileQuery{in: recorder, query: `{"expr":"vector(1)"}`, rows: 10})
	}
	w.during(t, recorder, func() {
		took := time.Now()
		rsp, err := w.request(t.Context(), false, recorder, targets...)
		if err != nil {
			t.Errorf("%d targets: %v", len(targets), err)
			return
		}
		answered := 0
		for i := range targets {
			switch got := rsp.Responses[fmt.Sprint(i)]; {
			case got.Error == nil:
				answered++
			case !strings.Contains(got.Error.Error(), "Answers to one request: ") && !strings.Contains(got.Error.Error(), "Answers being made: "):
				t.Errorf("target %d: %v", i, got.Error)
				return
			}
		}
		if answered == 0 || answered == len(targets) {
			t.Errorf("%d of %d targets are answered", answered, len(targets))
		}
		t.Logf("%d targets in one request: %d answered after %v, %d MB at most by now", len(targets), answered, time.Since(took).Round(time.Millisecond), peak(t, w.Plugin))
	})
}
