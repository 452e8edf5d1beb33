package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// The recording rule of the data source counts what a sender has recorded.
const (
	ruleEvery  = 5 * time.Second
	ruleRecord = "n:count"
	ruleExpr   = "sum by (sender) (count_over_time(n%s[5s]))" // of a selector's braces
)

// rules is the text of the rule in the settings.
func rules() string {
	return fmt.Sprintf("groups:\n- name: torture\n  interval: %v\n  rules:\n  - record: %q\n    expr: %s\n", ruleEvery, ruleRecord, fmt.Sprintf(ruleExpr, ""))
}

// derived: at each of its times a recording rule has recorded what its expression
// gives.
type derived struct {
	sender          string
	wrong, of       int
	at              time.Time // the first time
	recorded, given string
	during          string
}

func (v derived) Error() string {
	if v.of == 0 {
		return fmt.Sprintf("Derived: %s: a rule has recorded nothing", v.sender)
	}
	return fmt.Sprintf("Derived: %s: %d of %d values of a rule are not what its expression gives, the first at %s: recorded is %s, and it gives %s%s",
		v.sender, v.wrong, v.of, clock(v.at), v.recorded, v.given, v.during)
}

// derive compares what the rule has recorded of a sender with what its expression gives,
// after a time and up to another.
func derive(ctx context.Context, ask asker, sender string, from, to time.Time, events []event) (values, wrong int, err error) {
	braces := fmt.Sprintf("{sender=%q}", sender)
	recorded, err := cells(ctx, ask, ruleRecord+braces, from, to, ruleEvery)
	if err != nil {
		return 0, 0, err
	}
	given, err := cells(ctx, ask, fmt.Sprintf(ruleExpr, braces), from, to, ruleEvery)
	if err != nil {
		return 0, 0, err
	}
	all := maps.Clone(given)
	maps.Copy(all, recorded)
	v := derived{sender: sender, of: len(all)}
	text := func(of map[cell]float64, c cell) string {
		if n, ok := of[c]; ok {
			return fmt.Sprint(n)
		}
		return "nothing"
	}
	for _, c := range slices.SortedFunc(maps.Keys(all), func(a, b cell) int { return cmp.Compare(a.t, b.t) }) {
		if text(recorded, c) == text(given, c) {
			continue
		}
		if v.wrong++; v.wrong == 1 {
			v.at, v.recorded, v.given = time.UnixMilli(c.t), text(recorded, c), text(given, c)
			v.during = during(events, v.at.Add(-ruleEvery), v.at)
		}
	}
	switch {
	case v.of == 0:
		return 0, 1, v
	case v.wrong > 0:
		return v.of, v.wrong, v
	}
	return v.of, 0, nil
}
