// Package sourcetest checks the promises of package source, each by its name: Bound,
// Ordered, Unique, Dense, OnGrid, SplitInvariant, Settled and Honest.
//
// [Run] is the conformance suite that every source must pass. The checks of a
// [Record] are pure functions over frames, so other tests can apply them to the
// frames that they got, for example those on a screen.
package sourcetest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// The guarantees. Every error of a check wraps one of these.
var (
	ErrBound          = errors.New("not Bound")
	ErrOrdered        = errors.New("not Ordered")
	ErrUnique         = errors.New("not Unique")
	ErrDense          = errors.New("not Dense")
	ErrOnGrid         = errors.New("not OnGrid")
	ErrSplitInvariant = errors.New("not SplitInvariant")
	ErrSettled        = errors.New("not Settled")
	ErrHonest         = errors.New("not Honest")
)

// Record has the frames for the grid times in (After, Through]: one frame, or
// several in the order in which they came, history first. The first field of each is
// the time.
type Record struct {
	Step, After, Through int64 // ms
	Frames               []*data.Frame
}

// Check returns nil if the record is Ordered, Unique, Dense and OnGrid, otherwise an
// error for each broken guarantee.
func (r Record) Check() error {
	return errors.Join(r.Ordered(), r.Unique(), r.Dense(), r.OnGrid())
}

// Ordered: no row is older than the one before it.
func (r Record) Ordered() error {
	last := int64(math.MinInt64)
	for _, f := range r.Frames {
		for i := range f.Rows() {
			t, _ := timeOf(f, i)
			if t < last {
				return fmt.Errorf("%w: row %d comes after row %d", ErrOrdered, t, last)
			}
			last = t
		}
	}
	return nil
}

// Unique: no time has two rows, and no frame two fields of one name.
func (r Record) Unique() error {
	seen := make(map[int64]bool)
	for _, f := range r.Frames {
		for i := range f.Rows() {
			t, _ := timeOf(f, i)
			if seen[t] {
				return fmt.Errorf("%w: row %d is there twice", ErrUnique, t)
			}
			seen[t] = true
		}
		names := make(map[string]bool)
		for _, field := range f.Fields {
			if names[field.Name] {
				return fmt.Errorf("%w: field %q is there twice", ErrUnique, field.Name)
			}
			names[field.Name] = true
		}
	}
	return nil
}

// Dense: each grid time of the range has a row, and each row a value or null in
// every field.
func (r Record) Dense() error {
	seen := make(map[int64]bool)
	for _, f := range r.Frames {
		if _, err := f.RowLen(); err != nil {
			return fmt.Errorf("%w: %w", ErrDense, err)
		}
		for i := range f.Rows() {
			t, _ := timeOf(f, i)
			seen[t] = true
		}
	}
	for t := r.After + r.Step; t <= r.Through; t += r.Step {
		if !seen[t] {
			return fmt.Errorf("%w: row %d is missing from (%d, %d] at a step of %d", ErrDense, t, r.After, r.Through, r.Step)
		}
	}
	return nil
}

// OnGrid: each row's time is a grid time of the range, and the interval of the time
// field, if it has one, is the step.
func (r Record) OnGrid() error {
	for _, f := range r.Frames {
		for i := range f.Rows() {
			t, exact := timeOf(f, i)
			switch {
			case !exact:
				return fmt.Errorf("%w: the time of the row at index %d is not in whole milliseconds", ErrOnGrid, i)
			case t%r.Step != 0:
				return fmt.Errorf("%w: row %d is not at a multiple of the step %d", ErrOnGrid, t, r.Step)
			case t <= r.After || t > r.Through:
				return fmt.Errorf("%w: row %d is outside (%d, %d]", ErrOnGrid, t, r.After, r.Through)
			}
		}
		if len(f.Fields) == 0 {
			continue
		}
		if c := f.Fields[0].Config; c != nil && c.Interval != 0 && c.Interval != float64(r.Step) {
			return fmt.Errorf("%w: the time field states an interval of %v, the step is %d", ErrOnGrid, c.Interval, r.Step)
		}
	}
	return nil
}

// Same returns an error that names the first difference between two records: a field
// or row that only one has, another name, label or unit, or a value that differs in
// a single bit. It does not matter how the rows are divided into frames. Null equals
// null and NaN equals NaN.
func (r Record) Same(other Record) error {
	// Frames without rows count, too: they say which fields there are.
	frames := slices.Concat(r.Frames, other.Frames)
	for _, f := range frames {
		if err := sameFields(frames[0], f); err != nil {
			return err
		}
	}
	a, b := r.rows(), other.rows()
	for i := range min(len(a), len(b)) {
		if err := sameRow(a[i], b[i]); err != nil {
			return err
		}
	}
	if len(a) != len(b) {
		return fmt.Errorf("%d rows on the one hand, %d on the other", len(a), len(b))
	}
	return nil
}

// SplitInvariant: a range gives the same rows at once and in parts.
func SplitInvariant(whole, parts Record) error {
	if err := whole.Same(parts); err != nil {
		return fmt.Errorf("%w: (%d, %d] at once and in parts differ, so a row depends on the range that it is requested with, and not on its time alone: %w",
			ErrSplitInvariant, whole.After, whole.Through, err)
	}
	return nil
}

// Settled: rows are the same in two answers.
func Settled(first, again Record) error {
	if err := first.Same(again); err != nil {
		return fmt.Errorf("%w: (%d, %d] requested again has other rows, so the settled time must be earlier: %w", ErrSettled, first.After, first.Through, err)
	}
	return nil
}

type row struct {
	frame *data.Frame
	index int
}

func (r Record) rows() []row {
	var rows []row
	for _, f := range r.Frames {
		for i := range f.Rows() {
			rows = append(rows, row{f, i})
		}
	}
	return rows
}

func sameRow(a, b row) error {
	at, _ := timeOf(a.frame, a.index)
	bt, _ := timeOf(b.frame, b.index)
	if at != bt {
		return fmt.Errorf("row %d on the one hand, row %d on the other", at, bt)
	}
	for i := 1; i < len(a.frame.Fields); i++ {
		av, bv := valueOf(a, i), valueOf(b, i)
		if av != bv {
			return fmt.Errorf("row %d of %q is %s on the one hand, %s on the other", at, a.frame.Fields[i].Name, av, bv)
		}
	}
	return nil
}

func sameFields(a, b *data.Frame) error {
	if _, err := b.RowLen(); err != nil {
		return err
	}
	if len(a.Fields) != len(b.Fields) {
		return fmt.Errorf("%d fields on the one hand, %d on the other", len(a.Fields), len(b.Fields))
	}
	for i, f := range a.Fields {
		g := b.Fields[i]
		if f.Name != g.Name || f.Type() != g.Type() || !maps.Equal(f.Labels, g.Labels) {
			return fmt.Errorf("field %d is %s %s%s on the one hand, %s %s%s on the other",
				i, f.Type(), f.Name, f.Labels, g.Type(), g.Name, g.Labels)
		}
		fc, gc := configOf(f), configOf(g)
		if fc.DisplayNameFromDS != gc.DisplayNameFromDS || fc.Unit != gc.Unit {
			return fmt.Errorf("field %q is shown as %q in %q on the one hand, as %q in %q on the other",
				f.Name, fc.DisplayNameFromDS, fc.Unit, gc.DisplayNameFromDS, gc.Unit)
		}
	}
	return nil
}

func configOf(f *data.Field) data.FieldConfig {
	if f.Config == nil {
		return data.FieldConfig{}
	}
	return *f.Config
}

// value is comparable bit for bit.
type value struct {
	null bool
	bits uint64
}

func (v value) String() string {
	if v.null {
		return "null"
	}
	return fmt.Sprintf("%v (%#x)", math.Float64frombits(v.bits), v.bits)
}

func valueOf(r row, field int) value {
	v, err := r.frame.Fields[field].NullableFloatAt(r.index)
	switch {
	case err != nil || v == nil:
		return value{null: true}
	case math.IsNaN(*v):
		return value{bits: math.Float64bits(math.NaN())}
	}
	return value{bits: math.Float64bits(*v)}
}

// timeOf returns the time of a row in milliseconds, and whether it is exact.
func timeOf(f *data.Frame, i int) (int64, bool) {
	v, _ := f.Fields[0].ConcreteAt(i)
	t, ok := v.(time.Time)
	return t.UnixMilli(), ok && t.Equal(time.UnixMilli(t.UnixMilli()))
}
