package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
)

const (
	// remembered is how long a server keeps the consumer of an input that does not
	// run.
	remembered = 7 * 24 * time.Hour
	// ackWait is after how long the server sends a message again that was not
	// acknowledged.
	ackWait = 10 * time.Second
	// pending is how many messages may be without acknowledgement. The decoder
	// commits, and so acknowledges, every tenth of a second.
	pending = 50_000
	// ahead and aheadBytes are how many messages and bytes are requested at a time.
	ahead      = 10_000
	aheadBytes = 32 << 20
)

// Reasons why messages are not recorded, besides those of package message.
const (
	gone   = "dropped by the stream before it could be read"
	remade = "the stream was made anew"
)

// streams records the stream until ctx ends or the connection is closed for good.
func (r *run) streams(ctx context.Context, nc *nats.Conn, decoded <-chan struct{}) {
	js, err := jetstream.New(nc)
	if err != nil {
		r.fail(err, true)
		return
	}
	acks := make(chan jetstream.Msg, pending)
	acked := make(chan struct{})
	ended := make(chan struct{})
	r.group.Go(func() {
		defer close(acked)
		for {
			select {
			case m := <-acks:
				_ = m.Ack() // after an error the server sends it again
			case <-ended:
				for len(acks) > 0 {
					_ = (<-acks).Ack()
				}
				return
			}
		}
	})
	c := consumer{run: r, js: js, acks: acks}
	var wait endpoint.Backoff
	for ctx.Err() == nil && !nc.IsClosed() {
		err := c.consume(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil: // there is a new connection
			wait.Reset()
		default:
			d := wait.Next(endpoint.Unreachable)
			if nc.IsConnected() {
				r.mu.Lock()
				r.next = time.Now().Add(d)
				r.mu.Unlock()
				r.fail(err, true)
			}
			endpoint.Sleep(ctx, d, r.again)
		}
	}
	if ctx.Err() != nil {
		<-decoded
	}
	close(ended)
	select {
	case <-acked:
		if ctx.Err() != nil {
			_ = nc.FlushTimeout(goodbye)
		}
	case <-time.After(goodbye):
	}
}

// Leave implements recorder.Leaver: it deletes the input's consumer of the stream.
func (in *Input) Leave(ctx context.Context, identity string) error {
	if in.stream == "" {
		return nil
	}
	nc, err := nats.Connect(strings.Join(in.servers, ","), append([]nats.Option{nats.Timeout(patience)}, in.login...)...)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	err = js.DeleteConsumer(ctx, in.stream, identity)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}

// consumer reads a stream.
type consumer struct {
	*run
	js   jetstream.JetStream
	acks chan jetstream.Msg
	// created is when the stream that was read last was created. read is the
	// sequence number up to which it was read or found to have been dropped.
	created time.Time
	read    uint64
}

// consume reads the stream until ctx ends or something fails. It returns nil if
// there is a new connection.
func (c *consumer) consume(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-c.again: // the connection that this stands for is used now
	default:
	}
	stream, err := c.js.Stream(asking, c.in.stream)
	if err != nil {
		return err
	}
	cons, err := c.durable(asking, stream)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	got, err := cons.Consume(func(m jetstream.Msg) { c.group.Do(func() { c.received(m) }) },
		jetstream.PullMaxMessagesWithBytesLimit(ahead, aheadBytes), jetstream.PullHeartbeat(patience), jetstream.PullExpiry(3*patience),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			if errors.Is(err, jetstream.ErrConsumerLeadershipChanged) {
				return
			}
			select {
			case failed <- err:
			default:
			}
		}))
	if err != nil {
		return err
	}
	defer got.Stop()
	c.fine()
	select {
	case err := <-failed:
		// The next attempt finds out the reason.
		if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrNoHeartbeat) || errors.Is(err, nats.ErrNoResponders) {
			return plain("the stream " + c.in.stream + " does not answer any more")
		}
		return err
	case <-c.again:
		return nil
	case <-ctx.Done():
		return nil
	}
}

// received handles a message. It may block while the store cannot commit: the stream
// keeps messages that are not requested.
func (c *consumer) received(m jetstream.Msg) {
	info, err := m.Metadata()
	if err != nil {
		return // not a message of the stream
	}
	for _, subject := range c.in.subjects {
		if covers(subject, m.Subject()) {
			c.silence.Heard(subject)
		}
	}
	c.decoder.Add(m.Subject(), m.Data(), info.Timestamp, true, func() {
		select {
		case c.acks <- m:
		default: // the server sends it again; the store knows its time
		}
	})
}

// durable returns the input's own consumer of the stream, and creates it if
// necessary.
func (c *consumer) durable(ctx context.Context, stream jetstream.Stream) (jetstream.Consumer, error) {
	want := jetstream.ConsumerConfig{
		Durable: c.sink.Identity(), Description: "Continuum input " + c.in.name,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: pending, InactiveThreshold: remembered,
	}
	if len(c.in.subjects) == 1 {
		want.FilterSubject = c.in.subjects[0] // old servers only know this field
	} else {
		want.FilterSubjects = c.in.subjects
	}
	now := stream.CachedInfo()
	if !c.created.IsZero() && !now.Created.Equal(c.created) {
		c.count(remade, 1, c.in.stream)
		c.read = 0
	}
	old, err := stream.Consumer(ctx, want.Durable)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, err
	}
	anew := false
	if err == nil {
		info := old.CachedInfo()
		switch {
		case info.Delivered.Stream > now.State.LastSeq:
			c.count(remade, 1, c.in.stream) // or it was restored from an older copy
			anew = true
		case info.Config.FilterSubject != want.FilterSubject, !slices.Equal(info.Config.FilterSubjects, want.FilterSubjects):
			anew = true // an updated one would not read old messages of new subjects
		default:
			c.gap(info, now)
		}
	}
	if !anew {
		cons, err := stream.CreateOrUpdateConsumer(ctx, want)
		if err == nil {
			c.created = now.Created
		}
		if old == nil || err == nil || !errors.As(err, new(*jetstream.APIError)) {
			return cons, err
		}
		// The server refuses to change the consumer, so it is created again.
	}
	if err := stream.DeleteConsumer(ctx, want.Durable); err != nil {
		return nil, err
	}
	c.read = 0
	cons, err := stream.CreateConsumer(ctx, want)
	if err == nil {
		c.created = now.Created
	}
	return cons, err
}

// gap counts the messages that the stream has dropped before the consumer could read
// them.
func (c *consumer) gap(info *jetstream.ConsumerInfo, now *jetstream.StreamInfo) {
	c.read = max(c.read, info.AckFloor.Stream)
	if info.NumAckPending == 0 {
		c.read = max(c.read, info.Delivered.Stream)
	}
	if now.State.FirstSeq <= c.read+1 {
		return
	}
	example := fmt.Sprintf("%s: numbers %d to %d", c.in.stream, c.read+1, now.State.FirstSeq-1)
	if len(c.in.subjects) > 0 {
		example += ", those of other subjects too"
	}
	c.count(gone, now.State.FirstSeq-1-c.read, example)
	c.read = now.State.FirstSeq - 1
}

func (c *consumer) count(reason string, n uint64, example string) {
	c.sink.Report(recorder.Report{Skipped: map[string]recorder.Skipped{reason: {Count: n, Example: example}}})
}
