package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// at is a time of the run that the tests are about.
func at(seconds float64) time.Time {
	return time.UnixMilli(1_800_000_000_000).Add(time.Duration(seconds * float64(time.Second)))
}

// sent are n messages of a sender, one per second. They are acknowledged a tenth of
// a second later.
func sent(n int, own bool) []message {
	all := make([]message, n)
	for i := range all {
		when := at(float64(i))
		all[i] = message{sender: "s", n: i + 1, series: "a", sent: when, tried: when, acked: when.Add(100 * time.Millisecond), state: acknowledged}
		if own {
			all[i].t = when.UnixMilli()
		}
	}
	return all
}

// recorded are the samples of messages.
func recorded(messages []message) []sample {
	var all []sample
	for _, m := range messages {
		all = append(all, sample{m.sender, m.series, m.n, m.sent.UnixMilli()})
	}
	return all
}

func TestCheck(t *testing.T) {
	kill := event{begin: at(4), end: at(4), kind: killPlugin, text: "killed"}
	full := event{begin: at(3), end: at(8), kind: fillDisk, text: "full"}
	for _, test := range []struct {
		name   string
		own    bool
		change func(r *record)
		want   string // what the only violation says, empty if there is none
	}{
		{"all is well", true, func(*record) {}, ""},
		{"stamped on arrival", false, func(*record) {}, ""},
		{"lost", true, func(r *record) { r.found = append(r.found[:3], r.found[5:]...) },
			"NoLoss: s 4 to 5 (2 of them), sent 08:00:03.000 to 08:00:04.000: acknowledged, not found\n    08:00:04.000 killed"},
		{"not acknowledged and not found", true, func(r *record) {
			r.messages[3].state, r.found = unknown, append(r.found[:3], r.found[4:]...)
		}, ""},
		{"refused", true, func(r *record) { r.messages[3].state, r.found = refused, append(r.found[:3], r.found[4:]...) }, ""},
		{"not acknowledged and found", true, func(r *record) { r.messages[3].state = unknown }, ""},
		{"twice", true, func(r *record) { r.found = append(r.found, r.found[6]) }, "ExactlyOnce: s 7, sent 08:00:06.000: recorded more than once"},
		{"at another time", true, func(r *record) { r.found[6].t++ }, "ExactlyOnce: s 7, sent 08:00:06.000: recorded at another time"},
		{"in another series", true, func(r *record) { r.found[6].series = "b" }, "in another series"},
		{"stamped on arrival, in another series", false, func(r *record) { r.found[6].series = "b" }, "in another series"},
		{"never sent", true, func(r *record) { r.found = append(r.found, sample{"s", "a", 99, at(5).UnixMilli()}) },
			"ExactlyOnce: s 99, sent 08:00:05.000: recorded, and never sent"},
		{"in flight at a kill", false, func(r *record) { r.found = append(r.found, r.found[2:4]...) }, ""},
		{"more than in flight", false, func(r *record) { r.found = append(r.found, r.found[2:5]...) },
			"ExactlyOnce: s 3 to 5 (3 of them), sent 08:00:02.000 to 08:00:04.000: recorded twice, and 2 were sent again\n" +
				"    3 to 5 (3 of them), sent 08:00:02.000 to 08:00:04.000, again at 08:00:02.000 to 08:00:04.000, while 0 were sent again\n        08:00:04.000 killed"},
		{"sent again", false, func(r *record) {
			r.again, r.inFlight = []time.Time{at(4), at(4.5)}, 0
			r.found = append(r.found, r.found[2:4]...)
		}, ""},
		{"more than were sent again", false, func(r *record) {
			r.again, r.inFlight = []time.Time{at(4)}, 0
			r.found = append(r.found, r.found[2:4]...)
		}, "recorded twice, and 1 were sent again\n    3 to 4 (2 of them), sent 08:00:02.000 to 08:00:03.000, again at 08:00:02.000 to 08:00:03.000, while 1 were sent again"},
		{"acknowledged while the disk is full", true, func(r *record) { r.events, r.direct = []event{full}, true },
			"Reserved: s 7 to 8 (2 of them), sent 08:00:06.000 to 08:00:07.000: acknowledged below"},
		{"the broker acknowledges while the disk is full", true, func(r *record) { r.events = []event{full} }, ""},
		{"tried before the disk was full", true, func(r *record) {
			r.events, r.direct = []event{full}, true
			for i := range r.messages {
				r.messages[i].tried = at(2)
			}
		}, ""},
		{"acknowledged after the disk was full", true, func(r *record) {
			r.events, r.direct = []event{full}, true
			for i := range r.messages {
				r.messages[i].acked = at(9)
			}
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := record{messages: sent(10, test.own), events: []event{kill}, inFlight: 2}
			r.found = recorded(r.messages)
			test.change(&r)
			tally, violations := check(r)
			if tally.sent != 10 || tally.acknowledged+tally.refused+tally.unknown != 10 {
				t.Errorf("counted are %+v", tally)
			}
			switch {
			case test.want == "" && len(violations) > 0:
				t.Error(violations)
			case test.want != "" && len(violations) != 1:
				t.Error("there are", len(violations), "violations:", violations)
			case test.want != "" && !strings.Contains(violations[0].Error(), test.want):
				t.Errorf("it is %q", violations[0])
			}
		})
	}
}

// Messages that were lost together make one violation.
func TestGroup(t *testing.T) {
	messages := sent(100, true)
	found := recorded(messages)
	_, violations := check(record{messages: messages, found: append(found[:10:10], append(found[40:60:60], found[61:]...)...)})
	if len(violations) != 2 {
		t.Fatal(violations)
	}
	var first noLoss
	if !errors.As(violations[0], &first) || first.first != 11 || first.last != 40 || first.count != 30 {
		t.Errorf("%+v", first)
	}
}

func TestCompare(t *testing.T) {
	for _, test := range []struct {
		name        string
		warm, after reading
		want        int
	}{
		{"the same", reading{memory: 100, goroutines: 50}, reading{memory: 100, goroutines: 50}, 0},
		{"a tenth more", reading{memory: 100, goroutines: 50}, reading{memory: 110, goroutines: 55}, 0},
		{"more memory", reading{memory: 100, goroutines: 50}, reading{memory: 111, goroutines: 50}, 1},
		{"more of both", reading{memory: 100, goroutines: 50}, reading{memory: 200, goroutines: 56}, 2},
		{"not measured", reading{memory: 100, goroutines: 50}, reading{}, 2},
	} {
		if violations := compare(test.warm, test.after); len(violations) != test.want {
			t.Errorf("%s: %v", test.name, violations)
		}
	}
}

// The log of mosquitto says which messages it sends again.
func TestResent(t *testing.T) {
	var passed bytes.Buffer
	r := &resent{to: &passed}
	text := "1795824078: mosquitto version 2.0.11 running\n" +
		"1795824079: Sending PUBLISH to cabc (d0, q1, r0, m1, 'arrival/1/n', ... (3 bytes))\n" +
		"1795824080: Sending PUBLISH to cabc (d1, q1, r0, m1, 'arrival/1/n', ... (3 bytes))\n" +
		"1795824081: Sending PUBLISH to cdef (d1, q1, r0, m9, 'stamped/1', ... (30 bytes))\n" +
		"1795824082: Sending PUBLISH to cabc (d1, q1, r0, m2, 'arrival/2/n', ... (3 bytes))\n"
	for _, part := range slices.Collect(slices.Chunk([]byte(text), 50)) {
		if n, err := r.Write(part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if s := (&service{resent: r}); len(s.again()) != 2 || passed.String() != text {
		t.Errorf("%d were sent again, and passed on was %q", len(s.again()), passed.String())
	}
}

// What a rule has not recorded, or recorded otherwise, is found.
func TestDerive(t *testing.T) {
	const seconds = 60
	rows := func(change func(values []*float64)) *data.Frame {
		var times []time.Time
		var values []*float64
		for i := range seconds / 5 {
			times, values = append(times, at(float64(5*i))), append(values, new(float64(i)))
		}
		change(values)
		return data.NewFrame("", data.NewField("time", nil, times), data.NewField("", nil, values))
	}
	for _, test := range []struct {
		name   string
		change func(recorded []*float64)
		want   string
	}{
		{"all is well", func([]*float64) {}, ""},
		{"a hole", func(recorded []*float64) { recorded[3] = nil }, "Derived: s: 1 of 12 values of a rule are not what its expression gives, the first at 08:00:15.000: recorded is nothing, and it gives 3"},
		{"not corrected", func(recorded []*float64) { *recorded[3], *recorded[4] = 2, 2 }, "2 of 12 values"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ask := func(_ context.Context, expr string, _, _ time.Time, _ time.Duration) (*data.Frame, error) {
				if strings.HasPrefix(expr, ruleRecord) {
					return rows(test.change), nil
				}
				return rows(func([]*float64) {}), nil
			}
			_, _, err := derive(t.Context(), ask, "s", at(-5), at(seconds), nil)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Error(err)
			}
		})
	}
}
