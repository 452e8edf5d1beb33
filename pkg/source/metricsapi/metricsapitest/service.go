// Package metricsapitest has a metrics API for tests, whose points are a function of
// their time, and a network in memory that works with testing/synctest.
package metricsapitest

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Service is a metrics API with one metric, m. Its points are at multiples of Period
// plus Offset. Its fields must not change while it is used.
type Service struct {
	Period, Offset time.Duration
	// Skew is how far its clock is ahead of this machine's.
	Skew time.Duration
	// Late returns how long after its time point n comes. Nil means at once.
	Late func(n int64) time.Duration
	// Texts makes times RFC 3339 texts instead of milliseconds.
	Texts bool
	// Since is the time of its first point, zero for no first one.
	Since time.Time
}

func (s *Service) late(n int64) time.Duration {
	if s.Late == nil {
		return 0
	}
	return s.Late(n)
}

func (s *Service) time(n int64) time.Time { return time.Unix(0, n*int64(s.Period)+int64(s.Offset)) }

// there reports whether point n has come.
func (s *Service) there(n int64, now time.Time) bool {
	return !s.time(n).Before(s.Since) && !s.time(n).Add(s.late(n)).After(now)
}

// before returns the number of the last point at or before t.
func (s *Service) before(t time.Time) int64 {
	return int64(math.Floor(float64(t.UnixNano()-int64(s.Offset)) / float64(s.Period)))
}

// Value returns the value of point n, sometimes nil for null.
func Value(n int64) *float64 {
	if n%17 == 3 {
		return nil
	}
	v := math.Sqrt(float64((n%9973+9973)%9973)) / 3 * float64(1+n%3)
	return &v
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now().Add(s.Skew)
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "application/json")
	answer := func(status int, body any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // fails only if the client is gone
	}
	if path := r.URL.Path; (path == "/query" || path == "/latest") && r.FormValue("metric") != "m" {
		answer(http.StatusNotFound, map[string]string{"error": "there is no metric " + r.FormValue("metric")})
		return
	}
	switch r.URL.Path {
	case "/health":
		answer(http.StatusOK, map[string]string{"status": "ok"})
	case "/names":
		answer(http.StatusOK, []string{"m"})
	case "/latest":
		n := s.before(now)
		for s.time(n).After(s.Since) && !s.there(n, now) {
			n--
		}
		if !s.there(n, now) {
			answer(http.StatusOK, map[string]any{"timestamp": nil, "value": nil})
			return
		}
		answer(http.StatusOK, map[string]any{"timestamp": s.written(n), "value": Value(n)})
	case "/query":
		from, err1 := strconv.ParseInt(r.FormValue("from"), 10, 64)
		to, err2 := strconv.ParseInt(r.FormValue("to"), 10, 64)
		if errors.Join(err1, err2) != nil {
			answer(http.StatusBadRequest, map[string]string{"error": "from and to must be numbers"})
			return
		}
		times, values := []any{}, []*float64{}
		for n := s.before(time.UnixMilli(from)); !s.time(n).After(time.UnixMilli(to)); n++ {
			if !s.time(n).Before(time.UnixMilli(from)) && s.there(n, now) {
				times, values = append(times, s.written(n)), append(values, Value(n))
			}
		}
		answer(http.StatusOK, map[string]any{"timestamps": times, "values": values, "labels": map[string]string{"site": "a"}, "unit": "celsius"})
	default:
		http.NotFound(w, r)
	}
}

func (s *Service) written(n int64) any {
	if s.Texts {
		return s.time(n).UTC().Format(time.RFC3339Nano)
	}
	return s.time(n).UnixMilli()
}

// Network connects clients to one HTTP server that can be stopped and started. It
// uses pipes, so that it works within testing/synctest.
type Network struct {
	mu     sync.Mutex
	server *http.Server // nil while it is stopped
	conns  chan net.Conn
}

// Start starts a server. It stops the one that runs.
func (n *Network) Start(h http.Handler) {
	n.Stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = make(chan net.Conn)
	n.server = &http.Server{Handler: h}
	go func(s *http.Server, l net.Listener) { _ = s.Serve(l) }(n.server, &listener{conns: n.conns, closed: make(chan struct{})})
}

// Stop cuts all connections. New ones are refused until the next start.
func (n *Network) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server != nil {
		_ = n.server.Close()
		n.server = nil
	}
}

// Client returns a client that reaches the server under any address, and gives
// up after timeout.
func (n *Network) Client(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true}}
}

func (n *Network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	up, conns := n.server != nil, n.conns
	n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "pipe", Err: syscall.ECONNREFUSED}
	if !up {
		return nil, refused
	}
	client, server := net.Pipe()
	select {
	case conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Second): // the server was stopped meanwhile
		return nil, refused
	}
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
