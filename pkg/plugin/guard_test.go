package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
)

// This file is src/guard.ts once more in Go, so that the handlers can be tested
// together with it under virtual time. Both replay the same recorded schedules
// (vectors_test.go), and have to ask and to show the same. What no recording has,
// such as an error that comes with a stream's rows, is in src/guard.test.ts alone.

const (
	guardGrace     = 1500 * time.Millisecond // for the repeats of the overlap to fill a hole
	guardSilence   = 15 * time.Second        // between packets
	guardPatience  = 35 * time.Second        // for an answer, under settings without a timeout
	guardPoll      = 15 * time.Second        // without a stream
	guardDoubts    = 3                       // in a row: the panel is polled
	guardRetry     = 10 * time.Minute        // and then may have a stream again
	guardOverslept = 5 * time.Second
	guardWait      = 250 * time.Millisecond // at most, the first time
)

// guardPolicy is what the guard does for a reason; see src/guard.ts.
type guardPolicy struct {
	resync     string
	tellAfter  int
	proveAfter int // 0 is never
	calm       time.Duration
	longest    time.Duration // 0 is until a refresh
	first      time.Duration // where the answer does not say
	doubt      bool
	renew      bool
}

const guardNever = math.MaxInt

var guardPolicies = map[string]guardPolicy{
	"hole":    {"hole", 3, 0, 10 * time.Second, 10 * time.Second, guardWait, true, true},
	"short":   {"short", 3, 0, 10 * time.Second, 10 * time.Second, guardWait, true, true},
	"fields":  {"fields", 3, 0, time.Minute, 10 * time.Second, guardWait, true, true},
	"silence": {"silence", 3, 1, 10 * time.Second, 10 * time.Second, guardWait, false, true},
	"refused": {"refused", 3, 3, 10 * time.Second, 10 * time.Second, guardWait, false, true},
	"asleep":  {"silence", guardNever, 0, 10 * time.Second, time.Minute, guardWait, false, true},
	"range":   {"range", guardNever, 0, 10 * time.Second, time.Minute, guardWait, false, false},
	"health":  {"health", guardNever, 0, 10 * time.Second, time.Minute, guardWait, false, true},
	"failure": {"failure", 1, 0, 10 * time.Second, time.Minute, guardWait, false, false},
	"busy":    {"failure", 1, 0, 10 * time.Second, time.Minute, 5 * time.Second, false, false},
	"refusal": {"failure", 1, 0, 10 * time.Second, 0, guardWait, false, false},
}

// reasonOf returns what kind of failure a status is; 0 stands for a request that
// failed on its way.
func reasonOf(status int) string {
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return "busy"
	case status >= 400 && status <= 500 && status != http.StatusRequestTimeout:
		return "refusal"
	}
	return "failure"
}

// nonces is src/nonces.ts: those of one tab.
type nonces struct {
	renewed  map[string]int64  // by the channel without them
	channels map[string]string // by the key of the query that led there
}

func newNonces() *nonces { return &nonces{map[string]int64{}, map[string]string{}} }

func (n *nonces) of(key string) int64 { return n.renewed[n.channels[key]] }

func withoutNonce(channel string) string {
	return strings.Join(strings.SplitN(channel, "/", 7)[:6], "/")
}

func (n *nonces) met(key, channel string) {
	rows := withoutNonce(channel)
	if n.renewed[rows] > 0 {
		n.channels[key] = rows
	}
}

func (n *nonces) renew(key, channel string, used int64) {
	rows := withoutNonce(channel)
	if n.renewed[rows] <= used {
		n.renewed[rows] = used + 1
	}
	n.channels[key] = rows
}

// wanted is what a range has of a stream's rows, in milliseconds: those from a
// time on, or else the newest of a length. The range will soon reach so far back.
type wanted struct {
	grows               bool
	from, length, reach int64
}

// ranges that grow, by what a dashboard calls them, in UTC.
var ranges = map[string]func(now time.Time) (from time.Time){
	"now/d":    func(now time.Time) time.Time { return now.Truncate(24 * time.Hour) },
	"now-1m/m": func(now time.Time) time.Time { return now.Add(-time.Minute).Truncate(time.Minute) },
}

func wantedOf(name string, length, patience time.Duration) wanted {
	if begins, ok := ranges[name]; ok {
		now := time.Now()
		length := now.Sub(begins(now)).Milliseconds()
		return wanted{true, begins(now).UnixMilli(), length, length + patience.Milliseconds()}
	}
	return wanted{length: length.Milliseconds(), reach: length.Milliseconds()}
}

// guard runs one query of a panel and shows only what is exact; on any doubt it
// asks again under a new nonce. All its methods run under the lock, which is
// JavaScript's single thread.
type guard struct {
	lock     *sync.Mutex
	nonces   *nonces
	key      string
	wanted   func() wanted
	patience time.Duration
	random   func() float64
	query    query
	show     func(answer)
	before   *guard // whose stream is shown until this one has rows
	next     *guard // which has asked for a longer window

	state       string // asking, streaming, waiting, polling or done
	reason      string
	tries       int
	doubts      int
	streamsFrom time.Time
	hidden      bool
	shown       *answer // the last rows, without what was said of trouble
	timer       *time.Timer
	turns       int // counts attempts: what an old one calls back is dropped
	leave       func()

	since  time.Time // of asking or streaming
	until  time.Time // of asking, waiting or polling
	nonce  int64
	polled bool
	stream guardStream
}

// guardStream is what a guard keeps of a stream.
type guardStream struct {
	earliest time.Time // of waiting
	took     time.Duration
	channel  string
	fields   []field
	buffer   *buffer
	packets  int
	alive    time.Time
	mended   time.Time
}

// answer is what a guard lets through.
type answer struct {
	picture
	state   string // Streaming, Done or Error, which has no rows
	notices int
}

// query asks once and calls what fits the answer. The calls come under the lock,
// and so does query itself.
type query func(ask asked, to receiver) (leave func())

// receiver takes what comes of a query: the buffer of a stream, now and after
// every message, until the stream ends; or an answer without a stream, or none,
// with the HTTP status and the seconds of Retry-After.
type receiver struct {
	read  func(*buffer)
	ends  func()
	plain func(p picture, terms *liveAnswer, notices int)
	fail  func(status, retryAfter int)
}

func (g *guard) start() { g.ask() }

// stop ends the guard and all that have followed it.
func (g *guard) stop() {
	for ; g != nil; g = g.next {
		g.end()
	}
}

func (g *guard) end() {
	g.state = "done"
	g.drop()
}

// hide hides the tab of a guard or shows it again.
func (g *guard) hide(hidden bool) {
	for ; g != nil; g = g.next {
		g.wake(hidden)
	}
}

// outgrow asks for a longer window while the stream goes on.
func (g *guard) outgrow() {
	if g.next != nil {
		return
	}
	g.next = &guard{
		lock: g.lock, nonces: g.nonces, key: g.key, wanted: g.wanted, patience: g.patience, random: g.random,
		query: g.query, show: g.show, before: g, hidden: g.hidden,
		tries: g.tries, doubts: g.doubts, streamsFrom: g.streamsFrom, shown: g.shown,
	}
	if g.calm("range") {
		g.next.tries = 0
	}
	g.next.trouble("range", 0)
	g.next.plan()
}

// emit shows an answer. One that follows another takes its place then, but what
// is shown is better than what failed.
func (g *guard) emit(a answer) {
	if g.before != nil {
		if g.state == "waiting" {
			return
		}
		g.before.end()
		g.before = nil
	}
	g.show(a)
}

// drop leaves the inner query.
func (g *guard) drop() {
	g.turns++
	if g.leave != nil {
		g.leave()
		g.leave = nil
	}
	if g.timer != nil {
		g.timer.Stop()
	}
}

// plan sets the timer for when the state is due.
func (g *guard) plan() {
	if g.timer != nil {
		g.timer.Stop()
	}
	due, ok := g.due()
	if !ok {
		return
	}
	var mine *time.Timer
	mine = time.AfterFunc(time.Until(due), func() {
		g.lock.Lock()
		defer g.lock.Unlock()
		if g.timer == mine {
			g.wake(g.hidden)
		}
	})
	g.timer = mine
}

func (g *guard) due() (time.Time, bool) {
	switch {
	case g.state == "done", g.hidden && g.state != "asking":
		return time.Time{}, false
	case g.state != "streaming":
		return g.until, true
	case g.stream.mended.IsZero() || g.stream.alive.Before(g.stream.mended):
		return g.stream.alive, true
	}
	return g.stream.mended, true
}

func (g *guard) ask() {
	now := time.Now()
	g.state, g.since, g.until = "asking", now, now.Add(g.patience)
	g.nonce, g.polled = g.nonces.of(g.key), now.Before(g.streamsFrom)
	ask := asked{Polled: g.polled, Nonce: g.nonce}
	if !g.polled && g.reason != "" {
		ask.Resync = guardPolicies[g.reason].resync
	}
	g.turns++
	turn := g.turns
	mine := func() bool { return g.turns == turn && g.state != "done" }
	leave := g.query(ask, receiver{
		read: func(b *buffer) {
			if mine() {
				g.packet(b)
				g.plan()
			}
		},
		ends: func() {
			if mine() {
				g.trouble(map[bool]string{true: "refused", false: "failure"}[g.state == "streaming"], 0)
				g.plan()
			}
		},
		plain: func(p picture, terms *liveAnswer, notices int) {
			if mine() {
				g.plain(p, terms, notices)
				g.plan()
			}
		},
		fail: func(status, retryAfter int) {
			if mine() {
				g.trouble(reasonOf(status), time.Duration(retryAfter)*time.Second)
				g.plan()
			}
		},
	})
	if g.turns != turn { // what came at once was already in doubt
		leave()
		return
	}
	g.leave = leave
	g.plan()
}

// wake looks at the time, or at whether the tab is hidden.
func (g *guard) wake(hidden bool) {
	wasHidden := g.hidden
	g.hidden = hidden
	now := time.Now()
	defer g.plan()
	if wasHidden && !hidden {
		switch {
		case g.state == "streaming" && now.Before(g.stream.alive):
			g.read(true)
			return
		case g.state == "waiting" && !now.Before(g.stream.earliest):
			g.ask()
			return
		}
	}
	if due, ok := g.due(); !ok || now.Before(due) {
		return
	}
	switch g.state {
	case "asking":
		g.trouble("failure", 0)
	case "streaming":
		switch late := now.Sub(g.stream.alive); {
		case late < 0:
			g.trouble("hole", 0)
		case wasHidden, late > guardOverslept:
			g.trouble("asleep", 0)
		default:
			g.trouble("silence", 0)
		}
	default:
		g.ask()
	}
}

// plain shows an answer without a stream as it is, and asks again later if a
// notice says why there is none, or if it was not asked for one.
func (g *guard) plain(p picture, terms *liveAnswer, notices int) {
	g.tries = 0
	if !g.polled && notices == 0 && !g.wanted().grows {
		g.emit(answer{p, "Done", 0})
		g.end()
		return
	}
	g.drop()
	g.state, g.until = "polling", time.Now().Add(guardPoll)
	if terms != nil {
		p, _, _ = exact(&buffer{times: p.times, values: p.values}, *terms, g.wanted())
	}
	g.shown = &answer{p, "Streaming", notices}
	if !g.polled {
		g.reason = "refused"
	}
	g.complain(g.polled)
}

func (g *guard) packet(b *buffer) {
	now := time.Now()
	if g.state == "asking" {
		channel := b.schema.Meta.Channel
		g.nonces.met(g.key, channel)
		g.stream = guardStream{took: now.Sub(g.since), channel: channel, fields: b.schema.Fields}
		g.state, g.since = "streaming", now
	}
	g.stream.buffer = b
	g.stream.packets++
	g.stream.alive = now.Add(guardSilence + g.stream.took)
	if !g.hidden || g.shown == nil {
		g.read(false)
	}
}

func (g *guard) read(unwatched bool) {
	b := g.stream.buffer
	want := g.wanted()
	custom := b.schema.Meta.Custom
	shown, doubt, mendable := exact(b, custom, want)
	outgrown := want.reach > custom.Window
	switch {
	case !reflect.DeepEqual(b.schema.Fields, g.stream.fields) && len(b.schema.Fields) > 1 && b.schema.Fields[1].Name == "health":
		g.trouble("health", 0)
	case !reflect.DeepEqual(b.schema.Fields, g.stream.fields) || doubt == "fields":
		g.trouble("fields", 0)
	case doubt != "" && (!mendable || unwatched):
		if outgrown {
			doubt = "range"
		}
		g.trouble(doubt, 0)
	case doubt == "":
		g.stream.mended = time.Time{}
		g.shown = &answer{shown, "Streaming", len(b.schema.Meta.Notices)}
		prove := guardPolicies[g.reason].proveAfter
		g.complain(prove > 0 && g.stream.packets < 2 && g.tries >= prove)
		if outgrown {
			g.outgrow()
		}
	case g.stream.mended.IsZero():
		g.stream.mended = time.Now().Add(guardGrace)
	}
}

// complain shows what is shown, with a notice if there is trouble; or an error,
// as long as there is nothing to show.
func (g *guard) complain(trouble bool) {
	if g.shown == nil {
		g.emit(answer{state: "Error"})
		return
	}
	now := *g.shown
	if trouble {
		now.notices++
	}
	g.emit(now)
}

// calm is whether the stream lasted too long to be part of the same trouble.
func (g *guard) calm(reason string) bool {
	return g.state == "streaming" && time.Since(g.since) > guardPolicies[reason].calm
}

// trouble leaves what was asked for, and decides when to ask again.
func (g *guard) trouble(reason string, retryAfter time.Duration) {
	policy, now := guardPolicies[reason], time.Now()
	g.drop()
	calmed := g.calm(reason)
	if g.state == "streaming" && policy.renew {
		g.nonces.renew(g.key, g.stream.channel, g.nonce)
	}
	g.reason = reason
	g.tries++
	if calmed {
		g.tries = 1
	}
	if policy.doubt {
		g.doubts++
		if calmed {
			g.doubts = 1
		}
		if g.doubts >= guardDoubts {
			g.streamsFrom = now.Add(guardRetry)
		}
	}
	first := policy.first
	if retryAfter > 0 {
		first = guardWait
	}
	most := min(policy.longest, first<<min(g.tries-1, 10))
	g.state, g.stream.earliest = "waiting", now.Add(retryAfter)
	g.until = g.stream.earliest.Add(time.Duration(g.random() * float64(most)))
	if policy.longest == 0 {
		g.state = "done"
	}
	if g.tries >= policy.tellAfter {
		g.complain(true)
	}
}

// exact returns the rows that are wanted, one per time and in order, or why
// they are in doubt, and whether the overlap may still mend that.
func exact(b *buffer, custom liveAnswer, want wanted) (shown picture, doubt string, mendable bool) {
	if custom.Step <= 0 {
		return picture{}, "fields", false
	}
	newest := slices.Max(b.times)
	start := grid.Floor(newest-want.length+custom.Step-1, custom.Step)
	if want.grows {
		start = grid.Floor(want.from+custom.Step-1, custom.Step)
	}
	oldest := max(custom.First, newest-custom.Window, start)
	from := slices.Repeat([]int{-1}, int(max(0, (newest-oldest)/custom.Step+1)))
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

// limit is how long an answer may take.
func (p *panel) limit() time.Duration { return cmp.Or(p.patience, guardPatience) }

// openGuarded is Continuum's front end: the guard around the stock query.
func (p *panel) openGuarded() func() {
	t := p.tab
	g := &guard{
		lock: &t.mu, nonces: t.nonces, key: fmt.Sprint(p.query, p.interval), query: p.ask, show: p.show,
		patience: p.limit(), hidden: t.hidden,
		wanted: func() wanted { return wantedOf(p.rangeName, p.length, p.limit()) },
	}
	g.random = func() float64 { return float64(t.server.between(p.id, 0, time.Second)) / float64(time.Second) }
	start, stop := g.start, g.stop
	if p.record != nil {
		start, stop = p.record.open(g, p)
	}
	t.guards[g] = true
	start()
	return func() {
		delete(t.guards, g)
		stop()
	}
}

// hide hides the tab or shows it again.
func (s *world) hide(t *tab, hidden bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hidden = hidden
	if s.record != nil {
		s.record.add(0, event{Hidden: &hidden})
	}
	for g := range t.guards {
		g.hide(hidden)
	}
}

// ask is DataSourceWithBackend.query with a query of the guard. The range is
// taken anew from what the dashboard says, whatever Grafana has handed over.
func (p *panel) ask(ask asked, to receiver) (leave func()) {
	if f := p.failing; f != nil {
		return p.after(50*time.Millisecond, func() { to.fail(f.Status, f.RetryAfter) })
	}
	raw := fmt.Sprintf(`%s,"live":true,"polled":%t,"nonce":%d,"resync":%q}`, p.query[:len(p.query)-1], ask.Polled, ask.Nonce, ask.Resync)
	length := p.length
	if want := wantedOf(p.rangeName, p.length, p.limit()); want.grows {
		length = time.Duration(want.reach)*time.Millisecond + p.limit() // with room for the next answer
	}
	return p.request(raw, length, time.Now(), func(frame *data.Frame) (unwatch func()) {
		custom, ok := frame.Meta.Custom.(liveAnswer)
		if frame.Meta.Channel == "" {
			var terms *liveAnswer
			if ok {
				terms = &custom
			}
			to.plain(pictureOf(frame), terms, len(frame.Meta.Notices))
			return func() {}
		}
		rows := int(custom.Window / custom.Step)
		return p.tab.watch(frame.Meta.Channel, custom.Data, frame, 4*rows+10_000, custom.Window+30_000, to.read, to.ends)
	}, func(status int) { to.fail(status, 0) })
}

// after calls what comes of a query that never reaches the plugin.
func (p *panel) after(d time.Duration, do func()) (leave func()) {
	left := false
	time.AfterFunc(d, func() {
		p.tab.mu.Lock()
		defer p.tab.mu.Unlock()
		if !left {
			do()
		}
	})
	return func() { left = true }
}

// openUnguarded is the tutorial's front end: the answer's history and whatever
// the buffer gets, shown as they are.
func (p *panel) openUnguarded() (stop func()) {
	to := p.handed
	if to.IsZero() {
		to = time.Now()
	}
	return p.request(p.query, p.length, to, func(frame *data.Frame) (unwatch func()) {
		return p.tab.watch(frame.Meta.Channel, nil, frame, 100_000, p.length.Milliseconds(), func(b *buffer) {
			p.shown = picture{step: p.interval.Milliseconds(), times: slices.Clone(b.times), values: b.values}
		}, func() {})
	}, func(int) {})
}

// request queries over HTTP and calls answer or fail under the tab's mutex, or
// neither once it is left. What answer returns is called then, too.
func (p *panel) request(raw string, length time.Duration, to time.Time, answer func(*data.Frame) func(), fail func(status int)) (leave func()) {
	left, unwatch := false, func() {}
	interval := p.interval
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
