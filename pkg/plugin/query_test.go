package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/experimental"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
)

// newInstance returns an instance with the given jsonData, and the context that
// Grafana sends with requests to it.
func newInstance(t testing.TB, jsonData string) (*instance, backend.PluginContext) {
	t.Helper()
	pc := backend.PluginContext{
		OrgID: 1, PluginID: ID, User: &backend.User{Login: "viewer"},
		DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{UID: "uid", Type: ID, JSONData: onSignal(jsonData)},
	}
	in, err := NewFactory(noStores())(backend.WithPluginContext(t.Context(), pc), *pc.DataSourceInstanceSettings)
	if err != nil {
		t.Fatal(err)
	}
	return in.(*instance), pc
}

// A query of the range of the given length that ends now.
func queryFor(refID, raw string, length, interval time.Duration) backend.DataQuery {
	now := time.Now()
	return backend.DataQuery{
		RefID: refID, Interval: interval, MaxDataPoints: 1000, JSON: []byte(raw),
		TimeRange: backend.TimeRange{From: now.Add(-length), To: now},
	}
}

func ask(t testing.TB, in *instance, req *backend.QueryDataRequest) backend.Responses {
	t.Helper()
	rsp, err := in.QueryData(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.Responses
}

func askOne(t testing.TB, in *instance, pc backend.PluginContext, q backend.DataQuery) backend.DataResponse {
	t.Helper()
	return ask(t, in, &backend.QueryDataRequest{PluginContext: pc, Queries: []backend.DataQuery{q}})[q.RefID]
}

// The frames of every kind of answer, as they are. Run with -update to write the
// golden files anew.
func TestGoldenFrames(t *testing.T) {
	for _, c := range []struct {
		name    string
		raw     string
		headers map[string]string
	}{
		{"live", `{"shape":"sine","live":true,"nonce":7,"legend":"a {{shape}}"}`, nil},
		{"plain", `{"shape":"square","lowerLimit":-1,"upperLimit":1}`, nil},
		{"alert", `{"shape":"walk","live":true}`, map[string]string{"FromAlert": "true"}},
		{"expression", `{"shape":"sawtooth"}`, map[string]string{"http_X-Grafana-From-Expr": "true"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, pc := newInstance(t, `{}`)
				rsp := ask(t, in, &backend.QueryDataRequest{
					PluginContext: pc, Headers: c.headers, Queries: []backend.DataQuery{queryFor("A", c.raw, 8*time.Second, time.Second)},
				})["A"]
				experimental.CheckGoldenJSONResponse(t, "testdata", c.name, &rsp, *update)
			})
		})
	}
}

// One bad query never spoils its neighbours, and every error is the asker's to
// mend: it names what is wrong.
func TestQueryErrors(t *testing.T) {
	bad := map[string]struct{ raw, want string }{
		"limits":  {`{"lowerLimit":5,"upperLimit":5}`, "lowerLimit 5 is not below upperLimit 5"},
		"tick":    {`{"tickInterval":9}`, "tickInterval 9 is out of range"},
		"nan":     {`{"upperLimit":"NaN"}`, `upperLimit "NaN" is not a number`},
		"shape":   {`{"shape":"circle"}`, `shape "circle" is not known`},
		"json":    {`[]`, "cannot be read"},
		"nonce":   {`{"nonce":-1}`, "nonce -1 is out of range"},
		"unknown": {`{"tickInterval":"$tick"}`, `tickInterval "$tick" is not a number`},
	}
	in, pc := newInstance(t, `{}`)
	req := &backend.QueryDataRequest{PluginContext: pc, Queries: []backend.DataQuery{queryFor("good", `{}`, time.Minute, time.Second)}}
	for refID, c := range bad {
		req.Queries = append(req.Queries, queryFor(refID, c.raw, time.Minute, time.Second))
	}
	tooMany := queryFor("rows", `{"tickInterval":10}`, time.Hour, 10*time.Millisecond)
	backward := queryFor("range", `{}`, -time.Hour, time.Second)
	forever := queryFor("bounds", `{}`, time.Hour, time.Second)
	forever.TimeRange.From = time.UnixMilli(math.MinInt64)
	req.Queries = append(req.Queries, tooMany, backward, forever)
	bad["bounds"] = struct{ raw, want string }{want: "out of bounds"}
	bad["rows"] = struct{ raw, want string }{want: "more than the 50000 that the data source settings allow"}
	bad["range"] = struct{ raw, want string }{want: "ends before it begins"}

	answers := ask(t, in, req)
	if good := answers["good"]; good.Error != nil || good.Status != backend.StatusOK || good.Frames[0].Rows() != 60 {
		t.Errorf("the good query got %+v", good)
	}
	for refID, c := range bad {
		a := answers[refID]
		if a.Error == nil || !strings.Contains(a.Error.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", refID, a.Error, c.want)
		}
		if a.Status != backend.StatusBadRequest || a.ErrorSource != backend.ErrorSourceDownstream {
			t.Errorf("%s: status %d, source %q", refID, a.Status, a.ErrorSource)
		}
	}
}

// Answers are told apart by refId alone, so that of two queries under one neither
// may be lost without a word.
func TestOneRefIDTwice(t *testing.T) {
	in, pc := newInstance(t, `{}`)
	answers := ask(t, in, &backend.QueryDataRequest{PluginContext: pc, Queries: []backend.DataQuery{
		queryFor("A", `{}`, time.Minute, time.Second), queryFor("A", `{"shape":"sine"}`, time.Minute, time.Second), queryFor("B", `{}`, time.Minute, time.Second),
	}})
	if a := answers["A"]; a.Error == nil || a.Status != backend.StatusBadRequest || !strings.Contains(a.Error.Error(), `2 queries have the refId "A"`) {
		t.Errorf("the answer of both is %+v", a)
	}
	if b := answers["B"]; b.Error != nil {
		t.Errorf("beside them: %v", b.Error)
	}
}

// A source that panics spoils no other query, and the error is the plugin's.
func TestSourcePanics(t *testing.T) {
	in, pc := newInstance(t, `{}`)
	in.source = panicking{in.source}
	rsp, err := in.QueryData(t.Context(), &backend.QueryDataRequest{PluginContext: pc, Queries: []backend.DataQuery{
		queryFor("good", `{}`, time.Minute, time.Second), queryFor("bad", `{"shape":"noise"}`, time.Minute, time.Second),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if a := rsp.Responses["bad"]; a.Status != backend.StatusInternal || a.ErrorSource != backend.ErrorSourcePlugin ||
		!strings.Contains(a.Error.Error(), "internal error") || !strings.Contains(a.Error.Error(), "a fault") {
		t.Errorf("status %d, source %s, error %v", a.Status, a.ErrorSource, a.Error)
	}
	if a := rsp.Responses["good"]; a.Error != nil || a.Frames[0].Rows() != 60 {
		t.Errorf("beside it: %v", a.Error)
	}
}

// panicking is a source that noise makes panic.
type panicking struct{ source.Source }

func (p panicking) Query(raw json.RawMessage) (source.Query, error) {
	return rebound(p.Source, raw, func(b source.Bound) source.Bound {
		if strings.HasPrefix(b.Query().String(), "noise") {
			panic("a fault")
		}
		return b
	})
}

// Of an error that is not the asker's it matters whose it is.
func TestErrorSource(t *testing.T) {
	for _, c := range []struct {
		err    error
		status backend.Status
		source backend.ErrorSource
	}{
		{errors.New("disk full"), backend.StatusInternal, backend.ErrorSourcePlugin},
		{source.ErrNotSettled, backend.StatusInternal, backend.ErrorSourcePlugin},
		{fmt.Errorf("settled: %w", source.Downstream(errors.New("503"))), backend.StatusBadGateway, backend.ErrorSourceDownstream},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), backend.StatusTimeout, backend.ErrorSourceDownstream},
		{context.Canceled, backend.StatusBadGateway, backend.ErrorSourceDownstream},
	} {
		in, pc := newInstance(t, `{}`)
		in.source = failing{in.source, c.err}
		a := askOne(t, in, pc, queryFor("A", `{}`, time.Minute, time.Second))
		if a.Status != c.status || a.ErrorSource != c.source || a.Error.Error() != c.err.Error() {
			t.Errorf("%v: status %d, source %s, error %v", c.err, a.Status, a.ErrorSource, a.Error)
		}
	}
	in, pc := newInstance(t, `{"minStep":1}`)
	if a := askOne(t, in, pc, queryFor("A", `{}`, time.Minute, time.Second)); a.ErrorSource != backend.ErrorSourceDownstream {
		t.Errorf("settings that cannot be used: %+v", a)
	}
}

// The answers of a request are in memory until all of it is sent: together they
// must not take more than a request may, and it is given back when the request ends.
func TestAnswersOfOneRequest(t *testing.T) {
	in, pc := newInstance(t, `{}`)
	in.source = large{in.source}
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		req := &backend.QueryDataRequest{PluginContext: pc}
		for _, id := range []string{"A", "B", "C"} {
			req.Queries = append(req.Queries, queryFor(id, `{}`, time.Minute, time.Second))
		}
		rsp, err := in.QueryData(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		answered, refused := 0, 0
		for _, r := range rsp.Responses {
			switch r.Status {
			case backend.StatusOK:
				answered++
			case backend.StatusBadRequest:
				refused++
			}
		}
		if answered != 2 || refused != 1 {
			t.Errorf("%d queries are answered, %d refused", answered, refused)
		}
		cancel()
		for { // by the goroutine that sees the end of the request
			probe, end := limits.Begin(t.Context())
			err := limits.Charge(probe, limits.Request.Most)
			if end(); err == nil {
				break
			}
			runtime.Gosched()
		}
	}
}

// large is a source whose answers take nearly half of what a request may.
type large struct{ source.Source }

func (l large) Query(raw json.RawMessage) (source.Query, error) {
	return rebound(l.Source, raw, func(b source.Bound) source.Bound { return largeBound{b} })
}

type largeBound struct{ source.Bound }

func (b largeBound) Rows(ctx context.Context, after, through int64) (grid.Rows, error) {
	if err := limits.Charge(ctx, limits.Request.Most*2/5); err != nil {
		return grid.Rows{}, err
	}
	return b.Bound.Rows(ctx, after, through)
}

// failing is a source whose queries fail.
type failing struct {
	source.Source
	err error
}

func (f failing) Query(raw json.RawMessage) (source.Query, error) {
	return rebound(f.Source, raw, func(b source.Bound) source.Bound { return failingBound{b, f.err} })
}

type failingBound struct {
	source.Bound
	err error
}

func (b failingBound) Settled(context.Context) (int64, error) { return 0, b.err }

func TestChannelOnlyWhereLiveIsRight(t *testing.T) {
	const live = `{"live":true}`
	for _, c := range []struct {
		name     string
		settings string
		raw      string
		length   time.Duration
		headers  map[string]string
		channel  bool
		newest   bool // a window of rows without a channel
		notice   string
	}{
		{name: "live", raw: live, length: time.Minute, channel: true},
		{name: "polled", raw: `{"live":true,"polled":true}`, length: time.Minute, newest: true},
		{name: "not asked for", raw: `{}`, length: time.Minute},
		{name: "alert rule", raw: live, length: time.Minute, headers: map[string]string{"FromAlert": "true"}},
		{name: "expression", raw: live, length: time.Minute, headers: map[string]string{"http_X-Grafana-From-Expr": "true"}},
		{name: "step is half the range", raw: live, length: 2 * time.Second, channel: true},
		{name: "step over half the range", raw: live, length: 1999 * time.Millisecond},
		{name: "as many rows as allowed", settings: `{"maxRows":145}`, raw: live, length: 130 * time.Second, channel: true},
		{name: "more rows than allowed only when rounded", settings: `{"maxRows":144}`, raw: live, length: 130 * time.Second, notice: "145 rows, more than the 144"},
		{name: "data too large", raw: `{"live":true,"legend":"` + strings.Repeat("x", 48<<10) + `"}`, length: time.Minute, newest: true, notice: "48 KB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, pc := newInstance(t, cmp.Or(c.settings, `{}`))
			a := ask(t, in, &backend.QueryDataRequest{
				PluginContext: pc, Headers: c.headers, Queries: []backend.DataQuery{queryFor("A", c.raw, c.length, time.Second)},
			})["A"]
			if a.Error != nil {
				t.Fatal(a.Error)
			}
			meta := a.Frames[0].Meta
			if got := meta.Channel != ""; got != c.channel {
				t.Errorf("channel %q", meta.Channel)
			}
			terms, ok := meta.Custom.(liveAnswer)
			if ok != (c.channel || c.newest) || (terms.Data != "") != c.channel || ok && terms.Window < c.length.Milliseconds() {
				t.Errorf("custom %v", meta.Custom)
			}
			if text := fmt.Sprint(meta.Notices); c.notice == "" && len(meta.Notices) > 0 || !strings.Contains(text, c.notice) {
				t.Errorf("notices %s", text)
			}
		})
	}
}

// A live answer, and one that is polled because streams were in doubt, has exactly
// the window, up to the newest settled row, whatever the browser thinks what time
// it is.
func TestLiveWindowByTheServersClock(t *testing.T) {
	in, pc := newInstance(t, `{}`)
	for _, raw := range []string{`{"live":true}`, `{"live":true,"polled":true}`} {
		for _, wrong := range []time.Duration{-time.Hour, time.Hour} {
			q := queryFor("A", raw, time.Minute, time.Second)
			q.TimeRange.From, q.TimeRange.To = q.TimeRange.From.Add(wrong), q.TimeRange.To.Add(wrong)
			frame := askOne(t, in, pc, q).Frames[0]
			newest, _ := frame.Fields[0].ConcreteAt(frame.Rows() - 1)
			if late := time.Since(newest.(time.Time)); late > 5*time.Second {
				t.Errorf("%s, a clock that is wrong by %v: the newest row is %v old", raw, wrong, late)
			}
			custom := frame.Meta.Custom.(liveAnswer)
			if custom.Window != 60_000 || frame.Rows() != 61 || custom.First != frame.Fields[0].At(0).(time.Time).UnixMilli() {
				t.Errorf("%s, a clock that is wrong by %v: %d rows for %+v", raw, wrong, frame.Rows(), custom)
			}
		}
	}
}

// The history of a slow query reaches the rows with which its stream begins.
func TestSlowHistoryReachesItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, pc := newInstance(t, `{}`)
		in.source = shifting{in.source, pace{takes: 20 * time.Second}, newInput()}
		frame := askOne(t, in, pc, queryFor("A", `{"live":true}`, time.Minute, time.Second)).Frames[0]
		newest, _ := frame.Fields[0].ConcreteAt(frame.Rows() - 1)
		if late := time.Since(newest.(time.Time)); late > time.Second || frame.Rows() != 61 {
			t.Errorf("%d rows, the newest one is %v old", frame.Rows(), late)
		}
	})
}

// The step is the largest of Grafana's interval, the query's and the data
// source's minimum.
func TestStep(t *testing.T) {
	for _, c := range []struct {
		settings, raw string
		interval      time.Duration
		step          float64
	}{
		{`{}`, `{"tickInterval":1000}`, 200 * time.Millisecond, 1000},
		{`{}`, `{"tickInterval":10}`, 200 * time.Millisecond, 200},
		{`{"minStep":500}`, `{"tickInterval":10}`, 200 * time.Millisecond, 500},
		{`{}`, `{"tickInterval":10}`, 0, 10},
	} {
		in, pc := newInstance(t, c.settings)
		a := askOne(t, in, pc, queryFor("A", c.raw, 10*time.Second, c.interval))
		if a.Error != nil {
			t.Fatal(a.Error)
		}
		if step := a.Frames[0].Fields[0].Config.Interval; step != c.step {
			t.Errorf("settings %s, query %s, interval %v: step %v, want %v", c.settings, c.raw, c.interval, step, c.step)
		}
	}
}

// What an alert rule gets is what Grafana's documentation wants of numeric time
// series, one frame each, without nulls: so the reducers give numbers in strict
// mode, and last, mean and maximum cross a threshold when the signal does.
func TestAlertRule(t *testing.T) {
	const threshold, length = 80, time.Minute
	reducers := map[string]func(values []float64) float64{
		"last": func(values []float64) float64 { return values[len(values)-1] },
		"max":  slices.Max[[]float64],
		"mean": func(values []float64) float64 {
			sum := 0.0
			for _, v := range values {
				sum += v
			}
			return sum / float64(len(values))
		},
	}
	synctest.Test(t, func(t *testing.T) {
		in, pc := newInstance(t, `{}`)
		const raw = `{"shape":"sine","lowerLimit":0,"upperLimit":100}`
		q, err := signal.Source{}.Query(json.RawMessage(raw))
		if err != nil {
			t.Fatal(err)
		}
		b, err := q.Bind(1000, length.Milliseconds())
		if err != nil {
			t.Fatal(err)
		}
		crossed := map[string]int{}
		was := map[string]bool{}
		for range 200 {
			time.Sleep(7300 * time.Millisecond)
			got := reduced(t, in, pc, raw, length)
			now := time.Now()
			truth, err := b.Rows(t.Context(), (now.Add(-length).UnixMilli()-1)/1000*1000, now.UnixMilli()/1000*1000)
			if err != nil {
				t.Fatal(err)
			}
			for name, reduce := range reducers {
				number, want := reduce(got), reduce(truth.Series[0].Values)
				if number != want {
					t.Fatalf("at %v the %s is %v, that of the signal %v", now, name, number, want)
				}
				if fires := number > threshold; fires != was[name] {
					was[name] = fires
					crossed[name]++
				}
			}
		}
		for name := range reducers {
			if crossed[name] < 5 {
				t.Errorf("the %s crosses the threshold only %d times", name, crossed[name])
			}
		}
	})
}

// Rules as Grafana's alerting sends them, with its default of 43,200 points, get the
// state that the series has: over 80 alerting, else normal, no data if there are none.
func TestAlertStates(t *testing.T) {
	onRecorder(t, func(t *testing.T, r *fed) {
		time.Sleep(300 * time.Millisecond) // beside the grid
		now := time.Now()
		hot := &recorder.Series{Labels: labels.FromStrings(model.MetricNameLabel, "hot")}
		cold := &recorder.Series{Labels: labels.FromStrings(model.MetricNameLabel, "cold")}
		ended := &recorder.Series{Labels: labels.FromStrings(model.MetricNameLabel, "ended")}
		commit := func(at int64) {
			samples := []recorder.Sample{{Series: hot, T: at, V: 90}, {Series: cold, T: at, V: 10}}
			if at < now.Add(-time.Hour).UnixMilli() {
				samples = append(samples, recorder.Sample{Series: ended, T: at, V: 90})
			}
			if err := r.sink.Commit(t.Context(), samples, at); err != nil {
				t.Fatal(err)
			}
		}
		for at := now.Add(-16 * time.Hour); at.Before(now.Add(-time.Second)); at = at.Add(10 * time.Second) {
			commit(at.UnixMilli())
		}
		commit(now.UnixMilli() - 1700) // up to there the rows are settled
		for _, c := range []struct {
			name     string
			from, to time.Duration // before now
			rows     int           // at most
		}{
			{"an instant", 0, 0, 1},
			{"an instant of an hour ago", 90 * time.Minute, 90 * time.Minute, 1},
			{"shorter than a step", 500 * time.Millisecond, 0, 1},
			{"shorter than what is not settled", 1500 * time.Millisecond, 0, 1},
			{"ten minutes", 10 * time.Minute, 0, 601},
			{"15 hours", 15 * time.Hour, 0, 43_200},
		} {
			for expr, want := range map[string]string{"hot": "Alerting", "cold": "Normal", "none": "NoData", "ended": "NoData", "hot > 95": "NoData"} {
				if expr == "ended" && c.from > time.Hour {
					continue
				}
				a := ask(t, r.instance, &backend.QueryDataRequest{
					PluginContext: r.pc, Headers: map[string]string{backend.FromAlertHeaderName: "true"},
					Queries: []backend.DataQuery{{
						RefID: "A", JSON: fmt.Appendf(nil, `{"expr":%q,"intervalMs":1000,"maxDataPoints":43200}`, expr),
						Interval: time.Second, MaxDataPoints: 43_200,
						TimeRange: backend.TimeRange{From: now.Add(-c.from), To: now.Add(-c.to)},
					}},
				})["A"]
				state, rows := "NoData", 0
				switch {
				case a.Error != nil:
					state = a.Error.Error()
				case len(a.Frames) > 0 && len(a.Frames[0].Fields) > 0:
					rows = a.Frames[0].Rows()
					if state = "Normal"; a.Frames[0].Fields[1].At(rows-1).(float64) > 80 {
						state = "Alerting"
					}
				}
				if state != want || rows > c.rows {
					t.Errorf("%s of %s: %s with %d rows, want %s", c.name, expr, state, rows, want)
				}
			}
		}
	})
}

// reduced returns the values that a reducer of an alert rule works on.
func reduced(t *testing.T, in *instance, pc backend.PluginContext, raw string, length time.Duration) (values []float64) {
	t.Helper()
	a := ask(t, in, &backend.QueryDataRequest{
		PluginContext: pc, Headers: map[string]string{backend.FromAlertHeaderName: "true"},
		Queries: []backend.DataQuery{queryFor("A", raw, length, time.Second)},
	})["A"]
	if a.Error != nil {
		t.Fatal(a.Error)
	}
	if len(a.Frames) != 1 || a.Frames[0].Meta.Type != data.FrameTypeTimeSeriesMulti || a.Frames[0].Meta.TypeVersion != (data.FrameTypeVersion{0, 1}) {
		t.Fatalf("%d frames, the first of %+v", len(a.Frames), a.Frames[0].Meta)
	}
	frame := a.Frames[0]
	if len(frame.Fields) != 2 || frame.Fields[0].Type() != data.FieldTypeTime || frame.Fields[1].Type() != data.FieldTypeFloat64 {
		t.Fatalf("the frame is %s", jsonOf(t, frame))
	}
	for i := range frame.Rows() {
		values = append(values, frame.Fields[1].At(i).(float64))
	}
	return values
}

func TestNothingSettled(t *testing.T) {
	in, pc := newInstance(t, `{}`)
	q := queryFor("A", `{}`, time.Minute, time.Second)
	q.TimeRange.From, q.TimeRange.To = q.TimeRange.From.Add(time.Hour), q.TimeRange.To.Add(time.Hour)
	a := askOne(t, in, pc, q)
	if a.Error != nil || a.Frames[0].Rows() != 0 || a.Frames[0].Meta.TypeVersion.IsZero() {
		t.Errorf("a range in the future: %+v", a)
	}
}

func TestLegend(t *testing.T) {
	for format, want := range map[string]string{
		"":                      "sine",
		"plain":                 "plain",
		"{{shape}} of {{none}}": "sine of sine",
		"{{none}}{{gone}}":      "sine",
		"{{ shape }}":           "sine",
		"{{}} {shape}":          "{{}} {shape}",
	} {
		in, pc := newInstance(t, `{}`)
		raw, _ := json.Marshal(map[string]string{"shape": "sine", "legend": format})
		frame := askOne(t, in, pc, queryFor("A", string(raw), time.Minute, time.Second)).Frames[0]
		if got := frame.Fields[1].Config.DisplayNameFromDS; got != want {
			t.Errorf("legend %q gives %q, want %q", format, got, want)
		}
	}
}

func TestQueriesOfOthersAreRefused(t *testing.T) {
	in, pc := newInstance(t, `{}`)
	answer := askOne(t, in, pc, queryFor("A", `{"from":{"uid":"other"}}`, time.Minute, time.Second))
	if answer.Error == nil || !strings.Contains(answer.Error.Error(), "another data source (other)") {
		t.Errorf("a query for another data source gives %v", answer.Error)
	}
}

func TestSettings(t *testing.T) {
	for raw, want := range map[string]string{
		`{}`:                  "",
		`{"source":"signal"}`: "",
		`{"minStep":10}`:      "",
		`{"source":"other"}`:  `source "other" is not known`,
		`{"minStep":9}`:       "minimum step 9 is out of range",
		`{"minStep":"1s"}`:    `min step: "1s" is not valid`,
		`{"source":"prometheus","timeout":"a while"}`: `timeout: "a while" is not valid`,
		`{"recorder":{"outOfOrder":"15 min"}}`:        `recorder, out of order: "15 min" is not valid`,
		`{"minStep":86400001}`:                        "from 10 to 86400000",
		`{"maxRows":1000001}`:                         "rows per query 1000001",
		`{"maxStreams":-1}`:                           "streams per data source -1",
		`{"maxStreamsPerUser":-1}`:                    "streams per user -1",
		`{"maxRows":-1}`:                              "rows per query -1",
		`x`:                                           "cannot be read",
	} {
		in, pc := newInstance(t, raw)
		health, err := in.CheckHealth(t.Context(), &backend.CheckHealthRequest{PluginContext: pc})
		if err != nil {
			t.Fatal(err)
		}
		if (health.Status == backend.HealthStatusOk) != (want == "") || !strings.Contains(health.Message, want) {
			t.Errorf("settings %s: health is %v, %q", raw, health.Status, health.Message)
		}
		a := askOne(t, in, pc, queryFor("A", `{}`, time.Minute, time.Second))
		if (a.Error == nil) != (want == "") {
			t.Errorf("settings %s: a query gives %v", raw, a.Error)
		}
	}
}

// 1,000 rows of history, from request to frames.
func BenchmarkHistory(b *testing.B) {
	in, pc := newInstance(b, `{}`)
	req := &backend.QueryDataRequest{PluginContext: pc, Queries: []backend.DataQuery{
		queryFor("A", `{"live":true}`, 1000*time.Second, time.Second),
	}}
	b.ReportAllocs()
	for b.Loop() {
		rsp, err := in.QueryData(b.Context(), req)
		if err != nil || rsp.Responses["A"].Frames[0].Rows() < 1000 {
			b.Fatal(err, rsp.Responses["A"].Error)
		}
	}
}

// Back end and front end go by the same settings: src/datasource.test.ts reads the
// same cases.
func TestPatience(t *testing.T) {
	raw, err := os.ReadFile("testdata/patience.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Settings json.RawMessage
		Ms       int64
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		made, err := NewFactory(noStores())(t.Context(), backend.DataSourceInstanceSettings{URL: "http://127.0.0.1:1", JSONData: c.Settings})
		if err != nil {
			t.Fatal(err)
		}
		in := made.(*instance)
		if in.patience != ms(c.Ms) || in.tails.ReadTime != ms(c.Ms) {
			t.Errorf("%s: %v and %v, want %v", c.Settings, in.patience, in.tails.ReadTime, ms(c.Ms))
		}
	}
}
