package mqtt

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session"
	"github.com/eclipse/paho.golang/paho/session/state"
)

// client5 is a client of MQTT 5.
type client5 struct {
	in       *Input
	clientID string
	receive  func(received)
	guard    guard
	session  session.SessionManager // outlives the client
	last     bool                   // the session ends with the connection

	conn   *packetConn
	paho   *paho.Client
	ended  chan error
	acks   chan *packets.Publish
	stop   context.CancelFunc
	acking sync.WaitGroup
}

// held is a session whose Ack does nothing, so that Paho acknowledges no message by
// itself: client5.acknowledge does that after the commit. Paho's own manual
// acknowledgements are sent only every few milliseconds, while brokers allow few
// open ones.
type held struct{ session.SessionManager }

func (held) Ack(*packets.Publish) error { return nil }

func newSession() session.SessionManager { return state.NewInMemory() }

func (c *client5) connect(ctx context.Context, conn net.Conn) (bool, error) {
	c.conn = newPacketConn(conn)
	c.ended = make(chan error, 1)
	c.acks = make(chan *packets.Publish, 2*receiveMaximum)
	end := func(err error) {
		select {
		case c.ended <- err:
		default: // only the first error says why
		}
	}
	var stopped context.Context
	stopped, c.stop = context.WithCancel(context.Background())
	c.paho = paho.NewClient(paho.ClientConfig{
		Conn:          c.conn,
		Session:       held{c.session},
		PacketTimeout: patience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			c.guard(func() { c.receive(c.message(p.Packet)) })
			return true, nil
		}},
		OnClientError:      end,
		OnServerDisconnect: func(d *paho.Disconnect) { c.guard(func() { end(disconnected(d)) }) },
	})
	expiry, inFlight, largest := uint32(sessionExpiry.Seconds()), uint16(receiveMaximum), uint32(maximumPacket)
	if c.last {
		expiry = 0
	}
	connack, err := c.paho.Connect(ctx, &paho.Connect{
		CleanStart:   c.last,
		ClientID:     c.clientID,
		KeepAlive:    uint16(keepAlive.Seconds()),
		Username:     c.in.user,
		UsernameFlag: c.in.user != "",
		Password:     []byte(c.in.password),
		PasswordFlag: c.in.password != "",
		Properties: &paho.ConnectProperties{
			SessionExpiryInterval: &expiry,
			ReceiveMaximum:        &inFlight,
			MaximumPacketSize:     &largest,
			RequestProblemInfo:    true,
		},
	})
	if err != nil {
		c.stop()
		if connack != nil {
			return false, refusal(connack)
		}
		return false, err
	}
	c.acking.Go(func() { c.guard(func() { c.acknowledge(stopped) }) })
	return connack.SessionPresent, nil
}

func (c *client5) message(p *paho.Publish) received {
	m := received{topic: p.Topic, payload: p.Payload, qos: p.QoS, duplicate: p.Duplicate(), id: p.PacketID}
	if p.QoS > 0 {
		packet := &packets.Publish{QoS: p.QoS, PacketID: p.PacketID}
		m.ack = func() {
			select {
			case c.acks <- packet:
			default: // cannot happen: there is room for twice receiveMaximum
			}
		}
	}
	return m
}

// acknowledge writes acknowledgements until stopped ends. It writes all that wait at
// once.
func (c *client5) acknowledge(stopped context.Context) {
	for {
		select {
		case <-stopped.Done():
			return
		case p := <-c.acks:
			c.conn.cork(true)
			_ = c.session.Ack(p) // an error also ends reading, which reports it
			for n := len(c.acks); n > 0; n-- {
				_ = c.session.Ack(<-c.acks)
			}
			c.conn.cork(false)
		}
	}
}

func (c *client5) subscribe(ctx context.Context, filters []string, refused map[string]string) error {
	s := &paho.Subscribe{}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{
			Topic: f, QoS: c.in.qos, RetainAsPublished: true,
			RetainHandling: 1, // retained messages only for new subscriptions
		})
	}
	suback, err := c.paho.Subscribe(ctx, s)
	if suback == nil {
		return err
	}
	for i, code := range suback.Reasons {
		if code >= 0x80 && i < len(filters) {
			refused[filters[i]] = reasonText(code)
		}
	}
	return nil
}

func (c *client5) unsubscribe(ctx context.Context, filters []string) error {
	_, err := c.paho.Unsubscribe(ctx, &paho.Unsubscribe{Topics: filters})
	return err
}

func (c *client5) lost() <-chan error { return c.ended }

func (c *client5) flush(ctx context.Context) { waitEmpty(ctx, func() int { return len(c.acks) }) }

func (c *client5) close() {
	// A broker that does not read must not hold up the end.
	_ = c.conn.SetWriteDeadline(time.Now().Add(goodbye))
	_ = c.paho.Disconnect(&paho.Disconnect{}) // closes the connection in any case
	c.stop()
	c.acking.Wait()
}

// codeError is a refusal by the broker.
type codeError struct {
	code   byte
	reason string // the broker's own words, may be empty
}

func (e codeError) Error() string {
	if e.reason != "" {
		return fmt.Sprintf("%s (%q)", reasonText(e.code), e.reason)
	}
	return reasonText(e.code)
}

func refusal(c *paho.Connack) error {
	e := codeError{code: c.ReasonCode}
	if c.Properties != nil {
		e.reason = c.Properties.ReasonString
	}
	return e
}

func disconnected(d *paho.Disconnect) error {
	e := codeError{code: d.ReasonCode}
	if d.Properties != nil {
		e.reason = d.Properties.ReasonString
	}
	return e
}
