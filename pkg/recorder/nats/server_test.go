package nats

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsServer is a server in this process. Publish goes to the subject
// plant.number, which is kept if there is a stream.
type natsServer struct {
	opts   *server.Options
	stream string

	s    *server.Server
	conn *nats.Conn
	js   jetstream.JetStream
}

// start starts a server with the given options, and the stream PLANT if it has
// JetStream.
func start(t testing.TB, change func(*server.Options)) *natsServer {
	t.Helper()
	s := &natsServer{opts: &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, StoreDir: t.TempDir()}}
	if change != nil {
		change(s.opts)
	}
	if s.opts.JetStream {
		s.stream = "PLANT"
	}
	s.Start(t)
	s.opts.Port = s.s.Addr().(*net.TCPAddr).Port // the same after a restart
	t.Cleanup(func() { s.Stop(t) })
	return s
}

func withJetStream(o *server.Options) { o.JetStream = true }

// Address implements inputtest.Server.
func (s *natsServer) Address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.opts.Port))
}

// Start implements inputtest.Server.
func (s *natsServer) Start(t testing.TB) {
	t.Helper()
	var err error
	if s.s, err = server.NewServer(s.opts.Clone()); err != nil {
		t.Fatal(err)
	}
	s.s.Start()
	if !s.s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	s.conn, s.js = nil, nil
	if s.stream != "" {
		s.create(t, jetstream.StreamConfig{})
	}
}

// create makes the stream, with what the given settings have.
func (s *natsServer) create(t testing.TB, c jetstream.StreamConfig) {
	t.Helper()
	s.connect(t)
	c.Name, c.Subjects = s.stream, []string{"plant.>"}
	// In one go with the directory: what a restarted server finds is its own.
	if _, err := s.js.CreateStream(t.Context(), c); err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		t.Fatal(err)
	}
}

func (s *natsServer) connect(t testing.TB) {
	t.Helper()
	if s.conn != nil {
		return
	}
	var err error
	if s.conn, err = nats.Connect("", nats.InProcessServer(s.s)); err != nil {
		t.Fatal(err)
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		t.Fatal(err)
	}
}

// Stop implements inputtest.Server.
func (s *natsServer) Stop(testing.TB) {
	if s.conn != nil {
		s.conn.Close()
	}
	s.s.Shutdown()
	s.s.WaitForShutdown()
}

// Publish implements inputtest.Server. A stream has a time of its own, so no two
// messages come to it within one millisecond.
func (s *natsServer) Publish(t testing.TB, n int, at time.Time) {
	t.Helper()
	s.connect(t)
	if s.stream == "" {
		if err := s.conn.Publish("plant.number", fmt.Appendf(nil, `{"number":%d,"t":%d}`, n, at.UnixMilli())); err != nil {
			t.Fatal(err)
		}
		if err := s.conn.Flush(); err != nil {
			t.Fatal(err)
		}
		return
	}
	if _, err := s.js.Publish(t.Context(), "plant.number", strconv.AppendInt(nil, int64(n), 10)); err != nil {
		t.Fatal(err)
	}
	nextMillisecond()
}

// nextMillisecond returns when the clock shows another millisecond.
func nextMillisecond() {
	for begin := time.Now().UnixMilli(); time.Now().UnixMilli() == begin; {
		time.Sleep(100 * time.Microsecond)
	}
}

func (s *natsServer) purge(t testing.TB) {
	t.Helper()
	stream, err := s.js.Stream(t.Context(), s.stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
}
