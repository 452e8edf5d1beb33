package recorder

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// soon is how long a test waits for what must come at once.
const soon = 10 * time.Second

// stubborn is an input that does not stop before it may.
type stubborn struct{ running, may chan struct{} }

func (stubborn) Name() string { return "stubborn" }

func (stubborn) Version() string { return "" }

func (s stubborn) Run(ctx context.Context, _ *Sink) {
	close(s.running)
	<-ctx.Done()
	<-s.may
}

// While settings wait for an input to stop, the store can be asked for, and so can
// others.
func TestSettingsWaitForAnInput(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	in := stubborn{make(chan struct{}), make(chan struct{})}
	key := Key{1, "uid"}
	s, err := openStore(r, key, testConfig(in))
	if err != nil {
		t.Fatal(err)
	}
	<-in.running
	configured := make(chan error, 1)
	go func() { configured <- r.Configure(key, testConfig()) }()
	for s.inputs.changing.TryLock() { // until it waits
		s.inputs.changing.Unlock()
		time.Sleep(time.Millisecond)
	}
	for _, other := range []Key{key, {2, "uid"}} {
		asked := make(chan error, 1)
		go func() {
			if other != key {
				if err := r.Configure(other, testConfig()); err != nil {
					asked <- err
					return
				}
			}
			_, err := r.Store(t.Context(), other)
			asked <- err
		}()
		select {
		case err := <-asked:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(soon):
			t.Errorf("the store of organisation %d cannot be had", other.Org)
		}
	}
	close(in.may)
	if err := <-configured; err != nil {
		t.Error(err)
	}
}

// Whatever characters the path of the recorder has, what is in it is found.
func TestStrangeRoot(t *testing.T) {
	for _, name := range []string{"a[b", "a[b]c", "a*b?", `a\b`, "a{b,c}"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			r, _ := newRecorder(t, dir)
			key := Key{1, "uid"}
			c := testConfig(newManual("manual"))
			c.Remember = json.RawMessage(`{"n":1}`)
			s, err := openStore(r, key, c)
			if err != nil {
				t.Fatal(err)
			}
			commit(t, s.Sink("manual"), start, Sample{Series: series("m"), T: start, V: 1})
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			// As a repair leaves it that did not come to its end.
			wal := filepath.Join(dir, "1", "uid", "wal")
			if err := os.Rename(filepath.Join(wal, "00000000"), filepath.Join(wal, "00000000.repair")); err != nil {
				t.Fatal(err)
			}
			again, _ := newRecorder(t, dir)
			if got := string(again.Remembered()[key]); got != `{"n":1}` {
				t.Errorf("remembered is %s", got)
			}
			if s, err = openStore(again, key, testConfig()); err != nil {
				t.Fatal(err)
			}
			if len(read(t, s, "m")) != 1 {
				t.Error("what was recorded is not found")
			}
			if _, err := again.Backup(t.Context(), key); err != nil {
				t.Error(err)
			}
		})
	}
}

// What was recorded can be deleted also if it is why the store cannot be opened, unless
// another process has it.
func TestDeleteWhatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	r, _ := newRecorder(t, dir)
	key := Key{1, "uid"}
	_, sink := openManual(t, r, key)
	identity := sink.Identity()
	commit(t, sink, start, Sample{Series: series("m"), T: start, V: 1})

	other, _ := newRecorder(t, dir)
	if err := other.Configure(key, testConfig()); err != nil {
		t.Fatal(err)
	}
	if err := other.Delete(t.Context(), key); err == nil || !strings.Contains(err.Error(), "another process holds") {
		t.Errorf("deleting the store of another process gives %v", err)
	}
	if s, err := r.Store(t.Context(), key); err != nil || len(read(t, s, "m")) != 1 {
		t.Error("the store of another process has lost something", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	wal := filepath.Join(dir, "1", "uid", "wal")
	if err := os.RemoveAll(wal); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(wal, []byte("no folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken, _ := newRecorder(t, dir)
	in := newManual("manual")
	if _, err := openStore(broken, key, testConfig(in)); err == nil {
		t.Fatal("a store without a log can be opened")
	}
	if err := broken.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	s, err := broken.Store(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	sink = <-in.sinks
	if got := sink.Identity(); got != identity {
		t.Errorf("the identity is %s, not %s", got, identity)
	}
	commit(t, sink, start, Sample{Series: series("m"), T: start, V: 2})
	if got := read(t, s, "m"); len(got) != 1 || got["{__name__=\"m\"}"][start] != 2 {
		t.Errorf("the store has %v", got)
	}
	if err := broken.Delete(t.Context(), Key{1, "unknown"}); err == nil {
		t.Error("a store that nobody has configured can be deleted")
	}
}

// The status shows which samples were refused first, by metric and labels.
func TestRefusedFirst(t *testing.T) {
	r, c := newRecorder(t, t.TempDir())
	c.ms.Store(start + 1000)
	s, sink := openManual(t, r, Key{1, "uid"})
	m := &Series{Labels: labels.FromStrings("__name__", "temperature", "topic", "plant/1")}
	commit(t, sink, start, Sample{Series: m, T: start, V: 1}, Sample{Series: m, T: start, V: 2}, Sample{Series: m, T: start, V: 3},
		Sample{Series: m, T: start + time.Hour.Milliseconds(), V: 4}, Sample{Series: m, T: 0, V: 5})
	want := map[string]string{
		"duplicate": `temperature{topic="plant/1"} 2 @ 2027-01-15T08:00:00.000Z`,
		"future":    `temperature{topic="plant/1"} 4 @ 2027-01-15T09:00:00.000Z`,
		"tooOld":    `temperature{topic="plant/1"} 5 @ 1970-01-01T00:00:00.000Z`,
	}
	if got := s.Status().Inputs[0].RefusedFirst; !maps.Equal(got, want) {
		t.Errorf("refused first are %v, not %v", got, want)
	}
}

// Samples beyond the window for those out of order are refused, also after newer ones of
// the same batch.
func TestOutOfOrder(t *testing.T) {
	for _, test := range []struct {
		window time.Duration
		stored uint64
	}{{0, 2}, {10 * time.Minute, 3}, {time.Hour, 4}} {
		t.Run(test.window.String(), func(t *testing.T) {
			r, c := newRecorder(t, t.TempDir())
			c.ms.Store(start + time.Hour.Milliseconds())
			in := newManual("manual")
			config := testConfig(in)
			config.OutOfOrder = test.window
			s, err := openStore(r, Key{1, "uid"}, config)
			if err != nil {
				t.Fatal(err)
			}
			sink, m := <-in.sinks, series("m")
			newest := start + 30*time.Minute.Milliseconds()
			commit(t, sink, start, Sample{Series: m, T: newest, V: 1}, Sample{Series: m, T: newest - 5000, V: 2}, Sample{Series: m, T: start, V: 3},
				Sample{Series: m, T: newest + 1000, V: 4})
			if st := s.Status().Inputs[0]; st.Samples != test.stored || st.Refused != (Refused{TooOld: 4 - test.stored}) {
				t.Errorf("the status is %+v", st)
			}
			for _, samples := range read(t, s, "m") {
				if uint64(len(samples)) != test.stored {
					t.Errorf("the store has %v", samples)
				}
			}
			if err := s.Delete(t.Context(), start, newest-1, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")); err != nil {
				t.Error(err)
			}
			if _, err := r.Backup(t.Context(), Key{1, "uid"}); err != nil {
				t.Error(err)
			}
		})
	}
}
