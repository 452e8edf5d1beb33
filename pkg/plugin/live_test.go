package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/config"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// This file models Grafana Live as docs/design.md and Grafana 12.4's source have
// it, as far as it decides which rows reach a panel. It runs inside
// testing/synctest, with every latency drawn from a seeded generator.
//
// On the server: one RunStream per channel, started before the subscriber is in
// the hub; called again without SubscribeStream after an error; ended for good
// after nil; kept for 15 s without subscribers; begun with the settings that the
// first subscriber had, cancelled and submitted anew when they change (on another
// replica: within a minute of that). Publications reach who is in the hub by then, and nothing is
// kept for anybody.
//
// In the browser: one buffer per channel and tab, which drops the history of
// every later query while it lives, until 5 s after its last panel left. A
// reconnect subscribes again and appends the initial data.

// handlers are what a plugin process offers.
type handlers interface {
	backend.QueryDataHandler
	backend.StreamHandler
}

// managed offers the handlers of the instance that the settings ask for, as
// datasource.Manage does.
type managed struct{ instancemgmt.InstanceManager }

func (m managed) get(ctx context.Context, pc backend.PluginContext) (handlers, error) {
	in, err := m.Get(backend.WithPluginContext(ctx, pc), pc)
	if err != nil {
		return nil, err
	}
	return in.(handlers), nil
}

func (m managed) QueryData(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	h, err := m.get(ctx, req.PluginContext)
	if err != nil {
		return nil, err
	}
	return h.QueryData(ctx, req)
}

func (m managed) SubscribeStream(ctx context.Context, req *backend.SubscribeStreamRequest) (*backend.SubscribeStreamResponse, error) {
	h, err := m.get(ctx, req.PluginContext)
	if err != nil {
		return nil, err
	}
	return h.SubscribeStream(ctx, req)
}

func (m managed) PublishStream(ctx context.Context, req *backend.PublishStreamRequest) (*backend.PublishStreamResponse, error) {
	h, err := m.get(ctx, req.PluginContext)
	if err != nil {
		return nil, err
	}
	return h.PublishStream(ctx, req)
}

func (m managed) RunStream(ctx context.Context, req *backend.RunStreamRequest, sender *backend.StreamSender) error {
	h, err := m.get(ctx, req.PluginContext)
	if err != nil {
		return err
	}
	time.Sleep(40 * time.Millisecond) // for another instance to come between
	return h.RunStream(ctx, req, sender)
}

// continuum is a plugin process whose clock is set back by so many milliseconds.
func continuum(setBack *atomic.Int64) handlers {
	factory := NewFactory(noStores())
	return managed{datasource.NewInstanceManager(func(ctx context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
		made, err := factory(ctx, s)
		if in, ok := made.(*instance); ok {
			in.source = setBackSource{in.source, setBack}
		}
		return made, err
	})}
}

// setBackSource is a source whose clock may be set back.
type setBackSource struct {
	source.Source
	by *atomic.Int64
}

func (s setBackSource) Query(raw json.RawMessage) (source.Query, error) {
	return rebound(s.Source, raw, func(b source.Bound) source.Bound { return setBackBound{b, s.by} })
}

type setBackBound struct {
	source.Bound
	by *atomic.Int64
}

func (b setBackBound) Settled(ctx context.Context) (int64, error) {
	settled, err := b.Bound.Settled(ctx)
	return settled - b.by.Load(), err
}

// rebound returns a source's query whose bound forms are replaced.
func rebound(s source.Source, raw json.RawMessage, replace func(source.Bound) source.Bound) (source.Query, error) {
	q, err := s.Query(raw)
	if err != nil {
		return nil, err
	}
	return reboundQuery{q, replace}, nil
}

type reboundQuery struct {
	source.Query
	replace func(source.Bound) source.Bound
}

func (q reboundQuery) Bind(step, window int64) (source.Bound, error) {
	b, err := q.Query.Bind(step, window)
	if err != nil {
		return nil, err
	}
	return q.replace(b), nil
}

var errDown = errors.New("connection refused")

// server is Grafana's back end with the plugin's process.
type server struct {
	t       testing.TB
	start   func() handlers // a new plugin process
	setBack *atomic.Int64   // by how many ms its clock is
	seed    uint64
	mu      sync.Mutex
	up      bool
	plugin  handlers        // nil while the process is down
	alive   context.Context // of the plugin's process
	kill    context.CancelFunc
	// settings are the data source's, as of now.
	settings backend.DataSourceInstanceSettings
	streams  map[string]*serverStream
	hub      map[string]map[*socket]bool
	queries  int
	mute     bool // publications are lost
	tabs     int  // opened so far
}

// serverStream is one channel's entry in Grafana's stream manager.
type serverStream struct {
	channel string
	data    json.RawMessage
	context backend.PluginContext // of the first subscriber
	cancel  context.CancelFunc
	ended   chan struct{}
}

func newServer(t testing.TB, seed uint64, start func() handlers) *server {
	s := &server{
		t: t, start: start, setBack: new(atomic.Int64), seed: seed, up: true,
		settings: backend.DataSourceInstanceSettings{ID: 1, UID: "uid", Type: ID, JSONData: onSignal(`{}`), Updated: time.Now()},
		streams:  map[string]*serverStream{}, hub: map[string]map[*socket]bool{},
	}
	s.startPlugin()
	return s
}

func (s *server) startPlugin() {
	s.plugin = s.start()
	s.alive, s.kill = context.WithCancel(context.Background())
}

// stop ends everything, so that the bubble can end.
func (s *server) stop(tabs ...*tab) {
	s.mu.Lock()
	s.up = false
	s.kill()
	for _, st := range s.streams {
		st.cancel()
	}
	s.mu.Unlock()
	for _, t := range tabs {
		t.close()
	}
	time.Sleep(time.Minute) // for whoever sleeps or backs off
}

// between draws a duration in whole milliseconds. It is a function of the seed,
// the moment and who asks, so that a schedule runs the same again however the
// goroutines of one moment take turns.
func (s *server) between(who int, least, most time.Duration) time.Duration {
	rng := rand.New(rand.NewPCG(s.seed, uint64(time.Now().UnixNano())^uint64(who)<<48))
	return least + time.Duration(rng.Int64N(int64((most-least)/time.Millisecond)+1))*time.Millisecond
}

// hop is one way through the network and Grafana.
func (s *server) hop(who int) { time.Sleep(s.between(who, time.Millisecond, 60*time.Millisecond)) }

func (s *server) context() backend.PluginContext {
	settings := s.settings
	return backend.PluginContext{
		OrgID: 1, PluginID: ID, User: &backend.User{Login: "viewer"}, DataSourceInstanceSettings: &settings,
		GrafanaConfig: config.NewGrafanaCfg(nil),
	}
}

// process returns the running plugin process.
func (s *server) process() (handlers, context.Context, backend.PluginContext, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up || s.plugin == nil {
		return nil, nil, backend.PluginContext{}, errDown
	}
	return s.plugin, s.alive, s.context(), nil
}

// count adds to the number of queries so far, and returns it.
func (s *server) count(more int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries += more
	return s.queries
}

// query is POST /api/ds/query with one query.
func (s *server) query(who int, json string, length, interval time.Duration) (*data.Frame, error) {
	return s.queryUntil(who, json, length, interval, time.Now())
}

// queryUntil is a query whose range ended at now when it was asked, or long before.
func (s *server) queryUntil(who int, json string, length, interval time.Duration, to time.Time) (*data.Frame, error) {
	s.hop(who)
	plugin, alive, pc, err := s.process()
	if err != nil {
		return nil, err
	}
	s.count(1)
	rsp, err := plugin.QueryData(alive, &backend.QueryDataRequest{PluginContext: pc, Queries: []backend.DataQuery{{
		RefID: "A", Interval: interval, JSON: []byte(json), TimeRange: backend.TimeRange{From: to.Add(-length), To: to},
	}}})
	s.hop(who)
	if err == nil {
		err = alive.Err()
	}
	if err != nil {
		return nil, err
	}
	answer := rsp.Responses["A"]
	if answer.Error != nil {
		return nil, &refusedQuery{answer.Error, int(answer.Status)}
	}
	return answer.Frames[0], nil
}

// refusedQuery is an answer with an error.
type refusedQuery struct {
	error
	status int // HTTP
}

// subscribe is a subscription that arrives on a websocket.
func (s *server) subscribe(sock *socket, channel string, raw json.RawMessage) (json.RawMessage, backend.SubscribeStreamStatus, error) {
	plugin, alive, pc, err := s.process()
	if err != nil {
		return nil, 0, err
	}
	path := strings.TrimPrefix(channel, "ds/uid/")
	rsp, err := plugin.SubscribeStream(alive, &backend.SubscribeStreamRequest{PluginContext: pc, Path: path, Data: raw})
	if err == nil {
		err = alive.Err()
	}
	if err != nil || rsp.Status != backend.SubscribeStreamStatusOK {
		status := backend.SubscribeStreamStatus(0)
		if rsp != nil {
			status = rsp.Status
		}
		return nil, status, err
	}
	s.submit(channel, raw, pc)
	time.Sleep(s.between(sock.tab.id, 0, 30*time.Millisecond)) // RunStream may publish by now
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hub[channel] == nil {
		s.hub[channel] = map[*socket]bool{}
	}
	s.hub[channel][sock] = true
	if rsp.InitialData == nil {
		return nil, rsp.Status, nil
	}
	return rsp.InitialData.Data(), rsp.Status, nil
}

// submit starts the stream of a channel, unless it runs.
func (s *server) submit(channel string, raw json.RawMessage, pc backend.PluginContext) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up || s.streams[channel] != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	st := &serverStream{channel, raw, pc, cancel, make(chan struct{})}
	s.streams[channel] = st
	go s.run(ctx, st)
	go s.linger(ctx, st)
}

func (s *server) run(ctx context.Context, st *serverStream) {
	defer func() {
		st.cancel()
		s.mu.Lock()
		if s.streams[st.channel] == st {
			delete(s.streams, st.channel)
		}
		s.mu.Unlock()
		close(st.ended)
	}()
	var delay time.Duration
	for first := true; ; first = false {
		began := time.Now()
		err := errDown
		if plugin, alive, pc, downErr := s.process(); downErr == nil {
			if first {
				pc = st.context
			}
			runCtx, cancel := context.WithCancel(ctx)
			stop := context.AfterFunc(alive, cancel)
			err = plugin.RunStream(runCtx, &backend.RunStreamRequest{
				PluginContext: pc, Path: strings.TrimPrefix(st.channel, "ds/uid/"), Data: st.data,
			}, backend.NewStreamSender(senderFunc(func(p *backend.StreamPacket) error {
				if runCtx.Err() != nil {
					return runCtx.Err()
				}
				s.publish(st.channel, p.Data)
				return nil
			})))
			stop()
			cancel()
			if alive.Err() != nil {
				err = errDown
			}
		}
		if ctx.Err() != nil || err == nil {
			return // after nil the viewers stay, frozen
		}
		delay = min(max(2*delay, 100*time.Millisecond), 5*time.Second)
		if time.Since(began) > 100*time.Millisecond {
			delay = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

type senderFunc func(*backend.StreamPacket) error

func (f senderFunc) Send(p *backend.StreamPacket) error { return f(p) }

// linger ends a stream after three checks, 5 s apart, without a subscriber.
func (s *server) linger(ctx context.Context, st *serverStream) {
	for empty := 0; empty < 3; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
		s.mu.Lock()
		empty++
		if len(s.hub[st.channel]) > 0 {
			empty = 0
		}
		s.mu.Unlock()
	}
	st.cancel()
}

func (s *server) publish(channel string, packet json.RawMessage) {
	s.mu.Lock()
	sockets := make([]*socket, 0, len(s.hub[channel]))
	for sock := range s.hub[channel] {
		if !s.mute {
			sockets = append(sockets, sock)
		}
	}
	s.mu.Unlock()
	for _, sock := range sockets {
		sock.send(s.between(sock.tab.id, time.Millisecond, 40*time.Millisecond), func(t *tab) { t.published(channel, packet) })
	}
}

// lose loses what is published for a while.
func (s *server) lose(length time.Duration) {
	set := func(mute bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mute = mute
	}
	set(true)
	time.Sleep(length)
	set(false)
}

// forget removes a socket from the hub, or from one channel of it.
func (s *server) forget(sock *socket, channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, sockets := range s.hub {
		if channel == "" || c == channel {
			delete(sockets, sock)
		}
	}
}

// killPlugin is kill -9, and a restart by Grafana's process manager.
func (s *server) killPlugin(down time.Duration) {
	s.mu.Lock()
	s.kill()
	s.plugin = nil
	s.mu.Unlock()
	time.Sleep(down)
	s.mu.Lock()
	s.startPlugin()
	s.mu.Unlock()
}

// restart restarts Grafana: every websocket and every stream ends, and the
// plugin is started anew.
func (s *server) restart(down time.Duration, tabs ...*tab) {
	s.mu.Lock()
	s.up = false
	s.kill()
	for _, st := range s.streams {
		st.cancel()
	}
	clear(s.streams)
	clear(s.hub)
	s.mu.Unlock()
	for _, t := range tabs {
		t.disconnect()
	}
	time.Sleep(down)
	s.mu.Lock()
	s.up = true
	s.startPlugin()
	s.mu.Unlock()
	for _, t := range tabs {
		go t.reconnect()
	}
}

// change saves the data source's settings: Grafana cancels its streams and
// submits them anew, with the data they had.
func (s *server) change(jsonData string) {
	s.changeElsewhere(jsonData)
	s.mu.Lock()
	var old []*serverStream
	for _, st := range s.streams {
		st.cancel()
		old = append(old, st)
	}
	pc := s.context()
	s.mu.Unlock()
	for _, st := range old {
		<-st.ended
		s.submit(st.channel, st.data, pc)
	}
}

// changeElsewhere saves the data source's settings on another replica: this one
// leaves its streams as they are for a while.
func (s *server) changeElsewhere(jsonData string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settings.JSONData = onSignal(jsonData)
	s.settings.Updated = time.Now()
}

// socket is one websocket connection. What is sent arrives in order, or not at
// all once it is cut.
type socket struct {
	tab *tab
	out chan delivery
}

type delivery struct {
	at time.Time
	do func(*tab)
}

func (sock *socket) send(latency time.Duration, do func(*tab)) {
	sock.out <- delivery{time.Now().Add(latency), do}
}

func (sock *socket) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-sock.out:
			time.Sleep(time.Until(d.at))
			sock.tab.mu.Lock()
			if sock.tab.socket == sock {
				d.do(sock.tab)
			}
			sock.tab.mu.Unlock()
		}
	}
}

// tab is a browser tab. Its mutex is JavaScript's single thread.
type tab struct {
	id     int
	server *server
	ctx    context.Context
	close  context.CancelFunc

	mu       sync.Mutex
	socket   *socket // nil while it is cut
	noHTTP   bool
	channels map[string]*liveChannel
	nonces   *nonces
	guards   map[*guard]bool
	hidden   bool
	watches  int
}

// liveChannel is a CentrifugeLiveChannel with its LiveDataStream: the
// subscription and the buffer of one channel.
type liveChannel struct {
	data       json.RawMessage
	subscribed bool
	buffer     *buffer
	panels     map[int]watcher
	close      *time.Timer
}

// watcher is a panel on a channel.
type watcher struct {
	next func(*buffer)
	ends func()
}

func newTab(s *server) *tab {
	ctx, cancel := context.WithCancel(context.Background())
	s.tabs++
	t := &tab{id: 100 * s.tabs, server: s, ctx: ctx, close: cancel, channels: map[string]*liveChannel{},
		nonces: newNonces(), guards: map[*guard]bool{}}
	t.mu.Lock()
	t.connect()
	t.mu.Unlock()
	return t
}

// connect opens a websocket. The caller holds the mutex.
func (t *tab) connect() {
	t.socket = &socket{tab: t, out: make(chan delivery, 1000)}
	go t.socket.deliver(t.ctx)
	for channel := range t.channels {
		go t.subscribe(t.socket, channel)
	}
}

// disconnect cuts the websocket. Grafana may notice much later.
func (t *tab) disconnect() {
	t.mu.Lock()
	defer t.mu.Unlock()
	sock := t.socket
	if sock == nil {
		return
	}
	t.socket = nil
	for _, c := range t.channels {
		c.subscribed = false
	}
	late := t.server.between(t.id, 0, 25*time.Second)
	time.AfterFunc(late, func() { t.server.forget(sock, "") })
}

// reconnect is what the client does when the network is back: a short backoff,
// then it subscribes to all its channels again.
func (t *tab) reconnect() {
	time.Sleep(t.server.between(t.id, 200*time.Millisecond, 2*time.Second))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.socket == nil && t.ctx.Err() == nil {
		t.connect()
	}
}

func (t *tab) subscribe(sock *socket, channel string) {
	backoff := 500 * time.Millisecond
	for {
		t.mu.Lock()
		c := t.channels[channel]
		live := t.socket == sock && c != nil
		t.mu.Unlock()
		if !live || t.ctx.Err() != nil {
			return
		}
		t.server.hop(t.id)
		initial, status, err := t.server.subscribe(sock, channel, c.data)
		if err != nil { // the browser retries errors
			time.Sleep(t.server.between(t.id, backoff/2, backoff))
			backoff = min(2*backoff, 20*time.Second)
			continue
		}
		if status != backend.SubscribeStreamStatusOK {
			t.mu.Lock() // and falls silent on statuses, which src/datasource.ts notices
			for _, id := range slices.Sorted(maps.Keys(c.panels)) {
				if v, ok := c.panels[id]; ok {
					v.ends()
				}
			}
			t.mu.Unlock()
			return
		}
		sock.send(t.server.between(t.id, time.Millisecond, 40*time.Millisecond), func(t *tab) {
			if c := t.channels[channel]; c != nil {
				c.subscribed = true
				if initial != nil {
					c.push(t.server.t, initial)
				}
			}
		})
		return
	}
}

// published handles a publication. Those that overtake the reply to the
// subscription are lost.
func (t *tab) published(channel string, packet json.RawMessage) {
	if c := t.channels[channel]; c != nil && c.subscribed {
		c.push(t.server.t, packet)
	}
}

// watch is getDataStream of Grafana's front end: it opens the channel if need
// be, hands the history to a new buffer and drops it otherwise, and calls next
// with the buffer's contents now and after every message. The caller holds the
// mutex, and next is called under it.
func (t *tab) watch(channel string, raw any, answer *data.Frame, maxLength int, maxDelta int64, next func(*buffer), ends func()) (unsubscribe func()) {
	history, err := data.FrameToJSON(answer, data.IncludeAll)
	if err != nil {
		panic(err)
	}
	c := t.channels[channel]
	if c == nil {
		raw, err := json.Marshal(raw)
		if err != nil {
			panic(err)
		}
		c = &liveChannel{data: raw, buffer: &buffer{}, panels: map[int]watcher{}}
		t.channels[channel] = c
		if t.socket != nil {
			go t.subscribe(t.socket, channel)
		}
	}
	if c.close != nil {
		c.close.Stop()
		c.close = nil
	}
	c.buffer.maxLength = max(c.buffer.maxLength, maxLength)
	c.buffer.maxDelta = max(c.buffer.maxDelta, maxDelta)
	if !c.buffer.open {
		c.buffer.push(t.server.t, history)
	}
	t.watches++
	id := t.watches
	c.panels[id] = watcher{next, ends}
	next(c.buffer)
	return func() {
		delete(c.panels, id)
		if len(c.panels) > 0 || t.channels[channel] != c {
			return
		}
		// The buffer lives for 5 s more, the subscription a little longer.
		c.close = time.AfterFunc(5*time.Second+250*time.Millisecond, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			if len(c.panels) == 0 && t.channels[channel] == c {
				delete(t.channels, channel)
				if t.socket != nil {
					go t.server.forget(t.socket, channel)
				}
			}
		})
	}
}

func (c *liveChannel) push(t testing.TB, packet []byte) {
	c.buffer.push(t, packet)
	for _, v := range c.panels {
		v.next(c.buffer)
	}
}

// buffer is a StreamingDataFrame: it appends, never sorts, never removes
// duplicates, and cuts at the front.
type buffer struct {
	maxLength int
	maxDelta  int64
	open      bool // the last message had rows: later histories are dropped
	schema    *schema
	last      []byte // the last message
	times     []int64
	values    [][]*float64
}

type schema struct {
	Meta struct {
		Channel string            `json:"channel"`
		Custom  liveAnswer        `json:"custom"`
		Notices []json.RawMessage `json:"notices,omitempty"`
	} `json:"meta"`
	Fields []field `json:"fields"`
}

type field struct {
	Name   string          `json:"name"`
	Type   string          `json:"type"`
	Labels json.RawMessage `json:"labels,omitempty"`
	Config json.RawMessage `json:"config,omitempty"`
}

func (s *schema) names() []string {
	var names []string
	for _, f := range s.Fields {
		names = append(names, f.Name)
	}
	return names
}

type packet struct {
	Schema *schema `json:"schema"`
	Data   struct {
		Values []json.RawMessage `json:"values"`
	} `json:"data"`
}

func (b *buffer) push(t testing.TB, raw []byte) {
	var m packet
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Errorf("message %s: %v", raw, err)
		return
	}
	b.open, b.last = false, raw
	if m.Schema != nil {
		if b.schema == nil || !slices.Equal(b.schema.names(), m.Schema.names()) {
			columns := make([][]*float64, len(m.Schema.Fields)-1)
			for i, name := range m.Schema.names()[1:] {
				columns[i] = make([]*float64, len(b.times))
				if b.schema != nil {
					if old := slices.Index(b.schema.names()[1:], name); old >= 0 {
						columns[i] = b.values[old]
					}
				}
			}
			b.values = columns
		}
		b.schema = m.Schema
	}
	if len(m.Data.Values) == 0 {
		return
	}
	var times []int64
	if err := json.Unmarshal(m.Data.Values[0], &times); err != nil {
		t.Errorf("times %s: %v", m.Data.Values[0], err)
	}
	if len(times) == 0 {
		return
	}
	if len(m.Data.Values) != len(b.values)+1 {
		t.Errorf("push message mismatch: %d fields, received %d", len(b.values)+1, len(m.Data.Values))
		return
	}
	b.open = true
	b.times = append(b.times, times...)
	for i := range b.values {
		var column []*float64
		if json.Unmarshal(m.Data.Values[i+1], &column) != nil {
			column = make([]*float64, len(times)) // not numbers: a changed schema
		}
		b.values[i] = append(b.values[i], column...)
	}
	cut := max(0, len(b.times)-b.maxLength)
	newest := b.times[len(b.times)-1]
	for cut < len(b.times) && b.times[cut] < newest-b.maxDelta {
		cut++
	}
	b.times = b.times[cut:]
	for i := range b.values {
		b.values[i] = b.values[i][cut:]
	}
}

// ask is a query of the tab over HTTP.
func (t *tab) ask(who int, query string, length, interval time.Duration, to time.Time) (*data.Frame, error) {
	t.mu.Lock()
	cut := t.noHTTP
	t.mu.Unlock()
	if cut {
		t.server.hop(who)
		return nil, errDown
	}
	return t.server.queryUntil(who, query, length, interval, to)
}

// panel is one panel of a dashboard with one query.
type panel struct {
	id     int
	tab    *tab
	query  string // without nonce
	length time.Duration
	// rangeName is of a range that grows, which has no length.
	rangeName string
	patience  time.Duration // with an answer, by default that of settings without a timeout
	failing   *failure      // all queries, if any
	interval  time.Duration
	guarded   bool
	truth     func() source.Source
	behind    time.Duration

	record *recording

	handed time.Time // the end of the range that Grafana hands over, zero for now
	stop   func()
	shown  picture
	wrong  []string // what was ever shown and is not exact
}

// picture is what a panel shows.
type picture struct {
	step   int64
	times  []int64
	values [][]*float64
}

func (p picture) newest() int64 {
	if len(p.times) == 0 {
		return math.MinInt64
	}
	return p.times[len(p.times)-1]
}

// check holds a picture against the rows of a fresh query. It must have one row
// per time, in order and without a hole, with the same values.
func (p picture) check(fresh *data.Frame) error {
	want := pictureOf(fresh)
	if !slices.Equal(p.times, want.times) {
		for i, at := range p.times {
			if i > 0 && at-p.times[i-1] != p.step {
				return fmt.Errorf("row %d follows row %d at a step of %d ms", at, p.times[i-1], p.step)
			}
		}
		return fmt.Errorf("%d rows from %d on are shown, a fresh query has %d", len(p.times), p.times[0], len(want.times))
	}
	for f := range want.values {
		for i, v := range want.values[f] {
			if got := p.values[f][i]; got != v && (got == nil || v == nil || *got != *v) {
				return fmt.Errorf("row %d is %v, a fresh query says %v", p.times[i], got, v)
			}
		}
	}
	return nil
}
