package push

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/value"

	"github.com/continuum-live/continuum-datasource/pkg/internal/prometheus"
)

// target is what Prometheus scrapes: a counter, and a gauge that is there every
// other time, so that it becomes stale in between.
type target struct{ scrapes atomic.Int64 }

func (g *target) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	n := g.scrapes.Add(1)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "# HELP scrapes_total Helps.\n# TYPE scrapes_total counter\nscrapes_total{kind=\"a\"} %d\n", n)
	if n%2 == 1 {
		fmt.Fprintf(w, "sometimes %d.5\n", n)
	}
}

// A real Prometheus writes all that it scrapes, and is never told to try again.
func TestPrometheusWrites(t *testing.T) {
	for name, message := range map[string]string{"1.0": "prometheus.WriteRequest", "2.0": "io.prometheus.write.v2.Request"} {
		t.Run(name, func(t *testing.T) {
			_, store := open(t, Config{})
			var g target
			scraped := httptest.NewServer(&g)
			t.Cleanup(scraped.Close)
			var bad atomic.Int64
			handler := Handler(store.Sink("push"), Prometheus)
			receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				status := &statusWriter{ResponseWriter: w}
				handler.ServeHTTP(status, req)
				if status.code != http.StatusNoContent {
					bad.Add(1)
				}
			}))
			t.Cleanup(receiver.Close) // after Prometheus has ended, which writes until then
			p := prometheus.Start(t, prometheus.Options{Config: fmt.Sprintf(`
scrape_configs:
- job_name: test
  scrape_interval: 50ms
  scrape_timeout: 50ms
  static_configs: [{targets: [%q]}]
remote_write:
- url: %s
  protobuf_message: %s
  queue_config: {batch_send_deadline: 100ms, min_shards: 2}
  metadata_config: {send_interval: 200ms}
`, scraped.Listener.Addr(), receiver.URL, message)})

			want := make(map[string]float64)
			deadline := time.Now().Add(3 * time.Minute)
			for len(want) < 40 {
				if time.Now().After(deadline) {
					t.Fatalf("only %d samples", len(want))
				}
				time.Sleep(100 * time.Millisecond)
				want = scrapedBy(t, p.URL)
			}
			var missing string
			for len(want) > 0 {
				got := samples(t, store)
				for at, v := range want {
					if g, ok := got[at]; ok {
						if g != v {
							t.Fatalf("%s is %v, not %v", at, g, v)
						}
						delete(want, at)
					} else {
						missing = at
					}
				}
				if time.Now().After(deadline) {
					t.Fatalf("%d are missing, such as %s; the input is %+v", len(want), missing, status(t, store))
				}
				time.Sleep(50 * time.Millisecond)
			}
			stale := 0
			for _, v := range samples(t, store) {
				if value.IsStaleNaN(v) {
					stale++
				}
			}
			if stale < 5 {
				t.Errorf("%d stale markers", stale)
			}
			// With 2.0 this Prometheus says only what its own log had at the start.
			for name == "1.0" && store.Metadata()["scrapes_total"].Type != model.MetricTypeCounter {
				if time.Now().After(deadline) {
					t.Fatalf("%+v", store.Metadata())
				}
				time.Sleep(50 * time.Millisecond)
			}
			if n := bad.Load(); n > 0 {
				t.Errorf("%d requests were not answered with success", n)
			}
			if in := status(t, store); in.Refused.TooOld+in.Refused.Future+in.Refused.Duplicate > 0 || len(in.Skipped) > 0 {
				t.Errorf("%+v", in)
			}
		})
	}
}

type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// scrapedBy returns what Prometheus itself has, but for stale markers, which it
// does not show.
func scrapedBy(t *testing.T, server string) map[string]float64 {
	t.Helper()
	rsp, err := http.Get(server + "/api/v1/query?query=" + url.QueryEscape(`{__name__=~"scrapes_total|sometimes"}[1h]`))
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.NewDecoder(rsp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, r := range answer.Data.Result {
		var kind string
		if r.Metric["kind"] != "" {
			kind = fmt.Sprintf(`, kind=%q`, r.Metric["kind"])
		}
		for _, v := range r.Values {
			n, err := strconv.ParseFloat(v[1].(string), 64)
			if err != nil {
				t.Fatal(err)
			}
			at := int64(math.Round(v[0].(float64) * 1000))
			all[fmt.Sprintf(`%s{instance=%q, job="test"%s}@%d`, r.Metric["__name__"], r.Metric["instance"], kind, at)] = n
		}
	}
	return all
}
