package grafana

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// answer has a row with the value 1 at each of the times, in seconds.
func answer(seconds ...int64) *data.Frame {
	times, values := make([]time.Time, len(seconds)), make([]float64, len(seconds))
	for i, s := range seconds {
		times[i], values[i] = time.Unix(s, 0), 1
	}
	frame := data.NewFrame("", data.NewField("time", nil, times), data.NewField("value", nil, values))
	frame.Fields[0].Config = &data.FieldConfig{Interval: 1000}
	return frame
}

func packetOf(t *testing.T, seconds ...int64) []byte {
	t.Helper()
	b, err := data.FrameToJSON(answer(seconds...), data.IncludeDataOnly)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func span(from, through int64) (seconds []int64) {
	for s := from; s <= through; s++ {
		seconds = append(seconds, s)
	}
	return seconds
}

// The screen takes what the hand-off may send, and tells all other repeats.
func TestScreenRepeats(t *testing.T) {
	for _, tc := range []struct {
		name    string
		history []int64
		packets [][]int64
		err     string
	}{
		{"rows that follow", span(1, 60), [][]int64{{61}, {62, 63}}, ""},
		{"the overlap", span(1, 60), [][]int64{span(51, 60), {61}, span(52, 61)}, ""},
		{"the overlap of a stream that is behind", span(1, 60), [][]int64{span(49, 58)}, ""},
		{"the overlap and a change in it", span(1, 60), [][]int64{span(51, 61), span(52, 64)}, ""},
		{"an overlap from before the window", span(58, 60), [][]int64{span(51, 60)}, ""},
		{"an answer with a row twice", []int64{1, 2, 2, 3}, nil, "history: row 2000 is there twice"},
		{"an answer that goes back", []int64{1, 3, 2}, nil, "history: row 2000 comes after row 3000"},
		{"a packet with a row twice", span(1, 60), [][]int64{{61, 61}}, "row 61000 is there twice"},
		{"a packet that goes back", span(1, 60), [][]int64{{62, 61}}, "row 61000 comes after row 62000"},
		{"a row from before the overlap", span(1, 60), [][]int64{{50}}, ""},
		{"more than the overlap", span(1, 60), [][]int64{span(50, 60)}, "row 50000 is sent again, from before the overlap"},
		{"more than the overlap, with what follows", span(1, 60), [][]int64{{61}, span(51, 62)}, "row 51000 is sent again"},
		{"the whole history", span(1, 60), [][]int64{span(1, 60)}, "row 1000 is sent again"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s Screen
			err := s.History(answer(tc.history...))
			for _, p := range tc.packets {
				if err == nil {
					err = s.Packet(packetOf(t, p...))
				}
			}
			if got := fmt.Sprint(err); (err == nil) != (tc.err == "") || !strings.Contains(got, tc.err) {
				t.Errorf("got %s, want %q", got, tc.err)
			}
		})
	}
}

func TestScreenCompare(t *testing.T) {
	var s Screen
	if err := s.History(answer(span(1, 5)...)); err != nil {
		t.Fatal(err)
	}
	if err := s.Packet(packetOf(t, 6, 8)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		fresh []int64
		err   string
	}{
		{[]int64{1, 2, 3, 4, 5, 6, 8}, ""},
		{span(1, 8), "row 7000 is missing"},
		{[]int64{1, 2, 3, 4, 5, 6}, "row 8000 is one too many"},
		{[]int64{1, 2, 3, 4, 5, 6, 8, 8}, "fresh query: row 8000 is there twice"},
	} {
		err := s.Compare(answer(tc.fresh...), 0, 8000)
		if (err == nil) != (tc.err == "") || !strings.Contains(fmt.Sprint(err), tc.err) {
			t.Errorf("%v: got %v, want %q", tc.fresh, err, tc.err)
		}
	}
}
