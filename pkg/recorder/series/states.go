package series

import (
	"errors"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

const (
	// MaxStates is how many texts a StateSet has, of those that came within an hour.
	MaxStates = 20
	// MaxText is how long a text may be that is a state, in bytes.
	MaxText = 128
)

// Why a text is not recorded.
var (
	ErrManyStates = errors.New("more than 20 texts")
	ErrFull       = errors.New("too many series")
	// ErrLabel says that the label that would have the text is taken.
	ErrLabel = errors.New("two labels, one name")
)

// StateSet is a thing that is in one of several states, each of which has a text. As
// OpenMetrics has it, there is a series for each text, in the label that is called as
// the metric is: 1 while the text is the last that came, 0 otherwise.
//
// The thing may be a number at other times. Then all of its texts are 0, and its number
// ends when there is a text.
type StateSet struct {
	Use
	labels labels.Labels // of the number
	label  string        // that has the text
	states []state
	number *Series
	// numeric: it was a number last, as far as is known.
	numeric bool
	// known: the states of earlier runs are among these.
	known bool
	gone  bool
}

// Gone reports whether the table has forgotten the states, as [Series.Gone] does.
func (s *StateSet) Gone() bool { return s.gone }

type state struct {
	text   string
	series *Series
	said   time.Time // when it came last, zero if that was in an earlier run
}

// Earlier returns the texts that a label of the series with the given labels has in the
// store, and whether it has a series without the label.
type Earlier func(lbls labels.Labels, label string) (texts []string, number bool, err error)

// StateSet returns the states of a thing whose number would have the given labels. A
// text that was 1 when this process began must become 0: earlier says which there are.
func (t *Table) StateSet(lbls labels.Labels, earlier Earlier) (*StateSet, error) {
	t.key = lbls.Bytes(t.key)
	s := t.states[string(t.key)]
	if s == nil {
		label := lbls.Get(model.MetricNameLabel)
		if lbls.Has(label) {
			return nil, ErrLabel
		}
		s = &StateSet{labels: lbls, label: label, number: t.all[string(t.key)]}
		s.numeric = s.number != nil
		if len(t.states) >= t.max {
			t.forgetStates()
		}
		t.states[string(t.key)] = s
		if s.number != nil {
			s.number.States = s
		}
	}
	if !s.known {
		// If it cannot be known now, it is asked again with the next text.
		if texts, number, err := earlier(lbls, s.label); err == nil {
			s.recall(texts, number)
		}
	}
	return s, nil
}

// recall notes what there was in earlier runs.
func (s *StateSet) recall(texts []string, number bool) {
	s.known = true
	s.numeric = s.numeric || number
	for _, text := range texts {
		if s.index(text) < 0 {
			s.states = append(s.states, state{text: text})
		}
	}
}

// Recall is StateSet for what is a number now and may have been a text in an earlier
// run. It makes nothing where it was none.
func (t *Table) Recall(number *Series, earlier Earlier) {
	label := number.Labels.Get(model.MetricNameLabel)
	if number.States != nil || number.Labels.Has(label) {
		return
	}
	if texts, _, err := earlier(number.Labels, label); err == nil && len(texts) > 0 {
		_, _ = t.StateSet(number.Labels, func(labels.Labels, string) ([]string, bool, error) { return texts, false, nil })
	}
}

// forgetStates forgets the states of things that have no series any more.
func (t *Table) forgetStates() {
	for key, s := range t.states {
		if !slices.ContainsFunc(s.states, func(one state) bool { return one.series != nil && !one.series.Gone() }) {
			if s.number != nil {
				s.number.States = nil
			}
			s.gone = true
			delete(t.states, key)
		}
	}
}

func (s *StateSet) index(text string) int {
	return slices.IndexFunc(s.states, func(one state) bool { return one.text == text })
}

// Known reports whether it is known which states there were in earlier runs.
func (s *StateSet) Known() bool { return s.known }

// Number returns the series that has the thing's numbers, nil if there is none.
func (s *StateSet) Number() *Series { return s.number }

// Wrote reports whether a message has written a number or a text to the thing already.
func (s *StateSet) Wrote(message uint64) bool {
	return s.Message == message || s.number != nil && s.number.Message == message
}

// Set returns what a text makes of the series of a topic: 1 for its own, 0 for all
// others, and a stale marker for the number that the thing was. It returns an error if
// the text cannot be recorded. What is returned besides holds all the same.
func (s *StateSet) Set(t *Table, from, text string, now time.Time) ([]Value, error) {
	s.Used = now
	if i := s.index(text); i >= 0 {
		s.states[i].said = now
	}
	values := s.zeros(t, from, text, now)
	if s.numeric {
		s.numeric = false
		if s.number == nil || s.number.Gone() {
			if s.number = t.Find(from, s.labels, now); s.number != nil {
				s.number.States = s
			}
		}
		if s.number != nil {
			values = append(values, Value{s.number, math.Float64frombits(value.StaleNaN)})
		}
	}
	i := s.index(text)
	if i < 0 {
		if len(s.states) >= MaxStates && !s.makeRoom(now) {
			return values, ErrManyStates
		}
		i = len(s.states)
		s.states = append(s.states, state{text: strings.Clone(text), said: now})
	}
	one := s.series(t, from, i, now)
	if one == nil {
		return values, ErrFull
	}
	return slices.Insert(values, 0, Value{one, 1}), nil
}

// Clear returns what a number makes of the series of the texts: all are 0.
func (s *StateSet) Clear(t *Table, number *Series, from string, now time.Time) []Value {
	s.Used, s.number, s.numeric = now, number, true
	return s.zeros(t, from, "", now)
}

// Value is a value that a series gets.
type Value struct {
	Series *Series
	V      float64
}

// zeros returns 0 for all texts but one, and forgets those of earlier runs that are
// too many: they are 0 from now on.
func (s *StateSet) zeros(t *Table, from, but string, now time.Time) []Value {
	var values []Value
	for i := range s.states {
		if s.states[i].text == but {
			continue
		}
		if series := s.series(t, from, i, now); series != nil {
			values = append(values, Value{series, 0})
		}
	}
	for len(s.states) > MaxStates && s.makeRoom(now) {
	}
	return values
}

// makeRoom forgets the text that came last longest ago, unless that was within the
// hour. It is 0 already.
func (s *StateSet) makeRoom(now time.Time) bool {
	oldest := 0
	for i, one := range s.states {
		if one.said.Before(s.states[oldest].said) {
			oldest = i
		}
	}
	if now.Sub(s.states[oldest].said) <= unused {
		return false
	}
	s.states = slices.Delete(s.states, oldest, oldest+1)
	return true
}

// series returns that of a text, nil if there is no room for it.
func (s *StateSet) series(t *Table, from string, i int, now time.Time) *Series {
	one := &s.states[i]
	if one.series == nil || one.series.Gone() {
		b := labels.NewBuilder(s.labels)
		b.Set(s.label, one.text)
		one.series = t.Find(from, b.Labels(), now)
	}
	if one.series != nil {
		one.series.Used = now
	}
	return one.series
}

// All returns the series of all texts.
func (s *StateSet) All() iter.Seq[*Series] {
	return func(yield func(*Series) bool) {
		for _, one := range s.states {
			if one.series != nil && !yield(one.series) {
				return
			}
		}
	}
}
