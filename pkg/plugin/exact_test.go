package plugin

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
)

// A dashboard's panel in a tab: open, refresh and close are a user's acts.

func (p *panel) open() {
	p.tab.mu.Lock()
	defer p.tab.mu.Unlock()
	p.stop = p.run()
}

func (p *panel) run() (stop func()) {
	if p.guarded {
		return p.openGuarded()
	}
	return p.openUnguarded()
}

func (p *panel) close() {
	p.tab.mu.Lock()
	defer p.tab.mu.Unlock()
	p.stop()
	p.stop = nil
}

// refresh is also what a change of the range does: the query is run anew before
// the old subscription is left.
func (p *panel) refresh() {
	p.tab.mu.Lock()
	defer p.tab.mu.Unlock()
	old := p.stop
	p.stop = p.run()
	old()
}

// edit is what each change in the panel editor does: the query is run anew with
// the range that it had when the editor was opened.
func (p *panel) edit(opened time.Time) {
	p.tab.mu.Lock()
	p.handed = opened
	p.tab.mu.Unlock()
	p.refresh()
}

// resize changes the range.
func (p *panel) resize(length time.Duration) {
	p.tab.mu.Lock()
	p.length = length
	p.tab.mu.Unlock()
	p.refresh()
}

// look returns what is on screen now.
func (p *panel) look() picture {
	p.tab.mu.Lock()
	defer p.tab.mu.Unlock()
	return p.shown
}

// show takes an answer as Grafana's panel does, and notes whatever is not exact
// in it.
func (p *panel) show(a answer) {
	if a.state == "Error" {
		return
	}
	p.shown = a.picture
	if p.truth == nil {
		return
	}
	if err := p.exactly(a.picture); err != nil && len(p.wrong) < 3 {
		p.wrong = append(p.wrong, err.Error())
	}
}

// exactly compares what is shown with the rows that a query of the same times
// has. It goes to the source itself, past all that is tested.
func (p *panel) exactly(shown picture) error {
	if len(shown.times) == 0 {
		return fmt.Errorf("no rows are shown")
	}
	q, err := p.truth().Query(json.RawMessage(p.query))
	if err != nil {
		return err
	}
	b, err := q.Bind(shown.step, int64(len(shown.times))*shown.step)
	if err != nil {
		return err
	}
	rows, err := b.Rows(context.Background(), shown.times[0]-shown.step, shown.newest())
	if err != nil {
		return err
	}
	return shown.check(rows.Frame())
}

// final checks the panel once nothing has disturbed it for long enough: the rows
// on screen are those of a fresh query, and the newest is not late.
func (p *panel) final(t *testing.T) {
	t.Helper()
	p.tab.server.count(-1) // the panel did not ask this one
	fresh, err := p.tab.server.query(p.id, fmt.Sprintf(`%s,"live":true}`, p.query[:len(p.query)-1]), p.length, p.interval)
	if err != nil {
		t.Fatal(err)
	}
	p.tab.mu.Lock()
	defer p.tab.mu.Unlock()
	want := pictureOf(fresh)
	want.times = want.times[max(0, len(want.times)-int(p.length.Milliseconds()/want.step)-1):] // the window is rounded up
	got := p.shown
	if got.step != want.step || len(got.times) != len(want.times) {
		t.Errorf("shown are %d rows at a step of %d ms, a fresh query has %d rows at a step of %d ms",
			len(got.times), got.step, len(want.times), want.step)
	}
	if err := p.exactly(got); err != nil {
		t.Errorf("at the end: %v", err)
	}
	for _, w := range p.wrong {
		t.Errorf("on the way: %s", w)
	}
	late, most := time.Now().Add(-p.behind).UnixMilli()-p.tab.server.setBack.Load()-got.newest(), max(2*got.step, 1000)
	if late > most || p.behind == 0 && late < 0 {
		t.Errorf("the newest row is %d ms old, not 0 to %d ms", late, most)
	}
}

// scenarios are what users do and what happens to them, each with the number of
// queries that it may cost: a hand-off that loses rows shows there, because the
// guard asks again.
func TestScenarios(t *testing.T) {
	t.Parallel()
	const fast, slow = 100, 1000 // ms
	first := func(s *world) *panel { return s.panel(s.tab()) }
	for _, sc := range []struct {
		name    string
		queries int
		do      func(*world)
	}{
		{"first load", 1, func(s *world) { first(s) }},
		{"second viewer", 2, func(s *world) {
			first(s)
			s.wait(20 * time.Second)
			s.panel(s.tab())
		}},
		{"second panel", 2, func(s *world) {
			p := first(s)
			s.wait(5 * time.Second)
			s.panel(p.tab)
		}},
		{"second panel, when the first one's history is old", 2, func(s *world) {
			p := first(s)
			s.wait(5 * time.Minute)
			s.panel(p.tab)
		}},
		{"5m, 15m, 5m", 3, func(s *world) {
			p := first(s)
			for _, length := range []time.Duration{3 * p.length, p.length} {
				s.wait(3 * time.Second)
				p.resize(length)
			}
		}},
		{"auto-refresh", 11, func(s *world) {
			p := first(s)
			for range 10 {
				s.wait(5 * time.Second)
				p.refresh()
			}
		}},
		{"edited for a while", 5, func(s *world) {
			p := first(s)
			s.wait(5 * time.Second)
			opened := time.Now()
			for range 4 {
				s.wait(25 * time.Second)
				p.edit(opened)
			}
		}},
		{"edited, when the buffer is gone", 3, func(s *world) {
			p := first(s)
			opened := time.Now()
			s.leave(p, 10*time.Minute)
			p.edit(opened)
		}},
		{"socket cut for 3 s", 1, func(s *world) { s.cut(first(s).tab, 3*time.Second, false) }},
		{"socket cut for 30 s", 3, func(s *world) { s.cut(first(s).tab, 30*time.Second, false) }},
		{"network cut for 3 s", 1, func(s *world) { s.cut(first(s).tab, 3*time.Second, true) }},
		{"network cut for 30 s", 2, func(s *world) { s.cut(first(s).tab, 30*time.Second, true) }},
		{"plugin killed", 1, func(s *world) {
			first(s)
			s.wait(5 * time.Second)
			s.srv.killPlugin(time.Second)
		}},
		{"plugin gone for 20 s", 2, func(s *world) {
			first(s)
			s.wait(5 * time.Second)
			s.srv.killPlugin(20 * time.Second)
		}},
		{"Grafana restarted", 1, func(s *world) {
			p := first(s)
			s.wait(5 * time.Second)
			s.srv.restart(4*time.Second, p.tab)
		}},
		{"settings changed", 1, func(s *world) {
			first(s)
			s.wait(5 * time.Second)
			s.srv.change(`{"maxStreams":7}`)
		}},
		{"minimum step raised", 2, func(s *world) {
			first(s)
			s.wait(5 * time.Second)
			s.srv.change(`{"minStep":2000}`)
		}},
		{"settings broken for a while", 12, func(s *world) {
			first(s)
			s.wait(5 * time.Second)
			s.srv.change(`{"minStep":1}`)
			s.wait(20 * time.Second)
			s.srv.change(`{}`)
		}},
		{"left for less than a linger", 2, func(s *world) { s.leave(first(s), 2*time.Second) }},
		{"left for longer", 2, func(s *world) { s.leave(first(s), 20*time.Second) }},
	} {
		for _, tick := range []int{fast, slow} {
			t.Run(fmt.Sprintf("%s/%dms", sc.name, tick), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := newWorld(t, 1, tick)
					sc.do(s)
					s.finish()
					if s.srv.count(0) > sc.queries {
						t.Errorf("%d queries were needed, more than %d", s.srv.count(0), sc.queries)
					}
				})
			})
		}
	}
}

// First loads at the finest sensible tick, under four seeds: each is
// exact, and not one needs a second query.
func TestFirstLoads(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { firstLoads(t, seed) })
		})
	}
}

func firstLoads(t *testing.T, seed uint64) {
	const loads = 60
	s := newWorld(t, seed, 20)
	for range loads {
		tab := newTab(s.srv)
		p := s.panel(tab)
		s.wait(1500 * time.Millisecond) // the overlap is sent again until one second after the join
		p.final(t)
		p.close()
		tab.close()
		s.panels = nil
		s.srv.forget(tab.socket, "")
		s.wait(s.srv.between(0, 0, 300*time.Millisecond))
	}
	s.finish()
	if n := s.srv.count(0); n != loads {
		t.Errorf("%d queries for %d first loads", n, loads)
	}
}

// Settings may change at any moment of a join. Nobody goes on under the old ones,
// even while Grafana has not noticed.
func TestSettingsChangeDuringJoin(t *testing.T) {
	t.Parallel()
	for delay := time.Duration(0); delay < 200*time.Millisecond; delay += 4 * time.Millisecond {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newWorld(t, uint64(delay), 1000)
				s.panel(s.tab())
				s.wait(delay)
				s.srv.changeElsewhere(`{"minStep":2000}`)
				s.panel(s.tab())
				s.wait(15 * time.Second)
				for _, p := range s.panels {
					p.final(t)
				}
				s.finish()
			})
		})
	}
}

// The clock of the server is set back. What is on screen of times that are to come
// again goes when the next row would be due. Only a few seconds of it stay until
// the clock is there again.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	for _, back := range []time.Duration{5 * time.Second, 20 * time.Second, time.Hour} {
		for _, tick := range []int{100, 1000, 60_000} {
			t.Run(fmt.Sprintf("%v/%dms", back, tick), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := newWorld(t, 1, tick)
					here, away := s.panel(s.tab()), s.panel(s.tab())
					s.wait(30 * time.Second)
					away.tab.disconnect()
					s.wait(time.Second)
					s.srv.setBack.Store(back.Milliseconds())
					s.wait(10 * time.Second)
					s.panel(s.tab())
					s.wait(58 * time.Second) // by then its stream has ended, and nobody can tell it
					here.final(t)
					away.tab.reconnect()
					s.wait(time.Minute)
					s.finish()
				})
			})
		}
	}
}

// world is one Grafana with what its users look at.
type world struct {
	t      *testing.T
	srv    *server
	tick   int // ms
	tabs   []*tab
	panels []*panel
	opened int // panels so far
	rows   int // of a panel
	query  string
	truth  func() source.Source // that has not seen what is tested
	behind time.Duration        // that the source is, by this clock
	record *recording           // of all panels, if any
	input  *input               // of the source that is recorded
}

func newWorld(t *testing.T, seed uint64, tick int) *world {
	setBack := new(atomic.Int64)
	srv := newServer(t, seed, func() handlers { return continuum(setBack) })
	srv.setBack = setBack
	return &world{t: t, srv: srv, tick: tick, rows: 200,
		query: fmt.Sprintf(`{"shape":"walk","tickInterval":%d}`, tick), truth: theSignal}
}

func theSignal() source.Source { return signal.Source{} }

func (s *world) wait(d time.Duration) { time.Sleep(d) }

func (s *world) tab() *tab {
	tab := newTab(s.srv)
	s.tabs = append(s.tabs, tab)
	return tab
}

// panel opens a panel with a few hundred rows.
func (s *world) panel(tab *tab) *panel {
	p := s.newPanel(tab)
	p.open()
	return p
}

func (s *world) newPanel(tab *tab) *panel {
	interval := time.Duration(s.tick) * time.Millisecond
	s.opened++
	p := &panel{
		id: s.opened, tab: tab, query: s.query, truth: s.truth, behind: s.behind,
		length: time.Duration(s.rows) * interval, interval: interval, guarded: true, record: s.record,
	}
	s.panels = append(s.panels, p)
	return p
}

func (s *world) cut(tab *tab, length time.Duration, all bool) {
	s.wait(5 * time.Second)
	tab.mu.Lock()
	tab.noHTTP = all
	tab.mu.Unlock()
	tab.disconnect()
	s.wait(length)
	tab.mu.Lock()
	tab.noHTTP = false
	tab.mu.Unlock()
	tab.reconnect()
}

func (s *world) leave(p *panel, length time.Duration) {
	s.wait(5 * time.Second)
	p.close()
	s.wait(length)
	p.open()
}

// finish waits until nothing has happened for long enough, checks every panel
// and ends the world.
func (s *world) finish() {
	s.wait(time.Minute)
	for i, p := range s.panels {
		s.t.Logf("panel %d: tick %d ms, range %v", i, s.tick, p.length)
		p.final(s.t)
	}
	s.t.Logf("%d queries for %d panels", s.srv.count(0), len(s.panels))
	for _, p := range s.panels {
		p.close()
	}
	s.srv.stop(s.tabs...)
}

var (
	seed  = flag.Uint64("seed", 0, "run the random schedules from this seed only")
	seeds = flag.Int("schedules", 20, "how many random schedules to run")
)

// The property that all else stands on: after any sequence of joins, drops and
// restarts, a panel shows exactly what a fresh query of the same window returns.
func TestRandomSchedules(t *testing.T) {
	t.Parallel()
	first, n := uint64(time.Now().UnixNano()), *seeds
	if *seed != 0 {
		first, n = *seed, 1
	}
	for i := range n {
		s := first + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { schedule(t, s) })
		})
	}
}

// schedule lets eight random things happen, at random distances.
func schedule(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	s := newWorld(t, seed, []int{20, 100, 1000, 5000}[rng.IntN(4)])
	for range 1 + rng.IntN(2) {
		s.panel(s.tab())
	}
	for range 8 {
		s.wait(time.Duration(rng.IntN(6000)) * time.Millisecond)
		tab := s.tabs[rng.IntN(len(s.tabs))]
		p := s.panels[rng.IntN(len(s.panels))]
		some := time.Duration(200+rng.IntN(4000)) * time.Millisecond
		switch rng.IntN(10) {
		case 0:
			s.panel(s.tab())
		case 1:
			s.panel(tab)
		case 2:
			p.refresh()
		case 3:
			p.resize(2 * p.length)
			s.wait(some)
			p.resize(p.length / 2)
		case 4:
			s.cut(tab, some, false)
		case 5:
			s.cut(tab, 10*some, true)
		case 6:
			s.srv.killPlugin(some)
		case 7:
			s.srv.restart(some, s.tabs...)
		case 8: // settings that decide no rows
			s.srv.change(fmt.Sprintf(`{"maxStreams":%d}`, 100+rng.IntN(100)))
		case 9:
			s.leave(p, 2*some)
		}
	}
	s.finish()
}
