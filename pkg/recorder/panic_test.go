package recorder

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// faulty is an input that panics at its first run.
type faulty struct {
	*manual
	runs atomic.Int64
}

func (f *faulty) Run(ctx context.Context, sink *Sink) {
	if f.runs.Add(1) == 1 {
		panic("a fault of the input")
	}
	f.manual.Run(ctx, sink)
}

// An input that panics stops neither the process nor other inputs. It says so, and
// is run again.
func TestInputPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := New(t.TempDir(), slog.New(slog.NewTextHandler(&log, nil)))
		bad, good := &faulty{manual: newManual("bad")}, newManual("good")
		s, err := openStore(r, Key{1, "uid"}, testConfig(bad, good))
		if err != nil {
			t.Fatal(err)
		}
		sink := <-good.sinks
		synctest.Wait()
		if in := s.Status().Inputs[0]; in.Name != "bad" || !strings.Contains(in.Trouble, "a fault of the input") {
			t.Errorf("the input that panicked is %+v", in)
		}
		if !strings.Contains(log.String(), "panic_test.go") {
			t.Errorf("the log has no stack: %s", log.String())
		}
		commit(t, sink, time.Now().UnixMilli(), Sample{Series: series("m"), T: time.Now().UnixMilli(), V: 1})
		time.Sleep(restart)
		<-bad.sinks
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if !bad.ended.Load() {
			t.Error("the input was not stopped")
		}
	})
}
