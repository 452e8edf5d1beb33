package recorder

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Change says which settled samples of a metric have changed since a mark, because
// late ones were stored or some were deleted.
type Change struct {
	// The changed samples are from Oldest to Newest. Settled is the settled time
	// when they changed. All are in Unix milliseconds.
	Oldest, Newest, Settled int64
}

func (c Change) with(o Change) Change {
	return Change{min(c.Oldest, o.Oldest), max(c.Newest, o.Newest), max(c.Settled, o.Settled)}
}

// ErrMark means that a mark is from another opening of the store, or from before the
// settled time went back, so that nobody knows what has changed since.
var ErrMark = errors.New("the store was opened anew, or the clock was set back, since")

// changes notes what viewers of settled samples have to know: by metric, which
// samples have changed, and which inputs went down or came back. It numbers its
// notes. A mark is such a number with the epoch, a random text per opening of the
// store, because another process has numbered other notes. When the clock was ahead,
// setting it back begins another epoch.
type changes struct {
	epoch   string
	count   uint64
	newest  uint64              // the last note about samples
	notes   map[string][]note   // by metric, those of all metrics by ""
	turns   map[string]uint64   // the last note by input
	writers map[string][]string // inputs by metric
}

type note struct {
	count uint64
	Change
}

// How much is remembered. Beyond that, a change or an input counts for all metrics.
const (
	maxNotes         = 8 // of a metric
	maxNotedMetrics  = 1000
	maxKnownWritings = 10_000
)

func newChanges() changes {
	c := changes{turns: make(map[string]uint64), writers: make(map[string][]string)}
	c.renew()
	return c
}

// renew begins a new epoch, so that all marks end, and forgets which samples have
// changed.
func (c *changes) renew() {
	c.epoch, c.notes = rand.Text()[:10], make(map[string][]note)
}

// longAgo is before all samples, and far enough from the limits of int64 that sums
// and differences do not overflow.
const longAgo = math.MinInt64 / 4

// changed notes a change of a metric, of all if it is empty.
func (c *changes) changed(metric string, what Change) {
	what.Oldest, what.Newest = max(what.Oldest, longAgo), min(what.Newest, what.Settled)
	c.count++
	c.newest = c.count
	if _, known := c.notes[metric]; !known && len(c.notes) >= maxNotedMetrics {
		metric = ""
	}
	notes := append(c.notes[metric], note{c.count, what})
	if len(notes) > maxNotes {
		notes[1].Change = notes[1].with(notes[0].Change)
		notes = slices.Delete(notes, 0, 1)
	}
	c.notes[metric] = notes
}

// turned notes that an input went down or is back.
func (c *changes) turned(input string) {
	c.count++
	c.turns[input] = c.count
}

// wrote notes that an input has written to a metric.
func (c *changes) wrote(input, metric string) {
	inputs := c.writers[metric]
	if inputs == nil && len(c.writers) >= maxKnownWritings || slices.Contains(inputs, input) {
		return
	}
	c.writers[metric] = append(inputs, input)
}

// concerns reports whether an input may write to a metric; an empty metric stands
// for any. If no input is known to write to a metric, each input may.
func (c *changes) concerns(input, metric string) bool {
	inputs := c.writers[metric]
	return len(inputs) == 0 || slices.Contains(inputs, input)
}

// mark returns a mark that changes as soon as there is a new note about the metrics.
func (c *changes) mark(metrics []string) string {
	last := uint64(0)
	note := func(notes []note) {
		if n := len(notes); n > 0 {
			last = max(last, notes[n-1].count)
		}
	}
	for _, m := range metrics {
		note(c.notes[m])
		if m == "" {
			last = max(last, c.newest)
		}
		for input, count := range c.turns {
			if c.concerns(input, m) {
				last = max(last, count)
			}
		}
	}
	if len(metrics) > 0 {
		note(c.notes[""])
	}
	return fmt.Sprintf("%s-%d", c.epoch, last)
}

func (c *changes) counted(mark string) (uint64, error) {
	count, ok := strings.CutPrefix(mark, c.epoch+"-")
	n, err := strconv.ParseUint(count, 10, 64)
	if !ok || err != nil {
		return 0, ErrMark
	}
	return n, nil
}

// since returns the changes of a metric since a mark; an empty metric stands for
// all.
func (c *changes) since(mark, metric string) (Change, bool, error) {
	count, err := c.counted(mark)
	all := Change{math.MaxInt64, math.MinInt64, math.MinInt64}
	some := false
	look := func(notes []note) {
		for _, n := range notes {
			if n.count > count {
				all, some = all.with(n.Change), true
			}
		}
	}
	look(c.notes[""])
	if metric != "" {
		look(c.notes[metric])
	} else {
		for notes := range maps.Values(c.notes) {
			look(notes)
		}
	}
	return all, some, err
}

// turnedSince reports whether an input that may write to one of the metrics went
// down or came back since a mark.
func (c *changes) turnedSince(mark string, metrics []string) (bool, error) {
	count, err := c.counted(mark)
	for input, at := range c.turns {
		if at > count && slices.ContainsFunc(metrics, func(m string) bool { return c.concerns(input, m) }) {
			return true, err
		}
	}
	return false, err
}
