package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
)

// pluginID is the plugin's id, as in plugin.json.
const pluginID = "continuum-live-datasource"

// process keeps the plugin running as Grafana does: it starts it again when it has
// ended.
type process struct {
	binary string
	log    *tail

	mu       sync.Mutex
	plugin   *grafana.Plugin
	expected bool // a signal was sent
	settings []byte
	updated  time.Time
	ended    []error // errors of the type alive
	stopping bool

	done chan struct{}
}

func startProcess(binary string, settings []byte, log io.Writer) *process {
	p := &process{binary: binary, settings: settings, updated: time.Now(), log: &tail{to: log}, done: make(chan struct{})}
	p.start()
	go p.watch()
	return p
}

// start starts the plugin. The caller must hold p.mu, unless no other goroutine
// knows p yet.
func (p *process) start() {
	if p.plugin != nil {
		p.plugin.Stop() // closes the connections to the old process
	}
	p.expected = false
	p.log.begin()
	var err error
	if p.plugin, err = grafana.StartLogging(p.binary, p.log); err != nil {
		p.plugin = nil
		p.fail(fmt.Sprintf("does not start: %v", err))
	}
}

func (p *process) fail(why string) {
	p.ended = append(p.ended, alive{at: time.Now(), why: why, output: p.log.last()})
}

// watch starts the plugin again whenever it has ended.
func (p *process) watch() {
	defer close(p.done)
	for {
		time.Sleep(50 * time.Millisecond)
		p.mu.Lock()
		switch {
		case p.stopping:
			p.mu.Unlock()
			return
		case p.plugin == nil:
			p.start()
		case p.plugin.Exited():
			if !p.expected {
				p.fail("ended by itself")
			}
			p.start()
		}
		p.mu.Unlock()
	}
}

// signal sends the plugin a signal, after which its end is expected.
func (p *process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.plugin == nil {
		return errors.New("the plugin is not running")
	}
	found, err := os.FindProcess(p.plugin.PID())
	if err != nil {
		return err
	}
	if p.plugin.Exited() { // without a signal: watch reports it
		return nil
	}
	p.expected = true
	return found.Signal(s)
}

// stop ends the plugin as Grafana does, and does not start it again.
func (p *process) stop() {
	p.mu.Lock()
	p.stopping = true
	p.expected = true
	plugin := p.plugin
	p.mu.Unlock()
	<-p.done
	if plugin != nil {
		plugin.Stop()
	}
}

// failures returns an error for each time that the plugin ended by itself or did not
// start.
func (p *process) failures() []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ended)
}

// configure changes the settings of the data source. The plugin gets them with the
// next request.
func (p *process) configure(settings []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings, p.updated = settings, time.Now()
}

var errNotRunning = errors.New("the plugin is not running")

func (p *process) current() (*grafana.Plugin, backend.PluginContext, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pc := backend.PluginContext{
		OrgID: 1, PluginID: pluginID, User: &backend.User{Login: "torture", Role: "Editor"},
		DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{
			ID: 1, UID: "torture", Name: "Continuum", Type: pluginID, Updated: p.updated, JSONData: p.settings,
		},
	}
	if p.plugin == nil {
		return nil, pc, errNotRunning
	}
	return p.plugin, pc, nil
}

// post sends a body to a resource of the data source.
func (p *process) post(ctx context.Context, path string, body []byte, header http.Header) (status int, answer string, err error) {
	return p.resource(ctx, http.MethodPost, path, body, header)
}

func (p *process) resource(ctx context.Context, method, path string, body []byte, header http.Header) (status int, answer string, err error) {
	plugin, pc, err := p.current()
	if err != nil {
		return 0, "", err
	}
	req := httptest.NewRequestWithContext(ctx, method, "/"+path, bytes.NewReader(body))
	req.Header = header
	path, _, _ = strings.Cut(path, "?")
	rec := httptest.NewRecorder()
	if err := plugin.Resource(pc, path, rec, req); err != nil {
		return 0, "", err
	}
	return rec.Code, rec.Body.String(), nil
}

// query returns the rows of an expression at from, from+step and so on.
func (p *process) query(ctx context.Context, expr string, from, to time.Time, step time.Duration) (*data.Frame, error) {
	plugin, pc, err := p.current()
	if err != nil {
		return nil, err
	}
	q, err := json.Marshal(map[string]string{"expr": expr})
	if err != nil {
		return nil, err
	}
	rsp, err := plugin.QueryData(ctx, &backend.QueryDataRequest{PluginContext: pc, Queries: []backend.DataQuery{{
		RefID: "A", Interval: step, MaxDataPoints: to.Sub(from).Milliseconds()/step.Milliseconds() + 2, JSON: q,
		TimeRange: backend.TimeRange{From: from, To: to},
	}}})
	if err != nil {
		return nil, err
	}
	a := rsp.Responses["A"]
	if a.Error != nil {
		return nil, a.Error
	}
	if len(a.Frames) != 1 {
		return nil, fmt.Errorf("the answer has %d frames", len(a.Frames))
	}
	return a.Frames[0], nil
}

// metrics returns the plugin's own metrics.
func (p *process) metrics(ctx context.Context) ([]byte, error) {
	plugin, _, err := p.current()
	if err != nil {
		return nil, err
	}
	return plugin.Metrics(ctx)
}

// tail passes on what is written, and keeps the last part of it.
type tail struct {
	to io.Writer

	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const most = 64 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	if n := len(t.end); n > most {
		t.end = append(t.end[:0], t.end[n-most:]...)
	}
	return t.to.Write(b)
}

// begin drops what was written before.
func (t *tail) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = t.end[:0]
}

// last returns the last lines. If there is a panic, it returns the text from there
// on.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(t.end)
	for _, begin := range []string{"panic: ", "fatal error: "} {
		if i := strings.LastIndex(text, begin); i >= 0 {
			text = text[i:]
			return text[:min(len(text), 1500)]
		}
	}
	return text[max(0, len(text)-1000):]
}
