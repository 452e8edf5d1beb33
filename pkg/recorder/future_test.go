package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
)

const month = 30 * 24 * time.Hour

// reopened opens the store in dir with a clock that is ahead of start, while time
// goes on as in a bubble.
func reopened(t *testing.T, dir string, ahead time.Duration) (r *Recorder, s *Store, sink *Sink, now func() int64) {
	t.Helper()
	begin := time.Now()
	wall := func() time.Time { return time.UnixMilli(start).Add(ahead + time.Since(begin)) }
	r = New(dir, slog.New(slog.DiscardHandler))
	r.clock = clock.New(wall, func() time.Duration { return time.Since(begin) })
	s, sink = openManual(t, r, Key{1, "uid"})
	return r, s, sink, func() int64 { return wall().UnixMilli() }
}

// Samples were taken while the clock was a month ahead. Once it is right, and
// has been for a while, they are deleted, and true ones are stored, also after a
// restart. Until then nothing is acknowledged and lost.
func TestClockWasAhead(t *testing.T) {
	for _, test := range []struct {
		name   string
		before bool // there are true samples from before
	}{{"after true samples", true}, {"from the start", false}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				m := series("m")
				want := make(map[int64]float64)
				if test.before {
					r, _, sink, _ := reopened(t, dir, -time.Minute)
					commit(t, sink, 0, Sample{Series: m, T: start - 60_000, V: 1})
					want[start-60_000] = 1
					if err := r.Close(); err != nil {
						t.Fatal(err)
					}
				}
				r, _, sink, now := reopened(t, dir, month)
				m = series("m")
				from := now()
				commit(t, sink, 0, Sample{Series: m, T: from, V: 2}, Sample{Series: m, T: from + 1000, V: 3})
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}

				r, s, sink, now := reopened(t, dir, 0)
				m = series("m")
				if err := sink.Commit(t.Context(), []Sample{{Series: m, T: now(), V: 4}}, 0); !errors.Is(err, ErrNotReady) {
					t.Errorf("a sample that the TSDB refuses gives %v", err)
				}
				if s.Status().NotReady == "" {
					t.Error("the status does not say so")
				}
				time.Sleep(clock.Confirmation + time.Second)
				commit(t, sink, 0, Sample{Series: m, T: now(), V: 4})
				want[now()] = 4
				removed := s.Status().Removed
				if removed == nil || removed.Samples != 2 || removed.From != from || removed.To != from+1000 {
					t.Errorf("removed is said to be %+v", removed)
				}
				if got := read(t, s, "m")[m.Labels.String()]; fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("stored are %v, not %v", got, want)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}

				r, s, sink, now = reopened(t, dir, time.Hour)
				m = series("m")
				commit(t, sink, 0, Sample{Series: m, T: now(), V: 5})
				want[now()] = 5
				if got := read(t, s, "m")[m.Labels.String()]; fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("after a restart stored are %v, not %v", got, want)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// The clock starts in the past, as without a battery: true samples are ahead of
// it, and stay.
func TestClockIsBehind(t *testing.T) {
	for _, behind := range []time.Duration{time.Hour, 20 * 365 * 24 * time.Hour} {
		t.Run(behind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				r, _, sink, _ := reopened(t, dir, 0)
				m := series("m")
				for i := range int64(3600) {
					commit(t, sink, 0, Sample{Series: m, T: start - 1000*i, V: float64(i)})
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				r, s, _, _ := reopened(t, dir, -behind)
				time.Sleep(clock.Confirmation + time.Second)
				if st := s.Status(); st.Removed != nil || st.NotReady != "" {
					t.Errorf("the status is %+v", st)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				r, s, _, _ = reopened(t, dir, 0)
				if got := read(t, s, "m"); len(got[m.Labels.String()]) != 3600 {
					t.Errorf("%d samples are left", len(got[m.Labels.String()]))
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// countMinutes is an Evaluate. It gives how many samples of m are in the minute up to a
// time, and none if there are none.
func countMinutes(ctx context.Context, from Samples, _ string, first, last, step int64) ([]Evaluated, error) {
	counts := make([]float64, (last-first)/step+1)
	err := query(from, first-59_999, last, func(q storage.Querier) (annotations.Annotations, error) {
		set := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
		for set.Next() {
			for it := set.At().Iterator(nil); it.Next() == chunkenc.ValFloat; {
				for i := range counts {
					if t := first + int64(i)*step; t-60_000 < it.AtT() && it.AtT() <= t {
						counts[i]++
					}
				}
			}
		}
		return nil, set.Err()
	})
	for i, n := range counts {
		if n == 0 {
			counts[i] = math.NaN()
		}
	}
	return []Evaluated{{Labels: labels.EmptyLabels(), Values: counts}}, err
}

// The clock is set a month ahead and is believed, and is set back while the store is
// open: what comes then is stored and shown, rules are evaluated for it, and who reads
// settled samples is told. So it is if samples of rules alone are left ahead of the
// clock.
func TestClockIsSetBack(t *testing.T) {
	for _, rulesAlone := range []bool{false, true} {
		t.Run(fmt.Sprintf("samples of rules alone %v", rulesAlone), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var ahead atomic.Int64
				wall := func() time.Time {
					return time.UnixMilli(start).Add(time.Duration(ahead.Load()) + time.Since(begin))
				}
				now := func() int64 { return wall().UnixMilli() }
				dir := t.TempDir()
				open := func() (*Recorder, *Store, *Sink) {
					r := New(dir, slog.New(slog.DiscardHandler))
					r.clock = clock.New(wall, func() time.Duration { return time.Since(begin) })
					in := newManual("manual")
					c := testConfig(in)
					c.OutOfOrder = 3 * time.Hour // more than a block: see deleteAfter
					c.RulesRetention, c.Evaluate = 48*time.Hour, countMinutes
					c.Rules = []Rule{{Record: "count", Expr: "count", Interval: time.Minute, Reads: []RuleRead{{
						Names: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")}, After: -60_000,
					}}}}
					s, err := openStore(r, Key{1, "uid"}, c)
					if err != nil {
						t.Fatal(err)
					}
					return r, s, <-in.sinks
				}
				r, s, sink := open()
				m := series("m")
				minutes := func(n int) {
					t.Helper()
					for range 6 * n {
						time.Sleep(10 * time.Second)
						commit(t, sink, now(), Sample{Series: m, T: now(), V: 1})
					}
				}
				minutes(3)
				ahead.Store(int64(month))
				sink.Now()
				time.Sleep(clock.Confirmation + time.Second)
				minutes(3)
				if through := s.Status().Rules[0].Through; s.Settled() < start+month.Milliseconds() || through < start+month.Milliseconds() {
					t.Errorf("settled is %d, and rules are evaluated to %d: the clock is not believed", s.Settled()-start, through-start)
				}
				mark, moved := s.Watch("m")
				ahead.Store(0)
				sample := Sample{Series: m, T: now(), V: 2}
				if err := sink.Commit(t.Context(), []Sample{sample}, now()); !errors.Is(err, ErrNotReady) {
					t.Errorf("a sample that the TSDB refuses gives %v", err)
				}
				time.Sleep(time.Second)
				if s.Settled() > now() {
					t.Errorf("settled is %d ms ahead", s.Settled()-now())
				}
				select {
				case <-moved:
				default:
					t.Error("nobody is told that the settled time went back")
				}
				if _, _, err := s.Since(mark, "m"); !errors.Is(err, ErrMark) {
					t.Errorf("what is settled is said to have changed: %v", err)
				}
				if rulesAlone {
					// The process is killed between the two deletions.
					if _, err := s.removeFuture(s.limit()); err != nil {
						t.Fatal(err)
					}
					if err := r.Close(); err != nil {
						t.Fatal(err)
					}
					r, s, sink = open()
					m = series("m")
				}
				time.Sleep(clock.Confirmation + time.Second)
				from := now()
				// An input may still have a watermark from before.
				commit(t, sink, from+month.Milliseconds(), Sample{Series: m, T: from, V: 2})
				minutes(5)
				time.Sleep(10 * time.Second)
				if st := sinkStatus(s); st.Refused != (Refused{}) {
					t.Errorf("refused are %+v", st.Refused)
				}
				stored := 0
				for at := range read(t, s, "m")[m.Labels.String()] {
					if at >= from && at <= now() {
						stored++
					} else if at > now() {
						t.Errorf("there is a sample %v ahead", time.Duration(at-now())*time.Millisecond)
					}
				}
				if stored != 31 {
					t.Errorf("%d samples are stored", stored)
				}
				full := 0
				for at, n := range read(t, s, "count")[labels.FromStrings("__name__", "count").String()] {
					if at > now() {
						t.Errorf("there is a count %v ahead", time.Duration(at-now())*time.Millisecond)
					}
					if at > from+60_000 && n == 6 {
						full++
					}
				}
				if full < 3 {
					t.Errorf("%d minutes are counted", full)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// What was taken in the future is deleted by hand: true samples are stored at
// once.
func TestFutureDeletedByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, _, sink, now := reopened(t, dir, month)
		commit(t, sink, 0, Sample{Series: series("m"), T: now(), V: 1})
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var s *Store
			r, s, sink, now = reopened(t, dir, 0)
			if err := s.Delete(t.Context(), now(), now()+2*month.Milliseconds(), labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			commit(t, sink, 0, Sample{Series: series("m"), T: now(), V: 2})
			if got := read(t, s, "m"); len(got[series("m").Labels.String()]) != 1 || sinkStatus(s).Samples != 1 {
				t.Errorf("stored are %v, %+v", got, sinkStatus(s))
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func sinkStatus(s *Store) InputStatus { return s.Status().Inputs[0] }

// A clock that is set forward is not believed at once: nothing is stamped nor
// acknowledged by it, and the settled time does not follow it.
func TestClockIsSetForward(t *testing.T) {
	r, c := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	c.ahead.Store(month.Milliseconds())
	if now := sink.Now().UnixMilli(); now != start {
		t.Errorf("what arrives is stamped %d ms ahead", now-start)
	}
	if err := sink.Commit(t.Context(), []Sample{{Series: series("m"), T: start, V: 1}}, start); !errors.Is(err, ErrNotReady) || !errors.Is(err, clock.ErrDoubt) {
		t.Errorf("a commit gives %v", err)
	}
	if settled := s.Settled(); settled > start {
		t.Errorf("settled is %d ms ahead", settled-start)
	}
	c.ahead.Store(0)
	commit(t, sink, start, Sample{Series: series("m"), T: start, V: 1})
}

// A block of samples out of order ends with its two hours, which is after now. It
// has no sample that is, so nothing waits.
func TestBlockEndsAfterNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := series("m")
		r, s, sink, now := reopened(t, dir, 30*time.Minute)
		commit(t, sink, 0, Sample{Series: m, T: now(), V: 1})
		commit(t, sink, 0, Sample{Series: m, T: now() - 10*60_000, V: 2})
		db, err := s.database.acquire()
		if err != nil {
			t.Fatal(err)
		}
		err = db.CompactOOOHead(t.Context())
		if newest := db.newest(); newest < now()+time.Hour.Milliseconds() {
			t.Errorf("the block ends at %v", time.UnixMilli(newest))
		}
		db.readers.Done()
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		r, _, sink, now = reopened(t, dir, 30*time.Minute)
		commit(t, sink, 0, Sample{Series: series("m"), T: now() + 1, V: 3})
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A process that is started while the clock is an hour ahead does not believe it,
// because the one before it knew better.
func TestStartedWhileTheClockIsAhead(t *testing.T) {
	dir := t.TempDir()
	key := Key{1, "uid"}
	r := New(dir, slog.New(slog.DiscardHandler))
	if r.clock.State().Boot == "" {
		t.Skip("NOT TESTED: which start of the machine this is is not known here")
	}
	openManual(t, r, key)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, clockFile)
	text, err := files.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var state clock.State
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	// Seen from an hour ago, the clock is an hour ahead.
	state.Offset = state.Offset.Add(-time.Hour)
	if text, err = json.Marshal(state); err != nil {
		t.Fatal(err)
	}
	if err := files.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r = New(dir, slog.New(slog.DiscardHandler))
		_, sink := openManual(t, r, key)
		if behind := time.Since(sink.Now()); behind < time.Hour-time.Minute {
			t.Errorf("what arrives is stamped %v behind the clock", behind)
		}
		if err := sink.Commit(t.Context(), []Sample{{Series: series("m"), T: sink.Now().UnixMilli(), V: 1}}, 0); !errors.Is(err, clock.ErrDoubt) {
			t.Errorf("a commit gives %v", err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// What cannot be understood is as if there were nothing.
	if err := files.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = New(dir, slog.New(slog.DiscardHandler))
	_, sink := openManual(t, r, key)
	commit(t, sink, 0, Sample{Series: series("m"), T: sink.Now().UnixMilli(), V: 1})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// Where the system does not name its starts, as others than Linux, nothing is written
// down, and each process believes the clock anew.
func TestStartsHaveNoName(t *testing.T) {
	dir := t.TempDir()
	r, _ := newRecorder(t, dir)
	openManual(t, r, Key{1, "uid"})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if there, err := files.Exists(filepath.Join(dir, clockFile)); there || err != nil {
		t.Errorf("%s is there: %v", clockFile, err)
	}
	r, second := newRecorder(t, dir)
	second.ms.Store(start + month.Milliseconds())
	r.clock = clock.New(second.now, second.boot)
	_, sink := openManual(t, r, Key{1, "uid"})
	commit(t, sink, 0, Sample{Series: series("m"), T: second.ms.Load(), V: 1})
}
