package inputtest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy passes connections on to a server, until Cut or Hang.
type Proxy struct {
	listener net.Listener
	target   string
	accepted chan struct{}
	wg       sync.WaitGroup

	muted atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]bool
	hangs chan struct{} // closed when nothing passes any more
}

// NewProxy returns a proxy to the server at target.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, accepted: make(chan struct{}, 1), conns: make(map[net.Conn]bool), hangs: make(chan struct{})}
	p.wg.Go(p.accept)
	return p
}

// Address returns the proxy's host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Accepted waits for a connection, after Cut for a new one. Waiting for the input's
// trouble would not do: it may have reconnected before the test looks.
func (p *Proxy) Accepted() { <-p.accepted }

// Mute drops what clients send, until Cut.
func (p *Proxy) Mute() { p.muted.Store(true) }

// Cut closes all connections. New ones are passed on.
func (p *Proxy) Cut() {
	defer p.muted.Store(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.accepted:
	default:
	}
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// Hang stops passing data on, and leaves connections open.
func (p *Proxy) Hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.hanging() {
		close(p.hangs)
	}
}

// Close closes all connections and the listener.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) hanging() bool {
	select {
	case <-p.hangs:
		return true
	default:
		return false
	}
}

func (p *Proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			p.Cut() // what was accepted meanwhile
			return
		}
		p.keep(c)
		select {
		case p.accepted <- struct{}{}:
		default:
		}
		if p.hanging() {
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = c.Close()
			continue
		}
		p.keep(server)
		p.wg.Go(func() { p.pass(c, server, false) })
		p.wg.Go(func() { p.pass(server, c, true) })
	}
}

// pass copies until either end is closed.
func (p *Proxy) pass(to, from net.Conn, up bool) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if p.hanging() {
			// Neither end learns anything, not even that the other one has closed.
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if n > 0 && (!up || !p.muted.Load()) {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Nobody returns host:port of an address where nothing listens.
func Nobody(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
