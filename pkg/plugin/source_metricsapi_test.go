package plugin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"

	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/metricsapi"
	"github.com/continuum-live/continuum-datasource/pkg/source/metricsapi/metricsapitest"
)

// apiWorld is a world whose data source asks a metrics API over a network in
// memory, in virtual time.
type apiWorld struct {
	*world
	service *metricsapitest.Service
	network *metricsapitest.Network

	mu    sync.Mutex
	storm int           // every so many requests fail, 0 for none
	slow  time.Duration // each answer takes up to as long
	asked int
}

func (w *apiWorld) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked++
	asked, storm, slow := w.asked, w.storm, w.slow
	w.mu.Unlock()
	if slow > 0 {
		time.Sleep(w.srv.between(asked, 0, slow))
	}
	if storm > 0 && asked%storm == 0 {
		http.Error(rw, "try again", []int{500, 502, 503, 504}[asked%4])
		return
	}
	w.service.ServeHTTP(rw, r)
}

// trouble sets what goes wrong for a while.
func (w *apiWorld) trouble(storm int, slow, length time.Duration) {
	set := func(storm int, slow time.Duration) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.storm, w.slow = storm, slow
	}
	w.wait(5 * time.Second)
	set(storm, slow)
	w.wait(length)
	set(0, 0)
}

func (w *apiWorld) restart(down time.Duration) {
	w.wait(5 * time.Second)
	w.network.Stop()
	w.wait(down)
	w.network.Start(w)
}

// direct answers without a network, and without what goes wrong in it.
type direct struct{ service http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.service.ServeHTTP(w, r)
	return w.Result(), nil
}

func newAPIWorld(t *testing.T, seed uint64, service metricsapitest.Service, delay time.Duration, how string) *apiWorld {
	time.Sleep(24 * time.Hour)
	w := &apiWorld{service: &service, network: &metricsapitest.Network{}}
	w.network.Start(w)
	config := metricsapi.Config{Endpoint: "http://metrics.example.com", Timeout: 30 * time.Second, Delay: delay}
	open := func(client *http.Client) source.Source {
		c := config
		c.Client = client
		s, err := metricsapi.New(c)
		if err != nil {
			panic(err)
		}
		return s
	}
	start := func() handlers {
		factory := NewFactory(noStores())
		return managed{datasource.NewInstanceManager(func(ctx context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
			in, err := factory(ctx, s)
			if err == nil {
				in.(*instance).source = open(w.network.Client(10 * time.Second))
			}
			return in, err
		})}
	}
	const tick = 1000
	w.world = &world{t: t, srv: newServer(t, seed, start), tick: tick, rows: 200,
		query:  fmt.Sprintf(`{"metricName":"m","aggregation":%q,"minStep":%d}`, how, tick),
		truth:  func() source.Source { return open(&http.Client{Transport: direct{w.service}}) },
		behind: oldest(service) + delay - service.Skew + 1500*time.Millisecond, // until /latest is asked again, and the way
	}
	w.srv.settings.JSONData = []byte(apiSettings)
	return w
}

const apiSettings = `{"source":"metrics-api","metricsApi":{"endpoint":"http://metrics.example.com"}}`

func (w *apiWorld) finish() {
	w.world.finish()
	w.network.Stop()
	time.Sleep(time.Minute)
}

// Points come up to 4.9 s late, each by its own.
func late(n int64) time.Duration { return time.Duration((n*7919%50+50)%50) * 100 * time.Millisecond }

// oldest returns how old a service's newest point is at most, by its own clock.
func oldest(s metricsapitest.Service) time.Duration {
	if s.Late == nil {
		return s.Period
	}
	most := time.Duration(0)
	for now := time.Duration(0); now < time.Minute; now += 10 * time.Millisecond {
		n := int64((now - s.Offset) / s.Period)
		for time.Duration(n)*s.Period+s.Offset+s.Late(n) > now {
			n--
		}
		most = max(most, now-time.Duration(n)*s.Period-s.Offset)
	}
	return most
}

var apiServices = []struct {
	name    string
	service metricsapitest.Service
	delay   time.Duration
	how     string
}{
	{"a point a second", metricsapitest.Service{Period: time.Second}, 0, "last"},
	{"late points", metricsapitest.Service{Period: 300 * time.Millisecond, Offset: 70 * time.Millisecond, Late: late, Texts: true}, 5 * time.Second, "avg"},
	{"a clock an hour ahead", metricsapitest.Service{Period: 250 * time.Millisecond, Skew: time.Hour}, 0, "count"},
	{"a clock an hour behind", metricsapitest.Service{Period: 2 * time.Second, Skew: -time.Hour}, 0, "sum"},
}

// Whatever the service does, what is on screen is what a fresh query of the same
// window has, and short trouble costs no query.
func TestMetricsAPIScenarios(t *testing.T) {
	t.Parallel()
	for _, sc := range []struct {
		name    string
		queries int
		do      func(*apiWorld)
	}{
		{"first load", 1, func(w *apiWorld) { w.panel(w.tab()) }},
		{"two viewers", 2, func(w *apiWorld) {
			w.panel(w.tab())
			w.wait(20 * time.Second)
			w.panel(w.tab())
		}},
		{"slow answers", 1, func(w *apiWorld) {
			w.panel(w.tab())
			w.trouble(0, 3*time.Second, 30*time.Second)
		}},
		{"a storm of 5xx, one in two", 1, func(w *apiWorld) {
			w.panel(w.tab())
			w.trouble(2, 0, 30*time.Second)
		}},
		{"5xx alone for 8 s", 1, func(w *apiWorld) {
			w.panel(w.tab())
			w.trouble(1, 0, 8*time.Second)
		}},
		{"5xx alone for a minute", 14, func(w *apiWorld) {
			w.panel(w.tab())
			w.trouble(1, 0, time.Minute)
		}},
		{"restarted in 3 s", 1, func(w *apiWorld) {
			w.panel(w.tab())
			w.restart(3 * time.Second)
		}},
		{"away for a minute", 14, func(w *apiWorld) {
			w.panel(w.tab())
			w.restart(time.Minute)
		}},
		{"plugin killed while the service is slow", 2, func(w *apiWorld) {
			w.panel(w.tab())
			w.mu.Lock()
			w.slow = 2 * time.Second
			w.mu.Unlock()
			w.wait(10 * time.Second)
			w.srv.killPlugin(time.Second)
			w.trouble(0, 2*time.Second, 5*time.Second)
		}},
	} {
		for _, of := range apiServices {
			t.Run(sc.name+"/"+of.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newAPIWorld(t, 1, of.service, of.delay, of.how)
					sc.do(w)
					w.finish()
					if n := w.srv.count(0); n > sc.queries {
						t.Errorf("%d queries were needed, more than %d", n, sc.queries)
					}
				})
			})
		}
	}
}

func TestMetricsAPIRandomSchedules(t *testing.T) {
	t.Parallel()
	first, n := uint64(time.Now().UnixNano()), *seeds/4
	if *seed != 0 {
		first, n = *seed, 1
	}
	for i := range n {
		s := first + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(s, 3))
				of := apiServices[rng.IntN(len(apiServices))]
				w := newAPIWorld(t, s, of.service, of.delay, of.how)
				w.panel(w.tab())
				for range 8 {
					w.wait(time.Duration(rng.IntN(6000)) * time.Millisecond)
					tab := w.tabs[rng.IntN(len(w.tabs))]
					some := time.Duration(200+rng.IntN(4000)) * time.Millisecond
					switch rng.IntN(9) {
					case 0:
						w.panel(w.tab())
					case 1:
						w.panels[rng.IntN(len(w.panels))].refresh()
					case 2:
						w.trouble(1+rng.IntN(3), 0, 2*some)
					case 3:
						w.trouble(0, some, 5*some)
					case 4:
						w.trouble(2, some, 5*some)
					case 5:
						w.restart(3 * some)
					case 6:
						w.srv.killPlugin(some)
					case 7:
						w.srv.restart(some, w.tabs...)
					case 8:
						w.cut(tab, 3*some, true)
					}
				}
				w.finish()
			})
		})
	}
}

// apiInstance returns an instance that asks the endpoint.
func apiInstance(t *testing.T, jsonData string, secrets map[string]string, change func(*backend.DataSourceInstanceSettings)) (*instance, backend.PluginContext) {
	t.Helper()
	settings := &backend.DataSourceInstanceSettings{UID: "uid", Name: "API", Type: ID, JSONData: []byte(jsonData), DecryptedSecureJSONData: secrets}
	if change != nil {
		change(settings)
	}
	pc := backend.PluginContext{OrgID: 1, PluginID: ID, User: &backend.User{Login: "viewer"}, DataSourceInstanceSettings: settings}
	in, err := NewFactory(noStores())(backend.WithPluginContext(t.Context(), pc), *settings)
	if err != nil {
		t.Fatal(err)
	}
	return in.(*instance), pc
}

// How the service is asked is for the data source's settings to say.
func TestMetricsAPICredentials(t *testing.T) {
	service := &metricsapitest.Service{Period: time.Second}
	var got http.Header
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		service.ServeHTTP(w, r)
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}))
	basic := func(s *backend.DataSourceInstanceSettings) { s.BasicAuthEnabled, s.BasicAuthUser = true, "me" }
	settings := func(endpoint, api, more string) string {
		return fmt.Sprintf(`{"source":"metrics-api","metricsApi":{"endpoint":%q%s}%s}`, endpoint, api, more)
	}
	for _, tc := range []struct {
		name, jsonData string
		secrets        map[string]string
		change         func(*backend.DataSourceInstanceSettings)
		header, want   string
		err            string
	}{
		{name: "nothing", jsonData: settings(plain.URL, "", ""), header: "Authorization"},
		{name: "bearer", jsonData: settings(plain.URL, "", ""), secrets: map[string]string{"apiKey": " geheim\n"}, header: "Authorization", want: "Bearer geheim"},
		{name: "another header", jsonData: settings(plain.URL, `,"keyHeader":"x-api-key"`, ""), secrets: map[string]string{"apiKey": "geheim"}, header: "X-Api-Key", want: "geheim"},
		{name: "basic auth", jsonData: settings(plain.URL, "", ""), secrets: map[string]string{"basicAuthPassword": "geheim"}, change: basic,
			header: "Authorization", want: "Basic " + base64.StdEncoding.EncodeToString([]byte("me:geheim"))},
		{name: "basic auth beside a key", jsonData: settings(plain.URL, `,"keyHeader":"X-Key"`, ""), secrets: map[string]string{"basicAuthPassword": "geheim", "apiKey": "k"}, change: basic,
			header: "X-Key", want: "k"},
		{name: "a custom header", jsonData: settings(plain.URL, "", `,"httpHeaderName1":"X-Scope-OrgID"`), secrets: map[string]string{"httpHeaderValue1": "acme"},
			header: "X-Scope-OrgID", want: "acme"},
		{name: "a CA certificate", jsonData: settings(secure.URL, "", `,"tlsAuthWithCACert":true,"serverName":"example.com"`), secrets: map[string]string{"tlsCACert": ca}, header: "Authorization"},
		{name: "no CA certificate", jsonData: settings(secure.URL, "", ""), err: "TLS: the certificate of the metrics API is not trusted: x509: "},
		{name: "both in one header", jsonData: settings(plain.URL, "", ""), secrets: map[string]string{"apiKey": "k", "basicAuthPassword": "p"}, change: basic,
			err: "an API key in the header Authorization leaves no room for basic auth: choose one of them, or another header for the key, in the data source settings"},
		{name: "not a header", jsonData: settings(plain.URL, `,"keyHeader":"X Key"`, ""), secrets: map[string]string{"apiKey": "k"},
			err: `the header of the API key, "X Key", is not the name of a header: enter one such as X-API-Key in the data source settings`},
		{name: "no endpoint", jsonData: settings("", "", ""), err: "there is no endpoint: enter the address of the metrics API in the data source settings"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got = nil
			in, pc := apiInstance(t, tc.jsonData, tc.secrets, tc.change)
			health, err := in.CheckHealth(t.Context(), &backend.CheckHealthRequest{PluginContext: pc})
			if err != nil {
				t.Fatal(err)
			}
			if tc.err != "" {
				if health.Status != backend.HealthStatusError || !strings.HasPrefix(health.Message, tc.err) {
					t.Errorf("got %s", health.Message)
				}
				return
			}
			if health.Status != backend.HealthStatusOk || got.Get(tc.header) != tc.want {
				t.Errorf("got %s, and the service got %q", health.Message, got)
			}
		})
	}
}

// Streams are told to start afresh when another server is asked, or another
// tenant of it, and not when a key is renewed. No address is among what they see.
// Another key may be another tenant's: whatever was saved ends running streams.
func TestMetricsAPIRevision(t *testing.T) {
	revision := func(updated time.Time) string {
		in, err := NewFactory(noStores())(t.Context(), backend.DataSourceInstanceSettings{UID: "uid", Updated: updated,
			JSONData: []byte(`{"source":"metrics-api","metricsApi":{"endpoint":"https://a.invalid"}}`)})
		if err != nil {
			t.Fatal(err)
		}
		return in.(*instance).settings.revision()
	}
	first := revision(time.Unix(1, 0))
	if first != revision(time.Unix(1, 0)) || first == revision(time.Unix(2, 0)) || strings.Contains(first, "a.invalid") {
		t.Errorf("the revision is %s", first)
	}
}

func TestMetricsAPINames(t *testing.T) {
	srv := httptest.NewServer(&metricsapitest.Service{Period: time.Second})
	defer srv.Close()
	for jsonData, want := range map[string]string{
		fmt.Sprintf(`{"source":"metrics-api","metricsApi":{"endpoint":%q}}`, srv.URL):         `200 [{"name":"m"}]`,
		fmt.Sprintf(`{"source":"metrics-api","metricsApi":{"endpoint":%q}}`, srv.URL+"/away"): `200 []`,
		`{"source":"metrics-api"}`: `400 {"error":"there is no endpoint: enter the address of the metrics API in the data source settings"}`,
		`{"source":"signal"}`:      `400 {"error":"the source \"signal\" has no list of names"}`,
	} {
		in, pc := apiInstance(t, jsonData, nil, nil)
		var got string
		err := in.CallResource(t.Context(), &backend.CallResourceRequest{PluginContext: pc, Method: http.MethodGet, Path: "names", URL: "names"},
			backend.CallResourceResponseSenderFunc(func(r *backend.CallResourceResponse) error {
				got = fmt.Sprint(r.Status, " ", string(bytes.TrimSpace(r.Body)))
				return nil
			}))
		if got != want || err != nil {
			t.Errorf("%s: got %s, %v", jsonData, got, err)
		}
	}
}

// An alert rule gets the same rows, settled and without nulls.
func TestMetricsAPIAlert(t *testing.T) {
	srv := httptest.NewServer(&metricsapitest.Service{Period: time.Second})
	defer srv.Close()
	in, pc := apiInstance(t, fmt.Sprintf(`{"source":"metrics-api","metricsApi":{"endpoint":%q}}`, srv.URL), nil, nil)
	now := time.Now()
	rsp, err := in.QueryData(t.Context(), &backend.QueryDataRequest{
		PluginContext: pc, Headers: map[string]string{backend.FromAlertHeaderName: "true"},
		Queries: []backend.DataQuery{{RefID: "A", JSON: json.RawMessage(`{"metricName":"m"}`), Interval: time.Second,
			TimeRange: backend.TimeRange{From: now.Add(-time.Minute), To: now}}},
	})
	if err != nil || rsp.Responses["A"].Error != nil {
		t.Fatal(err, rsp.Responses["A"].Error)
	}
	frame := rsp.Responses["A"].Frames[0]
	if n := frame.Rows(); n < 50 || n > 60 || frame.Meta.Channel != "" || frame.Fields[1].Config.Unit != "celsius" {
		t.Errorf("%d rows, %+v", n, frame.Meta)
	}
}

// The guard learns from the status whether asking again is of use, and from the
// frame when.
func TestMetricsAPIFailureClasses(t *testing.T) {
	for answer, want := range map[int]backend.Status{
		401: 401, 403: 403, 404: 404, 429: 429, 503: 503, // as they are
		400: 502, 500: 502, 502: 502,
	} {
		t.Run(fmt.Sprint(answer), func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(answer)
			}))
			defer srv.Close()
			in, pc := apiInstance(t, fmt.Sprintf(`{"source":"metrics-api","timeout":1,"metricsApi":{"endpoint":%q}}`, srv.URL), nil, nil)
			a := askOne(t, in, pc, queryFor("A", `{"metricName":"m"}`, time.Minute, time.Second))
			b, err := json.Marshal(a)
			if err != nil || a.Status != want || a.Error == nil {
				t.Errorf("status %d, error %v, %v", a.Status, a.Error, err)
			}
			if says := strings.Contains(string(b), `"custom":{"retryAfter":7}`); says != (want == 429 || want == 503) {
				t.Errorf("the answer is %s", b)
			}
		})
	}
}
