package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
)

// offered returns the path and the subscription data of a live answer.
func offered(t testing.TB, in *instance, pc backend.PluginContext, raw string) (path string, data json.RawMessage) {
	t.Helper()
	a := askOne(t, in, pc, queryFor("A", raw, time.Minute, time.Second))
	if a.Error != nil || a.Frames[0].Meta.Channel == "" {
		t.Fatalf("no channel: %v, %+v", a.Error, a.Frames[0].Meta)
	}
	data, err := json.Marshal(a.Frames[0].Meta.Custom.(liveAnswer).Data)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(a.Frames[0].Meta.Channel, "ds/uid/"), data
}

func subscribe(t testing.TB, in *instance, pc backend.PluginContext, path string, data json.RawMessage) *backend.SubscribeStreamResponse {
	t.Helper()
	rsp, err := in.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{PluginContext: pc, Path: path, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return rsp
}

// forge returns the path and data of a subscription that was never offered but
// is well-formed.
func forge(t testing.TB, step, window int64, d channel.Data) (string, json.RawMessage) {
	t.Helper()
	encoded, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return channel.Path{Step: step, Window: window, Digest: channel.DigestOf(encoded)}.String(), data
}

func TestSubscribeOnlyToWhatIsOffered(t *testing.T) {
	in, pc := newInstance(t, `{"minStep":100,"maxRows":1000}`)
	path, data := offered(t, in, pc, `{"live":true}`)
	_, other := offered(t, in, pc, `{"live":true,"shape":"sine"}`)
	good := channel.Data{
		Query:  json.RawMessage(`{"shape":"walk","lowerLimit":0,"upperLimit":100,"tickInterval":1000}`),
		Fields: []string{"signal"}, Revision: in.settings.revision(),
	}
	type request struct {
		path string
		data json.RawMessage
	}
	forged := func(step, window int64, mend func(*channel.Data)) request {
		d := good
		mend(&d)
		p, raw := forge(t, step, window, d)
		return request{p, raw}
	}
	const (
		ok     = backend.SubscribeStreamStatusOK
		denied = backend.SubscribeStreamStatusPermissionDenied
		none   = backend.SubscribeStreamStatusNotFound
	)
	for _, c := range []struct {
		name   string
		req    request
		status backend.SubscribeStreamStatus
	}{
		{"what was offered", request{path, data}, ok},
		{"under another nonce", request{path + "/42", data}, ok},
		{"as it would be offered", forged(1000, 60_000, func(*channel.Data) {}), ok},
		{"no data", request{path, nil}, denied},
		{"another path's data", request{path, other}, denied},
		{"data as an object", request{path, json.RawMessage(`{"query":{}}`)}, denied},
		{"a path with more behind it", request{path + "/1/2", data}, denied},
		{"a nonce that is not canonical", request{path + "/042", data}, denied},
		{"a nonce of nothing", request{path + "/0", data}, denied},
		{"no path of ours", request{"anything", data}, denied},
		{"no path", request{"", data}, denied},
		{"a window of a single row", forged(1000, 1000, func(*channel.Data) {}), none},
		{"a window that is never offered", forged(1000, 59_500, func(*channel.Data) {}), denied},
		{"a query that is not canonical", forged(1000, 60_000, func(d *channel.Data) { d.Query = json.RawMessage(`{"shape":"walk"}`) }), denied},
		{"a query that is not valid", forged(1000, 60_000, func(d *channel.Data) { d.Query = json.RawMessage(`{"shape":"circle"}`) }), none},
		{"a step below the query's minimum", forged(500, 60_000, func(*channel.Data) {}), none},
		{"a step below the settings' minimum", forged(50, 6_000, func(d *channel.Data) {
			d.Query = json.RawMessage(`{"shape":"walk","lowerLimit":0,"upperLimit":100,"tickInterval":50}`)
		}), none},
		{"more rows than the settings allow", forged(1000, 1_024_000, func(*channel.Data) {}), none},
		{"a field twice", forged(1000, 60_000, func(d *channel.Data) { d.Fields = []string{"signal", "signal"} }), denied},
		{"a field without a name", forged(1000, 60_000, func(d *channel.Data) { d.Fields = []string{"signal", ""} }), denied},
		{"settings of before", forged(1000, 60_000, func(d *channel.Data) { d.Revision = "old" }), ok}, // and told to ask afresh
		{"fields of before", forged(1000, 60_000, func(d *channel.Data) { d.Fields = []string{"old"} }), ok},
	} {
		t.Run(c.name, func(t *testing.T) {
			rsp := subscribe(t, in, pc, c.req.path, c.req.data)
			if rsp.Status != c.status {
				t.Fatalf("status %d, want %d", rsp.Status, c.status)
			}
			if (rsp.InitialData != nil) != (c.status == ok) {
				t.Fatalf("initial data: %v", rsp.InitialData)
			}
			if strings.HasSuffix(c.name, "of before") && string(rsp.InitialData.Data()) != string(changed) {
				t.Errorf("initial data: %s", rsp.InitialData.Data())
			}
		})
	}
}

// What viewers send does not fill the log, although a refusal says what is wrong
// with it.
func TestRefusalsInLogAreShort(t *testing.T) {
	long := strings.Repeat("x", 40<<10)
	for _, v := range []any{long, errors.New(long)} {
		if got := brief(v); len(got) > 300 || !strings.HasPrefix(got, "xxx") {
			t.Errorf("%T takes %d bytes", v, len(got))
		}
	}
}

// While the settings cannot be used, browsers are to try again.
func TestSubscribeUnderBrokenSettings(t *testing.T) {
	good, pc := newInstance(t, `{}`)
	path, data := offered(t, good, pc, `{"live":true}`)
	in, pc := newInstance(t, `{"minStep":1}`)
	rsp, err := in.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{PluginContext: pc, Path: path, Data: data})
	if err == nil || !strings.Contains(err.Error(), "minimum step 1") {
		t.Errorf("SubscribeStream: %+v, %v", rsp, err)
	}
	if rsp := subscribe(t, in, pc, "anything", data); rsp.Status != backend.SubscribeStreamStatusPermissionDenied {
		t.Errorf("no path of ours gets status %d", rsp.Status)
	}
}

func TestPublishIsDenied(t *testing.T) {
	in, pc := newInstance(t, `{}`)
	path, data := offered(t, in, pc, `{"live":true}`)
	rsp, err := in.PublishStream(t.Context(), &backend.PublishStreamRequest{PluginContext: pc, Path: path, Data: data})
	if err != nil || rsp.Status != backend.PublishStreamStatusPermissionDenied {
		t.Errorf("PublishStream: %+v, %v", rsp, err)
	}
}

func TestStreamLimits(t *testing.T) {
	query := func(i int) string { return fmt.Sprintf(`{"live":true,"upperLimit":%d}`, i) }
	for _, c := range []struct{ settings, users, notice string }{
		{`{"maxStreams":3}`, "abcd", "this data source already has 3 streams"},

		{`{"maxStreamsPerUser":3}`, "aaaa", "this user already has 3 streams"},
	} {
		synctest.Test(t, func(t *testing.T) {
			in, pc := newInstance(t, c.settings)
			as := func(i int) backend.PluginContext {
				pc := pc
				pc.User = &backend.User{Login: c.users[i : i+1]}
				return pc
			}
			for i := range 3 {
				path, data := offered(t, in, as(i), query(i+1))
				if rsp := subscribe(t, in, as(i), path, data); rsp.Status != backend.SubscribeStreamStatusOK {
					t.Fatalf("stream %d is refused", i)
				}
			}
			path, data := forge(t, 1000, 60_000, channel.Data{
				Query:  json.RawMessage(`{"shape":"walk","lowerLimit":0,"upperLimit":4,"tickInterval":1000}`),
				Fields: []string{"signal"}, Revision: in.settings.revision(),
			})
			if rsp := subscribe(t, in, as(3), path, data); rsp.Status != backend.SubscribeStreamStatusNotFound {
				t.Errorf("a stream over the limit gets status %d", rsp.Status)
			}
			frame := askOne(t, in, as(3), queryFor("A", query(4), time.Minute, time.Second)).Frames[0]
			if frame.Meta.Channel != "" || frame.Rows() == 0 || !strings.Contains(fmt.Sprint(frame.Meta.Notices), c.notice) {
				t.Errorf("over the limit, a query gets channel %q, %d rows, notices %v", frame.Meta.Channel, frame.Rows(), frame.Meta.Notices)
			}
			// A viewer more of an open stream is always welcome.
			path, data = offered(t, in, as(3), query(1))
			if rsp := subscribe(t, in, as(3), path, data); rsp.Status != backend.SubscribeStreamStatusOK {
				t.Error("a second viewer of an open stream is refused")
			}
			// No RunStream came: the places are free again after a while.
			time.Sleep(openWithin)
			if frame := askOne(t, in, as(3), queryFor("A", query(4), time.Minute, time.Second)).Frames[0]; frame.Meta.Channel != "" {
				t.Errorf("%v after it was opened, a stream has lost its place", openWithin)
			}
			time.Sleep(time.Millisecond)
			offered(t, in, as(3), query(4))
		})
	}
}

// The limit per user counts each user's own streams, and a stream that runs has
// its place for as long as it does.
func TestStreamLimitOfTwoUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, pc := newInstance(t, `{"maxStreamsPerUser":2}`)
		other := pc
		other.User = &backend.User{Login: "other"}
		query := func(i int) string { return fmt.Sprintf(`{"live":true,"upperLimit":%d}`, i) }
		ctx, cancel := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		open := func(pc backend.PluginContext, raw string) {
			path, data := offered(t, in, pc, raw)
			if rsp := subscribe(t, in, pc, path, data); rsp.Status != backend.SubscribeStreamStatusOK {
				t.Errorf("%s is refused the stream of %s", pc.User.Login, raw)
			}
			runs.Go(func() {
				_ = in.RunStream(ctx, &backend.RunStreamRequest{PluginContext: pc, Path: path, Data: data}, backend.NewStreamSender(new(sentPackets)))
			})
		}
		channel := func(pc backend.PluginContext, raw string) string {
			return askOne(t, in, pc, queryFor("A", raw, time.Minute, time.Second)).Frames[0].Meta.Channel
		}
		open(pc, query(1))
		open(pc, query(2))
		time.Sleep(10 * openWithin)
		if channel(pc, query(3)) != "" {
			t.Error("a user has a third stream")
		}
		open(other, query(3))
		open(other, query(4))
		time.Sleep(10 * openWithin)
		if channel(other, query(5)) != "" {
			t.Error("another user has a third stream")
		}
		if channel(pc, query(3)) == "" {
			t.Error("a user may not see another one's stream")
		}
		cancel()
		runs.Wait()
		open(pc, query(6))
		runs.Wait()
	})
}

// What the plugin counts of its streams is what happens.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, pc := newInstance(t, `{}`)
		hole, other := resyncs.WithLabelValues("hole"), resyncs.WithLabelValues("other")
		holes, others, open := testutil.ToFloat64(hole), testutil.ToFloat64(other), testutil.ToFloat64(openStreams)
		path, data := offered(t, in, pc, `{"live":true}`)
		offered(t, in, pc, `{"live":true,"nonce":1,"resync":"hole"}`)
		offered(t, in, pc, `{"live":true,"nonce":1,"resync":"made up"}`)
		if testutil.ToFloat64(hole)-holes != 1 || testutil.ToFloat64(other)-others != 1 || testutil.CollectAndCount(resyncs) > 7 {
			t.Errorf("%v holes, %v others", testutil.ToFloat64(hole)-holes, testutil.ToFloat64(other)-others)
		}
		runStream(t, in, pc, path, data, func(*sentPackets) {
			time.Sleep(5 * time.Second)
			if n := testutil.ToFloat64(openStreams) - open; n != 1 {
				t.Errorf("%v streams are open", n)
			}
		})
		if n := testutil.ToFloat64(openStreams) - open; n != 0 {
			t.Errorf("%v streams are open after the last has ended", n)
		}
	})
}

// sentPackets is a stream's sender that keeps what is sent.
type sentPackets struct {
	mu      sync.Mutex
	packets []string
}

func (r *sentPackets) Send(p *backend.StreamPacket) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets = append(r.packets, string(p.Data))
	return nil
}

func (r *sentPackets) count(packet string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.packets {
		if p == packet {
			n++
		}
	}
	return n
}

// runStream runs RunStream in a bubble until do returns.
func runStream(t *testing.T, in *instance, pc backend.PluginContext, path string, data json.RawMessage, do func(r *sentPackets)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var r sentPackets
	done := make(chan error, 1)
	go func() {
		done <- in.RunStream(ctx, &backend.RunStreamRequest{PluginContext: pc, Path: path, Data: data}, backend.NewStreamSender(&r))
	}()
	do(&r)
	select {
	case err := <-done:
		t.Errorf("RunStream returned %v while its context lived", err)
	default:
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("RunStream returned nil")
	}
}

// What RunStream cannot serve, or no longer can, it says with one row under a
// changed schema, to those who are there and to everyone who joins; then it waits.
func TestRunStreamSaysWhatChanged(t *testing.T) {
	bubble := func(name string, do func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, do) })
	}
	wait := func(d time.Duration) {
		time.Sleep(d)
		synctest.Wait()
	}
	bubble("settings changed under it", func(t *testing.T) {
		in, pc := newInstance(t, `{}`)
		path, data := offered(t, in, pc, `{"live":true}`)
		runStream(t, in, pc, path, data, func(r *sentPackets) {
			wait(5 * time.Second)
			if n := r.count(string(changed)); n != 0 {
				t.Fatalf("changed after %d packets", len(r.packets)-n)
			}
			in.streams.adopt(ownerOf(pc), in.settings.revision())
			wait(5 * time.Second)
			if r.count(string(changed)) != 0 {
				t.Error("told to ask afresh although the revision is the same")
			}
			in.streams.adopt(ownerOf(pc), "another")
			wait(5 * time.Second)
			if n := r.count(string(changed)); n != 3 {
				t.Errorf("said %d times that all has changed", n)
			}
			subscribe(t, in, pc, path, data)
			wait(5 * time.Second)
			if n := r.count(string(changed)); n != 6 {
				t.Errorf("said %d times that all has changed, after a join", n)
			}
		})
	})
	bubble("begun with settings that were replaced meanwhile", func(t *testing.T) {
		in, pc := newInstance(t, `{}`)
		path, data := offered(t, in, pc, `{"live":true}`)
		in.streams.adopt(ownerOf(pc), "another")
		runStream(t, in, pc, path, data, func(r *sentPackets) {
			wait(5 * time.Second)
			if n := r.count(string(changed)); n != 3 || len(r.packets) != n {
				t.Errorf("%d of %d packets say that all has changed", n, len(r.packets))
			}
		})
	})
	bubble("made under settings of before", func(t *testing.T) {
		in, pc := newInstance(t, `{}`)
		path, data := forge(t, 1000, 60_000, channel.Data{Query: json.RawMessage(`{}`), Revision: "old"})
		runStream(t, in, pc, path, data, func(r *sentPackets) {
			wait(5 * time.Second)
			if n := r.count(string(changed)); n != 3 || len(r.packets) != n {
				t.Errorf("%d of %d packets say that all has changed", n, len(r.packets))
			}
		})
	})
	bubble("settings that cannot be used", func(t *testing.T) {
		good, pc := newInstance(t, `{}`)
		path, data := offered(t, good, pc, `{"live":true}`)
		in, pc := newInstance(t, `{"minStep":1}`)
		runStream(t, in, pc, path, data, func(r *sentPackets) {
			wait(5 * time.Second)
			if n := r.count(string(changed)); n != 3 || len(r.packets) != n {
				t.Errorf("%d of %d packets say that all has changed", n, len(r.packets))
			}
		})
	})
	bubble("not ours", func(t *testing.T) {
		in, pc := newInstance(t, `{}`)
		path, _ := offered(t, in, pc, `{"live":true}`)
		runStream(t, in, pc, path, json.RawMessage(`"forged"`), func(r *sentPackets) {
			wait(time.Minute)
			if len(r.packets) != 0 {
				t.Errorf("%d packets on a path that is not ours", len(r.packets))
			}
		})
	})
}

// When the connection to Grafana is gone RunStream returns why, and Grafana calls
// it again.
func TestRunStreamWithoutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, pc := newInstance(t, `{}`)
		path, data := offered(t, in, pc, `{"live":true}`)
		gone := errors.New("gone")
		err := in.RunStream(t.Context(), &backend.RunStreamRequest{PluginContext: pc, Path: path, Data: data},
			backend.NewStreamSender(senderFunc(func(*backend.StreamPacket) error { return gone })))
		if !errors.Is(err, gone) {
			t.Errorf("RunStream: %v", err)
		}
	})
}

// SubscribeStream of a new instance reaches the RunStream of an old one.
func TestJoinAcrossInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, pc := newInstance(t, `{}`)
		path, data := offered(t, old, pc, `{"live":true,"tickInterval":30000}`)
		next := &instance{settings: old.settings, source: old.source, streams: old.streams}
		runStream(t, old, pc, path, data, func(r *sentPackets) {
			time.Sleep(5 * time.Second)
			synctest.Wait()
			before := len(r.packets)
			subscribe(t, next, pc, path, data)
			time.Sleep(4 * time.Second) // after five, the idle tail sends a packet
			synctest.Wait()
			if n := len(r.packets) - before; n != 2 {
				t.Errorf("%d packets after a join", n)
			}
		})
	})
}

// Two organisations may have data sources with the same uid.
func TestOrganisationsAreApart(t *testing.T) {
	in, pc := newInstance(t, `{"maxStreams":1}`)
	path, data := offered(t, in, pc, `{"live":true}`)
	subscribe(t, in, pc, path, data)
	pc.OrgID = 2
	offered(t, in, pc, `{"live":true,"shape":"sine"}`)
}

// A stream counts for who joined it last, for who opened it may be gone. Anonymous
// viewers are not one user.
func TestWhoseStreamItIs(t *testing.T) {
	s, o, limits := newStreams(), owner{1, "uid"}, settings{MaxStreams: 100, MaxStreamsPerUser: 1}
	for i, c := range []struct {
		user    string
		path    int64
		refused bool
	}{
		{"a", 1, false}, {"a", 2, true}, {"b", 1, false}, {"a", 2, false}, {"b", 3, true}, {"", 4, false}, {"", 5, false}, {"", 6, false},
	} {
		if err := s.join(o, channel.Path{Step: 1000, Window: c.path * 1000}, c.user, limits); (err != nil) != c.refused {
			t.Errorf("join %d, of %q: %v", i, c.user, err)
		}
	}
}
