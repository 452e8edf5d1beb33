package plugin

import (
	"encoding/json"
	"fmt"

	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
)

// settings are the data source's jsonData.
type settings struct {
	// Source names where the numbers come from. Only "signal" so far.
	Source string `json:"source"`
	// MinStep is the smallest step of any query, in milliseconds.
	MinStep int64 `json:"minStep"`
	// MaxStreams and MaxStreamsPerUser bound the streams that are open at once.
	MaxStreams        int `json:"maxStreams"`
	MaxStreamsPerUser int `json:"maxStreamsPerUser"`
	// MaxRows bounds the rows of one answer.
	MaxRows int64 `json:"maxRows"`
}

const sourceSignal = "signal"

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
	switch {
	case s.Source != sourceSignal:
		return s, fmt.Errorf("source %q is not known: choose %q in the data source settings", s.Source, sourceSignal)
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
	return s.Source
}
