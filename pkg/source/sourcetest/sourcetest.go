package sourcetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// Subject is a source and the query with which it is tested.
type Subject struct {
	Source source.Source
	Query  json.RawMessage
	// Steps are the steps in milliseconds, nil for the query's smallest.
	Steps []int64
	// Rows is the number of requested rows, the last one at the settled time; 0
	// means 200. The series must not change among them.
	Rows int64
	// Between, if set, is called between two requests for the same rows: it may let
	// time pass, write new samples or reopen the store.
	Between func()
	// Refused are queries whose rows cannot all be numbers. Each must give an error.
	Refused []json.RawMessage
	// Alike, if set, returns a query that has the same rows as Query in a range whose
	// first and last row are at the given times: one with those times in place of what
	// stands for them.
	Alike func(first, last int64) json.RawMessage
	// Outlier, if set, makes the next answer by which the source learns the time that
	// of a replica whose clock is off by so much.
	Outlier func(off time.Duration)
	// Seed decides the splits, 0 for a random one. Errors print it.
	Seed uint64
	// Except names the guarantees that the source does not give, with the reason.
	// They are not tested.
	Except map[string]string

	records map[int64]records // by step
}

// records are a range that was requested at once, and in parts as history and tail do.
type records struct{ whole, parts Record }

// Run tests the guarantees, each in a subtest of its name.
func Run(t *testing.T, s Subject) {
	t.Helper()
	s = s.complete()
	for _, g := range guarantees {
		t.Run(g.name, func(t *testing.T) {
			if reason, ok := s.Except[g.name]; ok {
				t.Skip(reason)
			}
			if err := g.test(t.Context(), s); err != nil {
				t.Errorf("seed %d: %v", s.Seed, err)
			}
		})
	}
}

// Verify tests the same as [Run], but without subtests, for example within
// testing/synctest. It returns an error for each broken guarantee.
func Verify(ctx context.Context, s Subject) error {
	s = s.complete()
	var errs []error
	for _, g := range guarantees {
		if _, ok := s.Except[g.name]; ok {
			continue
		}
		if err := g.test(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("%s, seed %d: %w", g.name, s.Seed, err))
		}
	}
	return errors.Join(errs...)
}

func (s Subject) complete() Subject {
	if s.Rows == 0 {
		s.Rows = 200
	}
	if s.Between == nil {
		s.Between = func() {}
	}
	for s.Seed == 0 {
		s.Seed = rand.Uint64()
	}
	s.records = make(map[int64]records)
	return s
}

type guarantee struct {
	name   string
	verify func(context.Context, Subject) error
}

// test verifies a guarantee. A panic of the source breaks Honest: it should be an
// error.
func (g guarantee) test(ctx context.Context, s Subject) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: a panic: %v\n%s", ErrHonest, p, debug.Stack())
		}
	}()
	return g.verify(ctx, s)
}

var guarantees = []guarantee{
	{"Bound", each(bound)},
	{"Ordered", shown(Record.Ordered)},
	{"Unique", shown(Record.Unique)},
	{"Dense", shown(Record.Dense)},
	{"OnGrid", shown(Record.OnGrid)},
	{"SplitInvariant", each(splitInvariant)},
	{"Settled", each(settled)},
	{"Honest", each(honest)},
}

// asked is a query and a range up to the settled time.
type asked struct {
	Subject
	query                source.Query
	bound                source.Bound
	step, after, through int64
	rng                  *rand.Rand
}

// each runs a test at every step.
func each(test func(context.Context, asked) error) func(context.Context, Subject) error {
	return func(ctx context.Context, s Subject) error {
		q, err := s.Source.Query(s.Query)
		if err != nil {
			return fmt.Errorf("the source refuses Subject.Query %s: %w", s.Query, err)
		}
		steps := s.Steps
		if steps == nil {
			steps = []int64{q.MinStep()}
		}
		for _, step := range steps {
			b, err := q.Bind(step, s.window(step))
			if err != nil {
				return err
			}
			now, err := b.Settled(ctx)
			if err != nil {
				return err
			}
			a := asked{Subject: s, query: q, bound: b, step: step, through: grid.Floor(now, step), rng: rand.New(rand.NewPCG(s.Seed, uint64(step)))}
			a.after = a.through - s.Rows*step
			if err := test(ctx, a); err != nil {
				return fmt.Errorf("step %d: %w", step, err)
			}
		}
		return nil
	}
}

// window returns the length of the window to bind.
func (s Subject) window(step int64) int64 { return s.Rows * step }

// bound checks the statements of a bound query.
func bound(ctx context.Context, a asked) error {
	traits, window := a.bound.Traits(), a.window(a.step)
	switch {
	case !bytes.Equal(a.bound.Query().JSON(), a.query.JSON()):
		return fmt.Errorf("%w: %s became %s", ErrBound, a.query.JSON(), a.bound.Query().JSON())
	case traits.Step != a.step:
		return fmt.Errorf("%w: the step is %d and not %d", ErrBound, traits.Step, a.step)
	case traits.Window != 0 && traits.Window != window:
		return fmt.Errorf("%w: the window is %d and neither %d nor 0", ErrBound, traits.Window, window)
	case traits.Window != 0, traits.Revised:
		return nil
	}
	other, err := a.query.Bind(a.step, window+a.step)
	if err != nil {
		return err
	}
	ours, err := a.whole(ctx, a.bound)
	if err != nil {
		return err
	}
	theirs, err := a.whole(ctx, other)
	if err != nil {
		return err
	}
	if err := ours.Same(theirs); err != nil {
		return fmt.Errorf("%w: the rows depend on the window and Traits.Window is 0: set it to the window, if they must: %w", ErrBound, err)
	}
	return nil
}

// shown runs a check on the frames of the range. All such checks look at the same
// frames, which are requested once for each step.
func shown(check func(Record) error) func(context.Context, Subject) error {
	return each(func(ctx context.Context, a asked) error {
		r, ok := a.records[a.step]
		if !ok {
			var err error
			if r.whole, err = a.whole(ctx, a.bound); err != nil {
				return err
			}
			cuts := a.cuts()
			if r.parts, err = a.parts(ctx, cuts, inOrder(len(cuts)-1)); err != nil {
				return err
			}
			a.records[a.step] = r
		}
		return errors.Join(check(r.whole), check(r.parts))
	})
}

// splits is how many splits of a range are tested, on the grid and beside it.
const splits = 4

// splitInvariant splits a range of the grid, and one beside it: the rows of a time
// zone's days are not multiples of the step.
func splitInvariant(ctx context.Context, a asked) error {
	const second = 1000
	beside := a
	if a.step > second { // clocks are set by whole seconds
		phase := second * (1 + a.rng.Int64N((a.step-1)/second))
		beside.after, beside.through = a.after-phase, a.through-phase
	}
	return errors.Join(a.split(ctx), beside.split(ctx))
}

func (a asked) split(ctx context.Context) error {
	whole, err := a.whole(ctx, a.bound)
	if err != nil {
		return err
	}
	for i := range splits {
		cuts := a.cuts()
		order := inOrder(len(cuts) - 1)
		if i > 0 { // the order of the requests must not matter either
			order = a.rng.Perm(len(cuts) - 1)
		}
		parts, err := a.parts(ctx, cuts, order)
		if err != nil {
			return err
		}
		if err := SplitInvariant(whole, parts); err != nil {
			return err
		}
	}
	return nil
}

// settled requests the rows again, also with a second instance of the query, as
// another process would have: it is made from the query's own JSON.
func settled(ctx context.Context, a asked) error {
	first, err := a.whole(ctx, a.bound)
	if err != nil {
		return err
	}
	a.Between()
	again, err := a.whole(ctx, a.bound)
	if err != nil {
		return err
	}
	if err := Settled(first, again); err != nil {
		return err
	}
	other, err := a.Source.Query(a.query.JSON())
	if err != nil {
		return fmt.Errorf("%w: the query's own JSON is refused: %w", ErrSettled, err)
	}
	if !bytes.Equal(other.JSON(), a.query.JSON()) {
		return fmt.Errorf("%w: the query made of %s has the JSON %s", ErrSettled, a.query.JSON(), other.JSON())
	}
	if other.String() != a.query.String() || other.MinStep() != a.query.MinStep() {
		return fmt.Errorf("%w: the query made of %s is %q with a step of at least %d, and not %q with %d", ErrSettled,
			a.query.JSON(), other, other.MinStep(), a.query, a.query.MinStep())
	}
	rebound, err := other.Bind(a.step, a.window(a.step))
	if err != nil {
		return err
	}
	again, err = a.whole(ctx, rebound)
	if err != nil {
		return err
	}
	return Settled(first, again)
}

func honest(ctx context.Context, a asked) error {
	before, err := a.bound.Settled(ctx)
	if err != nil {
		return err
	}

	for _, raw := range a.Refused {
		if err := a.refused(ctx, raw); err != nil {
			return err
		}
	}

	if err := a.alike(ctx); err != nil {
		return err
	}
	if err := a.outliers(ctx); err != nil {
		return err
	}

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if rows, err := a.bound.Rows(cancelled, a.after, a.through); err == nil {
		return fmt.Errorf("%w: Rows with a context that has ended gave %d rows and no error: return the error of the context", ErrHonest, rows.Len())
	}

	// One more row may settle meanwhile; one of the next day cannot.
	const day = 24 * 60 * 60 * 1000
	for _, r := range []struct {
		what           string
		after, through int64
	}{
		{"that goes one row beyond", a.after, grid.Floor(before, a.step) + a.step},
		{"that goes a day beyond", a.after, grid.Floor(before+day, a.step) + a.step},
		{"that begins beyond", grid.Floor(before+day, a.step), grid.Floor(before+day, a.step) + a.step},
	} {
		rows, err := a.bound.Rows(ctx, r.after, r.through)
		if errors.Is(err, source.ErrNotSettled) {
			continue
		}
		now, settledErr := a.bound.Settled(ctx)
		if settledErr != nil {
			return settledErr
		}
		if r.through <= now && err == nil {
			continue
		}
		return fmt.Errorf("%w: the range (%d, %d] %s the settled time %d got %d rows and the error %v, not ErrNotSettled",
			ErrHonest, r.after, r.through, r.what, now, rows.Len(), err)
	}

	for range 2 {
		now, err := a.bound.Settled(ctx)
		if err != nil {
			return err
		}
		if now < before {
			return fmt.Errorf("%w: the settled time went back from %d to %d", ErrHonest, before, now)
		}
		before = now
		a.Between()
	}
	return nil
}

// alike asks the other query for the same rows.
func (a asked) alike(ctx context.Context) error {
	if a.Alike == nil {
		return nil
	}
	ours, err := a.whole(ctx, a.bound)
	if err != nil {
		return err
	}
	raw := a.Alike(a.after+a.step, a.through)
	q, err := a.Source.Query(raw)
	if err != nil {
		return err
	}
	b, err := q.Bind(a.step, a.window(a.step))
	if err != nil {
		return err
	}
	theirs, err := a.whole(ctx, b)
	if err != nil {
		return err
	}
	if err := ours.Same(theirs); err != nil {
		return fmt.Errorf("%w: %s and %s have other rows: %w", ErrHonest, a.query.JSON(), raw, err)
	}
	return nil
}

// outliers: a single answer of a clock that is wrong moves the settled time neither
// back nor much further than time went on.
func (a asked) outliers(ctx context.Context) error {
	if a.Outlier == nil {
		return nil
	}
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		began := time.Now()
		before, err := a.bound.Settled(ctx)
		if err != nil {
			return err
		}
		a.Outlier(off)
		for range 2 {
			a.Between()
			settled, err := a.bound.Settled(ctx)
			if err != nil {
				return fmt.Errorf("%w: after an answer that was %v off: %w", ErrHonest, off, err)
			}
			most := before + time.Since(began).Milliseconds() + time.Minute.Milliseconds()
			if settled < before || settled > most {
				return fmt.Errorf("%w: after an answer that was %v off the settled time went from %d to %d", ErrHonest, off, before, settled)
			}
		}
	}
	return nil
}

// refused returns an error unless the source returns one for a query without valid
// rows.
func (a asked) refused(ctx context.Context, raw json.RawMessage) error {
	rows, err := func() (grid.Rows, error) {
		q, err := a.Source.Query(raw)
		if err != nil {
			return grid.Rows{}, err
		}
		b, err := q.Bind(a.step, a.window(a.step))
		if err != nil {
			return grid.Rows{}, err
		}
		return b.Rows(ctx, a.after, a.through)
	}()
	if err == nil || errors.Is(err, source.ErrNotSettled) {
		return fmt.Errorf("%w: %s cannot be answered, and got %d series and the error %v", ErrHonest, raw, len(rows.Series), err)
	}
	return nil
}

// whole requests the range at once.
func (a asked) whole(ctx context.Context, b source.Bound) (Record, error) {
	f, err := ask(ctx, b, a.after, a.through)
	return Record{a.step, a.after, a.through, []*data.Frame{f}}, err
}

// parts requests the range in parts, in the given order, and returns them in the
// order of time.
func (a asked) parts(ctx context.Context, cuts []int64, order []int) (Record, error) {
	frames := make([]*data.Frame, len(order))
	for _, i := range order {
		var err error
		if frames[i], err = ask(ctx, a.bound, cuts[i], cuts[i+1]); err != nil {
			return Record{}, err
		}
	}
	return Record{a.step, a.after, a.through, frames}, nil
}

// cuts splits the range at random: first an empty part and a single row, then a
// third each of empty parts, single rows, and up to a quarter of what is left.
func (a asked) cuts() []int64 {
	at := a.after + a.step
	cuts := []int64{a.after, a.after, at}
	for at < a.through {
		switch left := (a.through - at) / a.step; a.rng.IntN(3) {
		case 0:
		case 1:
			at += a.step
		default:
			at += (1 + a.rng.Int64N(left/4+1)) * a.step
		}
		at = min(at, a.through)
		cuts = append(cuts, at)
	}
	return cuts
}

func inOrder(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

// ask returns rows as a frame, and then changes them, as callers may.
func ask(ctx context.Context, b source.Bound, after, through int64) (*data.Frame, error) {
	rows, err := b.Rows(ctx, after, through)
	if err != nil {
		return nil, fmt.Errorf("(%d, %d]: %w", after, through, err)
	}
	if rows.Step <= 0 || rows.Through < rows.After {
		return nil, fmt.Errorf("%w: the answer is (%d, %d] at a step of %d", ErrOnGrid, rows.After, rows.Through, rows.Step)
	}
	frame := rows.Frame()
	for i := range rows.Series { // callers set these, and this must not affect later answers
		rows.Series[i].Display = strconv.FormatUint(rand.Uint64(), 36)
	}
	return frame, nil
}
