package plugin

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The vectors are what one panel's guard saw in some scenarios, and what it did
// and showed in the end. src/replay.test.ts replays them to the real guard, which
// has to ask at the same times, for the same reasons, and to show the same rows.
// So what is proven here with the Go copy of the guard holds for the real one.
//
// Run with -update to record them anew.
type recording struct {
	Name   string  `json:"name"`
	Events []event `json:"events"`
	// Shown are the rows on screen at the end: times, then a column per series.
	Shown []any `json:"shown"`

	began time.Time
}

var vectors = filepath.Join("testdata", "guard")

// event is one of: the guard asks; it gets no answer; it gets a buffer with what
// that holds; a message is appended to that buffer.
type event struct {
	At     int64           `json:"at"` // ms since the beginning
	Ask    *asked          `json:"ask,omitempty"`
	Fails  bool            `json:"fails,omitempty"`
	Buffer *frameJSON      `json:"buffer,omitempty"`
	Packet json.RawMessage `json:"packet,omitempty"`
}

type asked struct {
	Nonce  int64  `json:"nonce"`
	Resync string `json:"resync,omitempty"`
}

type frameJSON struct {
	Schema *schema `json:"schema"`
	Data   struct {
		Values []any `json:"values"`
	} `json:"data"`
}

func (r *recording) add(e event) {
	e.At = time.Since(r.began).Milliseconds()
	r.Events = append(r.Events, e)
}

// around records what a query is asked and what it brings.
func (r *recording) around(ask query) query {
	return func(nonce int64, resync string, read func(*buffer), plain func(picture), fail func()) func() {
		r.add(event{Ask: &asked{nonce, resync}})
		first := true
		return ask(nonce, resync, func(b *buffer) {
			if first {
				f := &frameJSON{Schema: b.schema}
				f.Data.Values = columns(b.times, b.values)
				r.add(event{Buffer: f})
			} else {
				r.add(event{Packet: b.last})
			}
			first = false
			read(b)
		}, plain, func() {
			r.add(event{Fails: true})
			fail()
		})
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

func TestRecordVectors(t *testing.T) {
	if !*update {
		return // TestReplay checks those that are there
	}
	for name, do := range map[string]func(*world, *panel){
		"first-load":           func(*world, *panel) {},
		"second-viewer":        func(s *world, _ *panel) { s.wait(20 * time.Second); s.panel(s.tab()) },
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
			for _, c := range p.tab.channels {
				for i := range c.buffer.values {
					c.buffer.values[i] = c.buffer.values[i][100:]
				}
				c.buffer.times = c.buffer.times[100:]
			}
			p.open()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newWorld(t, 1, 1000)
				s.query = `{"shape":"sawtooth","tickInterval":1000}`
				r := &recording{Name: name, began: time.Now()}
				s.record = r
				p := s.panel(s.tab())
				s.record = nil
				s.wait(5 * time.Second)
				do(s, p)
				s.wait(time.Minute)
				p.tab.mu.Lock()
				r.Shown = columns(p.shown.times, p.shown.values)
				p.record = nil
				p.tab.mu.Unlock()
				events := len(r.Events)
				p.close()
				r.Events = r.Events[:events]
				s.panels = nil
				p.open()
				s.panels = []*panel{p}
				s.finish()

				b, err := json.Marshal(r)
				if err == nil {
					err = os.WriteFile(filepath.Join(vectors, name+".json"), append(b, '\n'), 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			})
		})
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

func replay(t *testing.T, r recording) {
	var (
		lock  sync.Mutex
		epoch int64
		did   recording // what this guard asks
		shown picture
		buf   *buffer
		read  func(*buffer)
		fail  func()
		g     *guard
	)
	did.began = time.Now()
	ask := func(nonce int64, resync string, r func(*buffer), _ func(picture), f func()) func() {
		did.add(event{Ask: &asked{nonce, resync}})
		read, fail = r, f
		return func() {}
	}
	var want []event
	for _, e := range r.Events {
		time.Sleep(time.Duration(e.At)*time.Millisecond - time.Since(did.began))
		synctest.Wait()
		lock.Lock()
		switch {
		case e.Ask != nil:
			want = append(want, e)
			if e.Ask.Resync == "" { // the panel is opened, perhaps again
				if g != nil {
					g.stop()
				}
				g = &guard{lock: &lock, epoch: &epoch, query: ask, show: func(p picture) { shown = p },
					random: func() float64 { return 0.5 }}
				g.start()
			}
		case e.Fails:
			fail()
		case e.Buffer != nil:
			buf = &buffer{maxLength: math.MaxInt, maxDelta: math.MaxInt32}
			raw, err := json.Marshal(e.Buffer)
			if err != nil {
				t.Fatal(err)
			}
			buf.push(t, raw)
			read(buf)
		default:
			buf.push(t, e.Packet)
			read(buf)
		}
		lock.Unlock()
	}
	g.stop()
	if got, want := jsonOf(t, did.Events), jsonOf(t, want); got != want {
		t.Errorf("the guard asked %s, recorded is %s", got, want)
	}
	if got, want := jsonOf(t, columns(shown.times, shown.values)), jsonOf(t, r.Shown); got != want {
		t.Errorf("shown is %s, recorded is %s", got, want)
	}
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
