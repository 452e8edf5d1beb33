package mqtt

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"
)

// dial opens a connection to the broker.
func (in *Input) dial(ctx context.Context) (net.Conn, error) {
	switch in.address.Scheme {
	case "ws", "wss":
		transport := &http.Transport{TLSClientConfig: in.tls}
		defer transport.CloseIdleConnections()
		c, resp, err := websocket.Dial(ctx, in.address.String(), &websocket.DialOptions{
			Subprotocols: []string{"mqtt"},
			HTTPClient: &http.Client{
				Transport: transport,
				// No redirects: the password must not go to another server.
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			},
		})
		if resp != nil && resp.Body != nil {
			defer resp.Body.Close()
		}
		if err != nil {
			return nil, handshakeError(resp, err)
		}
		c.SetReadLimit(-1) // maximumPacket limits packets; one may span messages
		return webSocket{websocket.NetConn(context.Background(), c, websocket.MessageBinary), c}, nil
	case "ssl", "mqtts":
		d := tls.Dialer{Config: in.tls}
		return d.DialContext(ctx, "tcp", in.address.Host)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", in.address.Host)
}

// webSocket closes at once, without a closing handshake, which may take seconds.
type webSocket struct {
	net.Conn
	c *websocket.Conn
}

func (w webSocket) Close() error { return w.c.CloseNow() }

// reading is a connection that is read in large pieces, because the libraries read
// the first bytes of each packet one by one.
type reading struct {
	net.Conn
	r   *bufio.Reader
	err atomic.Pointer[error] // the first error of reading
}

func newReading(c net.Conn) *reading { return &reading{Conn: c, r: bufio.NewReaderSize(c, 64<<10)} }

func (c *reading) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil {
		c.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

// packetConn is a connection that sends a packet with one write. Paho writes packets
// in pieces, but locks a connection with a Lock method for each packet: Unlock
// flushes.
type packetConn struct {
	*reading
	mu     sync.Mutex
	w      *bufio.Writer
	corked bool
}

func newPacketConn(c net.Conn) *packetConn {
	return &packetConn{reading: newReading(c), w: bufio.NewWriter(c)}
}

func (c *packetConn) Lock() { c.mu.Lock() }

func (c *packetConn) Unlock() {
	if !c.corked {
		_ = c.w.Flush() // an error also ends reading, which reports it
	}
	c.mu.Unlock()
}

func (c *packetConn) Write(p []byte) (int, error) { return c.w.Write(p) }

// cork holds packets back while on, so that they are sent together.
func (c *packetConn) cork(on bool) {
	c.mu.Lock()
	c.corked = on
	c.Unlock()
}
