package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

const (
	// watched is how long viewers watch.
	watched = 10 * time.Second
	// panel is the length of the range that viewers see, at one row a second.
	panel = 15 * time.Minute
	// fields is the number of series of the panel.
	fields = 8
)

// watch is what it took to update viewers for the time watched.
type watch struct {
	bytes uint64
	cpu   float64 // seconds
	lags  []time.Duration
}

// viewers measures what it takes to update a panel every second, with plain queries
// and with the stream.
func viewers(ctx context.Context, dir string) (table, error) {
	t := table{
		Title: "Viewers kept fresh every second",
		Text: fmt.Sprintf("A panel of %d series over the last %d minutes, one row a second. *Polled*: each viewer asks for the whole panel every second. "+
			"*Streamed*: all viewers share the panel's stream, as Grafana does it; the query with which each of them begins is left out, because it is the same in both. "+
			"Bytes are those between Grafana and the plugin. CPU is what the plugin takes beyond its CPU time without viewers (at least 20 ms in all, because less cannot be measured). "+
			"Lag is how long after its time a row reaches the viewer.", fields, int(panel.Minutes())),
		Columns: []string{"viewers", "", "KB per viewer-minute", "CPU ms per viewer-minute", "lag p50", "lag p99", "CPU ratio"},
	}
	p, err := start(programs.Plugin, dir, `{"source":"recorder","recorder":{"noHost":true,"inputs":[{"type":"push","name":"pushed"}]}}`)
	if err != nil {
		return t, err
	}
	defer p.Stop()
	// Push the panel's past, then a row every second.
	now := time.Now().Truncate(time.Second)
	for at := now.Add(-panel - time.Minute); at.Before(now); at = at.Add(time.Minute) {
		if err := p.push(ctx, "influx", lines(at, time.Second, 60)); err != nil {
			return t, err
		}
	}
	feeding, stop := context.WithCancel(ctx)
	var fed error
	var feed sync.WaitGroup
	feed.Go(func() {
		for at := now; feeding.Err() == nil; at = at.Add(time.Second) {
			if sleep(feeding, time.Until(at)) == nil {
				fed = errors.Join(fed, p.push(ctx, "influx", lines(at, time.Second, 1)))
			}
		}
	})
	defer feed.Wait()
	defer stop()
	idle, err := p.watch(ctx, func(context.Context, *watch, *sync.Mutex) error { return nil })
	if err != nil {
		return t, err
	}
	for _, n := range []int{1, 10, 100} {
		polled, err := p.watch(ctx, p.poll(n))
		if err != nil {
			return t, err
		}
		follow, err := p.follow(ctx)
		if err != nil {
			return t, err
		}
		streamed, err := p.watch(ctx, follow)
		if err != nil {
			return t, err
		}
		perViewer := 1 / watched.Minutes() / float64(n)
		// The CPU time that viewers add, but at least 20 ms: the CPU time of a
		// process is counted in steps of 10 ms, so less cannot be measured.
		cpu := func(w watch) float64 { return max(w.cpu-idle.cpu, 0.02) * 1000 * perViewer }
		for _, r := range []struct {
			name string
			watch
		}{{"polled", polled}, {"streamed", streamed}} {
			t.add(strconv.Itoa(n), r.name, fmt.Sprintf("%.1f", float64(r.bytes)/1000*perViewer), fmt.Sprintf("%.1f", cpu(r.watch)),
				milliseconds(median(r.lags)), milliseconds(percentile(r.lags, 99)), "")
		}
		if polled.cpu-idle.cpu <= 0.02 {
			continue // too little to compare
		}
		last := t.Rows[len(t.Rows)-1]
		last[len(last)-1] = ratio(cpu(streamed) / cpu(polled))
		t.Bars = append(t.Bars, bar{fmt.Sprintf("viewers, %d: CPU streamed beside polled", n), cpu(streamed) / cpu(polled)})
	}
	return t, fed
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// watch measures the plugin while run runs, and ends run's context after watched.
func (p *plugin) watch(ctx context.Context, run func(context.Context, *watch, *sync.Mutex) error) (w watch, err error) {
	bytes := p.Received()
	cpu, err := p.cpu()
	if err != nil {
		return w, err
	}
	// Not a deadline: gRPC would pass it on to the plugin, which could then end a
	// stream a moment earlier.
	timed, stop := context.WithCancel(ctx)
	defer stop()
	time.AfterFunc(watched, stop)
	var mu sync.Mutex
	err = run(timed, &w, &mu)
	<-timed.Done()
	if err = errors.Join(err, ctx.Err()); err != nil {
		return w, err
	}
	after, err := p.cpu()
	w.cpu, w.bytes = after-cpu, p.Received()-bytes
	return w, err
}

// poll returns a function in which n viewers query the whole panel every second,
// evenly spread over the second.
func (p *plugin) poll(n int) func(context.Context, *watch, *sync.Mutex) error {
	return func(ctx context.Context, w *watch, mu *sync.Mutex) error {
		var wait sync.WaitGroup
		var failed error
		for i := range n {
			wait.Go(func() {
				newest := time.Now().UnixMilli()
				for next := time.Now().Add(time.Second * time.Duration(i) / time.Duration(n)); sleep(ctx, time.Until(next)) == nil; next = next.Add(time.Second) {
					rsp, err := p.query(ctx, `{"expr":"live"}`, time.Second, panel, time.Now())
					if ctx.Err() != nil {
						return
					}
					mu.Lock()
					failed = errors.Join(failed, err)
					if err == nil {
						times := rsp.Frames[0].Fields[0]
						for r := range times.Len() {
							if at := times.At(r).(time.Time).UnixMilli(); at > newest {
								newest = at
								w.lags = append(w.lags, time.Since(time.UnixMilli(at)))
							}
						}
					}
					mu.Unlock()
				}
			})
		}
		wait.Wait()
		return failed
	}
}

// follow queries the panel and returns a function that follows its stream. There is
// one stream for any number of viewers.
func (p *plugin) follow(ctx context.Context) (func(context.Context, *watch, *sync.Mutex) error, error) {
	rsp, err := p.query(ctx, `{"expr":"live","live":true}`, time.Second, panel, time.Now())
	if err != nil {
		return nil, err
	}
	path, raw, err := subscription(rsp.Frames[0])
	return func(ctx context.Context, w *watch, _ *sync.Mutex) error {
		newest := time.Now().UnixMilli()
		err := p.RunStream(ctx, &backend.RunStreamRequest{PluginContext: p.context, Path: path, Data: raw}, func(packet []byte) {
			if at := newestTime(packet); at > newest {
				newest = at
				w.lags = append(w.lags, time.Since(time.UnixMilli(at)))
			}
		})
		if ctx.Err() == nil {
			return fmt.Errorf("the stream ended: %w", err)
		}
		return nil
	}, err
}

// subscription returns the path and the data with which Grafana's front end
// subscribes after an answer.
func subscription(frame *data.Frame) (path string, raw json.RawMessage, err error) {
	path, ok := strings.CutPrefix(frame.Meta.Channel, "ds/"+uid+"/")
	if !ok {
		return "", nil, fmt.Errorf("the answer has no stream: %v", frame.Meta.Notices)
	}
	custom, err := json.Marshal(frame.Meta.Custom)
	if err != nil {
		return "", nil, err
	}
	var s struct{ Data json.RawMessage }
	err = json.Unmarshal(custom, &s)
	return path, s.Data, err
}

// newestTime returns the last time of a packet (Unix ms), 0 if there is none.
func newestTime(packet []byte) int64 {
	_, values, _ := bytes.Cut(packet, []byte(`"values":[[`))
	times, _, _ := bytes.Cut(values, []byte("]"))
	t, err := strconv.ParseInt(string(times[bytes.LastIndexByte(times, ',')+1:]), 10, 64)
	if err != nil {
		return 0
	}
	return t
}

// lines returns n rows of the metric live in line protocol.
func lines(from time.Time, step time.Duration, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		at := from.Add(time.Duration(i) * step)
		for f := range fields {
			fmt.Fprintf(&b, "live,n=%d value=%d %d\n", f, at.Unix()%100+int64(f), at.UnixNano())
		}
	}
	return b.Bytes()
}

// push sends a body to the data source. It tries again while the store is not open
// yet.
func (p *plugin) push(ctx context.Context, format string, body []byte, header ...string) error {
	for began := time.Now(); ; {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		if err := p.Resource(p.context, "push/"+format, w, r); err != nil {
			return err
		}
		if w.Code == http.StatusNoContent {
			return nil
		}
		if w.Code != http.StatusServiceUnavailable || time.Since(began) > time.Minute {
			return fmt.Errorf("push: %d %s", w.Code, w.Body)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
