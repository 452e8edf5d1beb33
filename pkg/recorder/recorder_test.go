package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
)

// manualClock is a clock that tests set. It is never in doubt, but where a test
// sets it forward by ahead.
type manualClock struct{ ms, ahead atomic.Int64 }

func (c *manualClock) now() time.Time { return time.UnixMilli(c.ms.Load() + c.ahead.Load()) }

func (c *manualClock) boot() time.Duration { return time.Duration(c.ms.Load()) * time.Millisecond }

// start is a whole minute, so that times in tests read well.
const start = int64(1_800_000_000_000)

func newRecorder(t testing.TB, dir string) (*Recorder, *manualClock) {
	t.Helper()
	r, c := unclosedRecorder(dir)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, c
}

// unclosedRecorder returns a recorder that the test has to close.
func unclosedRecorder(dir string) (*Recorder, *manualClock) {
	c := &manualClock{}
	c.ms.Store(start)
	r := New(dir, slog.New(slog.DiscardHandler))
	r.clock = clock.New(c.now, c.boot)
	return r, c
}

// manual is an input that does what a test tells it.
type manual struct {
	id    string
	sinks chan *Sink
	ended atomic.Bool
}

func newManual(id string) *manual { return &manual{id: id, sinks: make(chan *Sink, 1)} }

func (m *manual) Name() string { return m.id }

func (m *manual) Version() string { return "" }

func (m *manual) Run(ctx context.Context, sink *Sink) {
	m.sinks <- sink
	<-ctx.Done()
	m.ended.Store(true)
}

func testConfig(inputs ...Input) Config {
	return Config{Retention: 24 * time.Hour, OutOfOrder: time.Hour, MaxWait: 2 * time.Second, Inputs: inputs}
}

func openStore(r *Recorder, key Key, c Config) (*Store, error) {
	if err := r.Configure(key, c); err != nil {
		return nil, err
	}
	return r.Store(context.Background(), key)
}

// openManual opens a store with one input.
func openManual(t testing.TB, r *Recorder, key Key) (*Store, *Sink) {
	t.Helper()
	in := newManual("manual")
	s, err := openStore(r, key, testConfig(in))
	if err != nil {
		t.Fatal(err)
	}
	return s, <-in.sinks
}

func series(name string, kv ...string) *Series {
	return &Series{Labels: labels.FromStrings(append([]string{model.MetricNameLabel, name}, kv...)...)}
}

func commit(t testing.TB, k *Sink, watermark int64, samples ...Sample) {
	t.Helper()
	if err := k.Commit(t.Context(), samples, watermark); err != nil {
		t.Fatal(err)
	}
}

// read returns all samples of a metric, by the text of the labels.
func read(t testing.TB, s *Store, name string) map[string]map[int64]float64 {
	t.Helper()
	all := make(map[string]map[int64]float64)
	err := s.query(math.MinInt64, math.MaxInt64, func(q storage.Querier) (annotations.Annotations, error) {
		set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
		for set.Next() {
			samples := make(map[int64]float64)
			it := set.At().Iterator(nil)
			for it.Next() == chunkenc.ValFloat {
				ts, v := it.At()
				samples[ts] = v
			}
			if it.Err() != nil {
				return nil, it.Err()
			}
			all[set.At().Labels().String()] = samples
		}
		return nil, set.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestOpenedOnce(t *testing.T) {
	dir := t.TempDir()
	r, _ := newRecorder(t, dir)
	key := Key{1, "uid"}
	a, b := newManual("a"), newManual("b")
	first, err := openStore(r, key, testConfig(a))
	if err != nil {
		t.Fatal(err)
	}
	kept := <-a.sinks

	// New settings: a stays, b comes; the store is the same.
	again := newManual("a")
	second, err := openStore(r, key, testConfig(again, b))
	if err != nil || second != first {
		t.Fatalf("the store was opened again: %v", err)
	}
	<-b.sinks
	if len(again.sinks) != 0 || a.ended.Load() {
		t.Error("an input that stays was started anew")
	}
	commit(t, kept, start, Sample{Series: series("m"), T: start, V: 1})

	if _, err := openStore(r, key, testConfig(b)); err != nil {
		t.Fatal(err)
	}
	if !a.ended.Load() {
		t.Error("an input that is gone still runs")
	}
	if err := r.Idle(key); err != nil || !b.ended.Load() {
		t.Errorf("an input goes on after its data source wants it no more: %v", err)
	}
	if got := read(t, first, "m"); len(got) != 1 {
		t.Errorf("samples are lost: %v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "1", "uid", "wal")); err != nil {
		t.Error(err)
	}
}

func TestHeldByAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	one, _ := newRecorder(t, dir)
	two, _ := newRecorder(t, dir) // the lock is the same for one process
	key := Key{1, "uid"}
	if _, err := openStore(one, key, testConfig()); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(two, key, testConfig()); err == nil || !strings.Contains(err.Error(), "another process holds") {
		t.Fatalf("the error is %v", err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(two, key, testConfig()); err != nil {
		t.Errorf("the store cannot be opened once it is free: %v", err)
	}
	if _, err := openStore(one, key, testConfig()); err == nil {
		t.Error("a closed recorder opened a store")
	}
}

func TestNotWritable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	r, _ := newRecorder(t, dir)
	if os.Getuid() == 0 { // who may write everywhere, but not into a file
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r.root = file
	}
	if _, err := openStore(r, Key{1, "uid"}, testConfig()); err == nil || !strings.Contains(err.Error(), r.root) {
		t.Errorf("the error is %v", err)
	}
}

func TestKeys(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	if _, err := r.Store(t.Context(), Key{1, "uid"}); !errors.Is(err, ErrNotConfigured) {
		t.Errorf("a store without settings: %v", err)
	}
	for _, key := range []Key{{0, "uid"}, {-1, "uid"}, {1, ""}, {1, "."}, {1, ".."}, {1, "../1"}, {1, "a/b"}, {1, strings.Repeat("a", 41)}} {
		if _, err := openStore(r, key, testConfig()); err == nil {
			t.Errorf("a store was opened for %v", key)
		}
	}
}

// Two organisations may have data sources of one uid.
func TestOrganisations(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	one, sink := openManual(t, r, Key{1, "uid"})
	two, _ := openManual(t, r, Key{2, "uid"})
	commit(t, sink, start, Sample{Series: series("m", "secret", "of one"), T: start, V: 1})
	sink.Describe(map[string]Metadata{"m": {Help: "of one"}})
	if one == two || one.database.dir == two.database.dir {
		t.Fatal("the organisations share a store")
	}
	if got := read(t, two, "m"); len(got) != 0 {
		t.Errorf("organisation 2 reads %v", got)
	}
	names, err := two.LabelNames(t.Context(), 0, start, 10)
	if meta, ok := two.Metadata()["m"]; err != nil || len(names) != 0 || ok {
		t.Errorf("organisation 2 knows the labels %v and %v, %v", names, meta, err)
	}
	if st := two.Status(); st.Inputs[0].Samples != 0 || st.Series != 0 || st.Oldest != 0 {
		t.Errorf("organisation 2 has the status %+v", st)
	}
	values, err := one.LabelValues(t.Context(), 0, start, 10, "secret")
	if err != nil || len(values) != 1 {
		t.Errorf("organisation 1 has the values %v, %v", values, err)
	}
}

func TestSettled(t *testing.T) {
	r, c := newRecorder(t, t.TempDir())
	a, b := newManual("a"), newManual("b")
	s, err := openStore(r, Key{1, "uid"}, testConfig(a, b))
	if err != nil {
		t.Fatal(err)
	}
	sa, sb := <-a.sinks, <-b.sinks
	sa.Trouble("")
	sb.Trouble("")
	for _, step := range []struct {
		name      string
		now       int64 // after start
		a, b      int64 // watermarks after start, 0 for none
		settled   int64 // after start
		signalled bool
	}{
		{"inputs have nothing to say about the time before", 0, 0, 0, -1, false},
		{"the inputs are waited for", 1000, 0, 0, -1, false},
		{"all of them", 1000, 1000, 0, -1, false},
		{"the lowest counts", 1000, 0, 900, 900, true},
		{"never past now", 1000, 5000, 5000, 1000, true},
		{"never back", 1000, 10, 10, 1000, false},
		{"nor when the clock goes back", 500, 0, 0, 1000, false},
		{"at most two seconds for any", 8000, 0, 8000, 6000, false},
		{"the clock alone moves it then", 8500, 0, 0, 6500, false},
	} {
		c.ms.Store(start + step.now)
		_, moved := s.Watch()
		if step.a != 0 {
			commit(t, sa, start+step.a)
		}
		if step.b != 0 {
			commit(t, sb, start+step.b)
		}
		if got := s.Settled() - start; got != step.settled {
			t.Errorf("%s: settled is start + %d, not start + %d", step.name, got, step.settled)
		}
		select {
		case <-moved:
			if !step.signalled {
				t.Errorf("%s: signalled", step.name)
			}
		default:
			if step.signalled {
				t.Errorf("%s: not signalled", step.name)
			}
		}
	}
}

func TestLateAndRefused(t *testing.T) {
	r, c := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	m := series("m")
	at := func(d time.Duration, v float64) Sample { return Sample{Series: m, T: start + d.Milliseconds(), V: v} }

	// One true sample after one from the future: the future must not harm.
	commit(t, sink, 0, at(1000*time.Hour, 1), at(DefaultMaxAhead+time.Millisecond, 1))
	commit(t, sink, start, at(0, 1))
	c.ms.Store(start + 5000)
	mark, moved := s.Watch("m")
	commit(t, sink, start+5000, at(5*time.Second, 2), at(4*time.Second, 3)) // out of order is not late
	if now, _ := s.Watch("m"); now != mark {
		t.Errorf("samples count as late: %s", now)
	}
	<-moved
	_, moved = s.Watch()
	commit(t, sink, 0, at(3*time.Second, 4), at(5*time.Second, 5), at(-2*time.Hour, 6))
	if c, ok, err := s.Since(mark, "m"); !ok || err != nil || c != (Change{start + 3000, start + 3000, start + 5000}) {
		t.Errorf("late samples are noted as %+v, %v, %v", c, ok, err)
	}
	<-moved

	got := read(t, s, "m")[m.Labels.String()]
	want := map[int64]float64{start: 1, start + 3000: 4, start + 4000: 3, start + 5000: 2}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("stored are %v, not %v", got, want)
	}
	st := s.Status()
	if in := st.Inputs[0]; in.Refused != (Refused{Future: 2, Duplicate: 1, TooOld: 1}) || in.Late != 1 || in.Samples != 4 || in.Rate != .4 {
		t.Errorf("the status is %+v", in)
	}
	if st.Oldest != start || st.Series != 1 || st.Bytes == 0 || st.Settled != start+5000 {
		t.Errorf("the status is %+v", st)
	}
}

func TestDelete(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	a, b := series("m", "i", "a"), series("m", "i", "b")
	commit(t, sink, start, Sample{Series: a, T: start - 1000, V: 1}, Sample{Series: a, T: start, V: 2}, Sample{Series: b, T: start, V: 3})
	before, changed := s.Watch("m")
	if err := s.Delete(t.Context(), start, start, labels.MustNewMatcher(labels.MatchEqual, "i", "a")); err != nil {
		t.Fatal(err)
	}
	<-changed
	if after, _ := s.Watch("m"); after == before {
		t.Error("nobody is told that rows have changed")
	}
	want := map[string]map[int64]float64{a.Labels.String(): {start - 1000: 1}, b.Labels.String(): {start: 3}}
	if got := read(t, s, "m"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("left are %v, not %v", got, want)
	}
}

// What is written to times that were deleted is there at once, and stays; what was
// deleted does not come back. So it is in order, out of order, after the TSDB has
// made blocks, and after restarts.
func TestDeleteThenWrite(t *testing.T) {
	dir := t.TempDir()
	r, c := newRecorder(t, dir)
	key := Key{1, "uid"}
	s, sink := openManual(t, r, key)
	m, other := series("m"), series("other")
	for i := range int64(100) {
		c.ms.Store(start + 1000*i)
		commit(t, sink, 0, Sample{Series: m, T: start + 1000*i, V: 1}, Sample{Series: other, T: start + 1000*i, V: 1})
	}
	commit(t, sink, 0, Sample{Series: m, T: start + 500, V: 1}) // out of order
	if err := s.Delete(t.Context(), start, start+200_000, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")); err != nil {
		t.Fatal(err)
	}
	want := make(map[int64]float64)
	for i := range int64(3) {
		at := start + 10_000*i
		commit(t, sink, 0, Sample{Series: m, T: at, V: 2}, Sample{Series: m, T: at, V: 3})
		want[at] = 2
	}
	c.ms.Add(1000)
	commit(t, sink, 0, Sample{Series: m, T: c.ms.Load(), V: 2})
	want[c.ms.Load()] = 2
	check := func(when string) {
		t.Helper()
		if got := read(t, s, "m")[m.Labels.String()]; !maps.Equal(got, want) {
			t.Errorf("%s there are %v, not %v", when, got, want)
		}
		if got := read(t, s, "other")[other.Labels.String()]; len(got) != 100 {
			t.Errorf("%s there are %d of the other", when, len(got))
		}
	}
	check("at once")
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r, _ = newRecorder(t, dir)
		s, _ = openManual(t, r, key)
		check("after a restart")
		compact(t, s)
		check("in blocks")
	}
}

// What is older than the retention would not be shown, so it is refused, also
// where nothing newer is.
func TestOlderThanRetention(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	m := series("m")
	day := 24 * time.Hour.Milliseconds()
	var why []error
	err := sink.CommitEach(t.Context(), []Sample{{Series: m, T: start - day - 2, V: 1}, {Series: m, T: start - day, V: 2}, {Series: m, T: 0, V: 3}}, start, func(_ int, err error) { why = append(why, err) })
	if err != nil || len(why) != 2 || !errors.Is(why[0], ErrTooOld) || !errors.Is(why[1], ErrTooOld) {
		t.Errorf("the refusals are %v, %v", why, err)
	}
	if got := read(t, s, "m")[m.Labels.String()]; fmt.Sprint(got) != fmt.Sprint(map[int64]float64{start - day: 2}) || s.Status().Inputs[0].Samples != 1 {
		t.Errorf("stored are %v", got)
	}
}

// The TSDB deletes whole blocks; until then, what is past the retention must
// not show.
func TestRetention(t *testing.T) {
	r, c := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	m := series("m")
	commit(t, sink, start, Sample{Series: m, T: start, V: 1})
	c.ms.Store(start + time.Hour.Milliseconds())
	commit(t, sink, start+time.Hour.Milliseconds(), Sample{Series: m, T: start + time.Hour.Milliseconds(), V: 2})
	if got := read(t, s, "m")[m.Labels.String()]; len(got) != 2 {
		t.Fatalf("stored are %v", got)
	}
	c.ms.Store(start + 24*time.Hour.Milliseconds() + 1)
	commit(t, sink, c.ms.Load())
	q, err := s.Querier(start, start+2*time.Hour.Milliseconds())
	if err != nil {
		t.Fatal(err)
	}
	set := q.Select(t.Context(), false, &storage.SelectHints{Start: start, End: start + 2*time.Hour.Milliseconds()},
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "m"))
	n := 0
	for set.Next() {
		for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; n++ {
		}
	}
	if n != 1 || set.Err() != nil {
		t.Errorf("%d samples are shown, %v", n, set.Err())
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// 1,000 series with a sample each per commit, as a fleet of sensors has.
func BenchmarkCommit(b *testing.B) {
	r, c := newRecorder(b, b.TempDir())
	_, sink := openManual(b, r, Key{1, "uid"})
	const n = 1000
	samples := make([]Sample, n)
	for i := range samples {
		samples[i].Series = series("m", "sensor", fmt.Sprint(i), "line", "three", "plant", "north")
	}
	t := start
	for b.Loop() {
		t += 1000
		c.ms.Store(t)
		for i := range samples {
			samples[i].T, samples[i].V = t, float64(t%1000+int64(i))
		}
		commit(b, sink, t, samples...)
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "samples/s")
}

// leaver is an input that leaves something at its server.
type leaver struct {
	name, version string
	left          chan string
}

func (l leaver) Name() string                        { return l.name }
func (l leaver) Version() string                     { return l.version }
func (l leaver) Run(ctx context.Context, sink *Sink) { <-ctx.Done() }
func (l leaver) Leave(_ context.Context, identity string) error {
	l.left <- l.name + " " + identity
	return nil
}

// An input leaves its server when it was removed, and not when it only stops.
func TestLeave(t *testing.T) {
	left := make(chan string, 10)
	one, two := leaver{"one", "1", left}, leaver{"two", "1", left}
	r := New(t.TempDir(), slog.New(slog.DiscardHandler))
	key := Key{Org: 1, UID: "uid"}
	configure := func(inputs ...Input) {
		t.Helper()
		if err := r.Configure(key, Config{Retention: time.Hour, MaxWait: time.Second, Inputs: inputs}); err != nil {
			t.Fatal(err)
		}
	}
	configure(one, two)
	s, err := r.Store(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	identity := s.Sink("one").Identity()
	configure(leaver{"one", "2", left}, two) // other settings
	configure(two)
	if got := <-left; got != "one "+identity {
		t.Errorf("%s left", got)
	}
	configure(one, two)
	if err := r.Idle(key); err != nil {
		t.Fatal(err)
	}
	configure(one, two)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("%s left, which only stopped", <-left)
	}
}
