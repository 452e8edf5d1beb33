package plugin

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// tutorial is the plugin of Grafana's streaming tutorial of 2021: QueryData
// answers with history and a channel, RunStream sends one row per tick.
type tutorial struct{ tick time.Duration }

func (p tutorial) frame(from, to int64) *data.Frame {
	tick := p.tick.Milliseconds()
	var times []time.Time
	var values []float64
	for at := from - from%tick + tick; at <= to; at += tick {
		times = append(times, time.UnixMilli(at))
		values = append(values, float64(at/tick))
	}
	return data.NewFrame("", data.NewField("time", nil, times), data.NewField("value", nil, values))
}

func (p tutorial) QueryData(_ context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	frame := p.frame(req.Queries[0].TimeRange.From.UnixMilli(), req.Queries[0].TimeRange.To.UnixMilli())
	frame.Meta = &data.FrameMeta{Channel: fmt.Sprintf("ds/uid/stream/%v", p.tick)}
	rsp := backend.NewQueryDataResponse()
	rsp.Responses["A"] = backend.DataResponse{Frames: data.Frames{frame}}
	return rsp, nil
}

func (tutorial) SubscribeStream(context.Context, *backend.SubscribeStreamRequest) (*backend.SubscribeStreamResponse, error) {
	return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusOK}, nil
}

func (tutorial) PublishStream(context.Context, *backend.PublishStreamRequest) (*backend.PublishStreamResponse, error) {
	return &backend.PublishStreamResponse{Status: backend.PublishStreamStatusPermissionDenied}, nil
}

func (p tutorial) RunStream(ctx context.Context, _ *backend.RunStreamRequest, sender *backend.StreamSender) error {
	ticker := time.NewTicker(p.tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			if err := sender.SendFrame(p.frame(now.Add(-p.tick).UnixMilli(), now.UnixMilli()), data.IncludeAll); err != nil {
				return err
			}
		}
	}
}

// missing returns how many rows of the last length of time a picture lacks, and
// how many it has twice.
func (p picture) missing(length time.Duration) (missing, doubled int) {
	seen := map[int64]int{}
	for _, at := range p.times {
		seen[at]++
	}
	newest := p.newest()
	for at := newest; at > newest-length.Milliseconds(); at -= p.step {
		if seen[at] == 0 {
			missing++
		}
		if seen[at] > 1 {
			doubled++
		}
	}
	return missing, doubled
}

// The model must make the tutorial's pattern fail as it was seen to fail in a
// real Grafana, else what passes in it proves nothing.
func TestModelBreaksTheTutorial(t *testing.T) {
	const tick = 100 * time.Millisecond
	run := func(name string, do func(t *testing.T, srv *server, p *panel)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(t, 1, func() handlers { return tutorial{tick} })
				tab := newTab(srv)
				p := &panel{tab: tab, query: "{}", length: time.Minute, interval: tick, truth: theSignal}
				p.open()
				time.Sleep(10 * time.Second)
				do(t, srv, p)
				p.close()
				srv.stop(tab)
			})
		})
	}
	run("rows are lost at the join", func(t *testing.T, _ *server, p *panel) {
		if missing, _ := p.look().missing(20 * time.Second); missing == 0 {
			t.Error("no row is missing after the first load")
		}
	})
	run("a longer range keeps the short history", func(t *testing.T, _ *server, p *panel) {
		p.resize(3 * time.Minute)
		time.Sleep(5 * time.Second)
		if span := time.Duration(p.look().newest()-p.look().times[0]) * time.Millisecond; span > 2*time.Minute {
			t.Errorf("%v of rows are shown after the range grew from 1m to 3m", span)
		}
	})
	run("the editor shows what it was opened with", func(t *testing.T, srv *server, p *panel) {
		opened := time.Now()
		p.close()
		time.Sleep(3 * time.Minute) // the buffer is gone
		p.handed = opened
		p.open()
		time.Sleep(5 * time.Second)
		if missing, _ := p.look().missing(30 * time.Second); missing < 200 {
			t.Errorf("%d rows of the last 30 s are missing in the editor", missing)
		}
	})
	run("a cut leaves a hole", func(t *testing.T, _ *server, p *panel) {
		before, _ := p.look().missing(30 * time.Second)
		p.tab.disconnect()
		time.Sleep(3 * time.Second)
		p.tab.reconnect()
		time.Sleep(5 * time.Second)
		if after, _ := p.look().missing(30 * time.Second); after < before+25 {
			t.Errorf("%d rows are missing after a cut of 3 s at a tick of 100 ms, %d before", after, before)
		}
	})
	run("a killed plugin leaves a hole", func(t *testing.T, srv *server, p *panel) {
		before, _ := p.look().missing(30 * time.Second)
		srv.killPlugin(time.Second)
		time.Sleep(5 * time.Second)
		if after, _ := p.look().missing(30 * time.Second); after < before+5 {
			t.Errorf("%d rows are missing after the plugin was killed, %d before", after, before)
		}
	})
}

// A stream that returns nil leaves its viewers frozen in the model too.
func TestModelFreezesAfterNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, 1, func() handlers { return ending{tutorial{time.Second}} })
		tab := newTab(srv)
		p := &panel{tab: tab, query: "{}", length: time.Minute, interval: time.Second, truth: theSignal}
		p.open()
		time.Sleep(30 * time.Second)
		if late := time.Since(time.UnixMilli(p.look().newest())); late < 20*time.Second {
			t.Errorf("the newest row is only %v old", late)
		}
		p.close()
		srv.stop(tab)
	})
}

type ending struct{ tutorial }

func (p ending) RunStream(ctx context.Context, req *backend.RunStreamRequest, sender *backend.StreamSender) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = p.tutorial.RunStream(ctx, req, sender)
	return nil
}
