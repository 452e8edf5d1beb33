package promql

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// macro matches Grafana's macros. The plugin expands them itself, because alert
// rules have no front end that could.
var macro = regexp.MustCompile(`\$(?:__(interval|rate_interval|range)(_ms|_s)?\b|\{__(interval|rate_interval|range)(_ms|_s)?\})`)

// masked replaces each macro in expr by a number or duration of the same length, so
// that positions in the parser's errors are positions in the user's text.
func masked(expr string) string {
	return macro.ReplaceAllStringFunc(expr, func(m string) string {
		if _, unit := parts(m); unit != "" {
			return strings.Repeat("0", len(m)-1) + "1"
		}
		return strings.Repeat("0", len(m)-2) + "1s"
	})
}

// parts returns the name of a macro, and its unit if it stands for a plain number.
func parts(m string) (name, unit string) {
	g := macro.FindStringSubmatch(m)
	return g[1] + g[3], g[2] + g[4]
}

// usesWindow reports whether the rows of expr depend on the window.
func usesWindow(expr string) bool {
	for _, m := range macro.FindAllString(expr, -1) {
		if name, _ := parts(m); name == "range" {
			return true
		}
	}
	return false
}

// maxDuration is the longest duration in PromQL, in milliseconds.
const maxDuration = int64(math.MaxInt64 / time.Millisecond)

// expand replaces the macros. Their values depend only on the query, the step and
// the length of the window, so that a row is the same for all viewers.
//
// $__rate_interval is the same as in Grafana's Prometheus data source: at least four
// sample intervals, and at least one more than the step, so that no increase between
// two rows is lost.
func (q query) expand(step, window int64) (string, error) {
	if step < 1 || window < step || window > maxDuration {
		return "", fmt.Errorf("a step of %d ms in a window of %d ms cannot be evaluated: choose a time range that is shorter than 200 years, "+
			"and at least as long as the step", step, window)
	}
	interval := q.source.Interval.Milliseconds()
	return macro.ReplaceAllStringFunc(q.Expr, func(m string) string {
		name, unit := parts(m)
		ms := step
		switch name {
		case "rate_interval":
			ms = max(step+interval, 4*interval)
		case "range":
			ms = window
		}
		switch unit {
		case "_ms":
			return strconv.FormatInt(ms, 10)
		case "_s":
			return strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64)
		}
		return model.Duration(time.Duration(ms) * time.Millisecond).String()
	}), nil
}
