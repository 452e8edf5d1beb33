package promql

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// errHistograms refuses series of native histograms. A row has numbers, and to
// leave such series out would be a silent hole.
var errHistograms = errors.New("the result has native histograms, which are not numbers: ask for a number of them, with " +
	"histogram_quantile(0.9, …), histogram_avg(…), histogram_count(…), histogram_sum(…) or histogram_fraction(0, 0.2, …)")

// maxNotices is how many notices of a kind a panel is shown.
const maxNotices = 10

// noticesOf returns what an engine or a server says of an expression, in an order
// that does not depend on theirs.
func noticesOf(warnings, infos []string) []data.Notice {
	var notices []data.Notice
	for _, of := range []struct {
		severity data.NoticeSeverity
		texts    []string
	}{{data.NoticeSeverityWarning, warnings}, {data.NoticeSeverityInfo, infos}} {
		texts := slices.Compact(slices.Sorted(slices.Values(of.texts)))
		for _, text := range texts[:min(len(texts), maxNotices)] {
			notices = append(notices, data.Notice{Severity: of.severity, Text: text})
		}
		if more := len(texts) - maxNotices; more > 0 {
			notices = append(notices, data.Notice{Severity: of.severity, Text: fmt.Sprintf("%d more of this kind are not shown.", more)})
		}
	}
	return notices
}

// omitted is what Prometheus says instead of more warnings about the expression.
var omitted = regexp.MustCompile(`^\d+ more (?:warning|info) annotations omitted$`)

// harmless says whether a server's warning leaves the answer whole: it is about the
// expression, or no store of Thanos can have such series, so that there are none.
func harmless(warning string) bool {
	return strings.HasPrefix(warning, "PromQL ") || omitted.MatchString(warning) ||
		strings.HasPrefix(warning, "No StoreAPIs matched for this query")
}
