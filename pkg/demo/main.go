// Command demo shows what Continuum does, in a terminal and without Grafana: it
// starts the real plugin binary over gRPC as Grafana does, asks it for history,
// subscribes, follows the tail and draws both as one line. At the end it asks
// again, separately, and compares: any row that is missing, doubled or different
// is an error.
//
// DEMO_SECONDS ends it after so many seconds; else Ctrl-C does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/guptarohit/asciigraph"
	"golang.org/x/term"

	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
)

// What the demo asks for: the last half minute of a random walk, live.
const (
	window = 30 * time.Second
	tick   = 250 * time.Millisecond
	query  = `{"shape":"walk","lowerLimit":0,"upperLimit":100,"tickInterval":250,"live":true}`
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
		// Not a deadline: gRPC would tell the plugin of it, which could end the
		// stream a moment earlier and so look like a failure.
		time.AfterFunc(time.Duration(seconds*float64(time.Second)), stop)
	}
	plugin, err := grafana.Start(os.Args[1])
	if err != nil {
		return err
	}
	defer plugin.Stop()
	d := &demo{plugin: plugin}
	if err := d.join(ctx); err != nil {
		return err
	}
	if err := d.watch(ctx); err != nil {
		return err
	}
	return d.compare()
}

type demo struct {
	plugin  *grafana.Plugin
	screen  grafana.Screen
	frame   *data.Frame // the answer that the screen began with
	path    string
	data    json.RawMessage
	history int // rows
	packets int
}

var pluginContext = backend.PluginContext{
	OrgID:    1,
	PluginID: "continuum-live-datasource",
	User:     &backend.User{Login: "demo"},
	DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{
		ID: 1, UID: "demo", Name: "Demo", Type: "continuum-live-datasource", Updated: time.Now(), JSONData: []byte(`{"source":"signal"}`),
	},
}

// ask queries as a panel with a range that ends at now does.
func (d *demo) ask(length time.Duration) (*data.Frame, error) {
	now := time.Now()
	rsp, err := d.plugin.QueryData(context.Background(), &backend.QueryDataRequest{
		PluginContext: pluginContext,
		Queries: []backend.DataQuery{{
			RefID: "A", Interval: tick, MaxDataPoints: 1000, JSON: []byte(query),
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

// join does what Grafana's front end does with an answer: it shows the history
// and subscribes to the channel that the answer names.
func (d *demo) join(ctx context.Context) error {
	var err error
	if d.frame, err = d.ask(window); err != nil {
		return err
	}
	if d.frame.Meta.Channel == "" {
		return fmt.Errorf("the plugin answered without a channel: %v", d.frame.Meta.Notices)
	}
	d.path = strings.TrimPrefix(d.frame.Meta.Channel, "ds/demo/")
	custom, err := json.Marshal(d.frame.Meta.Custom)
	if err != nil {
		return err
	}
	var subscription struct{ Data json.RawMessage }
	if err := json.Unmarshal(custom, &subscription); err != nil {
		return err
	}
	d.data = subscription.Data
	d.screen.History(d.frame)
	d.history = d.frame.Rows()

	status, initial, err := d.plugin.SubscribeStream(ctx, &backend.SubscribeStreamRequest{
		PluginContext: pluginContext, Path: d.path, Data: d.data,
	})
	if err != nil {
		return err
	}
	if status != backend.SubscribeStreamStatusOK {
		return fmt.Errorf("the plugin refused the subscription with status %d", status)
	}
	if initial != nil {
		return d.screen.Packet(initial)
	}
	return nil
}

// watch follows the tail until ctx ends, and draws.
func (d *demo) watch(ctx context.Context) error {
	packets := make(chan []byte)
	ended := make(chan error, 1)
	go func() {
		ended <- d.plugin.RunStream(ctx, &backend.RunStreamRequest{PluginContext: pluginContext, Path: d.path, Data: d.data},
			func(b []byte) { packets <- b })
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

// picture draws the newest rows: history as a line, live rows as dots, and a
// mark under the seam.
func (d *demo) picture() string {
	const height = 14
	width := 100
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		width = min(max(w, 40), 200)
	}
	times := d.screen.Times()
	times = times[max(0, len(times)-(width-12)):]
	past, live := make([]float64, len(times)), make([]float64, len(times))
	seam := -1
	for i, t := range times {
		past[i], live[i] = math.NaN(), math.NaN()
		v := d.screen.Value(t, 0)
		if v == nil {
			continue
		}
		if d.screen.Live == 0 || t < d.screen.Live {
			past[i] = *v
			continue
		}
		live[i] = *v
		if seam < 0 {
			seam = i
			past[i] = *v // so that the lines meet
		}
	}
	lines := [][]float64{past}
	if seam >= 0 {
		lines = append(lines, live)
	}
	plot := asciigraph.PlotMany(lines,
		asciigraph.Height(height), asciigraph.LowerBound(0), asciigraph.UpperBound(100), asciigraph.Precision(0),
		asciigraph.SeriesChars(asciigraph.DefaultCharSet, asciigraph.CreateCharSet("•")))

	newest := times[len(times)-1]
	age := time.Since(time.UnixMilli(newest)).Round(time.Millisecond)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", d.frame.Meta.ExecutedQueryString, plot)
	if seam >= 0 && (d.screen.Live != times[0]) {
		axis := strings.IndexAny(plot, "┤┼")
		fmt.Fprintf(&b, "%s▲ seam: history to the left (─), live rows to the right (•)\n", strings.Repeat(" ", axis+seam))
	}
	fmt.Fprintf(&b, "%d rows of history, %d live rows in %d packets, newest row %v old\n",
		d.history, len(d.screen.Times())-d.history, d.packets, age)
	return b.String()
}

// compare asks for the whole time a second time, and holds what was collected
// against the answer.
func (d *demo) compare() error {
	times := d.screen.Times()
	first, last := times[0], times[len(times)-1]
	fresh, err := d.ask(time.Duration(last-first)*time.Millisecond + window)
	if err != nil {
		return err
	}
	if len(times) <= d.history {
		return errors.New("no live row came: let the demo run for some seconds")
	}
	if err := d.screen.Compare(fresh, first-1, last); err != nil {
		return err
	}
	fmt.Printf("Compared with a fresh query: all %d rows are there, once each, and equal.\n", len(times))
	return nil
}
