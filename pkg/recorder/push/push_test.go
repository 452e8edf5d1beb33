package push

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

var key = recorder.Key{Org: 1, UID: "uid"}

// open opens a store with an input of this package.
func open(t testing.TB, c Config) (*recorder.Recorder, *recorder.Store) {
	t.Helper()
	c.Name = "push"
	in, err := New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := recorder.New(t.TempDir(), slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := r.Configure(key, configOf(in)); err != nil {
		t.Fatal(err)
	}
	s, err := r.Store(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, moved := s.Watch()
		if s.Status().Inputs[0].State.Connected() {
			return r, s
		}
		<-moved
	}
}

func configOf(in recorder.Input) recorder.Config {
	return recorder.Config{Retention: 24 * time.Hour, OutOfOrder: time.Hour, MaxWait: 2 * time.Second, Inputs: []recorder.Input{in}}
}

func status(t testing.TB, s *recorder.Store) recorder.InputStatus {
	t.Helper()
	all := s.Status().Inputs
	if len(all) != 1 {
		t.Fatalf("there are %d inputs", len(all))
	}
	return all[0]
}

// samples returns all samples as series@ms=value.
func samples(t testing.TB, s *recorder.Store) map[string]float64 {
	t.Helper()
	q, err := s.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	all := make(map[string]float64)
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchNotRegexp, model.MetricNameLabel, "|continuum_(input|recorder)_.*"))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			at, v := it.At()
			all[fmt.Sprintf("%s@%d", recorder.Text(set.At().Labels()), at)] = v
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return all
}

// post sends a request and returns the answer.
func post(sink *recorder.Sink, path, query, body string, header ...string) answered {
	return send(sink, http.MethodPost, path, query, body, header...)
}

func send(sink *recorder.Sink, method, path, query, body string, header ...string) answered {
	req := httptest.NewRequest(cmp.Or(method, http.MethodPost), "/push/"+path+query, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler(sink, path).ServeHTTP(w, req)
	return answered{w.Code, http.StatusText(w.Code), w.Body.String(), w.Header()}
}

// answered is what a client gets.
type answered struct {
	StatusCode   int
	Status, Body string
	Header       http.Header
}

func zipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s)) // to memory
	_ = w.Close()
	return b.String()
}

// What Telegraf's outputs.http sends with data_format = "influx" and
// content_encoding = "gzip".
var telegraf = []string{"Content-Type", "text/plain; charset=utf-8", "Content-Encoding", "gzip", "User-Agent", "Telegraf/1.37.0"}

func TestTelegraf(t *testing.T) {
	_, store := open(t, Config{})
	sink := store.Sink("push")
	now := time.Now().UnixMilli()
	body := fmt.Sprintf("cpu,cpu=cpu-total,host=a usage_idle=97.5,usage_user=1i %d000000\nsystem,host=a uptime_format=\" 1:02\",n_users=3u %d000000\n", now-20, now-10)
	rsp := post(sink, Influx, "", zipped(body), telegraf...)
	if text := rsp.Body; rsp.StatusCode != http.StatusNoContent || text != "" {
		t.Fatalf("%s: %s", rsp.Status, text)
	}
	want := map[string]float64{
		fmt.Sprintf(`cpu_usage_idle{cpu="cpu-total", host="a"}@%d`, now-20): 97.5,
		fmt.Sprintf(`cpu_usage_user{cpu="cpu-total", host="a"}@%d`, now-20): 1,
		fmt.Sprintf(`system_n_users{host="a"}@%d`, now-10):                  3,
	}
	if got := samples(t, store); !maps.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	in := status(t, store)
	if !in.State.Connected() || in.Samples != 3 || in.Messages != 1 || in.Skipped[notANumber].Count != 1 || !strings.HasPrefix(in.Skipped[notANumber].Example, " 1:02 (name the field under states") ||
		in.Last == nil || len(in.Last.Samples) != 3 || !strings.HasPrefix(in.Last.Payload, "cpu,cpu=cpu-total") {
		t.Errorf("%+v", in)
	}
	// Telegraf has not got the answer and sends all again.
	if rsp := post(sink, Influx, "", zipped(body), telegraf...); rsp.StatusCode != http.StatusNoContent {
		t.Errorf("repeated: %s", rsp.Status)
	}
	if in := status(t, store); in.Samples != 3 || in.Repeated != 3 {
		t.Errorf("%+v", in)
	}
	// In the other precisions, and without a time.
	for precision, scale := range map[string]int64{"ns": 1e6, "us": 1e3, "ms": 1} {
		body := fmt.Sprintf("m,p=%s v=1 %d\n", precision, now*scale)
		if rsp := post(sink, Influx, "?precision="+precision, body); rsp.StatusCode != http.StatusNoContent {
			t.Errorf("%s: %s", precision, rsp.Status)
		}
		if _, ok := samples(t, store)[fmt.Sprintf(`m_v{p="%s"}@%d`, precision, now)]; !ok {
			t.Errorf("%s is missing", precision)
		}
	}
	if rsp := post(sink, Influx, "?precision=s", fmt.Sprintf("s v=1 %d\nnow value=1", now/1000)); rsp.StatusCode != http.StatusNoContent {
		t.Errorf("s: %s", rsp.Status)
	}
	if in := status(t, store); in.Samples != 8 {
		t.Errorf("%+v", in)
	}
}

// The good lines of a request are stored, and the others told one by one.
func TestPartialWrite(t *testing.T) {
	_, store := open(t, Config{MaxSeries: 4})
	sink := store.Sink("push")
	now := time.Now().UnixMilli()
	post(sink, Influx, "?precision=ms", fmt.Sprintf("m v=1 %d", now))
	body := fmt.Sprintf(`good v=1 %[1]d
m v=2 %[1]d
bad line
good v=2 %[2]d
old v=3 %[3]d
future v=4 %[4]d
° %%=5 %[1]d
fifth v=1 %[1]d
good v=3 %[5]d
`, now, now+1, now-2*3600_000, now+3600_000, now+2)
	rsp := post(sink, Influx, "?precision=ms", body)
	var a answer
	if err := json.Unmarshal([]byte(rsp.Body), &a); err != nil {
		t.Fatal(err)
	}
	if rsp.StatusCode != http.StatusBadRequest || a.Code != "invalid" || !strings.HasPrefix(a.Error, "partial write: 3 samples are stored: line 2: ") || a.Error != a.Message {
		t.Errorf("%s %s", rsp.Status, a.Error)
	}
	told := make(map[int]string)
	for _, l := range a.Lines {
		told[l.Line] = l.Error
	}
	for line, want := range map[int]string{
		2: "another value for a time that has one already: m_v 2 @ 20",
		3: "field value", 5: "too old: old_v", 6: "too far ahead of this clock", 7: "no letter and no digit in the name", 8: "the input has the 4 series",
	} {
		if line == 3 {
			want = "bad line"
		}
		if !strings.Contains(told[line], want) {
			t.Errorf("line %d: %q", line, told[line])
		}
	}
	if len(told) != 6 {
		t.Errorf("%v", told)
	}
	if got := samples(t, store); len(got) != 4 {
		t.Errorf("%v", got)
	}
	in := status(t, store)
	if in.Refused != (recorder.Refused{Future: 1, TooOld: 1, Duplicate: 1}) || len(in.Last.Samples) != 3 || in.Skipped[notLines].Count != 1 || in.Skipped[noName].Count != 1 || in.Skipped[tooManySeries].Count != 1 {
		t.Errorf("%+v", in)
	}
}

func TestRefusals(t *testing.T) {
	_, store := open(t, Config{MaxBytes: 1000})
	_, influxOnly := open(t, Config{Formats: []string{Influx}})
	sink := store.Sink("push")
	long := strings.Repeat("# nothing\n", 101)
	for _, test := range []struct {
		name                string
		sink                *recorder.Sink
		format, query, body string
		header              []string
		status              int
		text                string
	}{
		{"too large", sink, Influx, "", long, nil, 413, "more than 1000 bytes"},
		{"too large when unpacked", sink, Influx, "", zipped(long), telegraf, 413, "more than 1000 bytes"},
		{"too large when unpacked by snappy", sink, Prometheus, "", string(snappy.Encode(nil, []byte(long))), nil, 413, "more than 1000 bytes"},
		{"claims to be too large", sink, Prometheus, "", "\xff\xff\xff\xff\x0f", nil, 413, "more than 1000 bytes"},
		{"not gzip", sink, Influx, "", "m v=1", telegraf, 400, "cannot be read"},
		{"cut off", sink, Influx, "", zipped("m v=1")[:20], telegraf, 400, "cannot be read"},
		{"not snappy", sink, Prometheus, "", "\x05abc", nil, 400, "cannot be read"},
		{"not a message", sink, Prometheus, "", string(snappy.Encode(nil, []byte("\x0a\xff"))), nil, 400, "cannot be read"},
		{"another encoding", sink, Influx, "", "m v=1", []string{"Content-Encoding", "zstd"}, 415, `"zstd" is not known here: use gzip`},
		{"another encoding for remote write", sink, Prometheus, "", "m v=1", []string{"Content-Encoding", "zstd"}, 415, "use snappy"},
		{"another type", sink, Prometheus, "", string(snappy.Encode(nil, nil)), []string{"Content-Type", "text/plain"}, 415, ""},
		{"another message", sink, Prometheus, "", string(snappy.Encode(nil, nil)), []string{"Content-Type", "application/x-protobuf;proto=io.prometheus.write.v3.Request"}, 415, ""},
		{"precision", sink, Influx, "?precision=d", "m v=1", nil, 400, `precision "d"`},
		{"another format", influxOnly.Sink("push"), Prometheus, "", "", nil, 404, "not among its formats"},
		{"nothing", sink, Influx, "", "", nil, 204, ""},
		{"no input", nil, Influx, "", "m v=1", nil, 503, "no input of the type push"},
	} {
		t.Run(test.name, func(t *testing.T) {
			rsp := post(test.sink, test.format, test.query, test.body, test.header...)
			if text := rsp.Body; rsp.StatusCode != test.status || !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), test.text) {
				t.Errorf("%s: %s", rsp.Status, text)
			}
			if (rsp.Header.Get("Retry-After") != "") != (test.status == 503) {
				t.Errorf("Retry-After %q", rsp.Header.Get("Retry-After"))
			}
		})
	}
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	w := httptest.NewRecorder()
	Handler(sink, Influx).ServeHTTP(w, req)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
}

func TestTooFast(t *testing.T) {
	_, store := open(t, Config{SamplesPerSecond: 10})
	sink := store.Sink("push")
	now := time.Now().UnixMilli()
	lines := func(first, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "m v=%d %d\n", i, now-int64(first+i))
		}
		return b.String()
	}
	// However large one request is, it is taken: else it would never be.
	if rsp := post(sink, Influx, "?precision=ms", lines(0, 25)); rsp.StatusCode != http.StatusNoContent {
		t.Errorf("%s: %s", rsp.Status, rsp.Body)
	}
	rsp := post(sink, Influx, "?precision=ms", lines(100, 1))
	if rsp.StatusCode != http.StatusTooManyRequests || rsp.Header.Get("Retry-After") != "2" {
		t.Errorf("%s, after %s: %s", rsp.Status, rsp.Header.Get("Retry-After"), rsp.Body)
	}
	if rsp := post(sink, Prometheus, "", message1(prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "m"}}, Samples: []prompb.Sample{{Timestamp: 1}}})); rsp.StatusCode != http.StatusTooManyRequests || rsp.Header.Get("Retry-After") == "" {
		t.Errorf("remote write: %s", rsp.Status)
	}
	if in := status(t, store); in.Samples != 25 || in.Refused != (recorder.Refused{}) {
		t.Errorf("%+v", in)
	}
}

// An input that ends finishes what it has, and then nothing is taken.
func TestEnd(t *testing.T) {
	r, store := open(t, Config{})
	sink := store.Sink("push")
	if err := r.Idle(key); err != nil {
		t.Fatal(err)
	}
	if rsp := post(sink, Influx, "", "m v=1"); rsp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s", rsp.Status)
	}
}

func message1(series ...prompb.TimeSeries) string {
	b, err := (&prompb.WriteRequest{Timeseries: series}).Marshal()
	if err != nil {
		panic(err)
	}
	return string(snappy.Encode(nil, b))
}

func name(name string, more ...string) []prompb.Label {
	all := []prompb.Label{{Name: "__name__", Value: name}}
	for i := 0; i < len(more); i += 2 {
		all = append(all, prompb.Label{Name: more[i], Value: more[i+1]})
	}
	return all
}

var header1 = []string{"Content-Type", "application/x-protobuf", "Content-Encoding", "snappy", "X-Prometheus-Remote-Write-Version", "0.1.0"}

func TestRemoteWrite1(t *testing.T) {
	_, store := open(t, Config{})
	sink := store.Sink("push")
	now := time.Now().UnixMilli()
	stale := math.Float64frombits(value.StaleNaN)
	good := message1(
		prompb.TimeSeries{Labels: name("m", "a", "b", "empty", ""), Samples: []prompb.Sample{{Timestamp: now - 10, Value: 1}, {Timestamp: now, Value: stale}},
			Exemplars: []prompb.Exemplar{{Value: 1}}},
		prompb.TimeSeries{Labels: name("with.dots"), Samples: []prompb.Sample{{Timestamp: now, Value: 2}}},
	)
	for range 2 { // sent again
		if rsp := post(sink, Prometheus, "", good, header1...); rsp.StatusCode != http.StatusNoContent {
			t.Fatalf("%s: %s", rsp.Status, rsp.Body)
		}
	}
	got := samples(t, store)
	if v := got[fmt.Sprintf(`m{a="b"}@%d`, now)]; !value.IsStaleNaN(v) || len(got) != 3 {
		t.Errorf("%v", got)
	}
	if in := status(t, store); in.Samples != 3 || in.Repeated != 3 || in.Skipped[exemplars].Count != 2 {
		t.Errorf("%+v", in)
	}

	rsp := post(sink, Prometheus, "", message1(
		prompb.TimeSeries{Labels: name("m", "a", "b"), Samples: []prompb.Sample{{Timestamp: now - 10, Value: 3}, {Timestamp: now - 5, Value: 3}, {Timestamp: now - 3*3600_000}}},
		prompb.TimeSeries{Labels: name("h"), Histograms: []prompb.Histogram{{Timestamp: now}}},
		prompb.TimeSeries{Labels: name("m", "a", "b", "a", "c"), Samples: []prompb.Sample{{Timestamp: now}}},
		prompb.TimeSeries{Labels: []prompb.Label{{Name: "a", Value: "b"}}, Samples: []prompb.Sample{{Timestamp: now}}},
		prompb.TimeSeries{Labels: name("m", "a", "\xff"), Samples: []prompb.Sample{{Timestamp: now}}},
		prompb.TimeSeries{Labels: name("m", "a", strings.Repeat("x", series.MaxLabels)), Samples: []prompb.Sample{{Timestamp: now}}},
		prompb.TimeSeries{Labels: name("last"), Samples: []prompb.Sample{{Timestamp: now}}},
	), header1...)
	told := rsp.Body
	if rsp.StatusCode != http.StatusBadRequest || !strings.HasPrefix(told, "partial write: 2 samples are stored: ") || rsp.Header.Get("X-Prometheus-Remote-Write-Samples-Written") != "" {
		t.Errorf("%s: %s", rsp.Status, told)
	}
	for _, want := range []string{"another value", "too old", "native histograms cannot be recorded", "the label a is there twice", "name of the metric is missing", "not valid UTF-8", "more than 16384 bytes"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told: %s", want, told)
		}
	}
	if in := status(t, store); in.Samples != 5 || in.Skipped[badLabels].Count != 4 || in.Skipped[histograms].Count != 1 {
		t.Errorf("%+v", in)
	}

	b, err := (&prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{MetricFamilyName: "m", Type: prompb.MetricMetadata_COUNTER, Help: "helps", Unit: "s"}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if rsp := post(sink, Prometheus, "", string(snappy.Encode(nil, b)), header1...); rsp.StatusCode != http.StatusNoContent {
		t.Errorf("metadata: %s", rsp.Status)
	}
	if got := store.Metadata()["m"]; got != (recorder.Metadata{Type: model.MetricTypeCounter, Unit: "s", Help: "helps"}) {
		t.Errorf("%+v", got)
	}
}

func TestRemoteWrite2(t *testing.T) {
	_, store := open(t, Config{})
	sink := store.Sink("push")
	now := time.Now().UnixMilli()
	symbols := []string{"", "__name__", "m", "a", "b", "helps", "s", "h"}
	send := func(series ...writev2.TimeSeries) answered {
		b, err := (&writev2.Request{Symbols: symbols, Timeseries: series}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		// With a space, as the standard allows.
		return post(sink, Prometheus, "", string(snappy.Encode(nil, b)), "Content-Type", "application/x-protobuf; proto=io.prometheus.write.v2.Request",
			"Content-Encoding", "snappy", "X-Prometheus-Remote-Write-Version", "2.0.0")
	}
	rsp := send(writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 3, 4}, Samples: []writev2.Sample{{Timestamp: now, Value: 1}},
		Exemplars: []writev2.Exemplar{{Value: 1}}, Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE, HelpRef: 5, UnitRef: 6}})
	if rsp.StatusCode != http.StatusNoContent || rsp.Header.Get("X-Prometheus-Remote-Write-Samples-Written") != "1" ||
		rsp.Header.Get("X-Prometheus-Remote-Write-Histograms-Written") != "0" || rsp.Header.Get("X-Prometheus-Remote-Write-Exemplars-Written") != "0" {
		t.Errorf("%s %v: %s", rsp.Status, rsp.Header, rsp.Body)
	}
	if got := store.Metadata()["m"]; got != (recorder.Metadata{Type: model.MetricTypeGauge, Unit: "s", Help: "helps"}) {
		t.Errorf("%+v", got)
	}
	rsp = send(
		writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 3, 4}, Samples: []writev2.Sample{{Timestamp: now, Value: 2}, {Timestamp: now + 1, Value: 2}}},
		writev2.TimeSeries{LabelsRefs: []uint32{1, 99}, Samples: []writev2.Sample{{Timestamp: now}}},
		writev2.TimeSeries{LabelsRefs: []uint32{1}, Samples: []writev2.Sample{{Timestamp: now}}},
		writev2.TimeSeries{LabelsRefs: []uint32{1, 7}, Histograms: []writev2.Histogram{{Timestamp: now}}},
		writev2.TimeSeries{LabelsRefs: []uint32{1, 7}, Samples: []writev2.Sample{{Timestamp: now}}},
	)
	if told := rsp.Body; rsp.StatusCode != http.StatusBadRequest || rsp.Header.Get("X-Prometheus-Remote-Write-Samples-Written") != "2" ||
		!strings.HasPrefix(told, "partial write: 2 samples are stored: ") {
		t.Errorf("%s %v: %s", rsp.Status, rsp.Header, told)
	}
	if got := samples(t, store); len(got) != 3 {
		t.Errorf("%v", got)
	}
}

// What was pushed is settled at once.
func TestSettled(t *testing.T) {
	_, store := open(t, Config{})
	at := time.Now().UnixMilli() - 500
	post(store.Sink("push"), Influx, "?precision=ms", fmt.Sprintf("m v=1 %d", at))
	if got := store.Settled(); got < at {
		t.Errorf("the settled time is %d ms behind", at-got)
	}
}

// What cannot be stored now may be sent again.
func TestUnavailable(t *testing.T) {
	r, store := open(t, Config{})
	found, _ := running.Load(store.Sink("push"))
	in := found.(*run)
	sink := store.Sink("push")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	late := newRun(in.config, sink) // as if it had come while the store was closed
	running.Store(sink, late)
	defer running.Delete(sink)
	for _, format := range []string{Influx, Prometheus} {
		body := "m v=1"
		if format == Prometheus {
			body = message1(prompb.TimeSeries{Labels: name("m"), Samples: []prompb.Sample{{Timestamp: time.Now().UnixMilli()}}})
		}
		rsp := post(sink, format, "", body)
		if text := rsp.Body; rsp.StatusCode != http.StatusServiceUnavailable || rsp.Header.Get("Retry-After") == "" || !strings.Contains(text, "nothing can be stored now") {
			t.Errorf("%s: %s: %s", format, rsp.Status, text)
		}
	}
}

func TestSettings(t *testing.T) {
	for want, c := range map[string]Config{
		`formats: "xml"`:                    {Formats: []string{"xml"}},
		"maxBytes: must be from 1":          {MaxBytes: -1},
		"maxSeries: must be from 1":         {MaxSeries: limitOfMaxSeries + 1},
		"samplesPerSecond: must be from 1 ": {SamplesPerSecond: -1},
	} {
		if _, err := New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
	a, _ := New(Config{Name: "a"}, nil)
	b, _ := New(Config{Name: "a", MaxSeries: 5}, nil)
	if a.Name() != "a" || a.Version() == b.Version() {
		t.Error("another version must be told")
	}
}

// FuzzRemoteWrite: no message makes the handler fail, or be taken for one that
// may be sent again.
func FuzzRemoteWrite(f *testing.F) {
	_, store := open(f, Config{MaxSeries: 100, SamplesPerSecond: limitOfSamplesPerSecond})
	sink := store.Sink("push")
	now := time.Now().UnixMilli()
	one, _ := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: name("m", "a", "b"), Samples: []prompb.Sample{{Timestamp: now, Value: 1}},
		Histograms: []prompb.Histogram{{Timestamp: 1}}, Exemplars: []prompb.Exemplar{{Value: 2}}}}, Metadata: []prompb.MetricMetadata{{MetricFamilyName: "m"}}}).Marshal()
	two, _ := (&writev2.Request{Symbols: []string{"", "__name__", "m"}, Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Timestamp: now}},
		Metadata: writev2.Metadata{HelpRef: 2, UnitRef: 7}}}}).Marshal()
	f.Add(one, false)
	f.Add(two, true)
	f.Add([]byte("\x2a\x02\x0a\x00"), true)
	f.Fuzz(func(t *testing.T, message []byte, v2 bool) {
		kind := "application/x-protobuf"
		if v2 {
			kind += ";proto=io.prometheus.write.v2.Request"
		}
		rsp := post(sink, Prometheus, "", string(snappy.Encode(nil, message)), "Content-Type", kind)
		if rsp.StatusCode != http.StatusNoContent && rsp.StatusCode != http.StatusBadRequest && rsp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("%s: %s", rsp.Status, rsp.Body)
		}
	})
}

func BenchmarkInflux(b *testing.B) {
	_, store := open(b, Config{SamplesPerSecond: limitOfSamplesPerSecond})
	sink := store.Sink("push")
	begin := time.Now().Add(-30 * time.Minute).UnixMilli()
	n := 0
	for b.Loop() {
		b.StopTimer()
		var body strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&body, "cpu,cpu=cpu%d,host=server usage_idle=%d.5,usage_user=1.25,usage_system=2i %d\n", i, n, begin+int64(n))
		}
		n++
		b.StartTimer()
		if rsp := post(sink, Influx, "?precision=ms", body.String()); rsp.StatusCode != http.StatusNoContent {
			b.Fatal(rsp.Body)
		}
	}
	b.ReportMetric(float64(3000*n)/b.Elapsed().Seconds(), "samples/s")
}

// FuzzInflux: no text makes the handler fail, or be taken for one that may be sent
// again.
func FuzzInflux(f *testing.F) {
	_, store := open(f, Config{MaxSeries: 100, SamplesPerSecond: limitOfSamplesPerSecond})
	sink := store.Sink("push")
	for _, seed := range []string{"m,a=b v=1 1", "m v=1i,w=t\nm v=\"\n\"", "m,=,a= v=1", "\xff v=1", ",", "m __name__=1,value=2"} {
		f.Add(seed, "ns")
		f.Add(seed, "h")
	}
	f.Fuzz(func(t *testing.T, text, precision string) {
		rsp := post(sink, Influx, "?precision="+url.QueryEscape(precision), text)
		if rsp.StatusCode != http.StatusNoContent && rsp.StatusCode != http.StatusBadRequest && rsp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("%s: %s", rsp.Status, rsp.Body)
		}
	})
}
