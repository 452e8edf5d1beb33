package promql

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/continuum-live/continuum-datasource/pkg/source"
)

var _ source.Hinter = bound{}

const (
	// maxNames is how many names of metrics are looked through.
	maxNames = 10_000
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
	names, err := b.source.Browser.LabelValues(ctx, from, through, maxNames, model.MetricNameLabel)
	if err != nil {
		return "" // the answer itself is right
	}
	for _, metric := range wanted {
		if slices.Contains(names, metric) {
			continue
		}
		text := fmt.Sprintf("There is no metric %q in this time range.", metric)
		if nearest := nearestTo(metric, names); nearest != "" {
			text = fmt.Sprintf("There is no metric %q in this time range: did you mean %q?", metric, nearest)
		}
		return text
	}
	return ""
}

// nearestTo returns the name that is most like another, empty if none is.
func nearestTo(metric string, names []string) (nearest string) {
	matcher := strutil.NewJaroWinklerMatcher(metric)
	best := similar
	for _, name := range names {
		if score := matcher.Score(name); score > best {
			nearest, best = name, score
		}
	}
	return nearest
}
