package grafana

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// Row has one value per series at one time, nil for none.
type Row []*float64

// Screen has what a panel shows: one row per time (Unix ms), of which the last one
// counts. It returns an error for rows that come more often than they should: twice
// in one answer or packet, or again although they are older than the overlap.
type Screen struct {
	rows   map[int64]Row
	newest int64
	step   int64 // ms
	// Live is the time of the first row that came from the stream and not from
	// a query, 0 if there is none.
	Live int64
}

// History clears the screen and shows an answer to a query.
func (s *Screen) History(frame *data.Frame) error {
	times, rows, err := rowsOf(frame)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	s.rows, s.Live = rows, 0
	s.step, s.newest = int64(frame.Fields[0].Config.Interval), math.MinInt64
	if len(times) > 0 {
		s.newest = times[len(times)-1]
	}
	return nil
}

// Packet adds a packet of a stream. Rows within the overlap replace those that the
// screen has already.
func (s *Screen) Packet(b []byte) error {
	times, values, err := decodePacket(b)
	if err == nil {
		err = ascending(times)
	}
	if err != nil {
		return err
	}
	newest := times[len(times)-1]
	// The overlap is 10 rows or 10 seconds of rows. A viewer may be ahead of the
	// stream that it joins; the overlap then counts from the stream's newest row.
	before := min(s.newest, newest) - max(10*s.step, 10_000)
	s.newest = max(s.newest, newest)
	for i, t := range times {
		row := make(Row, len(values))
		for f := range values {
			row[f] = values[f][i]
		}
		_, known := s.rows[t]
		if known && t <= before {
			return fmt.Errorf("row %d is sent again, from before the overlap, which begins after %d", t, before)
		}
		if !known && (s.Live == 0 || t < s.Live) {
			s.Live = t
		}
		s.rows[t] = row
	}
	return nil
}

// ErrChanged means that the stream tells viewers to query again.
var ErrChanged = errors.New("the rows have changed")

// decodePacket decodes a packet, a data frame in Grafana's JSON without a schema. A
// packet with a schema gives ErrChanged.
func decodePacket(b []byte) (times []int64, values [][]*float64, err error) {
	var packet struct {
		Schema *struct{} `json:"schema"`
		Data   struct {
			Values []json.RawMessage `json:"values"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b, &packet); err != nil {
		return nil, nil, fmt.Errorf("packet: %w", err)
	}
	if packet.Schema != nil {
		return nil, nil, ErrChanged
	}
	if len(packet.Data.Values) == 0 {
		return nil, nil, fmt.Errorf("packet without fields: %s", b)
	}
	if err := json.Unmarshal(packet.Data.Values[0], &times); err != nil {
		return nil, nil, fmt.Errorf("times of a packet: %w", err)
	}
	if len(times) == 0 {
		return nil, nil, fmt.Errorf("packet without rows: %s", b)
	}
	values = make([][]*float64, len(packet.Data.Values)-1)
	for i := range values {
		if err := json.Unmarshal(packet.Data.Values[i+1], &values[i]); err != nil {
			return nil, nil, fmt.Errorf("values of a packet: %w", err)
		}
		if len(values[i]) != len(times) {
			return nil, nil, fmt.Errorf("%d values for %d rows", len(values[i]), len(times))
		}
	}
	return times, values, nil
}

// ascending returns an error that names the first time that is not after the one
// before.
func ascending(times []int64) error {
	for i := 1; i < len(times); i++ {
		switch before, t := times[i-1], times[i]; {
		case t == before:
			return fmt.Errorf("row %d is there twice", t)
		case t < before:
			return fmt.Errorf("row %d comes after row %d", t, before)
		}
	}
	return nil
}

func rowsOf(frame *data.Frame) ([]int64, map[int64]Row, error) {
	times, rows := make([]int64, 0, frame.Rows()), make(map[int64]Row, frame.Rows())
	for i := range frame.Rows() {
		row := make(Row, len(frame.Fields)-1)
		for f := range row {
			if v, err := frame.Fields[f+1].NullableFloatAt(i); err == nil {
				row[f] = v
			}
		}
		if at, ok := frame.Fields[0].ConcreteAt(i); ok {
			t := at.(time.Time).UnixMilli()
			times, rows[t] = append(times, t), row
		}
	}
	return times, rows, ascending(times)
}

// Times returns the times of the rows, in order.
func (s *Screen) Times() []int64 {
	return slices.Sorted(maps.Keys(s.rows))
}

// Value returns the value of a series at a time, nil for none.
func (s *Screen) Value(t int64, series int) *float64 {
	return s.rows[t][series]
}

// Compare returns an error that names the first rows in (after, through] that the
// screen lacks, has in addition to the frame, or has with other values.
func (s *Screen) Compare(frame *data.Frame, after, through int64) error {
	within := func(rows map[int64]Row) map[int64]Row {
		kept := maps.Clone(rows)
		maps.DeleteFunc(kept, func(t int64, _ Row) bool { return t <= after || t > through })
		return kept
	}
	_, rows, err := rowsOf(frame)
	if err != nil {
		return fmt.Errorf("fresh query: %w", err)
	}
	shown, want := within(s.rows), within(rows)
	var wrong []string
	for _, t := range slices.Sorted(maps.Keys(want)) {
		switch row, ok := shown[t]; {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("row %d is missing", t))
		case !row.equal(want[t]):
			wrong = append(wrong, fmt.Sprintf("row %d is %v instead of %v", t, row, want[t]))
		}
	}
	for _, t := range slices.Sorted(maps.Keys(shown)) {
		if _, ok := want[t]; !ok {
			wrong = append(wrong, fmt.Sprintf("row %d is one too many", t))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d rows differ from a fresh query: %s", len(wrong), len(want),
		strings.Join(wrong[:min(len(wrong), 5)], ", "))
}

func (r Row) equal(other Row) bool {
	return slices.EqualFunc(r, other, func(a, b *float64) bool {
		return a == b || a != nil && b != nil && *a == *b
	})
}

func (r Row) String() string {
	b, _ := json.Marshal([]*float64(r))
	return string(b)
}
