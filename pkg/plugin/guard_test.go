package plugin

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// This file is src/guard.ts once more in Go, so that the handlers can be tested
// together with it under virtual time. Both replay the same recorded schedules
// (vectors_test.go), and have to ask and to show the same. What no recording has,
// such as an error that comes with a stream's rows, is in src/guard.test.ts alone.

const (
	guardGrace    = 1500 * time.Millisecond // for the repeats of the overlap to fill a hole
	guardSilence  = 15 * time.Second        // beside a step
	guardPatience = 30 * time.Second        // for an answer
	guardPoll     = 15 * time.Second        // where a notice says why there is no stream
	guardCalm     = 10 * time.Second
)

// guard runs one query of a panel and shows only what is exact; on any doubt it
// asks again under a new nonce. All its methods run under the lock, which is
// JavaScript's single thread.
type guard struct {
	lock   *sync.Mutex
	latest *int64 // nonce of the tab
	random func() float64
	query  query
	show   func(answer)
	tries  int
	closed bool
	shown  *answer // the last rows, without what was said of trouble

	// The attempt: one inner query with its timers.
	attempt int // counts them: what an old one calls back is dropped
	nonce   int64
	resync  string
	asked   time.Time
	fields  []field // of the buffer, as they were first
	packets int
	heard   int64  // the newest time
	leave   func() // the inner query
	silence *time.Timer
	grace   *time.Timer
}

// answer is what a guard lets through.
type answer struct {
	picture
	state   string // Streaming, Done or Error, which has no rows
	notices int
}

// query asks once and calls what fits the answer. The calls come under the lock,
// and so does query itself.
type query func(nonce int64, resync string, to receiver) (leave func())

// receiver takes what comes of a query: the buffer of a stream, now and after
// every message, until the stream ends; or an answer without a stream, or none,
// with the HTTP status.
type receiver struct {
	read  func(*buffer)
	ends  func()
	plain func(p picture, notices int)
	fail  func(status int)
}

func (g *guard) start() { g.ask("") }

func (g *guard) stop() {
	g.closed = true
	g.drop()
}

// drop leaves the inner query and its timers.
func (g *guard) drop() {
	g.attempt++
	for _, t := range []*time.Timer{g.silence, g.grace} {
		if t != nil {
			t.Stop()
		}
	}
	g.grace = nil
	if g.leave != nil {
		g.leave()
		g.leave = nil
	}
}

func (g *guard) after(d time.Duration, do func()) *time.Timer {
	attempt := g.attempt
	return time.AfterFunc(d, func() {
		g.lock.Lock()
		defer g.lock.Unlock()
		if g.attempt == attempt && !g.closed {
			do()
		}
	})
}

func (g *guard) ask(resync string) {
	g.nonce, g.resync, g.asked = *g.latest, resync, time.Now()
	g.fields, g.packets, g.heard = nil, 0, math.MinInt64
	g.silence = g.after(guardPatience, func() { g.again("silence") })
	attempt := g.attempt
	mine := func() bool { return g.attempt == attempt && !g.closed }
	leave := g.query(g.nonce, resync, receiver{
		read: func(b *buffer) {
			if mine() {
				g.read(b)
			}
		},
		ends: func() {
			if mine() {
				g.again("refused")
			}
		},
		plain: func(p picture, notices int) {
			if mine() {
				g.plain(p, notices)
			}
		},
		fail: func(status int) {
			switch {
			case !mine():
			case status == http.StatusBadRequest && g.shown == nil:
				g.show(answer{state: "Error"})
				g.stop()
			default:
				g.again("failure")
			}
		},
	})
	if g.attempt != attempt { // what came at once was already in doubt
		leave()
		return
	}
	g.leave = leave
}

// plain shows an answer without a stream as it is, and asks again later if a
// notice says why there is none.
func (g *guard) plain(p picture, notices int) {
	if notices == 0 {
		g.show(answer{p, "Done", 0})
		g.stop()
		return
	}
	g.shown = &answer{p, "Streaming", notices}
	g.show(*g.shown)
	g.drop()
	g.silence = g.after(guardPoll, func() { g.ask("refused") })
}

func (g *guard) read(b *buffer) {
	if g.fields == nil {
		g.fields = b.schema.Fields
	}
	custom := b.schema.Meta.Custom
	shown, doubt, mendable := exact(b, custom)
	switch {
	case !reflect.DeepEqual(b.schema.Fields, g.fields) || doubt == "fields":
		g.again("fields")
		return
	case doubt != "" && !mendable:
		g.again(doubt)
		return
	}
	g.packets++
	if newest := slices.Max(b.times); newest > g.heard {
		g.heard = newest
		g.silence.Stop()
		g.silence = g.after(time.Duration(custom.Step)*time.Millisecond+guardSilence, func() { g.again("silence") })
	}
	if doubt == "" {
		if g.grace != nil {
			g.grace.Stop()
			g.grace = nil
		}
		g.shown = &answer{shown, "Streaming", 0}
		failing := g.resync == "silence" || g.resync == "refused" && g.tries > 2
		g.complain(failing && g.packets < 2)
	} else if g.grace == nil {
		g.grace = g.after(guardGrace, func() { g.again("hole") })
	}
}

// complain shows what is shown, with a notice if there is trouble; or an error,
// as long as there is nothing to show.
func (g *guard) complain(trouble bool) {
	if g.shown == nil {
		g.show(answer{state: "Error"})
		return
	}
	now := *g.shown
	if trouble {
		now.notices++
	}
	g.show(now)
}

// again asks anew after a moment, under a nonce that no panel of this tab has
// used.
func (g *guard) again(reason string) {
	g.drop()
	if g.fields != nil && g.nonce == *g.latest {
		*g.latest++
	}
	g.tries++
	if time.Since(g.asked) > guardCalm {
		g.tries = 0
	}
	most := min(10*time.Second, 250*time.Millisecond<<min(g.tries, 10))
	g.silence = g.after(time.Duration(g.random()*float64(most)), func() { g.ask(reason) })
	if g.fields == nil || g.tries > 2 {
		g.complain(true)
	}
}

// exact returns the newest rows of the window, one per time and in order, or why
// they are in doubt, and whether the overlap may still mend that.
func exact(b *buffer, custom liveAnswer) (shown picture, doubt string, mendable bool) {
	if custom.Step <= 0 {
		return picture{}, "fields", false
	}
	newest := slices.Max(b.times)
	oldest := max(custom.First, newest-custom.Window+custom.Step)
	from := slices.Repeat([]int{-1}, int((newest-oldest)/custom.Step+1))
	for i, t := range b.times {
		if t >= oldest {
			from[(t-oldest)/custom.Step] = i // the last value wins
		}
	}
	if missing := int64(slices.Index(from, -1)); missing == 0 {
		return picture{}, "short", false
	} else if missing > 0 {
		return picture{}, "hole", oldest+missing*custom.Step > newest-max(10*custom.Step, 10_000)
	}
	shown = picture{step: custom.Step, times: make([]int64, len(from)), values: make([][]*float64, len(b.values))}
	for row, i := range from {
		shown.times[row] = b.times[i]
	}
	for f := range shown.values {
		shown.values[f] = make([]*float64, len(from))
		for row, i := range from {
			shown.values[f][row] = b.values[f][i]
		}
	}
	return shown, "", false
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

// openGuarded is Continuum's front end: the guard around the stock query.
func (p *panel) openGuarded() (stop func()) {
	t := p.tab
	g := &guard{lock: &t.mu, latest: &t.nonce, query: p.ask, show: p.show}
	g.random = func() float64 { return float64(t.server.between(p.id, 0, time.Second)) / float64(time.Second) }
	if p.record != nil {
		return p.record.open(g)
	}
	g.start()
	return g.stop
}

// ask is DataSourceWithBackend.query with a live query. The range is taken anew
// from what the dashboard says, whatever Grafana has handed over.
func (p *panel) ask(nonce int64, resync string, to receiver) (leave func()) {
	raw := fmt.Sprintf(`%s,"live":true,"nonce":%d,"resync":%q}`, p.query[:len(p.query)-1], nonce, resync)
	return p.request(raw, time.Now(), func(frame *data.Frame) (unwatch func()) {
		custom, ok := frame.Meta.Custom.(liveAnswer)
		if !ok {
			to.plain(pictureOf(frame), len(frame.Meta.Notices))
			return func() {}
		}
		rows := int(custom.Window / custom.Step)
		return p.tab.watch(frame.Meta.Channel, custom.Data, frame, 4*rows+10_000, custom.Window+30_000, to.read, to.ends)
	}, to.fail)
}

// openUnguarded is the tutorial's front end: the answer's history and whatever
// the buffer gets, shown as they are.
func (p *panel) openUnguarded() (stop func()) {
	to := p.handed
	if to.IsZero() {
		to = time.Now()
	}
	return p.request(p.query, to, func(frame *data.Frame) (unwatch func()) {
		return p.tab.watch(frame.Meta.Channel, nil, frame, 100_000, p.length.Milliseconds(), func(b *buffer) {
			p.shown = picture{step: p.interval.Milliseconds(), times: slices.Clone(b.times), values: b.values}
		}, func() {})
	}, func(int) {})
}

// request queries over HTTP and calls answer or fail under the tab's mutex, or
// neither once it is left. What answer returns is called then, too.
func (p *panel) request(raw string, to time.Time, answer func(*data.Frame) func(), fail func(status int)) (leave func()) {
	left, unwatch := false, func() {}
	length, interval := p.length, p.interval
	go func() {
		frame, err := p.tab.ask(p.id, raw, length, interval, to)
		p.tab.mu.Lock()
		defer p.tab.mu.Unlock()
		switch {
		case left:
		case err != nil:
			var refused *refusedQuery
			if errors.As(err, &refused) {
				fail(refused.status)
			} else {
				fail(http.StatusBadGateway)
			}
		default:
			if done := answer(frame); left {
				done()
			} else {
				unwatch = done
			}
		}
	}()
	return func() {
		left = true
		unwatch()
	}
}
