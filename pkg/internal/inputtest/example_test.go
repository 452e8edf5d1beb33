package inputtest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

// docs/new-input.md has what stands between here and the server.

// Lines records the lines that a TCP server sends, each a message.
type Lines struct {
	name, address string
	rules         message.Rules
}

// Name implements recorder.Input.
func (l Lines) Name() string { return l.name }

// Version implements recorder.Input: what the settings are, for all that differs.
func (l Lines) Version() string {
	return endpoint.Version([]any{l.address, l.rules}, func(string) string { return "" }, nil)
}

// Run implements recorder.Input.
func (l Lines) Run(ctx context.Context, sink *recorder.Sink) {
	// A panic in one of the group's goroutines ends all of them, and becomes the
	// trouble of this input alone.
	group, ctx := panics.NewGroup(ctx)
	decoder := message.New(l.rules, "/", sink)
	queue := endpoint.NewQueue[line](1000, 1<<20)
	group.Go(func() { decoder.Run(ctx) }) // commits what was decoded
	group.Go(func() {
		for {
			select {
			case <-queue.Some():
			case <-ctx.Done():
				return
			}
			for _, m := range queue.Take() {
				decoder.Add(l.name, []byte(m.text), m.at, false, nil)
			}
		}
	})
	peer := endpoint.Peer{Kind: "a server of lines", Host: l.address, Patience: 10 * time.Second}
	group.Do(func() {
		endpoint.Reconnect(ctx, sink, func(ctx context.Context) (connected bool, err error) {
			return l.connection(ctx, sink, decoder, queue)
		}, func(f endpoint.Failure) (string, endpoint.Cause) {
			return peer.Explain(f.Err, f.Connected), endpoint.Unreachable
		})
	})
	group.Wait()
}

type line struct {
	text string
	at   time.Time
}

// connection reads lines until the connection is lost.
func (l Lines) connection(ctx context.Context, sink *recorder.Sink, decoder *message.Decoder, queue *endpoint.Queue[line]) (connected bool, err error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	c, err := dialer.DialContext(ctx, "tcp", l.address)
	if err != nil {
		return false, err
	}
	// Closing is what ends a reading that waits.
	closed := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() {
		closed()
		_ = c.Close()
	}()
	lines := bufio.NewScanner(c)
	lines.Buffer(nil, 64<<10)
	if !lines.Scan() { // the server says hello, so that a silent one is told from one that has nothing to say
		return false, errors.Join(lines.Err(), io.ErrUnexpectedEOF)
	}
	sink.Trouble("")
	for lines.Scan() {
		if text := lines.Text(); !queue.Offer(line{text, time.Now()}, len(text)) {
			decoder.Skip(l.name, []byte(text), "came faster than it could be stored", nil)
		}
	}
	return true, errors.Join(lines.Err(), io.ErrUnexpectedEOF)
}

// server sends what is published to all who are connected.
type server struct {
	address string

	mu       sync.Mutex
	listener net.Listener
	clients  map[net.Conn]bool
	running  sync.WaitGroup
}

func (s *server) Address() string { return s.address }

func (s *server) Start(t testing.TB) {
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.address, s.listener, s.clients = l.Addr().String(), l, make(map[net.Conn]bool)
	s.mu.Unlock()
	s.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := fmt.Fprintln(c, "hello"); err != nil {
				continue
			}
			s.mu.Lock()
			s.clients[c] = true
			s.mu.Unlock()
		}
	})
}

func (s *server) Stop(testing.TB) {
	_ = s.listener.Close()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		_ = c.Close()
	}
}

func (s *server) Publish(_ testing.TB, n int, _ time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		_, _ = fmt.Fprintln(c, n) // a client that is gone misses it
	}
}

func TestLines(t *testing.T) {
	s := &server{address: "127.0.0.1:0"}
	s.Start(t)
	defer s.Stop(t)
	inputtest.Run(t, inputtest.Suite{Server: s, Input: func(_ testing.TB, address string) recorder.Input {
		return Lines{name: "lines", address: address}
	}})
}

// The code in the documentation is the code that is tested.
func TestExampleIsDocumented(t *testing.T) {
	code, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(code), "// docs/new-input.md has what stands between here and the server.\n\n")
	example, _, _ = strings.Cut(example, "\n// server sends what is published")
	doc, err := os.ReadFile("../../../docs/new-input.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```go\n"+example+"```\n") {
		t.Error("docs/new-input.md has another example")
	}
}
