package metricsapi

import (
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

func TestDecodeSeries(t *testing.T) {
	const from, to = 1_000_000_000_000, 1_000_000_060_001
	for _, tc := range []struct{ name, answer, want string }{
		{"nothing", `{"timestamps":[],"values":[]}`, `[]`},
		{"points", `{"timestamps":[1000000000000,1000000060001],"values":[1.5,null]}`, `[{1000000000000000000 1.5} {1000000060001000000 NaN}]`},
		{"texts", `{"timestamps":["2001-09-09T01:46:40.000000001Z","2001-09-09T03:46:41+02:00"],"values":[1,-2e3]}`, `[{1000000000000000001 1} {1000000001000000000 -2000}]`},
		{"an exponent", `{"timestamps":[1e12],"values":[0]}`, `[{1000000000000000000 0}]`},
		{"any case and order", `{"UNIT":"s","Values":[1],"TimeStamps":[1000000000000],"Labels":{"b":"2","a":"1"}}`, `[{1000000000000000000 1}] a=1, b=2 s`},
		{"unknown fields", `{"x":{"values":[{"timestamps":[1]},null]},"timestamps":[],"y":"","values":[],"z":[]}`, `[]`},
		{"nulls where nothing need be", `{"timestamps":[],"values":[],"labels":null,"unit":null}`, `[]`},

		{"empty", ``, "is not JSON: it ends too early"},
		{"not JSON", `<html>`, "is a web page"},
		{"Python's NaN", `{"timestamps":[1000000000000],"values":[NaN]}`, "is not JSON: invalid character 'N' at start of value"},
		{"cut off", `{"timestamps":[1000000000000`, "is not JSON: it ends too early"},
		{"cut off in a skipped field", `{"x":[[`, "is not JSON: it ends too early"},
		{"cut off before its end", `{"timestamps":[],"values":[]`, "is not JSON: it ends too early"},
		{"a list", `[]`, "is wrong: it is a list and not an object"},
		{"null", `null`, "is wrong: it is null and not an object"},
		{"two answers", `{"timestamps":[],"values":[]}{}`, "is wrong: something follows its end"},
		{"something after it", `{"timestamps":[],"values":[]}x`, "is wrong: something follows its end"},
		{"no timestamps", `{"values":[]}`, "is wrong: it has no field timestamps"},
		{"no values", `{"timestamps":[]}`, "is wrong: it has no field values"},
		{"a byte order mark", "\uFEFF" + `{"timestamps":[1000000000000],"values":[1]}`, "[{1000000000000000000 1}]"},
		{"an error with status 200", `{"error":"no such metric"}`, "is an error: no such metric"},
		{"an error beside points", `{"timestamps":[1000000000000],"values":[1],"Error":"one shard is away"}`, "is an error: one shard is away"},
		{"no error", `{"error":"","timestamps":[],"values":[]}`, "[]"},
		{"no error either", `{"error":null,"timestamps":[],"values":[],"ERROR":{"a":1}}`, "[]"},
		{"small letters", `{"timestamps":["2001-09-09t01:46:40z"],"values":[1]}`, "[{1000000000000000000 1}]"},
		{"an hour of 24", `{"timestamps":["2001-09-09T24:00:00Z"],"values":[1]}`, `is wrong: timestamps[0] is "2001-09-09T24:00:00Z", which is not a time as in RFC 3339, such as 2006-01-02T15:04:05.000Z`},
		{"a date alone", `{"timestamps":["2001-09-09"],"values":[1]}`, `is wrong: timestamps[0] is "2001-09-09", which is not a time as in RFC 3339, such as 2006-01-02T15:04:05.000Z`},
		{"microseconds", `{"timestamps":[1000000000000000],"values":[1]}`, `is wrong: timestamps[0] is 1000000000000000, which looks like microseconds: numbers must be milliseconds`},
		{"nanoseconds", `{"timestamps":[1000000000000000000],"values":[1]}`, `is wrong: timestamps[0] is 1000000000000000000, which looks like nanoseconds: numbers must be milliseconds`},
		{"a number in quotes", `{"timestamps":["1000000000000"],"values":[1]}`, `is wrong: timestamps[0] is "1000000000000", which is not a time as in RFC 3339, such as 2006-01-02T15:04:05.000Z`},
		{"a comma too many", `{"timestamps":[1000000000000],"values":[1],}`, "is not JSON: invalid character ',' at start of value"},
		{"NaN in quotes", `{"timestamps":[1000000000000],"values":["NaN"]}`, `is wrong: values[0] is the text "NaN": use a number, or null for none`},
		{"-Infinity", `{"timestamps":[1000000000000],"values":[-Infinity]}`, "is not JSON: invalid character 'I' in number (expecting digit)"},
		{"a large integer", `{"timestamps":[1000000000000],"values":[9007199254740993]}`, "[{1000000000000000000 9.007199254740992e+15}]"},
		{"a lone surrogate", `{"timestamps":[],"values":[],"labels":{"a":"\ud800"}}`, "[] a=\uFFFD"},
		{"encoded twice", `"{\"timestamps\":[]}"`, `is wrong: it is the text "{\"timestamps\":[]}" and not an object`},
		{"a field twice", `{"timestamps":[],"values":[],"Values":[]}`, "is wrong: it has the field values twice"},
		{"null for a list", `{"timestamps":null,"values":[]}`, "is wrong: timestamps is null and not a list"},
		{"a value too few", `{"timestamps":[1000000000000],"values":[]}`, "is wrong: it has 1 timestamps and 0 values"},
		{"a value too many", `{"timestamps":[],"values":[1]}`, "is wrong: it has 0 timestamps and 1 values"},
		{"a text for a value", `{"timestamps":[1000000000000],"values":["1"]}`, `is wrong: values[0] is the text "1": use a number, or null for none`},
		{"a list for a value", `{"timestamps":[1000000000000],"values":[[1]]}`, `is wrong: values[0] is a list: use a number, or null for none`},
		{"true for a value", `{"timestamps":[1000000000000],"values":[true]}`, `is wrong: values[0] is true: use a number, or null for none`},
		{"a value beyond float64", `{"timestamps":[1000000000000],"values":[1e999]}`, `is wrong: values[0] is 1e999, which does not fit into 64 bits`},
		{"a fraction of a millisecond", `{"timestamps":[1000000000000.5],"values":[1]}`, `is wrong: timestamps[0] is 1000000000000.5, which is not a whole number of milliseconds`},
		{"a null time", `{"timestamps":[null],"values":[1]}`, `is wrong: timestamps[0] is null and not a time`},
		{"a time without zone", `{"timestamps":["2001-09-09T01:46:40"],"values":[1]}`, `is wrong: timestamps[0] is "2001-09-09T01:46:40", which is not a time as in RFC 3339, such as 2006-01-02T15:04:05.000Z`},
		{"a time beyond all times", `{"timestamps":[1e13],"values":[1]}`, `is wrong: timestamps[0] is not between the years 1700 and 2200`},
		{"seconds", `{"timestamps":[1000000000],"values":[1]}`, `is wrong: timestamps[0] is 1970-01-12T13:46:40Z, which was not asked for: numbers must be milliseconds, not seconds`},
		{"too early", `{"timestamps":[999999999999],"values":[1]}`, `is wrong: timestamps[0] is 2001-09-09T01:46:39.999Z, which was not asked for: that was 2001-09-09T01:46:40.000Z to 2001-09-09T01:47:40.001Z`},
		{"too late by a nanosecond", `{"timestamps":["2001-09-09T01:47:40.001000001Z"],"values":[1]}`, `is wrong: timestamps[0] is 2001-09-09T01:47:40.001000001Z, which was not asked for: that was 2001-09-09T01:46:40.000Z to 2001-09-09T01:47:40.001Z`},
		{"one time twice", `{"timestamps":[1000000000000,"2001-09-09T01:46:40Z"],"values":[1,1]}`, `is wrong: timestamps[1] is 2001-09-09T01:46:40Z, as is the one before: a metric has one point for each time`},
		{"not in order", `{"timestamps":[1000000001000,1000000000000],"values":[1,1]}`, `is wrong: timestamps[1] is 2001-09-09T01:46:40Z, which is before 2001-09-09T01:46:41Z: points must come in the order of time`},
		{"labels that are a list", `{"timestamps":[],"values":[],"labels":[]}`, `is wrong: labels is a list and not an object`},
		{"a label that is a number", `{"timestamps":[],"values":[],"labels":{"a":1}}`, `is wrong: label a is the number 1 and not a text`},
		{"a label twice", `{"timestamps":[],"values":[],"labels":{"a":"","a":""}}`, `is wrong: it has the label a twice`},
		{"a long label", fmt.Sprintf(`{"timestamps":[],"values":[],"labels":{"a":%q}}`, strings.Repeat("x", 1001)), `is wrong: label a is not a text of at most 1000 bytes`},
		{"a unit that is a number", `{"timestamps":[],"values":[],"unit":1}`, `is wrong: unit is the number 1 and not a text`},
		{"too many points", `{"timestamps":[],"values":[` + strings.Repeat("1,", int(limits.Points.Most)) + `1]}`, "Points of a metrics API: 1000001 points are more than the limit of 1000000: choose a shorter time range, or narrow the query down"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r io.Reader = strings.NewReader(tc.answer)
			if len(tc.answer) < 10_000 {
				r = iotest.OneByteReader(r)
			}
			s, err := decodeSeries(t.Context(), r, from, to)
			got := strings.TrimSpace(fmt.Sprintf("%v %v %s", s.points, s.labels, s.unit))
			if err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestDecodeLatest(t *testing.T) {
	for _, tc := range []struct{ answer, want string }{
		{`{"timestamp":1000000000000,"value":1}`, "1000000000000000000 true <nil>"},
		{`{"Value":null,"Timestamp":"2001-09-09T01:46:40.5Z","unit":5}`, "1000000000500000000 true <nil>"},
		{`{"timestamp":null,"value":null}`, "0 false <nil>"},
		{`{"timestamp":1}`, "1000000 true is wrong: it has no field value"},
		{`{"value":1}`, "0 false is wrong: it has no field timestamp"},
		{`{"timestamp":"now","value":1}`, `0 false is wrong: timestamp is "now", which is not a time as in RFC 3339, such as 2006-01-02T15:04:05.000Z`},
		{`{"timestamp":1,"value":"1"}`, `1000000 true is wrong: value is the text "1": use a number, or null for none`},
	} {
		at, ok, err := decodeLatest(strings.NewReader(tc.answer))
		if got := fmt.Sprint(at, ok, err); got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.answer, got, tc.want)
		}
	}
}

// Whatever comes, points are in order, within the range, and have their values.
func FuzzDecode(f *testing.F) {
	f.Add(`{"timestamps":[1000000000000,"2001-09-09T01:46:41.5Z"],"values":[1.5,null],"labels":{"a":"b"},"unit":"s"}`)
	f.Add(`{"timestamp":1e12,"value":1,"x":[{}]}`)
	f.Add(`[[[[`)
	f.Add(`["a"]`)
	f.Fuzz(func(t *testing.T, answer string) {
		const from, to = 1_000_000_000_000, 1_000_000_060_000
		s, err := decodeSeries(t.Context(), strings.NewReader(answer), from, to)
		for i, p := range s.points {
			if err != nil || p.at < from*1e6 || p.at > to*1e6 || i > 0 && p.at <= s.points[i-1].at || math.IsInf(p.value, 0) {
				t.Errorf("%s: %v, %v", answer, s, err)
			}
		}
		_, _, _ = decodeLatest(strings.NewReader(answer))
		_, _ = decodeNames(strings.NewReader(answer))
	})
}

func BenchmarkDecode(b *testing.B) {
	var times, values []string
	for i := range 10_000 {
		times = append(times, fmt.Sprint(1_000_000_000_000+i))
		values = append(values, fmt.Sprint(float64(i)/7))
	}
	answer := `{"timestamps":[` + strings.Join(times, ",") + `],"values":[` + strings.Join(values, ",") + `]}`
	b.SetBytes(int64(len(answer)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeSeries(b.Context(), strings.NewReader(answer), 1_000_000_000_000, 1_000_001_000_000); err != nil {
			b.Fatal(err)
		}
	}
}
