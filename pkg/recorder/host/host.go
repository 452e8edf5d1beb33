// Package host is the recorder's input for the machine that it runs on: CPU,
// load, memory, swap, disks, network, temperatures and processes, read with
// gopsutil and named as node_exporter names them, so that its dashboards and
// rules fit.
//
// Samples are taken at, and stamped with, whole multiples of the interval. If a
// collector is slow, its samples of that time are lost, and the status names it. It
// never holds up the other collectors or the settled time.
package host

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// unused is how long a series is remembered that no collector gives any more, as of a
// process that has ended.
const unused = 5 * time.Minute

// patience is how long after its time a sample may be taken. A later value would not
// be the value at that time.
const patience = 200 * time.Millisecond

// Input is the host input.
type Input struct {
	Interval time.Duration

	collectors []collector // set by tests; nil means machine
}

// Name implements recorder.Input.
func (in Input) Name() string { return "host" }

// Version implements recorder.Input.
func (in Input) Version() string { return in.Interval.String() }

// collector reads one part of the machine.
type collector struct {
	name    string
	collect func(context.Context, emit) error
}

// emit takes a value of a metric. nameValues are label names and values in turn.
type emit func(metric string, value float64, nameValues ...string)

// reading is the result of a collector.
type reading struct {
	collector int
	at        int64 // the time that it was asked for, in Unix ms
	values    []value
	err       error
}

type value struct {
	metric string
	labels []string
	v      float64
}

// Run implements recorder.Input.
func (in Input) Run(ctx context.Context, sink *recorder.Sink) {
	sink.Describe(metrics)
	r := run{sink: sink, collectors: in.collectors, series: make(map[string]*used)}
	if r.collectors == nil {
		r.collectors = machine
	}
	r.busy = make([]bool, len(r.collectors))
	// Nobody may wait for a slow collector any more; the buffer lets it end all the
	// same.
	r.readings = make(chan reading, len(r.collectors))
	for {
		next := time.Now().Truncate(in.Interval).Add(in.Interval)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		r.sample(ctx, next)
	}
}

type run struct {
	sink       *recorder.Sink
	collectors []collector
	busy       []bool
	readings   chan reading
	series     map[string]*used // by labels
	pruned     int64            // when series was last looked through, Unix ms
	samples    []recorder.Sample
	said       string
}

// used is a series and when it was last given, in Unix ms.
type used struct {
	recorder.Series
	at int64
}

// sample takes and commits the samples of the time at.
func (r *run) sample(ctx context.Context, at time.Time) {
	if time.Since(at) > patience {
		// This process itself was too slow.
		r.say("the machine was too busy to take samples")
		_ = r.sink.Commit(ctx, nil, at.UnixMilli()) // without samples only a closed store fails
		return
	}
	for len(r.readings) > 0 { // too late to be stored, but their collectors can run again
		r.busy[(<-r.readings).collector] = false
	}
	late := time.NewTimer(time.Until(at.Add(patience)))
	defer late.Stop()
	waiting := make(map[int]bool, len(r.collectors))
	for i := range r.collectors {
		waiting[i] = true
		if !r.busy[i] {
			r.busy[i] = true
			go r.read(ctx, i, at.UnixMilli())
		}
	}
	r.samples = r.samples[:0]
	var failed []string
gather:
	for len(waiting) > 0 {
		select {
		case got := <-r.readings:
			r.busy[got.collector] = false
			if got.at != at.UnixMilli() {
				continue // too late; the collector runs again next time
			}
			delete(waiting, got.collector)
			if got.err != nil {
				failed = append(failed, fmt.Sprintf("%s: %v", r.collectors[got.collector].name, got.err))
			}
			r.take(got)
		case <-late.C:
			break gather
		case <-ctx.Done():
			return
		}
	}
	for i := range waiting {
		failed = append(failed, fmt.Sprintf("%s took more than %v, so its samples are lost", r.collectors[i].name, patience))
	}
	slices.Sort(failed)
	r.say(strings.Join(failed, "; "))
	if err := r.sink.Commit(ctx, r.samples, at.UnixMilli()); err != nil {
		r.say("samples could not be stored: " + err.Error())
	}
}

func (r *run) read(ctx context.Context, i int, at int64) {
	got := reading{collector: i, at: at}
	got.err = panics.Catch("input", func() error {
		return r.collectors[i].collect(ctx, func(metric string, v float64, nameValues ...string) {
			got.values = append(got.values, value{metric, nameValues, v})
		})
	})
	r.readings <- got
}

// take adds the values of a reading to the samples. If a series has two values, as
// from two mounts of one name, the first one is taken.
func (r *run) take(got reading) {
	seen := make(map[*recorder.Series]bool, len(got.values))
	var key []byte
	for _, v := range got.values {
		l := labels.FromStrings(append([]string{model.MetricNameLabel, v.metric}, v.labels...)...)
		key = l.Bytes(key)
		s := r.series[string(key)]
		if s == nil {
			s = &used{Series: recorder.Series{Labels: l}}
			r.series[string(key)] = s
		}
		s.at = got.at
		if !seen[&s.Series] {
			seen[&s.Series] = true
			r.samples = append(r.samples, recorder.Sample{Series: &s.Series, T: got.at, V: v.v})
		}
	}
	if got.at-r.pruned >= unused.Milliseconds() {
		r.pruned = got.at
		maps.DeleteFunc(r.series, func(_ string, s *used) bool { return got.at-s.at > unused.Milliseconds() })
	}
}

func (r *run) say(trouble string) {
	if trouble != r.said {
		r.said = trouble
		r.sink.Trouble(trouble)
	}
}
