package plugin

import (
	"encoding/json"
	"fmt"

	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
)

// settings are the data source's jsonData.
type settings struct {
	// Source names where the numbers come from: "signal" or "recorder".
	Source string `json:"source"`
	// MinStep is the smallest step of any query, in milliseconds.
	MinStep int64 `json:"minStep"`
	// MaxStreams and MaxStreamsPerUser bound the streams that are open at once.
	MaxStreams        int `json:"maxStreams"`
	MaxStreamsPerUser int `json:"maxStreamsPerUser"`
	// MaxRows bounds the rows of one answer.
	MaxRows int64 `json:"maxRows"`
	// Recorder is for the source of that name alone.
	Recorder recorderSettings `json:"recorder"`
}

// recorderSettings say how samples are kept and which inputs there are. Times
// are in milliseconds.
type recorderSettings struct {
	Retention int64 `json:"retention"`
	// MaxBytes is the most that the store may take of the disk.
	MaxBytes int64 `json:"maxBytes"`
	// OutOfOrder is how far behind the newest sample others are still taken.
	OutOfOrder int64 `json:"outOfOrder"`
	// Lookback is how long a series keeps its last value.
	Lookback int64 `json:"lookback"`
	// NoHost turns the host input off, which samples every HostInterval.
	NoHost       bool  `json:"noHost"`
	HostInterval int64 `json:"hostInterval"`
}

const (
	sourceSignal   = "signal"
	sourceRecorder = "recorder"

	hour, day = 60 * 60 * 1000, 24 * hour // ms
)

// parseSettings returns the settings with defaults for what is absent, null or
// zero. The error names the field and says what to do.
func parseSettings(raw json.RawMessage) (settings, error) {
	var s settings
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &s); err != nil {
			return s, fmt.Errorf("the data source settings cannot be read: %w", err)
		}
	}
	setDefault(&s.Source, sourceSignal)
	setDefault(&s.MinStep, signal.MinTick)
	setDefault(&s.MaxStreams, 1000)
	setDefault(&s.MaxStreamsPerUser, 200)
	setDefault(&s.MaxRows, 50_000)
	setDefault(&s.Recorder.Retention, 15*day)
	setDefault(&s.Recorder.MaxBytes, 10<<30)
	setDefault(&s.Recorder.OutOfOrder, hour)
	setDefault(&s.Recorder.Lookback, 5*60*1000)
	setDefault(&s.Recorder.HostInterval, 1000)
	if s.Source == sourceRecorder {
		if err := s.Recorder.check(); err != nil {
			return s, err
		}
	}
	switch {
	case s.Source != sourceSignal && s.Source != sourceRecorder:
		return s, fmt.Errorf("source %q is not known: choose %q or %q in the data source settings", s.Source, sourceSignal, sourceRecorder)
	case s.MinStep < signal.MinTick:
		return s, fmt.Errorf("minimum step %d is too small: enter at least %d ms in the data source settings", s.MinStep, signal.MinTick)
	case s.MaxStreams < 0:
		return s, fmt.Errorf("streams per data source %d is negative: enter a whole number above 0 in the data source settings", s.MaxStreams)
	case s.MaxStreamsPerUser < 0:
		return s, fmt.Errorf("streams per user %d is negative: enter a whole number above 0 in the data source settings", s.MaxStreamsPerUser)
	case s.MaxRows < 0:
		return s, fmt.Errorf("rows per query %d is negative: enter a whole number above 0 in the data source settings", s.MaxRows)
	}
	return s, nil
}

func (r recorderSettings) check() error {
	for _, f := range []struct {
		name               string
		value, least, most int64
		unit               string
	}{
		{"retention", r.Retention, hour, 3650 * day, "ms"},
		{"maximum size of the store", r.MaxBytes, 64 << 20, 1 << 50, "bytes"},
		{"out-of-order window", r.OutOfOrder, 0, r.Retention, "ms"},
		{"lookback", r.Lookback, r.HostInterval, 30 * day, "ms"},
		{"interval of the host input", r.HostInterval, 250, hour, "ms"},
	} {
		if f.value < f.least || f.value > f.most {
			return fmt.Errorf("%s %d is out of range: enter a number of %s from %d to %d in the data source settings",
				f.name, f.value, f.unit, f.least, f.most)
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
		revision += fmt.Sprintf("/%d/%d", s.Recorder.Lookback, s.Recorder.HostInterval)
	}
	return revision
}
