package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
)

// useRecorder makes the data source of this test a recorder of its own.
func useRecorder(t *testing.T) {
	t.Setenv("GF_PLUGIN_RECORDER_DIR", t.TempDir())
	pc := pluginContext
	settings := *pc.DataSourceInstanceSettings
	settings.JSONData = []byte(`{}`) // the default
	pc.DataSourceInstanceSettings = &settings
	pluginContext, pc = pc, pluginContext
	t.Cleanup(func() { pluginContext = pc })
}

// Started again, the plugin records before anybody asks.
func TestRecordsBeforeAnybodyAsks(t *testing.T) {
	useRecorder(t)
	p := start(t)
	ask(t, p, 10*time.Second, `{"expr":"vector(1)"}`) // the data source begins with its first request
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	p = start(t)
	// Without a question the files alone tell of a sample.
	before := written(t)
	for range 4 {
		inputtest.Eventually(t, func() error {
			if now := written(t); now <= before {
				return fmt.Errorf("%d bytes are written, as before", now)
			}
			return nil
		})
		before = written(t)
	}
	asked := time.Now()
	inputtest.Eventually(t, func() error { // until this is settled
		frame := query(t, p, "count_over_time(node_load1[1s])", 1000, killed.UnixMilli()+1000, asked.UnixMilli())
		if len(frame.Fields) < 2 {
			return errors.New("there are no samples of before the first request")
		}
		return nil
	})
}

// written returns how many bytes the write-ahead logs of the recorder have.
func written(t *testing.T) (n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(os.Getenv("GF_PLUGIN_RECORDER_DIR"), "*", "*", "wal", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}

// The built binary records this machine with nothing configured but the source.
// Killed in mid-stream and started again it goes on by itself, and shows on
// screen what a fresh query has.
func TestRecordsThisMachine(t *testing.T) {
	useRecorder(t)

	const query = `{"expr":"sum by (mode) (node_cpu_seconds_total)","live":true}`
	p := start(t)
	ask(t, p, 10*time.Second, query) // the data source begins with its first request
	inputtest.Eventually(t, func() error {
		if n := number(t, p, `min(count_over_time(node_cpu_seconds_total[5s]))`); n < 2 {
			return fmt.Errorf("%v samples of a series are recorded", n)
		}
		return nil
	})

	var screen grafana.Screen
	frame := ask(t, p, 10*time.Second, query)
	if err := screen.History(frame); err != nil {
		t.Fatal(err)
	}
	if len(frame.Fields) != 9 || frame.Fields[1].Config.DisplayNameFromDS != frame.Fields[1].Labels["mode"] || frame.Fields[1].Config.Unit != "s" {
		t.Fatalf("the answer has %d fields", len(frame.Fields))
	}
	path, raw := subscription(t, frame)
	first := screen.Times()[0]
	if status, _, err := p.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{PluginContext: pluginContext, Path: path, Data: raw}); err != nil || status != backend.SubscribeStreamStatusOK {
		t.Fatalf("SubscribeStream: status %d, %v", status, err)
	}
	var ages []time.Duration
	for _, kill := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		until := time.Now().Add(6 * time.Second).UnixMilli()
		_ = p.RunStream(ctx, &backend.RunStreamRequest{PluginContext: pluginContext, Path: path, Data: raw}, func(packet []byte) {
			var one struct {
				Data struct{ Values []json.RawMessage }
			}
			var times []int64
			if json.Unmarshal(packet, &one) == nil && json.Unmarshal(one.Data.Values[0], &times) == nil && len(times) == 1 {
				ages = append(ages, time.Since(time.UnixMilli(times[0])))
			}
			if err := screen.Packet(packet); err != nil {
				t.Error(err)
			}
			if newest := screen.Times(); newest[len(newest)-1] >= until {
				if kill {
					if err := p.Kill(); err != nil {
						t.Error(err)
					}
				}
				cancel()
			}
		})
		cancel()
		if kill {
			p = start(t)
		}
	}
	times := screen.Times()
	last := times[len(times)-1]
	fresh := ask(t, p, time.Since(time.UnixMilli(first)), query)
	if err := screen.Compare(fresh, first-1, last); err != nil {
		t.Error(err)
	}
	slices.Sort(ages)
	if len(ages) == 0 {
		t.Fatal("no row came by itself")
	}
	t.Logf("%d rows were between %v and %v old when they came, half of them at most %v", len(ages), ages[0], ages[len(ages)-1], ages[len(ages)/2])
}
