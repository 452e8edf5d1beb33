package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/tail"
)

// request says which rows a caller wants. Times are in Unix milliseconds.
type request struct {
	from, to int64
	interval int64 // the step that Grafana suggests, in ms
	live     bool  // the caller also wants a stream of new rows
	// computes is caller.computes. If it is set, maxRows is the largest number of
	// rows, 0 for no limit.
	computes bool
	maxRows  int64
	// asksStep says that the user has chosen the query's minimum step.
	asksStep bool
	zone     string // whose days and hours steps mean, none if it is empty
}

// plan says how a request is answered: either with the settled rows of its range, or
// live, with the newest window of settled rows and a channel.
type plan struct {
	bound  source.Bound
	step   int64 // ms
	window int64 // ms, for which the query is bound
	live   bool
	notice error // why there is no stream, if one was wanted
	coarse error // why the step is much larger than the one that was asked for, nil if it is not
	// calendar has the times of the rows if they are not those of the grid.
	calendar *grid.Calendar
	request
}

// span says which rows are read: those in (first, through]. The answer shows those
// in (after, through]. A range whose start is a grid time includes that row.
type span struct{ first, after, through int64 }

// newPlan decides the step, the window and whether there is a stream. The settled
// time decides the rest, but it depends on step and window: see rows. Every error is
// one that the user can fix.
func newPlan(q source.Query, r request, s settings) (plan, error) {
	if r.from < -channel.MaxTime || r.to > channel.MaxTime {
		return plan{}, errors.New("the time range is out of bounds: choose one that is nearer to now")
	}
	if r.from > r.to {
		return plan{}, errors.New("the time range ends before it begins: choose another one")
	}
	length := r.to - r.from
	least := max(q.MinStep(), s.MinStep)
	p := plan{step: max(r.interval, least), request: r}
	if r.computes {
		p.step = max(p.step, stepFor(length, r.maxRows, least), stepFor(length, s.MaxRows, least))
	}
	var zone *time.Location
	var err error
	if p.step >= time.Hour.Milliseconds() {
		if zone, err = zoneOf(r.zone); err != nil {
			return plan{}, err
		}
		if zone != nil && r.computes {
			p.step = grid.CalendarStep(p.step)
		}
	}
	p.coarse = p.coarser(q, s)
	if r.live && 2*p.step <= length {
		p.window = grid.Window(length, p.step)
		if p.bound, err = q.Bind(p.step, p.window); err != nil {
			return plan{}, err
		}
		why := streamable(p.bound, p.window, nil, s)
		if why == nil && !p.streams(zone) {
			why = followsClocks{zone}
		}
		if why == nil {
			p.live = true
			return p, nil
		}
		p.notice = fmt.Errorf("Shown without a live stream: %w", why)
	}
	p.window = max(length, p.step)
	if p.bound, err = q.Bind(p.step, p.window); err != nil {
		return plan{}, err
	}
	p.inZone(zone)
	return p, nil
}

// coarser returns why the step is much larger than the one that was asked for, nil if it
// is not. The step that Grafana suggests is rounded, which alone may make half as many rows
// as an expression takes.
func (p plan) coarser(q source.Query, s settings) error {
	asked := max(p.interval, q.MinStep(), s.MinStep)
	switch {
	// Only callers that compute get larger steps than they ask for.
	case p.step > 2*asked && p.maxRows > 0 && p.maxRows < s.MaxRows:
		return fmt.Errorf("Rows are %v apart and not %v, because only %d rows were asked for (max data points). Choose a shorter time range for finer rows.",
			ms(p.step), ms(asked), p.maxRows)
	case p.step > 2*asked:
		return fmt.Errorf("Rows are %v apart and not %v, because the data source settings allow %d rows. Choose a shorter time range for finer rows.",
			ms(p.step), ms(asked), s.MaxRows)
	case p.asksStep && q.MinStep() < s.MinStep && p.interval <= s.MinStep:
		return fmt.Errorf("Rows are %v apart and not %v, because the data source settings allow no smaller step.", ms(p.step), ms(q.MinStep()))
	}
	return nil
}

// stepFor returns the smallest multiple of least at which a range has at most this
// many rows. It returns 0 if rows is 0: then there is no limit.
func stepFor(length, rows, least int64) int64 {
	switch {
	case rows <= 0:
		return 0
	case rows == 1:
		return (length/least + 1) * least
	}
	step := (length + rows - 2) / (rows - 1)
	return (step + least - 1) / least * least
}

// rows returns which rows are read if the query is settled up to this time.
func (p plan) rows(settled int64, s settings) (span, error) {
	var r span
	if p.live {
		// The newest window, by the source's clock: the browser's clock may be wrong.
		r.through = grid.Floor(settled, p.step)
		r.after = r.through - p.window - p.step
		// A stream begins with the overlap, so it must know the fields of all its rows.
		r.first = min(r.after, r.through-tail.OverlapLen(p.step)*p.step)
		return r, nil
	}
	r.through = grid.Floor(min(p.to, settled), p.step)
	r.after = min(grid.Floor(p.from-1, p.step), r.through) // equal if no row of the range is settled
	if r.after == r.through && p.takesOlder(settled) {
		r.after -= p.step
	}
	r.first = r.after
	if n := (r.through - r.after) / p.step; n > s.MaxRows {
		return span{}, tooMany(n, s)
	}
	return r, nil
}

// takesOlder reports whether an instant, or a range that ends before its first row is
// settled, has the newest row before.
func (p plan) takesOlder(settled int64) bool {
	lookback := p.bound.Traits().Lookback
	return p.computes && (lookback == 0 || p.to-settled <= lookback)
}

func tooMany(rows int64, s settings) error {
	return invalid{fmt.Errorf("the query has %d rows, more than the %d that the data source settings allow: "+
		"choose a shorter time range, or a larger minimum interval in the query options", rows, s.MaxRows)}
}

// read returns the rows of the plan, and the mark at which they were read.
func (p plan) read(ctx context.Context, s settings) (rows grid.Rows, mark string, err error) {
	began := time.Now()
	settled, err := p.bound.Settled(ctx)
	if err != nil {
		return rows, "", err
	}
	mark, _ = p.bound.Watch() // before the rows: what comes meanwhile counts as later
	if p.calendar != nil {
		rows, err = p.byCalendar(ctx, settled, s)
		return rows, mark, err
	}
	r, err := p.rows(settled, s)
	if err != nil {
		return rows, "", err
	}
	rows, err = p.bound.Rows(ctx, r.first, r.through)
	if err == nil && p.live && time.Since(began) > ms(tail.OverlapLen(p.step)*p.step/2) {
		rows, err = p.catchUp(ctx, rows)
	}
	if err != nil {
		return rows, "", err
	}
	return rows.Newest(int((r.through - r.after) / p.step)), mark, nil
}

// catchUp appends to rows what has settled since they were asked for. A stream
// begins with no more than the overlap, so the rows of a slow query would end before
// those of its stream begin. They stay as they are if there is a new series: the
// stream has it and is ended for that.
func (p plan) catchUp(ctx context.Context, rows grid.Rows) (grid.Rows, error) {
	settled, err := p.bound.Settled(ctx)
	if err != nil {
		return rows, err
	}
	through := grid.Floor(settled, p.step)
	if through <= rows.Through {
		return rows, nil
	}
	newer, err := p.bound.Rows(ctx, rows.Through, through)
	if err != nil {
		return rows, err
	}
	if newer, ok := newer.Onto(rows.Schema()); ok {
		if joined, ok := rows.Append(newer); ok {
			joined.States, joined.Notices, joined.Samples = rows.States, rows.Notices, rows.Samples+newer.Samples
			return joined, nil
		}
	}
	return rows, nil
}

// streamable returns why there can be no stream of a query's rows in a window, nil
// if there can be one. QueryData offers only such streams, and open accepts only
// such streams. fields are the names of the series, nil if they are not known yet.
func streamable(b source.Bound, window int64, fields []string, s settings) error {
	t := b.Traits()
	rows := window/t.Step + 1
	switch least := max(b.Query().MinStep(), s.MinStep); {
	case t.Unsplit != nil:
		return t.Unsplit
	case t.Step < least:
		return fmt.Errorf("the step of %d ms is below the minimum of %d ms. Choose a larger one.", t.Step, least)
	case rows <= 2:
		return fmt.Errorf("the window of %d ms is shorter than two steps. Choose a longer time range.", window)
	case rows > s.MaxRows:
		return fmt.Errorf("it would have %d rows, more than the %d that the data source settings allow. "+
			"Choose a shorter time range, or a larger minimum interval in the query options.", rows, s.MaxRows)
	case int64(len(fields))*tail.OverlapLen(t.Step) > limits.Overlap.Most:
		return fmt.Errorf("%d series are too many for a stream at a step of %d ms. Ask for fewer series, or a larger minimum interval.", len(fields), t.Step)
	}
	seen := make(map[string]bool, len(fields))
	for _, f := range fields {
		if f == "" || seen[f] {
			return fmt.Errorf("%w: field %q is empty or there twice", errDenied, f)
		}
		seen[f] = true
	}
	return nil
}
