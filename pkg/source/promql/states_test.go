package promql

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/internal/prometheus"
	"github.com/continuum-live/continuum-datasource/pkg/internal/remotewrite"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/sourcetest"
)

var pumpStates = []string{"cleaning", "failed", "idle", "running"}

// pumpState is the state of a pump at a time, empty for none.
func pumpState(pump, at int64) string {
	i := at / 1000 / (3 + pump) % 5
	if i == 4 {
		return ""
	}
	return pumpStates[i]
}

const pumps = 3

// stateSamples are the states of pumps at the times in (after, through], one per
// second. The last pump is stale in each tenth second.
func stateSamples(after, through int64) []remotewrite.Sample {
	var samples []remotewrite.Sample
	for at := after + 1000; at <= through; at += 1000 {
		for pump := range int64(pumps) {
			for _, state := range pumpStates {
				v := 0.0
				switch {
				case pump == pumps-1 && at/1000%10 == 0:
					v = math.Float64frombits(value.StaleNaN)
				case state == pumpState(pump, at):
					v = 1
				}
				name := fmt.Sprint("p", pump)
				samples = append(samples,
					remotewrite.Sample{Labels: map[string]string{"__name__": "pump_state", "pump": name, "pump_state": state}, T: at, V: v},
					remotewrite.Sample{Labels: map[string]string{"__name__": "kube_phase", "pump": name, "phase": state}, T: at, V: v})
			}
		}
		samples = append(samples, remotewrite.Sample{Labels: map[string]string{"__name__": "level"}, T: at, V: 1})
	}
	return samples
}

// fillStates commits the states of pumps.
func (f *fixture) fillStates(t testing.TB, after, through int64) {
	t.Helper()
	var samples []recorder.Sample
	for _, s := range stateSamples(after, through) {
		var pairs []string
		for name, value := range s.Labels {
			if name != model.MetricNameLabel {
				pairs = append(pairs, name, value)
			}
		}
		samples = append(samples, f.sample(s.T, s.V, s.Labels[model.MetricNameLabel], pairs...))
	}
	if err := f.Commit(t.Context(), samples, through); err != nil {
		t.Fatal(err)
	}
}

func statesQuery(expr, label string) json.RawMessage {
	raw, _ := json.Marshal(map[string]string{"expr": expr, "format": formatStates, "stateLabel": label})
	return raw
}

func TestStatesConform(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, f *fixture) {
		now := time.Now().UnixMilli() / 1000 * 1000
		f.Lookback = 30 * time.Second
		f.fillStates(t, now-3*60_000, now)
		for _, q := range []json.RawMessage{
			// Without the pump that is stale now and then: fields are not to change.
			statesQuery(`pump_state{pump!="p2"}`, ""), statesQuery(`pump_state{pump="p1"}`, ""), statesQuery(`kube_phase{pump!="p2"}`, "phase"),
			statesQuery("max_over_time(pump_state[10s])", ""), statesQuery(`avg_over_time(pump_state{pump!="p2"}[$__interval])`, ""), statesQuery("sum by (pump_state) (pump_state)", "pump_state"), statesQuery("no_such_state", ""),
		} {
			err := sourcetest.Verify(t.Context(), sourcetest.Subject{
				Source: f.Source, Query: q, Steps: []int64{1000, 2500}, Rows: 16,
				Refused: []json.RawMessage{statesQuery("level", ""), statesQuery("kube_phase", ""), statesQuery(`{__name__=~"pump_state|level"}`, ""), statesQuery("1", "")},
				Between: func() {
					then := time.Now().UnixMilli() / 1000 * 1000
					time.Sleep(2 * time.Second)
					f.fillStates(t, then, then+2000)
				},
			})
			if err != nil {
				t.Errorf("%s: %v", q, err)
			}
		}
	})
}

// A row has the state that held at its time, whatever range it is asked for in.
func TestStatesAreExact(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, f *fixture) {
		now := time.Now().UnixMilli() / 1000 * 1000
		f.fillStates(t, now-3*60_000, now)
		expectStates(t, f.Source, now)
	})
}

// The states of real servers are the same, row by row.
func TestRemoteStatesAreExact(t *testing.T) {
	t.Parallel()
	for _, server := range remoteServers {
		t.Run(server.name, func(t *testing.T) {
			url := server.start(t)
			now := time.Now().UnixMilli() / 1000 * 1000
			if err := remotewrite.Send(t.Context(), url, stateSamples(now-3*60_000, now)); err != nil {
				t.Fatal(err)
			}
			r := newRemote(t, url)
			found(t, "[1]", func() (string, error) {
				a, err := r.Range(t.Context(), "level", time.Second, now, now, 1000)
				if err != nil || len(a.Series) != 1 {
					return fmt.Sprintf("%+v", a.Series), err
				}
				return fmt.Sprint(a.Series[0].Values), nil
			})
			expectStates(t, Source{Engine: r, Interval: time.Second, Lookback: 5 * time.Minute}, now)
		})
	}
}

// expectStates compares the states of the pumps, up to now, with what they were.
func expectStates(t *testing.T, src Source, now int64) {
	t.Helper()
	for _, c := range []struct {
		expr, label, name string
	}{{"pump_state", "", `{__name__="pump_state", pump="p%d"}`}, {"kube_phase", "phase", `{__name__="kube_phase", pump="p%d"}`}, {"pump_state == 1", "", `{__name__="pump_state", pump="p%d"}`}} {
		q, err := src.Query(statesQuery(c.expr, c.label))
		if err != nil {
			t.Fatal(err)
		}
		b, err := q.Bind(1000, 60_000)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := b.Rows(t.Context(), now-60_000, now-5_000)
		if err != nil {
			t.Fatal(err)
		}
		schema := rows.Schema()
		if len(rows.Series) != pumps || !slices.Equal(schema.States, pumpStates) {
			t.Fatalf("%s: the fields are %+v", c.expr, schema)
		}
		for pump, s := range rows.Series {
			if want := fmt.Sprintf(c.name, pump); s.Name != want {
				t.Errorf("%s is called %s, not %s", c.expr, s.Name, want)
			}
			for i, v := range s.Values {
				at, got := rows.Time(i), ""
				for _, state := range rows.States {
					if state.Value == v {
						got = state.Text
					}
				}
				want := pumpState(int64(pump), at)
				if pump == pumps-1 && at/1000%10 == 0 {
					want = ""
				}
				if got != want || math.IsNaN(v) != (want == "") {
					t.Errorf("%s: pump %d is %q (%v) at %d, not %q", c.expr, pump, got, v, at, want)
				}
			}
		}
		for after := now - 60_000; after < now-5_000; after += 11_000 {
			part, err := b.Rows(t.Context(), after, after+11_000)
			if err != nil {
				t.Fatal(err)
			}
			part, known := part.Onto(schema)
			if !known {
				t.Errorf("%s: %+v are not those of the whole", c.expr, part.Schema())
			}
			for i, s := range part.Series {
				begin := (after - rows.After) / 1000
				for row, v := range s.Values {
					if whole := rows.Series[i].Values[int(begin)+row]; math.Float64bits(whole) != math.Float64bits(v) {
						t.Errorf("%s: row %d of %s is %v and, of a part, %v", c.expr, part.Time(row), s.Name, whole, v)
					}
				}
			}
		}
	}
}

// Of several states the one with the greatest value counts, the first by text of equal
// ones, none without a value above 0.
func TestSeveralStates(t *testing.T) {
	of := func(text string, values ...float64) Series {
		return Series{labels.FromStrings("__name__", "s", "s", text), values}
	}
	a := Answer{Series: []Series{of("a", 1, 0, 0.2, 0, math.NaN()), of("b", 1, 0, 0.5, -1, math.NaN()), of("c", 0, 1, 0.3, math.NaN(), math.NaN())}}
	var rows grid.Rows
	if err := (bound{}).fold(t.Context(), &a, &rows); err != nil || len(a.Series) != 1 {
		t.Fatal(a, err)
	}
	none := math.NaN()
	want := []float64{stateNumber("a"), stateNumber("c"), stateNumber("b"), none, none}
	for i, v := range a.Series[0].Values {
		if math.Float64bits(v) != math.Float64bits(want[i]) {
			t.Errorf("row %d is %v, not %v", i, v, want[i])
		}
	}
}

// A state's number and color are the same in every process and version: they are in
// dashboards, too.
func TestStateNumbers(t *testing.T) {
	for text, want := range map[string]grid.State{
		"running":  {Value: 343848780, Color: "green"},
		"FAILED":   {Value: 1474886324, Color: "red"},
		"idle":     {Value: 1124192147, Color: "#808080"},
		"not home": {Value: 681860913, Color: "#808080"},
		"cleaning": {Value: 2081372562, Color: "purple"},
		"открыто":  {Value: 489068970, Color: "light-purple"},
	} {
		if n, color := stateNumber(text), stateColor(text); n != want.Value || color != want.Color {
			t.Errorf("%q: {Value: %.0f, Color: %q}", text, n, color)
		}
	}
	numbers := make(map[float64]string)
	for word := range wordColors {
		n := stateNumber(word)
		if other, twice := numbers[n]; twice {
			t.Errorf("%q and %q are both %.0f", word, other, n)
		}
		numbers[n] = word
	}
}

// What cannot be states says which label could have them, and what alert rules are to
// ask for.
func TestStatesRefused(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		now := time.Now().UnixMilli() / 1000 * 1000
		f.fillStates(t, now-60_000, now)
		for _, c := range []struct{ expr, label, want string }{
			{"kube_phase", "", `has not the label "kube_phase". Say which label has the states (stateLabel): phase, pump.`},
			{"level", "", `has not the label "level", nor any other. Leave the format states out`},
			{"sum(pump_state)", "", "has not the label \"pump_state\", nor any other"},
			{"kube_phase or pump_state", "phase", `has not the label "phase". Say which label has the states`},
			{"max by (pump) (kube_phase or pump_state)", "", "has not the label that is called as the metric is"},
		} {
			q, err := f.Query(statesQuery(c.expr, c.label))
			if err != nil {
				t.Fatal(err)
			}
			b, err := q.Bind(1000, 60_000)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = b.Rows(t.Context(), now-30_000, now-10_000); err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, source.ErrDownstream) {
				t.Errorf("%s: %v", c.expr, err)
			}
		}
	})
	for q, want := range map[string]string{
		string(statesQuery(`pump_state{pump="p1"}`, "")): `pump_state{pump_state="running"}`,
		string(statesQuery("kube_phase", "phase")):       `kube_phase{phase="running"}`,
		`{"expr":"pump_state"}`:                          "",
		`{"expr":"pump_state","format":"newest"}`:        "",
	} {
		parsed, err := (Source{Engine: Embedded{}}).Query(json.RawMessage(q))
		if err != nil {
			t.Fatal(err)
		}
		b, err := parsed.Bind(1000, 60_000)
		if err != nil {
			t.Fatal(err)
		}
		switch drawn := b.Traits().Drawn; {
		case want == "" && drawn != nil, want != "" && (drawn == nil || !strings.HasSuffix(drawn.Error(), want)):
			t.Errorf("%s: %v", q, drawn)
		case want == "" && string(parsed.JSON()) != `{"expr":"pump_state"}`:
			t.Errorf("%s is the same query as %s", q, parsed.JSON())
		}
	}
}

// A Prometheus scrapes what kube-state-metrics says, which is in a file.
func TestStatesOfKubernetes(t *testing.T) {
	t.Parallel() // it waits for scrapes
	page, err := os.ReadFile("testdata/kube_pods.prom")
	if err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool // the job has succeeded
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text := string(page)
		if done.Load() {
			text = strings.NewReplacer(`pod="job-x2",uid="2",phase="Pending"} 1`, `pod="job-x2",uid="2",phase="Pending"} 0`,
				`pod="job-x2",uid="2",phase="Succeeded"} 0`, `pod="job-x2",uid="2",phase="Succeeded"} 1`).Replace(text)
		}
		fmt.Fprint(w, text)
	}))
	defer exporter.Close()
	server := prometheus.Start(t, prometheus.Options{Config: fmt.Sprintf(
		"scrape_configs: [{job_name: kube, scrape_interval: 1s, static_configs: [{targets: [%q]}]}]", strings.TrimPrefix(exporter.URL, "http://"))})
	s := Source{Engine: newRemote(t, server.URL), Interval: time.Second, Lookback: 5 * time.Minute}
	q, err := s.Query(statesQuery("kube_pod_status_phase", "phase"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := q.Bind(1000, 60_000)
	if err != nil {
		t.Fatal(err)
	}
	phase := func(want string) (through int64) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for ; time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
			settled, err := b.Settled(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			through = grid.Floor(settled, 1000)
			rows, err := b.Rows(t.Context(), through-1000, through)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, s := range rows.Series {
				for _, state := range rows.States {
					if state.Value == s.Values[0] {
						got += s.Labels["pod"] + " " + state.Text + " " + state.Color + "; "
					}
				}
			}
			if got == want {
				return through
			}
		}
		t.Fatalf("the phases are not %s", want)
		return 0
	}
	phase("job-x2 Pending " + stateColor("Pending") + "; web-7d4b9 Running green; ")
	done.Store(true)
	through := phase("job-x2 Succeeded green; web-7d4b9 Running green; ")
	for settled := int64(0); settled < through+5000; time.Sleep(200 * time.Millisecond) { // the range begins after the last change
		if settled, err = b.Settled(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sourcetest.Run(t, sourcetest.Subject{Source: s, Query: statesQuery("kube_pod_status_phase", "phase"), Steps: []int64{1000}, Rows: 3,
		Refused: []json.RawMessage{statesQuery("kube_pod_status_phase", ""), statesQuery("kube_pod_status_ready", "phase")}})
	sourcetest.Run(t, sourcetest.Subject{Source: s, Query: statesQuery("kube_pod_status_ready", "condition"), Steps: []int64{1000}, Rows: 3})
}
