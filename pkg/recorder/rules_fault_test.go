package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// ruleOf returns a rule that reads a metric.
func ruleOf(record, metric string) Rule {
	return Rule{Group: "g", Record: record, Expr: metric, Interval: 10 * time.Second, Reads: []RuleRead{{
		Names: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, metric)}, After: -10_000}}}
}

// ones is an Evaluate that gives 1 everywhere.
func ones(_ context.Context, _ Samples, _ string, first, last, step int64) ([]Evaluated, error) {
	values := make([]float64, (last-first)/step+1)
	for i := range values {
		values[i] = 1
	}
	return []Evaluated{{labels.EmptyLabels(), values}}, nil
}

// openRuled opens a store with samples of "m" at some times, and then the rule "rule",
// which reads "m".
func openRuled(t *testing.T, dir string, evaluate Evaluate, times ...int64) (*Recorder, *Store, *Sink) {
	t.Helper()
	before := closeWait
	closeWait = 100 * time.Millisecond
	r, _ := unclosedRecorder(dir)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Log(err) // a busy machine takes longer than closeWait
		}
		closeWait = before
	})
	s, sink := openManual(t, r, Key{1, "uid"})
	for _, at := range times {
		commit(t, sink, start, Sample{Series: series("m"), T: at, V: 1})
	}
	c := testConfig(newManual("manual")) // the one that runs stays
	c.Rules, c.RulesRetention, c.Evaluate = []Rule{ruleOf("rule", "m")}, 24*time.Hour, evaluate
	if err := r.Configure(Key{1, "uid"}, c); err != nil {
		t.Fatal(err)
	}
	evaluated := func() bool {
		rules := s.Status().Rules
		return len(rules) == 1 && rules[0].From == slices.Min(times)
	}
	eventually(t, "the rule was evaluated", evaluated)
	return r, s, sink
}

// removeChunks has the TSDB panic, with locks held, when it writes its first chunk.
func removeChunks(t *testing.T, store string) {
	if err := os.RemoveAll(filepath.Join(store, chunksHeadDir)); err != nil {
		t.Error(err)
	}
}

// When the TSDB panics while results are stored, it is opened anew, and the rule goes on.
func TestStoringResultsPanics(t *testing.T) {
	dir := t.TempDir()
	var once sync.Once
	before := counted(t, "store")
	openRuled(t, dir, func(ctx context.Context, from Samples, expr string, first, last, step int64) ([]Evaluated, error) {
		once.Do(func() { removeChunks(t, filepath.Join(dir, "1", "uid", rulesDir)) })
		return ones(ctx, from, expr, first, last, step)
	}, start-2_000_000) // what is past is stored out of order, and fills a chunk
	if counted(t, "store") == before {
		t.Error("nothing has panicked")
	}
}

// When a TSDB panics during a backup, it is opened anew, and recording goes on.
func TestBackupPanics(t *testing.T) {
	for name, part := range map[string]string{"inputs": "", "rules": rulesDir} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r, _, sink := openRuled(t, dir, ones, start-100_000, start-200_000)
			removeChunks(t, filepath.Join(dir, "1", "uid", part))
			if _, err := r.Backup(t.Context(), Key{1, "uid"}); !errors.As(err, new(*panics.Error)) {
				t.Errorf("the backup gives %v", err)
			}
			eventually(t, "samples are stored", func() bool {
				return sink.Commit(t.Context(), []Sample{{Series: series("m"), T: start - 150_000, V: 1}}, start) == nil
			})
			eventually(t, "there is a backup", func() bool {
				_, err := r.Backup(t.Context(), Key{1, "uid"})
				return err == nil
			})
		})
	}
}

// On a full disk both TSDBs are closed, also if that of the inputs is already, and if a
// rule is being evaluated.
func TestRulesCloseOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Int64
		free.Store(1 << 40)
		var blocks atomic.Bool
		r := New(t.TempDir(), slog.New(slog.DiscardHandler))
		r.free = func(string) (int64, error) { return free.Load(), nil }
		c := testConfig()
		c.DiskLow, c.DiskCritical = 100, 10
		c.Rules, c.RulesRetention = []Rule{ruleOf("rule", "m")}, 24*time.Hour
		c.Evaluate = func(ctx context.Context, from Samples, expr string, first, last, step int64) ([]Evaluated, error) {
			if blocks.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return ones(ctx, from, expr, first, last, step)
		}
		s, err := openStore(r, Key{1, "uid"}, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, full := range []func(){
			func() {
				if err := s.database.close(errWrite); err != nil {
					t.Error(err)
				}
			},
			func() {
				blocks.Store(true)
				time.Sleep(20 * time.Second)
			},
		} {
			time.Sleep(time.Minute)
			if through := s.Status().Rules[0].Through; through < time.Now().Add(-20*time.Second).UnixMilli() || !s.database.isOpen() {
				t.Errorf("with room on the disk the rule is evaluated through %v", time.UnixMilli(through))
			}
			full()
			free.Store(0)
			time.Sleep(4 * lookEvery)
			if s.database.isOpen() || s.rules.recorded.isOpen() {
				t.Errorf("open are the inputs: %v, the rules: %v", s.database.isOpen(), s.rules.recorded.isOpen())
			}
			blocks.Store(false)
			free.Store(1 << 40)
		}
		time.Sleep(time.Minute)

		// Asking for the status keeps nobody from recording.
		s.rules.recorded.retire(errReopening, true)
		go s.Status()
		synctest.Wait()
		if s.rules.mu.TryLock() {
			s.rules.mu.Unlock()
		} else {
			t.Error("the status holds a lock while it waits for the TSDB")
		}
		if err := errors.Join(s.rules.recorded.reopen(errReopening), r.Close()); err != nil {
			t.Error(err)
		}
	})
}

// On a full disk what rules have recorded is closed, and it can be read again once there
// is room, also when there are no rules any more, and when the process was started
// meanwhile.
func TestFormerRulesOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Int64
		free.Store(1 << 40)
		dir := t.TempDir()
		c := testConfig()
		c.DiskLow, c.DiskCritical = 100, 10
		c.Rules, c.RulesRetention, c.Evaluate = []Rule{ruleOf("rule", "m")}, 24*time.Hour, ones
		open := func() (*Recorder, *Store) {
			r := New(dir, slog.New(slog.DiscardHandler))
			r.free = func(string) (int64, error) { return free.Load(), nil }
			s, err := openStore(r, Key{1, "uid"}, c)
			if err != nil {
				t.Fatal(err)
			}
			return r, s
		}
		r, s := open()
		time.Sleep(time.Minute)
		c.Rules = nil
		if err := r.Configure(Key{1, "uid"}, c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for _, again := range []func(){
			func() {},
			func() {
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				r, s = open()
			},
		} {
			free.Store(0)
			time.Sleep(4 * lookEvery)
			again()
			free.Store(1 << 40)
			time.Sleep(retryOpen + 4*lookEvery)
			if got := read(t, s, "rule"); len(got) != 1 {
				t.Errorf("with room on the disk again the store has %v", got)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What is late of many metrics is in the file, which is not written for each of them.
func TestManyMetricsAreLate(t *testing.T) {
	file := filepath.Join(t.TempDir(), lateFile)
	l := &lateness{file: file}
	announce := func(metric string) {
		if err := l.announce(map[string]span{metric: {start, start + 1000}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 500 {
		announce(fmt.Sprint("m", i))
	}
	announce(deletedMark + "m0")
	if n := len(l.kept); n != maxKept+2 {
		t.Errorf("the file was written %d times", n)
	}
	again := &lateness{file: file}
	if err := again.resume(); err != nil {
		t.Fatal(err)
	}
	for _, metric := range []string{"m0", "", deletedMark} {
		if !again.noted[metric].cover(span{start, start + 1000}) {
			t.Errorf("of %q there is %v", metric, again.noted[metric])
		}
	}
}

// A panic while the store takes the blocks of an import leaves nothing locked.
func TestTakingAnImportPanics(t *testing.T) {
	r := newRules(t.TempDir(), slog.New(slog.DiscardHandler), nil, nil, nil, nil)
	r.next = []Rule{ruleOf("rule", "m")}
	r.adopt()
	ready := newReadiness(clock.System(), func() (int64, error) { return 1 << 40, nil })
	of := pastSeries{Series: Series{Labels: series("m").Labels}, span: span{start, start}}
	w := &importWriter{Import: &Import{ctx: t.Context(), store: &Store{rules: r, ready: ready}, series: []pastSeries{of}}} // the store has no TSDB
	if err := panics.Catch("store", w.finish); !errors.As(err, new(*panics.Error)) {
		t.Errorf("the import gives %v", err)
	}
	if len(r.lateness.noted) != 1 || !r.lateness.changing.TryLock() {
		t.Error("samples are still about to change")
	}
}
