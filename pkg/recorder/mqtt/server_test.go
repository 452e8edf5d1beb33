package mqtt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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

	"github.com/continuum-live/continuum-datasource/pkg/recorder/inputtest"
)

// broker is a broker for tests.
type broker interface {
	inputtest.Server
	// Send publishes a message with QoS 1 and waits until the broker has it.
	Send(t testing.TB, topic, payload string, retain bool)
}

// sender publishes without a goroutine of its own.
type sender struct {
	conn net.Conn
	id   uint16
}

func (s *sender) connect(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
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

func numbered(n int, at time.Time) string {
	return fmt.Sprintf(`{"t":%d,"n":%d}`, at.UnixMilli(), n)
}

// mosquitto is Debian's broker.
type mosquitto struct {
	sender
	address, websocket string
	config             string
	process            *exec.Cmd
	output             bytes.Buffer
}

// startMosquitto starts the broker with more lines of configuration.
func startMosquitto(t testing.TB, more ...string) *mosquitto {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Skip("mosquitto is not installed")
		}
	}
	dir := t.TempDir()
	m := &mosquitto{address: inputtest.Nobody(t), websocket: inputtest.Nobody(t), config: filepath.Join(dir, "mosquitto.conf")}
	passwords := filepath.Join(dir, "passwords")
	if err := os.WriteFile(passwords, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(m.address)
	_, wsPort, _ := net.SplitHostPort(m.websocket)
	lines := append([]string{
		"user root", "persistence true", "persistence_location " + dir + "/", "autosave_interval 1",
		"max_queued_messages 0", "allow_anonymous true", "password_file " + passwords,
		"listener " + port + " " + host,
		"listener " + wsPort + " " + host, "protocol websockets",
	}, more...)
	if err := os.WriteFile(m.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.process = exec.Command(program)
	m.Start(t)
	t.Cleanup(func() {
		m.kill(t, syscall.SIGKILL)
		if t.Failed() {
			t.Log(m.output.String())
		}
	})
	return m
}

func (m *mosquitto) Address() string { return m.address }

func (m *mosquitto) Start(t testing.TB) {
	t.Helper()
	m.process = exec.Command(m.process.Path, "-c", m.config)
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

func (m *mosquitto) kill(t testing.TB, signal syscall.Signal) {
	t.Helper()
	m.close()
	if err := m.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_ = m.process.Wait() // it was killed
}

func (m *mosquitto) Stop(t testing.TB) { m.kill(t, syscall.SIGTERM) }

func (m *mosquitto) Publish(t testing.TB, n int, at time.Time) {
	t.Helper()
	m.Send(t, "plant/1/n", numbered(n, at), false)
}

func (m *mosquitto) Send(t testing.TB, topic, payload string, retain bool) {
	t.Helper()
	m.send(t, m.address, topic, payload, retain)
}

// inProcess is mochi's broker in this process. It remembers nothing when it is
// stopped.
type inProcess struct {
	sender
	address string
	server  *mochi.Server
}

func startInProcess(t testing.TB) *inProcess {
	t.Helper()
	m := &inProcess{address: inputtest.Nobody(t)}
	m.Start(t)
	t.Cleanup(func() { m.Stop(t) })
	return m
}

func (m *inProcess) Address() string { return m.address }

func (m *inProcess) Start(t testing.TB) {
	t.Helper()
	m.server = mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), InlineClient: true})
	ledger := &auth.Ledger{
		Auth: auth.AuthRules{{Username: "nobody", Allow: false}, {Allow: true}},
		ACL:  auth.ACLRules{{Filters: auth.Filters{"secret/#": auth.Deny}}, {Filters: auth.Filters{"#": auth.ReadWrite}}},
	}
	if err := m.server.AddHook(new(auth.Hook), &auth.Options{Ledger: ledger}); err != nil {
		t.Fatal(err)
	}
	inputtest.Eventually(t, func() error {
		return m.server.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: m.address}))
	})
	if err := m.server.Serve(); err != nil {
		t.Fatal(err)
	}
}

func (m *inProcess) Stop(t testing.TB) {
	t.Helper()
	m.close()
	if err := m.server.Close(); err != nil {
		t.Error(err)
	}
}

func (m *inProcess) Publish(t testing.TB, n int, at time.Time) {
	t.Helper()
	m.Send(t, "plant/1/n", numbered(n, at), false)
}

func (m *inProcess) Send(t testing.TB, topic, payload string, retain bool) {
	t.Helper()
	m.send(t, m.address, topic, payload, retain)
}
