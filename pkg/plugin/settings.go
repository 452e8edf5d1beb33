package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
)

// settings are the data source's jsonData.
type settings struct {
	// Source is the kind of source, one of sourceTypes.
	Source string `json:"source"`
	// MinStep is the smallest step of any query, in milliseconds.
	MinStep int64 `json:"minStep"`
	// MaxStreams and MaxStreamsPerUser limit how many streams are open at once.
	MaxStreams        int64 `json:"maxStreams"`
	MaxStreamsPerUser int64 `json:"maxStreamsPerUser"`
	// MaxRows limits the rows of an answer.
	MaxRows int64 `json:"maxRows"`
	// Recorder is for the source "recorder" only.
	Recorder recorderSettings `json:"recorder"`
	// Prometheus is for the source "prometheus" only.
	Prometheus prometheusSettings `json:"prometheus"`
	// MetricsAPI is for the source "metrics-api" only.
	MetricsAPI metricsAPISettings `json:"metricsApi"`

	// saved is when the settings were saved. Revisions have it in place of settings
	// that viewers must not see.
	saved string
}

const (
	sourceSignal     = "signal"
	sourceRecorder   = "recorder"
	sourcePrometheus = "prometheus"
	sourceMetricsAPI = "metrics-api"

	hour, day = 60 * 60 * 1000, 24 * hour // ms
)

// parseSettings returns the settings with defaults for what is absent, null or,
// unless that means something, zero. The error names the field and says what to do.
func parseSettings(raw json.RawMessage) (settings, error) {
	var s settings
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &s); err != nil {
			return s, unreadable(raw, err)
		}
		// The SDK reads the timeout of HTTP requests, and goes by a default if it is no
		// number. It would not be known that the one that was typed does not hold.
		var http struct {
			Timeout float64 `json:"timeout"`
		}
		err := json.Unmarshal(raw, &http)
		if err != nil && (s.Source == sourcePrometheus || s.Source == sourceMetricsAPI) {
			return s, unreadable(raw, err)
		}
	}
	setDefault(&s.Source, sourceRecorder)
	setDefault(&s.MinStep, signal.MinTick)
	setDefault(&s.MaxStreams, 1000)
	setDefault(&s.MaxStreamsPerUser, 200)
	setDefault(&s.MaxRows, 50_000)
	kind, ok := sourceTypes[s.Source]
	if !ok {
		return s, fmt.Errorf("source %q is not known: choose one of %s in the data source settings", s.Source, strings.Join(sourceNames(), ", "))
	}
	kind.complete(&s)
	if err := kind.check(s); err != nil {
		return s, err
	}
	return s, inRange(
		bounds{"minimum step", s.MinStep, signal.MinTick, day, "ms"},
		bounds{"streams per data source", s.MaxStreams, 1, 1_000_000, "streams"},
		bounds{"streams per user", s.MaxStreamsPerUser, 1, 1_000_000, "streams"},
		bounds{"rows per query", s.MaxRows, 1, 1_000_000, "rows"},
	)
}

// unreadable returns an error that names the wrong setting. There can be one because
// the settings page saves a field as it was typed, valid or not.
func unreadable(raw json.RawMessage, err error) error {
	var wrong *json.UnmarshalTypeError
	var value any
	if !errors.As(err, &wrong) || wrong.Field == "" || json.Unmarshal(raw, &value) != nil {
		return fmt.Errorf("the data source settings cannot be read: %w", err)
	}
	path := strings.Split(wrong.Field, ".")
	for i, name := range path {
		if fields, ok := value.(map[string]any); ok {
			value = fields[name]
		}
		path[i] = strings.ToLower(capital.ReplaceAllString(name, " $0"))
	}
	if text, ok := value.(string); ok {
		return fmt.Errorf("%s: %q is not valid: enter in the data source settings what the field asks for", strings.Join(path, ", "), text)
	}
	return fmt.Errorf("%s: a %s is not valid: enter in the data source settings what the field asks for", strings.Join(path, ", "), wrong.Value)
}

var capital = regexp.MustCompile(`[A-Z]+`)

// bounds are a setting with its smallest and largest value.
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

// revision names the settings that decide which rows a query has. A change of it
// makes viewers ask again; all other settings may change under a running stream.
func (s settings) revision() string {
	revision := fmt.Sprintf("%s/%d", s.Source, s.MinStep)
	if kind, ok := sourceTypes[s.Source]; ok {
		if of := kind.revision(s); of != "" {
			revision += "/" + of
		}
	}
	return revision
}
