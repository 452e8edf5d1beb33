package plugin

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// record commits a sample of each metric every second.
func (r *fed) record(t *testing.T, seconds int, metrics ...string) {
	t.Helper()
	for range seconds {
		time.Sleep(time.Second)
		at := time.Now().UnixMilli()
		var samples []recorder.Sample
		for _, m := range metrics {
			samples = append(samples, r.gauge(m, at))
		}
		if err := r.sink.Commit(t.Context(), samples, at); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *fed) gauge(metric string, at int64) recorder.Sample {
	s := r.all[metric]
	if s == nil {
		s = &recorder.Series{Labels: labels.FromStrings(model.MetricNameLabel, metric)}
		r.all[metric] = s
	}
	return recorder.Sample{Series: s, T: at, V: float64(at % 1000)}
}

// Late samples have only those viewers ask again who see what they change.
func TestLateSamplesConcernTheirReadersAlone(t *testing.T) {
	onRecorder(t, func(t *testing.T, r *fed) {
		r.record(t, 60, "slow", "steady")
		viewers := map[string]*viewer{}
		for query, length := range map[string]time.Duration{
			`{"expr":"slow"}`:                     40 * time.Second,
			`{"expr":"sum({__name__=~\"s.*\"})"}`: 40 * time.Second,
			`{"expr":"steady"}`:                   40 * time.Second,
			`{"expr":"vector(1)"}`:                40 * time.Second,
			`{"expr":"last_over_time(slow[2s])"}`: 5 * time.Second, // the window does not reach it
		} {
			v := &viewer{resync: make(chan struct{}, 1)}
			defer v.watch(t, r, query, length)()
			viewers[query] = v
		}
		r.record(t, 12, "steady")
		if err := r.sink.Commit(t.Context(), []recorder.Sample{r.gauge("slow", time.Now().Add(-11500*time.Millisecond).UnixMilli())}, 0); err != nil {
			t.Fatal(err)
		}
		r.record(t, 12, "steady")
		synctest.Wait()
		for query, want := range map[string]int64{
			`{"expr":"slow"}`:                     2,
			`{"expr":"sum({__name__=~\"s.*\"})"}`: 2,
			`{"expr":"steady"}`:                   1,
			`{"expr":"vector(1)"}`:                1,
			`{"expr":"last_over_time(slow[2s])"}`: 1,
		} {
			if got := viewers[query].asked.Load(); got != want {
				t.Errorf("%s was asked %d times, not %d", query, got, want)
			}
		}
	})
}

// Who sees what an input writes learns within three seconds that it has lost its
// connection, and that it is back. Others are left alone.
func TestInputGoesDown(t *testing.T) {
	onRecorder(t, func(t *testing.T, r *fed) {
		r.record(t, 60, "level")
		v, other := &viewer{resync: make(chan struct{}, 1)}, &viewer{resync: make(chan struct{}, 1)}
		defer v.watch(t, r, `{"expr":"level"}`, 30*time.Second)()
		defer other.watch(t, r, `{"expr":"continuum_input_up"}`, 30*time.Second)()
		r.record(t, 11, "level")

		down := time.Now()
		r.sink.Retry("the broker secret.example refuses", time.Now().Add(time.Second))
		time.Sleep(3 * time.Second)
		want := "test: no connection since " + down.UTC().Format("15:04") + " UTC, last values shown"
		if got := v.noticed(); got != want {
			t.Errorf("three seconds after the connection was lost the notice is %q, not %q", got, want)
		}
		for range 5 { // it tries again
			r.sink.Retry("the broker secret.example refuses", time.Now().Add(time.Second))
			time.Sleep(4 * time.Second)
		}
		if got := v.asked.Load(); got != 2 {
			t.Errorf("asked %d times in all after one change", got)
		}
		alert := r.ask(t, `{"expr":"continuum_input_up"}`, 10*time.Second)
		if got := *alert.Fields[1].At(alert.Rows() - 1).(*float64); got != 0 || alert.Fields[1].Labels["input"] != "test" {
			t.Errorf("continuum_input_up is %v of %v", got, alert.Fields[1].Labels)
		}

		r.sink.Trouble("")
		r.record(t, 3, "level")
		if got := v.noticed(); got != "" {
			t.Errorf("three seconds after it is back the notice is %q", got)
		}
		r.record(t, 12, "level")
		if got := v.asked.Load(); got != 3 {
			t.Errorf("asked %d times in all after it was back", got)
		}
		if got := other.asked.Load(); got != 1 {
			t.Errorf("who sees other metrics asked %d times", got)
		}

		// Messages come that are not stored.
		for range 20 {
			r.sink.Report(recorder.Report{Messages: 1})
			time.Sleep(5 * time.Second)
		}
		if got := v.noticed(); !strings.HasPrefix(got, "test: nothing is stored since") {
			t.Errorf("when messages become no samples the notice is %q", got)
		}
	})
}

// A disk that is fuller than the second floor is said to everybody who asks: to an alert
// rule as an error, or it would take it for a machine that is fine and silent.
func TestDiskIsFull(t *testing.T) {
	rec := recorder.New(t.TempDir(), slog.New(slog.DiscardHandler))
	defer func() {
		if err := rec.Close(); err != nil {
			t.Error(err)
		}
	}()
	// No disk has as much.
	settings := fmt.Sprintf(`{"source":"recorder","recorder":{"noHost":true,"diskLow":%d,"diskCritical":%d,"inputs":[{"type":"push","name":"push"}]}}`, 1<<50, 1<<49)
	pc := backend.PluginContext{OrgID: 1, PluginID: ID, User: &backend.User{Login: "viewer", Role: "Editor"},
		DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{UID: "uid", JSONData: []byte(settings)}}
	made, err := NewFactory(rec)(backend.WithPluginContext(t.Context(), pc), *pc.DataSourceInstanceSettings)
	if err != nil {
		t.Fatal(err)
	}
	r := &fed{instance: made.(*instance), pc: pc}
	const why = "the disk is nearly full"
	now := time.Now()
	for _, headers := range []map[string]string{nil, {"FromAlert": "true"}} {
		rsp, err := r.QueryData(t.Context(), &backend.QueryDataRequest{PluginContext: pc, Headers: headers, Queries: []backend.DataQuery{{
			RefID: "A", JSON: []byte(`{"expr":"up"}`), Interval: time.Second, TimeRange: backend.TimeRange{From: now.Add(-time.Minute), To: now}}}})
		if err != nil {
			t.Fatal(err)
		}
		if a := rsp.Responses["A"]; a.Error == nil || !strings.Contains(a.Error.Error(), why) || len(a.Frames) > 0 {
			t.Errorf("a query with %v gets %d frames and %v", headers, len(a.Frames), a.Error)
		}
	}
	health, err := r.CheckHealth(backend.WithPluginContext(t.Context(), pc), &backend.CheckHealthRequest{PluginContext: pc})
	if err != nil || health.Status != backend.HealthStatusError || !strings.Contains(health.Message, why) {
		t.Errorf("health is %+v: %v", health, err)
	}
	if !strings.Contains(string(health.JSONDetails), "The recorder has 0 series") {
		t.Errorf("the details are %s", health.JSONDetails)
	}
	viewer := pc
	viewer.User = &backend.User{Login: "viewer", Role: "Viewer"}
	health, err = r.CheckHealth(backend.WithPluginContext(t.Context(), viewer), &backend.CheckHealthRequest{PluginContext: viewer})
	if err != nil || health.Status != backend.HealthStatusError || strings.Contains(health.Message, why) || health.JSONDetails != nil {
		t.Errorf("viewers get %+v: %v", health, err)
	}
	if rsp := r.call(t, http.MethodGet, "status"); !strings.Contains(string(rsp.Body), why) {
		t.Errorf("the status is %s", rsp.Body)
	}
	var pushed *backend.CallResourceResponse
	err = r.CallResource(backend.WithPluginContext(t.Context(), pc), &backend.CallResourceRequest{PluginContext: pc, Method: http.MethodPost, Path: "push/influx", URL: "push/influx", Body: []byte("m v=1")},
		backend.CallResourceResponseSenderFunc(func(rsp *backend.CallResourceResponse) error { pushed = rsp; return nil }))
	if err != nil || pushed.Status != http.StatusServiceUnavailable || len(pushed.Headers["Retry-After"]) != 1 || !strings.Contains(string(pushed.Body), why) {
		t.Errorf("a push gets %+v: %v", pushed, err)
	}
}
