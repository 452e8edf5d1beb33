package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// fed is an instance on a recorder whose only input is the test itself.
type fed struct {
	*instance
	pc   backend.PluginContext
	sink *recorder.Sink
	all  map[string]*recorder.Series
}

type handFed chan *recorder.Sink

func (handFed) Name() string { return "test" }

func (handFed) Version() string { return "" }

func (h handFed) Run(ctx context.Context, sink *recorder.Sink) {
	h <- sink
	<-ctx.Done()
}

// onRecorder runs do beside a recorder, in virtual time.
func onRecorder(t *testing.T, do func(t *testing.T, r *fed)) {
	t.Helper()
	onRecorderKeeping(t, 24*time.Hour, do)
}

// onRecorderKeeping does so with a recorder that keeps samples for so long.
func onRecorderKeeping(t *testing.T, retention time.Duration, do func(t *testing.T, r *fed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24 * time.Hour)
		rec := recorder.New(t.TempDir(), slog.New(slog.DiscardHandler))
		defer func() {
			if err := rec.Close(); err != nil {
				t.Error(err)
			}
		}()
		pc := backend.PluginContext{OrgID: 1, PluginID: ID, User: &backend.User{Login: "viewer"},
			DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{UID: "uid", JSONData: []byte(`{"source":"recorder","recorder":{"noHost":true}}`)}}
		in, err := NewFactory(rec)(backend.WithPluginContext(t.Context(), pc), *pc.DataSourceInstanceSettings)
		if err != nil {
			t.Fatal(err)
		}
		feeder := make(handFed, 1)
		if err := rec.Configure(recorder.Key{Org: 1, UID: "uid"},
			recorder.Config{Retention: retention, OutOfOrder: time.Hour, MaxWait: 2 * time.Second, Inputs: []recorder.Input{feeder}}); err != nil {
			t.Fatal(err)
		}
		do(t, &fed{in.(*instance), pc, <-feeder, make(map[string]*recorder.Series)})
	})
}

// sample returns a sample of the gauge m of one machine.
func (r *fed) sample(machine string, at int64) recorder.Sample {
	s := r.all[machine]
	if s == nil {
		s = &recorder.Series{Labels: labels.FromStrings(model.MetricNameLabel, "m_bytes", "machine", machine)}
		r.all[machine] = s
	}
	return recorder.Sample{Series: s, T: at, V: math.Sqrt(float64(at%9973)) * float64(len(machine)*len(machine)) / 3}
}

func (r *fed) ask(t *testing.T, query string, length time.Duration) *data.Frame {
	t.Helper()
	now := time.Now()
	rsp, err := r.QueryData(t.Context(), &backend.QueryDataRequest{PluginContext: r.pc, Queries: []backend.DataQuery{{
		RefID: "A", JSON: []byte(query), Interval: time.Second, TimeRange: backend.TimeRange{From: now.Add(-length), To: now}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := rsp.Responses["A"].Error; err != nil {
		t.Fatal(err)
	}
	return rsp.Responses["A"].Frames[0]
}

// call calls a resource.
func (r *fed) call(t *testing.T, method, url string) *backend.CallResourceResponse {
	t.Helper()
	path, _, _ := strings.Cut(url, "?")
	var got *backend.CallResourceResponse
	err := r.CallResource(backend.WithPluginContext(t.Context(), r.pc), &backend.CallResourceRequest{PluginContext: r.pc, Method: method, Path: path, URL: strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22").Replace(url)},
		backend.CallResourceResponseSenderFunc(func(rsp *backend.CallResourceResponse) error { got = rsp; return nil }))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// viewer is a panel that asks afresh when it is told to, as the guard does.
type viewer struct {
	mu      sync.Mutex
	fields  []string
	texts   map[string]string // by the number that stands for it
	notices []string
	rows    map[int64][]*float64
	asked   atomic.Int64
	resync  chan struct{}
	stopped func()
}

func (v *viewer) packet(b []byte) error {
	var p struct {
		Schema *struct{}
		Data   struct{ Values []json.RawMessage }
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	if p.Schema != nil {
		select {
		case v.resync <- struct{}{}:
		default:
		}
		return nil
	}
	var times []int64
	if err := json.Unmarshal(p.Data.Values[0], &times); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, at := range times {
		v.rows[at] = make([]*float64, len(p.Data.Values)-1)
	}
	for f, raw := range p.Data.Values[1:] {
		var values []*float64
		if err := json.Unmarshal(raw, &values); err != nil {
			return err
		}
		for i, at := range times {
			v.rows[at][f] = values[i]
		}
	}
	return nil
}

// load asks for the history and follows its stream.
func (v *viewer) load(t *testing.T, r *fed, query string, length time.Duration) {
	nonce := v.asked.Add(1)
	frame := r.ask(t, fmt.Sprintf(`%s,"live":true,"nonce":%d}`, query[:len(query)-1], nonce), length)
	custom, ok := frame.Meta.Custom.(liveAnswer)
	if !ok {
		t.Fatalf("no channel: %v", frame.Meta.Notices)
	}
	v.mu.Lock()
	v.fields, v.notices, v.rows = nil, nil, make(map[int64][]*float64)
	for _, n := range frame.Meta.Notices {
		v.notices = append(v.notices, n.Text)
	}
	for _, f := range frame.Fields[1:] {
		v.fields = append(v.fields, f.Name)
		if f.Config != nil && len(f.Config.Mappings) > 0 {
			v.texts = make(map[string]string)
			for number, to := range f.Config.Mappings[0].(data.ValueMapper) {
				v.texts[number] = to.Text
			}
		}
	}
	for i := range frame.Rows() {
		row := make([]*float64, len(v.fields))
		for f := range row {
			row[f] = frame.Fields[f+1].At(i).(*float64)
		}
		v.rows[frame.Fields[0].At(i).(time.Time).UnixMilli()] = row
	}
	v.mu.Unlock()
	path := strings.TrimPrefix(frame.Meta.Channel, "ds/uid/")
	raw, _ := json.Marshal(custom.Data)
	rsp, err := r.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{PluginContext: r.pc, Path: path, Data: raw})
	if err != nil || rsp.Status != backend.SubscribeStreamStatusOK {
		t.Fatal(rsp, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		_ = r.RunStream(ctx, &backend.RunStreamRequest{PluginContext: r.pc, Path: path, Data: raw}, backend.NewStreamSender(packetFunc(v.packet)))
		close(done)
	}()
	v.stopped = func() { cancel(); <-done }
}

// watch loads the history again whenever it is told to, until stop is called.
func (v *viewer) watch(t *testing.T, r *fed, query string, length time.Duration) (stop func()) {
	v.load(t, r, query, length)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-v.resync:
				v.stopped()
				v.load(t, r, query, length)
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		v.stopped()
	}
}

// compare compares what is shown with a fresh answer, bit for bit. Rows after through
// (Unix ms) may not have come yet. It returns how many rows and values there are.
func (v *viewer) compare(t *testing.T, what string, fresh *data.Frame, through int64) (rows, values int) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	names := make(map[string]int)
	for f, name := range v.fields {
		names[name] = f
	}
	for i := range fresh.Rows() {
		at := fresh.Fields[0].At(i).(time.Time).UnixMilli()
		row := v.rows[at]
		if row == nil {
			if at <= through {
				t.Errorf("%s: row %d is missing", what, at)
			}
			continue
		}
		rows++
		for _, field := range fresh.Fields[1:] {
			f, ok := names[field.Name]
			if !ok {
				t.Fatalf("%s: series %s is missing", what, field.Name)
			}
			got, want := row[f], field.At(i).(*float64)
			if (got == nil) != (want == nil) || got != nil && math.Float64bits(*got) != math.Float64bits(*want) {
				t.Errorf("%s: row %d of %s is %v, not %v", what, at, field.Name, show(got), show(want))
			}
			if got != nil {
				values++
			}
		}
	}
	return rows, values
}

// newest returns the time of the newest row.
func (v *viewer) newest() (at int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for t := range v.rows {
		at = max(at, t)
	}
	return at
}

func (v *viewer) noticed() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return strings.Join(v.notices, "\n")
}

type packetFunc func([]byte) error

func (f packetFunc) Send(p *backend.StreamPacket) error { return f(p.Data) }

// A streamed window equals a fresh query bit for bit, with new series appearing,
// old ones ending and late samples arriving in between.
func TestRecordedWindowIsExact(t *testing.T) {
	for _, expr := range []string{"m_bytes", "sum(m_bytes)", "sum(m_bytes * 1.1)", "sum by (machine) (rate(m_bytes[5s]))", "avg_over_time(m_bytes[$__range])"} {
		t.Run(expr, func(t *testing.T) {
			onRecorder(t, func(t *testing.T, r *fed) {
				seed := rand.Uint64()
				rng := rand.New(rand.NewPCG(seed, 0))
				query := fmt.Sprintf(`{"expr":%q}`, expr)
				const length = 40 * time.Second
				feed := func(seconds int, machines ...string) {
					for range seconds {
						time.Sleep(time.Second - time.Duration(time.Now().UnixMilli()%1000)*time.Millisecond)
						at := time.Now().UnixMilli()
						time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
						var samples []recorder.Sample
						for _, m := range machines {
							samples = append(samples, r.sample(m, at))
						}
						if err := r.sink.Commit(t.Context(), samples, at); err != nil {
							t.Fatal(err)
						}
					}
				}
				v := &viewer{resync: make(chan struct{}, 1)}
				feed(60, "a", "bb")
				v.load(t, r, query, length)
				end := make(chan struct{})
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for {
						select {
						case <-end:
							return
						case <-v.resync:
							v.stopped()
							v.load(t, r, query, length)
						}
					}
				}()
				feed(20, "a", "bb")
				if v.asked.Load() != 1 {
					t.Errorf("asked %d times although nothing happened", v.asked.Load())
				}
				feed(5, "a", "bb", "new")
				synctest.Wait()
				if named := expr == "m_bytes"; named && (len(v.fields) != 3 || v.asked.Load() != 2) {
					t.Errorf("five seconds after a new series began the fields are %v, asked %d times", v.fields, v.asked.Load())
				}
				feed(20, "a", "new") // bb ended
				asked := v.asked.Load()
				var late []recorder.Sample
				for i := range int64(3) {
					late = append(late, r.sample("bb", time.Now().UnixMilli()/1000*1000-(5+i)*1000))
				}
				if err := r.sink.Commit(t.Context(), late, 0); err != nil {
					t.Fatal(err)
				}
				feed(12, "a", "new")
				if v.asked.Load() != asked+1 {
					t.Errorf("asked %d times after late samples", v.asked.Load()-asked)
				}
				feed(20, "a", "new")
				time.Sleep(500 * time.Millisecond)
				synctest.Wait()
				close(end)
				<-ended

				fresh := r.ask(t, query[:len(query)-1]+`,"live":true}`, length)
				if rows, _ := v.compare(t, "a panel", fresh, math.MaxInt64); rows < 40 {
					t.Errorf("seed %d: %d rows were compared", seed, rows)
				}
				v.stopped()
			})
		})
	}
}

func TestRecorderAnswers(t *testing.T) {
	onRecorder(t, func(t *testing.T, r *fed) {
		now := time.Now().UnixMilli()
		r.sink.Report(recorder.Report{Messages: 1, Skipped: map[string]recorder.Skipped{"not a number": {Count: 1, Example: "private"}},
			Last: &recorder.Message{From: "private", Payload: "private"}})
		r.sink.Describe(map[string]recorder.Metadata{"m_bytes": {Type: "gauge", Unit: "bytes", Help: "Bytes."}})
		for i := range int64(60) {
			if err := r.sink.Commit(t.Context(), []recorder.Sample{r.sample("a", now-59_000+i*1000)}, now); err != nil {
				t.Fatal(err)
			}
		}
		frame := r.ask(t, `{"expr":"m_bytes","legend":"M {{machine}}"}`, 30*time.Second)
		if f := frame.Fields[1]; f.Config.DisplayNameFromDS != "M a" || f.Config.Unit != "bytes" || frame.Rows() != 31 || f.Labels["machine"] != "a" {
			t.Errorf("the answer is %+v with %d rows", f, frame.Rows())
		}
		if got, want := jsonOf(t, frame.Meta.Stats), `[{"displayName":"Series","value":1},{"displayName":"Rows","value":31},`+
			`{"displayName":"Samples read","value":31},{"displayName":"Time taken","unit":"ms","value":0}]`; got != want {
			t.Errorf("the statistics are %s, want %s", got, want)
		}

		// What depends on the range asked for is shown, but not streamed.
		frame = r.ask(t, `{"expr":"m_bytes - m_bytes @ start()","live":true}`, 30*time.Second)
		if frame.Meta.Channel != "" || len(frame.Meta.Notices) != 1 || !strings.Contains(frame.Meta.Notices[0].Text, "@ start()") || frame.Rows() != 31 {
			t.Errorf("the answer has the channel %q and the notices %v", frame.Meta.Channel, frame.Meta.Notices)
		}

		// The window is the path's alone: no data can bring another one.
		frame = r.ask(t, `{"expr":"avg_over_time(m_bytes[$__range])","live":true}`, 30*time.Second)
		path, err := channel.ParsePath(strings.TrimPrefix(frame.Meta.Channel, "ds/"+r.pc.DataSourceInstanceSettings.UID+"/"))
		if err != nil {
			t.Fatal(err)
		}
		var d channel.Data
		if err := json.Unmarshal([]byte(frame.Meta.Custom.(liveAnswer).Data), &d); err != nil {
			t.Fatal(err)
		}
		if want := `{"expr":"avg_over_time(m_bytes[$__range])"}`; string(d.Query) != want {
			t.Errorf("the query is %s, not %s", d.Query, want)
		}
		for _, c := range []struct {
			query string
			want  backend.SubscribeStreamStatus
		}{
			{string(d.Query), backend.SubscribeStreamStatusOK},
			{`{"expr":"avg_over_time(m_bytes[$__range])","window":5000}`, backend.SubscribeStreamStatusPermissionDenied},
			{`{"expr":"m_bytes @ end()"}`, backend.SubscribeStreamStatusNotFound},
		} {
			d.Query = json.RawMessage(c.query)
			encoded, err := d.Encode()
			if err != nil {
				t.Fatal(err)
			}
			path.Digest = channel.DigestOf(encoded)
			raw, _ := json.Marshal(encoded)
			rsp, err := r.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{PluginContext: r.pc, Path: path.String(), Data: raw})
			if err != nil || rsp.Status != c.want {
				t.Errorf("%s in a path with the window %d gets the status %v, %v", c.query, path.Window, rsp, err)
			}
		}
		// A range without any length has a window of one step.
		if frame = r.ask(t, `{"expr":"avg_over_time(m_bytes[$__range])"}`, 0); frame.Rows() != 1 {
			t.Errorf("a range of one time has %d rows", frame.Rows())
		}

		rsp, err := r.QueryData(t.Context(), &backend.QueryDataRequest{PluginContext: r.pc, Queries: []backend.DataQuery{{
			RefID: "A", JSON: []byte(`{"expr":"sum(m"}`), TimeRange: backend.TimeRange{From: time.Now().Add(-time.Hour), To: time.Now()}}}})
		if a := rsp.Responses["A"]; err != nil || a.Status != backend.StatusBadRequest || !strings.Contains(a.Error.Error(), "1:6: parse error") {
			t.Errorf("a query that does not parse gets %v, %v", rsp.Responses["A"], err)
		}

		health, err := r.CheckHealth(t.Context(), &backend.CheckHealthRequest{PluginContext: r.pc})
		if err != nil || health.Status != backend.HealthStatusOk || !strings.Contains(health.Message, "1 series") {
			t.Errorf("health is %+v, %v", health, err)
		}

		for _, c := range []struct {
			url    string
			status int
			want   string
		}{
			{"DELETE series?from=0&to=1&match=m_bytes", 403, "only editors"},
			{"metrics", 200, `[{"name":"m_bytes","type":"gauge","unit":"bytes","help":"Bytes."}]`},
			{"metrics?from=0&to=1000", 200, `[]`},
			{"labels", 200, `["__name__","machine"]`},
			{"labels?limit=1", 200, `["__name__"]`},
			{`labels?match={machine="z"}`, 200, `[]`},
			{"labels/machine/values", 200, `["a"]`},
			{`labels/machine/values?match=m_bytes`, 200, `["a"]`},
			{"labels?search=MACH&limit=1", 200, `["machine"]`},
			{"labels?search=m+ine", 200, `["machine"]`},
			{"labels?search=x", 200, `[]`},
			{"labels/machine/values?search=A", 200, `["a"]`},
			{"labels/machine/values?search=.", 200, `[]`},
			{"metrics?search=bytes+M", 200, `"m_bytes"`},
			{"metrics?search=bits", 200, `[]`},
			{`labels/machine/values?match=m_bytes{`, 400, `parse error`},
			{"labels?limit=0", 400, `out of range`},
			{"labels?from=x", 400, `not a whole number`},
			{"labels?from=2&to=1", 400, `ends before it begins`},
			{"status", 200, `"skipped":{"not a number":{"count":1,"example":""}}}],`},
			{"DELETE store", 403, "only editors"},
			{"GET series?from=0&to=1&match=m_bytes", 403, "only editors"},
			{"inputs/test/topics", 403, "only editors"},
			{"nothing", 404, ``},
			{"EDITOR", 0, ""},
			{"status", 200, `"last":{"from":"private","payload":"private","samples":null}}],"series":1`},
			{"POST backup", 403, "only admins"},
			{"GET series?from=0&to=1", 400, "match is missing"},
			{fmt.Sprintf("GET series?from=0&to=%d&match=m_bytes", now), 200, `{"series":1}`},
			{fmt.Sprintf(`GET series?from=0&to=%d&match=m_bytes{machine="b"}`, now), 200, `{"series":0}`},
			{"DELETE series?from=0&to=1", 400, "match is missing"},
			{"DELETE series?from=0&to=1&match=m_bytes{", 400, "parse error"},
			{fmt.Sprintf("DELETE series?from=0&to=%d&match=m_bytes", now), 200, "{}"},
		} {
			if c.url == "EDITOR" { // from here on
				r.pc.User = &backend.User{Login: "editor", Role: "Editor"}
				continue
			}
			method := "GET"
			if other, rest, ok := strings.Cut(c.url, " "); ok {
				method, c.url = other, rest
			}
			if got := r.call(t, method, c.url); got.Status != c.status || !strings.Contains(string(got.Body), c.want) {
				t.Errorf("%s %s: %d %s", method, c.url, got.Status, got.Body)
			}
		}
		r.pc.User.Role = "Admin"
		if rsp := r.call(t, "POST", "backup"); rsp.Status != 200 || !strings.Contains(string(rsp.Body), `"folder":"backups/1/uid/`) {
			t.Errorf("POST backup: %d %s", rsp.Status, rsp.Body)
		}
		if rsp := r.call(t, "DELETE", "store"); rsp.Status != 200 {
			t.Errorf("DELETE store: %d %s", rsp.Status, rsp.Body)
		}
		if rsp := r.call(t, "GET", "metrics"); string(rsp.Body) != "[]\n" {
			t.Errorf("metrics after DELETE store: %s", rsp.Body)
		}
		if frame := r.ask(t, `{"expr":"m_bytes"}`, 30*time.Second); len(frame.Fields) != 0 {
			t.Errorf("deleted series are still shown: %v", frame.Fields[1].Name)
		}
	})
}

// A store that cannot be opened can be deleted, by whoever may.
func TestDeleteBrokenStore(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "1", "uid")
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(store, "wal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rec := recorder.New(dir, slog.New(slog.DiscardHandler))
	defer func() {
		if err := rec.Close(); err != nil {
			t.Error(err)
		}
	}()
	pc := backend.PluginContext{OrgID: 1, PluginID: ID, User: &backend.User{Login: "someone", Role: "Viewer"},
		DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{UID: "uid", JSONData: []byte(`{"source":"recorder","recorder":{"noHost":true}}`)}}
	in, err := NewFactory(rec)(backend.WithPluginContext(t.Context(), pc), *pc.DataSourceInstanceSettings)
	if err != nil {
		t.Fatal(err)
	}
	r := &fed{instance: in.(*instance), pc: pc}
	for _, c := range []struct {
		role, method, url string
		status            int
		want              string
	}{
		{"Viewer", "GET", "status", 502, "cannot be opened"},
		{"Viewer", "DELETE", "store", 403, "only editors"},
		{"Viewer", "DELETE", "series?from=0&to=1&match=up", 403, "only editors"},
		{"Editor", "POST", "backup", 403, "only admins"},
		{"Editor", "DELETE", "store", 200, "{}"},
		{"Viewer", "GET", "status", 200, `"series":0`},
	} {
		r.pc.User.Role = c.role
		if got := r.call(t, c.method, c.url); got.Status != c.status || !strings.Contains(string(got.Body), c.want) {
			t.Errorf("%s: %s %s: %d %s", c.role, c.method, c.url, got.Status, got.Body)
		}
	}
}

// An input that does not stop holds up its own data source alone.
func TestInputHoldsUpNoOther(t *testing.T) {
	rec := recorder.New(t.TempDir(), slog.New(slog.DiscardHandler))
	in := stubborn{make(chan struct{}), make(chan struct{})}
	if err := rec.Configure(recorder.Key{Org: 1, UID: "uid"}, recorder.Config{Retention: time.Hour, Inputs: []recorder.Input{in}}); err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Store(t.Context(), recorder.Key{Org: 1, UID: "uid"}); err != nil {
		t.Fatal(err)
	}
	factory := NewFactory(rec)
	made := make(chan int64, 2)
	instanceOf := func(org int64) {
		pc := backend.PluginContext{OrgID: org, PluginID: ID}
		_, err := factory(backend.WithPluginContext(context.Background(), pc), backend.DataSourceInstanceSettings{UID: "uid", JSONData: []byte(`{"recorder":{"noHost":true}}`)})
		if err != nil {
			t.Error(err)
		}
		made <- org
	}
	go instanceOf(1)
	<-in.stopping
	go instanceOf(2)
	select {
	case org := <-made:
		if org != 2 {
			t.Error("the input was not waited for")
		}
	case <-time.After(10 * time.Second):
		t.Error("another organisation waits for the input")
	}
	close(in.may)
	<-made
	if err := rec.Close(); err != nil {
		t.Error(err)
	}
}

// stubborn is an input that does not stop before it may.
type stubborn struct{ stopping, may chan struct{} }

func (stubborn) Name() string { return "stubborn" }

func (stubborn) Version() string { return "" }

func (s stubborn) Run(ctx context.Context, _ *recorder.Sink) {
	<-ctx.Done()
	close(s.stopping)
	<-s.may
}

// The newest settings count. A request that comes with older ones changes nothing,
// unless it was the clock that was set back.
func TestNewestSettings(t *testing.T) {
	rec := recorder.New(t.TempDir(), slog.New(slog.DiscardHandler))
	defer func() {
		if err := rec.Close(); err != nil {
			t.Error(err)
		}
	}()
	factory := NewFactory(rec)
	now := time.Now()
	for _, c := range []struct {
		name     string
		saved    time.Time
		outdated bool
	}{
		{"the first", now.Add(-time.Hour), false},
		{"older ones", now.Add(-2 * time.Hour), true},
		{"the same", now.Add(-time.Hour), false},
		{"newer ones", now.Add(-time.Minute), false},
		{"saved while the clock was ahead", now.Add(time.Hour), false},
		{"saved after it was set back", now, false},
		{"older ones again", now.Add(-time.Hour), true},
	} {
		in, err := factory(t.Context(), backend.DataSourceInstanceSettings{UID: "uid", Updated: c.saved, JSONData: []byte(`{"source":"signal"}`)})
		if err != nil {
			t.Fatal(err)
		}
		if got := in.(*instance).outdated; got != c.outdated {
			t.Errorf("%s: outdated is %v", c.name, got)
		}
	}
}

// No window for samples out of order is a choice, and not the default.
func TestNoOutOfOrder(t *testing.T) {
	for raw, want := range map[string]time.Duration{`{}`: 7 * 24 * time.Hour, `{"outOfOrder":null}`: 7 * 24 * time.Hour, `{"outOfOrder":0}`: 0, `{"outOfOrder":60000}`: time.Minute} {
		s, err := parseSettings([]byte(`{"recorder":` + raw + `}`))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			c, err := s.Recorder.config(nil)
			if err != nil || c.OutOfOrder != want {
				t.Errorf("%s is %v, %v", raw, c.OutOfOrder, err)
			}
			if s, err = parseSettings(c.Remember); err != nil { // as after a restart
				t.Fatal(err)
			}
		}
	}
}

func TestRecorderSettings(t *testing.T) {
	for raw, want := range map[string]string{
		`{"source":"recorder"}`:                                         "",
		`{"source":"recorder","recorder":{"retention":1000}}`:           "retention 1000 is out of range",
		`{"source":"recorder","recorder":{"maxBytes":1}}`:               "maximum size",
		`{"source":"recorder","recorder":{"hostInterval":10}}`:          "interval of the host input",
		`{"source":"recorder","recorder":{"lookback":10}}`:              "lookback",
		`{"source":"recorder","recorder":{"outOfOrder":1000000000000}}`: "out-of-order",
		`{"source":"other"}`:                                            `source "other" is not known`,
		`{"source":"signal","recorder":{"retention":1}}`:                "",
	} {
		if _, err := parseSettings(json.RawMessage(raw)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// What keeps the store from harm has a default, and values that it may have. All
// others are refused by name.
func TestRecorderBounds(t *testing.T) {
	const mib, minute = 1 << 20, 60_000
	for _, test := range []struct {
		setting, name, unit   string
		others                string // settings
		value                 func(recorder.Config) int64
		fallback, least, most int64
	}{
		{setting: "maxAhead", name: "time that samples may be ahead", fallback: 10 * minute, least: 1, most: 7 * day, unit: "ms",
			value: func(c recorder.Config) int64 { return c.MaxAhead.Milliseconds() }},
		{setting: "maxAhead", name: "time that samples may be ahead", others: `"outOfOrder":1000`, fallback: 10 * minute, least: 1, most: hour, unit: "ms",
			value: func(c recorder.Config) int64 { return c.MaxAhead.Milliseconds() }},
		{setting: "diskLow", name: "free space below which nothing is stored", fallback: 1024 * mib, least: 32 * mib, most: 1 << 50, unit: "bytes",
			value: func(c recorder.Config) int64 { return c.DiskLow }},
		{setting: "diskCritical", name: "free space below which the store is closed", fallback: 256 * mib, least: 16 * mib, most: 512 * mib, unit: "bytes",
			value: func(c recorder.Config) int64 { return c.DiskCritical }},
		{setting: "diskCritical", name: "free space below which the store is closed", others: `"diskLow":50331648`, fallback: 16 * mib, least: 16 * mib, most: 24 * mib, unit: "bytes",
			value: func(c recorder.Config) int64 { return c.DiskCritical }},
	} {
		parse := func(value string) (recorder.Config, error) {
			fields := []string{`"noHost":true`}
			if test.others != "" {
				fields = append(fields, test.others)
			}
			if value != "" {
				fields = append(fields, fmt.Sprintf("%q:%s", test.setting, value))
			}
			s, err := parseSettings(json.RawMessage(`{"source":"recorder","recorder":{` + strings.Join(fields, ",") + `}}`))
			if err != nil {
				return recorder.Config{}, err
			}
			return s.Recorder.config(nil)
		}
		for value, want := range map[string]int64{"": test.fallback, fmt.Sprint(test.least): test.least, fmt.Sprint(test.most): test.most} {
			if c, err := parse(value); err != nil || test.value(c) != want {
				t.Errorf("%s=%s beside %s is %d: %v", test.setting, value, test.others, test.value(c), err)
			}
		}
		refusal := fmt.Sprintf("%s %%d is out of range: enter a number of %s from ", test.name, test.unit)
		for _, value := range []int64{-1, test.least - 1, test.most + 1} {
			if value == 0 {
				continue // as if it was not there
			}
			if _, err := parse(fmt.Sprint(value)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf(refusal, value)) {
				t.Errorf("%s=%d beside %s: %v", test.setting, value, test.others, err)
			}
		}
		for _, value := range []string{`"much"`, "1.5", "[]"} {
			if _, err := parse(value); err == nil || !strings.Contains(err.Error(), test.setting) && !strings.Contains(strings.ReplaceAll(err.Error(), " ", ""), strings.ToLower(test.setting)) {
				t.Errorf("%s=%s: %v", test.setting, value, err)
			}
		}
	}
}
