package grid

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// The columns of a [Rows.Table] beside the labels.
const (
	timeColumn  = "Time"
	valueColumn = "Value"
)

// newest returns the newest row that has a value of a series, -1 if none has.
func newest(s Series) int {
	for i, v := range slices.Backward(s.Values) {
		if !math.IsNaN(v) {
			return i
		}
	}
	return -1
}

// Table returns one row per series that has a value: the time of the newest one, the
// labels, a column each in the order of their names, and the value, in a column that
// is shown under the given name. It is empty without such a series.
func (r Rows) Table(name string) *data.Frame {
	var times []time.Time
	var values []float64
	labels := make(map[string][]string)
	for _, s := range r.Series {
		for label := range s.Labels {
			labels[label] = nil
		}
	}
	unit := ""
	for _, s := range r.Series {
		i := newest(s)
		if i < 0 {
			continue
		}
		if len(values) == 0 {
			unit = s.Unit
		} else if unit != s.Unit {
			unit = ""
		}
		times = append(times, time.UnixMilli(r.Time(i)).UTC())
		values = append(values, s.Values[i])
		for label, column := range labels {
			labels[label] = append(column, s.Labels[label])
		}
	}
	if len(values) == 0 {
		return typed(data.FrameTypeTable)
	}
	fields := []*data.Field{data.NewField(timeColumn, nil, times)}
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		column := label
		if label == timeColumn || label == valueColumn {
			column += " (label)"
		}
		fields = append(fields, data.NewField(column, nil, labels[label]))
	}
	value := data.NewField(valueColumn, nil, values)
	if name != "" || unit != "" {
		value.Config = &data.FieldConfig{DisplayNameFromDS: name, Unit: unit}
	}
	frame := typed(data.FrameTypeTable, append(fields, value)...)
	frame.Meta.PreferredVisualization = data.VisTypeTable
	return frame
}

// Numbers returns the newest value of each series that has one, in a frame each: what
// alert rules and expressions compare without reducing it first. Without any the
// answer is a single frame without fields.
//
// The format is NumericMulti of Grafana's data plane contract.
func (r Rows) Numbers() data.Frames {
	var frames data.Frames
	for _, s := range r.Series {
		if i := newest(s); i >= 0 {
			frames = append(frames, typed(data.FrameTypeNumericMulti, s.field([]float64{s.Values[i]}, nil)))
		}
	}
	if frames == nil {
		frames = data.Frames{typed(data.FrameTypeNumericMulti)}
	}
	return frames
}
