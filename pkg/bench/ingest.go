package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	mqttclient "github.com/eclipse/paho.mqtt.golang"
	"github.com/golang/snappy"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

const (
	messages = 250_000 // in a run
	sensors  = 1000    // topics, and series
	turns    = 3
	// ahead is how many messages may be published but not received: brokers drop
	// more. Messages that nobody acknowledges are committed as soon as there are
	// 5000, or after 100 ms: with fewer under way the rate would be that of waiting.
	ahead = 20_000
	batch = 1000 // samples in a pushed request, and in a commit of the bare TSDB
)

// counter returns how many messages have been received.
type counter func() (uint64, error)

// broker is a broker with what a measurement needs.
type broker struct {
	// input is the plugin's input for this broker, in JSON.
	input string
	// bare starts a client that only counts messages, until stop is called.
	bare func() (come counter, stop func(), err error)
	// stored says that all messages are published before a client receives them.
	stored bool
	// publish sends message i.
	publish func(i int) error
	// flush waits until the broker has all published messages.
	flush func() error
	close func()
}

// ingest measures how many messages per second each input records.
func ingest(ctx context.Context, dir string) (table, error) {
	t := table{
		Title: "Ingest",
		Text: fmt.Sprintf("%d messages of one number for %d series, as fast as they are taken. *Bare client*: what the same broker delivers to a client that only counts. "+
			"*Bare TSDB*: Prometheus' TSDB, filled directly in commits of %d samples. Push has no broker: its requests of %d samples are measured beside the TSDB. "+
			"Broker and sender share the machine with the plugin.", messages, sensors, batch, batch),
		Columns: []string{"input", "messages/s", "stored", "bare client, messages/s", "ratio", "bare TSDB, samples/s", "ratio"},
	}
	type named struct {
		name string
		open func(context.Context, string) (*broker, error) // nil for push
	}
	run := 0
	newFolder := func() string {
		run++
		return filepath.Join(dir, strconv.Itoa(run))
	}
	for _, in := range []named{
		{"mqtt (QoS 0)", openMQTT}, {"nats", openNATS}, {"jetstream", openJetStream}, {"websocket", openWebSocket},
		{"push, line protocol", nil}, {"push, remote write", nil},
	} {
		var ours, bare, alone, ratios, ratiosAlone, stored []float64
		for range turns {
			r := newFolder()
			a, err := appended(ctx, r)
			if err != nil {
				return t, err
			}
			var b, o, s float64
			if in.open == nil {
				o, s, err = pushed(ctx, newFolder(), in.name)
			} else if b, err = delivered(ctx, newFolder(), in.open); err == nil {
				o, s, err = recorded(ctx, newFolder(), in.open)
			}
			if err != nil {
				return t, fmt.Errorf("%s: %w", in.name, err)
			}
			ours, bare, alone, stored = append(ours, o), append(bare, b), append(alone, a), append(stored, s)
			ratios, ratiosAlone = append(ratios, o/b), append(ratiosAlone, o/a)
		}
		cells := []string{in.name, thousands(median(ours)), fmt.Sprintf("%.1f %%", 100*median(stored)), "", "", thousands(median(alone)), ratio(median(ratiosAlone))}
		if in.open != nil {
			cells[3], cells[4] = thousands(median(bare)), ratio(median(ratios))
			t.Bars = append(t.Bars, bar{in.name + ": rate beside a bare client", median(ratios)})
		} else {
			t.Bars = append(t.Bars, bar{in.name + ": rate beside a bare TSDB", median(ratiosAlone)})
		}
		t.add(cells...)
	}
	return t, nil
}

// appended returns how many samples per second a bare TSDB takes.
func appended(ctx context.Context, dir string) (rate float64, err error) {
	db, err := tsdb.Open(dir, slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	refs := make([]storage.SeriesRef, sensors)
	all := make([]labels.Labels, sensors)
	for i := range all {
		all[i] = labels.FromStrings("__name__", "temperature", "n", strconv.Itoa(i))
	}
	began := time.Now()
	for i := 0; i < messages; {
		app := db.Appender(ctx)
		for range batch {
			s := i % sensors
			if refs[s], err = app.Append(refs[s], all[s], began.UnixMilli()+int64(i/sensors), value(i)); err != nil {
				return 0, err
			}
			i++
		}
		if err := app.Commit(); err != nil {
			return 0, err
		}
	}
	return messages / time.Since(began).Seconds(), nil
}

func value(i int) float64 { return float64(i%1000) / 10 }

// delivered returns how many messages per second the broker delivers.
func delivered(ctx context.Context, dir string, open func(context.Context, string) (*broker, error)) (float64, error) {
	b, err := open(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer b.close()
	var stop func()
	rate, err := b.run(ctx, func() (come counter, err error) {
		come, stop, err = b.bare()
		return come, err
	})
	if stop != nil {
		stop()
	}
	return rate, err
}

// recorded returns how many messages per second the plugin records, and the share of
// them whose sample is stored.
func recorded(ctx context.Context, dir string, open func(context.Context, string) (*broker, error)) (rate, stored float64, err error) {
	b, err := open(ctx, filepath.Join(dir, "broker"))
	if err != nil {
		return 0, 0, err
	}
	defer b.close()
	var p *plugin
	rate, err = b.run(ctx, func() (counter, error) {
		if p, err = start(programs.Plugin, filepath.Join(dir, "stores"), fmt.Sprintf(`{"source":"recorder","recorder":{"noHost":true,"inputs":[%s]}}`, b.input)); err != nil {
			return nil, err
		}
		for began := time.Now(); ; {
			s, err := p.status(ctx)
			if err != nil {
				return nil, err
			}
			if s.State.Connected() {
				return func() (uint64, error) {
					s, err := p.status(ctx)
					return s.Messages, err
				}, nil
			}
			if time.Since(began) > time.Minute {
				return nil, fmt.Errorf("the input has not connected: %s", s.Trouble)
			}
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return nil, err
			}
		}
	})
	if p == nil {
		return 0, 0, err
	}
	defer p.Stop()
	if err != nil {
		return 0, 0, err
	}
	stored, err = p.stored(ctx)
	return rate, stored, err
}

// run publishes all messages and returns how many were received per second.
func (b *broker) run(ctx context.Context, receive func() (counter, error)) (rate float64, err error) {
	publish := func(room func(sent uint64) error) error {
		for i := range messages {
			if err := room(uint64(i)); err != nil {
				return err
			}
			if err := b.publish(i); err != nil {
				return err
			}
		}
		return b.flush()
	}
	if b.stored {
		if err := publish(func(uint64) error { return nil }); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	come, err := receive()
	if err != nil {
		return 0, err
	}
	var got uint64
	wait := func(sent uint64) error { // until at most ahead messages are under way
		for sent > got+ahead || sent == messages && got < messages {
			if got, err = come(); err != nil {
				return err
			}
			if time.Since(began) > 2*time.Minute {
				return fmt.Errorf("%d of %d messages have come", got, messages)
			}
			if err := sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	}
	if !b.stored {
		began = time.Now()
		if err := publish(wait); err != nil {
			return 0, err
		}
	}
	err = wait(messages)
	return messages / time.Since(began).Seconds(), err
}

// inputStatus is the part of an input's status that is used here.
type inputStatus struct {
	State    recorder.State
	Trouble  string
	Messages uint64
	Samples  uint64
}

func (p *plugin) status(ctx context.Context) (inputStatus, error) {
	w := httptest.NewRecorder()
	if err := p.Resource(p.context, "status", w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)); err != nil {
		return inputStatus{}, err
	}
	var s struct{ Inputs []inputStatus }
	// The store may not be open yet, which is an error or no input.
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || len(s.Inputs) == 0 {
		return inputStatus{Trouble: w.Body.String()}, nil //nolint:nilerr // it is trouble that passes
	}
	return s.Inputs[0], nil
}

// stored returns the share of the messages that is stored, once it does not grow any
// more.
func (p *plugin) stored(ctx context.Context) (float64, error) {
	for last := uint64(0); ; {
		s, err := p.status(ctx)
		if err != nil || s.Samples == last && last > 0 {
			return float64(s.Samples) / messages, err
		}
		last = s.Samples
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// pushed returns how many samples per second the plugin accepts in push requests,
// and the share of them that is stored.
func pushed(ctx context.Context, dir, name string) (rate, stored float64, err error) {
	p, err := start(programs.Plugin, dir, `{"source":"recorder","recorder":{"noHost":true,"inputs":[{"type":"push","name":"pushed","samplesPerSecond":10000000}]}}`)
	if err != nil {
		return 0, 0, err
	}
	defer p.Stop()
	if err := p.push(ctx, "influx", []byte(fmt.Sprintf("begun value=1 %d\n", time.Now().UnixNano()))); err != nil {
		return 0, 0, err
	}
	begin := time.Now().Add(-time.Second).UnixMilli()
	var bodies [][]byte
	for i := 0; i < messages; i += batch {
		at := begin + int64(i/sensors)
		if strings.HasSuffix(name, "line protocol") {
			bodies = append(bodies, influxBody(i, at))
			continue
		}
		body, err := remoteWriteBody(i, at)
		if err != nil {
			return 0, 0, err
		}
		bodies = append(bodies, body)
	}
	began := time.Now()
	for _, body := range bodies {
		if strings.HasSuffix(name, "line protocol") {
			err = p.push(ctx, "influx", body)
		} else {
			err = p.push(ctx, "prometheus", body, "Content-Encoding", "snappy", "Content-Type", "application/x-protobuf")
		}
		if err != nil {
			return 0, 0, err
		}
	}
	rate = messages / time.Since(began).Seconds()
	stored, err = p.stored(ctx)
	return rate, min(stored, 1), err
}

func influxBody(first int, at int64) []byte {
	var b bytes.Buffer
	for i := first; i < first+batch; i++ {
		fmt.Fprintf(&b, "temperature,n=%d value=%g %d000000\n", i%sensors, value(i), at)
	}
	return b.Bytes()
}

func remoteWriteBody(first int, at int64) ([]byte, error) {
	var w prompb.WriteRequest
	for i := first; i < first+batch; i++ {
		w.Timeseries = append(w.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "temperature"}, {Name: "n", Value: strconv.Itoa(i % sensors)}},
			Samples: []prompb.Sample{{Timestamp: at, Value: value(i)}},
		})
	}
	b, err := w.Marshal()
	return snappy.Encode(nil, b), err
}

func payload(i int) []byte { return fmt.Appendf(nil, `{"temperature":%g}`, value(i)) }

func openMQTT(context.Context, string) (*broker, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumClientWritesPending = 2 * ahead
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler), InlineClient: true, Capabilities: capabilities})
	if err := errors.Join(s.AddHook(new(auth.AllowHook), nil), s.AddListener(listeners.NewNet("tcp", l)), s.Serve()); err != nil {
		return nil, err
	}
	url := "tcp://" + l.Addr().String()
	return &broker{
		input: fmt.Sprintf(`{"type":"mqtt","name":"in","url":%q,"topics":["plant/#"],"qos":0}`, url),
		bare: func() (counter, func(), error) {
			var n atomic.Uint64
			c := mqttclient.NewClient(mqttclient.NewClientOptions().AddBroker(url).SetClientID("bare").SetOrderMatters(true))
			token := c.Connect()
			token.Wait()
			if err := token.Error(); err != nil {
				return nil, nil, err
			}
			token = c.Subscribe("plant/#", 0, func(mqttclient.Client, mqttclient.Message) { n.Add(1) })
			token.Wait()
			return counting(&n), func() { c.Disconnect(0) }, token.Error()
		},
		publish: func(i int) error { return s.Publish(fmt.Sprint("plant/", i%sensors), payload(i), false, 0) },
		flush:   func() error { return nil },
		close:   func() { _ = s.Close() }, // errors do not matter any more
	}, nil
}

func counting(n *atomic.Uint64) counter { return func() (uint64, error) { return n.Load(), nil } }

// startNATS starts a server and connects to it.
func startNATS(o *server.Options) (url string, nc *nats.Conn, stop func(), err error) {
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(o)
	if err != nil {
		return "", nil, nil, err
	}
	s.Start()
	shutdown := func() {
		s.Shutdown()
		s.WaitForShutdown()
	}
	if !s.ReadyForConnections(time.Minute) {
		shutdown()
		return "", nil, nil, errors.New("the NATS server is not ready after a minute")
	}
	if nc, err = nats.Connect(s.ClientURL()); err != nil {
		shutdown()
		return "", nil, nil, err
	}
	return s.ClientURL(), nc, func() {
		nc.Close()
		shutdown()
	}, nil
}

func openNATS(context.Context, string) (*broker, error) {
	url, nc, stop, err := startNATS(&server.Options{})
	if err != nil {
		return nil, err
	}
	return &broker{
		input: fmt.Sprintf(`{"type":"nats","name":"in","url":%q,"subjects":["plant.>"]}`, url),
		bare: func() (counter, func(), error) {
			c, err := nats.Connect(url)
			if err != nil {
				return nil, nil, err
			}
			var n atomic.Uint64
			if _, err := c.Subscribe("plant.>", func(*nats.Msg) { n.Add(1) }); err != nil {
				return nil, c.Close, err
			}
			return counting(&n), c.Close, c.Flush()
		},
		publish: func(i int) error { return nc.Publish(fmt.Sprint("plant.", i%sensors), payload(i)) },
		flush:   nc.Flush,
		close:   stop,
	}, nil
}

func openJetStream(ctx context.Context, dir string) (*broker, error) {
	url, nc, stop, err := startNATS(&server.Options{JetStream: true, StoreDir: dir})
	if err != nil {
		return nil, err
	}
	refused := make(chan error, 1)
	// The server drops what it has not stored yet beyond 10,000 messages.
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(5000), jetstream.WithPublishAsyncErrHandler(
		func(_ jetstream.JetStream, _ *nats.Msg, err error) {
			select {
			case refused <- err:
			default: // the first will do
			}
		}))
	if err == nil {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "PLANT", Subjects: []string{"plant.>"}})
	}
	if err != nil {
		stop()
		return nil, err
	}
	return &broker{
		input: fmt.Sprintf(`{"type":"nats","name":"in","url":%q,"stream":"PLANT"}`, url),
		bare: func() (counter, func(), error) {
			consumer, err := js.CreateConsumer(ctx, "PLANT", jetstream.ConsumerConfig{Durable: "bare", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: ahead})
			if err != nil {
				return nil, nil, err
			}
			var n atomic.Uint64
			c, err := consumer.Consume(func(m jetstream.Msg) {
				_ = m.Ack() // a lost acknowledgement makes the message count twice
				n.Add(1)
			})
			if err != nil {
				return nil, nil, err
			}
			return counting(&n), c.Stop, nil
		},
		stored: true,
		publish: func(i int) error {
			_, err := js.PublishAsync(fmt.Sprint("plant.", i%sensors), payload(i), jetstream.WithStallWait(time.Minute))
			return err
		},
		flush: func() error {
			select {
			case <-js.PublishAsyncComplete():
			case <-time.After(time.Minute):
				return errors.New("the server has not taken the messages within a minute")
			}
			select {
			case err := <-refused:
				return fmt.Errorf("the server has not taken all messages: %w", err)
			default:
				return nil
			}
		},
		close: stop,
	}, nil
}

func openWebSocket(ctx context.Context, _ string) (*broker, error) {
	clients := make(chan *websocket.Conn, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			fmt.Fprintln(os.Stderr, "websocket:", err)
			return
		}
		clients <- c
		_, _, _ = c.Reader(ctx) // the client sends nothing; wait for its end
	}))
	url := "ws" + strings.TrimPrefix(s.URL, "http")
	var client *websocket.Conn
	return &broker{
		input: fmt.Sprintf(`{"type":"websocket","name":"in","url":%q}`, url),
		bare: func() (counter, func(), error) {
			c, _, err := websocket.Dial(ctx, url, nil) //nolint:bodyclose // there is none after an upgrade
			if err != nil {
				return nil, nil, err
			}
			var n atomic.Uint64
			go func() {
				for {
					_, r, err := c.Reader(ctx)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, r); err != nil {
						return
					}
					n.Add(1)
				}
			}()
			return counting(&n), func() { _ = c.CloseNow() }, nil
		},
		publish: func(i int) error {
			if client == nil {
				client = <-clients
			}
			return client.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"sensor%d":%g}`, i%sensors, value(i)))
		},
		flush: func() error { return nil },
		close: func() {
			if client != nil {
				_ = client.CloseNow()
			}
			s.CloseClientConnections()
			s.Close()
		},
	}, nil
}
