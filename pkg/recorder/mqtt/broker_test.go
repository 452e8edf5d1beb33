package mqtt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/internal/broker"
	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

// each runs a test with each version of the protocol, side by side, because it mostly
// waits for a broker.
func each(t *testing.T, test func(t *testing.T, version string)) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, version)
		})
	}
}

// values returns all recorded values by series, in the order of time.
func values(t testing.TB, r *inputtest.Recording) string {
	t.Helper()
	all := r.Samples(t)
	var lines []string
	for _, series := range slices.Sorted(maps.Keys(all)) {
		line := series
		for _, at := range slices.Sorted(maps.Keys(all[series])) {
			line += fmt.Sprint(" ", all[series][at])
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// expect waits until the recorded values are these.
func expect(t testing.TB, r *inputtest.Recording, want ...string) {
	t.Helper()
	inputtest.Eventually(t, func() error {
		if got := values(t, r); got != strings.Join(want, "\n") {
			return fmt.Errorf("recorded:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
		}
		return nil
	})
}

// received waits until the input has received n messages.
func messages(t testing.TB, r *inputtest.Recording, n uint64) recorder.InputStatus {
	t.Helper()
	var st recorder.InputStatus
	inputtest.Eventually(t, func() error {
		if st = r.Input("plant"); st.Messages < n {
			return fmt.Errorf("%d messages of %d", st.Messages, n)
		}
		return nil
	})
	return st
}

func TestRetained(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		m := broker.StartMosquitto(t)
		m.Send(t, "plant/t", "1", true)
		m.Send(t, "plant/u", "2", true)
		proxy := inputtest.NewProxy(t, m.Address())
		defer proxy.Close()
		dir := t.TempDir()
		in := func() recorder.Input {
			return newInput(t, Config{URL: "tcp://" + proxy.Address(), Version: version, Topics: []string{"plant/#"}}, none)
		}
		r := Record(t, dir, in())
		expect(t, r, `{__name__="t", topic="plant/t"} 1`, `{__name__="u", topic="plant/u"} 2`)

		// They do not come again with each connection.
		for range 3 {
			proxy.Cut()
			proxy.Accepted()
			r.Connected(t, "plant")
		}
		m.Send(t, "plant/t", "3", true)
		expect(t, r, `{__name__="t", topic="plant/t"} 1 3`, `{__name__="u", topic="plant/u"} 2`)
		r.Close(t)

		// In version 3.1.1 they do with each start.
		r = Record(t, dir, in())
		defer r.Close(t)
		r.Connected(t, "plant")
		once, twice := `{__name__="t", topic="plant/t"} 1 3`, `{__name__="u", topic="plant/u"} 2`
		if version == "3.1.1" {
			once, twice = once+" 3", twice+" 2"
			expect(t, r, once, twice)
		}
		m.Send(t, "plant/t", "4", false)
		expect(t, r, once+" 4", twice)
	})
}

// What a broker has kept comes at once. All of it is recorded, in order, so that a
// switch which was turned on and off again ends as off.
func TestKeptWhileDown(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		m := broker.StartMosquitto(t)
		dir := t.TempDir()
		in := func() recorder.Input {
			return newInput(t, Config{URL: "tcp://" + m.Address(), Version: version, Topics: []string{"plant/#"}}, none)
		}
		r := Record(t, dir, in())
		r.Connected(t, "plant")
		r.Close(t)
		want := []string{`{__name__="n", topic="plant/n"}`, `{__name__="switch", topic="plant/switch"} 1 0`}
		for n := range 1000 {
			m.Send(t, "plant/n", fmt.Sprint(n), false)
			want[0] += fmt.Sprint(" ", n)
		}
		m.Send(t, "plant/switch", "ON", false)
		m.Send(t, "plant/switch", "OFF", false)
		r = Record(t, dir, in())
		defer r.Close(t)
		messages(t, r, 1002)
		expect(t, r, want...)
	})
}

// Record is inputtest.Record.
func Record(t testing.TB, dir string, in ...recorder.Input) *inputtest.Recording {
	t.Helper()
	return inputtest.Record(t, dir, in...)
}

func TestOverlappingTopics(t *testing.T) {
	for name, b := range map[string]func(testing.TB) broker.Broker{
		"mosquitto": func(t testing.TB) broker.Broker { return broker.StartMosquitto(t) },
		"mochi":     func(t testing.TB) broker.Broker { return broker.StartMochi(t) },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, version string) {
				m := b(t)
				r := Record(t, t.TempDir(), newInput(t, Config{URL: "tcp://" + m.Address(), Version: version,
					Topics: []string{"plant/#", "plant/t", "+/+/x", "other/+/x", "plant/t", "other/y/+"}}, none))
				defer r.Close(t)
				r.Connected(t, "plant")
				for i, topic := range []string{"plant/t", "plant/a/x", "other/y/x"} {
					m.Send(t, topic, fmt.Sprint(i), false)
				}
				want := []string{`{__name__="t", topic="plant/t"} 0`, `{__name__="x", topic="other/y/x"} 2`, `{__name__="x", topic="plant/a/x"} 1`}
				expect(t, r, want...)
				m.Send(t, "plant/t", "7", false)
				want[0] += " 7"
				expect(t, r, want...)
			})
		})
	}
}

// When topics are taken away, the session still has them.
func TestTopicsTakenAway(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		m := broker.StartMosquitto(t)
		in := func(topics ...string) recorder.Input {
			return newInput(t, Config{URL: "tcp://" + m.Address(), Version: version, Topics: topics}, none)
		}
		dir := t.TempDir()
		r := Record(t, dir, in("a/#", "b/+"))
		r.Connected(t, "plant")
		r.Close(t)
		m.Send(t, "a/x", "1", false) // the session gets it all the same
		m.Send(t, "b/x", "2", false)
		r = Record(t, dir, in("b/+"))
		defer r.Close(t)
		expect(t, r, `{__name__="x", topic="b/x"} 2`)
		st := messages(t, r, 2)
		if st.Skipped[notWanted].Count != 1 {
			t.Errorf("skipped: %+v", st.Skipped)
		}
		// Soon the broker sends it no more.
		inputtest.Eventually(t, func() error {
			before := r.Input("plant").Messages
			m.Send(t, "a/x", "1", false)
			m.Send(t, "b/x", "3", false)
			if after := messages(t, r, before+1).Messages; r.Input("plant").Skipped[notWanted].Count+uint64(len(r.Samples(t))) == 0 || after != before+1 {
				return fmt.Errorf("%d more messages", after-before)
			}
			return nil
		})
	})
}

// A message that was recorded, but of whose acknowledgement the broker has not
// heard, is sent again and not recorded again.
func TestRedelivered(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		for _, qos := range []int{1, 2} {
			t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
				m := broker.StartMosquitto(t)
				proxy := inputtest.NewProxy(t, m.Address())
				defer proxy.Close()
				r := Record(t, t.TempDir(), newInput(t, Config{URL: "tcp://" + proxy.Address(), Version: version, QoS: &qos, Topics: []string{"#"}}, none))
				defer r.Close(t)
				r.Connected(t, "plant")
				m.Send(t, "a", "1", false)
				expect(t, r, `{__name__="a", topic="a"} 1`)
				proxy.Mute() // acknowledgements do not reach the broker
				m.Send(t, "a", "2", false)
				m.Send(t, "b", "3", false)
				expect(t, r, `{__name__="a", topic="a"} 1 2`, `{__name__="b", topic="b"} 3`)
				proxy.Cut()
				proxy.Accepted()
				r.Connected(t, "plant")
				m.Send(t, "b", "4", false)
				expect(t, r, `{__name__="a", topic="a"} 1 2`, `{__name__="b", topic="b"} 3 4`)
				t.Logf("%+v", r.Input("plant").Skipped)
			})
		}
	})
}

func TestQoS(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		for qos := range 3 {
			m := broker.StartMosquitto(t)
			r := Record(t, t.TempDir(), newInput(t, Config{URL: "tcp://" + m.Address(), Version: version, QoS: &qos, Topics: []string{"#"}}, none))
			r.Connected(t, "plant")
			for i := range 100 {
				m.Send(t, fmt.Sprint("x", i), "1", false)
			}
			inputtest.Eventually(t, func() error {
				if n := len(r.Samples(t)); n != 100 {
					return fmt.Errorf("%d series with QoS %d", n, qos)
				}
				return nil
			})
			r.Close(t)
		}
	})
}

func TestOneTopicTwice(t *testing.T) {
	m := broker.StartMosquitto(t)
	in := func(name string) recorder.Input {
		return newInput(t, Config{Name: name, URL: "tcp://" + m.Address(), Topics: []string{"plant/t"},
			Rules: message.Rules{Rule: message.Rule{Labels: map[string]string{"input": name, "topic": ""}}}}, none)
	}
	one := Record(t, t.TempDir(), in("a"), in("b"))
	defer one.Close(t)
	two := Record(t, t.TempDir(), in("a"))
	defer two.Close(t)
	for _, name := range []string{"a", "b"} {
		one.Connected(t, name)
	}
	two.Connected(t, "a")
	m.Send(t, "plant/t", "5", false)
	expect(t, one, `{__name__="t", input="a"} 5`, `{__name__="t", input="b"} 5`)
	expect(t, two, `{__name__="t", input="a"} 5`)
	for range 2 {
		m.Send(t, "plant/t", "6", false)
		time.Sleep(time.Millisecond) // two within one are one
	}
	expect(t, one, `{__name__="t", input="a"} 5 6 6`, `{__name__="t", input="b"} 5 6 6`)
	for _, st := range append(one.Status().Inputs, two.Status().Inputs...) {
		if st.Trouble != "" {
			t.Errorf("they are in each other's way: %+v", st)
		}
	}
}

func TestRefusedTopic(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		m := broker.StartMochi(t)
		r := Record(t, t.TempDir(), newInput(t, Config{URL: "tcp://" + m.Address(), Version: version, Topics: []string{"secret/x", "plant/t"}}, none))
		defer r.Close(t)
		trouble := r.Troubled(t, "plant")
		t.Log(trouble)
		if !strings.Contains(trouble, "secret/x") || strings.Contains(trouble, "plant/t") {
			t.Error("it does not say which topic")
		}
		m.Send(t, "plant/t", "1", false) // the others go on
		expect(t, r, `{__name__="t", topic="plant/t"} 1`)
	})
}

func TestClientIDTakenOver(t *testing.T) {
	for name, b := range map[string]func(testing.TB) broker.Broker{
		"mosquitto": func(t testing.TB) broker.Broker { return broker.StartMosquitto(t) },
		"mochi":     func(t testing.TB) broker.Broker { return broker.StartMochi(t) },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, version string) {
				m := b(t)
				in := func() recorder.Input {
					return newInput(t, Config{URL: "tcp://" + m.Address(), Version: version, ClientID: "same", Topics: []string{"plant/t"}}, none)
				}
				one := Record(t, t.TempDir(), in())
				defer one.Close(t)
				one.Connected(t, "plant")
				two := Record(t, t.TempDir(), in())
				defer two.Close(t)
				// Not all brokers say so. It is guessed when it happens again.
				inputtest.Eventually(t, func() error {
					if trouble := one.Input("plant").Trouble; !strings.Contains(trouble, "client ID") {
						return fmt.Errorf("it says %q", trouble)
					}
					return nil
				})
			})
		})
	}
}

// The broker forgets the session when it is killed. The input subscribes again.
func TestBrokerKilled(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		m := broker.StartMosquitto(t, "autosave_interval 1000", "persistence false")
		r := Record(t, t.TempDir(), newInput(t, Config{URL: "tcp://" + m.Address(), Version: version, Topics: []string{"#"}}, none))
		defer r.Close(t)
		want := `{__name__="a", topic="a"}`
		for i := range 2 {
			r.Connected(t, "plant")
			m.Send(t, "a", fmt.Sprint(i), false)
			want += fmt.Sprint(" ", i)
			expect(t, r, want)
			m.Kill(t, syscall.SIGKILL)
			r.Troubled(t, "plant")
			m.Start(t)
		}
		r.Connected(t, "plant")
		m.Send(t, "a", "9", false)
		expect(t, r, want+" 9")
	})
}

// certificates are in PEM.
type certificates struct{ ca, serverCert, serverKey, clientCert, clientKey []byte }

func newCertificates(t testing.TB) certificates {
	t.Helper()
	serial := int64(0)
	sign := func(name string, template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) ([]byte, []byte, *x509.Certificate, *ecdsa.PrivateKey) {
		serial++
		template.SerialNumber, template.Subject = big.NewInt(serial), pkix.Name{CommonName: name}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, parentKey = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), template, key
	}
	var c certificates
	var ca *x509.Certificate
	var caKey *ecdsa.PrivateKey
	c.ca, _, ca, caKey = sign("test CA", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	c.serverCert, c.serverKey, _, _ = sign("broker", &x509.Certificate{DNSNames: []string{"broker.example"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca, caKey)
	c.clientCert, c.clientKey, _, _ = sign("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, caKey)
	return c
}

func TestTLSAndWebSocket(t *testing.T) {
	certs := newCertificates(t)
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tlsAddress, wssAddress := inputtest.Nobody(t), inputtest.Nobody(t)
	listener := func(address string, more ...string) []string {
		_, port, _ := net.SplitHostPort(address)
		return append([]string{"listener " + port + " 127.0.0.1", "cafile " + file("ca.pem", certs.ca),
			"certfile " + file("cert.pem", certs.serverCert), "keyfile " + file("key.pem", certs.serverKey), "require_certificate true"}, more...)
	}
	m := broker.StartMosquitto(t, append(listener(tlsAddress), listener(wssAddress, "protocol websockets")...)...)
	all := map[string]string{"caCert": string(certs.ca), "clientCert": string(certs.clientCert), "clientKey": string(certs.clientKey)}
	without := func(keys ...string) map[string]string {
		some := maps.Clone(all)
		for _, key := range keys {
			delete(some, key)
		}
		return some
	}
	for _, test := range []struct {
		name       string
		url        string
		serverName string
		skipVerify bool
		secrets    map[string]string
		trouble    string
	}{
		{"TLS", "ssl://" + tlsAddress, "broker.example", false, all, ""},
		{"WebSocket", "ws://" + m.WebSocket + "/mqtt", "", false, nil, ""},
		{"WebSocket with TLS", "wss://" + wssAddress, "broker.example", false, all, ""},
		{"any certificate", "mqtts://" + tlsAddress, "", true, without("caCert"), ""},
		{"no CA", "ssl://" + tlsAddress, "broker.example", false, without("caCert"), "signed by an authority that is not known"},
		{"no CA, WebSocket", "wss://" + wssAddress, "broker.example", false, without("caCert"), "signed by an authority that is not known"},
		{"another name", "ssl://" + tlsAddress, "", false, all, "is for another name"},
		{"no client certificate", "ssl://" + tlsAddress, "broker.example", false, without("clientCert", "clientKey"), "client certificate"},
		{"TLS to a port without", "ssl://" + m.Address(), "broker.example", false, all, "check port and scheme"},
		{"no TLS to a port with", "tcp://" + tlsAddress, "", false, nil, "check port and scheme"},
		{"no WebSocket", "ws://" + m.Address(), "", false, nil, "closes the connection at once"},
		{"unknown host", "tcp://broker.invalid", "", false, nil, "the host broker.invalid is not known"},
	} {
		for _, version := range versions { // not side by side: they have one broker
			t.Run(test.name+" "+version, func(t *testing.T) {
				in := newInput(t, Config{URL: test.url, Version: version, Topics: []string{"#"}, ServerName: test.serverName, SkipVerify: test.skipVerify},
					func(key string) string { return test.secrets[key] })
				r := Record(t, t.TempDir(), in)
				defer r.Close(t)
				if test.trouble != "" {
					if trouble := r.Troubled(t, "plant"); !strings.Contains(trouble, test.trouble) {
						t.Errorf("it says %q", trouble)
					}
					return
				}
				r.Connected(t, "plant")
				m.Send(t, "a", "1", false)
				expect(t, r, `{__name__="a", topic="a"} 1`)
			})
		}
	}
}

// What comes with QoS 0 while the store cannot commit is dropped, not waited for.
func TestTooFast(t *testing.T) {
	in := newInput(t, Config{URL: "tcp://localhost", Topics: []string{"#"}}, none).(*Input)
	k := &keeper{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &run{in: in, decoder: message.New(in.rules, "/", k), queue: endpoint.NewQueue[received](waiting, waitingBytes), ended: ctx}
	for range 2 * waiting {
		r.receive(received{topic: "a", payload: []byte("1")})
	}
	for range receiveMaximum {
		r.receive(received{topic: "a", payload: []byte("1"), qos: 1}) // there is room for them
	}
	if n := len(r.queue.Take()); n != waiting+receiveMaximum {
		t.Errorf("%d messages wait", n)
	}
	cancel()
	r.decoder.Run(ctx)
	if got := k.report.Skipped[tooFast].Count; got != waiting {
		t.Errorf("%d dropped", got)
	}
}

// A message that is sent again is recorded once, one that is new is recorded, even
// if the broker says of both that it has sent them before, under the same ID.
func TestDuplicate(t *testing.T) {
	for _, test := range []struct {
		name  string
		acked bool
		after time.Duration // from the acknowledgement to the loss of the connection
		again string        // what comes then
		want  uint64        // redelivered
	}{
		{"not acknowledged", false, time.Hour, "1", 1},
		{"the acknowledgement was lost", true, time.Second, "1", 1},
		{"another payload", true, time.Second, "2", 0},
		{"an equal message that is new", true, time.Minute, "1", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newInput(t, Config{URL: "tcp://localhost", Topics: []string{"#"}}, none).(*Input)
				k := &keeper{}
				r := &run{in: in, silence: new(endpoint.Silence), decoder: message.New(in.rules, "/", k), seen: make(map[uint16]*delivery), seed: maphash.MakeSeed()}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				decode := func() {
					defer close(done)
					r.decoder.Run(ctx) // acknowledges what is committed
				}
				if test.acked {
					go decode()
				}
				m := received{topic: "a", payload: []byte("1"), qos: 1, id: 5, at: time.Now(), ack: func() {}}
				r.handle(m)
				time.Sleep(time.Second)
				r.lost.Store(time.Now().Add(test.after).UnixNano())
				time.Sleep(test.after + time.Second)
				m.duplicate, m.payload, m.at = true, []byte(test.again), time.Now()
				r.handle(m)
				if !test.acked {
					go decode()
				}
				time.Sleep(time.Second)
				cancel()
				<-done
				if got := k.report.Skipped[again].Count; got != test.want {
					t.Errorf("%d are redelivered", got)
				}
			})
		})
	}
}

// Some brokers, as that of AWS, take few topics at once, and hang up on whoever
// sends more.
func TestFilters(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var topics []string
	for i := range 20 {
		topics = append(topics, fmt.Sprint("plant/", i))
	}
	subscribed := make(chan string, len(topics))
	largest := make(chan *uint32, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			p, err := packets5.ReadPacket(conn)
			if err != nil {
				return
			}
			switch c := p.Content.(type) {
			case *packets5.Connect:
				largest <- c.Properties.MaximumPacketSize
				_, _ = (&packets5.Connack{Properties: &packets5.Properties{}}).WriteTo(conn)
			case *packets5.Subscribe:
				if len(c.Subscriptions) > 8 {
					return
				}
				for _, s := range c.Subscriptions {
					subscribed <- s.Topic
				}
				_, _ = (&packets5.Suback{PacketID: c.PacketID, Properties: &packets5.Properties{}, Reasons: make([]byte, len(c.Subscriptions))}).WriteTo(conn)
			}
		}
	}()
	r := Record(t, t.TempDir(), newInput(t, Config{URL: "tcp://" + l.Addr().String(), Topics: topics}, none))
	defer r.Close(t)
	r.Connected(t, "plant")
	if size := <-largest; size == nil || *size != maximumPacket {
		t.Errorf("the largest packet is %v", size)
	}
	if len(subscribed) != len(topics) {
		t.Errorf("%d topics are subscribed to", len(subscribed))
	}
}

// An input that is removed leaves no session behind.
func TestLeave(t *testing.T) {
	each(t, func(t *testing.T, version string) {
		m := broker.StartMochi(t)
		r := Record(t, t.TempDir(), newInput(t, Config{URL: "tcp://" + m.Address(), Version: version, Topics: []string{"#"}}, none))
		defer r.Close(t)
		r.Connected(t, "plant")
		id := r.Sink("plant").Identity()
		if _, ok := m.Server.Clients.Get(id); !ok {
			t.Fatal("there is no session")
		}
		r.Configure(t)
		inputtest.Eventually(t, func() error {
			if _, ok := m.Server.Clients.Get(id); ok {
				return errors.New("the session is still there")
			}
			return nil
		})
	})
}

type keeper struct{ report recorder.Report }

func (k *keeper) CommitEach(context.Context, []recorder.Sample, int64, func(int, error)) error {
	return nil
}
func (k *keeper) Now() time.Time                                       { return time.Now() }
func (k *keeper) Report(r recorder.Report)                             { k.report = r }
func (k *keeper) SetUnits(map[string]string)                           {}
func (k *keeper) States(labels.Labels, string) ([]string, bool, error) { return nil, false, nil }
