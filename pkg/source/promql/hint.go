package promql

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

var _ source.Hinter = bound{}

const (
	// longName is how many bytes a name has at most that others are compared with: how
	// long that takes is a matter of both their lengths.
	longName = 200
	// similar is how much a name must be like another to be suggested, by
	// Jaro and Winkler: two letters that changed places in a short name are.
	similar = 0.85
)

// Hint implements source.Hinter: it looks for a metric that the expression names
// and that is not there, and suggests the nearest one that is.
func (b bound) Hint(ctx context.Context, after, through int64) string {
	var wanted []string
	from := after
	for _, r := range b.traits.Reads {
		if !r.Fixed {
			from = min(from, after+r.After)
		}
		if r.Metric != "" && !slices.Contains(wanted, r.Metric) {
			wanted = append(wanted, r.Metric)
		}
	}
	if len(wanted) == 0 || b.source.Browser == nil {
		return ""
	}
	names, err := b.source.Browser.LabelValues(ctx, from, through, int(limits.Listed.Most), model.MetricNameLabel)
	if err != nil {
		return "" // the answer itself is right
	}
	for _, metric := range wanted {
		if slices.Contains(names, metric) {
			continue
		}
		text := fmt.Sprintf("There is no metric %.*q in this time range", longName, metric)
		if nearest := nearestTo(metric, names); nearest != "" {
			return fmt.Sprintf("%s: did you mean %q?", text, nearest)
		}
		return text + "."
	}
	return ""
}

// nearestTo returns the name that is most like another, empty if none is.
func nearestTo(metric string, names []string) (nearest string) {
	if len(metric) > longName {
		return ""
	}
	matcher := strutil.NewJaroWinklerMatcher(metric)
	best := similar
	for _, name := range names {
		if len(name) > longName {
			continue
		}
		if score := matcher.Score(name); score > best {
			nearest, best = name, score
		}
	}
	return nearest
}
