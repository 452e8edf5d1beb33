package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
)

// compact writes what is in memory into blocks, as the TSDB does itself in time.
func compact(t testing.TB, s *Store) {
	t.Helper()
	db, err := s.database.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer db.readers.Done()
	if err := db.CompactHead(tsdb.NewRangeHead(db.Head(), db.Head().MinTime(), db.Head().MaxTime())); err != nil {
		t.Fatal(err)
	}
}

func TestRemembered(t *testing.T) {
	dir := t.TempDir()
	r, c := newRecorder(t, dir)
	config := func(remember string, idle time.Duration) Config {
		c := testConfig()
		c.Idle = idle
		if remember != "" {
			c.Remember = json.RawMessage(remember)
		}
		return c
	}
	for key, c := range map[Key]Config{
		{1, "used"}:    config(`{"n":1}`, time.Hour),
		{2, "used"}:    config(`{"n":2}`, time.Hour),
		{1, "soon"}:    config(`{"n":3}`, time.Minute),
		{1, "nothing"}: config(``, time.Hour),
		{1, "forever"}: config(`{"n":4}`, 0),
	} {
		if _, err := openStore(r, key, c); err != nil {
			t.Fatal(err)
		}
	}
	// The newest settings count, also those that came while the store was open.
	if err := r.Configure(Key{2, "used"}, config(`{"n":22}`, time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, strange := range []string{"x/used", "1/a b"} {
		if err := os.MkdirAll(filepath.Join(dir, strange), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, strange, memoryFile), []byte(`{"identity":"x","settings":{}}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "1/nothing", memoryFile), []byte(`{`), 0o600); err != nil {
		t.Fatal(err)
	}
	again, c2 := newRecorder(t, dir)
	c2.ms.Store(c.ms.Load() + 10*time.Minute.Milliseconds())
	got, _ := json.Marshal(map[string]json.RawMessage{
		"1": again.Remembered()[Key{1, "used"}], "2": again.Remembered()[Key{2, "used"}], "4": again.Remembered()[Key{1, "forever"}]})
	if want := `{"1":{"n":1},"2":{"n":22},"4":{"n":4}}`; string(got) != want || len(again.Remembered()) != 3 {
		t.Errorf("remembered is %s, %d of them, not %s", got, len(again.Remembered()), want)
	}
	// What cannot be understood keeps no store from being opened.
	if err := again.Configure(Key{1, "nothing"}, testConfig()); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Store(t.Context(), Key{1, "nothing"}); err != nil {
		t.Errorf("a broken memory gives %v", err)
	}
}

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	identity := func(uid string) string {
		r, _ := newRecorder(t, dir)
		_, sink := openManual(t, r, Key{1, uid})
		defer func() { _ = r.Close() }()
		return sink.Identity()
	}
	a, again, b := identity("a"), identity("a"), identity("b")
	if a != again || a == b || !regexp.MustCompile(`^[A-Za-z0-9]{22}$`).MatchString(a) {
		t.Errorf("identities are %s, %s and %s", a, again, b)
	}
}

// Inputs stop when nobody has asked for samples for long, and start again when
// somebody does. Status does not count as asking.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := New(dir, slog.New(slog.DiscardHandler))
		defer func() { _ = r.Close() }()
		in := newManual("manual")
		c := testConfig(in)
		c.Idle, c.Remember = 20*time.Minute, json.RawMessage(`{}`)
		s, err := openStore(r, Key{1, "uid"}, c)
		if err != nil {
			t.Fatal(err)
		}
		opened := time.Now()
		<-in.sinks
		time.Sleep(c.Idle - time.Minute)
		if in.ended.Load() {
			t.Fatal("the input ended early")
		}
		if st := s.Status(); st.Used != opened.UnixMilli() || st.Stops != opened.Add(c.Idle).UnixMilli() {
			t.Errorf("the status is %+v", st)
		}
		read(t, s, "m") // a use
		time.Sleep(c.Idle - time.Minute)
		if in.ended.Load() {
			t.Fatal("the input ended although the store was used")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !in.ended.Load() || len(s.Status().Inputs) != 0 {
			t.Fatal("the input goes on")
		}
		// Settings alone do not start it.
		c.MaxBytes = 1 << 40
		if err := r.Configure(Key{1, "uid"}, c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(in.sinks) != 0 {
			t.Fatal("the input was started by settings")
		}
		if len(r.Remembered()) != 0 {
			t.Error("an unused store is remembered")
		}
		read(t, s, "m")
		<-in.sinks
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if len(r.Remembered()) != 1 {
			t.Error("the store is not remembered")
		}
	})
}

// Everything that was recorded goes, from the disk too, while the input goes on
// and readers read.
func TestDeleteStore(t *testing.T) {
	dir := t.TempDir()
	r, c := newRecorder(t, dir)
	key := Key{1, "uid"}
	in := newManual("manual")
	s, err := openStore(r, key, testConfig(in))
	if err != nil {
		t.Fatal(err)
	}
	sink := <-in.sinks
	commit(t, sink, start, Sample{Series: series("secret"), T: start, V: 1})
	mark, moved := s.Watch("m")
	q, err := s.Querier(0, start)
	if err != nil {
		t.Fatal(err)
	}
	deleted := make(chan error)
	go func() { deleted <- r.Delete(context.Background(), key) }()
	<-moved // closed, but for the reader
	if _, err := s.Querier(0, start); !errors.Is(err, ErrClosed) {
		t.Errorf("the old store gives %v", err)
	}
	if err := sink.Commit(t.Context(), []Sample{{Series: series("m"), T: start, V: 1}}, start); !errors.Is(err, ErrClosed) {
		t.Errorf("the old sink gives %v", err)
	}
	select {
	case err := <-deleted:
		t.Fatalf("deleted under a reader: %v", err)
	default:
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	anew, err := r.Store(t.Context(), key)
	if err != nil || anew == s {
		t.Fatal(anew, err)
	}
	sink = <-in.sinks
	c.ms.Store(start + 1000)
	commit(t, sink, start+1000, Sample{Series: series("m"), T: start + 1000, V: 1})
	if len(read(t, anew, "secret")) != 0 || len(read(t, anew, "m")) != 1 {
		t.Error("the new store is wrong")
	}
	if after, _ := anew.Watch("m"); after == mark {
		t.Error("who follows rows does not learn of it")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "secret") {
			t.Errorf("%s still has it", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestReport(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	if in := s.Status().Inputs[0]; in.State != StateConnecting {
		t.Error("an input that has said nothing is connected")
	}
	sink.Retry("no route", time.Time{})
	if in := s.Status().Inputs[0]; in.State != StateDown || in.Trouble != "no route" {
		t.Errorf("the status is %+v", in)
	}
	sink.Trouble("")
	for i := range 2 {
		sink.Report(Report{Messages: 3, Skipped: map[string]Skipped{"not a number": {2, strings.Repeat("ü", 300) + "\xff"}},
			Last: &Message{From: "a/b", Payload: strings.Repeat("x", 10*i), Samples: make([]string, 20)}})
	}
	in := s.Status().Inputs[0]
	if !in.State.Connected() || in.Messages != 6 || in.Skipped["not a number"].Count != 4 || in.Skipped["not a number"].Example != strings.Repeat("ü", 200)+"…" ||
		in.Last.Payload != "xxxxxxxxxx" || len(in.Last.Samples) != 10 {
		t.Errorf("the status is %+v", in)
	}
	if s.Sink("manual") != sink || s.Sink("other") != nil {
		t.Error("sinks are not found by name")
	}
}

// Late samples are deleted like all others, and do not come back.
func TestDeleteLateSamples(t *testing.T) {
	r, c := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	c.ms.Store(start + 100_000)
	m := series("m")
	commit(t, sink, start, Sample{Series: m, T: start + 100_000, V: 1})
	commit(t, sink, start, Sample{Series: m, T: start, V: 2}, Sample{Series: m, T: start + 1000, V: 3})
	if err := s.Delete(t.Context(), start, start+100_000, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, samples := range read(t, s, "m") {
			if len(samples) != 0 {
				t.Errorf("the store has %v", samples)
			}
		}
		compact(t, s)
	}
}

// Whoever asks while a store is deleted gets it, once it is open again.
func TestDeleteWhileOthersAsk(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	key := Key{1, "uid"}
	if err := r.Configure(key, testConfig()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 10 {
				if s, err := r.Store(context.Background(), key); s == nil || err != nil {
					t.Errorf("a store is %v, %v", s, err)
				}
			}
		})
		wg.Go(func() {
			if err := r.Delete(context.Background(), key); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
