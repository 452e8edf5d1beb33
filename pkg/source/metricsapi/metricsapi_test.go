package metricsapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/metricsapi/metricsapitest"
	"github.com/continuum-live/continuum-datasource/pkg/source/sourcetest"
)

// asking returns a source that asks the handler over a network in memory. Its
// time is virtual in a bubble.
func asking(t testing.TB, c Config, h http.Handler) (*Source, *metricsapitest.Network) {
	t.Helper()
	var network metricsapitest.Network
	network.Start(h)
	t.Cleanup(network.Stop)
	c.Endpoint = "http://metrics.example.com/"
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	if c.Client == nil {
		c.Client = network.Client(c.Timeout)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s, &network
}

func bind(t testing.TB, q source.Query, step int64) source.Bound {
	t.Helper()
	b, err := q.Bind(step, 1000*step)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t testing.TB, s *Source, raw string) query {
	t.Helper()
	q, err := s.Query(json.RawMessage(raw))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return q.(query)
}

func TestConformance(t *testing.T) {
	// Points come up to 4.9 s late, each by its own.
	late := func(n int64) time.Duration { return time.Duration(n*7919%50) * 100 * time.Millisecond }
	for _, tc := range []struct {
		name    string
		service metricsapitest.Service
		delay   time.Duration
	}{
		{"a point a second", metricsapitest.Service{Period: time.Second}, 0},
		{"seven points a second, as texts with microseconds", metricsapitest.Service{Period: 142857 * time.Microsecond, Texts: true}, 0},
		{"late points within the delay", metricsapitest.Service{Period: 300 * time.Millisecond, Offset: 70 * time.Millisecond, Late: late}, 5 * time.Second},
		{"sparse points", metricsapitest.Service{Period: 45 * time.Second}, 0},
		{"a clock that is an hour ahead", metricsapitest.Service{Period: time.Second, Skew: time.Hour}, 0},
		{"a clock that is an hour behind", metricsapitest.Service{Period: time.Second, Skew: -time.Hour}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			aggregations := []string{"avg"}
			if tc.delay > 0 {
				aggregations = Aggregations
			}
			for _, how := range aggregations {
				synctest.Test(t, func(t *testing.T) {
					time.Sleep(24*time.Hour + 1234*time.Millisecond)
					var outlier atomic.Int64
					s, _ := asking(t, Config{Delay: tc.delay}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						replica := tc.service
						if r.URL.Path == "/latest" {
							replica.Skew += time.Duration(outlier.Swap(0))
						}
						replica.ServeHTTP(w, r)
					}))
					err := sourcetest.Verify(t.Context(), sourcetest.Subject{
						Source:  s,
						Query:   json.RawMessage(fmt.Sprintf(`{"metricName":"m","aggregation":%q}`, how)),
						Steps:   []int64{1000, 2500, 15_000},
						Rows:    24,
						Between: func() { time.Sleep(17 * time.Second) },
						Outlier: func(off time.Duration) { outlier.Store(int64(off)) },
					})
					if err != nil {
						t.Errorf("%s: %v", how, err)
					}
				})
			}
		})
	}
}

// Each aggregation against the plainest way to write it.
func TestAggregate(t *testing.T) {
	rows := grid.Rows{Step: 1000, After: -1000, Through: 3000}
	null := math.NaN()
	points := []point{
		{-1_000_000_000, 99}, // of the row before
		{-999_999_999, 5}, {-1, 3}, {0, null},
		{1_000_000_000, 0.1},
		{1_000_000_001, null}, {2_000_000_000, null},
		{2_000_000_001, 7}, {2_500_000_000, -2}, {2_999_999_999, 4}, {3_000_000_000, -1},
		{3_000_000_001, 99}, // of the row after
	}
	for how, want := range map[string][]float64{
		"last":  {3, 0.1, null, -1},
		"avg":   {4, 0.1, null, 2},
		"min":   {3, 0.1, null, -2},
		"max":   {5, 0.1, null, 7},
		"sum":   {8, 0.1, null, 8},
		"count": {2, 1, null, 4},
	} {
		if got := aggregate(how, points, rows); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", how, got, want)
		}
	}
}

// However many ask, /latest is asked once in a minimum step, and a tail asks
// /query for the new range alone.
func TestLatestIsAskedOncePerStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		var latest atomic.Int64
		service := &metricsapitest.Service{Period: 200 * time.Millisecond}
		s, _ := asking(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/latest" {
				latest.Add(1)
				time.Sleep(50 * time.Millisecond)
			}
			service.ServeHTTP(w, r)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		var all sync.WaitGroup
		for i := range 50 {
			q := parse(t, s, fmt.Sprintf(`{"metricName":"m","aggregation":%q}`, Aggregations[i%len(Aggregations)]))
			all.Go(func() {
				for ctx.Err() == nil {
					if _, err := bind(t, q, 1000).Settled(ctx); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
					time.Sleep(125 * time.Millisecond) // as a tail does at its fastest
				}
			})
		}
		all.Wait()
		if n := latest.Load(); n < 40 || n > 61 {
			t.Errorf("/latest was asked %d times in 60 s", n)
		}
	})
}

// Who gives up does not take the answer from others who wait for it.
func TestOneAskerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		service := &metricsapitest.Service{Period: time.Second}
		s, _ := asking(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			service.ServeHTTP(w, r)
		}))
		q := parse(t, s, `{"metricName":"m"}`)
		why := errors.New("the panel was closed")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(time.Second)
			cancel(why)
		}()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := bind(t, q, 1000).Settled(ctx); !errors.Is(err, why) {
				t.Errorf("who gave up got %v", err)
			}
		})
		all.Go(func() {
			time.Sleep(500 * time.Millisecond)
			if _, err := bind(t, q, 1000).Settled(t.Context()); err != nil {
				t.Errorf("who did not give up got %v", err)
			}
		})
		all.Wait()
	})
}

// A service that has lost its newest points does not take back what was settled.
func TestSettledNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24 * time.Hour)
		s, network := asking(t, Config{Delay: 3 * time.Second}, &metricsapitest.Service{Period: time.Second})
		q := parse(t, s, `{"metricName":"m"}`)
		before, err := bind(t, q, 1000).Settled(t.Context())
		if want := time.Now().Add(-3 * time.Second).UnixMilli(); before != want || err != nil {
			t.Errorf("settled to %d, %v, want %d", before, err, want)
		}
		network.Start(&metricsapitest.Service{Period: time.Second, Skew: -time.Hour})
		time.Sleep(time.Minute)
		if after, err := bind(t, q, 1000).Settled(t.Context()); after != before || err != nil {
			t.Errorf("settled went from %d to %d, %v", before, after, err)
		}
		time.Sleep(time.Hour)
		if after, err := bind(t, q, 1000).Settled(t.Context()); after <= before || err != nil {
			t.Errorf("settled stays at %d, %v", after, err)
		}
	})
}

// What docs/metrics-api.md promises of a point that comes later than the delay:
// whoever asks again sees it, and settled time does not care.
func TestPointLaterThanTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		now := time.Now().UnixMilli()
		s, _ := asking(t, Config{Delay: time.Second}, &metricsapitest.Service{Period: time.Second, Late: func(n int64) time.Duration {
			if n*1000 == now-2000 {
				return 5 * time.Second
			}
			return 0
		}})
		q := parse(t, s, `{"metricName":"m","aggregation":"count"}`)
		for _, want := range []string{"[1 NaN 1]", "[1 1 1]"} {
			rows, err := bind(t, q, 1000).Rows(t.Context(), now-4000, now-1000)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(rows.Series[0].Values); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			time.Sleep(10 * time.Second)
		}
	})
}

func TestNoPointYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := asking(t, Config{}, &metricsapitest.Service{Period: time.Second, Since: time.Now().Add(time.Minute)})
		q := parse(t, s, `{"metricName":"m"}`)
		if _, err := bind(t, q, 1000).Settled(t.Context()); err == nil || err.Error() != `the metrics API has no point of "m" yet` {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Minute)
		if got, err := bind(t, q, 1000).Settled(t.Context()); got != time.Now().UnixMilli() || err != nil {
			t.Errorf("got %d, %v", got, err)
		}
	})
}

// A point from the future would hold back all true ones.
func TestPointFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := asking(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"timestamp":"2100-01-01T00:00:00Z","value":1}`)
		}))
		_, err := bind(t, parse(t, s, `{"metricName":"m"}`), 1000).Settled(t.Context())
		if want := `the newest point of "m" is at 2100-01-01T00:00:00Z, but the metrics API's own clock says 2000-01-01T00:00:00Z: points must not come from the future`; err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
	})
}

// Who tells no time is held to ours, and one answer from the future does not silence
// those after it.
func TestPointFromTheFutureWithoutDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		ahead := time.Duration(0)
		s, _ := asking(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = nil
			_, _ = fmt.Fprintf(w, `{"timestamp":%d,"value":1}`, time.Now().Add(ahead).UnixMilli())
		}))
		b := bind(t, parse(t, s, `{"metricName":"m"}`), 1000)
		for i := range 30 {
			time.Sleep(2 * time.Second)
			ahead = []time.Duration{0, time.Hour, 0}[i%3]
			settled, err := b.Settled(t.Context())
			switch {
			case ahead > 0 && (err == nil || !strings.Contains(err.Error(), "Grafana's clock says")):
				t.Errorf("an hour ahead: %v", err)
			case ahead == 0 && (err != nil || settled != time.Now().UnixMilli()):
				t.Errorf("settled is %v behind, %v", time.Since(time.UnixMilli(settled)), err)
			}
		}
	})
}

// A service whose clock was set back is followed once it has said so thrice; one
// answer of a replica that is behind is none.
func TestNewestPointGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(2 * time.Hour)
		behind := time.Duration(0)
		s, _ := asking(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"timestamp":%d,"value":1}`, time.Now().Add(-behind).UnixMilli())
		}))
		b := bind(t, parse(t, s, `{"metricName":"m"}`), 1000)
		newest := int64(0)
		for i, c := range []struct{ behind, want time.Duration }{{0, 0}, {time.Hour, -1}, {0, 0}, {time.Hour, -1}, {time.Hour, -1}, {time.Hour, time.Hour}, {time.Hour, time.Hour}} {
			time.Sleep(2 * time.Second)
			behind = c.behind
			settled, err := b.Settled(t.Context())
			want := time.Now().Add(-c.want).UnixMilli()
			if c.want < 0 {
				want = newest
			}
			if newest = settled; err != nil || settled != want {
				t.Errorf("answer %d: settled is %v behind, %v", i, time.Since(time.UnixMilli(settled)), err)
			}
		}
	})
}

// Who makes up names, or has many, does not fill the memory.
func TestSubjectsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		s, _ := asking(t, Config{}, &metricsapitest.Service{Period: time.Second})
		ask := func(raw string) (int64, error) { return bind(t, parse(t, s, raw), 1000).Settled(t.Context()) }
		for range maxSubjects {
			if _, err := ask(`{"metricName":"none"}`); err == nil || s.newest.Len() != 0 {
				t.Fatalf("%v, %d subjects", err, s.newest.Len())
			}
			time.Sleep(time.Second)
		}
		if _, err := ask(`{"metricName":"m"}`); err != nil {
			t.Fatal(err)
		}
		for i := range maxSubjects {
			s.newest.Add(fmt.Sprint(i), newest{})
			s.known(parse(t, s, `{"metricName":"m"}`).subject(), time.Hour) // it is asked about all the time
		}
		if _, ok := s.known(parse(t, s, `{"metricName":"m"}`).subject(), time.Hour); !ok || s.newest.Len() != maxSubjects {
			t.Errorf("known: %v, %d subjects", ok, s.newest.Len())
		}
	})
}

// A tail of long steps does not ask for the newest point all the time.
func TestLatestIsAskedAsTheStepNeeds(t *testing.T) {
	for step, most := range map[int64]int64{1000: 601, 5000: 121, 60_000: 61} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Hour)
			var latest atomic.Int64
			service := &metricsapitest.Service{Period: 200 * time.Millisecond}
			s, _ := asking(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				latest.Add(1)
				service.ServeHTTP(w, r)
			}))
			b := bind(t, parse(t, s, `{"metricName":"m"}`), step)
			for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(125 * time.Millisecond) {
				if _, err := b.Settled(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if n := latest.Load(); n > most || n < most/2 {
				t.Errorf("at a step of %d ms it is asked %d times in ten minutes", step, n)
			}
		})
	}
}

// A question that cannot be answered is an error and not a panic.
func TestRowsOffTheGrid(t *testing.T) {
	s, _ := asking(t, Config{}, &metricsapitest.Service{Period: time.Second})
	q := parse(t, s, `{"metricName":"m"}`)
	for _, tc := range []struct {
		name                 string
		step, after, through int64
	}{
		{"no step", 0, 0, 1000},
		{"begins off the grid", 1000, 1, 1000},
		{"backwards", 1000, 2000, 1000},
		{"longer than an int64", 1, math.MinInt64, 1000},
	} {
		if rows, err := bind(t, q, tc.step).Rows(t.Context(), tc.after, tc.through); err == nil {
			t.Errorf("%s: got %d rows", tc.name, rows.Len())
		}
	}
	now := time.Now().UnixMilli()
	if _, err := bind(t, q, 1000).Rows(t.Context(), 0, grid.Floor(now, 1000)+10_000); !errors.Is(err, source.ErrNotSettled) {
		t.Errorf("beyond now: %v", err)
	}
}

func TestRowsFields(t *testing.T) {
	for _, tc := range []struct{ metric, answer, want string }{
		{"m", `{"timestamps":[],"values":[],"labels":{"b":"2","a":"1"},"unit":"celsius"}`, `[{Name:m{a=1, b=2} Labels:a=1, b=2 Display:m{a=1, b=2} Unit:celsius Values:[]}]`},
		{"m", `{"timestamps":[],"values":[]}`, `[{Name:m Labels: Display:m Unit: Values:[]}]`},
		{"time", `{"timestamps":[],"values":[]}`, `[{Name:time{} Labels: Display:time Unit: Values:[]}]`},
	} {
		s, _ := asking(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/latest" {
				_, _ = w.Write([]byte(`{"timestamp":0,"value":0}`))
				return
			}
			_, _ = w.Write([]byte(tc.answer))
		}))
		rows, err := bind(t, parse(t, s, fmt.Sprintf(`{"metricName":%q}`, tc.metric)), 1000).Rows(t.Context(), 0, 0)
		if got := fmt.Sprintf("%+v", rows.Series); got != tc.want || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, tc.want)
		}
	}
}

// What the service is asked, to the letter: it is the contract.
func TestWhatIsAsked(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	service := &metricsapitest.Service{Period: time.Second}
	synctest.Test(t, func(t *testing.T) {
		s, _ := asking(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			asked = append(asked, r.Method+" "+r.URL.String())
			mu.Unlock()
			service.ServeHTTP(w, r)
		}))
		if _, err := bind(t, parse(t, s, `{"metricName":"m","queryText":"host = a&b"}`), 1000).Rows(t.Context(), 946684797000, 946684800000); err != nil {
			t.Error(err)
		}
		if _, err := s.Names(t.Context()); err != nil {
			t.Error(err)
		}
	})
	want := []string{
		"GET /latest?metric=m&query=host+%3D+a%26b",
		"GET /query?from=946684797000&metric=m&query=host+%3D+a%26b&to=946684800001",
		"GET /names",
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked was\n%s", strings.Join(asked, "\n"))
	}
}

func TestNew(t *testing.T) {
	for _, tc := range []struct {
		name, endpoint string
		delay          time.Duration
		want           string
	}{
		{"right", " https://metrics.example.com/api/ ", 0, ""},
		{"none", " ", 0, "there is no endpoint: enter the address of the metrics API in the data source settings"},
		{"not an address", "http://a b/%zz", 0, "the endpoint is not an address: enter one such as https://metrics.example.com/api"},
		{"no scheme", "metrics.example.com", 0, "the endpoint must begin with http:// or https:// and name a host: enter one such as https://metrics.example.com/api"},
		{"another scheme", "file:///etc/passwd", 0, "the endpoint must begin with http:// or https:// and name a host: enter one such as https://metrics.example.com/api"},
		{"a password", "https://me:geheim@metrics.example.com", 0, "the endpoint has a user or password in it: remove them, and use basic auth or the API key, which are kept secret"},
		{"a key", "https://metrics.example.com?key=geheim", 0, "the endpoint has a ? or # in it: remove what follows it, and use the API key or a custom header for keys, which are kept secret"},
		{"a password in what is not an address", "https://me:geheim@[::1", 0, "the endpoint is not an address: enter one such as https://metrics.example.com/api"},
		{"a negative delay", "http://a", -1, "the delay -1ns is out of range: enter 0 to 86400000 ms"},
	} {
		_, err := New(Config{Endpoint: tc.endpoint, Client: http.DefaultClient, Delay: tc.delay})
		if got := fmt.Sprint(err); got != tc.want && (err != nil || tc.want != "") {
			t.Errorf("%s: got %s", tc.name, got)
		}
	}
}

// People see these messages in panels: each names the field and says what to do.
func TestQueryErrors(t *testing.T) {
	s, _ := asking(t, Config{}, http.NotFoundHandler())
	for _, tc := range []struct{ name, query, want string }{
		{"no metric", `{}`, "the query has no metric: enter its name"},
		{"a metric of spaces", `{"metricName":"  "}`, "the query has no metric: enter its name"},
		{"a long name", fmt.Sprintf(`{"metricName":%q}`, strings.Repeat("x", 1001)), "metricName has 1001 bytes: use at most 1000"},
		{"a long text", fmt.Sprintf(`{"metricName":"m","queryText":%q}`, strings.Repeat("x", 8001)), "queryText has 8001 bytes: use at most 8000"},
		{"NUL", `{"metricName":"m\u0000"}`, "metricName or queryText has a NUL character in it: remove it"},
		{"an unknown aggregation", `{"metricName":"m","aggregation":"median"}`, `aggregation "median" is not known: choose one of last, avg, min, max, sum, count`},
		{"a step too short", `{"metricName":"m","minStep":9}`, `minStep "9" is out of range: use a whole number of milliseconds from 10 to 86400000`},
		{"a broken step", `{"metricName":"m","minStep":10.5}`, `minStep "10.5" is out of range: use a whole number of milliseconds from 10 to 86400000`},
		{"a step that is NaN", `{"metricName":"m","minStep":"NaN"}`, `minStep "NaN" is out of range: use a whole number of milliseconds from 10 to 86400000`},
		{"an unknown variable", `{"metricName":"m","minStep":"$step"}`, `minStep "$step" is out of range: use a whole number of milliseconds from 10 to 86400000`},
		{"not an object", `[]`, "the query is not a JSON object: json: cannot unmarshal array into Go value of type metricsapi.fields"},
	} {
		if q, err := s.Query(json.RawMessage(tc.query)); q != nil || err == nil || err.Error() != tc.want {
			t.Errorf("%s: got %v, %v", tc.name, q, err)
		}
	}
}

func TestQueryCanonicalJSON(t *testing.T) {
	s, _ := asking(t, Config{}, http.NotFoundHandler())
	for _, tc := range []struct{ query, want, text string }{
		{`{"metricName":"m"}`, `{"metricName":"m","aggregation":"last","minStep":1000}`, "last of m"},
		{`{"minStep":"1e3","refId":"A","queryText":null,"aggregation":null,"legend":"x","metricName":" m "}`, `{"metricName":"m","aggregation":"last","minStep":1000}`, "last of m"},
		{`{"metricName":"<m>","queryText":" a=\"b\" ","aggregation":"avg","minStep":250}`, `{"metricName":"\u003cm\u003e","queryText":"a=\"b\"","aggregation":"avg","minStep":250}`, `avg of <m> (a="b")`},
		{`{"metricName":5}`, `{"metricName":"5","aggregation":"last","minStep":1000}`, "last of 5"},
	} {
		q := parse(t, s, tc.query)
		if got := string(q.JSON()); got != tc.want || q.String() != tc.text {
			t.Errorf("%s: got %s, %s", tc.query, got, q)
		}
		if again := parse(t, s, string(q.JSON())); again != q {
			t.Errorf("its JSON gives %+v, not %+v", again, q)
		}
	}
}

// A secret is in nothing that comes back, though the service repeats it
// wherever it can.
func TestSecretsAreKept(t *testing.T) {
	const key = `ge"heim/Ä 42`
	answers := map[string]string{
		"names":              fmt.Sprintf(`[%q]`, key),
		"labels":             fmt.Sprintf(`{"timestamps":[],"values":[],"labels":{%q:%q},"unit":%q}`, key, key, key),
		"a message":          fmt.Sprintf(`500{"error":%q}`, strings.Repeat("x", 295)+key),
		"a text":             "400" + key,
		"an escaped text":    "403" + url.QueryEscape(key),
		"a broken time":      fmt.Sprintf(`{"timestamps":[%q]}`, key),
		"a broken value":     fmt.Sprintf(`{"timestamps":[],"values":[%q]}`, key),
		"a broken timestamp": fmt.Sprintf(`{"timestamp":%q,"value":1}`, key),
		"a label twice":      fmt.Sprintf(`{"timestamps":[],"values":[],"labels":{%q:"",%q:""}}`, key, key),
		"a label's number":   fmt.Sprintf(`{"timestamps":[],"values":[],"labels":{%q:1}}`, key),
		"a broken answer":    key,
		"a long message":     "500" + strings.Repeat(key, 10_000),
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := asking(t, Config{Secrets: []string{"", key}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if status := answer[:3]; status > "399" && status < "600" {
						w.WriteHeader(map[string]int{"400": 400, "403": 403, "500": 500}[status])
						_, _ = w.Write([]byte(answer[3:]))
						return
					}
					_, _ = w.Write([]byte(answer))
				}))
				s.newest.Add(parse(t, s, `{"metricName":"m"}`).subject(), newest{settled: math.MaxInt64}) // so that /query is asked
				var seen []any
				note := func(v any, err error) { seen = append(seen, v, err) }
				q := parse(t, s, `{"metricName":"m"}`)
				rows, err := bind(t, q, 1000).Rows(t.Context(), 0, 1000)
				note(rows, err)
				names, err := s.Names(t.Context())
				note(names, err)
				health, err := s.Check(t.Context())
				note(health, err)
				s.newest.Purge()
				settled, err := bind(t, q, 1000).Settled(t.Context())
				note(settled, err)
				text := fmt.Sprintf("%v %q %+v", seen, seen, seen)
				for _, part := range []string{"heim", "Ä", "%C3", `\u00c4`} {
					if strings.Contains(text, part) {
						t.Errorf("%s is in %s", part, text)
					}
				}
			})
		})
	}
}

func TestNames(t *testing.T) {
	for _, tc := range []struct {
		name, answer string
		status       int
		want         []Metric
		err          string
	}{
		{"some", `["b","a"]`, 200, []Metric{{Name: "b"}, {Name: "a"}}, ""},
		{"some with more", `["b",{"name":"a","unit":"celsius","description":"Of the hall","room":{"x":[1]}},{"Name":"c","unit":null}]`, 200,
			[]Metric{{Name: "b"}, {"a", "celsius", "Of the hall"}, {Name: "c"}}, ""},
		{"none", `[]`, 200, []Metric{}, ""},
		{"without a name", `[{"unit":"s"}]`, 200, nil, `the answer of the metrics API to /names is wrong: it has no field name`},
		{"not there", `not found`, 404, []Metric{}, ""},
		{"not a list", `{"names":["a"]}`, 200, nil, `the answer of the metrics API to /names is wrong: it is an object and not a list`},
		{"not texts", `[1]`, 200, nil, `the answer of the metrics API to /names is wrong: metric 0 is the number 1: use a name, or an object with a name`},
		{"refused", `{"error":"no"}`, 403, nil, `the metrics API answers 403 Forbidden to /names: no: check the credentials and headers in the data source settings`},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tc.status)
			_, _ = w.Write([]byte(tc.answer))
		}))
		s, err := New(Config{Endpoint: srv.URL, Client: srv.Client(), Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Names(t.Context())
		if !slices.Equal(got, tc.want) && tc.err == "" || fmt.Sprint(err) != tc.err && (err != nil || tc.err != "") {
			t.Errorf("%s: got %v, %v", tc.name, got, err)
		}
		srv.Close()
	}
}

// Points say their unit themselves, or else the list of metrics does. The list is asked
// for once.
func TestUnits(t *testing.T) {
	var lists atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/names":
			lists.Add(1)
			fmt.Fprint(w, `["plain",{"name":"own","unit":"volt"},{"name":"listed","unit":"volt"},{"name":"described","description":"Size in bytes."}]`)
		case "/query":
			unit := ""
			if r.FormValue("metric") == "own" {
				unit = `,"unit":"celsius"`
			}
			fmt.Fprintf(w, `{"timestamps":[1000],"values":[1]%s}`, unit)
		default:
			fmt.Fprint(w, `{"timestamp":1000,"value":1}`)
		}
	}))
	defer srv.Close()
	s, err := New(Config{Endpoint: srv.URL, Client: srv.Client(), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for metric, want := range map[string]string{
		"own": "celsius", "listed": "volt", "described": "bytes", "plain": "", "other": "", `listed","aggregation":"max`: "volt", `own","aggregation":"count`: "",
	} {
		rows, err := bind(t, parse(t, s, `{"metricName":"`+metric+`"}`), 1000).Rows(t.Context(), 0, 1000)
		if err != nil || rows.Series[0].Unit != want {
			t.Errorf("%s: %+v, %v", metric, rows.Series, err)
		}
	}
	if n := lists.Load(); n != 1 {
		t.Errorf("the list was asked for %d times", n)
	}
}

// A panel's history: 1,000 rows of a point a second each.
func BenchmarkRows(b *testing.B) {
	s, _ := asking(b, Config{}, &metricsapitest.Service{Period: time.Second})
	q := parse(b, s, `{"metricName":"m","aggregation":"avg"}`)
	through := grid.Floor(time.Now().UnixMilli(), 1000) - 1000
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bind(b, q, 1000).Rows(b.Context(), through-1_000_000, through); err != nil {
			b.Fatal(err)
		}
	}
}
