package signal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/sourcetest"
)

func parse(t testing.TB, raw string) query {
	t.Helper()
	q, err := Source{}.Query(json.RawMessage(raw))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return q.(query)
}

func TestConformance(t *testing.T) {
	for _, shape := range Shapes {
		t.Run(shape, func(t *testing.T) {
			sourcetest.Run(t, sourcetest.Subject{
				Query:  json.RawMessage(fmt.Sprintf(`{"shape":%q,"lowerLimit":-5,"upperLimit":7.5}`, shape)),
				Source: Source{},
				Steps:  []int64{1000, 2500, 15_000},
			})
		})
	}
}

// The same under a clock that moves by itself: an hour, a leap day, a year.
func TestConformanceOverTime(t *testing.T) {
	for _, shape := range Shapes {
		for _, tick := range []int64{MinTick, 250, 60_000, MaxTick} {
			for _, pass := range []time.Duration{time.Hour, 60 * 24 * time.Hour, 366 * 24 * time.Hour} {
				t.Run(fmt.Sprintf("%s, tick %d, %v", shape, tick, pass), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						err := sourcetest.Verify(t.Context(), sourcetest.Subject{
							Query:   json.RawMessage(fmt.Sprintf(`{"shape":%q,"tickInterval":%d}`, shape, tick)),
							Source:  Source{},
							Steps:   []int64{tick, 3*tick + 7},
							Rows:    50,
							Between: func() { time.Sleep(pass) },
						})
						if err != nil {
							t.Error(err)
						}
					})
				})
			}
		}
	}
}

func bind(t testing.TB, q source.Query, step int64) source.Bound {
	t.Helper()
	b, err := q.Bind(step, 1000*step)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSettledIsNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := parse(t, `{"tickInterval":10}`)
		for range 3 {
			now := time.Now().UnixMilli()
			if got, err := bind(t, q, 10).Settled(t.Context()); got != now || err != nil {
				t.Errorf("got %d, %v at %d", got, err, now)
			}
			if _, err := bind(t, q, 10).Rows(t.Context(), now-100, now); err != nil {
				t.Errorf("up to now: %v", err)
			}
			if _, err := bind(t, q, 10).Rows(t.Context(), now-100, now+10); !errors.Is(err, source.ErrNotSettled) {
				t.Errorf("beyond now: %v", err)
			}
			time.Sleep(1230 * time.Millisecond)
		}
	})
}

// A question that cannot be answered is an error and not a panic.
func TestRowsOffTheGrid(t *testing.T) {
	q := parse(t, `{}`)
	for _, tc := range []struct {
		name                 string
		step, after, through int64
	}{
		{"no step", 0, 0, 1000},
		{"a negative step", -1000, 0, 1000},
		{"begins off the grid", 1000, 1, 1000},
		{"ends off the grid", 1000, 0, 1001},
		{"backwards", 1000, 2000, 1000},
		{"longer than an int64", 1, math.MinInt64, 1000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if rows, err := bind(t, q, tc.step).Rows(t.Context(), tc.after, tc.through); err == nil {
				t.Errorf("got %d rows", rows.Len())
			}
		})
	}
}

func TestRowsStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the panel was closed")
	cancel(why)
	if _, err := bind(t, parse(t, `{}`), 1000).Rows(ctx, 0, 1000); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

// A row between two ticks has the value of the tick before it, also before 1970.
func TestRowsBetweenTicks(t *testing.T) {
	q := parse(t, `{"tickInterval":1000}`)
	rows, err := bind(t, q, 250).Rows(t.Context(), -2250, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range rows.Series[0].Values {
		if want := q.at(int64(math.Floor(float64(rows.Time(i)) / 1000))); v != want {
			t.Errorf("row %d is %v, want %v", rows.Time(i), v, want)
		}
	}
}

func TestRowsFields(t *testing.T) {
	rows, err := bind(t, parse(t, `{"shape":"sine"}`), 1000).Rows(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%+v", rows.Series)
	if want := "[{Name:signal Labels:shape=sine Display:sine Unit:short Values:[]}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCheck(t *testing.T) {
	if got, err := (Source{}).Check(t.Context()); got != "The test signal is ready." || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// People see these messages in panels: each names the field and says what to do.
func TestQueryErrors(t *testing.T) {
	for _, tc := range []struct{ name, query, want string }{
		{"equal limits", `{"lowerLimit":5,"upperLimit":5}`, "lowerLimit 5 is not below upperLimit 5: lower the one or raise the other"},
		{"swapped limits", `{"lowerLimit":10,"upperLimit":-10}`, "lowerLimit 10 is not below upperLimit -10: lower the one or raise the other"},
		{"lower limit above the default of the upper", `{"lowerLimit":200}`, "lowerLimit 200 is not below upperLimit 100: lower the one or raise the other"},
		{"limits that float64 cannot tell apart", `{"lowerLimit":999999999999999.99,"upperLimit":1e15}`, "lowerLimit 1e+15 is not below upperLimit 1e+15: lower the one or raise the other"},
		{"0 and -0", `{"lowerLimit":-0,"upperLimit":0}`, "lowerLimit 0 is not below upperLimit 0: lower the one or raise the other"},
		{"NaN", `{"lowerLimit":"NaN"}`, `lowerLimit "NaN" is not a number: enter a finite number`},
		{"nan", `{"upperLimit":"nan"}`, `upperLimit "nan" is not a number: enter a finite number`},
		{"Infinity", `{"upperLimit":"Infinity"}`, `upperLimit "Infinity" is not a number: enter a finite number`},
		{"-inf", `{"lowerLimit":"-inf"}`, `lowerLimit "-inf" is not a number: enter a finite number`},
		{"a number beyond float64", `{"upperLimit":1e999}`, `upperLimit "1e999" is not a number: enter a finite number`},
		{"a string beyond float64", `{"lowerLimit":"-1e999"}`, `lowerLimit "-1e999" is not a number: enter a finite number`},
		{"an absurd limit", `{"upperLimit":1.1e15}`, "upperLimit 1.1e+15 is out of range: use a number from -1e+15 to 1e+15"},
		{"an absurd negative limit", `{"lowerLimit":-1e300}`, "lowerLimit -1e+300 is out of range: use a number from -1e+15 to 1e+15"},
		{"an unknown template variable", `{"lowerLimit":"$x"}`, `lowerLimit "$x" is not a number: enter a finite number`},
		{"a template variable of several values", `{"upperLimit":"{1,2}"}`, `upperLimit "{1,2}" is not a number: enter a finite number`},
		{"an empty field", `{"lowerLimit":""}`, `lowerLimit "" is not a number: enter a finite number`},
		{"a decimal comma", `{"lowerLimit":"1,5"}`, `lowerLimit "1,5" is not a number: enter a finite number`},
		{"true", `{"lowerLimit":true}`, `lowerLimit "true" is not a number: enter a finite number`},
		{"a list", `{"lowerLimit":[1]}`, `lowerLimit "[1]" is not a number: enter a finite number`},
		{"an object", `{"lowerLimit":{"a":1}}`, `lowerLimit "{\"a\":1}" is not a number: enter a finite number`},
		{"a long text", `{"lowerLimit":"01234567890123456789012345678901234567890123456789"}`[:60] + `x"}`, `lowerLimit "0123456789012345678901234567890123456789…" is not a number: enter a finite number`},
		{"a tick too short", `{"tickInterval":9}`, "tickInterval 9 is out of range: use a whole number of milliseconds from 10 to 86400000"},
		{"a tick of 0", `{"tickInterval":0}`, "tickInterval 0 is out of range: use a whole number of milliseconds from 10 to 86400000"},
		{"a negative tick", `{"tickInterval":-1000}`, "tickInterval -1000 is out of range: use a whole number of milliseconds from 10 to 86400000"},
		{"a tick too long", `{"tickInterval":86400001}`, "tickInterval 86400001 is out of range: use a whole number of milliseconds from 10 to 86400000"},
		{"a tick beyond int64", `{"tickInterval":1e300}`, "tickInterval 1e300 is out of range: use a whole number of milliseconds from 10 to 86400000"},
		{"a broken tick", `{"tickInterval":10.5}`, "tickInterval 10.5 is out of range: use a whole number of milliseconds from 10 to 86400000"},
		{"a tick that is not a number", `{"tickInterval":"NaN"}`, `tickInterval "NaN" is not a number: enter a finite number`},
		{"a tick with its unit", `{"tickInterval":"1s"}`, `tickInterval "1s" is not a number: enter a finite number`},
		{"a tick that is a template variable", `{"tickInterval":"${tick}"}`, `tickInterval "${tick}" is not a number: enter a finite number`},
		{"an unknown shape", `{"shape":"triangle"}`, `shape "triangle" is not known: choose one of walk, sine, square, sawtooth, noise`},
		{"an empty shape", `{"shape":""}`, `shape "" is not known: choose one of walk, sine, square, sawtooth, noise`},
		{"a shape in another case", `{"shape":"Sine"}`, `shape "Sine" is not known: choose one of walk, sine, square, sawtooth, noise`},
		{"a shape that is no text", `{"shape":5}`, `shape "5" is not known: choose one of walk, sine, square, sawtooth, noise`},
		{"nothing", ``, "the query is not a JSON object: unexpected end of JSON input"},
		{"not JSON", `{"shape":`, "the query is not a JSON object: unexpected end of JSON input"},
		{"a bare NaN", `{"lowerLimit":NaN}`, "the query is not a JSON object: invalid character 'N' looking for beginning of value"},
		{"a list for a query", `[]`, "the query is not a JSON object: json: cannot unmarshal array into Go value of type signal.fields"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q, err := Source{}.Query(json.RawMessage(tc.query))
			if q != nil || err == nil || err.Error() != tc.want {
				t.Errorf("%s:\ngot  %v, %v\nwant %s", tc.query, q, err, tc.want)
			}
		})
	}
}

// The same query has the same bytes however it was written, because the digest
// of a channel is made of them.
func TestQueryCanonicalJSON(t *testing.T) {
	const defaults = `{"shape":"walk","lowerLimit":0,"upperLimit":100,"tickInterval":1000}`
	for _, tc := range []struct{ name, query, want string }{
		{"nothing given", `{}`, defaults},
		{"nulls", `{"shape":null,"lowerLimit":null,"upperLimit":null,"tickInterval":null}`, defaults},
		{"all given", defaults, defaults},
		{"another order and white space", "{ \"tickInterval\" : 1000,\n\"upperLimit\":100 , \"lowerLimit\":0,\"shape\":\"walk\"}", defaults},
		{"strings", `{"lowerLimit":"0","upperLimit":" 100 ","tickInterval":"1000","shape":" walk"}`, defaults},
		{"exponents", `{"lowerLimit":0e5,"upperLimit":1e2,"tickInterval":1e3}`, defaults},
		{"fractions of nothing", `{"lowerLimit":0.0,"upperLimit":100.000,"tickInterval":1000.0}`, defaults},
		{"negative zero", `{"lowerLimit":-0}`, defaults},
		{"negative zero as text", `{"lowerLimit":"-0.0"}`, defaults},
		{"underflow to zero", `{"lowerLimit":-1e-999}`, defaults},
		{"fields that are not its own", `{"refId":"A","datasource":{"type":"x"},"withStreaming":true,"legend":"{{shape}}","live":true,"nonce":7}`, defaults},
		{"negative zero above", `{"lowerLimit":-1,"upperLimit":-0}`, `{"shape":"walk","lowerLimit":-1,"upperLimit":0,"tickInterval":1000}`},
		{"text of a template variable", `{"shape":"noise","lowerLimit":"-12.5","upperLimit":"1e3","tickInterval":"250"}`,
			`{"shape":"noise","lowerLimit":-12.5,"upperLimit":1000,"tickInterval":250}`},
		{"the extremes", `{"shape":"sine","lowerLimit":-1e15,"upperLimit":1e15,"tickInterval":86400000}`,
			`{"shape":"sine","lowerLimit":-1000000000000000,"upperLimit":1000000000000000,"tickInterval":86400000}`},
		{"small numbers", `{"shape":"sine","lowerLimit":0,"upperLimit":5e-324,"tickInterval":10}`,
			`{"shape":"sine","lowerLimit":0,"upperLimit":5e-324,"tickInterval":10}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := parse(t, tc.query)
			if got := string(q.JSON()); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if again := parse(t, string(q.JSON())); again != q {
				t.Errorf("its JSON gives %+v, not %+v", again, q)
			}
		})
	}
}

func TestQueryString(t *testing.T) {
	for _, tc := range []struct{ query, want string }{
		{`{}`, "walk from 0 to 100, one value per 1s"},
		{`{"shape":"sine","lowerLimit":-0.5,"upperLimit":0.5,"tickInterval":50}`, "sine from -0.5 to 0.5, one value per 50ms"},
		{`{"shape":"square","tickInterval":86400000}`, "square from 0 to 100, one value per 24h0m0s"},
	} {
		q := parse(t, tc.query)
		if got := q.String(); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.query, got, tc.want)
		}
		if got := q.MinStep(); got != q.TickInterval {
			t.Errorf("%s: the smallest step is %d", tc.query, got)
		}
	}
}

func FuzzQuery(f *testing.F) {
	f.Add([]byte(`{}`), int64(0))
	f.Add([]byte(`{"shape":"sine","lowerLimit":"-1e-300","upperLimit":5e-324,"tickInterval":1e1}`), int64(-1))
	f.Add([]byte(`{"shape":"noise","lowerLimit":-1e15,"upperLimit":1e15}`), int64(1)<<40)
	f.Add([]byte(`{"shape":"sawtooth","lowerLimit":"$x","tickInterval":"0x1p9"}`), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, raw []byte, n int64) {
		parsed, err := Source{}.Query(raw)
		if err != nil {
			return
		}
		q := parsed.(query)
		again, err := Source{}.Query(q.JSON())
		if err != nil || again != parsed || string(again.JSON()) != string(q.JSON()) {
			t.Errorf("%s has the JSON %s, which gives %v, %v", raw, q.JSON(), again, err)
		}
		n /= MinTick // a tick's time must fit into an int64
		for i := range int64(400) {
			if v := q.at(n + i); !(v >= q.LowerLimit && v <= q.UpperLimit) {
				t.Errorf("%s: tick %d is %v", q.JSON(), n+i, v)
			}
		}
	})
}

// A panel's history: 1,000 rows.
func BenchmarkRows(b *testing.B) {
	for _, shape := range Shapes {
		b.Run(shape, func(b *testing.B) {
			q := parse(b, fmt.Sprintf(`{"shape":%q}`, shape))
			const through = 1_767_225_600_000
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bind(b, q, 1000).Rows(b.Context(), through-1_000_000, through); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkQuery(b *testing.B) {
	raw := json.RawMessage(`{"shape":"walk","lowerLimit":0,"upperLimit":100,"tickInterval":1000}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Source{}).Query(raw); err != nil {
			b.Fatal(err)
		}
	}
}
