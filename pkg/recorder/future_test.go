package recorder

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

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
