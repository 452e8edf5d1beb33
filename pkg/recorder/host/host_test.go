package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// record runs the input on a store, in virtual time.
func record(t *testing.T, collectors []collector, do func(t *testing.T, s *recorder.Store)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := recorder.New(dir, slog.New(slog.DiscardHandler))
		in := Input{Interval: time.Second, collectors: collectors}
		key := recorder.Key{Org: 1, UID: "uid"}
		if err := r.Configure(key, recorder.Config{Retention: time.Hour, MaxWait: 2 * time.Second, Inputs: []recorder.Input{in}}); err != nil {
			t.Fatal(err)
		}
		s, err := r.Store(context.Background(), key)
		if err != nil {
			t.Fatal(err)
		}
		do(t, s)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// times returns the times of a metric's samples, in milliseconds after base.
func times(t *testing.T, s *recorder.Store, name string, base int64) []int64 {
	t.Helper()
	q, err := s.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	var all []int64
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			all = append(all, it.AtT()-base)
		}
	}
	if err := errors.Join(set.Err(), q.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}

func constant(name string) collector {
	return collector{name, func(_ context.Context, emit emit) error {
		emit("test_"+name, 1)
		return nil
	}}
}

// What has ended is forgotten, as are processes that come and go.
func TestSeriesAreForgotten(t *testing.T) {
	r := run{series: make(map[string]*used)}
	for n := range 3600 {
		r.samples = r.samples[:0]
		r.take(reading{at: int64(n) * 1000, values: []value{{"up", nil, 1}, {"process", []string{"pid", fmt.Sprint(n)}, 1}}})
	}
	if n := len(r.series); n > 1000 || len(r.samples) != 2 {
		t.Errorf("%d series are remembered, and %d samples were taken", n, len(r.samples))
	}
}

func TestStampedWithMultiples(t *testing.T) {
	record(t, []collector{constant("a")}, func(t *testing.T, s *recorder.Store) {
		base := time.Now().UnixMilli()
		time.Sleep(300 * time.Millisecond)
		_, moved := s.Watch()
		<-moved
		// A quarter of a second is what a row has to be on its way.
		if now := time.Now().UnixMilli(); s.Settled() != base+1000 || now > base+1250 {
			t.Errorf("at %d, settled is %d", now-base, s.Settled()-base)
		}
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		if got := times(t, s, "test_a", base); len(got) != 4 || got[0] != 1000 || got[3] != 4000 {
			t.Errorf("sampled at %v", got)
		}
	})
}

func TestSlowCollector(t *testing.T) {
	calls := 0
	slow := collector{"slow", func(_ context.Context, emit emit) error {
		if calls++; calls == 2 {
			time.Sleep(2500 * time.Millisecond) // does not heed its context
		}
		emit("test_slow", 1)
		return nil
	}}
	failing := collector{"failing", func(context.Context, emit) error { return errors.New("no such thing") }}
	record(t, []collector{constant("a"), slow, failing}, func(t *testing.T, s *recorder.Store) {
		base := time.Now().UnixMilli()
		time.Sleep(2300 * time.Millisecond)
		synctest.Wait()
		if s.Settled() != base+2000 {
			t.Errorf("the settled time is held back: %d", s.Settled()-base)
		}
		if got := s.Status().Inputs[0].Trouble; got != "failing: no such thing; slow took more than 200ms, so its samples are lost" {
			t.Errorf("the status says %q", got)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got := times(t, s, "test_a", base); len(got) != 6 {
			t.Errorf("the other collector was sampled at %v", got)
		}
		if got := times(t, s, "test_slow", base); len(got) != 3 || got[1] != 5000 {
			t.Errorf("the slow collector was sampled at %v", got)
		}
		if got := s.Status().Inputs[0].Trouble; strings.Contains(got, "slow") {
			t.Errorf("the status still says %q", got)
		}
	})
}

// The input ends although a collector hangs.
func TestHangingCollector(t *testing.T) {
	release := make(chan struct{})
	hanging := collector{"hanging", func(context.Context, emit) error { <-release; return nil }}
	dir := t.TempDir()
	r := recorder.New(dir, slog.New(slog.DiscardHandler))
	in := Input{Interval: 10 * time.Millisecond, collectors: []collector{hanging}}
	key := recorder.Key{Org: 1, UID: "uid"}
	if err := r.Configure(key, recorder.Config{Retention: time.Hour, MaxWait: 2 * time.Second, Inputs: []recorder.Input{in}}); err != nil {
		t.Fatal(err)
	}
	s, err := r.Store(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	_, moved := s.Watch()
	<-moved
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	close(release)
}

// Every machine that tests run on has a CPU, memory and a root directory.
func TestMachine(t *testing.T) {
	got := make(map[string]int)
	unit := regexp.MustCompile(`_(seconds|bytes|celsius)(_total)?$`)
	for _, c := range machine {
		begin := time.Now()
		err := c.collect(t.Context(), func(metric string, v float64, l ...string) {
			meta, ok := metrics[metric]
			switch m := unit.FindStringSubmatch(metric); {
			case !ok:
				t.Errorf("%s is not described", metric)
			case m != nil && meta.Unit != m[1], m == nil && meta.Unit != "":
				t.Errorf("%s has the unit %q", metric, meta.Unit)
			case strings.HasSuffix(metric, "_total") != (meta.Type == "counter"):
				t.Errorf("%s is a %s", metric, meta.Type)
			case len(l)%2 != 0 || math.IsNaN(v) || v < 0:
				t.Errorf("%s has the labels %v and the value %v", metric, l, v)
			}
			got[metric]++
		})
		if err != nil {
			t.Logf("%s: %v", c.name, err)
		}
		t.Logf("%s took %v", c.name, time.Since(begin))
	}
	for _, must := range []string{"node_cpu_seconds_total", "node_load1", "node_memory_MemTotal_bytes", "node_boot_time_seconds", "node_processes_pids", "node_filesystem_avail_bytes"} {
		if got[must] == 0 {
			t.Errorf("%s is missing", must)
		}
	}
	for metric := range metrics {
		if got[metric] == 0 {
			t.Logf("this machine has no %s", metric)
		}
	}
}
