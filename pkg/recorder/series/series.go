// Package series keeps account of the series that an input writes to and of the
// times that its samples bring.
//
// It is where every decoder ends: it makes labels of what it reads, a [Table] gives
// their series or refuses them, and a [Watermark] says up to when all has come. The
// package knows nothing of formats.
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
	// unused is how long a series must not have been written to before another may
	// take its place.
	unused = time.Hour
	// share is which part of all series a topic may keep when others need room.
	share = 10
	// candidates is how many series of a topic are looked at to find one that was
	// not written to for long.
	candidates = 16
)

// Series is one that an input writes to.
type Series struct {
	recorder.Series
	Use
	// States has what the same thing was called while it was no number, nil if it
	// always was one.
	States *StateSet

	topic *topic // nil once it was forgotten
	index int    // in topic.series
}

// Use is what has written to a series last, and may go on to do so.
type Use struct {
	// Used is when it was last written to.
	Used time.Time
	// Message is the number of the last message that had it, and Record that of its
	// record there, for inputs of messages.
	Message uint64
	Record  int32

	// The topic and field that the series was found for first.
	claimant, field string
	claimed         bool
}

// Claim reports whether a field of a topic may write to the series. It may not if
// another field of that topic does, whose name is returned: two fields are never made
// one. Fields of another topic may, because somebody wants its series to be one with
// the first one's. A field that was not written for an hour has no claim.
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

// Gone reports whether the table has forgotten the series. Whoever remembers it must
// look it up again.
func (s *Series) Gone() bool { return s.topic == nil }

// topic has the series that one topic brought.
type topic struct {
	name   string
	series []*Series
}

// Table has the series that an input writes to. It is bounded: one that was not
// written to for an hour makes room, and so do those of a topic that has more than a
// tenth of them, for topics that have fewer. So a topic with random keys uses up its
// own share, and nobody else's. It is not safe for concurrent use.
type Table struct {
	max     int
	all     map[string]*Series   // by their labels
	states  map[string]*StateSet // by the labels of the number that it could be
	topics  map[string]*topic
	crowded map[*topic]bool // those with more than their share
	checked time.Time       // when unused series were last looked for
	key     []byte
}

// NewTable returns a table with room for n series.
func NewTable(n int) *Table {
	return &Table{max: n, all: make(map[string]*Series), states: make(map[string]*StateSet), topics: make(map[string]*topic), crowded: make(map[*topic]bool)}
}

// Max returns how many series there is room for.
func (t *Table) Max() int { return t.max }

// Find returns the series with the given labels, which a topic brought, and nil if
// there is no room for it. Whoever writes to it sets Used.
func (t *Table) Find(from string, lbls labels.Labels, now time.Time) *Series {
	t.key = lbls.Bytes(t.key)
	if s := t.all[string(t.key)]; s != nil {
		return s
	}
	of := t.topics[from]
	if len(t.all) >= t.max && !t.forget(now) && !t.displace(of) {
		return nil
	}
	// Only now: the topic may have lost its last series.
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

// forget makes room by forgetting the series that nothing was written to for long.
// It returns false if there are none.
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

// displace makes room for a topic, nil for a new one, by forgetting a series of the
// topic that has the most. It returns false if none has more than its share and more
// than the topic would have then.
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
	// The first ones are the oldest, unless others took their place.
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
	// spreadWindow is how long the spread that was seen is believed.
	spreadWindow = time.Minute
	// maxSpread is as far as it makes sense to hold the watermark back, in
	// milliseconds: the settled time does not wait longer for any input, unless it
	// is told to.
	maxSpread = 2000
)

// Watermark follows the times that samples bring. Senders have clocks and ways of
// their own: what is behind the newest by no more than has been usual of late is not
// late. The zero value has seen nothing.
type Watermark struct {
	newest int64
	spread [2]int64 // ms, of this and of the last window
	begin  time.Time
}

// Add notes the time of a sample, in Unix milliseconds.
func (w *Watermark) Add(t int64, now time.Time) {
	if now.Sub(w.begin) > spreadWindow {
		w.spread, w.begin = [2]int64{0, w.spread[0]}, now
	}
	// A clock that is ahead, or a wrong stamp, says nothing of what others have sent.
	w.newest = max(w.newest, min(t, now.UnixMilli()))
	w.spread[0] = max(w.spread[0], min(w.newest-t, maxSpread))
}

// Time returns up to when all has come, in Unix milliseconds.
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
