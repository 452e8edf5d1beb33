package series

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func find(t *Table, topic string, n int, now time.Time) *Series {
	return t.Find(topic, labels.FromStrings("__name__", fmt.Sprint(topic, n)), now)
}

func TestTable(t *testing.T) {
	table := NewTable(100)
	first := find(table, "a", 0, begin)
	if first == nil || find(table, "a", 0, begin) != first || find(table, "b", 0, begin) == first {
		t.Fatal("a series is not itself")
	}
	for n := range 98 {
		if find(table, fmt.Sprint("t", n), 1, begin) == nil {
			t.Fatal("there is no room")
		}
	}
	if find(table, "c", 0, begin.Add(time.Minute)) != nil {
		t.Error("there is room for too many")
	}
	// What is not used for an hour makes room.
	later := begin.Add(unused + time.Minute)
	if first.Used = later; find(table, "c", 0, later) == nil {
		t.Error("what is unused makes no room")
	}
	if first.Gone() || len(table.all) != 2 || len(table.topics) != 2 {
		t.Errorf("%d series of %d topics are left", len(table.all), len(table.topics))
	}
}

// A topic with random keys uses up its share alone.
func TestShare(t *testing.T) {
	table := NewTable(1000)
	good := find(table, "good", 1, begin)
	now := begin
	for n := range 5000 {
		now = now.Add(time.Millisecond)
		find(table, "random", n, now)
	}
	if len(table.all) != 1000 || good.Gone() {
		t.Fatalf("%d series", len(table.all))
	}
	// Others get what they need, first in place of what is used least.
	for _, topic := range []string{"good", "late"} {
		for n := range 300 {
			now = now.Add(time.Millisecond)
			if find(table, topic, n, now) == nil {
				t.Fatalf("there is no room for series %d of %s", n, topic)
			}
		}
	}
	// Random keys take nothing back.
	for n := range 5000 {
		find(table, "random", n+5000, now)
	}
	for topic, want := range map[string]int{"good": 300, "late": 300, "random": 400} {
		if got := len(table.topics[topic].series); got != want {
			t.Errorf("%d series of %s, not %d", got, topic, want)
		}
	}
	if good.Gone() {
		t.Error("a series of another topic was forgotten")
	}
	// Nor do random topics, from those that have no more than their share.
	for n := range 5000 {
		find(table, fmt.Sprint("topic", n), 0, now)
	}
	for _, topic := range []string{"good", "late", "random"} {
		if got := len(table.topics[topic].series); got != 100 {
			t.Errorf("%d series of %s are left", got, topic)
		}
	}
	for key, s := range table.all {
		if s.Gone() || s.topic.series[s.index] != s || string(s.Labels.Bytes(nil)) != key {
			t.Fatal("the table is broken")
		}
	}
}

func TestWatermark(t *testing.T) {
	var w Watermark
	now := begin
	at := now.UnixMilli()
	for _, test := range []struct {
		name  string
		t     int64
		later time.Duration
		want  int64
	}{
		{"the first", at - 100, 0, at - 100},
		{"a newer one", at - 50, 0, at - 50},
		{"from the future", at + 1000, 0, at},
		{"behind", at - 300, 0, at - 301},
		{"far behind", at - 1_000_000, 0, at - 2001},
		{"remembered", at + 61_000, 61 * time.Second, at + 61_000 - 2001},
		{"forgotten", at + 122_000, 61 * time.Second, at + 122_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			now = now.Add(test.later)
			w.Add(test.t, now)
			if w.Time() != test.want {
				t.Errorf("%d", w.Time()-at)
			}
		})
	}
}

// What people read can be pasted into a query.
func TestText(t *testing.T) {
	p := parser.NewParser(parser.Options{})
	for _, test := range []struct {
		labels []string
		want   string
	}{
		{[]string{"__name__", "up"}, `up`},
		{[]string{"__name__", "up", "job", `a"b`, "le", "1"}, `up{job="a\"b", le="1"}`},
		{[]string{"job", "a"}, `{job="a"}`},
		{[]string{"__name__", "温度"}, `{"温度"}`},
		{[]string{"__name__", "温度", "Gerät", "ü", "a", "b"}, `{"温度", "Gerät"="ü", a="b"}`},
		{[]string{"__name__", "a\"b.c", "x.y", "1"}, `{"a\"b.c", "x.y"="1"}`},
	} {
		lbls := labels.FromStrings(test.labels...)
		got := recorder.Text(lbls)
		if got != test.want {
			t.Errorf("%s, not %s", got, test.want)
		}
		ms, err := p.ParseMetricSelector(got)
		if err != nil {
			t.Errorf("%s: %v", got, err)
		}
		found := make(map[string]string)
		for _, m := range ms {
			found[m.Name] = m.Value
		}
		if labels.Compare(labels.FromMap(found), lbls) != 0 {
			t.Errorf("%s means %v", got, found)
		}
	}
	if got := recorder.Text(labels.EmptyLabels()); got != "{}" {
		t.Errorf("no labels are %s", got)
	}
}

func BenchmarkFind(b *testing.B) {
	table := NewTable(10_000)
	var all []labels.Labels
	for n := range 1000 {
		all = append(all, labels.FromStrings("__name__", "cpu_usage_idle", "cpu", fmt.Sprint("cpu", n), "host", "server"))
	}
	n := 0
	for b.Loop() {
		table.Find("", all[n%1000], begin)
		n++
	}
}
