package grid

import (
	"math"
	"time"
)

const (
	hour = 60 * 60 * 1000
	day  = 24 * hour
	week = 7 * day
)

// Calendar is the grid of a time zone: its times are those at which the zone's
// clocks reach a multiple of the step. They follow daylight saving, so that not all
// of them are a step apart: a day may have 23 or 25 hours.
//
//   - Steps of whole days give midnights, those of whole weeks such of Mondays. Where
//     midnight does not exist, the day begins when the clocks are set forward.
//   - Steps that divide a day count from midnight. Where the clocks are set back,
//     times that they show again count again only if they are set back by a whole
//     step or more: a day has 25 hours, but of its quarters one has 7.
//   - A day that a zone leaves out has no time.
type Calendar struct {
	Zone *time.Location
	Step int64 // ms, which HasCalendar
}

// HasCalendar reports whether a step means whole days, or parts of a day from an
// hour on. Others mean the same everywhere.
func HasCalendar(step int64) bool {
	return step >= hour && (step%day == 0 || day%step == 0)
}

// CalendarStep returns the shortest step of a calendar that is not shorter than the
// given one, which is an hour or more.
func CalendarStep(step int64) int64 {
	if HasCalendar(step) {
		return step
	}
	for n := int64(1); n <= 24; n++ {
		if HasCalendar(n*hour) && n*hour >= step {
			return n * hour
		}
	}
	return -Floor(-step, day)
}

// monday is the first Monday of 1970, by which weeks are counted.
const monday = 4 * day

// phase is a time on the clock from which multiples of the step count.
func (c Calendar) phase() int64 {
	if c.Step%week == 0 {
		return monday
	}
	return 0
}

// period is a time in which a zone has one offset from UTC. All are in milliseconds.
type period struct {
	start, end int64 // end is the first time after it
	offset     int64
	before     int64 // the offset before it
}

// at returns the period that a time is in.
func (c Calendar) at(t int64) period {
	at := time.UnixMilli(t).In(c.Zone)
	start, end := at.ZoneBounds()
	p := period{start: math.MinInt64 / 2, end: math.MaxInt64 / 2, offset: offsetAt(at)}
	p.before = p.offset
	if !start.IsZero() {
		p.start = start.UnixMilli()
		p.before = offsetAt(start.Add(-time.Millisecond))
	}
	if !end.IsZero() {
		p.end = end.UnixMilli()
	}
	return p
}

func offsetAt(t time.Time) int64 {
	_, seconds := t.Zone()
	return int64(seconds) * 1000
}

// Uniform reports whether the calendar's times in [from, to] are those of the grid
// without a zone.
func (c Calendar) Uniform(from, to int64) bool {
	for t := from - c.Step; t <= to; {
		p := c.at(t)
		jumps := p.start > from-c.Step && p.offset > p.before
		if (p.offset-c.phase())%c.Step != 0 || jumps && p.start%c.Step != 0 {
			return false
		}
		t = p.end
	}
	return true
}

// Times returns the calendar's times in [from, to], in order. Each is a function of
// the calendar alone, whatever the range.
func (c Calendar) Times(from, to int64) []int64 {
	var times []int64
	for t := from; t <= to; {
		p := c.at(t)
		first := p.start
		switch back := p.before - p.offset; {
		case back < 0: // the clocks are set forward, perhaps to or over a multiple
			if reached := Floor(p.start+p.offset-c.phase(), c.Step); reached >= p.start+p.before-c.phase() {
				if p.start >= from {
					times = append(times, p.start)
				}
				first++
			}
		case back < c.Step: // what the clocks show again does not count again
			first += back
		}
		ahead := p.offset - c.phase()
		for at := -Floor(-(max(first, from)+ahead), c.Step) - ahead; at < p.end && at <= to; at += c.Step {
			times = append(times, at)
		}
		t = p.end
	}
	return times
}

// Before returns the calendar's last time before t.
func (c Calendar) Before(t int64) int64 {
	times := c.Times(t-c.Step-3*day, t-1) // clocks are never set by so much
	return times[len(times)-1]
}
