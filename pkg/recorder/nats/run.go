package nats

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

const (
	// firstWait and longestWait are how long is waited before the first and the
	// later attempts to connect again, give or take a half.
	firstWait   = 500 * time.Millisecond
	longestWait = 15 * time.Second
	// patience is how long the server may take to answer.
	patience = 5 * time.Second
	// ping is how often a silent connection is tried. It is given up when two
	// answers are missing.
	ping = 10 * time.Second
	// goodbye is how long the end of a connection may take.
	goodbye = 200 * time.Millisecond
)

// run is a running input.
type run struct {
	in      *Input
	sink    *recorder.Sink
	decoder *message.Decoder
	conns   conns
	// again is sent to when there is a new connection, or none any more.
	again chan struct{}

	mu   sync.Mutex
	said string
}

// Run implements recorder.Input.
func (in *Input) Run(ctx context.Context, sink *recorder.Sink) {
	r := &run{in: in, sink: sink, decoder: message.New(in.rules, ".", sink), again: make(chan struct{}, 1)}
	decoded := make(chan struct{})
	go func() {
		defer close(decoded)
		r.decoder.Run(ctx)
	}()
	// Nothing that hangs may hold up the end.
	hurry := context.AfterFunc(ctx, func() {
		<-decoded
		time.AfterFunc(goodbye, r.conns.close)
	})
	defer hurry()
	for attempt := 0; ctx.Err() == nil; attempt++ {
		nc, err := r.connect(ctx)
		if err != nil {
			r.say(r.why(err))
			select {
			case <-time.After(wait(attempt)):
			case <-ctx.Done():
			}
			continue
		}
		attempt = -1
		if in.stream != "" {
			r.streams(ctx, nc, decoded)
		} else {
			r.subjects(ctx, nc)
		}
		nc.Close()
	}
	<-decoded
	r.conns.close()
}

// wait returns how long to wait before an attempt, 0 for the first.
func wait(attempt int) time.Duration {
	d := min(firstWait<<min(attempt, 10), longestWait)
	return d/2 + rand.N(d)
}

// connect makes a connection that connects again by itself when it is lost.
func (r *run) connect(ctx context.Context) (*nats.Conn, error) {
	r.conns.begin(ctx)
	opts := append([]nats.Option{
		nats.Name("continuum " + r.sink.Identity()),
		nats.SetCustomDialer(&r.conns),
		nats.Timeout(patience), nats.PingInterval(ping), nats.MaxPingsOutstanding(2),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(func(rounds int) time.Duration { return wait(rounds - 1) }),
		nats.NoCallbacksAfterClientClose(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err == nil {
				err = errors.New("the connection was closed")
			}
			r.say(r.why(err))
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { r.say(r.why(err)) }),
		nats.ReconnectHandler(func(*nats.Conn) { wake(r.again) }),
		nats.ClosedHandler(func(*nats.Conn) { wake(r.again) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				r.say(r.why(err))
			}
		}),
	}, r.in.login...)
	options := nats.GetDefaultOptions()
	options.Servers = r.in.servers
	for _, opt := range opts {
		if err := opt(&options); err != nil {
			return nil, err
		}
	}
	type result struct {
		nc  *nats.Conn
		err error
	}
	connected := make(chan result, 1)
	go func() {
		nc, err := options.Connect()
		connected <- result{nc, err}
	}()
	select {
	case got := <-connected:
		return got.nc, got.err
	case <-ctx.Done():
		r.conns.close()
		got := <-connected
		if got.nc != nil {
			got.nc.Close()
		}
		return nil, context.Cause(ctx)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// say tells people what is wrong, "" if nothing is.
func (r *run) say(trouble string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.said != trouble || trouble == "" {
		r.said = trouble
		r.sink.Trouble(trouble)
	}
}

// conns are the connections of a client, so that they can be cut: the library's
// own ways wait for servers that do not answer.
type conns struct {
	mu     sync.Mutex
	ctx    context.Context //nolint:containedctx // dialers get none
	open   map[net.Conn]bool
	closed bool
	err    error // why the last one could not be made
}

func (c *conns) begin(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx, c.err = ctx, nil
}

// Dial implements nats.CustomDialer.
func (c *conns) Dial(network, address string) (net.Conn, error) {
	c.mu.Lock()
	ctx := c.ctx
	c.mu.Unlock()
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(ctx, network, address)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err = err; err != nil {
		return nil, err
	}
	if c.closed {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	if c.open == nil {
		c.open = make(map[net.Conn]bool)
	}
	tracked := &conn1{Conn: conn, of: c}
	c.open[tracked] = true
	return tracked, nil
}

func (c *conns) close() {
	c.mu.Lock()
	c.closed = true
	open := c.open
	c.open = nil
	c.mu.Unlock()
	for conn := range open {
		_ = conn.Close()
	}
}

func (c *conns) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

type conn1 struct {
	net.Conn
	of *conns
}

func (c *conn1) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// tooFast is why a message of a subject is not recorded, besides what package
// message has.
const tooFast = "came faster than it could be stored"

const (
	// waiting is how many messages may wait to be decoded, and waitingBytes how
	// much they may hold. The rest is dropped.
	waiting      = 100_000
	waitingBytes = 64 << 20
)

// queue has what was received and not yet decoded.
type queue struct {
	mu       sync.Mutex
	messages []received
	bytes    int
	dropped  uint64
	some     chan struct{} // sent to when there are messages
}

type received struct {
	msg *nats.Msg
	at  time.Time
}

func (q *queue) add(m *nats.Msg) {
	at := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) >= waiting || q.bytes >= waitingBytes {
		q.dropped++
		return
	}
	q.bytes += len(m.Data) + len(m.Subject) + 200 // the library's own
	if q.messages = append(q.messages, received{m, at}); len(q.messages) == 1 {
		wake(q.some)
	}
}

func (q *queue) take(empty []received) ([]received, uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	messages, dropped := q.messages, q.dropped
	q.messages, q.bytes, q.dropped = empty[:0], 0, 0
	return messages, dropped
}

// subjects records what is published on the subjects until ctx ends or the
// connection is closed for good.
func (r *run) subjects(ctx context.Context, nc *nats.Conn) {
	q := &queue{some: make(chan struct{}, 1)}
	r.say("") // before the server may say that a subject is not for us
	var subs []*nats.Subscription
	for i, subject := range r.in.subjects {
		sub, err := nc.Subscribe(subject, func(m *nats.Msg) {
			for _, other := range r.in.subjects[:i] {
				if covers(other, m.Subject) {
					return // it comes there too
				}
			}
			q.add(m)
		})
		if err != nil {
			r.say(r.why(err))
			return
		}
		subs = append(subs, sub)
	}
	dropped := make([]int, len(subs))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var spare []received
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.again:
			if nc.IsClosed() {
				return
			}
			r.say("")
		case <-q.some:
		case <-tick.C:
			// What the library itself had to drop.
			for i, sub := range subs {
				if n, err := sub.Dropped(); err == nil && n > dropped[i] {
					r.drop(uint64(n-dropped[i]), sub.Subject)
					dropped[i] = n
				}
			}
		}
		messages, lost := q.take(spare)
		if lost > 0 {
			r.drop(lost, fmt.Sprintf("more than %d waited", len(messages)))
		}
		for _, m := range messages {
			r.decoder.Add(m.msg.Subject, m.msg.Data, m.at, false, nil)
		}
		clear(messages)
		spare = messages
	}
}

func (r *run) drop(n uint64, example string) {
	r.sink.Report(recorder.Report{Messages: n, Skipped: map[string]recorder.Skipped{tooFast: {Count: n, Example: example}}})
}
