package promql

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

func TestUnits(t *testing.T) {
	described := map[string]recorder.Metadata{
		"temperature":            {Unit: "°C"},
		"flow":                   {Unit: "NTU"},
		"heap":                   {Help: "Size of the heap in bytes."},
		"contradicted_ratio":     {Help: "How full it is in percent."},
		"beacon_head_epoch":      {Help: "Current head epoch."},
		"beacon_finalized_epoch": {Help: "Current finalized epoch"},
		"seen":                   {Help: "Unix time in milliseconds"},
		"seen_seconds":           {Help: "UNIX-time when it was seen"},
		"born_seconds":           {Unit: "seconds", Help: "Start time since unix epoch in seconds."},
		"sent":                   {Type: model.MetricTypeCounter, Unit: "bytes"},
		"took":                   {Type: model.MetricTypeHistogram, Unit: "seconds"},
		"gauge":                  {Type: model.MetricTypeGauge, Unit: "seconds"},
	}
	for expr, want := range map[string]string{
		// The unit of the metric.
		"node_memory_MemFree_bytes":           "bytes",
		"node_load1":                          "",
		"avg(node_hwmon_temp_celsius)":        "celsius",
		"max by (room) (room_celsius)":        "celsius",
		"temperature":                         "celsius",
		"max_over_time(temperature[1h])":      "celsius",
		"quantile_over_time(.9, heap[5m])":    "bytes",
		"flow":                                "suffix:NTU",
		"heap":                                "bytes",
		"contradicted_ratio":                  "",
		"round(-(heap))":                      "bytes",
		"topk(5, heap) > 1000":                "bytes",
		"1000 < heap":                         "bytes",
		"heap > bool 1000":                    "",
		"sum(heap) or vector(0)":              "bytes",
		"heap or temperature":                 "",
		"heap unless on (x) temperature":      "bytes",
		"heap + heap":                         "bytes",
		"heap - on (x) other_bytes":           "bytes",
		"heap * on (x) group_left build_info": "bytes",
		"last_over_time(sent_total[5m])":      "bytes",

		// Another one.
		"rate(flow[5m])": "",
		"sum(rate(node_network_receive_bytes_total[1m]))":  "binBps",
		"rate(sent_total[1m])":                             "binBps",
		"max_over_time(rate(sent_total[1m])[1h:])":         "binBps",
		"deriv(rate(sent_total[1m])[1h:])":                 "",
		"sum by (mode) (rate(node_cpu_seconds_total[1m]))": "percentunit",
		"increase(node_cpu_seconds_total[1h])":             "s",
		"increase(energy_kwh[1d])":                         "kwatth",
		"rate(energy_kwh[5m])":                             "",

		// None.
		"count(heap)":                       "",
		"count_over_time(heap[5m])":         "",
		"stdvar(heap)":                      "",
		"heap / node_memory_MemTotal_bytes": "",
		"heap / 1024":                       "",
		"heap * 8":                          "",
		"temperature + 273.15":              "",
		"changes(heap[1h])":                 "",
		"absent(heap)":                      "",
		"sqrt(heap)":                        "",

		// Times, and durations.
		"process_start_time_seconds":          "",
		"born_seconds":                        "",
		"time() - process_start_time_seconds": "s",
		"time() - max(born_seconds)":          "",
		"time() - timestamp(heap)":            "s",
		"time() - heap":                       "",
		"delta(born_seconds[1h])":             "",
		"node_textfile_mtime_seconds":         "",
		"push_time_seconds":                   "",
		"time() - push_time_seconds":          "s",
		"a_timestamp_ms":                      "",
		"last_seen_ms":                        "ms",
		"seen_seconds":                        "",
		"seen_seconds - seen_seconds":         "",
		"rate(seen_seconds[5m])":              "",

		// What may be times, or something else.
		"mysql_global_status_threads_created - mysql_global_status_threads_created offset 1h": "",
		"beacon_head_epoch - beacon_finalized_epoch":                                          "",
		"a_timestamp_milliseconds - b_timestamp_milliseconds":                                 "",
		"time() - a_timestamp_milliseconds":                                                   "",
		"seen - seen offset 1h":                                                               "",
		"node_disk_io_time_seconds_total":                                                     "s",

		// Histograms and summaries.
		"took_sum":              "s",
		"took_count":            "",
		"gauge_sum":             "", // another metric
		"rate(took_bucket[5m])": "",
		"took_bucket":           "",
		"histogram_quantile(0.9, sum by (le) (rate(took_bucket[5m])))":        "s",
		"histogram_quantile(0.9, sum(rate(http_seconds_bucket[5m])) by (le))": "s",
		"histogram_quantile(0.9, rate(took[5m]))":                             "s",
		"histogram_avg(rate(took[5m]))":                                       "s",
		"histogram_count(rate(took[5m]))":                                     "",
		"histogram_sum(rate(took[5m]))":                                       "percentunit",
		"rate(took_sum[5m]) / rate(took_count[5m])":                           "s",
		"sum(rate(took_sum[5m])) / sum(rate(took_count[5m]))":                 "s",
		"rate(took_sum[5m]) / took_count":                                     "",
	} {
		e, err := promParser.ParseExpr(expr)
		if err != nil {
			t.Fatal(expr, err)
		}
		var d describe = func(metric string) recorder.Metadata { return described[metric] }
		if got := d.quantity(e).id(); got != want {
			t.Errorf("%s has the unit %q, not %q", expr, got, want)
		}
	}
}

// A selector without a name gets the unit of each series.
func TestUnitsOfEach(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		now := time.Now().UnixMilli()
		f.fill(t, now-60_000, now)
		for expr, want := range map[string]string{
			`{machine="m1"}`:           `level_bytes "bytes"`,
			`{machine="m1"} > 0`:       `level_bytes "bytes"`,
			`max({machine="m1"})`:      ` ""`,
			`rate({machine="m1"}[1m])`: ` ""`,
		} {
			rows, err := f.bind(t, expr, 1000).Rows(t.Context(), now-2000, now)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, s := range rows.Series {
				found = found || fmt.Sprintf("%s %q", s.Labels["__name__"], s.Unit) == want
			}
			if !found {
				t.Errorf("%s: %+v", expr, rows.Series)
			}
		}
	})
}

// A server is asked once for the description of a metric, and rows do not wait for long.
func TestRemoteUnits(t *testing.T) {
	var asked atomic.Int32
	hung := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := float64(time.Now().UnixMilli()) / 1000
		switch {
		case strings.HasSuffix(r.URL.Path, "/metadata"):
			asked.Add(1)
			switch r.FormValue("metric") {
			case "heap":
				fmt.Fprint(w, `{"status":"success","data":{"heap":[{"type":"gauge","help":"Size of the heap in bytes.","unit":""}]}}`)
			case "hanging":
				<-hung
			default:
				fmt.Fprint(w, `{"status":"success","data":{}}`)
			}
		case strings.HasSuffix(r.URL.Path, "/query_range"):
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[%s,"1"]]}]}}`, r.FormValue("end"))
		default:
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"scalar","result":[%f,"%f"]}}`, now, now)
		}
	}))
	defer server.Close()
	defer close(hung)
	engine, err := NewRemote(RemoteConfig{URL: server.URL, Client: server.Client(), Method: http.MethodPost, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	s := Source{Engine: engine, Interval: time.Second, Lookback: time.Minute}
	from := time.Now().Add(-time.Minute).Truncate(time.Second).UnixMilli()
	for range 2 {
		for metric, want := range map[string]string{"heap": "bytes", "other_seconds": "s", "hanging_celsius": "celsius"} {
			rows, err := (&fixture{Source: s}).bind(t, metric, 1000).Rows(t.Context(), from, from+1000)
			if err != nil || len(rows.Series) != 1 || rows.Series[0].Unit != want {
				t.Errorf("%s: %+v, %v", metric, rows, err)
			}
		}
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("asked for %d descriptions", n)
	}
	if got := engine.Describe(t.Context(), "hanging", time.Now().Add(time.Millisecond)); got != (recorder.Metadata{}) {
		t.Errorf("described as %+v", got)
	}
}

// A server that refuses to describe metrics is asked once, and answers queries as before.
func TestRefusedUnits(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := float64(time.Now().UnixMilli()) / 1000
		switch {
		case strings.HasSuffix(r.URL.Path, "/metadata"):
			asked.Add(1)
			w.Header().Set("Retry-After", "300")
			w.WriteHeader(http.StatusTooManyRequests)
		case strings.HasSuffix(r.URL.Path, "/query_range"):
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[%s,"1"]]}]}}`, r.FormValue("end"))
		default:
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"scalar","result":[%f,"%f"]}}`, now, now)
		}
	}))
	defer server.Close()
	engine, err := NewRemote(RemoteConfig{URL: server.URL, Client: server.Client(), Method: http.MethodPost, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	from := time.Now().Add(-time.Minute).Truncate(time.Second).UnixMilli()
	for _, metric := range []string{"a_bytes", "a_bytes", "b_bytes", "c_bytes"} {
		rows, err := (&fixture{Source: Source{Engine: engine, Interval: time.Second, Lookback: time.Minute}}).bind(t, metric, 1000).Rows(t.Context(), from, from+1000)
		if err != nil || len(rows.Series) != 1 || rows.Series[0].Unit != "bytes" {
			t.Errorf("%s: %+v, %v", metric, rows, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked for %d descriptions", n)
	}
}
