package grid

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// The times are those of public calendars: when clocks change, and by how much, is
// known for each of the zones.
func TestCalendarTimes(t *testing.T) {
	const form = "2006-01-02T15:04"
	for _, c := range []struct {
		name, zone string
		step       int64
		from, to   string // on the zone's clocks
		want       string // on UTC's
	}{
		{"the change of October", "Europe/Berlin", day, "2025-10-25T00:00", "2025-10-28T00:00",
			"2025-10-24T22:00 2025-10-25T22:00 2025-10-26T23:00 2025-10-27T23:00"},
		{"the change of March", "Europe/Berlin", day, "2025-03-29T00:00", "2025-03-31T12:00",
			"2025-03-28T23:00 2025-03-29T23:00 2025-03-30T22:00"},
		{"all hours of a day of 25", "Europe/Berlin", hour, "2025-10-26T01:00", "2025-10-26T04:00",
			"2025-10-25T23:00 2025-10-26T00:00 2025-10-26T01:00 2025-10-26T02:00 2025-10-26T03:00"},
		{"all hours of a day of 23", "Europe/Berlin", hour, "2025-03-30T00:00", "2025-03-30T04:00",
			"2025-03-29T23:00 2025-03-30T00:00 2025-03-30T01:00 2025-03-30T02:00"},
		{"a quarter of 7 hours", "Europe/Berlin", 6 * hour, "2025-10-26T00:00", "2025-10-26T12:00",
			"2025-10-25T22:00 2025-10-26T05:00 2025-10-26T11:00"},
		{"a quarter of 5 hours", "Europe/Berlin", 6 * hour, "2025-03-30T00:00", "2025-03-30T12:00",
			"2025-03-29T23:00 2025-03-30T04:00 2025-03-30T10:00"},
		{"no hour alone when clocks are set back", "Europe/Berlin", 2 * hour, "2025-10-26T00:00", "2025-10-26T06:00",
			"2025-10-25T22:00 2025-10-26T00:00 2025-10-26T03:00 2025-10-26T05:00"},
		{"weeks begin on Monday", "Europe/Berlin", week, "2025-10-19T00:00", "2025-11-04T00:00",
			"2025-10-19T22:00 2025-10-26T23:00 2025-11-02T23:00"},
		{"two weeks", "UTC", 2 * week, "2025-10-19T00:00", "2025-11-10T00:00", "2025-10-27T00:00 2025-11-10T00:00"},
		{"half an hour off", "Asia/Kolkata", day, "2025-01-01T00:00", "2025-01-02T00:00", "2024-12-31T18:30 2025-01-01T18:30"},
		{"hours, half an hour off", "Asia/Kolkata", hour, "2025-01-01T00:00", "2025-01-01T02:00",
			"2024-12-31T18:30 2024-12-31T19:30 2024-12-31T20:30"},
		{"a quarter of an hour off", "Asia/Kathmandu", day, "2025-01-01T00:00", "2025-01-02T00:00", "2024-12-31T18:15 2025-01-01T18:15"},
		{"there is no midnight", "America/Sao_Paulo", day, "2018-11-03T00:00", "2018-11-05T00:00",
			"2018-11-03T03:00 2018-11-04T03:00 2018-11-05T02:00"},
		{"quarters of a day without midnight", "America/Sao_Paulo", 6 * hour, "2018-11-03T18:00", "2018-11-04T12:00",
			"2018-11-03T21:00 2018-11-04T03:00 2018-11-04T08:00 2018-11-04T14:00"},
		{"midnight is not reached at first", "America/Sao_Paulo", day, "2018-02-17T00:00", "2018-02-19T00:00",
			"2018-02-17T02:00 2018-02-18T03:00 2018-02-19T03:00"},
		{"midnight comes twice", "America/Havana", day, "2025-11-01T00:00", "2025-11-03T00:00",
			"2025-11-01T04:00 2025-11-02T04:00 2025-11-03T05:00"},
		{"midnight is just over", "America/St_Johns", day, "2006-10-28T00:00", "2006-10-30T00:00",
			"2006-10-28T02:30 2006-10-29T02:30 2006-10-30T03:30"},
		{"a day is left out", "Pacific/Apia", day, "2011-12-29T00:00", "2012-01-01T00:00",
			"2011-12-29T10:00 2011-12-30T10:00 2011-12-31T10:00"},
		{"half an hour is left out", "Australia/Lord_Howe", hour, "2025-10-05T01:00", "2025-10-05T04:00",
			"2025-10-04T14:30 2025-10-04T15:30 2025-10-04T16:00 2025-10-04T17:00"},
		{"half an hour comes twice", "Australia/Lord_Howe", hour, "2025-04-06T01:00", "2025-04-06T04:00",
			"2025-04-05T14:00 2025-04-05T15:30 2025-04-05T16:30 2025-04-05T17:30"},
		{"before 1970", "Europe/Berlin", day, "1945-05-23T00:00", "1945-05-26T00:00",
			"1945-05-22T22:00 1945-05-23T22:00 1945-05-24T21:00 1945-05-25T21:00"},
		{"in fifty years", "Europe/Berlin", day, "2075-10-27T00:00", "2075-10-29T00:00",
			"2075-10-26T22:00 2075-10-27T23:00 2075-10-28T23:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			loc := zone(t, c.zone)
			from, err := time.ParseInLocation(form, c.from, loc)
			if err != nil {
				t.Fatal(err)
			}
			to, err := time.ParseInLocation(form, c.to, loc)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, at := range (Calendar{loc, c.step}).Times(from.UnixMilli(), to.UnixMilli()) {
				got = append(got, time.UnixMilli(at).UTC().Format(form))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

// Whatever the zone, the step and the range: the times are the same for all ranges
// that have them, and rows cover time without a gap, none of them for much more than
// a step.
func TestCalendarTimesDoNotDependOnTheRange(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	begin := time.Date(2005, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for _, name := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Havana", "Australia/Lord_Howe",
		"Pacific/Apia", "Asia/Kathmandu", "America/St_Johns", "Africa/Casablanca", "Antarctica/Troll"} {
		for _, step := range []int64{hour, 90 * 60_000, 2 * hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, week, 30 * day} {
			c := Calendar{zone(t, name), step}
			all := c.Times(begin, begin+2000*day)
			for i := 1; i < len(all); i++ {
				if length := all[i] - all[i-1]; length <= 0 || length > step+25*hour {
					t.Fatalf("%s, %d: a row of %d ms ends at %d", name, step, length, all[i])
				}
			}
			for range 50 {
				i := rng.IntN(len(all) - 1)
				j := min(len(all), i+1+rng.IntN(10))
				from, to := all[i]-rng.Int64N(2), all[j-1]
				if i == 0 {
					from = all[0]
				}
				if got := c.Times(from, to); !slices.Equal(got, all[i:j]) {
					t.Fatalf("%s, %d: in [%d, %d] there are %v, not %v", name, step, from, to, got, all[i:j])
				}
				if got := c.Before(all[j-1] + 1); got != all[j-1] {
					t.Fatalf("%s, %d: before %d is %d, not %d", name, step, all[j-1]+1, got, all[j-1])
				}
			}
		}
	}
}

func TestCalendarIsUniform(t *testing.T) {
	at := func(text string) int64 {
		parsed, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed.UnixMilli()
	}
	for _, c := range []struct {
		zone     string
		step     int64
		from, to string
		want     bool
	}{
		{"UTC", day, "2025-01-01", "2026-01-01", true},
		{"UTC", week, "2025-01-01", "2026-01-01", false},
		{"Europe/Berlin", hour, "2025-01-01", "2026-01-01", true},
		{"Europe/Berlin", 2 * hour, "2025-07-01", "2025-08-01", true},
		{"Europe/Berlin", 2 * hour, "2025-01-01", "2026-01-01", false},
		{"Europe/Berlin", day, "2025-01-01", "2026-01-01", false},
		{"Europe/London", day, "2025-01-01", "2025-03-01", true},
		{"Europe/London", day, "2025-01-01", "2025-04-01", false},
		{"Asia/Kolkata", hour, "2025-01-01", "2025-01-02", false},
		{"Asia/Riyadh", 3 * hour, "2025-01-01", "2026-01-01", true},
	} {
		calendar := Calendar{zone(t, c.zone), c.step}
		from, to := at(c.from), at(c.to)
		if got := calendar.Uniform(from, to); got != c.want {
			t.Errorf("%s, %d from %s to %s: %v", c.zone, c.step, c.from, c.to, got)
		}
		var grid []int64
		for t := -Floor(-from, c.step); t <= to; t += c.step {
			grid = append(grid, t)
		}
		if same := slices.Equal(grid, calendar.Times(from, to)); same != c.want {
			t.Errorf("%s, %d from %s to %s: the times are those of the grid: %v", c.zone, c.step, c.from, c.to, same)
		}
	}
}

func TestCalendarStep(t *testing.T) {
	const minute = 60_000
	for step, want := range map[int64]int64{
		hour: hour, hour + 1: 2 * hour, 90 * minute: 90 * minute, 100 * minute: 2 * hour, 5 * hour: 6 * hour,
		7 * hour: 8 * hour, 13 * hour: day, day: day, day + 1: 2 * day, 10 * day: 10 * day,
	} {
		if got := CalendarStep(step); got != want || !HasCalendar(got) {
			t.Errorf("from %v: %v", time.Duration(step)*time.Millisecond, time.Duration(got)*time.Millisecond)
		}
	}
	for _, step := range []int64{1, 1000, 30 * minute, hour - 1, hour + 1, 5 * hour, 36 * hour, day - 1} {
		if HasCalendar(step) {
			t.Errorf("%v has a calendar", time.Duration(step)*time.Millisecond)
		}
	}
}

func BenchmarkCalendarTimes(b *testing.B) {
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		b.Fatal(err)
	}
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, loc).UnixMilli()
	for _, days := range []int64{7, 365} {
		b.Run(fmt.Sprintf("%d days", days), func(b *testing.B) {
			for b.Loop() {
				Calendar{loc, day}.Times(from, from+days*day)
			}
		})
	}
}
