// Package broker runs MQTT brokers for tests: mosquitto, which must be installed,
// and mochi, within the test's process.
package broker

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
)

// Broker is a broker for tests.
type Broker interface {
	inputtest.Server
	// Send publishes a message with QoS 1 and waits for the acknowledgement.
	Send(t testing.TB, topic, payload string, retain bool)
}

// sender is a minimal MQTT client that publishes without a goroutine of its own.
type sender struct {
	conn net.Conn
	id   uint16
}

// patience is how long a broker may take to answer on a busy machine.
const patience = time.Minute

func (s *sender) connect(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession, p.ClientIdentifier = "MQTT", 4, true, fmt.Sprintf("sender%d", os.Getpid())
	if err := p.Write(conn); err != nil {
		return err
	}
	ack, err := packets.ReadPacket(conn)
	if err != nil {
		return err
	}
	if c, ok := ack.(*packets.ConnackPacket); !ok || c.ReturnCode != 0 {
		return fmt.Errorf("the broker answers %v", ack)
	}
	s.conn = conn
	return nil
}

func (s *sender) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

func (s *sender) packet(topic, payload string, retain bool) *packets.PublishPacket {
	s.id = max(s.id+1, 1)
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos, p.Retain, p.MessageID = topic, []byte(payload), 1, retain, s.id
	return p
}

func (s *sender) send(t testing.TB, address, topic, payload string, retain bool) {
	t.Helper()
	if s.conn == nil {
		inputtest.Eventually(t, func() error { return s.connect(address) })
	}
	if err := s.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if err := s.packet(topic, payload, retain).Write(s.conn); err != nil {
		t.Fatal(err)
	}
	ack, err := packets.ReadPacket(s.conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := ack.(*packets.PubackPacket); !ok {
		t.Fatalf("the broker answers %v", ack)
	}
}

// Numbered returns a JSON payload with a number and its time.
func Numbered(n int, at time.Time) string {
	return fmt.Sprintf(`{"t":%d,"n":%d}`, at.UnixMilli(), n)
}

// Mosquitto is the broker of Debian's package mosquitto.
type Mosquitto struct {
	sender
	// WebSocket is host:port of the listener for WebSockets.
	WebSocket string
	address   string
	command   []string
	process   *exec.Cmd
	output    bytes.Buffer
}

// ErrNoMosquitto says that the broker is not there.
var ErrNoMosquitto = errors.New("mosquitto is not installed")

// MosquittoCommand writes the configuration of a broker that listens at the address
// and keeps in dir what it has when it ends, with more lines. It returns what starts
// the broker, or ErrNoMosquitto.
func MosquittoCommand(address, dir string, more ...string) (command []string, err error) {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil { // where Debian has it
			return nil, ErrNoMosquitto
		}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	lines := append([]string{
		"user root", "persistence true", "persistence_location " + dir + "/", "max_queued_messages 0",
		"allow_anonymous true", "listener " + port + " " + host,
	}, more...)
	config := filepath.Join(dir, "mosquitto.conf")
	return []string{program, "-c", config}, errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

// StartMosquitto starts the broker. more are additional lines of its configuration.
// Without mosquitto the test is skipped, but it fails in continuous integration.
func StartMosquitto(t testing.TB, more ...string) *Mosquitto {
	t.Helper()
	dir := t.TempDir()
	m := &Mosquitto{address: inputtest.Nobody(t), WebSocket: inputtest.Nobody(t)}
	passwords := filepath.Join(dir, "passwords")
	if err := os.WriteFile(passwords, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(m.WebSocket)
	var err error
	m.command, err = MosquittoCommand(m.address, dir, append([]string{
		"listener " + port + " " + host, "protocol websockets", "autosave_interval 1", "password_file " + passwords,
	}, more...)...)
	if errors.Is(err, ErrNoMosquitto) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.Start(t)
	t.Cleanup(func() {
		m.Kill(t, syscall.SIGKILL)
		if t.Failed() {
			t.Log(m.output.String())
		}
	})
	return m
}

// Address implements inputtest.Server.
func (m *Mosquitto) Address() string { return m.address }

// Start implements inputtest.Server.
func (m *Mosquitto) Start(t testing.TB) {
	t.Helper()
	m.process = exec.Command(m.command[0], m.command[1:]...)
	m.process.Stdout, m.process.Stderr = &m.output, &m.output
	if err := m.process.Start(); err != nil {
		t.Fatal(err)
	}
	inputtest.Eventually(t, func() error {
		c, err := net.Dial("tcp", m.address)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// Kill sends the broker a signal and waits until it has ended.
func (m *Mosquitto) Kill(t testing.TB, signal syscall.Signal) {
	t.Helper()
	m.close()
	if err := m.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_ = m.process.Wait() // it was killed
}

// Stop implements inputtest.Server.
func (m *Mosquitto) Stop(t testing.TB) { m.Kill(t, syscall.SIGTERM) }

// Publish implements inputtest.Server.
func (m *Mosquitto) Publish(t testing.TB, n int, at time.Time) {
	t.Helper()
	m.Send(t, "plant/1/n", Numbered(n, at), false)
}

// Send implements Broker.
func (m *Mosquitto) Send(t testing.TB, topic, payload string, retain bool) {
	t.Helper()
	m.send(t, m.address, topic, payload, retain)
}

// Mochi is a mochi broker in this process. It loses all sessions when it is stopped.
type Mochi struct {
	sender
	address string
	// Server is the broker itself.
	Server *mochi.Server
}

// StartMochi starts the broker.
func StartMochi(t testing.TB) *Mochi {
	t.Helper()
	m := &Mochi{address: inputtest.Nobody(t)}
	m.Start(t)
	t.Cleanup(func() { m.Stop(t) })
	return m
}

// Address implements inputtest.Server.
func (m *Mochi) Address() string { return m.address }

// Start implements inputtest.Server.
func (m *Mochi) Start(t testing.TB) {
	t.Helper()
	inputtest.Eventually(t, func() (err error) {
		m.Server, err = ServeMochi(m.address)
		return err
	})
}

// ServeMochi starts a broker in this process. It refuses the user nobody, and gives
// no one what is below secret.
func ServeMochi(address string) (*mochi.Server, error) {
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler), InlineClient: true})
	ledger := &auth.Ledger{
		Auth: auth.AuthRules{{Username: "nobody", Allow: false}, {Allow: true}},
		ACL:  auth.ACLRules{{Filters: auth.Filters{"secret/#": auth.Deny}}, {Filters: auth.Filters{"#": auth.ReadWrite}}},
	}
	if err := s.AddHook(new(auth.Hook), &auth.Options{Ledger: ledger}); err != nil {
		return nil, err
	}
	if err := s.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: address})); err != nil {
		return nil, err
	}
	return s, s.Serve()
}

// Stop implements inputtest.Server.
func (m *Mochi) Stop(t testing.TB) {
	t.Helper()
	m.close()
	if err := m.Server.Close(); err != nil {
		t.Error(err)
	}
}

// Publish implements inputtest.Server.
func (m *Mochi) Publish(t testing.TB, n int, at time.Time) {
	t.Helper()
	m.Send(t, "plant/1/n", Numbered(n, at), false)
}

// Send implements Broker.
func (m *Mochi) Send(t testing.TB, topic, payload string, retain bool) {
	t.Helper()
	m.send(t, m.address, topic, payload, retain)
}
