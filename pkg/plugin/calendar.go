package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // not every machine has the zones

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// followsClocks is why rows of a time zone's hours or days are not streamed.
type followsClocks struct{ zone *time.Location }

func (f followsClocks) Error() string {
	return fmt.Sprintf("its rows follow the clocks of %s, those of a stream the clocks of UTC.", f.zone)
}

// streamAhead is for how long a stream's grid has to be that of the time zone, in
// milliseconds: a panel may be left open over a change of the clocks.
const streamAhead = 365 * 24 * 60 * 60 * 1000

// zoneOf returns the time zone of a name, nil of none.
func zoneOf(name string) (*time.Location, error) {
	switch {
	case name == "":
		return nil, nil
	case strings.EqualFold(name, "utc"):
		return time.UTC, nil
	case strings.EqualFold(name, "local"): // which would be the server's
		return nil, unknownZone(name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, unknownZone(name)
	}
	return zone, nil
}

func unknownZone(name string) error {
	return fmt.Errorf("the time zone %.60q is not known: use a name such as Europe/Berlin, or UTC", name)
}

// inZone decides whether the rows are those of a time zone's clocks: where they are
// the same as on the grid, the plan stays as it is.
func (p *plan) inZone(zone *time.Location) {
	c := grid.Calendar{Zone: zone, Step: p.step}
	if zone == nil || !grid.HasCalendar(p.step) || c.Uniform(p.from, p.to) {
		return
	}
	if p.bound.Traits().Unsplit != nil {
		p.notice = fmt.Errorf("The rows are those of UTC's clocks and not of %s: @ start() and @ end() depend on the whole time range.", zone)
		return
	}
	p.calendar = &c
}

// streams reports whether the rows that a stream of the plan would have are those of
// a time zone too.
func (p plan) streams(zone *time.Location) bool {
	return zone == nil || !grid.HasCalendar(p.step) || grid.Calendar{Zone: zone, Step: p.step}.Uniform(p.to-p.window, p.to+streamAhead)
}

// byCalendar returns the plan's rows at the times of its calendar, when the query is
// settled up to a time. Rows of the same length are asked for together, by the query
// bound to that length, so that a day of 25 hours is made of 25 hours.
func (p plan) byCalendar(ctx context.Context, settled int64, s settings) (grid.Rows, error) {
	from, to := p.from, min(p.to, settled)
	if n := (to - from) / p.step; n > s.MaxRows {
		return grid.Rows{}, tooMany(n, s)
	}
	// Two times more than there are rows: the first row begins at one, and an older
	// row, which some callers get, at the other.
	older := p.calendar.Before(min(from, to+1))
	times := slices.Concat([]int64{p.calendar.Before(older), older}, p.calendar.Times(from, to))
	if n := int64(len(times) - 2); n > s.MaxRows {
		return grid.Rows{}, tooMany(n, s)
	}
	length := func(i int) int64 { return times[i] - times[i-1] }

	type query struct {
		source.Bound
		settled int64
	}
	queries := make(map[int64]query) // by length
	for i := 1; i < len(times); i++ {
		l := length(i)
		if _, ok := queries[l]; ok {
			continue
		}
		b, err := p.bound.Query().Bind(l, max(p.window, l))
		if err != nil {
			return grid.Rows{}, invalid{err}
		}
		settled, err := b.Settled(ctx)
		if err != nil {
			return grid.Rows{}, err
		}
		queries[l] = query{b, settled}
	}
	final := func(i int) bool { return times[i] <= queries[length(i)].settled }

	begin, end := 1, 1 // the rows are those after begin up to end
	for end+1 < len(times) && final(end+1) {
		end++
	}
	switch {
	case end == 1 && p.takesOlder(settled) && final(1):
		begin = 0
	case p.computes && p.maxRows > 0:
		begin = max(begin, end-int(p.maxRows))
	}
	if begin == end { // the fields are those of the row before
		rows, err := p.bound.Rows(ctx, older, older)
		return grid.Join(p.step, []grid.Rows{rows}), err
	}
	var ranges []grid.Rows
	for begin < end {
		next := begin + 1
		for next < end && length(next+1) == length(next) {
			next++
		}
		rows, err := queries[length(next)].Rows(ctx, times[begin], times[next])
		if err != nil {
			return grid.Rows{}, err
		}
		ranges = append(ranges, rows)
		begin = next
	}
	return grid.Join(p.step, ranges), nil
}
