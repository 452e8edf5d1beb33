package recorder

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
)

// Input fills a store.
type Input interface {
	// Name is unique among the inputs of a store. People see it, and servers see
	// Sink.Identity, which is made from it. It stays the same through changes of
	// settings.
	Name() string
	// Version changes with every setting that changes what the input does. It has
	// secrets only as a digest, and is never shown. An input whose name and version
	// stay the same keeps running through a change of settings.
	Version() string
	// Run gives samples to the sink until ctx ends, and returns within a second
	// after that. It retries by itself after failures, and reports them to the sink.
	Run(ctx context.Context, sink *Sink)
}

// Leaver is an input that leaves something at its server, such as a session that
// would collect messages for ever.
type Leaver interface {
	Input
	// Leave removes that from the server. identity is what Sink.Identity returned.
	// Leave is called after Run has returned and the input was removed from the
	// settings.
	Leave(ctx context.Context, identity string) error
}

// Series is a series that an input writes to. An input makes one value for each of
// its series, and uses that for as long as it runs.
type Series struct {
	Labels labels.Labels
	// ref is how the TSDB refers to the series, 0 if the series is not in the head.
	// It is valid while of equals opened.refs.
	ref storage.SeriesRef
	of  uint64
	// newest is what newest.times has for ref, once it was needed.
	newest *int64
	// owned means that a rule records the metric, if rules equals rules.version.
	rules uint64
	owned bool
	// noted means that the horizon knows that the input writes to this metric.
	noted bool
}

// Sample is one value of a series at a time in Unix milliseconds.
type Sample struct {
	Series *Series
	T      int64
	V      float64
	// Arrived means that T is when the sample came, because it has no timestamp of
	// its own. Such a sample is stored after all samples of its series, at the next
	// free millisecond, at most some seconds after T. If a batch has more of them
	// than fit there, the last one is stored.
	Arrived bool

	// tried means that a sample with Arrived was written for T, perhaps by a commit that
	// failed. It may be there all the same.
	tried bool
}

// String writes the sample for people.
func (s Sample) String() string {
	v := strconv.FormatFloat(s.V, 'g', -1, 64)
	if value.IsStaleNaN(s.V) {
		v = "stale"
	}
	return fmt.Sprintf("%s %s @ %s", Text(s.Series.Labels), v, time.UnixMilli(s.T).UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// Text writes the labels of a series as PromQL does: a name that needs quotes is within the braces.
func Text(lbls labels.Labels) string {
	name := lbls.Get(model.MetricNameLabel)
	rest := lbls.DropReserved(func(label string) bool { return label == model.MetricNameLabel })
	switch {
	case name == "":
		return rest.String()
	case model.LegacyValidation.IsValidMetricName(name):
		if rest.IsEmpty() {
			return name
		}
		return name + rest.String()
	case rest.IsEmpty():
		return "{" + strconv.Quote(name) + "}"
	}
	return "{" + strconv.Quote(name) + ", " + rest.String()[1:]
}

// Metadata describes a metric.
type Metadata struct {
	Type model.MetricType `json:"type"`
	Unit string           `json:"unit"`
	Help string           `json:"help"`
}
