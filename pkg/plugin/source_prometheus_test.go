package plugin

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/internal/prometheus"
	"github.com/continuum-live/continuum-datasource/pkg/internal/remotewrite"
	"github.com/continuum-live/continuum-datasource/pkg/internal/victoria"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// onServer returns an instance on a Prometheus-compatible server.
func onServer(t testing.TB, s backend.DataSourceInstanceSettings) *fed {
	t.Helper()
	s.UID, s.Updated = "uid", time.UnixMilli(1)
	pc := backend.PluginContext{OrgID: 1, PluginID: ID, User: &backend.User{Login: "viewer"}, DataSourceInstanceSettings: &s}
	in, err := NewFactory(noStores())(backend.WithPluginContext(t.Context(), pc), s)
	if err != nil {
		t.Fatal(err)
	}
	return &fed{instance: in.(*instance), pc: pc}
}

const everySecond = `{"source":"prometheus","prometheus":{"interval":1000}}`

// restartable is a real server.
type restartable interface {
	Kill()
	Restart()
}

// trouble stands between the plugin and a server and does what its mode says.
type trouble struct {
	*httptest.Server
	mode     atomic.Value // string
	requests atomic.Int64
	failed   atomic.Int64 // requests that did not reach the server
}

func newTrouble(t testing.TB, server string) *trouble {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorLog = log.New(io.Discard, "", 0)
	p := &trouble{}
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
		p.failed.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}
	p.mode.Store("")
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		switch p.mode.Load() {
		case "storm":
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case "slow":
			time.Sleep(700 * time.Millisecond)
		case "cut":
			panic(http.ErrAbortHandler)
		case "page":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>Please log in</html>")
			return
		case "clock": // a proxy whose clock is a day off
			w.Header().Set("Date", time.Now().Add(-24*time.Hour).UTC().Format(http.TimeFormat))
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// scrape stores what a scrape at a time finds: integers, whose sums are the same
// in any order.
func scrape(t testing.TB, server string, at int64, only ...string) error {
	t.Helper()
	var samples []remotewrite.Sample
	for i := range int64(4) {
		machine := fmt.Sprint("m", i)
		if len(only) > 0 && machine != only[0] {
			continue
		}
		for name, v := range map[string]float64{
			"level_bytes": math.Floor(1000 * math.Sin(float64(at/1000%10_000)/7+float64(i))),
			"work_total":  float64(at / 1000 % 1_000_000 * (i + 1)),
		} {
			samples = append(samples, remotewrite.Sample{Labels: map[string]string{"__name__": name, "machine": machine}, T: at, V: v})
		}
	}
	return remotewrite.Send(t.Context(), server, samples)
}

// What viewers see of a server, through its troubles and restarts, is in the end
// what a fresh query of the same window returns, and what the server itself
// answers.
func TestRemoteWindowIsExact(t *testing.T) {
	for _, server := range []struct {
		name  string
		start func(t *testing.T) (restartable, string)
	}{
		{"Prometheus", func(t *testing.T) (restartable, string) {
			s := prometheus.Start(t, prometheus.Options{Config: "storage: {tsdb: {out_of_order_time_window: 1h}}", Flags: []string{"--web.enable-remote-write-receiver"}})
			return s, s.URL
		}},
		{"VictoriaMetrics", func(t *testing.T) (restartable, string) {
			s := victoria.Start(t, "-search.latencyOffset=2s")
			return s, s.URL
		}},
	} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			s, address := server.start(t)
			proxy := newTrouble(t, address)
			r := onServer(t, backend.DataSourceInstanceSettings{URL: proxy.URL, JSONData: []byte(everySecond)})

			now := time.Now().UnixMilli() / 1000 * 1000
			for at := now - 90_000; at <= now; at += 1000 {
				if err := scrape(t, address, at); err != nil {
					t.Fatal(err)
				}
			}
			// From now on a scrape every second. m3 is late now and then: its
			// samples come when their rows were sent.
			var scraping sync.Mutex
			scrapes := true
			setScrapes := func(on bool) { // none is under way after it was switched off
				scraping.Lock()
				defer scraping.Unlock()
				scrapes = on
			}
			scrapeAll := func(at int64) {
				scraping.Lock()
				defer scraping.Unlock()
				if !scrapes {
					return
				}
				for _, machine := range []string{"m0", "m1", "m2"} {
					_ = scrape(t, address, at, machine) // what the server cannot take is missed
				}
				if at/1000%4 == 0 {
					_ = scrape(t, address, at-5000, "m3")
				} else if at/1000%4 != 3 {
					_ = scrape(t, address, at, "m3")
				}
			}
			end, ended := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				for at := now + 1000; ; at += 1000 {
					select {
					case <-end:
						return
					case <-time.After(time.Until(time.UnixMilli(at))):
					}
					scrapeAll(at)
				}
			}()
			seen := func() bool { // what was written is to be seen
				frame := r.ask(t, `{"expr":"level_bytes"}`, 30*time.Second)
				return len(frame.Fields) == 5 && frame.Rows() > 0
			}
			inputtest.Eventually(t, func() error {
				if !seen() {
					return errors.New("what was written is not to be seen")
				}
				return nil
			})

			exprs := []string{"level_bytes", "sum(level_bytes)", "rate(work_total[10s])", "max_over_time(level_bytes[$__range])"}
			viewers := make([]*viewer, len(exprs))
			for i, expr := range exprs {
				viewers[i] = &viewer{resync: make(chan struct{}, 1)}
				viewers[i].load(t, r, fmt.Sprintf(`{"expr":%q}`, expr), 40*time.Second)
			}
			rows := func(later time.Duration) { // until all have rows of that much later
				t.Helper()
				last := time.Now().Add(later).UnixMilli()
				inputtest.Eventually(t, func() error {
					for i, v := range viewers {
						if newest := v.newest(); newest < last {
							return fmt.Errorf("%s: the newest row is %d ms before the last", exprs[i], last-newest)
						}
					}
					return nil
				})
			}
			more := func(count *atomic.Int64) { // until there are some more
				t.Helper()
				enough := count.Load() + 3
				inputtest.Eventually(t, func() error {
					if n := count.Load(); n < enough {
						return fmt.Errorf("%d requests are to come", enough-n)
					}
					return nil
				})
			}
			rows(0)
			for _, mode := range []string{"storm", "slow", "cut", "page", "clock"} {
				proxy.mode.Store(mode)
				more(&proxy.requests)
				proxy.mode.Store("")
				rows(0)
			}
			setScrapes(false)
			if v, ok := s.(*victoria.Server); ok {
				v.Flush()
			}
			s.Kill()
			more(&proxy.failed)
			s.Restart()
			setScrapes(true)
			rows(2 * time.Second)
			close(end)
			<-ended
			rows(5 * time.Second) // nothing changes any more

			for i, v := range viewers {
				fresh := r.ask(t, fmt.Sprintf(`{"expr":%q,"live":true}`, exprs[i]), 40*time.Second)
				v.stopped()
				same(t, exprs[i], v, fresh)
				if !strings.Contains(exprs[i], "$") {
					answered(t, address, exprs[i], fresh)
				}
				select {
				case <-v.resync:
					t.Errorf("%s: told to ask afresh", exprs[i])
				default:
				}
			}
		})
	}
}

// answered holds an answer against what the server itself says.
func answered(t *testing.T, server, expr string, frame *data.Frame) {
	t.Helper()
	at := func(i int) time.Time { return frame.Fields[0].At(i).(time.Time) }
	rsp, err := http.PostForm(server+"/api/v1/query_range", url.Values{"query": {expr}, "step": {"1"},
		"start": {at(0).Format(time.RFC3339)}, "end": {at(frame.Rows() - 1).Format(time.RFC3339)}})
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	var plain struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.NewDecoder(rsp.Body).Decode(&plain); err != nil {
		t.Fatal(err)
	}
	if len(plain.Data.Result) != len(frame.Fields)-1 {
		t.Errorf("%s: %d series, and %d from the server", expr, len(frame.Fields)-1, len(plain.Data.Result))
	}
	for _, series := range plain.Data.Result {
		want := make(map[int64]string)
		for _, v := range series.Values {
			want[int64(v[0].(float64))] = v[1].(string)
		}
		for _, f := range frame.Fields[1:] {
			if jsonOf(t, f.Labels) != jsonOf(t, series.Metric) {
				continue
			}
			for i := range f.Len() {
				got := ""
				if v := f.At(i).(*float64); v != nil {
					got = strconv.FormatFloat(*v, 'f', -1, 64)
				}
				if w := want[at(i).Unix()]; got != w {
					t.Errorf("%s: row %v of %s is %q, and %q from the server", expr, at(i), f.Name, got, w)
				}
			}
			want = nil
		}
		if want != nil {
			t.Errorf("%s: there is no %v", expr, series.Metric)
		}
	}
}

// same compares what a viewer sees, up to its newest row, with a fresh answer.
func same(t *testing.T, what string, v *viewer, fresh *data.Frame) {
	t.Helper()
	if rows, values := v.compare(t, what, fresh, v.newest()); rows < 35 || values < rows/2 {
		t.Errorf("%s: %d rows with %d values were compared", what, rows, values)
	}
}

func show(v *float64) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprint(*v)
}

// A dashboard of the recorder shows the same on a Prometheus server that has the
// same data: only the data source's settings change.
func TestMovingToPrometheus(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	rec := recorder.New(root, slog.New(slog.DiscardHandler))
	settings := backend.DataSourceInstanceSettings{UID: "uid", JSONData: []byte(`{"source":"recorder"}`)}
	pc := backend.PluginContext{OrgID: 1, PluginID: ID, DataSourceInstanceSettings: &settings}
	in, err := NewFactory(rec)(backend.WithPluginContext(t.Context(), pc), settings)
	if err != nil {
		t.Fatal(err)
	}
	queries := dashboardQueries(t, "../../provisioning/dashboards/machine.json")
	began := time.Now()
	to := began.Add(9 * time.Second)
	inputtest.Eventually(t, func() error {
		store, err := rec.Store(t.Context(), recorder.Key{Org: 1, UID: "uid"})
		if err != nil {
			return err
		}
		if settled := time.UnixMilli(store.Settled()); settled.Before(to) {
			return fmt.Errorf("the recorder is settled to %v", settled)
		}
		return nil
	})
	request := &backend.QueryDataRequest{PluginContext: pc}
	for i, q := range queries {
		request.Queries = append(request.Queries, backend.DataQuery{RefID: fmt.Sprint(i), JSON: q, Interval: time.Second, MaxDataPoints: 100,
			TimeRange: backend.TimeRange{From: began, To: to}})
	}
	recorded, err := in.(*instance).QueryData(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}

	server := prometheus.Start(t, prometheus.Options{Dir: filepath.Join(root, "1", "uid"), Flags: []string{"--storage.tsdb.retention.time=15d"}})
	moved := onServer(t, backend.DataSourceInstanceSettings{URL: server.URL, JSONData: []byte(everySecond)})
	request.PluginContext = moved.pc
	served, err := moved.QueryData(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	values := 0
	for i, q := range queries {
		ref := fmt.Sprint(i)
		a, b := recorded.Responses[ref], served.Responses[ref]
		if a.Error != nil || b.Error != nil {
			t.Errorf("%s: %v, %v", q, a.Error, b.Error)
			continue
		}
		values += sameFrames(t, string(q), a.Frames, b.Frames)
	}
	if len(queries) < 5 || values < 50 {
		t.Errorf("%d values of %d queries were compared", values, len(queries))
	}

	// And it goes on live.
	live := moved.ask(t, strings.TrimSuffix(string(queries[0]), "}")+`,"live":true}`, time.Minute)
	if live.Meta.Channel == "" {
		t.Errorf("there is no stream: %v", live.Meta.Notices)
	}
}

// dashboardQueries returns the queries of a dashboard as Grafana sends them.
func dashboardQueries(t *testing.T, file string) []json.RawMessage {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct{ Targets []json.RawMessage }
	}
	b = bytes.ReplaceAll(b, []byte("$device"), []byte(".*")) // as the front end does
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	var queries []json.RawMessage
	for _, p := range dashboard.Panels {
		queries = append(queries, p.Targets...)
	}
	return queries
}

// sameFrames compares all but the last bits of sums, which Prometheus adds up in
// any order, and returns how many values there are.
func sameFrames(t *testing.T, what string, a, b data.Frames) (values int) {
	t.Helper()
	if len(a) != 1 || len(b) != 1 || len(a[0].Fields) != len(b[0].Fields) || a[0].Rows() != b[0].Rows() {
		t.Errorf("%s: %d and %d frames, or other fields or rows: %v and %v", what, len(a), len(b), a[0].Fields, b[0].Fields)
		return 0
	}
	metaOf := func(f *data.Frame) string {
		meta := *f.Meta
		meta.Stats = nil // they have the time taken
		return jsonOf(t, meta)
	}
	if x, y := metaOf(a[0]), metaOf(b[0]); x != y {
		t.Errorf("%s: the meta data are %s and %s", what, x, y)
	}
	for f := range a[0].Fields {
		x, y := a[0].Fields[f], b[0].Fields[f]
		if x.Name != y.Name || jsonOf(t, x.Labels) != jsonOf(t, y.Labels) || jsonOf(t, x.Config) != jsonOf(t, y.Config) || x.Type() != y.Type() {
			t.Errorf("%s: the fields are %s %s and %s %s", what, x.Name, jsonOf(t, x.Config), y.Name, jsonOf(t, y.Config))
			continue
		}
		for i := range x.Len() {
			if f == 0 {
				if x.At(i) != y.At(i) {
					t.Errorf("%s: row %d is at %v and %v", what, i, x.At(i), y.At(i))
				}
				continue
			}
			v, w := x.At(i).(*float64), y.At(i).(*float64)
			if (v == nil) != (w == nil) || v != nil && math.Abs(*v-*w) > 1e-12*math.Abs(*v) {
				t.Errorf("%s: row %d of %s is %s and %s", what, i, x.Name, show(v), show(w))
			}
			if v != nil {
				values++
			}
		}
	}
	return values
}

// Credentials, tenant and TLS are Grafana's to give, and reach the server and
// nobody else.
func TestRemoteCredentials(t *testing.T) {
	const password, tenant = "correct-horse", "tenant-42"
	var refuse atomic.Bool
	seen := make(chan *http.Request, 100)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		seen <- r
		user, pass, _ := r.BasicAuth()
		now := float64(time.Now().UnixMilli()) / 1000
		switch {
		case refuse.Load() || user != "me" || pass != password || r.Header.Get("X-Scope-OrgID") != tenant:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, "%s with %s of %s is wrong", pass, r.Header.Get("Authorization"), r.Header.Get("X-Scope-OrgID"))
		case strings.HasSuffix(r.URL.Path, "/query"):
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"scalar","result":[%f,"%f"]}}`, now, now)
		case strings.HasSuffix(r.URL.Path, "/query_range"):
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[%s,"1"]]}]}}`, r.Form.Get("end"))
		case strings.HasSuffix(r.URL.Path, "/buildinfo"):
			fmt.Fprint(w, `{"status":"success","data":{"version":"3.9.1"}}`)
		case strings.HasSuffix(r.URL.Path, "/metadata"):
			fmt.Fprint(w, `{"status":"success","data":{"up":[{"type":"gauge","help":"Up.","unit":""}]}}`)
		case strings.HasSuffix(r.URL.Path, "/label/__name__/values"):
			fmt.Fprint(w, `{"status":"success","data":["down","up"]}`)
		default:
			fmt.Fprint(w, `{"status":"success","data":["a","b","c"]}`)
		}
	}))
	defer server.Close()
	settings := backend.DataSourceInstanceSettings{URL: server.URL + "/prom", BasicAuthEnabled: true, BasicAuthUser: "me",
		DecryptedSecureJSONData: map[string]string{"basicAuthPassword": password, "httpHeaderValue1": tenant,
			"tlsCACert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))},
		JSONData: []byte(`{"source":"prometheus","tlsAuthWithCACert":true,"httpHeaderName1":"X-Scope-OrgID","prometheus":{"httpMethod":"GET"}}`)}
	r := onServer(t, settings)
	ctx := backend.WithPluginContext(t.Context(), r.pc)
	health, err := r.CheckHealth(ctx, &backend.CheckHealthRequest{PluginContext: r.pc})
	if err != nil || health.Status != backend.HealthStatusOk || !strings.Contains(health.Message, "version 3.9.1") || !strings.Contains(health.Message, "15.5s after their time") {
		t.Errorf("health is %+v, %v", health, err)
	}
	frame := r.ask(t, `{"expr":"up","live":true}`, 10*time.Minute)
	if frame.Meta.Channel == "" {
		t.Errorf("no stream: %v", frame.Meta.Notices)
	}
	close(seen)
	for request := range seen {
		if request.Method != http.MethodGet || !strings.HasPrefix(request.URL.Path, "/prom/api/v1/") {
			t.Errorf("asked for %s %s", request.Method, request.URL)
		}
	}
	seen = make(chan *http.Request, 100)

	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"metrics?limit=2", 200, `[{"name":"down"`},
		{"metrics?limit=2", 200, `{"name":"up","type":"gauge","unit":"","help":"Up."}]`},
		{"labels?limit=2&match=up", 200, `["a","b"]`},
		{"labels/a/values", 200, `["a","b","c"]`},
		{"labels?limit=0", 400, "out of range"},
		{"status", 400, `no recorder`},
	} {
		status, body := r.resource(t, c.path)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s", c.path, status, body)
		}
	}

	// Whatever the server says, secrets stay here.
	refuse.Store(true)
	health, err = r.CheckHealth(ctx, &backend.CheckHealthRequest{PluginContext: r.pc})
	if err != nil || health.Status != backend.HealthStatusError || !strings.HasPrefix(health.Message, "Credentials: ") {
		t.Errorf("health is %+v, %v", health, err)
	}
	var rsp *backend.QueryDataResponse
	inputtest.Eventually(t, func() error { // once the server's clock is asked for again
		rsp, err = r.QueryData(ctx, &backend.QueryDataRequest{PluginContext: r.pc, Queries: []backend.DataQuery{{RefID: "A", JSON: []byte(`{"expr":"up"}`),
			TimeRange: backend.TimeRange{From: time.Now().Add(-time.Hour), To: time.Now()}}}})
		if err != nil || rsp.Responses["A"].Error == nil || rsp.Responses["A"].ErrorSource != backend.ErrorSourceDownstream {
			return fmt.Errorf("the answer is %+v, %w", rsp, err)
		}
		return nil
	})
	_, labels := r.resource(t, "labels")
	for what, text := range map[string]string{"health": health.Message, "error": rsp.Responses["A"].Error.Error(), "labels": labels, "frame": jsonOf(t, frame)} {
		for _, secret := range []string{password, tenant, base64.StdEncoding.EncodeToString([]byte("me:" + password))} {
			if strings.Contains(text, secret) {
				t.Errorf("the %s tells a secret: %s", what, text)
			}
		}
	}
}

// resource calls a resource of the data source.
func (r *fed) resource(t *testing.T, address string) (status int, body string) {
	t.Helper()
	path, _, _ := strings.Cut(address, "?")
	err := r.CallResource(backend.WithPluginContext(t.Context(), r.pc), &backend.CallResourceRequest{PluginContext: r.pc, Method: "GET", Path: path, URL: address},
		backend.CallResourceResponseSenderFunc(func(rsp *backend.CallResourceResponse) error {
			status, body = rsp.Status, string(rsp.Body)
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}

func TestPrometheusSettings(t *testing.T) {
	for raw, want := range map[string]string{
		`{}`:                                     "",
		`{"delay":1}`:                            "",
		`{"interval":10}`:                        "scrape interval 10 is out of range",
		`{"delay":-1}`:                           "delay -1",
		`{"queryTimeout":-1}`:                    "query timeout -1",
		`{"lookback":1000}`:                      "lookback 1000",
		`{"interval":1000000,"lookback":300000}`: "lookback 300000",
		`{"interval":86400000}`:                  "", // the others follow
	} {
		s, err := parseSettings([]byte(`{"source":"prometheus","prometheus":` + raw + `}`))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", raw, err)
		}
		if raw == `{}` && (s.Prometheus != prometheusSettings{HTTPMethod: "POST", Delay: 15_500, Interval: 15_000, Lookback: 300_000}) {
			t.Errorf("the defaults are %+v", s.Prometheus)
		}
	}
	for what, s := range map[string]backend.DataSourceInstanceSettings{
		"URL of the server is missing": {JSONData: []byte(everySecond)},
		"user or password":             {URL: "http://me:secret@x", JSONData: []byte(everySecond)},
		`HTTP method "PUT"`:            {URL: "http://x", JSONData: []byte(`{"source":"prometheus","prometheus":{"httpMethod":"PUT"}}`)},
		"HTTP settings":                {URL: "http://x", JSONData: []byte(`{"source":"prometheus","tlsAuth":true}`), DecryptedSecureJSONData: map[string]string{"tlsClientCert": "secret", "tlsClientKey": "secret"}},
	} {
		r := onServer(t, s)
		if r.broken == nil || !strings.Contains(r.broken.Error(), what) || strings.Contains(r.broken.Error(), "secret") {
			t.Errorf("the instance is broken by %v, not by %q", r.broken, what)
		}
	}
	// Streams of settings that were saved anew start afresh.
	r := onServer(t, backend.DataSourceInstanceSettings{URL: "http://x", JSONData: []byte(everySecond)})
	before := r.settings.revision()
	s := *r.pc.DataSourceInstanceSettings
	s.Updated = time.UnixMilli(2)
	in, _ := NewFactory(noStores())(backend.WithPluginContext(t.Context(), r.pc), s)
	if after := in.(*instance).settings.revision(); after == before {
		t.Errorf("the revision stays %s", after)
	}
}
