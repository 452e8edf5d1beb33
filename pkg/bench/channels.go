package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

// channels measures many streams of different queries, and as many streams of a
// plugin that does nothing else.
func channels(ctx context.Context, dir string) (table, error) {
	t := table{
		Title: "Distinct channels",
		Text: "Many streams at once, each of another query of the signal and with one row a second, compared with as many streams of a plugin that sends a constant " +
			"row every second. Lag is from a row's time to its arrival; all rows are due at the same moment.",
		Columns: []string{"channels", "plugin", "CPU cores", "memory", "lag p50", "lag p99", "rows that came", "CPU ratio"},
	}
	for _, n := range []int{1000, 10_000} {
		var cpu, came [2]float64
		for i, s := range []struct {
			name    string
			program *programs.Program
			stream  func(p *plugin, i int) (path string, raw json.RawMessage, err error)
		}{
			{"Continuum", programs.Plugin, func(p *plugin, i int) (string, json.RawMessage, error) {
				rsp, err := p.query(ctx, fmt.Sprintf(`{"shape":"walk","lowerLimit":%d,"tickInterval":1000,"live":true}`, -i), time.Second, time.Minute, time.Now())
				if err != nil {
					return "", nil, err
				}
				return subscription(rsp.Frames[0])
			}},
			{"empty", programs.EmptyPlugin, func(_ *plugin, i int) (string, json.RawMessage, error) { return strconv.Itoa(i), nil, nil }},
		} {
			p, err := start(s.program, dir, `{"source":"signal","maxStreams":20000,"maxStreamsPerUser":20000}`)
			if err != nil {
				return t, err
			}
			r, err := p.many(ctx, n, s.stream)
			p.Stop()
			if err != nil {
				return t, fmt.Errorf("%s, %d: %w", s.name, n, err)
			}
			cpu[i], came[i] = r.cores, float64(len(r.lags))/watched.Seconds()/float64(n)
			cells := []string{strconv.Itoa(n), s.name, fmt.Sprintf("%.2f", r.cores), fmt.Sprintf("%d MB", r.memory/1e6),
				milliseconds(median(r.lags)), milliseconds(percentile(r.lags, 99)),
				fmt.Sprintf("%.0f %%", 100*came[i]), ""}
			t.add(cells...)
		}
		if min(came[0], came[1]) < 0.95 {
			continue // without enough CPU time the two cannot be compared
		}
		ours := t.Rows[len(t.Rows)-2]
		ours[len(ours)-1] = ratio(cpu[0] / cpu[1])
		t.Bars = append(t.Bars, bar{fmt.Sprintf("%d channels: CPU", n), cpu[0] / cpu[1]})
	}
	return t, nil
}

type streamed struct {
	cores  float64
	memory uint64 // bytes resident
	lags   []time.Duration
}

// many opens n streams and measures the plugin while they run.
func (p *plugin) many(ctx context.Context, n int, stream func(*plugin, int) (string, json.RawMessage, error)) (l streamed, err error) {
	ctx, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	var mu sync.Mutex
	var ended error
	measured := false
	all := make([]*backend.RunStreamRequest, n)
	for i := range all { // all queries first, because running streams slow them down
		path, raw, err := stream(p, i)
		if err != nil {
			return l, err
		}
		all[i] = &backend.RunStreamRequest{PluginContext: p.context, Path: path, Data: raw}
	}
	for _, req := range all {
		wait.Go(func() {
			newest := time.Now().UnixMilli()
			err := p.RunStream(ctx, req, func(packet []byte) {
				at := newestTime(packet)
				if at <= newest {
					return
				}
				newest = at
				lag := time.Since(time.UnixMilli(at))
				mu.Lock()
				if measured {
					l.lags = append(l.lags, lag)
				}
				mu.Unlock()
			})
			if ctx.Err() == nil {
				mu.Lock()
				ended = fmt.Errorf("a stream ended: %w", err)
				mu.Unlock()
			}
		})
	}
	if err := sleep(ctx, 5*time.Second); err != nil { // let the repeats after a join pass
		return l, err
	}
	mu.Lock()
	measured = true
	mu.Unlock()
	before, err := p.cpu()
	if err != nil {
		return l, err
	}
	began := time.Now()
	if err := sleep(ctx, watched); err != nil {
		return l, err
	}
	after, err := p.cpu()
	if err != nil {
		return l, err
	}
	memory, err := p.process.MemoryInfo()
	if err != nil {
		return l, err
	}
	mu.Lock()
	defer mu.Unlock()
	measured = false
	l.cores, l.memory = (after-before)/time.Since(began).Seconds(), memory.RSS
	return l, ended
}
