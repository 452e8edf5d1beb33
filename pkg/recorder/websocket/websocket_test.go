package websocket

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	. "github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

// server sends what is published to all its clients.
type server struct {
	address string
	http    *http.Server
	ended   chan struct{}

	mu      sync.Mutex
	clients *clients // since the last start
	// first are the first messages of clients, headers what they came with.
	first   chan string
	headers chan http.Header
	// refuse is the status that clients are refused with, 0 to take them.
	refuse int
	// silent: it says nothing, not even that it hears.
	silent bool
}

// clients are those of one start of the server.
type clients struct {
	stopped bool
	open    map[*websocket.Conn]bool
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{address: "127.0.0.1:0", first: make(chan string, 100), headers: make(chan http.Header, 100)}
	s.Start(t)
	t.Cleanup(func() { s.Stop(t) })
	return s
}

func (s *server) Address() string { return s.address }

func (s *server) Start(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	mine := &clients{open: make(map[*websocket.Conn]bool)}
	s.mu.Lock()
	s.clients = mine
	s.mu.Unlock()
	s.http = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(mine, w, r) }), ReadHeaderTimeout: time.Minute}
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = s.http.Serve(l) // until it is closed
	}()
}

func (s *server) Stop(testing.TB) {
	_ = s.http.Close()
	<-s.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients.stopped = true
	for c := range s.clients.open {
		_ = c.CloseNow()
	}
}

// ServeHTTP serves where another server stands in front.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	mine := s.clients
	s.mu.Unlock()
	s.serve(mine, w, r)
}

func (s *server) serve(mine *clients, w http.ResponseWriter, r *http.Request) {
	select {
	case s.headers <- r.Header:
	default:
	}
	if r.Header.Get("X-Key") == "wrong" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	refuse, silent := s.refuse, s.silent
	s.mu.Unlock()
	if refuse != 0 {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(refuse)
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	s.mu.Lock()
	stopped := mine.stopped
	mine.open[c] = true
	s.mu.Unlock()
	if stopped {
		return
	}
	if silent {
		<-r.Context().Done()
		return
	}
	for {
		_, b, err := c.Read(context.Background())
		if err != nil {
			s.mu.Lock()
			delete(mine.open, c)
			s.mu.Unlock()
			return
		}
		s.first <- string(b)
	}
}

func (s *server) Publish(t testing.TB, n int, at time.Time) {
	t.Helper()
	s.send(t, websocket.MessageText, fmt.Appendf(nil, `{"number":%d,"t":%d}`, n, at.UnixMilli()))
}

// send sends to all clients, once there is one.
func (s *server) send(t testing.TB, kind websocket.MessageType, b []byte) {
	t.Helper()
	Eventually(t, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.clients.open) == 0 {
			return fmt.Errorf("there are no clients")
		}
		for c := range s.clients.open {
			if err := c.Write(context.Background(), kind, b); err != nil {
				delete(s.clients.open, c) // it has gone
			}
		}
		return nil
	})
}

func none(string) string { return "" }

func headers(all map[string]string) func(string) string {
	return func(key string) string {
		if key != "headers" {
			return ""
		}
		b, err := json.Marshal(all)
		if err != nil {
			panic(err)
		}
		return string(b)
	}
}

func newInput(t testing.TB, c Config, secret func(string) string) recorder.Input {
	t.Helper()
	c.Name = "plant"
	in, err := New(c, secret)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestConformance(t *testing.T) {
	Run(t, Suite{
		Server: newServer(t),
		Input: func(t testing.TB, address string) recorder.Input {
			return newInput(t, Config{URL: "ws://" + address + "/live?token=geheim", Rules: message.Rules{Rule: message.Rule{TimeKey: "t"}}}, none)
		},
		Refused: func(t testing.TB, address string) (recorder.Input, string) {
			return newInput(t, Config{URL: "ws://" + address + "/live?token=geheim"}, headers(map[string]string{"X-Key": "wrong"})), "geheim"
		},
	})
}

func TestMessages(t *testing.T) {
	s := newServer(t)
	r := Record(t, t.TempDir(), newInput(t, Config{URL: "ws://" + s.address, Send: `{"subscribe":"all"}`, MaxBytes: 1000},
		headers(map[string]string{"Authorization": "Bearer geheim", "X-Key": "x"})))
	defer r.Close(t)
	if got := <-s.first; got != `{"subscribe":"all"}` {
		t.Errorf("the server was sent %s", got)
	}
	if h := <-s.headers; h.Get("Authorization") != "Bearer geheim" || h.Get("X-Key") != "x" {
		t.Errorf("the headers are %v", h)
	}
	s.send(t, websocket.MessageText, []byte(`{"text":1}`))
	s.send(t, websocket.MessageBinary, []byte(`{"binary":{"a":2}}`))
	s.send(t, websocket.MessageText, []byte(strings.Repeat(" ", 1000)+"3"))
	s.send(t, websocket.MessageText, []byte("not a number"))
	s.send(t, websocket.MessageText, []byte("4"))
	Eventually(t, func() error {
		got := r.Samples(t)
		for _, name := range []string{"text", "binary_a", "plant"} {
			if len(got[fmt.Sprintf(`{__name__=%q}`, name)]) != 1 {
				return fmt.Errorf("%s is missing: %v", name, got)
			}
		}
		// The connection goes on after what is too large.
		in := r.Input("plant")
		if in.Skipped[tooLarge].Count != 1 || in.Skipped["not a number"].Count != 1 || in.Messages != 5 || !in.State.Connected() {
			return fmt.Errorf("%+v", in)
		}
		return nil
	})
}

func TestRefused(t *testing.T) {
	s := newServer(t)
	for status, want := range map[int]string{401: "check headers", 404: "check the URL", 301: "somewhere else", 200: "not as a WebSocket", 503: "Service Unavailable"} {
		s.mu.Lock()
		s.refuse = status
		s.mu.Unlock()
		r := Record(t, t.TempDir(), newInput(t, Config{URL: "ws://" + s.address + "/?geheim"}, none))
		if trouble := r.Troubled(t, "plant"); !strings.Contains(trouble, want) || strings.Contains(trouble, "geheim") {
			t.Errorf("%d: %s", status, trouble)
		}
		r.Close(t)
	}
}

// A server that closes the connection says why, and is connected to again.
func TestClosed(t *testing.T) {
	s := newServer(t)
	r := Record(t, t.TempDir(), newInput(t, Config{URL: "ws://" + s.address}, none))
	defer r.Close(t)
	r.Connected(t, "plant")
	s.send(t, websocket.MessageText, []byte("1"))
	s.mu.Lock()
	for c := range s.clients.open {
		go func() { _ = c.Close(websocket.StatusPolicyViolation, "go away") }()
	}
	s.mu.Unlock()
	if trouble := r.Troubled(t, "plant"); !strings.Contains(trouble, "StatusPolicyViolation go away") {
		t.Error(trouble)
	}
	r.Connected(t, "plant")
}

// A server that does not answer is given up.
func TestSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the server")
	}
	s := newServer(t)
	s.silent = true
	r := Record(t, t.TempDir(), newInput(t, Config{URL: "ws://" + s.address, PingInterval: minPingInterval}, none))
	defer r.Close(t)
	r.Connected(t, "plant")
	if trouble := r.Troubled(t, "plant"); !strings.Contains(trouble, "does not answer") {
		t.Error(trouble)
	}
}

func TestTLS(t *testing.T) {
	plain := newServer(t)
	s := httptest.NewTLSServer(plain)
	defer s.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	address := strings.TrimPrefix(s.URL, "https://")
	for _, test := range []struct {
		name   string
		url    string
		skip   bool
		secret func(string) string
		want   string
	}{
		{"trusted", "wss://" + address, false, func(key string) string { return map[string]string{"caCert": ca}[key] }, ""},
		{"not verified", "wss://" + address, true, none, ""},
		{"not trusted", "wss://" + address, false, none, "set caCert"},
		{"no encryption", "wss://" + plain.address, false, none, "does not speak TLS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Record(t, t.TempDir(), newInput(t, Config{URL: test.url, SkipVerify: test.skip}, test.secret))
			defer r.Close(t)
			if test.want == "" {
				r.Connected(t, "plant")
			} else if trouble := r.Troubled(t, "plant"); !strings.Contains(trouble, test.want) {
				t.Error(trouble)
			}
		})
	}
}

func TestNew(t *testing.T) {
	for _, test := range []struct {
		name    string
		config  Config
		secrets map[string]string
		want    string
	}{
		{"good", Config{URL: "wss://a.example/live?x=y"}, map[string]string{"headers": `{"X-Key":"geheim"}`}, ""},
		{"no URL", Config{}, nil, "url: is missing"},
		{"another scheme", Config{URL: "https://a"}, nil, "url: must begin with ws://"},
		{"a password", Config{URL: "ws://u:geheim@a"}, nil, "url: must not have"},
		{"no host", Config{URL: "ws://:80"}, nil, "url: has no host"},
		{"too much", Config{URL: "ws://a", MaxBytes: 2 << 20}, nil, "maxBytes: must be from 1"},
		{"too often", Config{URL: "ws://a", PingInterval: 10}, nil, "pingInterval: must be from"},
		{"pattern", Config{URL: "ws://a", Rules: message.Rules{Rule: message.Rule{Pattern: "a/+b"}}}, nil, "rules.pattern"},
		{"rules", Config{URL: "ws://a", Rules: message.Rules{Rule: message.Rule{Format: "xml"}}}, nil, "rules.format"},
		{"no headers", Config{URL: "ws://a"}, map[string]string{"headers": `geheim`}, "headers: must be a JSON object"},
		{"a bad header", Config{URL: "ws://a"}, map[string]string{"headers": `{"X":"geheim\n"}`}, `headers: "X" cannot be sent`},
		{"certificates without TLS", Config{URL: "ws://a", SkipVerify: true}, nil, "url: ws:// does not encrypt"},
		{"no CA certificate", Config{URL: "wss://a"}, map[string]string{"caCert": "geheim"}, "caCert: has no certificate"},
		{"no key", Config{URL: "wss://a"}, map[string]string{"clientCert": "geheim"}, "one needs the other"},
		{"no certificate", Config{URL: "wss://a"}, map[string]string{"clientCert": "geheim", "clientKey": "geheim"}, "clientCert and clientKey"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(test.config, func(key string) string { return test.secrets[key] })
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\nwant %s", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Error("the error gives a secret away")
			}
		})
	}
}
