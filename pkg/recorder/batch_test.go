package recorder

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
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
			p := Sample{Series: m, T: at, V: float64(rng.IntN(3))}
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

// arrivals are samples of a series that have all arrived at one time.
func arrivals(s *Series, at int64, values ...float64) []Sample {
	var all []Sample
	for _, v := range values {
		all = append(all, Sample{Series: s, T: at, V: v, Arrived: true})
	}
	return all
}

// inOrder returns the values of the only series of a metric in the order of time.
func inOrder(t *testing.T, s *Store, name string) (times []int64, values []float64) {
	t.Helper()
	for _, samples := range read(t, s, name) {
		for _, at := range slices.Sorted(maps.Keys(samples)) {
			times, values = append(times, at), append(values, samples[at])
		}
	}
	return times, values
}

func upTo(n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = float64(i)
	}
	return all
}

// Of samples that are stamped when they arrive none is lost, and the last is the
// newest: within a batch, from one to the next, after a restart, and after the clock
// was set back.
func TestArrivals(t *testing.T) {
	dir := t.TempDir()
	before, _ := newRecorder(t, dir)
	_, sink := openManual(t, before, Key{1, "uid"})
	m := series("m")
	all := upTo(1000)
	commit(t, sink, start, arrivals(m, start, all[:300]...)...)
	commit(t, sink, start, arrivals(m, start+5, all[300:600]...)...)
	last := arrivals(series("m"), start+10, all[600])
	commit(t, sink, start, last...)
	if last[0].T != start+600 {
		t.Errorf("it was stored at %d after the start", last[0].T-start)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	r, c := newRecorder(t, dir)
	c.ms.Store(start + 20)
	s, sink := openManual(t, r, Key{1, "uid"})
	commit(t, sink, start, arrivals(series("m"), start+20, all[601:900]...)...)
	compact(t, s)
	// The clock goes back by a second.
	m = series("m")
	commit(t, sink, start, arrivals(m, start-1000, all[900:]...)...)
	times, values := inOrder(t, s, "m")
	if !slices.Equal(values, all) || times[0] != start || times[len(times)-1] != start+999 {
		t.Fatalf("%d values from %d to %d: %v", len(values), times[0]-start, times[len(times)-1]-start, values)
	}

	// It goes back by a minute, to where there are samples.
	commit(t, sink, start, Sample{Series: m, T: start - 59_999, V: -1})
	commit(t, sink, start, arrivals(m, start-60_000, -2, -3)...)
	commit(t, sink, start, arrivals(m, start-60_000, -4)...)
	times, values = inOrder(t, s, "m")
	if !slices.Equal(values[:4], []float64{-2, -1, -3, -4}) || times[3] != start-60_000+3 || len(values) != len(all)+4 {
		t.Errorf("%v at %v", values[:4], times[:4])
	}
	// What has waited for a clock in doubt comes in one batch, with stamps from before
	// the newest sample to after it.
	want := len(values)
	var waited []Sample
	for ago := int64(20_000); ago > -2000; ago -= 250 {
		waited = append(waited, arrivals(m, start+999-ago, float64(10_000+want), float64(10_001+want))...)
		want += 2
	}
	commit(t, sink, start, waited...)
	if _, values = inOrder(t, s, "m"); len(values) != want || values[want-1] != float64(10_000+want-1) {
		t.Errorf("there are %d of %d values, and the last is %v", len(values), want, values[len(values)-1])
	}
	if st := s.Status().Inputs[0]; st.Refused != (Refused{}) || st.Repeated > 0 {
		t.Errorf("%+v", st)
	}
}

// There is an end to how far ahead of its arrival a sample is stored: then the last
// one counts.
func TestMoreArrivalsThanFit(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	m := series("m")
	for i := range 4 {
		samples := arrivals(m, start, upTo(3000)...)
		samples[len(samples)-1].V = float64(10_000 + i)
		commit(t, sink, start, samples...)
		times, values := inOrder(t, s, "m")
		if newest := times[len(times)-1]; values[len(values)-1] != float64(10_000+i) || newest > start+maxSpread+3000 {
			t.Errorf("after batch %d the newest is %v, %d ahead", i, values[len(values)-1], newest-start)
		}
	}
	if st := s.Status().Inputs[0]; st.Samples+st.Refused.Duplicate != 12_000 || st.Samples < maxSpread {
		t.Errorf("%+v", st)
	}
	// A series of its own goes on undisturbed.
	commit(t, sink, start, arrivals(series("other"), start, 1)...)
	if times, _ := inOrder(t, s, "other"); !slices.Equal(times, []int64{start}) {
		t.Errorf("%v", times)
	}
}

// A series is not taken for one that has more labels.
func TestOtherSeriesOfTheSameTime(t *testing.T) {
	r, c := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	c.ms.Store(start + 10_000)
	long, short := series("m", "a", "b", "c", "d"), series("m", "a", "b")
	commit(t, sink, 0, Sample{Series: long, T: start, V: 1}, Sample{Series: long, T: start + 5000, V: 1}, Sample{Series: short, T: start + 5000, V: 2})
	commit(t, sink, 0, Sample{Series: short, T: start, V: 2})
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
		commit(t, sink, start, Sample{Series: m, T: start - time.Minute.Milliseconds(), V: math.NaN()}, Sample{Series: m, T: start, V: 1})
	}
	if st := s.Status().Inputs[0]; st.Samples != 2 || st.Repeated != 4 {
		t.Errorf("the status is %+v", st)
	}
}

// Several inputs store at once: what arrives, what is late, and what comes twice. None
// of it is lost, and none is there twice.
func TestSideBySide(t *testing.T) {
	seed := rand.Uint64()
	r, c := newRecorder(t, t.TempDir())
	var ins []Input
	var sinks []*Sink
	for i := range 4 {
		ins = append(ins, newManual(fmt.Sprint(i)))
	}
	s, err := openStore(r, Key{1, "uid"}, testConfig(ins...))
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range ins {
		sinks = append(sinks, <-in.(*manual).sinks)
	}
	const rounds, several = 300, 8
	var wg sync.WaitGroup
	// Numbers arrive, several of a series at once.
	for i, sink := range sinks[:2] {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for n := 0; n < rounds*20; {
				var batch []Sample
				now := c.ms.Add(rng.Int64N(3))
				for range 1 + rng.IntN(40) {
					// Both inputs have series of the same labels.
					batch = append(batch, Sample{Series: series("arrived", "s", fmt.Sprint(n%several)), T: now, V: float64(i*rounds*100 + n), Arrived: true})
					n++
				}
				commit(t, sink, now, batch...)
			}
		})
	}
	// Both of these send the same late samples.
	var mu sync.Mutex
	sent := make(map[string]map[int64]bool)
	for i, sink := range sinks[2:] {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i+2)))
			all := make([]*Series, several)
			for j := range all {
				all[j] = series("late", "s", fmt.Sprint(j))
			}
			for range rounds {
				var batch []Sample
				for range 1 + rng.IntN(40) {
					at := start - rng.Int64N(3000)
					p := Sample{Series: all[rng.IntN(several)], T: at, V: float64(at)}
					batch = append(batch, p)
					mu.Lock()
					name := p.Series.Labels.String()
					if sent[name] == nil {
						sent[name] = make(map[int64]bool)
					}
					sent[name][at] = true
					mu.Unlock()
				}
				commit(t, sink, 0, batch...)
				if rng.IntN(100) == 0 {
					resume := s.ingester.pause() // the TSDB itself leaves the last hour alone
					compact(t, s)
					resume()
				}
			}
		})
	}
	wg.Wait()
	found, stored := make(map[float64]int), uint64(0)
	for _, samples := range read(t, s, "arrived") {
		for _, v := range samples {
			found[v]++
		}
	}
	for i := range 2 {
		for n := range rounds * 20 {
			if v := float64(i*rounds*100 + n); found[v] != 1 {
				t.Errorf("seed %d: %v is there %d times", seed, v, found[v])
			}
		}
	}
	for name, samples := range read(t, s, "late") {
		stored += uint64(len(samples))
		for at := range sent[name] {
			if _, ok := samples[at]; !ok {
				t.Errorf("seed %d: %s has nothing at %d", seed, name, at-start)
			}
		}
		for at, v := range samples {
			if v != float64(at) {
				t.Errorf("seed %d: %s has %v at %d", seed, name, v, at)
			}
		}
	}
	var counted uint64
	for _, in := range s.Status().Inputs[2:] {
		counted += in.Samples
		if in.Refused != (Refused{}) {
			t.Errorf("seed %d: %+v", seed, in)
		}
	}
	if counted != stored {
		t.Errorf("seed %d: %d samples were stored, %d are there", seed, counted, stored)
	}
}

// lateBatch returns samples of n series, each with a newest sample at start + 10,000, and
// for each series a late sample and another value for the same time.
func lateBatch(n int) (now, late []Sample) {
	for i := range n {
		s := series("m", "i", strconv.Itoa(i))
		now = append(now, Sample{Series: s, T: start + 10_000, V: 1})
		late = append(late, Sample{Series: s, T: start + 5000, V: 2}, Sample{Series: s, T: start + 5000, V: 3})
	}
	return now, late
}

// A batch of very many late samples is stored whole, and known when it comes again.
func TestManyLate(t *testing.T) {
	r, c := newRecorder(t, t.TempDir())
	c.ms.Store(start + 10_000)
	s, sink := openManual(t, r, Key{1, "uid"})
	now, late := lateBatch(3*maxBehind + 7)
	commit(t, sink, start+10_000, now...)
	commit(t, sink, start+10_000, late...)
	commit(t, sink, start+10_000, late...)
	n := uint64(len(now))
	if st := s.Status().Inputs[0]; st.Samples != 2*n || st.Late != n || st.Repeated != n || st.Refused != (Refused{Duplicate: 2 * n}) {
		t.Errorf("the status is %+v", st)
	}
	for name, samples := range read(t, s, "m") {
		if len(samples) != 2 || samples[start+5000] != 2 {
			t.Errorf("%s has %v", name, samples)
		}
	}
}

// Others store samples between the parts of a batch, and the settled time stands still
// until the last part is stored.
func TestBetweenParts(t *testing.T) {
	r, c := newRecorder(t, t.TempDir())
	c.ms.Store(start + 10_000)
	s, sink := openManual(t, r, Key{1, "uid"})
	now, late := lateBatch(3 * maxBehind)
	commit(t, sink, start+10_000, now...)
	shared := now[0].Series
	g := sink.of.ingester
	b := &batch{refuse: func(int, error) {}, samples: append(late, Sample{Series: shared, T: start + 11_000, V: 5}, Sample{Series: shared, T: start + 11_000, V: 6})}
	for part := 1; part <= 3; part++ {
		need, err := g.try(t.Context(), b)
		for ; err == nil && need != nil; need, err = g.try(t.Context(), b) {
			if err := b.look(t.Context(), need); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil || b.out.stored != uint64(part*maxBehind) {
			t.Fatalf("part %d: %d samples, %v", part, b.out.stored, err)
		}
		// The time is that of a sample that comes later in the batch, and of another.
		at := start + 10_000 + int64(part)*500
		c.ms.Store(at)
		commit(t, sink, at, Sample{Series: shared, T: at, V: 4})
		if _, settled := g.horizon.times(); settled != start+10_000 {
			t.Errorf("part %d: settled is %d", part, settled-start)
		}
	}
	if err := g.store(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	g.horizon.release("manual", c.ms.Load(), b.out.written)
	if _, settled := g.horizon.times(); settled != c.ms.Load() {
		t.Errorf("settled is %d in the end", settled-start)
	}
	// Of the samples at 11,000 the first that was stored has won.
	want := map[int64]float64{start + 5000: 2, start + 10_000: 1, start + 10_500: 4, start + 11_000: 4, start + 11_500: 4}
	if got := read(t, s, "m")[shared.Labels.String()]; !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if b.out.stored != 3*maxBehind || b.out.refused.Duplicate != 3*maxBehind+2 {
		t.Errorf("%+v", b.out)
	}
}
