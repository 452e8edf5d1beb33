package recorder

import (
	"maps"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Of two values for one series and time the first is kept, however they come:
// in one batch or in several, in order or out of it, in the head or in blocks,
// through one Series or another, before or after a restart.
func TestTheFirstOfTwoWins(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	r, c := newRecorder(t, dir)
	key := Key{1, "uid"}
	s, sink := openManual(t, r, key)
	want := make(map[string]map[int64]float64)
	now := start
	all := make(map[string]*Series)
	var counted struct{ stored, repeated, duplicate uint64 }
	for round := range 60 {
		if round%20 == 19 {
			st := s.Status().Inputs[0]
			if st.Samples != counted.stored || st.Repeated != counted.repeated || st.Refused != (Refused{Duplicate: counted.duplicate}) {
				t.Fatalf("seed %d, round %d: %+v, not %+v", seed, round, st, counted)
			}
			counted.stored, counted.repeated, counted.duplicate = 0, 0, 0
			if round%40 == 19 {
				compact(t, s)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			r, c = newRecorder(t, dir)
			c.ms.Store(now)
			s, sink = openManual(t, r, key)
			clear(all)
		}
		now += rng.Int64N(60_000)
		c.ms.Store(now)
		var batch []Sample
		for range rng.IntN(40) {
			name := string(rune('a' + rng.IntN(4)))
			m := all[name]
			if m == nil || rng.IntN(8) == 0 {
				m = series("m", "s", name)
				all[name] = m
			}
			at := now - rng.Int64N(100)*1000/(1+rng.Int64N(20))
			if rng.IntN(3) == 0 { // likely to hit another
				at = now/30_000*30_000 - rng.Int64N(10)*30_000
			}
			p := Sample{m, at, float64(rng.IntN(3))}
			batch = append(batch, p)
			id := m.Labels.String()
			if want[id] == nil {
				want[id] = make(map[int64]float64)
			}
			switch v, ok := want[id][p.T]; {
			case !ok:
				want[id][p.T] = p.V
				counted.stored++
			case v == p.V:
				counted.repeated++
			default:
				counted.duplicate++
			}
		}
		commit(t, sink, now, batch...)
		if got := read(t, s, "m"); !maps.EqualFunc(got, want, maps.Equal) {
			t.Fatalf("seed %d, round %d: the store has %v, not %v", seed, round, got, want)
		}
	}
}

// A series is not taken for one that has more labels.
func TestOtherSeriesOfTheSameTime(t *testing.T) {
	r, c := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	c.ms.Store(start + 10_000)
	long, short := series("m", "a", "b", "c", "d"), series("m", "a", "b")
	commit(t, sink, 0, Sample{long, start, 1}, Sample{long, start + 5000, 1}, Sample{short, start + 5000, 2})
	commit(t, sink, 0, Sample{short, start, 2})
	if got := read(t, s, "m"); len(got) != 2 || got[short.Labels.String()][start] != 2 || got[long.Labels.String()][start] != 1 {
		t.Errorf("the store has %v", got)
	}
	if st := s.Status().Inputs[0]; st.Samples != 4 || st.Repeated != 0 || st.Refused != (Refused{}) {
		t.Errorf("the status is %+v", st)
	}
}

// A stale marker, which is a NaN of its own bits, comes twice as well.
func TestNaNIsRepeated(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	m := &Series{Labels: labels.FromStrings("__name__", "m")}
	for range 3 {
		commit(t, sink, start, Sample{m, start - time.Minute.Milliseconds(), math.NaN()}, Sample{m, start, 1})
	}
	if st := s.Status().Inputs[0]; st.Samples != 2 || st.Repeated != 4 {
		t.Errorf("the status is %+v", st)
	}
}
