package plugin

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// This file is src/guard.ts once more in Go, so that the handlers can be tested
// together with it under virtual time. Both are driven by the same recorded
// schedules (vectors_test.go), which fail when the two differ.

const (
	guardGrace    = 1500 * time.Millisecond // for the repeats of the overlap to fill a hole
	guardSilence  = 15 * time.Second        // beside a step
	guardPatience = 30 * time.Second        // for an answer
)

// guard runs one query of a panel and shows only what is exact; on any doubt it
// asks again under a new nonce. All its methods run under the tab's mutex.
type guard struct {
	panel  *panel
	show   func(picture)
	nonce  int64
	began  time.Time
	tries  int
	names  []string // of the answer's fields
	inner  int      // counts the inner queries: what an old one calls back is dropped
	leave  func()   // the inner subscription
	timer  *time.Timer
	grace  *time.Timer
	closed bool
}

func startGuard(p *panel, show func(picture)) *guard {
	g := &guard{panel: p, show: show}
	g.ask("")
	return g
}

func (g *guard) stop() {
	g.closed = true
	g.drop()
}

// drop leaves the inner query and its timers.
func (g *guard) drop() {
	g.inner++
	for _, t := range []*time.Timer{g.timer, g.grace} {
		if t != nil {
			t.Stop()
		}
	}
	g.timer, g.grace = nil, nil
	if g.leave != nil {
		g.leave()
		g.leave = nil
	}
}

// after calls do under the tab's mutex, unless the inner query was dropped by
// then.
func (g *guard) after(d time.Duration, do func()) *time.Timer {
	inner := g.inner
	return time.AfterFunc(d, func() {
		t := g.panel.tab
		t.mu.Lock()
		defer t.mu.Unlock()
		if g.inner == inner && !g.closed {
			do()
		}
	})
}

func (g *guard) ask(reason string) {
	t := g.panel.tab
	g.nonce, g.began = t.epoch, time.Now()
	g.timer = g.after(guardPatience, func() { g.resync("silence") })
	query := fmt.Sprintf(`%s,"live":true,"nonce":%d,"resync":%q}`, g.panel.query[:len(g.panel.query)-1], g.nonce, reason)
	inner := g.inner
	go func() {
		frame, err := t.ask(query, g.panel.length, g.panel.interval)
		t.mu.Lock()
		defer t.mu.Unlock()
		if g.inner == inner && !g.closed {
			g.answer(frame, err)
		}
	}()
}

func (g *guard) answer(frame *data.Frame, err error) {
	if err != nil {
		g.resync("failure")
		return
	}
	custom, ok := frame.Meta.Custom.(live)
	if !ok {
		g.drop() // an answer without a stream is shown as it is
		g.show(pictureOf(frame))
		return
	}
	g.names = nil
	for _, f := range frame.Fields {
		g.names = append(g.names, f.Name)
	}
	history, jsonErr := data.FrameToJSON(frame, data.IncludeAll)
	raw, dataErr := json.Marshal(custom.Data)
	if jsonErr != nil || dataErr != nil {
		panic(fmt.Sprint(jsonErr, dataErr))
	}
	rows := int(custom.Window / custom.Step)
	inner := g.inner
	leave := g.panel.tab.watch(frame.Meta.Channel, raw, history, 4*rows+10_000, custom.Window+30_000, func(b *buffer) {
		if g.inner == inner && !g.closed {
			g.next(b)
		}
	})
	if g.inner != inner { // the first buffer was already in doubt
		leave()
		return
	}
	g.leave = leave
}

func (g *guard) next(b *buffer) {
	if !slices.Equal(b.schema.names(), g.names) {
		g.resync("fields")
		return
	}
	custom := b.schema.Meta.Custom
	g.rearm(time.Duration(custom.Step)*time.Millisecond + guardSilence)
	shown, hole := exact(b, custom)
	switch {
	case hole:
		if g.grace == nil {
			g.grace = g.after(guardGrace, func() { g.resync("hole") })
		}
		return
	case shown.times[0] > max(custom.First, shown.newest()-custom.Window+custom.Step):
		g.resync("short")
		return
	}
	if g.grace != nil {
		g.grace.Stop()
		g.grace = nil
	}
	g.show(shown)
}

// rearm starts the silence anew.
func (g *guard) rearm(d time.Duration) {
	g.timer.Stop()
	g.timer = g.after(d, func() { g.resync("silence") })
}

// resync asks again, after a moment, under a nonce that no panel of this tab
// has used.
func (g *guard) resync(reason string) {
	g.drop()
	t := g.panel.tab
	if g.nonce == t.epoch {
		t.epoch++
	}
	g.tries++
	if time.Since(g.began) > 10*time.Second {
		g.tries = 0
	}
	most := min(10*time.Second, 250*time.Millisecond<<min(g.tries, 10))
	g.timer = g.after(t.server.between(0, most), func() { g.ask(reason) })
}

// exact returns the newest rows of the window, one per time and in order, and
// whether there is a hole among them.
func exact(b *buffer, custom live) (picture, bool) {
	at := map[int64]int{}
	for i, t := range b.times {
		at[t] = i // the last value wins
	}
	newest := slices.Max(b.times)
	var times []int64
	for t := range at {
		if t > newest-custom.Window {
			times = append(times, t)
		}
	}
	slices.Sort(times)
	values := make([][]*float64, len(b.values))
	for f := range values {
		for _, t := range times {
			values[f] = append(values[f], b.values[f][at[t]])
		}
	}
	hole := (newest-times[0])/custom.Step+1 != int64(len(times))
	return picture{step: custom.Step, times: times, values: values}, hole
}

func pictureOf(frame *data.Frame) picture {
	p := picture{step: int64(frame.Fields[0].Config.Interval), values: make([][]*float64, len(frame.Fields)-1)}
	for i := range frame.Rows() {
		at, _ := frame.Fields[0].ConcreteAt(i)
		p.times = append(p.times, at.(time.Time).UnixMilli())
		for f := range p.values {
			v, _ := frame.Fields[f+1].NullableFloatAt(i)
			p.values[f] = append(p.values[f], v)
		}
	}
	return p
}

// openUnguarded is the tutorial's front end: the answer's history and whatever
// the buffer gets, shown as they are.
func (p *panel) openUnguarded() (stop func()) {
	leave, stopped := func() {}, false
	go func() {
		frame, err := p.tab.ask(p.query, p.length, p.interval)
		if err != nil {
			return
		}
		p.tab.mu.Lock()
		defer p.tab.mu.Unlock()
		if stopped {
			return
		}
		history, err := data.FrameToJSON(frame, data.IncludeAll)
		if err != nil {
			panic(err)
		}
		leave = p.tab.watch(frame.Meta.Channel, nil, history, 100_000, p.length.Milliseconds(), func(b *buffer) {
			p.shown = picture{step: p.interval.Milliseconds(), times: slices.Clone(b.times), values: b.values}
		})
	}()
	return func() {
		stopped = true
		leave()
	}
}
