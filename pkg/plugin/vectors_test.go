package plugin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// The vectors are what the guards of one tab got in some scenarios and random
// schedules, when they asked, and every picture that they showed.
// src/replay.test.ts gives the same to the real guard, which has to do the same
// at the same times. So whatever a schedule takes the guard through, the Go copy
// and the real one agree on it. What no schedule has is not compared: see
// src/guard.test.ts.
//
// Run with -update to record them anew.
type recording struct {
	Name   string  `json:"name"`
	Began  int64   `json:"began"` // Unix ms
	Events []event `json:"events"`

	guards int
}

var vectors = filepath.Join("testdata", "guard")

// event is what one guard gets or does, and when.
type event struct {
	At    int64 `json:"at"` // ms since the beginning
	Guard int   `json:"guard"`
	// It is opened or closed; it gets a buffer with what that holds, or a message
	// that is appended to that buffer, or the end of the stream; an answer without
	// a stream; or none, with the HTTP status.
	Open   *opened         `json:"open,omitempty"`
	Close  bool            `json:"close,omitempty"`
	Buffer *frameJSON      `json:"buffer,omitempty"`
	Packet json.RawMessage `json:"packet,omitempty"`
	Ends   bool            `json:"ends,omitempty"`
	Plain  *plainAnswer    `json:"plain,omitempty"`
	Fails  *failure        `json:"fails,omitempty"`
	// For how many queries since: what it gets is of an older one.
	Ago int `json:"ago,omitempty"`
	// The tab is hidden or shown, and with it all guards.
	Hidden *bool `json:"hidden,omitempty"`
	// It asks or shows something.
	Ask  *asked `json:"ask,omitempty"`
	Show string `json:"show,omitempty"`
}

func (e event) does() bool { return e.Ask != nil || e.Show != "" }

// opened is what a guard knows of its panel. Times are in milliseconds.
type opened struct {
	Key      string `json:"key"`
	Range    string `json:"range,omitempty"` // one that grows, or
	Length   int64  `json:"length"`
	Patience int64  `json:"patience"`
}

type failure struct {
	Status     int `json:"status"`
	RetryAfter int `json:"retryAfter,omitempty"`
}

type asked struct {
	Polled bool   `json:"polled,omitempty"`
	Nonce  int64  `json:"nonce"`
	Resync string `json:"resync,omitempty"`
}

type plainAnswer struct {
	Values  []any       `json:"values"`
	Terms   *liveAnswer `json:"terms,omitempty"`
	Notices int         `json:"notices"`
}

type frameJSON struct {
	Schema *schema `json:"schema"`
	Data   struct {
		Values []any `json:"values"`
	} `json:"data"`
}

// String is an answer in short: its state, notices, rows and a digest of them.
func (a answer) String() string {
	if a.state == "Error" {
		return a.state
	}
	b, err := json.Marshal(columns(a.times, a.values))
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%s %d %d %.3x", a.state, a.notices, len(a.times), sha256.Sum256(b))
}

func (r *recording) add(guard int, e event) {
	if r.Began == 0 {
		r.Began = time.Now().UnixMilli()
	}
	e.At, e.Guard = time.Now().UnixMilli()-r.Began, guard
	r.Events = append(r.Events, e)
}

// half stands for random, in recordings and their replays.
func half() float64 { return 0.5 }

// open makes a guard record what it gets and does, from its start to its stop.
func (r *recording) open(g *guard, p *panel) (start, stop func()) {
	r.guards++
	id := r.guards
	ask, show := g.query, g.show
	queries := 0
	g.random = half
	g.show = func(a answer) {
		r.add(id, event{Show: a.String()})
		show(a)
	}
	g.query = func(a asked, to receiver) func() {
		r.add(id, event{Ask: &a})
		first := true
		queries++
		mine := queries
		got := func(e event) {
			e.Ago = queries - mine
			r.add(id, e)
		}
		return ask(a, receiver{
			read: func(b *buffer) {
				if first {
					f := &frameJSON{Schema: b.schema}
					f.Data.Values = columns(b.times, b.values)
					got(event{Buffer: f})
				} else {
					got(event{Packet: b.last})
				}
				first = false
				to.read(b)
			},
			ends: func() {
				got(event{Ends: true})
				to.ends()
			},
			plain: func(p picture, terms *liveAnswer, notices int) {
				got(event{Plain: &plainAnswer{columns(p.times, p.values), terms, notices}})
				to.plain(p, terms, notices)
			},
			fail: func(status, retryAfter int) {
				got(event{Fails: &failure{status, retryAfter}})
				to.fail(status, retryAfter)
			},
		})
	}
	start = func() {
		r.add(id, event{Open: &opened{g.key, p.rangeName, p.length.Milliseconds(), g.patience.Milliseconds()}})
		g.start()
	}
	return start, func() {
		r.add(id, event{Close: true})
		g.stop()
	}
}

// columns copies, for the buffer goes on.
func columns(times []int64, values [][]*float64) []any {
	all := []any{append([]int64{}, times...)}
	for _, column := range values {
		all = append(all, append([]*float64{}, column...))
	}
	return all
}

// shifting is the signal in whole numbers, and others every seven seconds, so
// that it matters which of two equal times wins. It comes from an input.
type shifting struct {
	source.Source
	pace  pace
	input *input
}

// input is one that goes down and is back.
type input struct {
	mu    sync.Mutex
	turns int // it is down after an odd number
	moved chan struct{}
}

func newInput() *input { return &input{moved: make(chan struct{})} }

func (in *input) turn() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.turns++
	close(in.moved)
	in.moved = make(chan struct{})
}

// pace is how slow a source is.
type pace struct {
	settles time.Duration // once in so long
	takes   time.Duration // to read a minute of rows, or more
}

func (s shifting) Query(raw json.RawMessage) (source.Query, error) {
	return rebound(s.Source, raw, func(b source.Bound) source.Bound { return shiftingBound{b, s.pace, s.input} })
}

type shiftingBound struct {
	source.Bound
	pace  pace
	input *input
}

func (b shiftingBound) Watch() (mark string, changed <-chan struct{}) {
	b.input.mu.Lock()
	defer b.input.mu.Unlock()
	if b.input.turns == 0 {
		return "", b.input.moved
	}
	return strconv.Itoa(b.input.turns), b.input.moved
}

func (b shiftingBound) Since(mark string, _ int64) error {
	if now, _ := b.Watch(); now != mark {
		return source.ErrHealth
	}
	return nil
}

func (b shiftingBound) Traits() source.Traits {
	traits := b.Bound.Traits()
	traits.Revised = b.pace == pace{}
	return traits
}

func (b shiftingBound) Settled(ctx context.Context) (int64, error) {
	settled, err := b.Bound.Settled(ctx)
	if b.pace.settles > 0 {
		settled = grid.Floor(settled, b.pace.settles.Milliseconds())
	}
	return settled, err
}

func (b shiftingBound) Rows(ctx context.Context, after, through int64) (grid.Rows, error) {
	if through-after >= time.Minute.Milliseconds() {
		time.Sleep(b.pace.takes)
	}
	rows, err := b.Bound.Rows(ctx, after, through)
	shift := float64(time.Now().Unix() / 7 % 10)
	for i := range rows.Len() {
		rows.Series[0].Values[i] = math.Round(rows.Series[0].Values[i]) + shift
	}
	b.input.mu.Lock()
	defer b.input.mu.Unlock()
	if b.input.turns%2 == 1 {
		rows.Notices = append(rows.Notices, data.Notice{Severity: data.NoticeSeverityWarning, Text: "input: no connection since 00:01 UTC, last values shown"})
	}
	return rows, err
}

// record records what do does to one tab, whose panels have few rows.
func record(t *testing.T, name string, seed uint64, pace pace, do func(s *world, tab *tab)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			factory := NewFactory(noStores())
			in := newInput()
			s := &world{
				t: t, tick: 1000, rows: 24, input: in, query: `{"shape":"sawtooth","tickInterval":1000}`,
				record: &recording{Name: name},
				srv: newServer(t, seed, func() handlers {
					return managed{datasource.NewInstanceManager(func(ctx context.Context, c backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
						made, err := factory(ctx, c)
						if made, ok := made.(*instance); ok && made.source != nil {
							made.source = shifting{made.source, pace, in}
							made.patience = max(made.patience, pace.takes+15*time.Second) // as its settings would have it
						}
						return made, err
					})}
				}),
			}
			tab := s.tab()
			do(s, tab)
			s.wait(15 * time.Second)

			tab.mu.Lock()
			b, err := json.Marshal(s.record)
			tab.mu.Unlock()
			if err == nil {
				err = os.WriteFile(filepath.Join(vectors, name+".json"), append(b, '\n'), 0o644)
			}
			if err != nil {
				t.Error(err)
			}
			for _, p := range s.panels {
				p.close()
			}
			s.srv.stop(tab)
		})
	})
}

func TestRecordVectors(t *testing.T) {
	if !*update {
		return // TestReplay checks those that are there
	}
	for name, do := range map[string]func(*world, *panel){
		"first-load":           func(*world, *panel) {},
		"socket-cut-for-3-s":   func(s *world, p *panel) { s.cut(p.tab, 3*time.Second, false) },
		"socket-cut-for-30-s":  func(s *world, p *panel) { s.cut(p.tab, 30*time.Second, false) },
		"network-cut-for-30-s": func(s *world, p *panel) { s.cut(p.tab, 30*time.Second, true) },
		"Grafana-restarted": func(s *world, p *panel) {
			s.wait(5 * time.Second)
			s.srv.restart(20*time.Second, p.tab)
		},
		"minimum-step-raised": func(s *world, _ *panel) {
			s.wait(5 * time.Second)
			s.srv.change(`{"minStep":2000}`)
		},
		"joined-an-old-buffer": func(s *world, p *panel) {
			// The buffer is cut to the window of a panel that knows no better.
			p.close()
			p.tab.mu.Lock()
			for _, c := range p.tab.channels {
				for i := range c.buffer.values {
					c.buffer.values[i] = c.buffer.values[i][10:]
				}
				c.buffer.times = c.buffer.times[10:]
			}
			p.tab.mu.Unlock()
			p.open()
		},
	} {
		record(t, name, 1, pace{}, func(s *world, tab *tab) {
			p := s.panel(tab)
			s.wait(5 * time.Second)
			do(s, p)
		})
	}
	for seed := range uint64(3) {
		record(t, fmt.Sprintf("random-%d", seed), seed, pace{}, func(s *world, tab *tab) {
			vectorSchedule(s, tab, rand.New(rand.NewPCG(seed, 4)))
		})
	}
}

// TestRecordPolicies records what the policy of the guard is about.
func TestRecordPolicies(t *testing.T) {
	if !*update {
		return
	}
	record(t, "growing-over-midnight", 1, pace{}, func(s *world, tab *tab) {
		s.wait(24*time.Hour - 80*time.Second)
		p := s.newPanel(tab)
		p.rangeName = "now-1m/m"
		p.open()
		s.wait(150 * time.Second)
	})
	record(t, "today-so-far-over-midnight", 1, pace{}, func(s *world, tab *tab) {
		s.tick = 60_000
		s.query = `{"shape":"sawtooth","tickInterval":60000}`
		s.wait(24*time.Hour - 2*time.Minute)
		p := s.newPanel(tab)
		p.rangeName = "now/d"
		p.open()
		s.wait(5 * time.Minute)
	})
	record(t, "growing-while-answers-take-20-s", 1, pace{takes: 20 * time.Second}, func(s *world, tab *tab) {
		s.wait(10 * time.Second)
		p := s.newPanel(tab)
		p.rangeName = "now-1m/m"
		p.open()
		s.wait(3 * time.Minute)
	})
	record(t, "rows-once-a-minute", 1, pace{settles: time.Minute}, func(s *world, tab *tab) {
		s.rows = 180
		s.panel(tab)
		s.wait(5 * time.Minute)
	})
	record(t, "queries-of-45-s", 1, pace{takes: 45 * time.Second}, func(s *world, tab *tab) {
		s.rows = 180
		p := s.newPanel(tab)
		p.patience = 65 * time.Second
		p.open()
		s.wait(5 * time.Minute)
	})
	record(t, "churning-beside-nine", 1, pace{}, func(s *world, tab *tab) {
		s.tick = 10_000
		for i := range 10 {
			s.query = fmt.Sprintf(`{"shape":"sawtooth","tickInterval":10000,"upperLimit":%d}`, 100+i)
			s.panel(tab)
		}
		for range 85 {
			s.wait(7 * time.Second)
			s.srv.churn(tab, "upperLimit\\\":100,")
		}
	})
	record(t, "every-class-of-failure", 1, pace{}, func(s *world, tab *tab) {
		for _, f := range []failure{{400, 0}, {401, 0}, {403, 0}, {404, 0}, {408, 0}, {429, 30}, {500, 0}, {502, 0}, {503, 0}, {504, 0}} {
			p := s.newPanel(tab)
			p.failing = &f
			p.open()
		}
		s.panel(tab)
		s.wait(5 * time.Second)
		s.panels[len(s.panels)-1].failing = &failure{Status: 401}
		s.srv.churn(tab, "sawtooth")
		s.wait(3 * time.Minute)
		tab.mu.Lock()
		for _, p := range s.panels {
			p.failing = nil
		}
		tab.mu.Unlock()
		s.wait(time.Minute)
	})
	record(t, inputTurns, 1, pace{}, func(s *world, tab *tab) {
		s.panel(tab)
		s.panel(tab)
		s.wait(firstTurn)
		s.input.turn()
		s.wait(15 * time.Second)
		s.input.turn()
		s.wait(15 * time.Second)
		for range 7 { // and is down
			s.input.turn()
			s.wait(900 * time.Millisecond)
		}
		s.wait(20 * time.Second)
		s.input.turn()
	})
	record(t, "hidden-for-an-hour", 1, pace{}, func(s *world, tab *tab) {
		s.tick = 10_000
		s.query = `{"shape":"sawtooth","tickInterval":10000}`
		s.panel(tab)
		s.wait(time.Minute)
		s.hide(tab, true)
		s.wait(time.Hour)
		s.hide(tab, false)
		s.wait(time.Minute)
		s.hide(tab, true)
		s.wait(time.Minute)
		tab.disconnect()
		s.wait(time.Hour)
		tab.reconnect()
		s.hide(tab, false)
		s.wait(time.Minute)
	})
}

const (
	inputTurns = "input-goes-down-and-is-back"
	firstTurn  = 15 * time.Second
)

// When an input goes down or is back, panels ask once, say so within three seconds, and
// do not ask again for ten.
func TestInputTurns(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(vectors, inputTurns+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var r recording
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	for id := 1; id <= 2; id++ {
		var asked []int64
		var notices []string
		for _, e := range r.Events {
			switch fields := strings.Fields(e.Show); {
			case e.Guard != id:
			case e.Ask != nil && e.Ask.Resync != "":
				if asked = append(asked, e.At); e.Ask.Resync != "health" {
					t.Errorf("panel %d asks because of %s", id, e.Ask.Resync)
				}
			case len(fields) == 0, len(notices) > 0 && notices[len(notices)-1] == fields[1]:
			case fields[1] == "1" && len(notices) == 1 && e.At > (firstTurn+3*time.Second).Milliseconds():
				t.Errorf("panel %d has a notice only after %d ms", id, e.At)
				fallthrough
			default:
				notices = append(notices, fields[1])
			}
		}
		for i := range len(asked) - 1 {
			if asked[i+1]-asked[i] < 10_000 {
				t.Errorf("panel %d asks at %v", id, asked)
			}
		}
		if want := []string{"0", "1", "0", "1", "0"}; !slices.Equal(notices, want) || len(asked) < 4 || len(asked) > 6 {
			t.Errorf("panel %d asks at %v and has %v notices", id, asked, notices)
		}
	}
}

// churn sends the row that says that the series have changed, to the streams
// whose data have a text.
func (s *server) churn(tab *tab, text string) {
	tab.mu.Lock()
	var channels []string
	for channel, c := range tab.channels {
		if strings.Contains(string(c.data), text) {
			channels = append(channels, channel)
		}
	}
	tab.mu.Unlock()
	for _, channel := range channels {
		s.publish(channel, changed)
	}
}

// vectorSchedule takes two panels of one tab through all that can happen to them,
// in a random order.
func vectorSchedule(s *world, tab *tab, rng *rand.Rand) {
	s.panel(tab)
	s.rows = 16
	s.panel(tab)
	some := func() time.Duration { return time.Duration(200+rng.IntN(4000)) * time.Millisecond }
	one := func() *panel { return s.panels[rng.IntN(2)] }
	acts := []func(){
		func() { s.srv.killPlugin(some()) },
		func() { s.leave(one(), some()) },
		func() { s.leave(one(), 8*time.Second) },
		func() { one().refresh() },
		func() { s.cut(tab, some(), false) },
		func() { s.cut(tab, 13*time.Second, rng.IntN(2) == 0) }, // longer than the overlap
		func() { s.cut(tab, 18*time.Second, false) },            // long enough to be noticed
		func() { s.srv.lose(some()) },
		func() { // and the overlap of a reconnect mends it in time
			s.srv.lose(1200 * time.Millisecond)
			s.wait(time.Second)
			tab.disconnect()
			tab.mu.Lock()
			tab.connect()
			tab.mu.Unlock()
			s.wait(3 * time.Second)
		},
		func() { // one panel is without a stream, and polls
			s.srv.change(`{"maxStreams":1}`)
			s.srv.restart(some(), tab)
			s.wait(10 * time.Second)
			s.srv.killPlugin(8 * time.Second) // while it would ask
			s.wait(5 * time.Second)
			s.srv.change(`{}`)
			s.wait(15 * time.Second)
		},
		func() { // HTTP 400, to panels with rows and to one without
			s.srv.change(`{"maxRows":10,"minStep":500}`)
			s.wait(2 * some())
			p := one()
			p.refresh()
			s.wait(some())
			s.srv.change(`{}`)
			p.refresh()
		},
		func() { // HTTP 502
			s.srv.change(`{"minStep":1}`)
			s.wait(2 * some())
			one().refresh()
			s.wait(2 * some())
			s.srv.change(`{}`)
		},
	}
	rng.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
	for _, act := range acts {
		s.wait(some())
		act()
	}
}

// The Go copy of the guard replays the vectors as the real one does.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectors, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", vectors, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r recording
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { replay(t, r) })
		})
	}
}

// replayed is one guard with what it gets.
type replayed struct {
	guard *guard
	to    []*gets // of its queries
	did   []event
}

// gets is where what comes of a query goes.
type gets struct {
	receiver
	buf *buffer
}

func replay(t *testing.T, r recording) {
	var (
		lock   sync.Mutex
		nonces = newNonces()
		hidden bool
		all    = map[int]*replayed{}
		want   = map[int][]event{}
	)
	for _, e := range r.Events {
		time.Sleep(time.Until(time.UnixMilli(r.Began + e.At)))
		synctest.Wait()
		lock.Lock()
		one := all[e.Guard]
		to := &gets{}
		if one != nil && len(one.to) > e.Ago {
			to = one.to[len(one.to)-1-e.Ago]
		}
		switch {
		case e.does():
			want[e.Guard] = append(want[e.Guard], e)
		case e.Hidden != nil:
			hidden = *e.Hidden
			for _, one := range all {
				one.guard.hide(hidden)
			}
		case e.Open != nil:
			one = &replayed{}
			all[e.Guard] = one
			add := func(d event) {
				d.At, d.Guard = time.Now().UnixMilli()-r.Began, e.Guard
				one.did = append(one.did, d)
			}
			one.guard = &guard{
				lock: &lock, nonces: nonces, key: e.Open.Key, random: half, hidden: hidden,
				patience: time.Duration(e.Open.Patience) * time.Millisecond,
				wanted: func() wanted {
					return wantedOf(e.Open.Range, time.Duration(e.Open.Length)*time.Millisecond, time.Duration(e.Open.Patience)*time.Millisecond)
				},
				query: func(a asked, to receiver) func() {
					add(event{Ask: &a})
					one.to = append(one.to, &gets{receiver: to})
					return func() {}
				},
				show: func(a answer) { add(event{Show: a.String()}) },
			}
			one.guard.start()
		case e.Close:
			one.guard.stop()
		case e.Fails != nil:
			to.fail(e.Fails.Status, e.Fails.RetryAfter)
		case e.Ends:
			to.ends()
		case e.Plain != nil:
			to.plain(e.Plain.picture(t), e.Plain.Terms, e.Plain.Notices)
		case e.Buffer != nil:
			to.buf = &buffer{maxLength: math.MaxInt, maxDelta: math.MaxInt32}
			to.buf.push(t, []byte(jsonOf(t, e.Buffer)))
			to.read(to.buf)
		default:
			to.buf.push(t, e.Packet)
			to.read(to.buf)
		}
		lock.Unlock()
	}
	lock.Lock()
	defer lock.Unlock()
	for id, one := range all {
		one.guard.stop()
		for i := range max(len(one.did), len(want[id])) {
			got, recorded := "nothing", "nothing"
			if i < len(one.did) {
				got = jsonOf(t, one.did[i])
			}
			if i < len(want[id]) {
				recorded = jsonOf(t, want[id][i])
			}
			if got != recorded {
				t.Errorf("guard %d does %s, recorded is %s", id, got, recorded)
				break
			}
		}
	}
}

func (a *plainAnswer) picture(t *testing.T) (p picture) {
	b := []byte(jsonOf(t, a.Values))
	var raw []json.RawMessage
	err := json.Unmarshal(b, &raw)
	if err == nil {
		err = json.Unmarshal(raw[0], &p.times)
	}
	for _, column := range raw[min(1, len(raw)):] {
		var values []*float64
		if err == nil {
			err = json.Unmarshal(column, &values)
		}
		p.values = append(p.values, values)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
