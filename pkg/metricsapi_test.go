package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

// exampleKey is looked for in everything that the plugin gives away.
const exampleKey = "example-geheim-4711"

// example is the example service as a process.
type example struct {
	binary, address string
	process         *exec.Cmd
}

func startExample(t *testing.T) *example {
	t.Helper()
	e := &example{binary: programs.MetricsAPI.Path(t), address: "127.0.0.1:0"}
	e.start(t)
	t.Cleanup(func() { e.kill() })
	return e
}

// start starts the service where it was before.
func (e *example) start(t *testing.T) {
	e.process = exec.Command(e.binary, "-listen", e.address)
	e.process.Env = append(os.Environ(), "METRICS_API_KEY="+exampleKey)
	e.process.Stderr = os.Stderr
	out, err := e.process.StdoutPipe()
	if err != nil {
		t.Error(err)
		return
	}
	if err := e.process.Start(); err != nil {
		t.Error(err)
		return
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Errorf("the example service says nothing: %v", err)
		return
	}
	e.address = strings.TrimPrefix(strings.TrimSpace(line), "http://")
}

// kill is kill -9.
func (e *example) kill() {
	_ = e.process.Process.Kill()
	_ = e.process.Wait()
}

// trouble stands between plugin and service.
type trouble struct {
	slow    atomic.Int64 // ms that every answer takes longer
	failing atomic.Bool
	asked   atomic.Int64
	latest  atomic.Int64
}

func (x *trouble) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.asked.Add(1)
		if r.URL.Path == "/latest" {
			x.latest.Add(1)
		}
		time.Sleep(time.Duration(x.slow.Load()) * time.Millisecond)
		if x.failing.Load() {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader([]int{500, 502, 503}[x.asked.Load()%3])
			_, _ = fmt.Fprintf(w, `{"error":"cannot take %s from %s"}`, r.Header.Get("Authorization"), r.URL)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// logged collects what the plugin writes.
type logged struct {
	mu    sync.Mutex
	b     bytes.Buffer
	wrote chan struct{} // closed at the next Write
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wrote != nil {
		close(l.wrote)
		l.wrote = nil
	}
	return l.b.Write(p)
}

// changed returns what is closed when there is more.
func (l *logged) changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wrote == nil {
		l.wrote = make(chan struct{})
	}
	return l.wrote
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// The built binary asks the example service, which is slow for a while, fails,
// and is killed and started again; then the plugin is killed too. What was sent,
// put onto the history, is a fresh query's rows. And the key, which the failures
// repeat, is in no log, error, frame or packet.
func TestAsksTheExampleService(t *testing.T) {
	service := startExample(t)
	target := &url.URL{Scheme: "http", Host: service.address}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	var x trouble
	front := httptest.NewServer(x.before(proxy))
	defer front.Close()

	pc := pluginContext
	settings := *pc.DataSourceInstanceSettings
	settings.JSONData = fmt.Appendf(nil, `{"source":"metrics-api","metricsApi":{"endpoint":%q}}`, front.URL)
	settings.DecryptedSecureJSONData = map[string]string{"apiKey": exampleKey}
	pc.DataSourceInstanceSettings = &settings
	pluginContext, pc = pc, pluginContext
	t.Cleanup(func() { pluginContext = pc })

	var log logged
	var seen []string // all else that came
	begin := func() *grafana.Plugin {
		p, err := grafana.StartLogging(programs.Plugin.Path(t), &log)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Stop)
		return p
	}
	health := func(p *grafana.Plugin) *backend.CheckHealthResult {
		h, err := p.CheckHealth(t.Context(), &backend.CheckHealthRequest{PluginContext: pluginContext})
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, h.Message)
		return h
	}

	p := begin()
	if h := health(p); h.Status != backend.HealthStatusOk || !strings.HasPrefix(h.Message, "The metrics API answers, and names 3 metrics.") {
		t.Fatalf("health: %s", h.Message)
	}
	const query = `{"metricName":"temperature_hall","queryText":"x","live":true}`
	var screen grafana.Screen
	frame := ask(t, p, time.Minute, query)
	if err := screen.History(frame); err != nil {
		t.Fatal(err)
	}
	if f := frame.Fields[1]; f.Config.Unit != "celsius" || f.Labels["room"] != "hall" {
		t.Errorf("the field is %+v of %s", f.Config, f.Labels)
	}
	path, raw := subscription(t, frame)
	first := screen.Times()[0]

	// What goes wrong, each for some seconds of a stream.
	var restarted sync.WaitGroup
	asked, began := x.latest.Load(), time.Now()
	for _, wrong := range []struct {
		name   string
		length time.Duration
		begin  func()
		end    func()
		kill   bool
	}{
		{"nothing", 4 * time.Second, func() {}, func() {
			took := time.Since(began)
			if n := x.latest.Load() - asked; n > 3+int64(took.Seconds()) {
				t.Errorf("/latest was asked %d times in %v", n, took)
			}
		}, false},
		{"slow", 4 * time.Second, func() { x.slow.Store(1200) }, func() { x.slow.Store(0) }, false},
		{"failing", 4 * time.Second, func() {
			x.failing.Store(true)
			time.AfterFunc(2*time.Second, func() { x.failing.Store(false) })
		}, func() {}, false},
		{"killed", 5 * time.Second, func() {
			service.kill()
			asked := x.asked.Load()
			restarted.Go(func() {
				inputtest.Eventually(t, func() error {
					if x.asked.Load() < asked+3 {
						return errors.New("the service that is away was not asked three times")
					}
					return nil
				})
				service.start(t)
			})
		}, restarted.Wait, false},
		{"plugin killed", 2 * time.Second, func() {}, func() {}, true},
		{"nothing again", 4 * time.Second, func() {}, func() {}, false},
	} {
		t.Log(wrong.name)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		until := time.Now().Add(wrong.length).UnixMilli()
		wrong.begin()
		_ = p.RunStream(ctx, &backend.RunStreamRequest{PluginContext: pluginContext, Path: path, Data: raw}, func(packet []byte) {
			seen = append(seen, string(packet))
			if err := screen.Packet(packet); err != nil {
				t.Error(err)
			}
			if times := screen.Times(); times[len(times)-1] >= until {
				cancel()
			}
		})
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("no row of %v later came", wrong.length)
		}
		cancel()
		wrong.end()
		if wrong.kill {
			if err := p.Kill(); err != nil {
				t.Error(err)
			}
			p = begin()
		}
	}

	times := screen.Times()
	last := times[len(times)-1]
	if live := last - screen.Live; live < 15_000 {
		t.Errorf("only %d ms of live rows were seen", live)
	}
	fresh := ask(t, p, time.Since(time.UnixMilli(first)), query)
	if err := screen.Compare(fresh, first-1, last); err != nil {
		t.Error(err)
	}

	// Failures, for the sake of what they say.
	x.failing.Store(true)
	var failed backend.DataResponse
	inputtest.Eventually(t, func() error { // once what /latest said is too old
		now := time.Now()
		rsp, err := p.QueryData(t.Context(), &backend.QueryDataRequest{PluginContext: pluginContext, Queries: []backend.DataQuery{{
			RefID: "A", Interval: time.Second, JSON: []byte(query), TimeRange: backend.TimeRange{From: now.Add(-time.Minute), To: now}}}})
		if err != nil {
			t.Fatal(err)
		}
		if failed = rsp.Responses["A"]; failed.Error == nil || !strings.Contains(failed.Error.Error(), "/latest") {
			return fmt.Errorf("the answer is still %v", failed.Error)
		}
		return nil
	})
	if failed.Error == nil || !strings.Contains(failed.Error.Error(), "cannot take [secret] from /latest") ||
		failed.ErrorSource != backend.ErrorSourceDownstream || failed.Status != http.StatusBadGateway && failed.Status != http.StatusServiceUnavailable {
		t.Errorf("the answer is %+v", failed)
	}
	seen = append(seen, fmt.Sprint(failed.Error))
	if h := health(p); h.Status != backend.HealthStatusError {
		t.Errorf("health: %s", h.Message)
	}
	for _, f := range []any{frame, fresh} {
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, string(b))
	}
	metrics, err := p.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen = append(seen, string(metrics), string(raw), log.String())
	for _, s := range seen {
		if i := strings.Index(s, "geheim"); i >= 0 {
			t.Errorf("the key is in %s", s[max(0, i-200):i+20])
		}
	}
	if !strings.Contains(log.String(), "[secret]") {
		t.Errorf("the log says nothing of the failures: %s", log.String())
	}
}
