package promql

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

const (
	// longName is how many bytes a name has at most that others are compared with: how
	// long that takes is a matter of both their lengths.
	longName = 200
	// similar is the least Jaro-Winkler similarity of a name that is suggested: two
	// letters in the wrong order in a short name pass.
	similar = 0.85
)

// Hint implements source.Bound. If the expression names a metric that does not
// exist, it says so and suggests the most similar one.
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
		return "" // without a hint the answer is still right
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

// nearestTo returns the name that is most similar to metric, empty if none is
// similar.
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
