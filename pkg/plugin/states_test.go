package plugin

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// pump commits the state of a pump as a recorder does: 1 for it, 0 for those before.
func (r *fed) pump(t *testing.T, at int64, state string) {
	t.Helper()
	if r.all[state] == nil {
		r.all[state] = &recorder.Series{Labels: labels.FromStrings(model.MetricNameLabel, "pump_state", "pump", "p1", "pump_state", state)}
	}
	var samples []recorder.Sample
	for text, s := range r.all {
		v := 0.0
		if text == state {
			v = 1
		}
		samples = append(samples, recorder.Sample{Series: s, T: at, V: v})
	}
	if err := r.sink.Commit(t.Context(), samples, at); err != nil {
		t.Fatal(err)
	}
}

// A panel of states streams and equals a fresh query. A text that is new has viewers ask
// afresh once, and one that was there before does not.
func TestStatesAreExact(t *testing.T) {
	onRecorder(t, func(t *testing.T, r *fed) {
		const query, length = `{"expr":"pump_state","format":"states"}`, 40 * time.Second
		feed := func(seconds int, states ...string) {
			for i := range seconds {
				time.Sleep(time.Second - time.Duration(time.Now().UnixMilli()%1000)*time.Millisecond)
				r.pump(t, time.Now().UnixMilli(), states[i%len(states)])
			}
		}
		feed(50, "running", "idle")
		v := &viewer{resync: make(chan struct{}, 1)}
		stop := v.watch(t, r, query, length)
		feed(20, "idle", "running")
		if asked := v.asked.Load(); asked != 1 {
			t.Errorf("asked %d times although all states were known", asked)
		}
		feed(8, "failed", "running")
		synctest.Wait()
		if asked := v.asked.Load(); asked != 2 {
			t.Errorf("asked %d times after a new state", asked)
		}
		feed(20, "failed", "idle")
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		stop()
		if rows, _ := v.compare(t, "states", r.ask(t, `{"expr":"pump_state","format":"states","live":true}`, length), math.MaxInt64); rows < 40 {
			t.Errorf("%d rows were compared", rows)
		}
		var shown []string
		for _, row := range v.rows {
			if row[0] != nil {
				text := v.texts[strconv.FormatFloat(*row[0], 'f', -1, 64)]
				if !slices.Contains(shown, text) {
					shown = append(shown, text)
				}
			}
		}
		slices.Sort(shown)
		if !slices.Equal(shown, []string{"failed", "idle", "running"}) {
			t.Errorf("the texts are %q of %v", shown, v.texts)
		}
	})
}

// Variables list the texts, as they do the values of any label.
func TestStatesAreListed(t *testing.T) {
	onRecorder(t, func(t *testing.T, r *fed) {
		for i, state := range []string{"running", "idle", "failed"} {
			r.pump(t, time.Now().UnixMilli()-int64(5000-1000*i), state)
		}
		got := r.call(t, "GET", `labels/pump_state/values?match=pump_state{pump="p1"}`)
		if strings.TrimSpace(string(got.Body)) != `["failed","idle","running"]` {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	})
}

// Alert rules are told which series to ask for, and other sources that they have no
// states.
func TestStatesRefused(t *testing.T) {
	onRecorder(t, func(t *testing.T, r *fed) {
		r.pump(t, time.Now().UnixMilli()-5000, "running")
		for header, value := range map[string]string{backend.FromAlertHeaderName: "true", "http_X-Grafana-From-Expr": "true"} {
			a := ask(t, r.instance, &backend.QueryDataRequest{PluginContext: r.pc, Headers: map[string]string{header: value},
				Queries: []backend.DataQuery{queryFor("A", `{"expr":"pump_state","format":"states"}`, time.Minute, time.Second)}})["A"]
			if a.Error == nil || a.Status != backend.StatusBadRequest || !strings.Contains(a.Error.Error(), `pump_state{pump_state="running"}`) {
				t.Errorf("%s: %v", header, a.Error)
			}
		}
	})
	in, pc := newInstance(t, `{}`)
	for format, want := range map[string]string{"states": "for queries in PromQL", "table": "is not known"} {
		a := askOne(t, in, pc, queryFor("A", fmt.Sprintf(`{"shape":"sine","format":%q}`, format), time.Minute, time.Second))
		if a.Error == nil || !strings.Contains(a.Error.Error(), want) {
			t.Errorf("%s: %v", format, a.Error)
		}
	}
}

// The rule of the docs for a silent device fires for that device alone, and no longer
// when it is back.
func TestSilentDevice(t *testing.T) {
	page, err := os.ReadFile("../../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile("(?m)^\\| a device is silent \\| `([^`]+)`, last, is above ([0-9]+)").FindSubmatch(page)
	if rule == nil {
		t.Fatal("the docs have no rule for a silent device")
	}
	query, err := json.Marshal(map[string]string{"expr": strings.ReplaceAll(string(rule[1]), "temperature", "m_bytes")})
	if err != nil {
		t.Fatal(err)
	}
	above, err := strconv.ParseFloat(string(rule[2]), 64)
	if err != nil {
		t.Fatal(err)
	}
	onRecorder(t, func(t *testing.T, r *fed) {
		feed := func(minutes int, machines ...string) {
			t.Helper()
			for range minutes {
				time.Sleep(time.Minute)
				now := time.Now().UnixMilli()
				var samples []recorder.Sample
				for _, m := range machines {
					samples = append(samples, r.sample(m, now))
				}
				if err := r.sink.Commit(t.Context(), samples, now); err != nil {
					t.Fatal(err)
				}
			}
		}
		silent := func() (machines []string) {
			t.Helper()
			a := ask(t, r.instance, &backend.QueryDataRequest{PluginContext: r.pc, Headers: map[string]string{backend.FromAlertHeaderName: "true"},
				Queries: []backend.DataQuery{queryFor("A", string(query), 10*time.Minute, 15*time.Second)}})["A"]
			if a.Error != nil {
				t.Fatal(a.Error)
			}
			for _, f := range a.Frames {
				for _, field := range f.Fields[1:] {
					if field.At(field.Len()-1).(float64) > above {
						machines = append(machines, field.Labels["machine"])
					}
				}
			}
			return machines
		}
		feed(20, "a", "bb")
		if got := silent(); len(got) > 0 {
			t.Errorf("while all send: %q", got)
		}
		feed(9, "a")
		if got := silent(); len(got) > 0 {
			t.Errorf("after 9 minutes: %q", got)
		}
		feed(3, "a")
		if got := silent(); !slices.Equal(got, []string{"bb"}) {
			t.Errorf("after 12 minutes: %q", got)
		}
		feed(180, "a")
		if got := silent(); !slices.Equal(got, []string{"bb"}) {
			t.Errorf("after hours: %q", got)
		}
		feed(1, "a", "bb")
		if got := silent(); len(got) > 0 {
			t.Errorf("when it is back: %q", got)
		}
	})
}
