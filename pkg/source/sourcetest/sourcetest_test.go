package sourcetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

var guaranteed = []error{ErrBound, ErrOrdered, ErrUnique, ErrDense, ErrOnGrid, ErrSplitInvariant, ErrSettled, ErrHonest}

// names returns which guarantees an error says are broken.
func names(err error) []error {
	var found []error
	for _, name := range guaranteed {
		if errors.Is(err, name) {
			found = append(found, name)
		}
	}
	return found
}

const (
	testStep    = 1000
	testSettled = 1_000_000_000_500
)

// good keeps every promise. Broken sources are made of it by replacing what they
// do wrong.
type good struct {
	// queries counts the queries made, the first is 1.
	queries int
	query   func(raw json.RawMessage) (source.Query, error)
	rows    func(q goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error)
	window  func(b goodBound, ctx context.Context, after, through int64) (grid.Rows, error)
	traits  func(b goodBound) source.Traits
	settled func() int64
	json    func(q goodQuery) string
	text    func(q goodQuery) string
}

type goodQuery struct {
	*good
	instance int
}

func (g *good) Query(raw json.RawMessage) (source.Query, error) {
	if g.query != nil {
		return g.query(raw)
	}
	g.queries++
	return goodQuery{g, g.queries}, nil
}

func (*good) Check(context.Context) (string, error) { return "ready", nil }

func (q goodQuery) JSON() json.RawMessage {
	if q.json != nil {
		return json.RawMessage(q.json(q))
	}
	return json.RawMessage(`{}`)
}

func (q goodQuery) String() string {
	if q.text != nil {
		return q.text(q)
	}
	return "good"
}

func (goodQuery) MinStep() int64 { return testStep }

func (q goodQuery) Bind(step, window int64) (source.Bound, error) {
	return goodBound{goodQuery: q, step: step, length: window}, nil
}

type goodBound struct {
	source.Plain
	goodQuery
	step, length int64
}

func (b goodBound) Query() source.Query { return b.goodQuery }

func (b goodBound) Traits() source.Traits {
	if b.traits != nil {
		return b.traits(b)
	}
	return source.Traits{Step: b.step}
}

func (b goodBound) Settled(context.Context) (int64, error) {
	if b.good.settled != nil {
		return b.good.settled(), nil
	}
	return testSettled, nil
}

func (b goodBound) Rows(ctx context.Context, after, through int64) (grid.Rows, error) {
	switch {
	case b.good.window != nil:
		return b.good.window(b, ctx, after, through)
	case b.good.rows != nil:
		return b.good.rows(b.goodQuery, ctx, b.step, after, through)
	}
	return goodRows(ctx, b.step, after, through)
}

func goodRows(ctx context.Context, step, after, through int64) (grid.Rows, error) {
	if ctx.Err() != nil {
		return grid.Rows{}, ctx.Err()
	}
	if through > testSettled {
		return grid.Rows{}, source.ErrNotSettled
	}
	return makeRows(step, after, through), nil
}

// makeRows has a value that is not the same twice, and now and then none.
func makeRows(step, after, through int64) grid.Rows {
	r := grid.Rows{Step: step, After: after, Through: through, Series: []grid.Series{{Name: "a"}, {Name: "b"}}}
	for i := range r.Len() {
		v := float64(r.Time(i))
		if r.Time(i)/step%7 == 0 {
			v = math.NaN()
		}
		r.Series[0].Values = append(r.Series[0].Values, v)
		r.Series[1].Values = append(r.Series[1].Values, math.Sqrt(v))
	}
	return r
}

func TestGoodSource(t *testing.T) {
	Run(t, Subject{Source: &good{}, Steps: []int64{testStep, 7 * testStep}})
}

// The suite has to catch each kind of fault, and to call it by its right name.
func TestBrokenSources(t *testing.T) {
	type rowsFunc = func(goodQuery, context.Context, int64, int64, int64) (grid.Rows, error)
	var lastAfter, last int64 // the last range of a source with a cursor

	for _, tc := range []struct {
		name   string
		broken good
		want   []error // exactly these
	}{
		{"repeats what it answered last", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				from := after
				if after == last && through > after {
					from = lastAfter
				}
				if through > after {
					lastAfter, last = after, through
				}
				return goodRows(ctx, step, from, through)
			},
		}, []error{ErrOrdered, ErrUnique, ErrSplitInvariant}},
		{"answers from its newest row, and not after it", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				if through < grid.Floor(testSettled, step) && through > after {
					return goodRows(ctx, step, after, through+step)
				}
				return goodRows(ctx, step, after, through)
			},
		}, []error{ErrUnique, ErrSplitInvariant}},
		{"has two series of one name", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				r, err := goodRows(ctx, step, after, through)
				for i := range r.Series {
					r.Series[i].Name = "a"
				}
				return r, err
			},
		}, []error{ErrUnique}},
		{"is one row short of now", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				if through == grid.Floor(testSettled, step) && through > after {
					through -= step
				}
				return goodRows(ctx, step, after, through)
			},
		}, []error{ErrDense}},
		{"gives one series fewer values than rows", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				r, err := goodRows(ctx, step, after, through)
				for i := range r.Series {
					if n := r.Len(); n > 0 {
						r.Series[1].Values = r.Series[i].Values[:n-1]
					}
				}
				return r, err
			},
		}, []error{ErrBound, ErrDense, ErrSplitInvariant, ErrSettled}},
		{"has no series", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				_, err := goodRows(ctx, step, after, through)
				return grid.Rows{Step: step, After: after, Through: after}, err
			},
		}, []error{ErrDense}},
		{"has its own grid", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				r, err := goodRows(ctx, step, after, through)
				r.After, r.Through = r.After-step/2, r.Through-step/2
				return r, err
			},
		}, []error{ErrDense, ErrOnGrid}},
		{"has its own step", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				if ctx.Err() != nil || through > testSettled {
					return goodRows(ctx, step, after, through)
				}
				return makeRows(step/2, after, through), nil
			},
		}, []error{ErrOnGrid}},
		{"answers without a step", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				_, err := goodRows(ctx, step, after, through)
				return grid.Rows{}, err
			},
		}, []error{ErrOnGrid}},
		{"counts from the beginning of the range", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				r, err := goodRows(ctx, step, after, through)
				if err == nil {
					for i := range r.Len() {
						r.Series[0].Values[i] = float64(i)
					}
				}
				return r, err
			},
		}, []error{ErrSplitInvariant}},
		{"adds up in the order of the range's parity, one last bit off", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				r, err := goodRows(ctx, step, after, through)
				if n := r.Len(); n%2 == 1 && err == nil {
					v := r.Series[1].Values
					v[n-1] = math.Nextafter(v[n-1], 0)
				}
				return r, err
			},
		}, []error{ErrSplitInvariant}},
		{"forgets its series when there are no rows", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				r, err := goodRows(ctx, step, after, through)
				if err == nil && after == through {
					r.Series = nil
				}
				return r, err
			},
		}, []error{ErrSplitInvariant}},
		{"is different in every process", good{
			rows: func(q goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				r, err := goodRows(ctx, step, after, through)
				if err == nil && r.Len() > 0 {
					r.Series[0].Values[r.Len()-1] = float64(q.instance)
				}
				return r, err
			},
		}, []error{ErrSplitInvariant, ErrSettled}},
		{"has its series in another order in every process", good{
			rows: func(q goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				r, err := goodRows(ctx, step, after, through)
				if q.instance%2 == 0 {
					slices.Reverse(r.Series)
				}
				return r, err
			},
		}, []error{ErrSettled}},
		{"hands out what it keeps", good{
			rows: func() rowsFunc {
				kept := map[string]grid.Rows{}
				return func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
					key := fmt.Sprint(step, after, through)
					if r, ok := kept[key]; ok && ctx.Err() == nil {
						return r, nil
					}
					r, err := goodRows(ctx, step, after, through)
					if err == nil && r.Len() == 200 {
						kept[key] = r
					}
					return r, err
				}
			}(),
		}, []error{ErrBound, ErrSplitInvariant, ErrSettled}},
		{"depends on the window in secret", good{
			window: func(b goodBound, ctx context.Context, after, through int64) (grid.Rows, error) {
				r, err := goodRows(ctx, b.step, after, through)
				if err == nil && r.Len() > 0 {
					r.Series[0].Values[0] = float64(b.length)
				}
				return r, err
			},
		}, []error{ErrBound, ErrSplitInvariant}},
		{"is bound to another step", good{
			traits: func(b goodBound) source.Traits { return source.Traits{Step: 2 * b.step} },
		}, []error{ErrBound}},
		{"is bound to another window", good{
			traits: func(b goodBound) source.Traits { return source.Traits{Step: b.step, Window: b.length + b.step} },
		}, []error{ErrBound}},
		{"panics", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				if ctx.Err() != nil {
					panic("cancelled")
				}
				return goodRows(ctx, step, after, through)
			},
		}, []error{ErrHonest}},
		{"has no canonical JSON", good{
			json: func(q goodQuery) string { return fmt.Sprintf(`{"instance":%d}`, q.instance) },
		}, []error{ErrSettled}},
		{"says something else of the same query", good{
			text: func(q goodQuery) string { return fmt.Sprint(q.instance) },
		}, []error{ErrSettled}},
		{"does not stop when told to", good{
			rows: func(_ goodQuery, _ context.Context, step, after, through int64) (grid.Rows, error) {
				return goodRows(context.Background(), step, after, through)
			},
		}, []error{ErrHonest}},
		{"takes a failure for an absence of values", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				r, err := goodRows(ctx, step, after, through)
				if errors.Is(err, context.Canceled) {
					return grid.Rows{Step: step, After: after, Through: after}, nil
				}
				return r, err
			},
		}, []error{ErrHonest}},
		{"cuts what is not settled", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				through = min(through, grid.Floor(testSettled, step))
				return goodRows(ctx, step, min(after, through), through)
			},
		}, []error{ErrHonest}},
		{"shows one row more than is settled", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				if through == grid.Floor(testSettled, step)+step && ctx.Err() == nil {
					return makeRows(step, after, through), nil
				}
				return goodRows(ctx, step, after, through)
			},
		}, []error{ErrHonest}},
		{"has another error for what is not settled", good{
			rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
				r, err := goodRows(ctx, step, after, through)
				if errors.Is(err, source.ErrNotSettled) {
					err = errors.New("bad range")
				}
				return r, err
			},
		}, []error{ErrHonest}},
		{"unsettles", good{
			settled: func() func() int64 {
				now := int64(testSettled)
				return func() int64 { now--; return now }
			}(),
		}, []error{ErrHonest}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lastAfter, last = 0, 0
			err := Verify(t.Context(), Subject{Source: &tc.broken})
			if got := names(err); !slices.Equal(got, tc.want) {
				t.Errorf("broken are %v, want %v:\n%v", got, tc.want, err)
			}
		})
	}
}

// A source that fails is not a source that breaks a promise, and is no pass
// either.
func TestFailingSource(t *testing.T) {
	down := errors.New("down")
	for _, tc := range []struct {
		name string
		s    good
	}{
		{"refuses the query", good{query: func(json.RawMessage) (source.Query, error) { return nil, down }}},
		{"cannot be read", good{rows: func(goodQuery, context.Context, int64, int64, int64) (grid.Rows, error) { return grid.Rows{}, down }}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := Verify(t.Context(), Subject{Source: &tc.s})
			if !errors.Is(err, down) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Rows that change with time only show when time passes between the questions.
func TestBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		late := &good{rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
			r, err := goodRows(ctx, step, after, through)
			if err == nil && time.Since(begin) >= time.Hour {
				for i := range r.Series {
					if n := r.Len(); n > 0 {
						r.Series[i].Values[n-1] = -1
					}
				}
			}
			return r, err
		}}
		if err := Verify(t.Context(), Subject{Source: late}); err != nil {
			t.Errorf("at once: %v", err)
		}
		err := Verify(t.Context(), Subject{Source: late, Between: func() { time.Sleep(time.Hour) }})
		if got := names(err); !slices.Equal(got, []error{ErrSettled}) {
			t.Errorf("after an hour: broken are %v: %v", got, err)
		}
	})
}

// The same seed asks the same questions, and an error says which seed it was.
func TestSeed(t *testing.T) {
	asks := func(seed uint64) (string, error) {
		var all strings.Builder
		s := &good{rows: func(_ goodQuery, ctx context.Context, step, after, through int64) (grid.Rows, error) {
			fmt.Fprintln(&all, after, through)
			return goodRows(ctx, step, after, through)
		}, text: func(q goodQuery) string { return fmt.Sprint(q.instance) }}
		err := Verify(t.Context(), Subject{Source: s, Seed: seed})
		return all.String(), err
	}
	first, err := asks(42)
	again, _ := asks(42)
	other, _ := asks(43)
	if first != again || first == other {
		t.Error("the seed does not decide the questions")
	}
	if err == nil || !strings.Contains(err.Error(), "seed 42") {
		t.Errorf("the error does not name the seed: %v", err)
	}
}

// frame returns what a screen would show: times, and a value per time.
func frame(times []int64, values ...float64) *data.Frame {
	ts := make([]time.Time, len(times))
	for i, t := range times {
		ts[i] = time.UnixMilli(t)
	}
	vs := make([]*float64, len(values))
	for i := range values {
		vs[i] = &values[i]
	}
	return data.NewFrame("", data.NewField("time", nil, ts), data.NewField("a", nil, vs))
}

func TestRecordCheck(t *testing.T) {
	const step, after, through = 10, -10, 20
	for _, tc := range []struct {
		name   string
		frames []*data.Frame
		want   []error
	}{
		{"whole", []*data.Frame{frame([]int64{0, 10, 20}, 1, 2, 3)}, nil},
		{"in parts", []*data.Frame{frame([]int64{0}, 1), frame(nil), frame([]int64{10, 20}, 2, 3)}, nil},
		{"nothing", nil, []error{ErrDense}},
		{"no fields", []*data.Frame{data.NewFrame("")}, []error{ErrDense}},
		{"a hole", []*data.Frame{frame([]int64{0, 20}, 1, 3)}, []error{ErrDense}},
		{"a hole at the seam", []*data.Frame{frame([]int64{0}, 1), frame([]int64{20}, 3)}, []error{ErrDense}},
		{"the oldest missing", []*data.Frame{frame([]int64{10, 20}, 2, 3)}, []error{ErrDense}},
		{"twice in a row", []*data.Frame{frame([]int64{0, 10, 10, 20}, 1, 2, 2, 3)}, []error{ErrUnique}},
		{"twice at the seam", []*data.Frame{frame([]int64{0, 10}, 1, 2), frame([]int64{10, 20}, 2, 3)}, []error{ErrUnique}},
		{"swapped", []*data.Frame{frame([]int64{10, 0, 20}, 2, 1, 3)}, []error{ErrOrdered}},
		{"tail before history", []*data.Frame{frame([]int64{20}, 3), frame([]int64{0, 10}, 1, 2)}, []error{ErrOrdered}},
		{"between the grid times", []*data.Frame{frame([]int64{0, 5, 10, 20}, 1, 1, 2, 3)}, []error{ErrOnGrid}},
		{"older than asked for", []*data.Frame{frame([]int64{-10, 0, 10, 20}, 0, 1, 2, 3)}, []error{ErrOnGrid}},
		{"newer than asked for", []*data.Frame{frame([]int64{0, 10, 20, 30}, 1, 2, 3, 4)}, []error{ErrOnGrid}},
		{"fewer values than rows", []*data.Frame{frame([]int64{0, 10, 20}, 1, 2)}, []error{ErrDense}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := Record{step, after, through, tc.frames}.Check()
			if got := names(err); !slices.Equal(got, tc.want) || (err == nil) != (tc.want == nil) {
				t.Errorf("broken are %v, want %v: %v", got, tc.want, err)
			}
		})
	}
}

func TestTimesBetweenMilliseconds(t *testing.T) {
	f := data.NewFrame("", data.NewField("time", nil, []time.Time{time.Unix(0, 10_000_001)}))
	if err := (Record{10, 0, 10, []*data.Frame{f}}).OnGrid(); !errors.Is(err, ErrOnGrid) {
		t.Errorf("got %v", err)
	}
	null := data.NewFrame("", data.NewField("time", nil, []*time.Time{nil}))
	if err := (Record{10, 0, 10, []*data.Frame{null}}).OnGrid(); !errors.Is(err, ErrOnGrid) {
		t.Errorf("got %v", err)
	}
}

func TestSame(t *testing.T) {
	times := []int64{0, 10}
	record := func(f ...*data.Frame) Record { return Record{10, -10, 10, f} }
	null := frame(times, 1, 2)
	null.Fields[1].Set(1, (*float64)(nil))
	named := frame(times, 1, 2)
	named.Fields[1].Config = &data.FieldConfig{DisplayNameFromDS: "A", Unit: "s"}
	labelled := frame(times, 1, 2)
	labelled.Fields[1].Labels = data.Labels{"x": "y"}
	for _, tc := range []struct {
		name string
		a, b Record
		want string // "" if they are the same
	}{
		{"equal", record(frame(times, 1, 2)), record(frame(times, 1, 2)), ""},
		{"split", record(frame(times, 1, 2)), record(frame([]int64{0}, 1), frame(nil), frame([]int64{10}, 2)), ""},
		{"NaN is NaN", record(frame(times, 1, math.NaN())), record(frame(times, 1, math.Float64frombits(0x7ff8dead00000000))), ""},
		{"null is null", record(null), record(null), ""},
		{"nothing is nothing", record(), record(), ""},
		{"a last bit", record(frame(times, 1, 2)), record(frame(times, 1, math.Nextafter(2, 3))),
			`row 10 of "a" is 2 (0x4000000000000000) on the one hand, 2.0000000000000004 (0x4000000000000001) on the other`},
		{"-0 is not 0", record(frame(times, 1, 0)), record(frame(times, 1, math.Copysign(0, -1))),
			`row 10 of "a" is 0 (0x0) on the one hand, -0 (0x8000000000000000) on the other`},
		{"null is not 0", record(null), record(frame(times, 1, 0)), `row 10 of "a" is null on the one hand, 0 (0x0) on the other`},
		{"another time", record(frame(times, 1, 2)), record(frame([]int64{0, 20}, 1, 2)), `row 10 on the one hand, row 20 on the other`},
		{"a row fewer", record(frame(times, 1, 2)), record(frame([]int64{0}, 1)), `2 rows on the one hand, 1 on the other`},
		{"other labels", record(frame(times, 1, 2)), record(labelled),
			`field 1 is []*float64 a on the one hand, []*float64 ax=y on the other`},
		{"another name in legends", record(frame(times, 1, 2)), record(named), `field "a" is shown as "" in "" on the one hand, as "A" in "s" on the other`},
		{"no fields", record(frame(times, 1, 2)), record(data.NewFrame("")), `2 fields on the one hand, 0 on the other`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, err := range []error{tc.a.Same(tc.b), SplitInvariant(tc.a, tc.b), Settled(tc.a, tc.b)} {
				if (err == nil) != (tc.want == "") || err != nil && !strings.HasSuffix(err.Error(), tc.want) {
					t.Errorf("got %v, want %q", err, tc.want)
				}
			}
		})
	}
}
