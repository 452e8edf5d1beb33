package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang/snappy"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/prometheus/prompb"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// The senders, by the label that their samples have.
const (
	stamped = "mqtt"         // MQTT with QoS 1, with stamps of their own
	arrival = "mqtt-arrival" // MQTT with QoS 1, stamped when they arrive
	stream  = "jetstream"
	write   = "remote-write"
	lines   = "line-protocol"
)

// arrivalTopic is the first level of the topics of arrival.
const arrivalTopic = "arrival"

// sender describes how a sender sends, and how its samples can be queried.
type sender struct {
	name   string
	series int           // numbers go to the series in turn
	every  time.Duration // between two numbers, or two batches
	step   time.Duration // in which a series usually has one sample
	direct bool          // the plugin itself acknowledges
}

var senders = []sender{
	{name: stamped, series: 64, every: 40 * time.Millisecond, step: time.Second},
	// A series gets several at once when a broker sends all messages that it has
	// kept.
	{name: arrival, series: 8, every: 100 * time.Millisecond, step: 500 * time.Millisecond},
	{name: stream, series: 64, every: 40 * time.Millisecond, step: time.Second},
	{name: write, series: 16, every: writeEvery, step: writeEvery, direct: true},
	{name: lines, series: 16, every: 500 * time.Millisecond, step: 500 * time.Millisecond, direct: true},
}

// inputs is how many the settings have, with that of this machine's metrics.
const inputs = 5

// writeEvery is so short that a chunk of a series, 120 samples, is soon full.
const writeEvery = 200 * time.Millisecond

// settings returns the settings of the data source. With another number the inputs
// start again.
func settings(mqtt, nats string, number int64) []byte {
	of := func(sender string, more map[string]any) map[string]any {
		all := map[string]any{"maxSeries": 5000 + number, "labels": map[string]string{"sender": sender}}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	b, err := json.Marshal(map[string]any{
		"source": "recorder",
		"recorder": map[string]any{
			"hostInterval": 1000 + number, "interval": 10, "lookback": 2000,
			"diskLow": diskLow, "diskCritical": diskCritical, "rules": rules(),
			"inputs": []any{
				map[string]any{"type": "mqtt", "name": "stamped", "url": "tcp://" + mqtt, "topics": []string{"stamped/#"},
					"rules": of(stamped, map[string]any{"pattern": "stamped/+series", "timeKey": "t"})},
				// A client of MQTT 5 says itself how many messages may be under way.
				map[string]any{"type": "mqtt", "name": "arrival", "url": "tcp://" + mqtt, "version": "3.1.1", "topics": []string{arrivalTopic + "/#"},
					"rules": of(arrival, map[string]any{"pattern": arrivalTopic + "/+series/n"})},
				map[string]any{"type": "nats", "name": "stream", "url": "nats://" + nats, "stream": "TORTURE",
					"rules": of(stream, map[string]any{"pattern": "torture.*series.n"})},
				map[string]any{"type": "push", "name": "push", "maxSeries": 1000 + number},
			},
		},
	})
	if err != nil {
		panic(err) // cannot fail
	}
	return b
}

const (
	// patience is how long an answer may take on a busy machine.
	patience = 30 * time.Second
	// begins is how long a server or the plugin may take to start.
	begins = 2 * time.Minute
)

// tick calls do at every multiple of a duration until ctx ends. It skips the times
// that it misses.
func tick(ctx context.Context, every time.Duration, do func(at time.Time)) {
	for {
		at := time.Now().Truncate(every).Add(every)
		select {
		case <-time.After(time.Until(at)):
			do(at)
		case <-ctx.Done():
			return
		}
	}
}

// sendMQTT publishes one number after another until ctx ends. It sends numbers with
// a stamp again until the broker has acknowledged them.
func sendMQTT(ctx context.Context, s sender, address string, l *ledger) {
	var client paho.Client
	publish := func(topic, payload string) error {
		if client == nil || !client.IsConnectionOpen() {
			c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID("sender-" + s.name).
				SetAutoReconnect(false).SetConnectTimeout(patience))
			if err := done(c.Connect()); err != nil {
				return err
			}
			client = c
		}
		err := done(client.Publish(topic, 1, false, payload))
		if err != nil {
			client.Disconnect(0)
			client = nil
		}
		return err
	}
	defer func() {
		if client != nil {
			client.Disconnect(100)
		}
	}()
	series := func() string { return strconv.Itoa((l.count(s.name) + 1) % s.series) }
	if s.name == arrival {
		send := func(time.Time) {
			m := l.next(s.name, series(), 0)
			if publish(arrivalTopic+"/"+m.series+"/n", strconv.Itoa(m.n)) == nil {
				l.settle(acknowledged, m)
			}
		}
		for range s.series { // so that all series exist from the beginning
			send(time.Now())
		}
		tick(ctx, s.every, send)
		return
	}
	tick(ctx, s.every, func(at time.Time) {
		m := l.next(s.name, series(), at.UnixMilli())
		for ctx.Err() == nil {
			l.trying(m)
			if publish("stamped/"+m.series, fmt.Sprintf(`{"t":%d,"n":%d}`, m.t, m.n)) == nil {
				l.settle(acknowledged, m)
				return
			}
			pause(ctx)
		}
	})
}

func done(t paho.Token) error {
	if !t.WaitTimeout(patience) {
		return errors.New("no answer")
	}
	return t.Error()
}

func pause(ctx context.Context) {
	select {
	case <-time.After(200 * time.Millisecond):
	case <-ctx.Done():
	}
}

// sendNATS publishes one number after another to a stream until ctx ends.
func sendNATS(ctx context.Context, s sender, js jetstream.JetStream, l *ledger) {
	tick(ctx, s.every, func(time.Time) {
		n := l.count(s.name) + 1
		m := l.next(s.name, strconv.Itoa(n%s.series), 0)
		asking, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		// Never twice, because the stream might then have the number twice.
		if _, err := js.Publish(asking, "torture."+m.series+".n", []byte(strconv.Itoa(m.n))); err == nil {
			l.settle(acknowledged, m)
		} else {
			pause(ctx)
		}
	})
}

// newStream connects to the server and creates the stream.
func newStream(ctx context.Context, address string) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect("nats://"+address, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, begins)
	defer cancel()
	js, err := jetstream.New(nc)
	if err == nil {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "TORTURE", Subjects: []string{"torture.>"}})
	}
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return nc, js, nil
}

// readStream notes the messages that the stream has, with their times.
func readStream(ctx context.Context, js jetstream.JetStream, l *ledger) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // by default each request gets five seconds
	defer cancel()
	s, err := js.Stream(ctx, "TORTURE")
	if err != nil {
		return err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return err
	}
	for n := info.State.FirstSeq; n <= info.State.LastSeq; n++ {
		m, err := s.GetMsg(ctx, n)
		if err != nil {
			return fmt.Errorf("message %d of the stream: %w", n, err)
		}
		if number, err := strconv.Atoi(string(m.Data)); err == nil && strings.HasSuffix(m.Subject, ".n") {
			l.kept(stream, number, m.Time.UnixMilli())
		}
	}
	return nil
}

// poster sends a request with a body.
type poster func(ctx context.Context, path string, body []byte, header http.Header) (status int, answer string, err error)

// pusher sends batches one after another, each until it is stored or refused.
type pusher struct {
	sender
	post   poster
	ledger *ledger
	encode func([]message) (path string, body []byte, header http.Header)
	late   chan []message // batches to be sent in between

	mu       sync.Mutex
	at       time.Time // of the last batch
	sending  bool
	refusal  string         // the last answer that a batch was refused with
	troubles map[string]int // why batches were sent again
}

func newPusher(s sender, post poster, l *ledger) *pusher {
	p := &pusher{sender: s, post: post, ledger: l, encode: remoteWrite, late: make(chan []message, 100), troubles: make(map[string]int)}
	if s.name == lines {
		p.encode = lineProtocol
	}
	return p
}

// run sends a batch for every tick until ctx ends. Ticks that pass while earlier
// batches are not answered yet get their batches later.
func (p *pusher) run(ctx context.Context) {
	at := time.Now().Truncate(p.every)
	for ctx.Err() == nil {
		p.note(at, false)
		select {
		case <-time.After(time.Until(at.Add(p.every))):
			at = at.Add(p.every)
			p.note(at, true)
			p.send(ctx, p.batch(at))
		case batch := <-p.late:
			p.note(at, true)
			p.send(ctx, batch)
		case <-ctx.Done():
		}
	}
}

// note notes up to when batches have been sent, and whether one is being sent.
func (p *pusher) note(at time.Time, sending bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.sending = at, sending
}

// behind returns how many batches wait to be sent.
func (p *pusher) behind() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.late) + int(time.Since(p.at)/p.every)
	if p.sending {
		n++
	}
	return n
}

// batch returns one number for each series, all with the same time.
func (p *pusher) batch(at time.Time) []message {
	batch := make([]message, p.series)
	for i := range batch {
		batch[i] = p.ledger.next(p.name, strconv.Itoa(i), at.UnixMilli())
	}
	return batch
}

// send sends a batch until it is answered for good.
func (p *pusher) send(ctx context.Context, batch []message) {
	for ctx.Err() == nil {
		if good, _, _ := p.try(ctx, batch); good {
			return
		}
		pause(ctx)
	}
}

// try sends a batch once, and reports whether it was answered for good.
func (p *pusher) try(ctx context.Context, batch []message) (good bool, answer string, err error) {
	path, body, header := p.encode(batch)
	p.ledger.trying(batch...)
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	status, answer, err := p.post(asking, path, body, header.Clone())
	switch {
	case err != nil, status == http.StatusTooManyRequests, status >= 500:
		p.trouble(status, answer, err)
		return false, answer, err
	case status/100 == 2:
		p.ledger.settle(acknowledged, batch...)
	default:
		p.ledger.settle(refused, batch...)
		p.mu.Lock()
		p.refusal = fmt.Sprintf("%d %s", status, answer)
		p.mu.Unlock()
	}
	return true, answer, nil
}

func (p *pusher) trouble(status int, answer string, err error) {
	text := fmt.Sprintf("%d %.300s", status, strings.TrimSpace(answer))
	if err != nil {
		text = fmt.Sprintf("%.300s", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.troubles[varying.ReplaceAllString(text, "$1#")]++
}

// varying matches what differs between troubles of the same kind.
var varying = regexp.MustCompile(`(full: |/plugin|forward by |, to )[-\w:]+`)

func remoteWrite(batch []message) (path string, body []byte, header http.Header) {
	bySeries := make(map[string]int)
	var w prompb.WriteRequest
	for _, m := range batch {
		i, ok := bySeries[m.series]
		if !ok {
			i = len(w.Timeseries)
			bySeries[m.series] = i
			w.Timeseries = append(w.Timeseries, prompb.TimeSeries{Labels: []prompb.Label{
				{Name: "__name__", Value: "n"}, {Name: "sender", Value: m.sender}, {Name: "series", Value: m.series},
			}})
		}
		w.Timeseries[i].Samples = append(w.Timeseries[i].Samples, prompb.Sample{Timestamp: m.t, Value: float64(m.n)})
	}
	body, err := w.Marshal()
	if err != nil {
		panic(err) // cannot fail
	}
	return "push/prometheus", snappy.Encode(nil, body), writeHeader
}

var writeHeader = http.Header{
	"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"}, "X-Prometheus-Remote-Write-Version": {"0.1.0"},
}

func lineProtocol(batch []message) (path string, body []byte, header http.Header) {
	for _, m := range batch {
		body = fmt.Appendf(body, "n,sender=%s,series=%s value=%d %d\n", m.sender, m.series, m.n, m.t*1e6)
	}
	return "push/influx", body, http.Header{"Content-Type": {"text/plain"}}
}
