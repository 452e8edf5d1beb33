package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/internal/prometheus"
)

// resources plays Grafana's address of the data source's resources. The role is
// that of the service account whose token is sent.
func resources(t *testing.T, p *grafana.Plugin, pc backend.PluginContext) (url string, failed func() []string) {
	var mu sync.Mutex
	var all []string
	const below = "/api/datasources/uid/uid/resources/"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pc := pc
		pc.User = &backend.User{Login: "sa", Role: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
		r.Header.Del("Authorization") // Grafana keeps it
		rec := httptest.NewRecorder()
		if err := p.Resource(pc, strings.TrimPrefix(r.URL.Path, below), rec, r); err != nil {
			rec.WriteHeader(http.StatusInternalServerError)
			_, _ = rec.WriteString(err.Error())
		}
		if rec.Code >= 300 {
			mu.Lock()
			all = append(all, fmt.Sprintf("%d %s", rec.Code, rec.Body))
			mu.Unlock()
		}
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(rec.Code)
		_, _ = io.Copy(w, rec.Body)
	}))
	t.Cleanup(s.Close)
	return s.URL + below, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// postAs posts to a resource path as somebody of the role, with names and values of
// headers. It returns the status and the body of the answer.
func postAs(t *testing.T, url, role, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+role)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.StatusCode, string(b)
}

// A real Prometheus and what Telegraf sends write into the built binary by way of
// the resource path, and a query has it.
func TestPush(t *testing.T) {
	t.Setenv("GF_PLUGIN_RECORDER_DIR", t.TempDir())
	pc := pluginContext
	settings := *pc.DataSourceInstanceSettings
	settings.JSONData = []byte(`{"source":"recorder","recorder":{"noHost":true,"inputs":[{"type":"push","name":"pushed","maxBytes":100000}]}}`)
	pc.DataSourceInstanceSettings = &settings
	pluginContext, pc = pc, pluginContext
	t.Cleanup(func() { pluginContext = pc })
	p := start(t)
	url, failed := resources(t, p, pluginContext)
	post := func(path, role, body string, header ...string) (int, string) {
		t.Helper()
		return postAs(t, url+path, role, body, header...)
	}
	line := func(v int) string {
		return fmt.Sprintf("cpu,host=a usage_idle=%d.5 %d\n", v, time.Now().UnixNano())
	}
	telegraf := []string{"Content-Type", "text/plain; charset=utf-8", "Content-Encoding", "gzip", "User-Agent", "Telegraf/1.37.0"}

	if code, text := post("push/influx", "Viewer", line(1)); code != http.StatusForbidden || !strings.Contains(text, "Editor") {
		t.Errorf("a viewer: %d %s", code, text)
	}
	inputtest.Eventually(t, func() error {
		code, text := post("push/influx", "Editor", zipped(line(1)), telegraf...)
		switch code {
		case http.StatusNoContent:
			return nil
		case http.StatusServiceUnavailable: // until the store is open
			return fmt.Errorf("%d %s", code, text)
		}
		t.Fatalf("%d %s", code, text)
		return nil
	})
	if code, text := post("push/influx?precision=s", "Admin", "nonsense\n"+fmt.Sprintf("cpu,host=b usage_idle=2 %d", time.Now().Unix())); code != http.StatusBadRequest || !strings.Contains(text, "partial write: 1 samples are stored: line 1: ") {
		t.Errorf("%d %s", code, text)
	}
	if code, _ := post("push/influx", "Editor", zipped(strings.Repeat(line(3), 3000)), telegraf...); code != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d", code)
	}
	if code, _ := post("push/prometheus", "Editor", "", "Content-Encoding", "zstd"); code != http.StatusUnsupportedMediaType {
		t.Errorf("zstd: %d", code)
	}

	before := len(failed())
	var config strings.Builder
	fmt.Fprintf(&config, "scrape_configs:\n- {job_name: itself, scrape_interval: 200ms, scrape_timeout: 200ms, static_configs: [{targets: [%q]}]}\nremote_write:\n", strings.TrimPrefix(httptestTarget(t), "http://"))
	for version, message := range map[string]string{"one": "prometheus.WriteRequest", "two": "io.prometheus.write.v2.Request"} {
		fmt.Fprintf(&config, "- url: %spush/prometheus\n  protobuf_message: %s\n  authorization: {credentials: Editor}\n  queue_config: {batch_send_deadline: 100ms}\n"+
			"  write_relabel_configs: [{target_label: version, replacement: %s}]\n", url, message, version)
	}
	prometheus.Start(t, prometheus.Options{Config: config.String()})
	for _, version := range []string{"one", "two"} {
		inputtest.Eventually(t, func() error {
			if n := number(t, p, fmt.Sprintf(`pushed_total{version='%s'}`, version)); n < 10 {
				return fmt.Errorf("version %s: the newest value is %v; %v", version, n, failed())
			}
			return nil
		})
	}
	if all := failed()[before:]; len(all) > 0 {
		t.Errorf("Prometheus was answered %v", all)
	}
	frame := ask(t, p, time.Minute, `{"expr":"cpu_usage_idle"}`)
	if len(frame.Fields) != 3 {
		t.Errorf("%d fields", len(frame.Fields))
	}
	rec := httptest.NewRecorder()
	if err := p.Resource(withRole("Editor"), "status", rec, httptest.NewRequest(http.MethodGet, "/", nil)); err != nil {
		t.Fatal(err)
	}
	var status struct{ Inputs []struct{ Name string } }
	if err := json.Unmarshal(rec.Body.Bytes(), &status); err != nil || len(status.Inputs) != 1 || status.Inputs[0].Name != "pushed" {
		t.Errorf("%s", rec.Body)
	}
}

func withRole(role string) backend.PluginContext {
	pc := pluginContext
	pc.User = &backend.User{Login: "sa", Role: role}
	return pc
}

// httptestTarget is scraped, and counts that.
func httptestTarget(t *testing.T) string {
	var mu sync.Mutex
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		n++
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintf(w, "pushed_total %d\n", n)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
