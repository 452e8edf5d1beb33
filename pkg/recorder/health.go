package recorder

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// A message that yields no samples is no trouble by itself: somebody may send texts
// beside numbers. An input counts as storing nothing if no message yielded a sample
// for this long, and at least this many messages came. If the input has never stored
// a sample, one message is enough.
const (
	unstoredFor      = time.Minute
	unstoredFirstFor = 2 * time.Second
	unstoredLeast    = 10
)

// health is the state of an input. The lock of its sink guards it.
type health struct {
	begun bool // the input has reported its state, or committed
	cut   bool // the input has no connection

	failing  bool // the last commit of samples has failed
	ever     bool // samples were stored
	stored   bool // samples were stored since the last Report
	unstored struct {
		messages uint64 // since a sample was stored
		since    time.Time
	}

	state State
	since time.Time // of the state
	down  bool      // viewers were told that the state is not up
}

// committed notes the outcome of a commit of n samples.
func (h *health) committed(n int, out outcome, err error) {
	h.failing = err != nil && n > 0 || h.failing && n == 0
	if out.stored+out.repeated > 0 {
		h.ever, h.stored = true, true
		h.unstored.messages = 0
	}
}

// received notes n messages. Their samples have been committed already.
func (h *health) received(n uint64, now time.Time) {
	if n == 0 {
		return
	}
	if h.stored {
		h.stored = false
		return
	}
	if h.unstored.messages == 0 {
		h.unstored.since = now
	}
	h.unstored.messages += n
}

func (h *health) now(now time.Time) State {
	least, wait := uint64(unstoredLeast), unstoredFor
	if !h.ever {
		least, wait = 1, unstoredFirstFor
	}
	switch {
	case !h.begun:
		return StateConnecting
	case h.cut:
		return StateDown
	case h.failing, h.unstored.messages >= least && now.Sub(h.unstored.since) >= wait:
		return StateUnstored
	case !h.ever && h.unstored.messages == 0:
		return StateWaiting
	}
	return StateRecording
}

// turn updates the state, and reports whether the input went down or came back.
func (h *health) turn(now time.Time) bool {
	if state := h.now(now); state != h.state {
		h.state, h.since = state, now
	}
	if h.down == !h.state.up() {
		return false
	}
	h.down = !h.down
	return true
}

// Notices returns a text for each input that may write to the metrics and is down or
// stores nothing, to be shown beside their values. An empty metric stands for all.
func (s *Store) Notices(metrics ...string) []string {
	var all []string
	for _, k := range s.inputs.running() {
		if !k.isDown() || !s.horizon.concerns(k.name, metrics) {
			continue
		}
		in := k.snapshot()
		what := "nothing is stored"
		if in.State == StateDown {
			what = "no connection"
		}
		if !in.State.up() {
			all = append(all, fmt.Sprintf("%s: %s since %s, last values shown", in.Name, what, time.UnixMilli(in.Since).UTC().Format("15:04 MST")))
		}
	}
	return all
}

// healthInput stands for an input when the health metrics are stored. No real input
// can have this name.
const healthInput = "_health"

// healthMetrics are the metrics about each input, with the label input.
var healthMetrics = []struct {
	name  string
	meta  Metadata
	value func(InputStatus) float64
}{
	{"continuum_input_up", Metadata{Type: model.MetricTypeGauge, Help: "Whether the input is connected and what comes is stored."},
		func(in InputStatus) float64 {
			if in.State == StateWaiting || in.State == StateRecording {
				return 1
			}
			return 0
		}},
	{"continuum_input_messages_total", Metadata{Type: model.MetricTypeCounter, Help: "Messages that the input received."},
		func(in InputStatus) float64 { return float64(in.Messages) }},
	{"continuum_input_skipped_total", Metadata{Type: model.MetricTypeCounter, Help: "What could not be recorded of messages."},
		func(in InputStatus) (n float64) {
			for _, s := range in.Skipped {
				n += float64(s.Count)
			}
			return n
		}},
	{"continuum_input_samples_total", Metadata{Type: model.MetricTypeCounter, Help: "Samples that were stored."},
		func(in InputStatus) float64 { return float64(in.Samples) }},
	{"continuum_input_late_samples_total", Metadata{Type: model.MetricTypeCounter, Help: "Samples that were stored after their time was settled."},
		func(in InputStatus) float64 { return float64(in.Late) }},
	{"continuum_input_repeated_samples_total", Metadata{Type: model.MetricTypeCounter, Help: "Samples that were stored already."},
		func(in InputStatus) float64 { return float64(in.Repeated) }},
	{"continuum_input_refused_samples_total", Metadata{Type: model.MetricTypeCounter, Help: "Samples that were refused: too old, from the future, another value for a time that has one, or with the name of a recording rule."},
		func(in InputStatus) float64 {
			return float64(in.Refused.Future + in.Refused.TooOld + in.Refused.Duplicate + in.Refused.Recorded)
		}},
	{"continuum_input_stored_timestamp_seconds", Metadata{Type: model.MetricTypeGauge, Unit: "seconds", Help: "When a sample was stored last, 0 for never."},
		func(in InputStatus) float64 { return float64(in.Stored) / 1000 }},
}

// diskFreeMetric is a metric of the store, without a label.
const diskFreeMetric = "continuum_recorder_disk_free_bytes"

var diskFreeMetadata = Metadata{Type: model.MetricTypeGauge, Unit: "bytes", Help: "Free space of the disk that the recorder writes to."}

const (
	// healthEvery is the interval of the health metrics.
	healthEvery = 5 * time.Second
	// healthAhead is how far ahead of the clock their samples are stamped. Without
	// it they would be late, as the settled time does not wait for them.
	healthAhead = time.Second
)

// recordHealth stores the health metrics until the store is closed.
func (s *Store) recordHealth() {
	meta := map[string]Metadata{diskFreeMetric: diskFreeMetadata}
	for _, m := range healthMetrics {
		meta[m.name] = m.meta
	}
	s.metadata.add(meta)
	series := make(map[*Sink][]*Series)
	for {
		now := s.clock.Now()
		at := now.Add(healthAhead).Truncate(healthEvery).Add(healthEvery)
		select {
		case <-s.ended:
			return
		case <-time.After(at.Add(-healthAhead).Sub(now)):
		}
		if err := panics.Catch("store", func() error { return s.sampleHealth(series, at) }); err != nil {
			// Debug only: the status of each input shows why nothing is stored.
			s.logger.Debug("How the inputs are could not be recorded", append(panics.Attrs(err), "error", err)...)
		}
	}
}

// sampleHealth stores one sample of each health metric of each running input, and
// one of the free disk space. series is what it keeps between calls.
func (s *Store) sampleHealth(series map[*Sink][]*Series, at time.Time) error {
	sinks := s.inputs.running()
	maps.DeleteFunc(series, func(k *Sink, _ []*Series) bool { return !slices.Contains(sinks, k) })
	var samples []Sample
	for _, k := range sinks {
		if series[k] == nil {
			for _, m := range healthMetrics {
				series[k] = append(series[k], &Series{Labels: labels.FromStrings(model.MetricNameLabel, m.name, "input", k.name)})
			}
		}
		status := k.snapshot()
		for i, m := range healthMetrics {
			samples = append(samples, Sample{Series: series[k][i], T: at.UnixMilli(), V: m.value(status)})
		}
	}
	if len(samples) == 0 {
		return nil
	}
	if _, free, err := s.ready.disk(); err == nil {
		disk := &Series{Labels: labels.FromStrings(model.MetricNameLabel, diskFreeMetric)}
		samples = append(samples, Sample{Series: disk, T: at.UnixMilli(), V: float64(free)})
	}
	_, err := s.ingester.commit(context.Background(), healthInput, samples, math.MinInt64, func(int, error) {})
	return err
}
