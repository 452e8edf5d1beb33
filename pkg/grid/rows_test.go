package grid

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

var nan = math.NaN()

// ten rows at 10, 20 … 100, of two series.
func ten() Rows {
	a := []float64{1, 2, nan, 4, 5, 6, 7, 8, nan, 10}
	b := []float64{nan, -2, -3, -4, -5, -6, -7, -8, -9, nan}
	return Rows{Step: 10, After: 0, Through: 100, Series: []Series{
		{Name: "a", Labels: data.Labels{"x": "1"}, Display: "A", Unit: "s", Values: a},
		{Name: "b", Labels: data.Labels{"x": "2"}, Values: b},
	}}
}

// text is what tells rows apart.
func text(r Rows) string {
	return fmt.Sprintf("(%d,%d]/%d %v", r.After, r.Through, r.Step, r.Series)
}

func TestTimes(t *testing.T) {
	for _, tc := range []struct {
		name string
		rows Rows
		want []int64
	}{
		{"several", Rows{Step: 10, After: -20, Through: 10}, []int64{-10, 0, 10}},
		{"one", Rows{Step: 10, After: 90, Through: 100}, []int64{100}},
		{"none", Rows{Step: 10, After: 90, Through: 90}, nil},
		{"backwards", Rows{Step: 10, After: 90, Through: 80}, nil},
		{"the zero Rows", Rows{}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []int64
			for i := range tc.rows.Len() {
				got = append(got, tc.rows.Time(i))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestNewest(t *testing.T) {
	for _, tc := range []struct {
		n    int
		want string
	}{
		{0, "(100,100]/10 [{a x=1 A s []} {b x=2   []}]"},
		{1, "(90,100]/10 [{a x=1 A s [10]} {b x=2   [NaN]}]"},
		{3, "(70,100]/10 [{a x=1 A s [8 NaN 10]} {b x=2   [-8 -9 NaN]}]"},
		{10, text(ten())},
		{11, text(ten())},
	} {
		t.Run(fmt.Sprint(tc.n), func(t *testing.T) {
			rows := ten()
			got := rows.Newest(tc.n)
			if text(got) != tc.want {
				t.Errorf("got %s, want %s", text(got), tc.want)
			}
			if err := got.Check(); err != nil {
				t.Error(err)
			}
			if text(rows) != text(ten()) {
				t.Errorf("its origin was changed to %s", text(rows))
			}
		})
	}
}

// part returns the rows of ten in (after, through].
func part(after, through int64) Rows {
	r := ten()
	for i := range r.Series {
		r.Series[i].Values = r.Series[i].Values[after/10 : through/10]
	}
	r.After, r.Through = after, through
	return r
}

func TestAppend(t *testing.T) {
	change := func(r Rows, f func(*Rows)) Rows { f(&r); return r }
	for _, tc := range []struct {
		name        string
		first, next Rows
		joins       bool
	}{
		{"half and half", part(0, 50), part(50, 100), true},
		{"a single row", part(0, 90), part(90, 100), true},
		{"nothing", part(0, 100), part(100, 100), true},
		{"to nothing", part(0, 0), part(0, 100), true},
		{"labels and units that next lacks", part(0, 50), change(part(50, 100), func(r *Rows) {
			r.Series = []Series{{Name: "a", Values: r.Series[0].Values}, {Name: "b", Values: r.Series[1].Values}}
		}), true},
		{"a gap", part(0, 50), part(60, 100), false},
		{"an overlap", part(0, 60), part(50, 100), false},
		{"the same again", part(0, 100), part(0, 100), false},
		{"to the zero Rows", Rows{}, part(50, 100), false},
		{"another step", part(0, 50), change(part(50, 100), func(r *Rows) { r.Step = 50 }), false},
		{"a series fewer", part(0, 50), change(part(50, 100), func(r *Rows) { r.Series = r.Series[:1] }), false},
		{"another order", part(0, 50), change(part(50, 100), func(r *Rows) { slices.Reverse(r.Series) }), false},
		{"another name", part(0, 50), change(part(50, 100), func(r *Rows) { r.Series[0].Name = "c" }), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			firstWas, nextWas := text(tc.first), text(tc.next)
			got, joins := tc.first.Append(tc.next)
			want := tc.next
			if tc.joins {
				want = ten()
			}
			if joins != tc.joins || text(got) != text(want) {
				t.Errorf("got %s, %v; want %s, %v", text(got), joins, text(want), tc.joins)
			}
			if text(tc.first) != firstWas || text(tc.next) != nextWas {
				t.Error("what was appended, or to what, has changed")
			}
		})
	}
}

// Two appends to the same rows, as two readers of one tail make them, must not
// meet in one array.
func TestAppendSharesNothing(t *testing.T) {
	first := part(0, 50)
	one, _ := first.Append(part(50, 100))
	two, _ := first.Append(part(50, 100))
	one.Series[0].Values[9] = -1
	one.Series[0].Values[0] = -1
	one.Series[0].Name = "changed"
	if text(two) != text(ten()) || text(first) != text(part(0, 50)) {
		t.Errorf("the change reached %s and %s", text(two), text(first))
	}
	kept := ten()
	newest := kept.Newest(3)
	newest.Series[0].Name = "changed"
	if text(kept) != text(ten()) {
		t.Errorf("the change reached %s", text(kept))
	}
}

func TestFramesHaveTheirOwnValues(t *testing.T) {
	rows := ten()
	wide, multi := rows.Frame(), rows.Multi()
	*wide.Fields[1].At(0).(*float64) = -1
	multi[0].Fields[1].Set(1, -1.0)
	if text(rows) != text(ten()) {
		t.Errorf("the change reached %s", text(rows))
	}
	rows.Series[0].Values[0], rows.Series[0].Values[1] = 77, 77
	if v := *wide.Fields[1].At(1).(*float64); v != 2 {
		t.Errorf("the change reached the frame: %v", v)
	}
	if v := multi[0].Fields[1].At(0).(float64); v != 1 {
		t.Errorf("the change reached the frames: %v", v)
	}
}

// Ranges of several steps become one whose rows have times of their own.
func TestJoin(t *testing.T) {
	notice := data.Notice{Text: "a notice"}
	one := func(step, after, through int64, names ...string) Rows {
		r := Rows{Step: step, After: after, Through: through, Notices: []data.Notice{notice}}
		for _, name := range names {
			s := Series{Name: name, Unit: "s", Labels: data.Labels{"name": name}}
			for i := range r.Len() {
				s.Values = append(s.Values, float64(r.Time(i)))
			}
			r.Series = append(r.Series, s)
		}
		return r
	}
	alike := Join(24, []Rows{one(24, 6, 54, "b", "a"), one(25, 54, 79, "b", "a")})
	if got, want := text(alike), "(6,79]/24 [{b name=b  s [30 54 79]} {a name=a  s [30 54 79]}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	other := Join(24, []Rows{one(24, 6, 54, "b"), one(25, 54, 79, "b", "a"), one(24, 79, 103, "a")})
	if got, want := text(other), "(6,103]/24 [{a name=a  s [NaN NaN 79 103]} {b name=b  s [30 54 79 NaN]}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := text(other.Newest(2)), "(54,103]/24 [{a name=a  s [79 103]} {b name=b  s [79 NaN]}]"; got != want {
		t.Errorf("the newest: got %s, want %s", got, want)
	}
	if !slices.Equal(other.At, []int64{30, 54, 79, 103}) || !slices.Equal(other.Newest(2).At, []int64{79, 103}) {
		t.Errorf("the times are %v", other.At)
	}
	if len(other.Notices) != 1 {
		t.Errorf("the notices are %v", other.Notices)
	}
	frame := other.Frame()
	if at := frame.At(0, 2).(time.Time); at.UnixMilli() != 79 || frame.Fields[0].Config.Interval != 24 {
		t.Errorf("the third row of the frame is at %v, the interval %v", at, frame.Fields[0].Config.Interval)
	}
	if none := Join(24, []Rows{one(24, 6, 6, "a")}); none.Len() != 0 || len(none.Series) != 1 {
		t.Errorf("of no rows: %s", text(none))
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Rows)
		want   string
	}{
		{"right", func(*Rows) {}, ""},
		{"no series", func(r *Rows) { r.Series = nil }, ""},
		{"no rows", func(r *Rows) { *r = r.Newest(0) }, ""},
		{"before 1970", func(r *Rows) { r.After, r.Through = -200, -100 }, ""},
		{"the zero Rows", func(r *Rows) { *r = Rows{} }, "(0, 0] is not a range of whole steps of 0"},
		{"a negative step", func(r *Rows) { r.Step = -10 }, "(0, 100] is not a range of whole steps of -10"},
		{"begins between steps", func(r *Rows) { r.After = 5 }, "(5, 100] is not a range of whole steps of 10"},
		{"ends between steps", func(r *Rows) { r.Through = 101 }, "(0, 101] is not a range of whole steps of 10"},
		{"backwards", func(r *Rows) { r.After = 200 }, "(200, 100] is not a range of whole steps of 10"},
		{"longer than an int64", func(r *Rows) { r.Step, r.After, r.Through = 1, math.MinInt64, math.MaxInt64 },
			"(-9223372036854775808, 9223372036854775807] is not a range of whole steps of 1"},
		{"a value too few", func(r *Rows) { r.Series[1].Values = r.Series[1].Values[1:] }, `series "b" has 9 values for 10 rows`},
		{"a row too many", func(r *Rows) { r.Through += 10 }, `series "a" has 10 values for 11 rows`},
		{"one name twice", func(r *Rows) { r.Series[1].Name = "a" }, `two fields are named "a"`},
		{"the name of the time field", func(r *Rows) { r.Series[1].Name = "time" }, `two fields are named "time"`},
		{"a name that JSON would change", func(r *Rows) { r.Series[1].Name = "b\xff" }, `the name of series "b\xff" is not UTF-8`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := ten()
			tc.change(&r)
			got := ""
			if err := r.Check(); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// The JSON is what Grafana and the guard read; nothing in it may change by
// accident.
func TestFrameJSON(t *testing.T) {
	const head = `{"schema":{"meta":{"type":"timeseries-wide","typeVersion":[0,1]},"fields":[` +
		`{"name":"time","type":"time","typeInfo":{"frame":"time.Time"},"config":{"interval":10}}`
	const series = `,{"name":"a","type":"number","typeInfo":{"frame":"float64","nullable":true},"labels":{"x":"1"},"config":{"displayNameFromDS":"A","unit":"s"}}` +
		`,{"name":"b","type":"number","typeInfo":{"frame":"float64","nullable":true},"labels":{"x":"2"}}`
	for _, tc := range []struct {
		name string
		rows Rows
		want string
	}{
		{"rows", part(70, 100), head + series + `]},"data":{"values":[[80,90,100],[8,null,10],[-8,-9,null]]}}`},
		{"no rows", part(100, 100), head + series + `]},"data":{"values":[[],[],[]]}}`},
		{"no series", Rows{Step: 10, After: 90, Through: 100}, head + `]},"data":{"values":[[100]]}}`},
		{"before 1970", Rows{Step: 10, After: -20, Through: 0}, head + `]},"data":{"values":[[-10,0]]}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := json.Marshal(tc.rows.Frame())
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestMulti(t *testing.T) {
	const head = `{"schema":{"meta":{"type":"timeseries-multi","typeVersion":[0,1]},"fields":[`
	const time = `{"name":"time","type":"time","typeInfo":{"frame":"time.Time"},"config":{"interval":10}}`
	const a = `,{"name":"a","type":"number","typeInfo":{"frame":"float64"},"labels":{"x":"1"},"config":{"displayNameFromDS":"A","unit":"s"}}`
	const b = `,{"name":"b","type":"number","typeInfo":{"frame":"float64"},"labels":{"x":"2"}}`
	const none = `[` + head + `]},"data":{"values":[]}}]`
	for _, tc := range []struct {
		name string
		rows Rows
		want string
	}{
		{"nulls are left out", part(70, 100), `[` + head + time + a + `]},"data":{"values":[[80,100],[8,10]]}},` +
			head + time + b + `]},"data":{"values":[[80,90],[-8,-9]]}}]`},
		{"a series without values is left out", part(90, 100), `[` + head + time + a + `]},"data":{"values":[[100],[10]]}}]`},
		{"no rows", part(100, 100), none},
		{"no series", Rows{Step: 10, After: 0, Through: 100}, none},
		{"no values", Rows{Step: 10, After: 0, Through: 10, Series: []Series{{Name: "a", Values: []float64{nan}}}}, none},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := json.Marshal(tc.rows.Multi())
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// Grafana's data plane contract, as far as these two formats go.
// https://grafana.com/developers/dataplane/timeseries
func TestDataPlaneContract(t *testing.T) {
	for _, tc := range []struct {
		name   string
		frames data.Frames
		format data.FrameType
	}{
		{"wide", data.Frames{ten().Frame()}, data.FrameTypeTimeSeriesWide},
		{"wide, no rows", data.Frames{part(50, 50).Frame()}, data.FrameTypeTimeSeriesWide},
		{"multi", ten().Multi(), data.FrameTypeTimeSeriesMulti},
		{"multi, no rows", part(50, 50).Multi(), data.FrameTypeTimeSeriesMulti},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.format == data.FrameTypeTimeSeriesWide && len(tc.frames) != 1 {
				t.Fatalf("%d wide frames", len(tc.frames))
			}
			items := map[string]bool{}
			for _, f := range tc.frames {
				if f.Meta.Type != tc.format || f.Meta.TypeVersion != (data.FrameTypeVersion{0, 1}) {
					t.Errorf("the type is %s %v", f.Meta.Type, f.Meta.TypeVersion)
				}
				if _, err := f.RowLen(); err != nil {
					t.Error(err)
				}
				if len(f.Fields) == 0 {
					if len(tc.frames) != 1 {
						t.Error("a frame without fields beside others")
					}
					continue
				}
				if f.Fields[0].Type() != data.FieldTypeTime {
					t.Errorf("the first field is a %s", f.Fields[0].Type())
				}
				for i := 1; i < f.Rows(); i++ {
					if !f.Fields[0].At(i - 1).(time.Time).Before(f.Fields[0].At(i).(time.Time)) {
						t.Errorf("row %d is not after the one before it", i)
					}
				}
				if tc.format == data.FrameTypeTimeSeriesMulti && len(f.Fields) != 2 {
					t.Errorf("%d fields in a frame of multi", len(f.Fields))
				}
				for _, field := range f.Fields[1:] {
					if !field.Type().Numeric() {
						t.Errorf("field %q is a %s", field.Name, field.Type())
					}
					item := field.Name + field.Labels.String()
					if items[item] {
						t.Errorf("two series are %s", item)
					}
					items[item] = true
				}
			}
		})
	}
}

// A frame must survive its way through JSON to Grafana, odd values included.
func TestFrameRoundTrip(t *testing.T) {
	rows := ten()
	rows.Series[0].Values = []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), nan,
		math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1 + 0.2, 1e21, -1e-7}
	rows.Series[0].Name = "<&>\u2028\"{é}"
	b, err := json.Marshal(rows.Frame())
	if err != nil {
		t.Fatal(err)
	}
	var got data.Frame
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Fields[1].Name != rows.Series[0].Name {
		t.Errorf("the name has become %q", got.Fields[1].Name)
	}
	for i, want := range rows.Series[0].Values {
		v := got.Fields[1].At(i).(*float64)
		switch {
		case math.IsNaN(want):
			if v != nil {
				t.Errorf("null has become %v", *v)
			}
		case v == nil || *v != want:
			t.Errorf("%v has become %v", want, v)
		}
		if at := got.Fields[0].At(i).(time.Time); at.UnixMilli() != rows.Time(i) {
			t.Errorf("time %d has become %v", rows.Time(i), at)
		}
	}
}

func TestFields(t *testing.T) {
	if got := ten().Fields(); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
	if got := (Rows{}).Fields(); got == nil || len(got) != 0 {
		t.Errorf("no series: got %#v, which is not an empty list in JSON", got)
	}
}

func thousand() Rows {
	r := Rows{Step: 1000, After: 0, Through: 1_000_000, Series: []Series{{Name: "a", Labels: data.Labels{"x": "1"}, Display: strings.Repeat("a", 20)}}}
	for i := range r.Len() {
		r.Series[0].Values = append(r.Series[0].Values, float64(i))
	}
	return r
}

func BenchmarkFrame(b *testing.B) {
	rows := thousand()
	b.ReportAllocs()
	for b.Loop() {
		rows.Frame()
	}
}

func BenchmarkMulti(b *testing.B) {
	rows := thousand()
	b.ReportAllocs()
	for b.Loop() {
		rows.Multi()
	}
}
