// Package signal is a source of deterministic test signals: one value per tick
// between a lower and an upper limit. The value at a time is a pure function of the
// query and the time, so every process on every architecture gives the same value at
// any time. It needs no memory and no network. So other parts are tested against it.
package signal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// Limits of the query's fields.
const (
	MinTick  = 10                  // ms
	MaxTick  = 24 * 60 * 60 * 1000 // ms
	MaxLimit = 1e15                // beyond it float64 has no steps left between the limits
)

// Shapes are the names of the shapes, the default first.
var Shapes = []string{"walk", "sine", "square", "sawtooth", "noise"}

// Source is the signal source. The zero value is ready to use.
type Source struct{}

// Check implements source.Source. It always succeeds.
func (Source) Check(context.Context) (string, error) {
	return "The test signal is ready.", nil
}

// Query implements source.Source. It reads the fields lowerLimit, upperLimit,
// tickInterval (ms) and shape, and ignores all others.
func (Source) Query(raw json.RawMessage) (source.Query, error) {
	in := fields{Shape: scalar(Shapes[0]), LowerLimit: "0", UpperLimit: "100", TickInterval: "1000"}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("the query is not a JSON object: %w", err)
	}
	if string(bytes.TrimSpace(raw)) == "null" {
		return nil, errors.New("the query is null: make it a JSON object, {} for a signal with all defaults")
	}
	q := query{Shape: string(in.Shape)}
	if !slices.Contains(Shapes, q.Shape) {
		return nil, fmt.Errorf("shape %q is not known: choose one of %s", cut(q.Shape), strings.Join(Shapes, ", "))
	}
	var err error
	if q.LowerLimit, err = in.LowerLimit.limit("lowerLimit"); err != nil {
		return nil, err
	}
	if q.UpperLimit, err = in.UpperLimit.limit("upperLimit"); err != nil {
		return nil, err
	}
	if q.LowerLimit >= q.UpperLimit {
		return nil, fmt.Errorf("lowerLimit %v is not below upperLimit %v: lower the one or raise the other", q.LowerLimit, q.UpperLimit)
	}
	tick, err := in.TickInterval.parse("tickInterval")
	if err != nil {
		return nil, err
	}
	if tick != math.Trunc(tick) || tick < MinTick || tick > MaxTick {
		return nil, fmt.Errorf("tickInterval %s is out of range: use a whole number of milliseconds from %d to %d", cut(string(in.TickInterval)), MinTick, MaxTick)
	}
	q.TickInterval = int64(tick)
	return q, nil
}

// fields is the query as dashboards save it. All fields are texts, so that errors
// can name the field instead of coming from the JSON decoder.
type fields struct {
	Shape        scalar `json:"shape"`
	LowerLimit   scalar `json:"lowerLimit"`
	UpperLimit   scalar `json:"upperLimit"`
	TickInterval scalar `json:"tickInterval"`
}

// scalar is a JSON string, or the text of any other JSON value: in dashboards, a
// template variable turns a number into a string.
type scalar string

func (n *scalar) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		s = string(b)
	}
	*n = scalar(strings.TrimSpace(s))
	return nil
}

// parse parses a number. It refuses NaN and infinities, which ParseFloat accepts.
func (n scalar) parse(field string) (float64, error) {
	v, err := strconv.ParseFloat(string(n), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%s %q is not a number: enter a finite number", field, cut(string(n)))
	}
	return v, nil
}

func (n scalar) limit(field string) (float64, error) {
	v, err := n.parse(field)
	if err == nil && math.Abs(v) > MaxLimit {
		err = fmt.Errorf("%s %v is out of range: use a number from %v to %v", field, v, -MaxLimit, MaxLimit)
	}
	return v + 0, err // + 0 turns -0 into 0, so that equal queries have equal bytes
}

func cut(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

type query struct {
	Shape        string  `json:"shape"`
	LowerLimit   float64 `json:"lowerLimit"`
	UpperLimit   float64 `json:"upperLimit"`
	TickInterval int64   `json:"tickInterval"`
}

func (q query) JSON() json.RawMessage {
	b, err := json.Marshal(q)
	if err != nil {
		panic(err) // a string and three finite numbers
	}
	return b
}

func (q query) String() string {
	return fmt.Sprintf("%s from %v to %v, one value per %v", q.Shape, q.LowerLimit, q.UpperLimit,
		time.Duration(q.TickInterval)*time.Millisecond)
}

func (q query) MinStep() int64 { return q.TickInterval }

// Bind implements source.Query.
func (q query) Bind(step, _ int64) (source.Bound, error) {
	return bound{query: q, step: step, told: new(atomic.Int64)}, nil
}

// bound is a query at one step.
type bound struct {
	source.Plain
	query
	step int64         // ms
	told *atomic.Int64 // the settled time that was returned last
}

func (b bound) Query() source.Query { return b.query }

func (b bound) Traits() source.Traits { return source.Traits{Step: b.step} }

// Settled returns the current time, as all past values are known.
func (b bound) Settled(context.Context) (int64, error) { return b.settled(), nil }

// small is the largest step back of the clock, in milliseconds, that the settled
// time ignores; time synchronisation makes such steps. After a larger one the
// settled time follows the clock, because its rows would be in the future for long.
const small = 10_000

func (b bound) settled() int64 {
	for {
		now, told := time.Now().UnixMilli(), b.told.Load()
		if told >= now && told-now <= small {
			return told
		}
		if b.told.CompareAndSwap(told, now) {
			return now
		}
	}
}

func (b bound) Rows(ctx context.Context, after, through int64) (grid.Rows, error) {
	if through > b.settled() {
		return grid.Rows{}, source.ErrNotSettled
	}
	rows := grid.Rows{Step: b.step, After: after, Through: through}
	if err := rows.Check(); err != nil {
		return grid.Rows{}, err
	}
	values := make([]float64, rows.Len())
	for i := range values {
		if i%4096 == 0 && ctx.Err() != nil {
			return grid.Rows{}, context.Cause(ctx)
		}
		values[i] = b.at(grid.Floor(rows.Time(i), b.TickInterval) / b.TickInterval)
	}
	rows.Series = []grid.Series{{Name: "signal", Labels: data.Labels{"shape": b.Shape}, Display: b.Shape, Unit: "short", Values: values}}
	return rows, nil
}

// at returns the value of tick n. The conversions to float64 keep the compiler
// from fusing multiply and add, which would give other last bits on arm64.
func (q query) at(n int64) float64 {
	v := q.LowerLimit + float64((q.UpperLimit-q.LowerLimit)*unit(q.Shape, n))
	return min(max(v, q.LowerLimit), q.UpperLimit)
}

// Period is the number of ticks in one turn of a periodic shape.
const Period = 300

// unit returns the value of tick n of a signal from 0 to 1.
func unit(shape string, n int64) float64 {
	phase := n - grid.Floor(n, Period)
	switch shape {
	case "sine":
		return sine(phase)
	case "square":
		if phase < Period/2 {
			return 1
		}
		return 0
	case "sawtooth":
		return float64(phase) / (Period - 1)
	case "noise":
		return chance(n, 0)
	default:
		return walk(n)
	}
}

// sine is rounded to 28 bits, because math.Sin may differ in its last bits between
// architectures. A test checks that no phase is near a rounding edge.
func sine(phase int64) float64 {
	return math.Round(sineExact(phase)*(1<<28)) / (1 << 28)
}

func sineExact(phase int64) float64 {
	return 0.5 + math.Sin(2*math.Pi*float64(phase)/Period)/2
}

// walk looks like a random walk between two walls, but does not depend on earlier
// ticks. It adds up straight lines between random points that are 1, 2, 4, … 4096
// ticks apart, each weighted with the square root of its spacing, because the
// variance of a walk grows with time. It then folds the sum back at the limits.
// Straight lines make the mean step the same at every tick.
func walk(n int64) float64 {
	var sum float64
	for k, weight := range weights {
		span := int64(1) << k
		left := grid.Floor(n, span) / span
		a, b := chance(left, k), chance(left+1, k)
		frac := float64(n-left*span) / float64(span)
		sum += float64(weight * (a + float64((b-a)*frac)))
	}
	folded := math.Mod(sum, 2)
	if folded > 1 {
		return 2 - folded
	}
	return folded
}

// reach is how far the walk would go without the limits, in units of the range
// between them. At 6 it crosses about a third of the range in 100 ticks.
const reach = 6

// weights are in proportion to the square roots of the spacings. Sqrt and
// division are exact to the last bit everywhere.
var weights = func() (w [13]float64) {
	var sum float64
	for k := range w {
		w[k] = math.Sqrt(float64(int64(1) << k))
		sum += w[k]
	}
	for k := range w {
		w[k] = float64(w[k]*reach) / sum
	}
	return w
}()

// chance returns a number in [0, 1) that looks random, always the same for the
// same n and stream. The mixing is SplitMix64's (Steele, Lea, Flood, 2014).
func chance(n int64, stream int) float64 {
	z := uint64(n)*0x9e3779b97f4a7c15 + uint64(stream+1)*0xd1342543de82ef95
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(z>>11) / (1 << 53)
}
