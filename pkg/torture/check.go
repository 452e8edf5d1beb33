package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The guarantees. Each is also the type of the errors that report that it was
// broken.
type (
	// noLoss: a query finds every acknowledged number.
	noLoss struct{ numbers }
	// exactlyOnce: a number with a stamp of its own, or with a position in a stream, is
	// found once, at that time. Of numbers that are stamped on arrival, at most as many
	// are found twice as the broker has sent again.
	exactlyOnce struct {
		numbers
		what string
	}
	// alive: only a signal of this program ends the process.
	alive struct {
		at     time.Time
		why    string
		output string
		during string
	}
	// bounded: memory and goroutines go back to their level after warm-up.
	bounded struct {
		what        string
		warm, after float64
	}
	// reserved: nothing is acknowledged while there is less free space than the
	// first floor.
	reserved struct{ numbers }
)

func (v noLoss) Error() string {
	return fmt.Sprintf("NoLoss: %v: acknowledged, not found%s", v.numbers, v.during)
}

func (v exactlyOnce) Error() string {
	return fmt.Sprintf("ExactlyOnce: %v: %s%s", v.numbers, v.what, v.during)
}

func (v alive) Error() string {
	return fmt.Sprintf("Alive: at %s the process %s; the last it printed:\n%s%s", clock(v.at), v.why, indent(v.output), v.during)
}

func (v bounded) Error() string {
	return fmt.Sprintf("Bounded: %s: %.0f after the run, %.0f %% of the %.0f after warm-up", v.what, v.after, 100*v.after/v.warm, v.warm)
}

func (v reserved) Error() string {
	return fmt.Sprintf("Reserved: %v: acknowledged below the first floor%s", v.numbers, v.during)
}

// numbers are numbers that a sender sent soon after one another.
type numbers struct {
	sender      string
	first, last int
	count       int
	from, to    time.Time // when they were sent
	during      string    // which faults there were
}

func (n numbers) String() string {
	s := fmt.Sprintf("%s %d", n.sender, n.first)
	if n.last > n.first {
		s += fmt.Sprintf(" to %d (%d of them)", n.last, n.count)
	}
	s += ", sent " + clock(n.from)
	if n.to.After(n.from) {
		s += " to " + clock(n.to)
	}
	return s
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}

// sample is a sample that a query found.
type sample struct {
	sender, series string
	n              int
	t              int64 // Unix ms
}

// event is a fault that happened, or something else that helps to explain a
// violation.
type event struct {
	begin, end time.Time // end is zero while the event lasts
	kind       kind
	text       string
}

func (e event) String() string {
	s := clock(e.begin)
	if e.end.After(e.begin) {
		s += " to " + clock(e.end)
	}
	return s + " " + e.text
}

// record has everything about the run of a sender.
type record struct {
	messages []message // by number
	found    []sample
	events   []event
	// direct says that the plugin itself acknowledges, and not a broker.
	direct bool
	// again is when the broker has sent messages again. If it does not say, inFlight is
	// how many can be on their way at an interruption.
	again    []time.Time
	inFlight int
}

// tally counts the messages of a sender by outcome, and the right values that a
// recording rule has made of them.
type tally struct {
	sent, acknowledged, refused, unknown, found, lost, doubled, derived int
}

// check returns how a sender's messages break NoLoss, ExactlyOnce and Reserved.
func check(r record) (tally, []error) {
	var c tally
	var violations []error
	found := make(map[int][]sample)
	for _, s := range r.found {
		found[s.n] = append(found[s.n], s)
	}
	var lost, twice, arrived, elsewhere, early []message
	copied := make(map[int]time.Time) // when numbers of arrived were recorded for the last time
	for _, m := range r.messages {
		c.sent++
		switch m.state {
		case acknowledged:
			c.acknowledged++
		case refused:
			c.refused++
		default:
			c.unknown++
		}
		all := found[m.n]
		delete(found, m.n)
		if len(all) > 0 {
			c.found++
		}
		right := 0
		for _, s := range all {
			if s.series == m.series && (m.t == 0 || m.t == s.t) {
				right++
			}
		}
		switch {
		case right < len(all):
			elsewhere = append(elsewhere, m)
		case right > 1:
			c.doubled++
			if m.t != 0 {
				twice = append(twice, m)
				break
			}
			arrived = append(arrived, m)
			for _, s := range all {
				if at := time.UnixMilli(s.t); at.After(copied[m.n]) {
					copied[m.n] = at
				}
			}
		case right == 0 && m.state == acknowledged:
			c.lost++
			lost = append(lost, m)
		}
		if r.direct && m.state == acknowledged && whileFull(m, r.events) {
			early = append(early, m)
		}
	}
	for _, n := range group(lost, r.events) {
		violations = append(violations, noLoss{n})
	}
	for _, n := range group(twice, r.events) {
		violations = append(violations, exactlyOnce{n, "recorded more than once"})
	}
	for _, n := range group(elsewhere, r.events) {
		violations = append(violations, exactlyOnce{n, "recorded at another time or in another series"})
	}
	for _, n := range group(early, r.events) {
		violations = append(violations, reserved{n})
	}
	if len(found) > 0 {
		all := make([]message, 0, len(found))
		for n, of := range found {
			all = append(all, message{sender: of[0].sender, n: n, sent: time.UnixMilli(of[0].t)})
		}
		slices.SortFunc(all, func(a, b message) int { return cmp.Compare(a.n, b.n) })
		for _, n := range group(all, r.events) {
			violations = append(violations, exactlyOnce{n, "recorded, and never sent"})
		}
	}
	if again := max(len(r.again), r.inFlight*interruptions(r.events)); len(arrived) > again {
		n := group(arrived, nil)[0]
		n.last, n.count, n.to = arrived[len(arrived)-1].n, len(arrived), arrived[len(arrived)-1].sent
		n.during = copies(arrived, copied, r)
		violations = append(violations, exactlyOnce{n, fmt.Sprintf("recorded twice, and %d were sent again", again)})
	}
	return c, violations
}

// whileFull reports whether a message was acknowledged while the disk was full.
func whileFull(m message, events []event) bool {
	return slices.ContainsFunc(events, func(e event) bool {
		return e.kind == fillDisk && m.tried.After(e.begin.Add(notice)) && (e.end.IsZero() || m.acked.Before(e.end))
	})
}

// notice is how long the plugin may take to notice a full disk.
const notice = 2 * time.Second

// copies lists, for messages that are recorded twice, when they were sent and recorded for
// the last time, what happened around that, and how many messages the broker sent again.
func copies(messages []message, copied map[int]time.Time, r record) string {
	byCopy := slices.Clone(messages)
	for i := range byCopy {
		byCopy[i].sent = copied[byCopy[i].n]
	}
	slices.SortFunc(byCopy, func(a, b message) int { return a.sent.Compare(b.sent) })
	sent := make(map[int]time.Time)
	for _, m := range messages {
		sent[m.n] = m.sent
	}
	var text strings.Builder
	for _, n := range group(byCopy, r.events) {
		again := 0
		for _, t := range r.again {
			if t.After(n.from.Add(-before)) && t.Before(n.to.Add(after)) {
				again++
			}
		}
		fmt.Fprintf(&text, "\n    %d to %d (%d of them), sent %s to %s, again at %s to %s, while %d were sent again%s", n.first, n.last, n.count,
			clock(sent[n.first]), clock(sent[n.last]), clock(n.from), clock(n.to), again, strings.ReplaceAll(n.during, "\n", "\n    "))
	}
	return text.String()
}

// interruptions returns how often the connection between broker and plugin was cut.
func interruptions(events []event) int {
	n := 0
	for _, e := range events {
		switch e.kind {
		case killPlugin, termPlugin, shrinkDisk, stopMQTT, newSettings:
			n++
		}
	}
	return n
}

// group joins messages that were sent soon after one another, and adds the faults
// around them.
func group(messages []message, events []event) []numbers {
	const apart = 2 * time.Second
	var all []numbers
	for _, m := range messages {
		if i := len(all) - 1; i >= 0 && m.sent.Sub(all[i].to) < apart {
			all[i].last, all[i].to = m.n, m.sent
			all[i].count++
			continue
		}
		all = append(all, numbers{sender: m.sender, first: m.n, last: m.n, count: 1, from: m.sent, to: m.sent})
	}
	for i := range all {
		all[i].during = during(events, all[i].from, all[i].to)
	}
	return all
}

// The fault that harms a message may come before it, or after it: a kill loses what is
// not written yet.
const before, after = 10 * time.Second, 15 * time.Second

// during lists the faults around a time.
func during(events []event, from, to time.Time) string {
	const most = 15
	var lines []string
	for _, e := range events {
		if (e.end.IsZero() || e.end.After(from.Add(-before))) && e.begin.Before(to.Add(after)) {
			lines = append(lines, e.String())
		}
	}
	if more := len(lines) - most; more > 0 {
		lines = append(lines[:most], fmt.Sprintf("and %d more", more))
	}
	if len(lines) == 0 {
		return ""
	}
	return "\n" + indent(strings.Join(lines, "\n"))
}
