// Package series keeps the series that an input writes to, and finds its watermark
// from the times of its samples.
//
// All decoders use it: they make labels from what they read, a [Table] returns the
// series of these labels or refuses them, and a [Watermark] returns the time up to
// which all samples have come. The package does not depend on any format.
package series

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

const (
	// unused is after how long without a sample a series may be forgotten to make
	// room for another one.
	unused = time.Hour
	// share says which part of all series, a tenth, one topic may keep when others
	// need room.
	share = 10
	// candidates is how many series of a topic are searched for the one that was
	// unused for longest.
	candidates = 16
)

// Series is a series that an input writes to.
type Series struct {
	recorder.Series
	Use
	// States has what the same thing was called while it was no number, nil if it
	// always was one.
	States *StateSet

	topic *topic // nil once the table has forgotten the series
	index int    // in topic.series
}

// Use is what has written to a series last, and may go on to do so.
type Use struct {
	// Used is when the series was last written to.
	Used time.Time
	// Message is the number of the last message that wrote to the series, and Record
	// the number of the record within that message, for inputs of messages.
	Message uint64
	Record  int32

	// claimant and field are the topic and the field that hold the claim, see Claim.
	claimant, field string
	claimed         bool
}

// Claim reports whether a field of a topic may write to the series, and which field
// holds the claim. A second field of the same topic may not: the values of two
// fields must not mix. A field of another topic may, because the settings give both
// the same labels on purpose. A claim ends when nothing was written to the series
// for an hour.
func (u *Use) Claim(topic, field string, now time.Time) (other string, ok bool) {
	if !u.claimed || now.Sub(u.Used) > unused {
		u.claimant, u.field, u.claimed = topic, field, true
	}
	return u.field, u.claimant != topic || u.field == field
}

// From returns the name of the topic that the series was found for first, empty if it
// is gone.
func (s *Series) From() string {
	if s.topic == nil {
		return ""
	}
	return s.topic.name
}

// Gone reports whether the table has forgotten the series. Then a caller that has
// kept it must call Find again.
func (s *Series) Gone() bool { return s.topic == nil }

// topic has the series that a topic has brought.
type topic struct {
	name   string
	series []*Series
}

// Table has the series that an input writes to. It has room for a fixed number. When
// it is full, it forgets series that were not written to for an hour, then series of
// a topic that has more than a tenth of all, if the other topic has fewer. So a
// topic with random keys only uses up its own share. A Table is not safe for
// concurrent use.
type Table struct {
	max     int
	all     map[string]*Series   // by their labels
	states  map[string]*StateSet // by the labels of the number that it could be
	topics  map[string]*topic
	crowded map[*topic]bool // topics with more than their share
	checked time.Time       // when unused series were last looked for
	key     []byte
}

// NewTable returns an empty table with room for n series.
func NewTable(n int) *Table {
	return &Table{max: n, all: make(map[string]*Series), states: make(map[string]*StateSet), topics: make(map[string]*topic), crowded: make(map[*topic]bool)}
}

// Max returns for how many series the table has room.
func (t *Table) Max() int { return t.max }

// Find returns the series with these labels, and adds it if it is new; from is the
// topic that brought it. Find returns nil if there is no room. The caller sets Used
// when it writes to the series.
func (t *Table) Find(from string, lbls labels.Labels, now time.Time) *Series {
	t.key = lbls.Bytes(t.key)
	if s := t.all[string(t.key)]; s != nil {
		return s
	}
	of := t.topics[from]
	if len(t.all) >= t.max && !t.forget(now) && !t.displace(of) {
		return nil
	}
	// Only now, as making room may have removed this topic's last series, and the
	// topic.
	if of = t.topics[from]; of == nil {
		of = &topic{name: from}
		t.topics[from] = of
	}
	s := &Series{Series: recorder.Series{Labels: lbls}, Use: Use{Used: now}, States: t.states[string(t.key)], topic: of, index: len(of.series)}
	t.all[string(t.key)] = s
	if of.series = append(of.series, s); len(of.series) > t.max/share {
		t.crowded[of] = true
	}
	return s
}

// forget removes all unused series, at most once a minute. It returns false if it
// has removed none.
func (t *Table) forget(now time.Time) bool {
	if now.Sub(t.checked) < time.Minute {
		return false
	}
	t.checked = now
	before := len(t.all)
	for key, s := range t.all {
		if now.Sub(s.Used) > unused {
			t.remove(key, s)
		}
	}
	return len(t.all) < before
}

// displace makes room for a series of the topic of, nil for a new topic: it removes
// a series of the topic that has the most. It returns false if no topic has more
// than its share, or if the largest would not have more series than this one after
// that.
func (t *Table) displace(of *topic) bool {
	var largest *topic
	for other := range t.crowded { // fewer than ten
		if largest == nil || len(other.series) > len(largest.series) {
			largest = other
		}
	}
	has := 0
	if of != nil {
		has = len(of.series)
	}
	if largest == nil || len(largest.series) <= has+1 {
		return false
	}
	// Series are added at the end, so the first ones are mostly the oldest.
	oldest := largest.series[0]
	for _, s := range largest.series[:min(candidates, len(largest.series))] {
		if s.Used.Before(oldest.Used) {
			oldest = s
		}
	}
	t.remove(string(oldest.Labels.Bytes(nil)), oldest)
	return true
}

func (t *Table) remove(key string, s *Series) {
	delete(t.all, key)
	of := s.topic
	last := len(of.series) - 1
	of.series[s.index] = of.series[last]
	of.series[s.index].index = s.index
	of.series[last] = nil
	of.series = of.series[:last]
	s.topic = nil
	if last <= t.max/share {
		delete(t.crowded, of)
	}
	if last == 0 {
		delete(t.topics, of.name)
	}
}

const (
	// spreadWindow is for how long the largest spread is kept, at least.
	spreadWindow = time.Minute
	// maxSpread is the largest spread, in milliseconds. Holding the watermark back
	// longer is no use: by default the settled time does not wait longer for an input.
	maxSpread = 2000
)

// Watermark computes a watermark from the times of samples. Senders have different
// clocks and delays, so it stays behind the newest time by the largest distance, up
// to maxSpread, that was seen in the last minute or two: samples within this
// distance are not late. The zero value has seen no sample.
type Watermark struct {
	newest int64
	spread [2]int64 // ms, of this and of the last window
	begin  time.Time
}

// Add notes the time t (Unix ms) of a sample that came at now.
func (w *Watermark) Add(t int64, now time.Time) {
	if now.Sub(w.begin) > spreadWindow {
		w.spread, w.begin = [2]int64{0, w.spread[0]}, now
	}
	// A time ahead of now comes from a wrong clock: it must not make other samples
	// late.
	w.newest = max(w.newest, min(t, now.UnixMilli()))
	w.spread[0] = max(w.spread[0], min(w.newest-t, maxSpread))
}

// Time returns the time (Unix ms) up to which all samples should have come.
func (w *Watermark) Time() int64 {
	if behind := max(w.spread[0], w.spread[1]); behind > 0 {
		return w.newest - behind - 1
	}
	return w.newest
}

// Under returns the series that topics brought whose names are prefix, or begin with
// prefix and a separator of levels.
func (t *Table) Under(prefix, separator string) iter.Seq[*Series] {
	return func(yield func(*Series) bool) {
		for name, of := range t.topics {
			if name != prefix && !strings.HasPrefix(name, prefix+separator) {
				continue
			}
			for _, s := range of.series {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// MaxLabels is how large the labels of a series may be, in bytes.
const MaxLabels = 16 << 10

// ErrLabels says that labels are larger than MaxLabels.
var ErrLabels = fmt.Errorf("labels have more than %d bytes", MaxLabels)

// Check says why there can be no series of the given labels.
func Check(lbls labels.Labels) error {
	switch name, twice := lbls.HasDuplicateLabelNames(); {
	case !lbls.Has(model.MetricNameLabel):
		return errors.New("the name of the metric is missing")
	case twice:
		return fmt.Errorf("the label %.200s is there twice", name)
	case !lbls.IsValid(model.UTF8Validation):
		return errors.New("labels are not valid UTF-8, or have no name")
	case lbls.ByteSize() > MaxLabels:
		return ErrLabels
	}
	return nil
}
