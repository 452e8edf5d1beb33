package promql

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

const secret = "swordfish-1234"

func remoteOf(t testing.TB, c RemoteConfig) *Remote {
	t.Helper()
	if c.Client == nil {
		c.Client = http.DefaultClient
	}
	if c.Method == "" {
		c.Method = http.MethodPost
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	c.Secrets = []string{secret}
	r, err := NewRemote(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(body, "{") {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}
}

// Checks name the step that fails, and nobody is told a secret.
func TestRemoteCheckNamesTheStep(t *testing.T) {
	plain := httptest.NewServer(answering(200, `{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`))
	defer plain.Close()
	secure := httptest.NewTLSServer(answering(200, `{}`))
	defer secure.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	echo := base64.StdEncoding.EncodeToString([]byte(secret))
	for _, c := range []struct {
		name    string
		url     string
		handler http.HandlerFunc
		want    string
	}{
		{"nobody listens", gone.URL, nil, "Address: 127.0.0.1:"},
		{"no such name", "http://no-such-host.invalid", nil, "Address: no-such-host.invalid cannot be reached: its host is not known to DNS"},
		{"unknown authority", secure.URL, nil, "TLS: the certificate of 127.0.0.1:"},
		{"http instead of https", "http" + strings.TrimPrefix(secure.URL, "https"), nil, "TLS: 127.0.0.1:"},
		{"https instead of http", "https" + strings.TrimPrefix(plain.URL, "http"), nil, "does not speak TLS"},
		{"no key", "", answering(401, `{"status":"error","error":"no org id"}`), "Credentials: 127.0.0.1:"},
		{"wrong key", "", answering(403, "Forbidden: "+secret+" "+echo), " answers 403 Forbidden to /api/v1/query: Forbidden: [secret] [secret]: check the credentials"},
		{"another path", "", answering(404, "404 page not found"), "answers 404 Not Found to /api/v1/query: 404 page not found: check the URL in the data source settings: it is what comes before /api/v1"},
		{"VictoriaMetrics' other path", "", answering(400, "unsupported path requested"), "unsupported path requested"},
		{"a web page", "", answering(200, "<html>Log in</html>"), "Endpoint: 127.0.0.1:"},
		{"a web page that fails", "", answering(404, "<html>"+secret), "answers 404 Not Found to /api/v1/query: check the URL"},
		{"no JSON", "", answering(200, "hello "+secret), "Answer: 127.0.0.1:"},
		{"other JSON", "", answering(200, `{"ok":true}`), "Answer: asked for time(), 127.0.0.1:"},
		{"another answer", "", answering(200, `{"status":"success","data":{"resultType":"vector","result":[]}}`), "asked for time(), 127.0.0.1:"},
		{"another type", "", answering(200, `{"status":"success","data":{"resultType":"`+secret+`","result":[]}}`), "Answer: "},
		{"an error with success", "", answering(200, `{"status":"error","errorType":"internal","error":"disk `+secret+`"}`), "refuses the query: disk [secret]"},
		{"an error", "", answering(422, `{"status":"error","errorType":"execution","error":"too much `+strings.Repeat("x", 1000)+`"}`), "Query: 127.0.0.1:"},
		{"too slow", "", answering(503, `{"status":"error","errorType":"timeout","error":"query timed out"}`), "Server: 127.0.0.1:"},
		{"another host", "", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, secure.URL+"/"+secret, http.StatusTemporaryRedirect)
		}, "redirects to https://127.0.0.1:"},
		{"round in circles", "", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		}, "redirects to itself again and again"},
		{"a redirect that loses the form", "", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, "redirects to /login, which takes no POST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := c.url
			if c.handler != nil {
				s := httptest.NewServer(c.handler)
				defer s.Close()
				address = s.URL
			}
			_, err := remoteOf(t, RemoteConfig{URL: address}).Check(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the error is %v, not %q", err, c.want)
			}
			if text := err.Error(); strings.Contains(text, secret) || strings.Contains(text, echo) || len(text) > 700 || strings.Contains(text, "\n") {
				t.Errorf("the error is %s", text)
			}
		})
	}
}

func TestRemoteSettings(t *testing.T) {
	for address, want := range map[string]string{
		"":                           "is missing",
		"prometheus:9090":            "cannot be read",
		"ftp://prometheus":           "cannot be read",
		"http://":                    "cannot be read",
		"http://%zz":                 "cannot be read",
		"http://me:" + secret + "@x": "user or password",
		"http://x?key=" + secret:     "must end before ?",
		"http://x/prom":              "",
		"http://x/prom/api/v1/":      "",
		"https://[::1]:9090/":        "",
	} {
		_, err := NewRemote(RemoteConfig{URL: address, Method: http.MethodGet, Client: http.DefaultClient})
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := NewRemote(RemoteConfig{URL: "http://x", Method: "PUT", Client: http.DefaultClient}); err == nil {
		t.Error("PUT is taken")
	}
}

// script answers each request by the next of its functions, and by the last for
// ever.
type script []func(form url.Values) (status int, header, body string)

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	form := r.URL.Query()
	if r.Body != nil {
		if err := r.ParseForm(); err != nil {
			return nil, err
		}
		form = r.Form
	}
	next := (*s)[0]
	if len(*s) > 1 {
		*s = (*s)[1:]
	}
	status, header, body := next(form)
	if status == 0 {
		return nil, errors.New("connection reset")
	}
	rec := httptest.NewRecorder()
	if name, value, ok := strings.Cut(header, ": "); ok {
		rec.Header().Set(name, value)
	}
	rec.Header().Set("Content-Type", "application/json")
	rec.WriteHeader(status)
	_, _ = rec.WriteString(body)
	return rec.Result(), nil
}

func says(status int, header, body string) func(url.Values) (int, string, string) {
	return func(url.Values) (int, string, string) { return status, header, body }
}

const noSeries = `{"status":"success","data":{"resultType":"matrix","result":[]}}`

func TestRemoteTriesAgain(t *testing.T) {
	for _, c := range []struct {
		name     string
		script   script
		want     string // "" if it succeeds
		attempts int
		at       time.Duration // at least
	}{
		{"at once", script{says(200, "", noSeries)}, "", 1, 0},
		{"after a cut", script{says(0, "", ""), says(200, "", noSeries)}, "", 2, 100 * time.Millisecond},
		{"after 5xx", script{says(502, "", ""), says(503, "", "{}"), says(200, "", noSeries)}, "", 3, 300 * time.Millisecond},
		{"when told to", script{says(429, "Retry-After: 3", ""), says(200, "", noSeries)}, "", 2, 3 * time.Second},
		{"not later than is any use", script{says(429, "Retry-After: 30", "")}, "answers 429 Too Many Requests", 1, 0},
		{"not for ever", script{says(500, "", "broken")}, "answers 500 Internal Server Error to /api/v1/query_range: broken", 4, 800 * time.Millisecond},
		{"not what took too long", script{says(503, "", `{"status":"error","errorType":"timeout","error":"query timed out"}`)}, "query timed out", 1, 0},
		{"not what is wrong", script{says(400, "", `{"status":"error","errorType":"bad_data","error":"parse"}`)}, "answers 400 Bad Request to /api/v1/query_range: parse", 1, 0},
		{"not what is incomplete", script{says(200, "", `{"status":"success","warnings":["store away"],"data":{"resultType":"matrix","result":[]}}`)}, "may have left something out: store away", 1, 0},
		{"advice is no hole", script{says(200, "", `{"status":"success","warnings":["PromQL warning: bad bucket"],"infos":["x"],"data":{"resultType":"matrix","result":[]}}`)}, "", 1, 0},
		{"advice that is left out is no hole", script{says(200, "", `{"status":"success","warnings":["PromQL warning: bad bucket","30 more warning annotations omitted"],"data":{"resultType":"matrix","result":[]}}`)}, "", 1, 0},
		{"no store", script{says(200, "", `{"status":"success","warnings":["No StoreAPIs matched for this query"],"data":{"resultType":"matrix","result":[]}}`)}, "", 1, 0},
		{"a part", script{says(200, "", `{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[]}}`)}, "answers with a part of what it has", 1, 0},
		{"the whole", script{says(200, "", `{"status":"success","isPartial":false,"data":{"resultType":"matrix","result":[]}}`)}, "", 1, 0},
		{"histograms", script{says(200, "", `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"histograms":[[1,{"count":"1"}]]}]}}`)}, "ask for a number of them, with histogram_quantile", 1, 0},
		{"a series of numbers and histograms", script{says(200, "", `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"]],"histograms":[[2,{"count":"1"}]]}]}}`)}, "histogram_quantile", 1, 0},
		{"off the grid", script{says(200, "", `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1.5,"1"]]}]}}`)}, "was not asked for", 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				counted := script{}
				for _, next := range c.script {
					counted = append(counted, func(form url.Values) (int, string, string) { attempts++; return next(form) })
				}
				began := time.Now()
				r := remoteOf(t, RemoteConfig{URL: "http://server", Client: &http.Client{Transport: &counted}, Timeout: 10 * time.Second})
				_, err := r.Range(t.Context(), "x", time.Minute, 1000, 3000, 1000)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("the error is %v", err)
				}
				if attempts != c.attempts || time.Since(began) < c.at {
					t.Errorf("%d attempts in %v", attempts, time.Since(began))
				}
			})
		})
	}
}

// Long ranges are asked for in parts, and every part has what makes it exact.
func TestRemoteRange(t *testing.T) {
	var asked []url.Values
	s := script{func(form url.Values) (int, string, string) {
		asked = append(asked, form)
		return 200, "", fmt.Sprintf(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[%s,"%d"],[%s,"NaN"]]}]}}`,
			form.Get("start"), len(asked), form.Get("end"))
	}}
	r := remoteOf(t, RemoteConfig{URL: "http://server/prefix/", Client: &http.Client{Transport: &s}})
	const step, n = 1001, 25_000
	answer, err := r.Range(t.Context(), "x", 5*time.Minute, step, n*step, step)
	series := answer.Series
	if err != nil || len(series) != 1 || len(series[0].Values) != n {
		t.Fatal(err, len(series))
	}
	for i, v := range series[0].Values {
		if want := i%maxPoints == 0; want != (v == float64(i/maxPoints+1)) {
			t.Fatalf("value %d is %v", i, v)
		}
	}
	if len(asked) != 3 || asked[1].Get("start") != "11012.001" || asked[2].Get("end") != "25025" {
		t.Errorf("asked for %v", asked)
	}
	for name, want := range map[string]string{"step": "1.00125", "lookback_delta": "5m0s", "max_lookback": "5m0s", "nocache": "1",
		"partial_response": "false", "deny_partial_response": "1", "timeout": "5s", "limit": "1001", "query": "x"} {
		if got := asked[0].Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}

	many := script{func(url.Values) (int, string, string) {
		var b strings.Builder
		for i := range int(limits.Series.Most) + 1 {
			fmt.Fprintf(&b, `,{"metric":{"i":"%d"},"values":[[1,"1"]]}`, i)
		}
		return 200, "", `{"status":"success","data":{"resultType":"matrix","result":[` + b.String()[1:] + `]}}`
	}}
	r = remoteOf(t, RemoteConfig{URL: "http://server", Client: &http.Client{Transport: &many}})
	if _, err := r.Range(t.Context(), "x", time.Minute, 1000, 2000, 1000); !errors.As(err, new(*limits.Error)) {
		t.Errorf("the error is %v", err)
	}

	huge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.FormatInt(limits.Body.Most+1, 10))
		w.WriteHeader(http.StatusOK)
	}))
	defer huge.Close()
	if _, err := remoteOf(t, RemoteConfig{URL: huge.URL}).Range(t.Context(), "x", time.Minute, 1000, 2000, 1000); err == nil || !strings.Contains(err.Error(), "Answer of a server: ") {
		t.Errorf("the error is %v", err)
	}
}

// What a server says of an expression is shown, each text once, and nothing secret.
func TestRemoteNotices(t *testing.T) {
	infos := ""
	for i := range 12 {
		infos += fmt.Sprintf(`"PromQL info: %02d",`, i)
	}
	s := script{says(200, "", `{"status":"success","warnings":["No StoreAPIs matched for this query","PromQL warning: `+secret+`"],"infos":[`+infos[:len(infos)-1]+
		`],"data":{"resultType":"matrix","result":[]}}`)}
	r := remoteOf(t, RemoteConfig{URL: "http://server", Client: &http.Client{Transport: &s}})
	b := (&fixture{Source: Source{Engine: r, Interval: time.Second}}).bind(t, "x", 1000)
	r.probed, r.settled = time.Now(), 20_000_000
	rows, err := b.Rows(t.Context(), 0, 11_001_000) // in two parts
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range rows.Notices {
		got = append(got, n.Severity.String()+": "+n.Text)
	}
	want := []string{"warning: No StoreAPIs matched for this query", "warning: PromQL warning: [secret]"}
	for i := range 10 {
		want = append(want, fmt.Sprintf("info: PromQL info: %02d", i))
	}
	if want = append(want, "info: 2 more of this kind are not shown."); !slices.Equal(got, want) {
		t.Errorf("the notices are %q", got)
	}
}

// A server that does not answer is waited for no longer than was agreed, and the
// asker's own end is the asker's.
func TestRemoteTimeout(t *testing.T) {
	end := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer silent.Close()
	defer close(end)
	r := remoteOf(t, RemoteConfig{URL: silent.URL, Timeout: 50 * time.Millisecond})
	if _, err := r.Range(t.Context(), "x", time.Minute, 1000, 2000, 1000); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("the error is %v", err)
	}
	if _, err := r.Settled(t.Context(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r = remoteOf(t, RemoteConfig{URL: silent.URL})
	if _, err := r.Range(ctx, "x", time.Minute, 1000, 2000, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if _, err := r.Settled(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// Nobody is told the time of a first answer that no other confirms.
func TestRemoteFirstAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		hours []int // that the answers are ahead, the last for ever
		want  int   // hours
		err   string
	}{
		"right":                      {[]int{0}, 0, ""},
		"a wrong one":                {[]int{1, 0}, 0, ""},
		"another clock than ours":    {[]int{1}, 1, ""},
		"another, after a wrong one": {[]int{5, 1}, 1, ""},
		"none agree":                 {[]int{1, 2, 3, 4, 5, 6, 7}, 0, "set the clocks of its replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				probe := script{func(url.Values) (int, string, string) {
					now := time.Now().Add(time.Duration(c.hours[0]) * time.Hour)
					c.hours = c.hours[min(1, len(c.hours)-1):]
					return 200, "", fmt.Sprintf(`{"status":"success","data":{"resultType":"scalar","result":[%d,"%d"]}}`, now.Unix(), now.Unix())
				}}
				r := remoteOf(t, RemoteConfig{URL: "http://server", Client: &http.Client{Transport: &probe}})
				settled, err := r.Settled(t.Context(), nil)
				if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Fatalf("the error is %v", err)
				}
				if ahead := time.Until(time.UnixMilli(settled)); err == nil && ahead != time.Duration(c.want)*time.Hour {
					t.Errorf("settled is %v ahead", ahead)
				}
			})
		})
	}
}

// Of however many queries, one a second asks for the server's clock; in between
// it goes on with ours, and it never goes back.
func TestRemoteSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probes atomic.Int64
		offset, latency, status := time.Duration(0), time.Duration(0), 200
		probe := script{func(form url.Values) (int, string, string) {
			probes.Add(1)
			if form.Has("nocache") || form.Has("time") || form.Get("query") != "time()" {
				t.Errorf("the clock is asked for with %v", form)
			}
			now := time.Now().Add(offset)
			return status, "", fmt.Sprintf(`{"status":"success","data":{"resultType":"scalar","result":[%.3f,"%.3f"]}}`,
				float64(now.UnixMilli())/1000, float64(now.Add(-latency).UnixMilli())/1000)
		}}
		s := Source{Engine: remoteOf(t, RemoteConfig{URL: "http://server", Client: &http.Client{Transport: &probe}, Delay: 2 * time.Second}), Interval: time.Second}
		q := (&fixture{Source: s}).bind(t, "x", 1000)
		behind := func() time.Duration {
			settled, err := q.Settled(t.Context())
			if err != nil {
				t.Error(err)
			}
			return time.Since(time.UnixMilli(settled))
		}
		for range 100 {
			go func() { // at once
				if b := behind(); b != 2*time.Second {
					t.Errorf("settled is %v behind", b)
				}
			}()
		}
		synctest.Wait()
		if n := probes.Load(); n != 1 {
			t.Errorf("%d probes at once", n)
		}
		for range 100 { // ten seconds
			time.Sleep(100 * time.Millisecond)
			if b := behind(); b != 2*time.Second {
				t.Errorf("settled is %v behind", b)
			}
		}
		if n := probes.Load(); n < 10 || n > 11 {
			t.Errorf("%d probes in ten seconds", n)
		}

		// A replica whose clock is wrong answers now and then.
		for i := range 40 {
			time.Sleep(time.Second)
			offset = []time.Duration{0, time.Hour, 0, -time.Hour, time.Hour, 0}[i%6]
			if b := behind(); b != 2*time.Second {
				t.Errorf("with a wrong answer, settled is %v behind", b)
			}
		}
		offset = 0
		behind()

		// Another clock is the server's own business, once it is certain.
		time.Sleep(time.Second)
		offset = time.Hour
		for range 3 {
			behind()
			time.Sleep(time.Second)
		}
		if b := behind(); b != 2*time.Second-time.Hour {
			t.Errorf("an hour ahead, settled is %v behind", b)
		}
		offset = -time.Minute
		time.Sleep(time.Second)
		before, _ := q.Settled(t.Context())
		for range 3 {
			time.Sleep(time.Second)
			behind()
		}
		if now, _ := q.Settled(t.Context()); before-now < time.Hour.Milliseconds() {
			t.Errorf("set back, settled went back by %d ms", before-now)
		}
		if b := behind(); b != time.Minute+2*time.Second {
			t.Errorf("settled is %v behind", b)
		}
		offset, latency = 0, 30*time.Second
		for range 33 {
			time.Sleep(time.Second)
			behind()
		}
		if b := behind(); b != 30*time.Second {
			t.Errorf("where the server looks 30 s back, settled is %v behind", b)
		}

		// Nothing is told while the server is away, and it is not stormed.
		status = 401
		time.Sleep(time.Second)
		probes.Store(0)
		for range 30 {
			if _, err := q.Settled(t.Context()); err == nil || !strings.Contains(err.Error(), "401 Unauthorized") {
				t.Errorf("the error is %v", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := probes.Load(); n > 4 {
			t.Errorf("%d probes in three seconds", n)
		}
	})
}
