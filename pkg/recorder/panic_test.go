package recorder

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counted returns how many panics were counted by now in what runs.
func counted(t *testing.T, in string) (n float64) {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "continuum_panics_total" && m.GetLabel()[0].GetValue() == in {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

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

// moody is an input that panics when it is asked for its version, while it is told to.
type moody struct {
	*manual
	panics atomic.Bool
}

func (m *moody) Version() string {
	if m.panics.Load() {
		panic("a fault of the input")
	}
	return ""
}

// A panic in what the store does by itself is logged and counted, and the next time is
// another chance.
func TestMaintenancePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := New(t.TempDir(), slog.New(slog.NewTextHandler(&log, nil)))
		var disk atomic.Bool
		r.free = func(string) (int64, error) {
			if disk.Load() {
				panic("a fault of the disk")
			}
			return 1 << 40, nil
		}
		in := &moody{manual: newManual("moody")}
		c := testConfig(in)
		c.Idle = 20 * time.Minute
		s, err := openStore(r, Key{1, "uid"}, c)
		if err != nil {
			t.Fatal(err)
		}
		<-in.sinks
		panicked := func(what string, before float64) {
			t.Helper()
			synctest.Wait()
			if counted(t, "store") <= before || !strings.Contains(log.String(), what) || !strings.Contains(log.String(), "panic_test.go") {
				t.Errorf("%v panics were counted before, %v now, and logged is %s", before, counted(t, "store"), log.String())
			}
			log.Reset()
		}

		before := counted(t, "store")
		disk.Store(true) // the maintenance looks at it
		time.Sleep(2 * lookEvery)
		panicked("a fault of the disk", before)
		disk.Store(false)

		time.Sleep(c.Idle + time.Minute)
		synctest.Wait()
		if !in.ended.Load() {
			t.Error("the input runs although nobody asks")
		}
		before = counted(t, "store")
		in.panics.Store(true) // it is to be started again
		s.usage.note()
		panicked("a fault of the input", before)
		in.panics.Store(false)
		time.Sleep(time.Minute)
		sink := <-in.sinks
		commit(t, sink, time.Now().UnixMilli(), Sample{Series: series("m"), T: time.Now().UnixMilli(), V: 1})
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A panic of the sorter is the error of the import that adds samples.
func TestSorterPanics(t *testing.T) {
	i := &Import{ctx: t.Context(), store: &Store{rules: &rules{}}, ids: make(map[string]uint32), in: make(chan pastSample), ended: make(chan struct{})}
	go i.sort(func() { panic("a fault of the sorter") })
	if err := i.Add(Past{Labels: series("m").Labels, T: 1}); err == nil || !strings.Contains(err.Error(), "a fault of the sorter") {
		t.Errorf("the import gets %v", err)
	}
}
