package nats

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

const (
	// patience is how long the server may take to answer.
	patience = 5 * time.Second
	// ping is how often a silent connection is tested. It is given up after two
	// missing answers.
	ping = 10 * time.Second
	// goodbye is how long closing a connection may take.
	goodbye = 200 * time.Millisecond
)

// run is a running input.
type run struct {
	in      *Input
	sink    *recorder.Sink
	decoder *message.Decoder
	group   *panics.Group
	silence *endpoint.Silence
	conns   conns
	// again gets a value when there is a new connection, or finally none any more.
	again chan struct{}

	// wait computes how long the library waits before it reconnects.
	wait endpoint.Backoff

	mu    sync.Mutex
	said  string         // what is wrong, for the status
	cause endpoint.Cause // the cause of said
	next  time.Time      // when the next attempt is made, zero if unknown
}

// Run implements recorder.Input.
func (in *Input) Run(ctx context.Context, sink *recorder.Sink) {
	group, ctx := panics.NewGroup(ctx)
	r := &run{in: in, sink: sink, decoder: message.New(in.rules, ".", sink), group: group, again: make(chan struct{}, 1), silence: endpoint.NewSilence(sink, in.subjects)}
	decoded := make(chan struct{})
	group.Go(func() {
		defer close(decoded)
		r.decoder.Run(ctx)
	})
	// After the last commit, cut the connections, so that nothing holds up the end.
	hurry := context.AfterFunc(ctx, func() {
		<-decoded
		time.AfterFunc(goodbye, r.conns.close)
	})
	defer hurry()
	group.Do(func() {
		endpoint.Reconnect(ctx, sink, func(ctx context.Context) (bool, error) {
			nc, err := r.connect(ctx)
			if err != nil {
				return false, err
			}
			defer nc.Close()
			if in.stream != "" {
				r.streams(ctx, nc, decoded)
			} else {
				r.subjects(ctx, nc)
			}
			return true, nats.ErrConnectionClosed
		}, func(f endpoint.Failure) (string, endpoint.Cause) { return r.why(f.Err, f.Connected) })
	})
	<-decoded
	r.conns.close()
	group.Wait()
}

// connect returns a connection that reconnects by itself when it is lost.
func (r *run) connect(ctx context.Context) (*nats.Conn, error) {
	r.conns.begin(ctx)
	opts := append([]nats.Option{
		nats.Name("continuum " + r.sink.Identity()),
		nats.SetCustomDialer(&r.conns),
		nats.Timeout(patience), nats.PingInterval(ping), nats.MaxPingsOutstanding(2),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(r.delay),
		nats.NoCallbacksAfterClientClose(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err == nil {
				err = nats.ErrConnectionClosed
			}
			r.group.Do(func() { r.fail(err, true) })
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { r.group.Do(func() { r.fail(err, false) }) }),
		nats.ReconnectHandler(func(*nats.Conn) {
			r.wait.Reset()
			wake(r.again)
		}),
		nats.ClosedHandler(func(*nats.Conn) { wake(r.again) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			r.group.Do(func() {
				switch {
				case refusesLogin(err):
					r.fail(err, true)
				case errors.Is(err, nats.ErrPermissionViolation):
					r.limited(err)
				}
			})
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
	r.group.Go(func() {
		defer close(connected)
		nc, err := options.Connect()
		connected <- result{nc, err}
	})
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

// fail reports why no messages can come.
func (r *run) fail(err error, connected bool) {
	text, cause := r.why(err, connected)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said, r.cause = text, cause
	r.sink.Retry(text, r.next)
}

// limited reports what the server does not allow. Other messages may still come.
func (r *run) limited(err error) {
	text, cause := r.why(err, true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said, r.cause = text, cause
	r.sink.Trouble(text)
}

// fine reports that nothing is wrong.
func (r *run) fine() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said, r.cause, r.next = "", endpoint.Unreachable, time.Time{}
	r.sink.Trouble("")
}

// delay returns how long the library waits before it tries all servers again. The
// library may report only afterwards why the last server could not be reached; then
// the wait follows from the cause before that.
func (r *run) delay(int) (d time.Duration) {
	r.group.Do(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		d = r.wait.Next(r.cause)
		r.next = time.Now().Add(d)
		if r.said != "" {
			r.sink.Retry(r.said, r.next)
		}
	})
	return d
}

// conns keeps the connections of a client, so that they can be cut: the library's
// own ways to close one wait for servers that do not answer.
type conns struct {
	mu     sync.Mutex
	ctx    context.Context //nolint:containedctx // dialers get none
	open   map[net.Conn]bool
	closed bool
	err    error // of the last attempt to connect
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

// tooFast is the only reason why a message is not recorded, besides those of package
// message and of streams.
const tooFast = "came faster than it could be stored"

const (
	// waiting is how many messages may wait to be decoded, and waitingBytes how many
	// bytes they may have. More are dropped.
	waiting      = 100_000
	waitingBytes = 64 << 20
	// overhead is how many bytes the library takes for a message besides subject and
	// data.
	overhead = 200
)

type received struct {
	msg *nats.Msg
	at  time.Time
}

// subjects records messages of the subjects until ctx ends or the connection is
// closed for good.
func (r *run) subjects(ctx context.Context, nc *nats.Conn) {
	q := endpoint.NewQueue[received](waiting, waitingBytes)
	r.fine() // now, as the server may refuse a subject any time after this
	var subs []*nats.Subscription
	for i, subject := range r.in.subjects {
		sub, err := nc.Subscribe(subject, func(m *nats.Msg) {
			r.group.Do(func() {
				r.silence.Heard(subject)
				for _, other := range r.in.subjects[:i] {
					if covers(other, m.Subject) {
						return // that subscription gets the message, too
					}
				}
				if !q.Offer(received{m, time.Now()}, len(m.Data)+len(m.Subject)+overhead) {
					r.decoder.Skip(m.Subject, m.Data, tooFast, nil)
				}
			})
		})
		if err != nil {
			r.fail(err, true)
			return
		}
		subs = append(subs, sub)
	}
	dropped := make([]int, len(subs))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.again:
			if nc.IsClosed() {
				return
			}
			r.fine()
		case <-q.Some():
		case <-tick.C:
			// Count the messages that the library itself had to drop.
			for i, sub := range subs {
				if n, err := sub.Dropped(); err == nil && n > dropped[i] {
					r.drop(uint64(n-dropped[i]), sub.Subject)
					dropped[i] = n
				}
			}
		}
		for _, m := range q.Take() {
			r.decoder.Add(m.msg.Subject, m.msg.Data, m.at, false, nil)
		}
	}
}

func (r *run) drop(n uint64, example string) {
	r.sink.Report(recorder.Report{Messages: n, Skipped: map[string]recorder.Skipped{tooFast: {Count: n, Example: example}}})
}
