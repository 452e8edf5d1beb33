package plugin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
	"github.com/continuum-live/continuum-datasource/pkg/source/promql"
)

func TestPlan(t *testing.T) {
	const now, minute, hour = 1_000_000_000_500, 60_000, 3_600_000
	limits := settings{MinStep: 10, MaxRows: 1000}
	source := promql.Source{Engine: promql.Embedded{}, Interval: time.Second, Lookback: 5 * time.Minute}
	for _, c := range []struct {
		name    string
		expr    string // x if empty
		request request
		settled int64 // now if 0
		// wanted
		step, window int64
		live         bool
		notice       string
		coarse       string
		rows         span
		err          string
	}{
		{name: "plain", request: request{from: now - minute, to: now, interval: 1000},
			step: 1000, window: minute, rows: span{now - 500 - minute, now - 500 - minute, now - 500}},
		{name: "live", request: request{from: now - minute, to: now, interval: 1000, live: true},
			step: 1000, window: minute, live: true, rows: span{now - 1500 - minute, now - 1500 - minute, now - 500}},
		{name: "live by the clock of the source", request: request{from: now - minute, to: now, interval: 1000, live: true}, settled: now + hour,
			step: 1000, window: minute, live: true, rows: span{now - 1500 + hour - minute, now - 1500 + hour - minute, now - 500 + hour}},
		{name: "the window is rounded up", request: request{from: now - 61_000, to: now, interval: 1000, live: true},
			step: 1000, window: 64_000, live: true, rows: span{now - 65_500, now - 65_500, now - 500}},
		{name: "the overlap is longer than the window", request: request{from: now - 5000, to: now, interval: 1000, live: true},
			step: 1000, window: 5000, live: true, rows: span{now - 10_500, now - 6500, now - 500}},
		{name: "the query's minimum step", request: request{from: now - minute, to: now, interval: 1},
			step: 1000, window: minute, rows: span{now - 500 - minute, now - 500 - minute, now - 500}},
		{name: "a step over half the range", request: request{from: now - 1999, to: now, interval: 1000, live: true},
			step: 1000, window: 1999, rows: span{now - 2500, now - 2500, now - 500}},
		{name: "no length", expr: "increase(x[$__range])", request: request{from: now, to: now, interval: 1000, live: true},
			step: 1000, window: 1000, rows: span{now - 500, now - 500, now - 500}},
		{name: "ends before settled", request: request{from: 0, to: minute, interval: 1000},
			step: 1000, window: minute, rows: span{-1000, -1000, minute}},
		{name: "before 1970", request: request{from: -minute - 1, to: -1, interval: 1000},
			step: 1000, window: minute, rows: span{-minute - 1000, -minute - 1000, -1000}},
		{name: "nothing is settled yet", request: request{from: now + minute, to: now + hour, interval: 60_000},
			step: 60_000, window: hour - minute, rows: span{now - 40_500, now - 40_500, now - 40_500}},
		{name: "cannot be split", expr: "x @ end()", request: request{from: now - minute - 1, to: now, interval: 1000, live: true},
			step: 1000, window: minute + 1, notice: "@ start() and @ end()", rows: span{now - 500 - minute, now - 500 - minute, now - 500}},
		{name: "the rounded window has too many rows", request: request{from: now - 1_000_000, to: now, interval: 1000, live: true},
			step: 1000, window: 1_000_000, notice: "it would have 1025 rows", rows: span{now - 1_000_500, now - 1_000_500, now - 500}},
		{name: "too many rows", request: request{from: now - hour, to: now, interval: 1000}, step: 1000, window: hour, err: "the query has 3600 rows"},
		{name: "too many rows, live", request: request{from: now - hour, to: now, interval: 1000, live: true},
			step: 1000, window: hour, notice: "3841 rows", err: "the query has 3600 rows"},
		{name: "a range whose start is a grid time", request: request{from: now - 500 - minute, to: now - 500, interval: 1000},
			step: 1000, window: minute, rows: span{now - 1500 - minute, now - 1500 - minute, now - 500}},
		{name: "an instant, for an alert rule", request: request{from: now, to: now, interval: 1000, computes: true},
			step: 1000, window: 1000, rows: span{now - 1500, now - 1500, now - 500}},
		{name: "an instant at a grid time", request: request{from: now - 500, to: now - 500, interval: 1000, computes: true},
			step: 1000, window: 1000, rows: span{now - 1500, now - 1500, now - 500}},
		{name: "an instant of long ago", request: request{from: now - hour, to: now - hour, interval: 1000, computes: true},
			step: 1000, window: 1000, rows: span{now - hour - 1500, now - hour - 1500, now - hour - 500}},
		{name: "a range that is shorter than the delay", request: request{from: now - 10_000, to: now, interval: 1000, computes: true}, settled: now - 15_500,
			step: 1000, window: 10_000, rows: span{now - 16_500, now - 16_500, now - 15_500}},
		{name: "no more rows than an alert rule takes", request: request{from: now - 15*hour, to: now, interval: 1000, computes: true, maxRows: 500},
			coarse: "Rows are 1m49s apart and not 1s, because only 500 rows", step: 109_000, window: 15 * hour, rows: span{999_945_944_000, 999_945_944_000, 999_999_899_000}},
		{name: "no more rows than the settings allow an alert rule", request: request{from: now - 15*hour, to: now, interval: 1000, computes: true, maxRows: 43_200},
			coarse: "Rows are 55s apart and not 1s, because the data source settings allow 1000 rows", step: 55_000, window: 15 * hour, rows: span{999_945_980_000, 999_945_980_000, 999_999_990_000}},
		{name: "one row for an alert rule", request: request{from: now - minute, to: now, interval: 1000, computes: true, maxRows: 1},
			coarse: "because only 1 row", step: 61_000, window: 61_000, rows: span{999_999_901_000, 999_999_901_000, 999_999_962_000}},
		{name: "an interval that was rounded down", request: request{from: now - hour, to: now, interval: 5000, computes: true, maxRows: 500},
			step: 8000, window: hour, rows: span{999_996_400_000, 999_996_400_000, 1_000_000_000_000}},
		{name: "backwards", request: request{from: 1, to: 0}, err: "ends before it begins"},
		{name: "out of bounds", request: request{from: 0, to: channel.MaxTime + 1}, err: "out of bounds"},
		{name: "longer than PromQL can express", expr: "increase(x[$__range])",
			request: request{from: -channel.MaxTime, to: channel.MaxTime, interval: 1}, err: "shorter than 200 years"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.expr == "" {
				c.expr = "x"
			}
			raw, _ := json.Marshal(map[string]string{"expr": c.expr})
			q, err := source.Query(raw)
			if err != nil {
				t.Fatal(err)
			}
			if c.settled == 0 {
				c.settled = now
			}
			var rows span
			p, err := newPlan(q, c.request, limits)
			if err == nil {
				rows, err = p.rows(c.settled, limits)
			}
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("the error is %v", err)
			}
			if p.step != c.step || p.window != c.window || p.live != c.live || rows != c.rows {
				t.Errorf("step %d, window %d, live %v, rows %v", p.step, p.window, p.live, rows)
			}
			if (p.coarse != nil) != (c.coarse != "") || p.coarse != nil && !strings.Contains(p.coarse.Error(), c.coarse) {
				t.Errorf("coarse is %v", p.coarse)
			}
			if (p.notice != nil) != (c.notice != "") || p.notice != nil && !strings.Contains(p.notice.Error(), c.notice) {
				t.Errorf("the notice is %v", p.notice)
			}
		})
	}
}

// The notice has the step that the rows have, which in a time zone divides a day.
func TestCoarseInZone(t *testing.T) {
	q, err := promql.Source{Engine: promql.Embedded{}, Interval: time.Second}.Query([]byte(`{"expr":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	hour := time.Hour.Milliseconds()
	p, err := newPlan(q, request{to: 400 * hour, interval: hour, computes: true, maxRows: 41, zone: "Europe/Berlin"}, settings{MinStep: 10, MaxRows: 1000})
	if err != nil || p.step != 12*hour {
		t.Fatal(p.step, err)
	}
	if p.coarse == nil || !strings.Contains(p.coarse.Error(), "Rows are 12h0m0s apart and not 1h0m0s, because only 41 rows") {
		t.Errorf("coarse is %v", p.coarse)
	}
}
