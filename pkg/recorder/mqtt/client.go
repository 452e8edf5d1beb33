package mqtt

import (
	"context"
	"net"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

const (
	// keepAlive is how often the connection shows that it lives.
	keepAlive = 30 * time.Second
	// patience is how long the broker may take to answer.
	patience = 10 * time.Second
	// sessionExpiry is how long a broker is asked to keep the session.
	sessionExpiry = 7 * 24 * time.Hour
	// receiveMaximum is how many messages the broker may send before the first of
	// them is acknowledged, in version 5.
	receiveMaximum = 1000
	// maximumPacket is how large a packet may be, in version 5: a payload that is
	// recorded, and a topic and properties. Brokers drop what is larger.
	maximumPacket = message.MaxPayload + 256<<10
	// maxFilters is how many topics are subscribed to at once. AWS IoT takes no
	// more.
	maxFilters = 8
)

// received is a message as it came.
type received struct {
	topic     string
	payload   []byte
	qos       byte
	duplicate bool // sent before, says the broker
	id        uint16
	at        time.Time
	ack       func() // nil for QoS 0; it does not block
}

// guard runs what a library calls, or a goroutine does, in a way that keeps a panic to
// the input: as panics.Group.Do.
type guard func(do func())

// client is a connection to the broker in one version of the protocol.
type client interface {
	// connect begins or goes on with the session, over a connection that it
	// closes if there is an error. Messages may come before it returns.
	connect(ctx context.Context, conn net.Conn) (resumed bool, err error)
	// subscribe adds to refused the filters that the broker refuses, with reasons.
	// Neither it nor unsubscribe is given more than maxFilters at once.
	subscribe(ctx context.Context, filters []string, refused map[string]string) error
	unsubscribe(ctx context.Context, filters []string) error
	// lost is sent to when the connection is lost, after connect.
	lost() <-chan error
	// flush waits until what was acknowledged has been written, or ctx ends.
	flush(ctx context.Context)
	// close ends the connection, and leaves the session to the broker.
	close()
}
