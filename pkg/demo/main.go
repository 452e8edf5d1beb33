// Command demo shows what Continuum does, in a terminal and without Grafana. It starts
// the real plugin binary over gRPC as Grafana does, queries the history, subscribes,
// follows the tail and draws both as one line. At the end it queries again and
// compares: any row that is missing, doubled or different is an error.
//
// It shows how busy this machine is or, with DEMO_MQTT=tcp://127.0.0.1:1883 and
// DEMO_TOPIC, what an MQTT broker sends. Either is recorded, and the next run shows it
// again. DEMO_SECONDS ends it after this many seconds, otherwise Ctrl-C does.
//
// It is below pkg and not in a folder cmd because only code below pkg may import
// pkg/internal/grafana, which plays Grafana here as in the tests.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"golang.org/x/term"

	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
)

const (
	// window is the length of the history that the demo shows, including earlier
	// runs.
	window = 6 * time.Hour
	step   = time.Second
	// patience is how long the demo waits for a first value.
	patience = 30 * time.Second
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: demo PLUGIN_BINARY (go tool mage demo builds it and passes it on)")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if s := os.Getenv("DEMO_SECONDS"); s != "" {
		seconds, err := strconv.ParseFloat(s, 64)
		if err != nil || !(seconds > 0 && seconds < 1e9) {
			return fmt.Errorf("DEMO_SECONDS=%q is not a number of seconds above 0", s)
		}
		// Not a deadline: gRPC would pass it on to the plugin, which could then end
		// the stream a moment earlier, and that would look like a failure.
		time.AfterFunc(time.Duration(seconds*float64(time.Second)), stop)
	}
	d := &demo{began: time.Now().UnixMilli()}
	if err := d.choose(os.Getenv("DEMO_MQTT"), os.Getenv("DEMO_TOPIC")); err != nil {
		return err
	}
	var err error
	if d.plugin, err = grafana.Start(os.Args[1]); err != nil {
		return err
	}
	defer d.plugin.Stop()
	for {
		if err := d.join(ctx); err != nil {
			return err
		}
		// When there are new series, query again, as a panel does.
		if err := d.watch(ctx); !errors.Is(err, grafana.ErrChanged) {
			if err != nil {
				return err
			}
			return d.compare()
		}
	}
}

type demo struct {
	plugin  *grafana.Plugin
	context backend.PluginContext
	query   string // JSON without its closing brace
	began   int64  // Unix ms
	percent bool   // values lie between 0 and 100
	nonce   int

	screen  grafana.Screen
	frame   *data.Frame // the answer that the screen began with
	path    string
	data    json.RawMessage
	history int // rows
	packets int
}

// choose sets what is recorded and queried.
func (d *demo) choose(broker, topic string) error {
	uid := "demo"
	settings := map[string]any{}
	d.query = `{"expr":"100 - 100 * avg(rate(node_cpu_seconds_total{mode=\"idle\"}[5s]))","legend":"CPU busy, %"`
	d.percent = true
	switch {
	case broker != "" && topic == "":
		return errors.New("DEMO_TOPIC is missing: say which topic is to be recorded, such as DEMO_TOPIC='sensors/#'")
	case broker == "" && topic != "":
		return errors.New("DEMO_MQTT is missing: say where the broker is, such as DEMO_MQTT=tcp://127.0.0.1:1883")
	case broker != "":
		uid = "demo-mqtt"
		settings["noHost"] = true
		settings["inputs"] = []any{map[string]any{
			"type": "mqtt", "name": "broker", "url": broker, "topics": []string{topic},
			"rules": map[string]any{"labels": map[string]string{"demo": topic}},
		}}
		expr := fmt.Sprintf(`{demo=%q}`, topic)
		raw, err := json.Marshal(expr)
		if err != nil {
			return err
		}
		d.query = `{"expr":` + string(raw)
		d.percent = false
	}
	raw, err := json.Marshal(map[string]any{"recorder": settings})
	if err != nil {
		return err
	}
	d.context = backend.PluginContext{
		OrgID:    1,
		PluginID: "continuum-live-datasource",
		User:     &backend.User{Login: "demo", Role: "Admin"},
		DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{
			ID: 1, UID: uid, Name: "Demo", Type: "continuum-live-datasource", Updated: time.Now(), JSONData: raw,
		},
	}
	return nil
}

// ask sends a query as a panel does whose range ends now.
func (d *demo) ask(length time.Duration) (*data.Frame, error) {
	now := time.Now()
	d.nonce++
	rsp, err := d.plugin.QueryData(context.Background(), &backend.QueryDataRequest{
		PluginContext: d.context,
		Queries: []backend.DataQuery{{
			RefID: "A", Interval: step, MaxDataPoints: 1000, JSON: fmt.Appendf(nil, `%s,"live":true,"nonce":%d}`, d.query, d.nonce),
			TimeRange: backend.TimeRange{From: now.Add(-length), To: now},
		}},
	})
	if err != nil {
		return nil, err
	}
	answer := rsp.Responses["A"]
	if answer.Error != nil {
		return nil, answer.Error
	}
	return answer.Frames[0], nil
}

// first queries until there is a value.
func (d *demo) first(ctx context.Context) (*data.Frame, error) {
	for deadline := time.Now().Add(patience); ; {
		frame, err := d.ask(window)
		if err != nil || len(frame.Fields) > 1 {
			return frame, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no value came within %v: %s", patience, d.health(ctx))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no value came: %s", d.health(context.Background()))
		case <-time.After(step / 4):
		}
	}
}

// health returns the message of the plugin's health check.
func (d *demo) health(ctx context.Context) string {
	health, err := d.plugin.CheckHealth(ctx, &backend.CheckHealthRequest{PluginContext: d.context})
	if err != nil {
		return err.Error()
	}
	return health.Message
}

// join shows an answer and subscribes to its channel, as Grafana's front end does.
func (d *demo) join(ctx context.Context) error {
	var err error
	if d.frame, err = d.first(ctx); err != nil {
		return err
	}
	if d.frame.Meta.Channel == "" {
		return fmt.Errorf("the plugin answered without a channel: %v", d.frame.Meta.Notices)
	}
	d.path = strings.TrimPrefix(d.frame.Meta.Channel, "ds/"+d.context.DataSourceInstanceSettings.UID+"/")
	custom, err := json.Marshal(d.frame.Meta.Custom)
	if err != nil {
		return err
	}
	var subscription struct{ Data json.RawMessage }
	if err := json.Unmarshal(custom, &subscription); err != nil {
		return err
	}
	d.data = subscription.Data
	if err := d.screen.History(d.frame); err != nil {
		return err
	}
	d.history = d.frame.Rows()

	status, initial, err := d.plugin.SubscribeStream(ctx, &backend.SubscribeStreamRequest{
		PluginContext: d.context, Path: d.path, Data: d.data,
	})
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // watch ends at once
	case err != nil:
		return err
	}
	if status != backend.SubscribeStreamStatusOK {
		return fmt.Errorf("the plugin refused the subscription with status %d", status)
	}
	if initial == nil {
		return nil
	}
	if err := d.screen.Packet(initial); !errors.Is(err, grafana.ErrChanged) {
		return err
	}
	return nil // the stream reports the change, too
}

// watch follows the tail until ctx ends, and draws the rows.
func (d *demo) watch(ctx context.Context) error {
	streaming, stop := context.WithCancel(ctx)
	defer stop()
	packets := make(chan []byte)
	ended := make(chan error, 1)
	go func() {
		ended <- d.plugin.RunStream(streaming, &backend.RunStreamRequest{PluginContext: d.context, Path: d.path, Data: d.data},
			func(b []byte) {
				select {
				case packets <- b:
				case <-streaming.Done():
				}
			})
	}()
	inPlace := term.IsTerminal(int(os.Stdout.Fd()))
	for {
		select {
		case b := <-packets:
			if err := d.screen.Packet(b); err != nil {
				return err
			}
			d.packets++
			if inPlace {
				fmt.Print("\x1b[H\x1b[2J" + d.picture())
			}
		case err := <-ended:
			if ctx.Err() == nil {
				return fmt.Errorf("the stream ended: %w", err)
			}
			if !inPlace {
				fmt.Print(d.picture())
			}
			return nil
		}
	}
}

// compare queries the whole time again and compares the answer with the rows on the
// screen.
func (d *demo) compare() error {
	times := d.screen.Times()
	if len(times) <= d.history {
		return errors.New("no live row came: let the demo run for some seconds")
	}
	times = times[max(0, len(times)-int(window/step)):]
	first, last := times[0], times[len(times)-1]
	fresh, err := d.ask(time.Since(time.UnixMilli(first)))
	if err != nil {
		return err
	}
	if err := d.screen.Compare(fresh, first-1, last); err != nil {
		return err
	}
	fmt.Printf("Compared with a fresh query: all %d rows are there, once each, and equal.\n", len(times))
	return nil
}
