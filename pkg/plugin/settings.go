package plugin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
)

// settings are the data source's jsonData.
type settings struct {
	// Source names where the numbers come from: one of sources.
	Source string `json:"source"`
	// MinStep is the smallest step of any query, in milliseconds.
	MinStep int64 `json:"minStep"`
	// MaxStreams and MaxStreamsPerUser bound the streams that are open at once.
	MaxStreams        int64 `json:"maxStreams"`
	MaxStreamsPerUser int64 `json:"maxStreamsPerUser"`
	// MaxRows bounds the rows of one answer.
	MaxRows int64 `json:"maxRows"`
	// Recorder is for the source of that name alone.
	Recorder recorderSettings `json:"recorder"`
	// Prometheus is for the source of that name alone.
	Prometheus prometheusSettings `json:"prometheus"`
	// MetricsAPI is for the source of that name alone.
	MetricsAPI metricsAPISettings `json:"metricsApi"`

	// remote is when the settings of a source with a server were saved. It says
	// nothing of them, because viewers see it.
	remote string
}

// recorderSettings say how samples are kept and which inputs there are. Times
// are in milliseconds.
type recorderSettings struct {
	Retention int64 `json:"retention"`
	// MaxBytes is the most that the store may take of the disk.
	MaxBytes int64 `json:"maxBytes"`
	// OutOfOrder is how far behind the newest sample others are still taken.
	OutOfOrder int64 `json:"outOfOrder"`
	// Interval is how far apart the samples of a series usually are. Rows are
	// never closer.
	Interval int64 `json:"interval"`
	// Lookback is how long a series keeps its last value.
	Lookback int64 `json:"lookback"`
	// MaxWait is how long rows wait for an input that is behind.
	MaxWait int64 `json:"maxWait"`
	// IdleStop is how long recording goes on although nobody asks for anything.
	IdleStop int64 `json:"idleStop"`
	// NoHost turns the host input off, which samples every HostInterval.
	NoHost       bool  `json:"noHost"`
	HostInterval int64 `json:"hostInterval"`
	// Inputs are the others, each as its package reads it.
	Inputs []json.RawMessage `json:"inputs,omitempty"`
}

const (
	sourceSignal     = "signal"
	sourceRecorder   = "recorder"
	sourcePrometheus = "prometheus"
	sourceMetricsAPI = "metrics-api"

	hour, day = 60 * 60 * 1000, 24 * hour // ms
)

var sources = []string{sourceRecorder, sourcePrometheus, sourceMetricsAPI, sourceSignal}

// parseSettings returns the settings with defaults for what is absent, null or
// zero. The error names the field and says what to do.
func parseSettings(raw json.RawMessage) (settings, error) {
	var s settings
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &s); err != nil {
			return s, fmt.Errorf("the data source settings cannot be read: %w", err)
		}
	}
	setDefault(&s.Source, sourceRecorder)
	setDefault(&s.MinStep, signal.MinTick)
	setDefault(&s.MaxStreams, 1000)
	setDefault(&s.MaxStreamsPerUser, 200)
	setDefault(&s.MaxRows, 50_000)
	setDefault(&s.Recorder.Retention, 15*day)
	setDefault(&s.Recorder.MaxBytes, 10<<30)
	setDefault(&s.Recorder.OutOfOrder, min(7*day, s.Recorder.Retention)) // as long as brokers keep messages
	setDefault(&s.Recorder.Lookback, 5*60*1000)
	setDefault(&s.Recorder.MaxWait, 2000)
	setDefault(&s.Recorder.IdleStop, max(30*day, s.Recorder.Retention))
	setDefault(&s.Recorder.HostInterval, 1000)
	setDefault(&s.Recorder.Interval, s.Recorder.HostInterval)
	s.Prometheus.complete()
	if s.Source == sourceRecorder {
		if err := s.Recorder.check(); err != nil {
			return s, err
		}
	}
	if s.Source == sourcePrometheus {
		if err := s.Prometheus.check(); err != nil {
			return s, err
		}
	}
	if !slices.Contains(sources, s.Source) {
		return s, fmt.Errorf("source %q is not known: choose one of %s in the data source settings", s.Source, strings.Join(sources, ", "))
	}
	return s, inRange(
		bounds{"minimum step", s.MinStep, signal.MinTick, day, "ms"},
		bounds{"streams per data source", s.MaxStreams, 1, 1_000_000, "streams"},
		bounds{"streams per user", s.MaxStreamsPerUser, 1, 1_000_000, "streams"},
		bounds{"rows per query", s.MaxRows, 1, 1_000_000, "rows"},
	)
}

func (s recorderSettings) check() error {
	return inRange(
		bounds{"retention", s.Retention, hour, 3650 * day, "ms"},
		bounds{"maximum size of the store", s.MaxBytes, 64 << 20, 1 << 50, "bytes"},
		bounds{"out-of-order window", s.OutOfOrder, 0, s.Retention, "ms"},
		bounds{"sample interval", s.Interval, signal.MinTick, hour, "ms"},
		bounds{"lookback", s.Lookback, s.Interval, 30 * day, "ms"},
		bounds{"wait for late inputs", s.MaxWait, 1, hour, "ms"},
		bounds{"time after which recording stops when unused", s.IdleStop, s.Retention, 3650 * day, "ms"},
		bounds{"interval of the host input", s.HostInterval, 250, hour, "ms"},
	)
}

// bounds say between what a setting must lie.
type bounds struct {
	name               string
	value, least, most int64
	unit               string
}

func inRange(all ...bounds) error {
	for _, b := range all {
		if b.value < b.least || b.value > b.most {
			return fmt.Errorf("%s %d is out of range: enter a number of %s from %d to %d in the data source settings",
				b.name, b.value, b.unit, b.least, b.most)
		}
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// revision names the settings that decide which rows a query has. Streams made
// under another revision are told to start afresh; all other settings may change
// under a running stream.
func (s settings) revision() string {
	revision := fmt.Sprintf("%s/%d", s.Source, s.MinStep)
	if s.Source == sourceRecorder {
		revision += fmt.Sprintf("/%d/%d", s.Recorder.Lookback, s.Recorder.Interval)
	}
	if s.remote != "" {
		revision += "/" + s.remote
	}
	return revision
}
