package promql

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// errHistograms refuses series of native histograms. Rows have numbers, and leaving
// out such series would be a silent hole.
var errHistograms = errors.New("the result has native histograms, which are not numbers: ask for a number of them, with " +
	"histogram_quantile(0.9, …), histogram_avg(…), histogram_count(…), histogram_sum(…) or histogram_fraction(0, 0.2, …)")

// maxNotices is how many notices of a severity an answer has.
const maxNotices = 10

// noticesOf returns the warnings and infos of an engine or a server as notices. It
// sorts them, so that their order is always the same.
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

// omitted matches what Prometheus returns in place of further warnings.
var omitted = regexp.MustCompile(`^\d+ more (?:warning|info) annotations omitted$`)

// harmless reports whether the answer with this warning is complete: it is about the
// expression, or it says that no store of Thanos can have such series.
func harmless(warning string) bool {
	return strings.HasPrefix(warning, "PromQL ") || omitted.MatchString(warning) ||
		strings.HasPrefix(warning, "No StoreAPIs matched for this query")
}
