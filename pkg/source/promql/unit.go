package promql

import (
	"regexp"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source/unit"
)

// describe returns what is known of a metric, the zero value if nothing is.
type describe func(metric string) recorder.Metadata

// family returns the name of the metric that a series of a histogram, a summary or a
// counter belongs to, and what is left of its own.
func family(name string) (of, part string) {
	for _, part := range []string{"_total", "_bucket", "_sum", "_count"} {
		if of, ok := strings.CutSuffix(name, part); ok && of != "" {
			return of, part
		}
	}
	return name, ""
}

// descriptionOf returns the description of a series' metric or family.
func (d describe) descriptionOf(name string) recorder.Metadata {
	m := d(name)
	of, part := family(name)
	if part == "" || m != (recorder.Metadata{}) {
		return m
	}
	switch m = d(of); {
	case part == "_total" && m.Type == model.MetricTypeCounter,
		part != "_total" && (m.Type == model.MetricTypeHistogram || m.Type == model.MetricTypeSummary):
		return m
	}
	return recorder.Metadata{} // of another metric
}

var (
	// momentNames matches the names of metrics whose values are Unix times, without the
	// unit of time at their end. Some may be durations, which have no unit then.
	momentNames = regexp.MustCompile(`(?:^|[_:])(?:timestamp|mtime|(?:start|boot|node|expiry|expiration|push|modified|update|reload|success|failure)_time)$`)
	// momentHelp matches descriptions of what may be a Unix time, in any unit, or the
	// number of something that is called an epoch.
	momentHelp = regexp.MustCompile(`(?i)\bunix[ -]?time|\bepoch\b|\btimestamp of\b|\b1970\b`)
)

// cutLast cuts the last word from the name of a metric.
func cutLast(name string) (before, last string) {
	i := max(0, strings.LastIndexByte(name, '_'))
	return name[:i], strings.TrimPrefix(name[i:], "_")
}

// metric returns what the values of a metric's series are. The unit that somebody
// gave to the metric counts before the one in its name, and that one only if the
// description does not contradict it.
func (d describe) metric(name string) quantity {
	m := d.descriptionOf(name)
	of, part := family(name)
	switch before, last := cutLast(name); last {
	case "seconds":
		if momentNames.MatchString(before) {
			return quantity{of: moments}
		}
	case "milliseconds", "microseconds", "nanoseconds", "ms", "us", "ns":
		if momentNames.MatchString(before) {
			return quantity{}
		}
	}
	if momentHelp.MatchString(m.Help) {
		return quantity{} // of which not even the difference is in seconds for sure
	}
	q := quantity{unit: unit.Written(m.Unit)}
	if q.unit == (unit.Unit{}) {
		byName, inName := unit.Named(of)
		byHelp, inHelp := unit.Described(m.Help)
		switch {
		case !inHelp || inName && byHelp == byName:
			q.unit = byName
		case !inName:
			q.unit = byHelp
		}
	}
	if part == "_bucket" || part == "_count" {
		q.of = events
	}
	return q
}
