// Package message turns the messages of a bus into samples.
//
// What a message is, its content decides unless the rules say it:
//
//   - a number, or one of the words in [words], which are 1 and 0;
//   - JSON: objects and arrays are flattened, {"a":{"b":[1,2]}} has the fields
//     a_b_0 and a_b_1. Strings that hold a number or one of the words count;
//   - Influx line protocol.
//
// A field's metric is its name. Where there is no field, or it is the whole
// message as in {"value": 1}, it is the last level of the topic that is not a
// label. Unless a pattern gives a name to each of its wildcards, the label
// "topic" (or "subject") holds the whole topic, so that two topics never become
// one series. The rule Metric replaces the first of these.
//
// What cannot be recorded is counted by reason, and never keeps back the rest
// of its message or of the stream.
//
// Messages without a time of their own are stamped on arrival. Such stamps never
// go back while the clock is set back by less than [maxSlew]. Where several of a
// series come within one millisecond, the store gives them the next ones that are
// free: see recorder.Sample.
//
// The package knows nothing of servers and connections.
package message

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
)

// Rules say what becomes of messages. The zero value is what most want.
type Rules struct {
	// Format is "auto" (or empty), "number", "json" or "influx".
	Format string `json:"format,omitempty"`
	// Pattern makes levels of the topic labels, as plant/+line/+sensor does.
	// What does not fit it is not recorded.
	Pattern string `json:"pattern,omitempty"`
	// Metric is the name of the metric. It may hold {{field}}, {{level}} (the
	// last level that is not a label) and labels, as in {{line}}_{{field}}.
	Metric string `json:"metric,omitempty"`
	// TimeKey is the flattened key of the time stamp in JSON. If empty, messages
	// are stamped on arrival.
	TimeKey string `json:"timeKey,omitempty"`
	// TimeUnit is that of numbers at TimeKey and of the stamps in line protocol:
	// "auto" (or empty), by magnitude, "s", "ms", "us" or "ns".
	TimeUnit string `json:"timeUnit,omitempty"`
	// Labels are given to every series. One that is empty takes away the label
	// of that name.
	Labels map[string]string `json:"labels,omitempty"`
	// MaxSeries is how many series the input may write to within an hour, 0 for
	// DefaultMaxSeries.
	MaxSeries int `json:"maxSeries,omitempty"`
}

const (
	// DefaultMaxSeries is the limit of series if the rules have none.
	DefaultMaxSeries = 10_000
	limitOfMaxSeries = 1_000_000
)

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func checkLabel(name string) error {
	if !labelName.MatchString(name) || strings.HasPrefix(name, "__") {
		return fmt.Errorf("%q cannot be the name of a label: use letters, digits and _, not beginning with a digit or __", name)
	}
	return nil
}

// separatorOf guesses what separates the levels of a pattern.
func separatorOf(pattern string) string {
	if strings.Contains(pattern, "/") {
		return "/"
	}
	return "."
}

// Check says what is wrong with the rules, for people.
func (r Rules) Check() error {
	var errs []error
	if _, ok := formats[r.Format]; !ok {
		errs = append(errs, fmt.Errorf("rules.format: %q is none of auto, number, json, influx", r.Format))
	}
	if _, ok := units[r.TimeUnit]; !ok {
		errs = append(errs, fmt.Errorf("rules.timeUnit: %q is none of auto, s, ms, us, ns", r.TimeUnit))
	}
	if r.TimeKey != "" && (formats[r.Format] == formatNumber || formats[r.Format] == formatInflux) {
		errs = append(errs, fmt.Errorf("rules.timeKey: only JSON has keys, so leave it empty for the format %q", r.Format))
	}
	if r.MaxSeries < 0 || r.MaxSeries > limitOfMaxSeries {
		errs = append(errs, fmt.Errorf("rules.maxSeries: must be from 1 to %d, or 0 for %d", limitOfMaxSeries, DefaultMaxSeries))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
		if err := checkLabel(name); err != nil {
			errs = append(errs, fmt.Errorf("rules.labels: %w", err))
		}
		if !model.LabelValue(r.Labels[name]).IsValid() {
			errs = append(errs, fmt.Errorf("rules.labels: the value of %s is not valid UTF-8", name))
		}
	}
	p, err := parsePattern(r.Pattern, separatorOf(r.Pattern))
	if err != nil {
		errs = append(errs, fmt.Errorf("rules.pattern: %w", err))
	} else {
		for _, name := range p.names() {
			if _, ok := r.Labels[name]; ok {
				errs = append(errs, fmt.Errorf("rules.labels: %s is a label of the pattern already", name))
			}
		}
	}
	if _, err := parseTemplate(r.Metric); err != nil {
		errs = append(errs, fmt.Errorf("rules.metric: %w", err))
	}
	return errors.Join(errs...)
}
