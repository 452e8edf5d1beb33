package mqtt

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// client3 is a client of MQTT 3.1.1.
type client3 struct {
	in       *Input
	clientID string
	receive  func(received)
	guard    guard
	last     bool // the session ends with the connection

	paho   mqtt.Client
	ended  chan error
	acks   chan mqtt.Message
	stop   context.CancelFunc
	acking sync.WaitGroup
}

func (c *client3) connect(ctx context.Context, conn net.Conn) (bool, error) {
	c.ended = make(chan error, 1)
	c.acks = make(chan mqtt.Message, 1<<16) // one for each packet ID, the most that a broker may send
	var stopped context.Context
	stopped, c.stop = context.WithCancel(context.Background())
	read := newReading(conn)
	o := mqtt.NewClientOptions().
		AddBroker(c.in.address.String()).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return read, nil }).
		SetProtocolVersion(4).
		SetClientID(c.clientID).
		SetUsername(c.in.user).
		SetPassword(c.in.password).
		SetCleanSession(c.last).
		SetKeepAlive(keepAlive).
		SetPingTimeout(patience).
		SetConnectTimeout(patience).
		SetAutoReconnect(false).
		SetAutoAckDisabled(true).
		SetOrderMatters(true).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { c.guard(func() { c.receive(c.message(m)) }) }).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { c.ended <- err })
	c.paho = mqtt.NewClient(o)
	token := c.paho.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		_ = conn.Close()
		<-token.Done()
	}
	if err := token.Error(); err != nil {
		c.stop()
		_ = conn.Close()
		if why := read.err.Load(); why != nil && errors.Is(err, packets.ErrorNetworkError) {
			err = *why // Paho leaves out the reason
		}
		return false, err
	}
	c.acking.Go(func() { c.guard(func() { c.acknowledge(stopped) }) })
	return token.(*mqtt.ConnectToken).SessionPresent(), nil
}

func (c *client3) message(m mqtt.Message) received {
	r := received{topic: m.Topic(), payload: m.Payload(), qos: m.Qos(), duplicate: m.Duplicate(), id: m.MessageID()}
	if r.qos > 0 {
		r.ack = func() {
			select {
			case c.acks <- m:
			default: // cannot happen: there is room for all packet IDs
			}
		}
	}
	return r
}

func (c *client3) acknowledge(stopped context.Context) {
	for {
		select {
		case <-stopped.Done():
			return
		case m := <-c.acks:
			m.Ack()
		}
	}
}

func (c *client3) subscribe(ctx context.Context, filters []string, refused map[string]string) error {
	wanted := make(map[string]byte, len(filters))
	for _, f := range filters {
		wanted[f] = c.in.qos
	}
	token := c.paho.SubscribeMultiple(wanted, nil).(*mqtt.SubscribeToken)
	if err := wait(ctx, token); err != nil {
		return err
	}
	for f, code := range token.Result() {
		if code >= 0x80 {
			refused[f] = "the broker does not say why: the user may lack the right to read it"
		}
	}
	return nil
}

func (c *client3) unsubscribe(ctx context.Context, filters []string) error {
	return wait(ctx, c.paho.Unsubscribe(filters...))
}

// wait waits for the broker's answer, for patience at most.
func wait(ctx context.Context, token mqtt.Token) error {
	select {
	case <-token.Done():
		return token.Error()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return context.DeadlineExceeded
	}
}

func (c *client3) lost() <-chan error { return c.ended }

func (c *client3) flush(ctx context.Context) { waitEmpty(ctx, func() int { return len(c.acks) }) }

func (c *client3) close() {
	c.paho.Disconnect(uint(goodbye.Milliseconds()))
	c.stop()
	c.acking.Wait()
}
