package grid

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// Series is a value field of some rows.
type Series struct {
	// Name is the field's name. It is unique within its rows, and a series has the
	// same name in every answer, because Grafana identifies fields by their names
	// only.
	Name   string
	Labels data.Labels
	// Display is the name shown in legends.
	Display string
	// Unit is a Grafana unit id, empty for none.
	Unit string
	// Values has one value per row; NaN means none.
	Values []float64
}

// Rows are the rows of one query at every time in (After, Through] that is a whole
// number of steps from After. They are dense: row i has the time
// After + (i+1)·Step, so no row can be missing, doubled or out of order.
type Rows struct {
	Step, After, Through int64
	// At are the times of rows that are not all a step apart, as those of a
	// [Calendar]. It is nil for all others.
	At     []int64
	Series []Series
	// States are the texts that the values of all series stand for, by text. There are
	// none where values are numbers.
	States []State
	// Notices are texts about the rows for people. Answers to queries have them,
	// streams do not.
	Notices []data.Notice
	// Samples is how many stored samples were read for the rows, 0 if that is not known.
	Samples int64
}

// Len returns the number of rows. The zero Rows have none.
func (r Rows) Len() int {
	if r.At != nil {
		return len(r.At)
	}
	if r.Through <= r.After {
		return 0
	}
	return int((r.Through - r.After) / r.Step)
}

// Time returns the time of row i.
func (r Rows) Time(i int) int64 {
	if r.At != nil {
		return r.At[i]
	}
	return r.After + int64(i+1)*r.Step
}

// Newest returns the last n rows, or all if there are fewer.
func (r Rows) Newest(n int) Rows {
	drop := r.Len() - n
	if drop <= 0 {
		return r
	}
	r.After = r.Time(drop - 1)
	if r.At != nil {
		r.At = r.At[drop:]
	}
	r.Series = slices.Clone(r.Series)
	for i := range r.Series {
		r.Series[i].Values = r.Series[i].Values[drop:]
	}
	return r
}

// Append returns r followed by next, without notices and samples. If next does not begin where r
// ends, or has other fields, it returns next and false.
func (r Rows) Append(next Rows) (Rows, bool) {
	if next.After != r.Through || next.Step != r.Step || !slices.Equal(r.Fields(), next.Fields()) {
		return next, false
	}
	series := slices.Clone(r.Series) // with their labels and units, which next lacks of a series that has ended
	for i := range series {
		series[i].Values = slices.Concat(r.Series[i].Values, next.Series[i].Values)
	}
	return Rows{Step: r.Step, After: r.After, Through: next.Through, Series: series, States: next.States}, true
}

// Join returns the rows of ranges that follow one another and may have other steps:
// under the given step, at the times that they have. A series that some of them do
// not have gets no values there; then all series are in the order of their names.
func Join(step int64, ranges []Rows) Rows {
	joined := Rows{Step: step, After: ranges[0].After, Through: ranges[len(ranges)-1].Through, At: []int64{}}
	index := make(map[string]int)
	alike := true
	for _, r := range ranges {
		joined.Samples += r.Samples
		alike = alike && slices.Equal(r.Fields(), ranges[0].Fields())
		joined.At = slices.Grow(joined.At, r.Len())
		for i := range r.Len() {
			joined.At = append(joined.At, r.Time(i))
		}
		for _, s := range r.Series {
			if _, ok := index[s.Name]; !ok {
				index[s.Name] = len(joined.Series)
				s.Values = nil
				joined.Series = append(joined.Series, s)
			}
		}
		for _, s := range r.States {
			if !slices.Contains(joined.States, s) {
				joined.States = append(joined.States, s)
			}
		}
		for _, n := range r.Notices {
			if !slices.Contains(joined.Notices, n) {
				joined.Notices = append(joined.Notices, n)
			}
		}
	}
	slices.SortFunc(joined.States, func(a, b State) int { return strings.Compare(a.Text, b.Text) })
	rows := 0
	for _, r := range ranges {
		rows += r.Len()
		for _, s := range r.Series {
			of := &joined.Series[index[s.Name]]
			of.Values = append(pad(of.Values, rows-r.Len()), s.Values...)
		}
	}
	for i := range joined.Series {
		joined.Series[i].Values = pad(joined.Series[i].Values, rows)
	}
	if !alike {
		slices.SortFunc(joined.Series, func(a, b Series) int { return strings.Compare(a.Name, b.Name) })
	}
	return joined
}

// pad returns values with none added up to a number of rows.
func pad(values []float64, rows int) []float64 {
	for len(values) < rows {
		values = append(values, math.NaN())
	}
	return values
}

// Fields returns the names of the series, in order.
func (r Rows) Fields() []string {
	names := make([]string, len(r.Series))
	for i, s := range r.Series {
		names[i] = s.Name
	}
	return names
}

// Check returns an error unless the range is a whole number of steps and every
// series has one value per row and a name of its own, also beside the time field. A
// name that is not UTF-8 would be another one after its way through JSON.
func (r Rows) Check() error {
	if length := r.Through - r.After; r.Step <= 0 || r.Through < r.After || length < 0 || length%r.Step != 0 {
		return fmt.Errorf("(%d, %d] is not a range of whole steps of %d", r.After, r.Through, r.Step)
	}
	seen := make(map[string]bool, len(r.Series)+1)
	seen[TimeName] = true
	for _, s := range r.Series {
		if len(s.Values) != r.Len() {
			return fmt.Errorf("series %q has %d values for %d rows", s.Name, len(s.Values), r.Len())
		}
		if seen[s.Name] {
			return fmt.Errorf("two fields are named %q", s.Name)
		}
		if !utf8.ValidString(s.Name) {
			return fmt.Errorf("the name of series %q is not UTF-8", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// Frame returns the rows as one wide frame: a field "time" with the step as its
// interval, then a nullable field per series.
//
// The format is TimeSeriesWide of Grafana's data plane contract. The frame has its
// own copy of the values. It shares the labels, which nobody changes.
func (r Rows) Frame() *data.Frame {
	fields := make([]*data.Field, 0, len(r.Series)+1)
	fields = append(fields, timeField(r.times(), r.Step))
	mappings := r.mappings()
	for _, s := range r.Series {
		own := slices.Clone(s.Values)
		values := make([]*float64, len(own))
		for i := range own {
			if !math.IsNaN(own[i]) {
				values[i] = &own[i]
			}
		}
		fields = append(fields, s.field(values, mappings))
	}
	frame := typed(data.FrameTypeTimeSeriesWide, fields...)
	if mappings != nil {
		frame.Meta.PreferredVisualizationPluginID = "state-timeline" // in Explore, which would draw the numbers
	}
	return frame
}

// Multi returns the rows as one frame per series, without rows that have no value.
// Alert rules and expressions need that, because one null turns their mean, min, max
// and sum into NaN. If there is no value at all, the result is one frame without
// fields.
//
// The format is TimeSeriesMulti of Grafana's data plane contract.
func (r Rows) Multi() data.Frames {
	var frames data.Frames
	mappings := r.mappings()
	for _, s := range r.Series {
		times := make([]time.Time, 0, len(s.Values))
		values := make([]float64, 0, len(s.Values))
		for i, v := range s.Values {
			if !math.IsNaN(v) {
				times = append(times, time.UnixMilli(r.Time(i)).UTC())
				values = append(values, v)
			}
		}
		if len(values) > 0 {
			frames = append(frames, typed(data.FrameTypeTimeSeriesMulti, timeField(times, r.Step), s.field(values, mappings)))
		}
	}
	if frames == nil {
		frames = data.Frames{typed(data.FrameTypeTimeSeriesMulti)}
	}
	return frames
}

func (r Rows) times() []time.Time {
	times := make([]time.Time, r.Len())
	for i := range times {
		times[i] = time.UnixMilli(r.Time(i)).UTC()
	}
	return times
}

// timeField sets the step as the field's interval, where the front end reads it. It
// must be in every packet that has a schema.
func timeField(times []time.Time, step int64) *data.Field {
	f := data.NewField(TimeName, nil, times)
	f.Config = &data.FieldConfig{Interval: float64(step)}
	return f
}

// TimeName is the name of the time field.
const TimeName = "time"

func (s Series) field(values any, mappings data.ValueMappings) *data.Field {
	f := data.NewField(s.Name, s.Labels, values)
	if s.Display != "" || s.Unit != "" || mappings != nil {
		f.Config = &data.FieldConfig{DisplayNameFromDS: s.Display, Unit: s.Unit, Mappings: mappings}
	}
	return f
}

// Empty returns the answer to a query without series. It has no time field, because
// Grafana would show that as a table.
func Empty() *data.Frame { return typed(data.FrameTypeTimeSeriesWide) }

// typed sets Type and TypeVersion: without both, alerting ignores the type.
func typed(t data.FrameType, fields ...*data.Field) *data.Frame {
	frame := data.NewFrame("", fields...)
	frame.Meta = &data.FrameMeta{Type: t, TypeVersion: data.FrameTypeVersion{0, 1}}
	return frame
}
