package plugin

import (
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
)

func TestSeriesAreNamedByWhatDiffers(t *testing.T) {
	for name, c := range map[string]struct {
		series []data.Labels
		want   []string
	}{
		"one of a metric": {
			[]data.Labels{{"__name__": "up", "job": "api"}},
			[]string{"up"},
		},
		"one without a metric": {
			[]data.Labels{{"job": "api"}},
			[]string{"of the source"},
		},
		"one label": {
			[]data.Labels{{"__name__": "up", "job": "api"}, {"__name__": "up", "job": "db"}},
			[]string{"api", "db"},
		},
		"a label that one lacks": {
			[]data.Labels{{"__name__": "up", "job": "api"}, {"__name__": "up"}},
			[]string{"api", "of the source"},
		},
		"several labels": {
			[]data.Labels{{"cpu": "0", "mode": "user", "host": "a"}, {"cpu": "1", "mode": "idle", "host": "a"}},
			[]string{`{cpu="0", mode="user"}`, `{cpu="1", mode="idle"}`},
		},
		"the metric": {
			[]data.Labels{{"__name__": "node_load1"}, {"__name__": "節点"}},
			[]string{"node_load1", `{"節点"}`},
		},
		"the metric and a label": {
			[]data.Labels{{"__name__": "a", "job": "api"}, {"__name__": "b", "job": "db"}},
			[]string{`a{job="api"}`, `b{job="db"}`},
		},
		"nothing": {
			[]data.Labels{nil},
			[]string{"of the source"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var series []grid.Series
			for _, l := range c.series {
				series = append(series, grid.Series{Labels: l, Display: "of the source"})
			}
			nameByDifference(series)
			for i, want := range c.want {
				if got := series[i].Display; got != want {
					t.Errorf("series %d is named %s, not %s", i, got, want)
				}
			}
		})
	}
}
