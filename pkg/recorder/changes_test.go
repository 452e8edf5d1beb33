package recorder

import (
	"errors"
	"fmt"
	"math"
	"testing"
)

func TestChanges(t *testing.T) {
	c := newChanges()
	before := c.mark([]string{"a"})
	other := c.mark([]string{"b"})
	c.changed("a", Change{10, 20, 100})
	if c.mark([]string{"a"}) == before || c.mark([]string{"b"}) != other {
		t.Error("the marks are not by metric")
	}
	if c.mark(nil) == c.mark([]string{""}) {
		t.Error("the mark of all metrics does not move")
	}
	between := c.mark([]string{"a"})
	c.changed("a", Change{5, 7, 110})
	for _, tc := range []struct {
		mark, metric string
		want         Change
		ok           bool
	}{
		{before, "a", Change{5, 20, 110}, true},
		{between, "a", Change{5, 7, 110}, true},
		{before, "", Change{5, 20, 110}, true},
		{before, "b", Change{}, false},
		{c.mark([]string{"a"}), "a", Change{}, false},
	} {
		got, ok, err := c.since(tc.mark, tc.metric)
		if err != nil || ok != tc.ok || ok && got != tc.want {
			t.Errorf("since %s, %q: %v, %v, %v", tc.mark, tc.metric, got, ok, err)
		}
	}
	c.changed("", Change{math.MinInt64, math.MaxInt64, 120}) // such as a deletion of all
	if got, ok, _ := c.since(other, "b"); !ok || got != (Change{longAgo, 120, 120}) {
		t.Errorf("a change of all metrics is %v, %v for one", got, ok)
	}
	anew := newChanges()
	if _, _, err := anew.since(before, "a"); !errors.Is(err, ErrMark) {
		t.Errorf("a mark of another process: %v", err)
	}
}

// Only those who read what an input writes are concerned. It is not known yet what a
// new one writes.
func TestTurns(t *testing.T) {
	c := newChanges()
	c.wrote("host", "cpu")
	cpu, every, level := c.mark([]string{"cpu"}), c.mark([]string{""}), c.mark([]string{"level"})
	c.turned("mqtt")
	for mark, tc := range map[string]struct {
		metrics []string
		want    bool
	}{
		cpu:   {[]string{"cpu"}, false},
		every: {[]string{""}, true},
		level: {[]string{"level"}, true},
	} {
		if got, err := c.turnedSince(mark, tc.metrics); got != tc.want || err != nil {
			t.Errorf("%v: %v, %v", tc.metrics, got, err)
		}
	}
	c.wrote("mqtt", "level")
	level = c.mark([]string{"level"})
	c.turned("nats")
	if c.mark([]string{"level"}) != level {
		t.Error("an input that writes other metrics concerns this one")
	}
	c.turned("mqtt")
	if c.mark([]string{"level"}) == level {
		t.Error("an input that writes the metric does not concern it")
	}
}

// However many changes there are, what is remembered is bounded, and none is lost.
func TestChangesAreBounded(t *testing.T) {
	c := newChanges()
	mark := c.mark([]string{""})
	for i := range int64(3 * maxNotedMetrics) {
		for j := range int64(2 * maxNotes) {
			c.changed(fmt.Sprint(i), Change{i - j, i, i + 1000})
		}
		c.wrote("input", fmt.Sprint(i))
	}
	if len(c.notes) > maxNotedMetrics+1 || len(c.notes["0"]) > maxNotes {
		t.Errorf("notes of %d metrics, %d of one", len(c.notes), len(c.notes["0"]))
	}
	for i := range int64(3 * maxNotedMetrics) {
		got, ok, err := c.since(mark, fmt.Sprint(i))
		if err != nil || !ok || got.Oldest > i-2*maxNotes+1 || got.Newest < i {
			t.Fatalf("metric %d: %v, %v, %v", i, got, ok, err)
		}
	}
}
