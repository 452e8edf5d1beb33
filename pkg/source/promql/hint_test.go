package promql

import (
	"strings"
	"testing"
	"time"
)

// Whoever asks for a metric that is not there is told of the nearest one that is.
func TestHint(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.Browser = f.Engine.(Embedded)
		now := time.Now().UnixMilli()
		f.fill(t, now-60_000, now)
		for expr, want := range map[string]string{
			"level_byte":                                `There is no metric "level_byte" in this time range: did you mean "level_bytes"?`,
			"sum(rate(work_secs_total[1m]))":            `There is no metric "work_secs_total" in this time range: did you mean "work_seconds_total"?`,
			"level_bytes / lvel_bytes":                  `There is no metric "lvel_bytes" in this time range: did you mean "level_bytes"?`,
			"level_bytes" + strings.Repeat("s", 60_000): `There is no metric "level_bytes` + strings.Repeat("s", longName-11) + `" in this time range.`,
			"unlike_any_other":                          `There is no metric "unlike_any_other" in this time range.`,
			`level_bytes{machine="none"}`:               "",
			`{machine="none"}`:                          "",
		} {
			if got := f.bind(t, expr, 1000).Hint(t.Context(), now-10_000, now); got != want {
				t.Errorf("%s: %q", expr, got)
			}
		}
	})
}
