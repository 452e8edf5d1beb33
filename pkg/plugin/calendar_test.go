package plugin

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source/metricsapi"
	"github.com/continuum-live/continuum-datasource/pkg/source/metricsapi/metricsapitest"
)

const quarter = 15 * time.Minute

// energy is what is used in the quarter of an hour that ends at a time.
func energy(at time.Time) float64 { return 1 + float64(at.Unix()/900%7) }

// used adds up by hand what is used in (after, through].
func used(after, through time.Time) (sum float64) {
	for at := after.Truncate(quarter).Add(quarter); !at.After(through); at = at.Add(quarter) {
		sum += energy(at)
	}
	return sum
}

// midnight returns the begin of a day.
func midnight(t *testing.T, zone, date string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation(time.DateOnly, date, loc)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// days are panels of a few days in which a zone's clocks change, or are beside whole
// hours.
var days = []struct {
	zone     string
	from, to string
	hours    []float64 // that each of the days has
}{
	{"Europe/Berlin", "1999-10-29", "1999-11-02", []float64{24, 24, 25, 24}},
	{"Europe/Berlin", "1999-03-26", "1999-03-30", []float64{24, 24, 23, 24}},
	{"Asia/Kolkata", "1999-06-01", "1999-06-04", []float64{24, 24, 24}},
	{"Asia/Kathmandu", "1999-06-01", "1999-06-04", []float64{24, 24, 24}},
	{"America/Sao_Paulo", "1999-10-01", "1999-10-05", []float64{24, 24, 23, 24}},
	{"Australia/Lord_Howe", "1999-10-30", "1999-11-02", []float64{24, 23.5, 24}},
}

// onYear runs do on a recorder that has a year of samples: what was used in each
// quarter of an hour, and all that was used so far.
func onYear(t *testing.T, do func(t *testing.T, r *fed)) {
	t.Helper()
	onRecorderKeeping(t, 2*365*24*time.Hour, func(t *testing.T, r *fed) {
		each := &recorder.Series{Labels: labels.FromStrings(model.MetricNameLabel, "used_kwh")}
		total := &recorder.Series{Labels: labels.FromStrings(model.MetricNameLabel, "used_kwh_total")}
		sum := 0.0
		var samples []recorder.Sample
		for at := time.Date(1999, 3, 20, 0, 0, 0, 0, time.UTC); at.Before(time.Now()); at = at.Add(quarter) {
			sum += energy(at)
			samples = append(samples, recorder.Sample{Series: each, T: at.UnixMilli(), V: energy(at)},
				recorder.Sample{Series: total, T: at.UnixMilli(), V: sum})
			if len(samples) == 2000 {
				if err := r.sink.Commit(t.Context(), samples, at.UnixMilli()); err != nil {
					t.Fatal(err)
				}
				samples = samples[:0]
			}
		}
		if err := r.sink.Commit(t.Context(), samples, time.Now().UnixMilli()); err != nil {
			t.Fatal(err)
		}
		do(t, r)
	})
}

func (r *fed) panel(t *testing.T, raw string, from, to time.Time, step time.Duration, headers map[string]string) backend.DataResponse {
	t.Helper()
	return ask(t, r.instance, &backend.QueryDataRequest{PluginContext: r.pc, Headers: headers, Queries: []backend.DataQuery{{
		RefID: "A", JSON: []byte(raw), Interval: step, MaxDataPoints: 1000, TimeRange: backend.TimeRange{From: from, To: to}}}})["A"]
}

// A bar has what was used in its day, however many hours that has: as much as one
// who adds up by hand.
func TestDaysOfATimeZone(t *testing.T) {
	onYear(t, func(t *testing.T, r *fed) {
		for _, c := range days {
			begin, end := midnight(t, c.zone, c.from), midnight(t, c.zone, c.to)
			for _, expr := range []string{"sum_over_time(used_kwh[$__interval])", "used_kwh_total - used_kwh_total offset $__interval"} {
				raw, _ := json.Marshal(map[string]string{"expr": expr, "timezone": c.zone})
				a := r.panel(t, string(raw), begin.Add(time.Hour), end.Add(time.Hour), 24*time.Hour, nil)
				if a.Error != nil {
					t.Fatal(a.Error)
				}
				checkDays(t, c.zone+": "+expr, a.Frames[0], begin, c.hours, used)
			}
			// As one asks for it without a zone.
			for i, hours := range c.hours {
				at := begin.Add(time.Duration(slicesSum(c.hours[:i+1]) * float64(time.Hour)))
				raw := fmt.Sprintf(`{"expr":"sum_over_time(used_kwh[%dm] @ %d)"}`, int(hours*60), at.Unix())
				a := r.panel(t, raw, at, at, time.Minute, map[string]string{backend.FromAlertHeaderName: "true"})
				if a.Error != nil {
					t.Fatal(a.Error)
				}
				length := time.Duration(hours * float64(time.Hour))
				if got, want := a.Frames[0].Fields[1].At(0).(float64), used(at.Add(-length), at); got != want {
					t.Errorf("%s, by hand on %v: %v, want %v", c.zone, at, got, want)
				}
			}
		}
	})
}

func slicesSum(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}

// checkDays compares the rows of a panel with days of known lengths.
func checkDays(t *testing.T, what string, frame *data.Frame, begin time.Time, hours []float64, want func(after, through time.Time) float64) {
	t.Helper()
	if frame.Rows() != len(hours) {
		t.Errorf("%s: %d rows for %d days", what, frame.Rows(), len(hours))
		return
	}
	for i, h := range hours {
		end := begin.Add(time.Duration(h * float64(time.Hour)))
		if at := frame.At(0, i).(time.Time); !at.Equal(end) {
			t.Errorf("%s: row %d is at %v, the day ends at %v", what, i, at.In(begin.Location()), end)
		}
		if got := *frame.At(1, i).(*float64); math.Abs(got-want(begin, end)) > 1e-9 {
			t.Errorf("%s: the day of %v hours that ends at %v has %v, want %v", what, h, end, got, want(begin, end))
		}
		begin = end
	}
}

// A metrics API has the same days; the service's points are asked for anew for each
// length of day.
func TestDaysOfAMetricsAPI(t *testing.T) {
	service := &metricsapitest.Service{Period: quarter}
	s, err := metricsapi.New(metricsapi.Config{Endpoint: "http://metrics.example.com", Timeout: time.Minute,
		Client: &http.Client{Transport: direct{service}}})
	if err != nil {
		t.Fatal(err)
	}
	in, pc := newInstance(t, `{}`)
	in.source = s
	points := func(after, through time.Time) (n float64) {
		for at := after.Truncate(quarter).Add(quarter); !at.After(through); at = at.Add(quarter) {
			if metricsapitest.Value(at.UnixNano()/int64(quarter)) != nil {
				n++
			}
		}
		return n
	}
	for _, c := range append(slices.Clone(days), struct {
		zone, from, to string
		hours          []float64
	}{"Pacific/Apia", "2011-12-28", "2012-01-02", []float64{24, 24, 24, 24}}) {
		begin, end := midnight(t, c.zone, c.from), midnight(t, c.zone, c.to)
		a := askOne(t, in, pc, backend.DataQuery{
			RefID: "A", Interval: 24 * time.Hour, MaxDataPoints: 1000,
			JSON:      fmt.Appendf(nil, `{"metricName":"m","aggregation":"count","timezone":%q}`, c.zone),
			TimeRange: backend.TimeRange{From: begin.Add(time.Hour), To: end.Add(time.Hour)},
		})
		if a.Error != nil {
			t.Fatal(a.Error)
		}
		checkDays(t, c.zone, a.Frames[0], begin, c.hours, points)
	}
}

// Rows are the same for every range, and those of a range's very start belong to it.
func TestRangesOfATimeZone(t *testing.T) {
	onYear(t, func(t *testing.T, r *fed) {
		const zone = "Europe/Berlin"
		raw := fmt.Sprintf(`{"expr":"sum_over_time(used_kwh[$__interval])","timezone":%q}`, zone)
		rows := func(from, to time.Time, step time.Duration, headers map[string]string) []string {
			t.Helper()
			a := r.panel(t, raw, from, to, step, headers)
			if a.Error != nil {
				t.Fatal(a.Error)
			}
			var got []string
			if len(a.Frames[0].Fields) == 0 {
				return nil
			}
			for i := range a.Frames[0].Rows() {
				got = append(got, a.Frames[0].At(0, i).(time.Time).In(from.Location()).Format("02T15-07"))
			}
			return got
		}
		alert := map[string]string{backend.FromAlertHeaderName: "true"}
		october := midnight(t, zone, "1999-10-30")
		for _, c := range []struct {
			name     string
			from, to time.Time
			step     time.Duration
			headers  map[string]string
			want     string
		}{
			{"from midnight to midnight", october, october.AddDate(0, 0, 2), 24 * time.Hour, nil, "30T00+02 31T00+02 01T00+01"},
			{"within a day", october.Add(time.Hour), october.Add(2 * time.Hour), 24 * time.Hour, nil, ""},
			{"within a day, for an alert rule", october.Add(time.Hour), october.Add(2 * time.Hour), 24 * time.Hour, alert, "30T00+02"},
			{"an instant", october.AddDate(0, 0, 2).Add(time.Hour), october.AddDate(0, 0, 2).Add(time.Hour), 24 * time.Hour, alert, "01T00+01"},
			{"quarters of a day", october.Add(23 * time.Hour), october.Add(37 * time.Hour), 6 * time.Hour, nil, "31T00+02 31T06+01 31T12+01"},
			{"up to now", time.Now().In(october.Location()).Add(-25 * time.Hour), time.Now(), 24 * time.Hour, nil, "01T00+01 02T00+01"},
			{"a step that an alert rule's points make", october, october.AddDate(0, 0, 2), 13 * time.Hour, alert, "30T00+02 31T00+02 01T00+01"},
			{"a step that no day has", october.UTC(), october.UTC().Add(15 * time.Hour), 5 * time.Hour, nil, "29T23+00 30T04+00 30T09+00"},
		} {
			if got := strings.Join(rows(c.from, c.to, c.step, c.headers), " "); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}

		// No more rows than an alert rule takes, though a day is short.
		march := midnight(t, zone, "1999-03-25")
		a := ask(t, r.instance, &backend.QueryDataRequest{PluginContext: r.pc, Headers: alert, Queries: []backend.DataQuery{{
			RefID: "A", JSON: []byte(raw), Interval: time.Hour, MaxDataPoints: 6,
			TimeRange: backend.TimeRange{From: march, To: march.Add(5*24*time.Hour - time.Hour)}}}})["A"]
		if a.Error != nil || a.Frames[0].Rows() > 6 {
			t.Errorf("%v, %d rows", a.Error, a.Frames[0].Rows())
		}

		for expr, want := range map[string]string{
			"used_kwh offset -$__interval": "",
			"used_kwh - used_kwh @ end()":  "those of UTC's clocks and not of Europe/Berlin",
			"nothing":                      "There is no metric",
		} {
			raw, _ := json.Marshal(map[string]string{"expr": expr, "timezone": zone})
			a := r.panel(t, string(raw), october, time.Now().Add(-24*time.Hour), 24*time.Hour, nil)
			if a.Error != nil {
				t.Errorf("%s: %v", expr, a.Error)
			} else if text := fmt.Sprint(a.Frames[0].Meta.Notices); want == "" && len(a.Frames[0].Meta.Notices) > 0 || !strings.Contains(text, want) {
				t.Errorf("%s: the notices are %s", expr, text)
			}
		}
	})
}

// A stream has the grid of UTC: where that is not the zone's, the answer is plain.
func TestStreamsOfATimeZone(t *testing.T) {
	for _, c := range []struct {
		zone   string
		step   time.Duration
		stream bool
	}{
		{"", 24 * time.Hour, true},
		{"UTC", 24 * time.Hour, true},
		{"utc", 24 * time.Hour, true},
		{"UTC", 7 * 24 * time.Hour, false},
		{"Europe/Berlin", time.Hour, true},
		{"Europe/Berlin", 3 * time.Hour, false},
		{"Europe/Berlin", 24 * time.Hour, false},
		{"Europe/Berlin", 30 * time.Minute, true},
		{"Europe/London", 24 * time.Hour, false}, // for half of the year
		{"Asia/Kolkata", time.Hour, false},
		{"Asia/Kolkata", 30 * time.Minute, true},
		{"Asia/Riyadh", 3 * time.Hour, true},
	} {
		in, pc := newInstance(t, `{}`)
		a := askOne(t, in, pc, queryFor("A", fmt.Sprintf(`{"live":true,"timezone":%q}`, c.zone), 60*c.step, c.step))
		if a.Error != nil {
			t.Fatal(a.Error)
		}
		meta := a.Frames[0].Meta
		if stream := meta.Channel != ""; stream != c.stream {
			t.Errorf("%s, %v: the channel is %q", c.zone, c.step, meta.Channel)
		}
		if noted := len(meta.Notices) == 1 && meta.Notices[0].Severity == data.NoticeSeverityInfo && strings.Contains(meta.Notices[0].Text, c.zone); noted == c.stream {
			t.Errorf("%s, %v: the notices are %v", c.zone, c.step, meta.Notices)
		}
		if a.Frames[0].Rows() < 59 {
			t.Errorf("%s, %v: %d rows", c.zone, c.step, a.Frames[0].Rows())
		}
	}
	in, pc := newInstance(t, `{}`)
	for _, name := range []string{"Europe/Nowhere", "Local", "../etc/passwd", "browser"} {
		raw := fmt.Sprintf(`{"timezone":%q}`, name)
		if a := askOne(t, in, pc, queryFor("A", raw, 48*time.Hour, time.Hour)); a.Error == nil || a.Status != backend.StatusBadRequest || !strings.Contains(a.Error.Error(), "is not known") {
			t.Errorf("%s: %v", name, a.Error)
		}
	}
	// A range of all times is refused before its rows are counted one by one.
	all := queryFor("A", `{"timezone":"Europe/Berlin"}`, time.Hour, time.Hour)
	all.TimeRange.From = time.UnixMilli(-8e15)
	if a := askOne(t, in, pc, all); a.Error == nil || a.Status != backend.StatusBadRequest {
		t.Errorf("all times: %v", a.Error)
	}
}
