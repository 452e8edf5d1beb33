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
	// Name names the input among those of its store, for people and, through
	// Sink.Identity, for servers. It stays the same through changes of settings.
	Name() string
	// Version changes with everything that decides what the input does, secrets
	// included as a digest. It is never shown. An input of the same name and
	// version goes on running through a change of settings.
	Version() string
	// Run gives samples to the sink until ctx ends, and returns within a second
	// of that. It mends its own failures and says them to the sink.
	Run(ctx context.Context, sink *Sink)
}

// Leaver is an input that leaves something of its own at its server, such as a
// session that would collect messages for ever.
type Leaver interface {
	Input
	// Leave removes that from the server. identity is what Sink.Identity was. It is
	// called after Run has returned, once the settings have no input of that name any
	// more.
	Leave(ctx context.Context, identity string) error
}

// Series is a series that an input writes to, one value for each of its series
// for as long as the input runs.
type Series struct {
	Labels labels.Labels
	// ref is how the TSDB refers to the series, 0 if it is not in the head, as long as
	// of is opened.refs.
	ref storage.SeriesRef
	of  uint64
	// newest is what newest.times has for ref, once it was needed.
	newest *int64
	// noted: it is known that the input writes to this metric.
	noted bool
}

// Sample is one value of a series at a time in Unix milliseconds.
type Sample struct {
	Series *Series
	T      int64
	V      float64
	// Arrived: T is when the sample came, and not a stamp of its own. Such a sample is
	// stored after all that its series has, at the next millisecond that is free, some
	// seconds after T at most. Of more than fit there in a batch the last one counts.
	Arrived bool
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
