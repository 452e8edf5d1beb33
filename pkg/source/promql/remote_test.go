package promql

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/internal/prometheus"
	"github.com/continuum-live/continuum-datasource/pkg/internal/remotewrite"
	"github.com/continuum-live/continuum-datasource/pkg/internal/victoria"
	"github.com/continuum-live/continuum-datasource/pkg/source/sourcetest"
)

// remoteServers are the servers that the engine is tested against.
var remoteServers = []struct {
	name   string
	start  func(t testing.TB) (url string)
	except map[string]string
	// histograms says whether it knows native histograms.
	histograms bool
}{
	{name: "Prometheus", histograms: true, start: func(t testing.TB) string {
		return prometheus.Start(t, prometheus.Options{
			Config: "storage: {tsdb: {out_of_order_time_window: 1h}}",
			Flags:  []string{"--web.enable-remote-write-receiver"}}).URL
	}},
	{name: "VictoriaMetrics", start: func(t testing.TB) string {
		return victoria.Start(t, "-search.latencyOffset=2s").URL
	}, except: map[string]string{"SplitInvariant": "VictoriaMetrics guesses how far apart samples are from the range that it is asked for"}},
}

func newRemote(t testing.TB, url string) *Remote {
	t.Helper()
	return newRemoteOver(t, url, http.DefaultTransport)
}

// replicas passes requests on, and makes the next answer to time() that of a replica
// whose clock is off by some hours.
type replicas struct{ off atomic.Int64 }

var unixSeconds = regexp.MustCompile(`\b[0-9]{10}\b`)

func (p *replicas) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	rsp, err := http.DefaultTransport.RoundTrip(r)
	if form, _ := url.ParseQuery(string(body)); err != nil || form.Get("query") != "time()" {
		return rsp, err
	}
	off := p.off.Swap(0) / int64(time.Second)
	answer, err := io.ReadAll(rsp.Body)
	if err := errors.Join(err, rsp.Body.Close()); err != nil {
		return nil, err
	}
	answer = unixSeconds.ReplaceAllFunc(answer, func(b []byte) []byte {
		seconds, _ := strconv.ParseInt(string(b), 10, 64)
		return strconv.AppendInt(nil, seconds+off, 10)
	})
	rsp.Body, rsp.ContentLength = io.NopCloser(bytes.NewReader(answer)), int64(len(answer))
	rsp.Header.Del("Content-Length")
	return rsp, nil
}

func newRemoteOver(t testing.TB, url string, transport http.RoundTripper) *Remote {
	t.Helper()
	r, err := NewRemote(RemoteConfig{URL: url, Client: &http.Client{Transport: transport}, Method: http.MethodPost, Delay: DelayOf(time.Second), Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// scraped returns what a scrape of three machines at a time would find. Sums are
// the same in any order.
func scraped(at int64) []remotewrite.Sample {
	var samples []remotewrite.Sample
	for i := range int64(3) {
		labels := func(name string) map[string]string {
			return map[string]string{"__name__": name, "machine": fmt.Sprint("m", i), "zone": fmt.Sprint("z", i%2)}
		}
		samples = append(samples,
			remotewrite.Sample{Labels: labels("level_bytes"), T: at, V: math.Floor(100 * math.Sin(float64(at/1000%1000)/50+float64(i)))},
			remotewrite.Sample{Labels: labels("work_total"), T: at, V: float64(at/1000%100_000) * float64(i+1)})
	}
	samples = append(samples, remotewrite.Sample{
		Labels: map[string]string{"__name__": "request_seconds"}, T: at, H: tsdbutil.GenerateTestHistogram(at / 1000 % 100_000)})
	if s := at / 1000; s%240 < 20 || s%15 == 0 {
		samples = append(samples, remotewrite.Sample{Labels: map[string]string{"__name__": "uneven_total"}, T: at, V: float64(s % 100_000 * (s % 100_000))})
	}
	return samples
}

// feed stores what scrapes in (after, through] would have found.
func feed(t testing.TB, url string, after, through int64) {
	t.Helper()
	var samples []remotewrite.Sample
	for at := after/1000*1000 + 1000; at <= through; at += 1000 {
		samples = append(samples, scraped(at)...)
	}
	if err := remotewrite.Send(t.Context(), url, samples); err != nil {
		t.Fatal(err)
	}
}

// goOn scrapes every second from then on, until the test ends.
func goOn(t testing.TB, url string, then int64) {
	ctx, done := t.Context(), make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			then += 1000
			select {
			case <-ctx.Done():
			case <-time.After(time.Until(time.UnixMilli(then))):
				// What cannot be stored is missed, as it is by who scrapes.
				_ = remotewrite.Send(ctx, url, scraped(then))
			}
		}
	}()
}

// settle waits until the newest samples that were fed are settled and to be seen.
func settle(t testing.TB, s Source, through int64) {
	t.Helper()
	inputtest.Eventually(t, func() error {
		settled, err := s.Engine.Settled(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if settled >= through {
			found, err := s.Engine.Range(t.Context(), "timestamp(level_bytes)", s.Lookback, through, through, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if len(found.Series) == 3 && found.Series[0].Values[0]*1000 == float64(through/1000*1000) {
				return nil
			}
		}
		return errors.New("what was fed is not to be seen")
	})
}

func TestRemoteConforms(t *testing.T) {
	t.Parallel() // it waits for seconds to pass
	for _, server := range remoteServers {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			url := server.start(t)
			now := time.Now().UnixMilli() / 1000 * 1000
			feed(t, url, now-15*60_000, now)
			goOn(t, url, now)
			var proxy replicas
			s := Source{Engine: newRemoteOver(t, url, &proxy), Interval: time.Second, Lookback: 5 * time.Minute}
			settle(t, s, now)
			exprs := []string{
				"rate(uneven_total[1m])", // the one on which VictoriaMetrics fails
				"level_bytes", "sum(level_bytes)", "sum by (zone) (level_bytes * 2)", "rate(work_total[10s])", "max_over_time(sum(level_bytes)[10s:1s])",
				"rate(work_total[$__rate_interval])", "level_bytes offset 7s", "topk(3, level_bytes)", "level_bytes > -200", "time()", "1",
			}
			if server.histograms {
				exprs = append(exprs, "histogram_count(request_seconds)", "histogram_quantile(0.9, rate(request_seconds[10s]))")
			}
			for i, expr := range exprs {
				between := func() { settle(t, s, (time.Now().UnixMilli()-1000)/1000*1000) }
				if i > 1 { // it takes seconds each time
					between = nil
				}
				// Each expression has one of the steps: what depends on the step is the
				// same for all.
				rows, steps, except := int64(40), []int64{[]int64{1000, 1001, 2500}[i%3]}, map[string]string(nil)
				if i == 0 { // the samples get denser and rarer on the way
					rows, steps, except = 400, []int64{1000}, server.except
				}
				t.Run(expr, func(t *testing.T) {
					raw, _ := json.Marshal(map[string]string{"expr": expr})
					subject := sourcetest.Subject{Source: s, Query: raw, Steps: steps, Rows: rows, Except: except, Between: between}
					if i == 1 {
						subject.Outlier = func(off time.Duration) {
							for proxy.off.Store(int64(off)); proxy.off.Load() != 0; time.Sleep(50 * time.Millisecond) {
								_, _ = s.Engine.Settled(t.Context(), nil) // which asks once a second
							}
						}
					}
					if i == 1 && server.histograms {
						subject.Refused = []json.RawMessage{
							[]byte(`{"expr":"request_seconds"}`), []byte(`{"expr":"rate(request_seconds[10s])"}`),
							[]byte(`{"expr":"{__name__=~\"level_bytes|request_seconds\"}"}`)}
					}
					sourcetest.Run(t, subject)
				})
			}
		})
	}
}

// Names of any script are found, listed and answered, whether or not the server knows
// names in quotes.
func TestRemoteNames(t *testing.T) {
	t.Parallel()
	for _, server := range remoteServers {
		t.Run(server.name, func(t *testing.T) {
			url := server.start(t)
			now := time.Now().UnixMilli()/1000*1000 - 10_000
			var samples []remotewrite.Sample
			for at := now - 10_000; at <= now; at += 1000 {
				samples = append(samples, remotewrite.Sample{Labels: map[string]string{"__name__": "温度", "Gerät": "ü", "room": "a"}, T: at, V: 21})
			}
			if err := remotewrite.Send(t.Context(), url, samples); err != nil {
				t.Fatal(err)
			}
			r := newRemote(t, url)
			list := func(name string, ms ...*labels.Matcher) func() ([]string, error) {
				return func() ([]string, error) { return r.LabelValues(t.Context(), now-60_000, now+60_000, 100, name, ms...) }
			}
			for _, test := range []struct {
				name string
				ask  func() ([]string, error)
				want string
			}{
				{"names of metrics", list("__name__"), "温度"},
				{"values", list("Gerät"), "ü"},
				{"values of a metric", list("Gerät", labels.MustNewMatcher(labels.MatchEqual, "__name__", "温度")), "ü"},
				{"values of a label that there is not", list("Größe"), ""},
				{"names of labels", func() ([]string, error) { return r.LabelNames(t.Context(), now-60_000, now+60_000, 100) }, "Gerät __name__ room"},
			} {
				t.Run(test.name, func(t *testing.T) {
					found(t, test.want, func() (string, error) {
						names, err := test.ask()
						return strings.Join(names, " "), err
					})
				})
			}
			for _, expr := range []string{`{"温度"}`, `sum(max_over_time({"温度", room="a"}[5s]))`, `{__name__="温度"} offset 1s`} {
				t.Run(expr, func(t *testing.T) {
					found(t, "[21]", func() (string, error) {
						a, err := r.Range(t.Context(), expr, time.Minute, now, now, 1000)
						if err != nil || len(a.Series) != 1 {
							return fmt.Sprintf("%+v", a.Series), err
						}
						return fmt.Sprint(a.Series[0].Values), nil
					})
				})
			}
		})
	}
}

// found asks a server until it answers what was written to it, which may take a while.
func found(t *testing.T, want string, ask func() (string, error)) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		got, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s, not %s", got, want)
		}
	}
}

func TestPortable(t *testing.T) {
	for expr, want := range map[string]string{
		`up{a="b"}  + 1`:             `up{a="b"}  + 1`,
		`{"up", a="b"}`:              `{__name__="up",a="b"}`,
		`rate({"温度", a="b"}[1m])`:    `rate({__name__="温度",a="b"}[1m])`,
		`{"x.y"} / on (a) {"温度"}`:    `{__name__="x.y"} / on (a) {__name__="温度"}`,
		`{__name__="温度"}`:            `{__name__="温度"}`,
		`an_extension(of="something`: `an_extension(of="something`,
	} {
		if got := portable(expr); got != want {
			t.Errorf("%s becomes %s, not %s", expr, got, want)
		}
	}
}
