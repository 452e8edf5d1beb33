package mqtt

import (
	"context"
	"net"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

const (
	// keepAlive is the longest time between two packets from the client; it sends a
	// ping otherwise.
	keepAlive = 30 * time.Second
	// patience is how long the broker may take to answer.
	patience = 10 * time.Second
	// sessionExpiry is how long a broker is asked to keep the session.
	sessionExpiry = 7 * 24 * time.Hour
	// receiveMaximum is how many messages the broker may send before one of them is
	// acknowledged, in version 5.
	receiveMaximum = 1000
	// maximumPacket is the largest packet, in version 5: a payload of
	// message.MaxPayload, with topic and properties. Brokers drop larger ones.
	maximumPacket = message.MaxPayload + 256<<10
	// maxFilters is how many topics one SUBSCRIBE or UNSUBSCRIBE has. AWS IoT
	// accepts no more.
	maxFilters = 8
)

// received is a message as the broker has sent it.
type received struct {
	topic     string
	payload   []byte
	qos       byte
	duplicate bool // the broker says that it has sent it before
	id        uint16
	at        time.Time
	ack       func() // nil for QoS 0; it does not block
}

// guard runs what a library calls, or a goroutine does, in a way that keeps a panic to
// the input: as panics.Group.Do.
type guard func(do func())

// client is a connection to the broker, in one version of the protocol.
type client interface {
	// connect begins or resumes the session over conn, which it closes if it returns
	// an error. Messages may come before it returns.
	connect(ctx context.Context, conn net.Conn) (resumed bool, err error)
	// subscribe subscribes to filters, and adds those that the broker refuses to
	// refused, with the reason. subscribe and unsubscribe get at most maxFilters at
	// once.
	subscribe(ctx context.Context, filters []string, refused map[string]string) error
	unsubscribe(ctx context.Context, filters []string) error
	// lost returns a channel that gets the reason when the connection is lost.
	lost() <-chan error
	// flush waits until all acknowledgements have been written, or ctx ends.
	flush(ctx context.Context)
	// close ends the connection. The broker keeps the session.
	close()
}
