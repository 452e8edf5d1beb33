package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
	"github.com/continuum-live/continuum-datasource/pkg/plugin"
)

func TestMain(m *testing.M) {
	os.Exit(programs.Main(m, programs.Plugin, programs.MetricsAPI, programs.Prometheus))
}

// start starts the plugin.
func start(t testing.TB) *grafana.Plugin {
	t.Helper()
	p, err := grafana.Start(programs.Plugin.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

var pluginContext = backend.PluginContext{
	OrgID:    1,
	PluginID: plugin.ID,
	User:     &backend.User{Login: "viewer"},
	DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{
		ID: 1, UID: "uid", Name: "Continuum", Type: plugin.ID, Updated: time.Unix(1, 0), JSONData: []byte(`{"source":"signal"}`),
	},
}

// ask queries the range of the given length that ends now.
func ask(t testing.TB, p *grafana.Plugin, length time.Duration, query string) *data.Frame {
	t.Helper()
	now := time.Now()
	rsp, err := p.QueryData(t.Context(), &backend.QueryDataRequest{
		PluginContext: pluginContext,
		Queries: []backend.DataQuery{{
			RefID: "A", Interval: 10 * time.Millisecond, MaxDataPoints: 1000, JSON: []byte(query),
			TimeRange: backend.TimeRange{From: now.Add(-length), To: now},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := rsp.Responses["A"].Error; err != nil {
		t.Fatal(err)
	}
	return rsp.Responses["A"].Frames[0]
}

// subscription returns what Grafana's front end would subscribe to after the
// answer: the path and its data.
func subscription(t testing.TB, frame *data.Frame) (path string, raw json.RawMessage) {
	t.Helper()
	path, ok := strings.CutPrefix(frame.Meta.Channel, "ds/uid/")
	if !ok {
		t.Fatalf("the channel is %q", frame.Meta.Channel)
	}
	custom, err := json.Marshal(frame.Meta.Custom)
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ Data json.RawMessage }
	if err := json.Unmarshal(custom, &s); err != nil {
		t.Fatal(err)
	}
	return path, s.Data
}

func TestHealth(t *testing.T) {
	health, err := start(t).CheckHealth(t.Context(), &backend.CheckHealthRequest{PluginContext: pluginContext})
	if err != nil || health.Status != backend.HealthStatusOk {
		t.Fatalf("health is %+v, %v", health, err)
	}
}

// The built binary is killed with SIGKILL in mid-stream and started again, as
// Grafana does it: RunStream is called again without SubscribeStream. What was
// sent before, during and after, put onto the history, is a fresh query's rows.
func TestKilledInMidStream(t *testing.T) {
	const query = `{"shape":"noise","tickInterval":20,"live":true}`
	p := start(t)
	var screen grafana.Screen
	frame := ask(t, p, 10*time.Second, query)
	if err := screen.History(frame); err != nil {
		t.Fatal(err)
	}
	first := screen.Times()[0]
	path, raw := subscription(t, frame)

	status, initial, err := p.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{PluginContext: pluginContext, Path: path, Data: raw})
	if err != nil || status != backend.SubscribeStreamStatusOK {
		t.Fatalf("SubscribeStream: status %d, %v", status, err)
	}
	if err := screen.Packet(initial); err != nil {
		t.Fatal(err)
	}
	const kills = 3
	for kill := range kills + 1 {
		// The overlap is sent a last time one second after the start.
		until := time.Now().Add(1200 * time.Millisecond).UnixMilli()
		ctx, cancel := context.WithCancel(t.Context())
		err := p.RunStream(ctx, &backend.RunStreamRequest{PluginContext: pluginContext, Path: path, Data: raw}, func(packet []byte) {
			if err := screen.Packet(packet); err != nil {
				t.Error(err)
			}
			times := screen.Times()
			if times[len(times)-1] < until {
				return
			}
			if kill == kills {
				cancel()
			} else if err := p.Kill(); err != nil {
				t.Error(err)
			}
		})
		cancel()
		if err == nil {
			t.Fatal("the stream ended without an error, which freezes its viewers")
		}
		if kill < kills {
			p = start(t)
		}
	}
	times := screen.Times()
	last := times[len(times)-1]
	fresh := ask(t, p, 10*time.Second+time.Duration(last-first)*time.Millisecond, query)
	if err := screen.Compare(fresh, first-1, last); err != nil {
		t.Error(err)
	}
	if live := last - screen.Live; live < 3000 {
		t.Errorf("only %d ms of live rows were seen", live)
	}
	metrics, err := p.Metrics(t.Context())
	if err != nil || !strings.Contains(string(metrics), "continuum_rows_sent_total") {
		t.Errorf("metrics: %v, %s", err, metrics)
	}
}
