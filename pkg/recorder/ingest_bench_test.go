package recorder

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// fleet commits one sample at a time t to each of n series, as of batches of a sink.
func fleet(b *testing.B, sink *Sink, all []*Series, t int64) {
	b.Helper()
	const batch = 5000
	samples := make([]Sample, 0, batch)
	for i, s := range all {
		samples = append(samples, Sample{Series: s, T: t, V: float64(i)})
		if len(samples) == batch || i == len(all)-1 {
			commit(b, sink, t, samples...)
			samples = samples[:0]
		}
	}
}

func fleetOf(n int) []*Series {
	all := make([]*Series, n)
	for i := range all {
		all[i] = series("m", "sensor", fmt.Sprint(i), "line", "three", "plant", "north")
	}
	return all
}

// 5,000 late samples come for one in ten of 50,000 series. What matters is how long the
// store's lock is held.
func BenchmarkLateBatch(b *testing.B) {
	r, c := newRecorder(b, b.TempDir())
	_, sink := openManual(b, r, Key{1, "uid"})
	all := fleetOf(50_000)
	t := start
	for range 20 {
		t += 1000
		c.ms.Store(t)
		fleet(b, sink, all, t)
	}
	late := make([]Sample, 5000)
	var longest atomic.Int64 // µs
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for lock := &sink.of.ingester.mu; ; {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			begin := time.Now()
			lock.Lock()
			waited := time.Since(begin)
			lock.Unlock()
			longest.Store(max(longest.Load(), waited.Microseconds()))
		}
	}()
	n := int64(0)
	for b.Loop() {
		n++
		for i := range late {
			late[i] = Sample{Series: all[i*10], T: t - 10_000 + 5 + n, V: float64(i)}
		}
		commit(b, sink, 0, late...)
	}
	close(stop)
	<-stopped
	b.ReportMetric(float64(longest.Load())/1000, "ms/longest-hold")
}

// 100,000 series go on after a restart: in order, and behind a sender whose clock is
// ahead.
func BenchmarkRestart(b *testing.B) {
	for _, bench := range []struct {
		name   string
		behind int64
	}{{"in-order", 0}, {"behind", 30_000}} {
		b.Run(bench.name, func(b *testing.B) {
			dir := b.TempDir()
			r, _ := newRecorder(b, dir)
			_, sink := openManual(b, r, Key{1, "uid"})
			const n = 100_000
			fleet(b, sink, fleetOf(n), start)
			ahead := series("ahead")
			t := start
			for b.Loop() {
				b.StopTimer()
				t += 1000
				commit(b, sink, 0, Sample{Series: ahead, T: t + bench.behind, V: 1})
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
				var c *manualClock
				r, c = newRecorder(b, dir)
				c.ms.Store(t + 1000)
				_, sink = openManual(b, r, Key{1, "uid"})
				all := fleetOf(n)
				b.StartTimer()
				fleet(b, sink, all, t+500)
			}
		})
	}
}
