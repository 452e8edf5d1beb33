package plugin

import (
	"context"
	"regexp"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// placeholder is a label in a legend.
var placeholder = regexp.MustCompile(`\{\{\s*([^{}\s]+)\s*\}\}`)

// valueName returns the name of the values in a table: the legend, if it is the same
// for all series.
func valueName(legend string) string {
	if placeholder.MatchString(legend) {
		return ""
	}
	return legend
}

// nameBy names series by a legend: each {{label}} is replaced by the label's value.
// The first label that a series does not have is replaced by the source's name of the
// series.
func nameBy(ctx context.Context, legend string, series []grid.Series) error {
	for i, s := range series {
		size := len(legend) + len(s.Display)
		for _, m := range placeholder.FindAllStringSubmatch(legend, -1) {
			size += len(s.Labels[m[1]])
		}
		if err := limits.Label.Check(int64(size)); err != nil {
			return err
		}
		if err := limits.ChargeLabels(ctx, size); err != nil {
			return err
		}
		named := false
		series[i].Display = placeholder.ReplaceAllStringFunc(legend, func(m string) string {
			value, ok := s.Labels[placeholder.FindStringSubmatch(m)[1]]
			if !ok && !named {
				named = true
				return s.Display
			}
			return value
		})
	}
	return nil
}

// nameByDifference names series by the labels in which they differ: by the value of
// the label if it is one, and in PromQL's notation otherwise. A series alone is named
// after its metric. Whatever would have no name keeps that of the source.
func nameByDifference(series []grid.Series) {
	differ := make(map[string]bool)
	if len(series) == 1 {
		differ[model.MetricNameLabel] = true
	}
	for _, s := range series {
		for label, value := range s.Labels {
			differ[label] = differ[label] || value != series[0].Labels[label]
		}
		for label, value := range series[0].Labels {
			differ[label] = differ[label] || value != s.Labels[label]
		}
	}
	var only []string
	for label, differs := range differ {
		if differs {
			only = append(only, label)
		}
	}
	for i, s := range series {
		builder := labels.NewScratchBuilder(len(only))
		for _, label := range only {
			if value := s.Labels[label]; value != "" {
				builder.Add(label, value)
			}
		}
		builder.Sort()
		switch named := builder.Labels(); {
		case named.IsEmpty():
		case len(only) == 1 && only[0] != model.MetricNameLabel:
			series[i].Display = named.Get(only[0])
		default:
			series[i].Display = recorder.Text(named)
		}
	}
}
