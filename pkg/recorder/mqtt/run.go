package mqtt

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/paho/session"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

const (
	// waiting is how many messages may wait to be decoded, and waitingBytes how many
	// bytes they may have. More messages of QoS 0 are dropped.
	waiting      = 10_000
	waitingBytes = 64 << 20
	// goodbye is how long closing a connection may take.
	goodbye = 200 * time.Millisecond
	// copies is the longest time between two copies of a message.
	copies = 10 * time.Millisecond
)

// Reasons why messages are not recorded, besides those of package message.
const (
	tooFast    = "came faster than it could be stored"
	again      = "redelivered"
	overlapped = "copy for an overlapping topic"
	notWanted  = "topic of an earlier subscription"
)

// run is a running input.
type run struct {
	in       *Input
	sink     *recorder.Sink
	decoder  *message.Decoder
	clientID string
	session  session.SessionManager
	ready    func()        // starts the decoder
	decoded  chan struct{} // closed once the decoder has made its last commit

	queue *endpoint.Queue[received]
	guard guard
	ended context.Context //nolint:containedctx // callbacks of libraries get none

	// unwanted gets topics that an earlier subscription of the session still brings.
	unwanted chan string

	// Only the goroutine that handles messages uses these.
	seed    maphash.Seed
	seen    map[uint16]*delivery // the last message with each packet ID
	pruned  time.Time            // when seen was last pruned
	copies  map[string]copied    // the last message of each topic with several filters
	silence *endpoint.Silence
	fresh   atomic.Bool  // the broker has begun a new session
	lost    atomic.Int64 // when the last connection was lost, Unix ns
}

// Run implements recorder.Input.
func (in *Input) Run(ctx context.Context, sink *recorder.Sink) {
	group, ctx := panics.NewGroup(ctx)
	r := &run{
		in: in, sink: sink, decoder: message.New(in.rules, "/", sink), clientID: in.clientID,
		session: newSession(), decoded: make(chan struct{}),
		queue: endpoint.NewQueue[received](waiting, waitingBytes), guard: group.Do, ended: ctx, unwanted: make(chan string, 1),
		seed: maphash.MakeSeed(), seen: make(map[uint16]*delivery), copies: make(map[string]copied),
		silence: endpoint.NewSilence(sink, in.filters),
	}
	if r.clientID == "" {
		r.clientID = sink.Identity()
	}
	// A commit ends the state connecting, so the decoder must not commit before it
	// is known whether there is a connection.
	ready := make(chan struct{})
	r.ready = sync.OnceFunc(func() { close(ready) })
	group.Go(func() {
		defer close(r.decoded)
		select {
		case <-ready:
		case <-ctx.Done():
		}
		r.decoder.Run(ctx)
	})
	group.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.queue.Some():
			}
			for _, m := range r.queue.Take() {
				r.handle(m)
			}
		}
	})
	subscribed := false
	group.Do(func() {
		endpoint.Reconnect(ctx, r, func(ctx context.Context) (bool, error) {
			connected, err := r.connection(ctx, &subscribed)
			if connected {
				r.lost.Store(time.Now().UnixNano())
			}
			return connected, err
		}, r.explain)
	})
	defer func() { _ = r.session.Close() }()
	group.Wait()
}

// Leave implements recorder.Leaver: it ends the session. A session with a ClientID
// from the settings stays, because another input may use it by now.
func (in *Input) Leave(ctx context.Context, identity string) error {
	if in.clientID != "" {
		return nil
	}
	conn, err := in.dial(ctx)
	if err != nil {
		return err
	}
	group, ctx := panics.NewGroup(ctx)
	defer group.Wait()
	ignore := func(received) {}
	var c client = &client5{in: in, clientID: identity, receive: ignore, guard: group.Do, session: newSession(), last: true}
	if in.v311 {
		c = &client3{in: in, clientID: identity, receive: ignore, guard: group.Do, last: true}
	}
	if _, err := c.connect(ctx, conn); err != nil {
		return err
	}
	c.close()
	return nil
}

func (r *run) trouble(text string) {
	r.sink.Trouble(text)
	r.ready()
}

// Retry implements endpoint.Sink.
func (r *run) Retry(text string, next time.Time) {
	r.sink.Retry(text, next)
	r.ready()
}

func (r *run) client() client {
	if r.in.v311 {
		return &client3{in: r.in, clientID: r.clientID, receive: r.receive, guard: r.guard}
	}
	return &client5{in: r.in, clientID: r.clientID, receive: r.receive, guard: r.guard, session: r.session}
}

// connection connects, and returns when the connection is lost. subscribed says
// whether this process has subscribed in the current session of the broker.
func (r *run) connection(ctx context.Context, subscribed *bool) (connected bool, err error) {
	begin, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := r.in.dial(begin)
	if err != nil {
		return false, err
	}
	c := r.client()
	resumed, err := c.connect(begin, conn)
	if err != nil {
		return false, err
	}
	defer c.close()
	if !resumed {
		r.fresh.Store(true)
		*subscribed = false
	}
	// In version 3.1.1 each subscription makes the broker send the retained messages
	// again.
	if !*subscribed || !r.in.v311 {
		refused := make(map[string]string)
		for some := range slices.Chunk(r.in.filters, maxFilters) {
			if err := c.subscribe(begin, some, refused); err != nil {
				return false, err
			}
		}
		*subscribed = len(refused) == 0
		r.trouble(refusedText(refused))
	} else {
		r.trouble("")
	}
	for {
		select {
		case err := <-c.lost():
			return true, err
		case topic := <-r.unwanted:
			ask, cancel := context.WithTimeout(ctx, patience)
			var err error
			for some := range slices.Chunk(candidates(topic, r.in.filters), maxFilters) {
				if err = c.unsubscribe(ask, some); err != nil {
					break
				}
			}
			cancel()
			if err != nil && ctx.Err() == nil {
				return true, err
			}
		case <-ctx.Done():
			<-r.decoded
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
			c.flush(last)
			cancel()
			return true, nil
		}
	}
}

func refusedText(refused map[string]string) string {
	var all []string
	for _, filter := range slices.Sorted(maps.Keys(refused)) {
		all = append(all, fmt.Sprintf("the broker refuses the topic %s: %s", filter, refused[filter]))
	}
	return strings.Join(all, "; ")
}

// receive takes a message from a connection. It waits for the store only if the
// broker waits, too: the broker stops when too many messages of QoS 1 and 2 are not
// acknowledged.
func (r *run) receive(m received) {
	m.at = time.Now()
	size := len(m.topic) + len(m.payload)
	if m.qos > 0 {
		r.queue.Put(r.ended, m, size)
	} else if !r.queue.Offer(m, size) {
		r.decoder.Skip(m.topic, m.payload, tooFast, nil)
	}
}

// handle gives a message to the decoder, unless it is a repetition.
func (r *run) handle(m received) {
	if r.fresh.Swap(false) {
		clear(r.seen)
	}
	if m.at.Sub(r.pruned) > keepAlive {
		r.pruned = m.at
		maps.DeleteFunc(r.seen, func(_ uint16, d *delivery) bool { return d.settled(m.at) })
	}
	matching := 0
	for _, f := range r.in.filters {
		if matches(f, m.topic) {
			matching++
			r.silence.Heard(f)
		}
	}
	if matching == 0 {
		r.decoder.Skip(m.topic, m.payload, notWanted, m.ack)
		select {
		case r.unwanted <- m.topic:
		default: // one topic at a time
		}
		return
	}
	sum := r.sum(m)
	if m.qos > 0 {
		before := r.seen[m.id]
		if m.duplicate && before != nil && before.sum == sum && !before.settled(time.Unix(0, r.lost.Load())) {
			// The connection was lost before the broker received the
			// acknowledgement.
			r.decoder.Skip(m.topic, m.payload, again, before.acknowledge(m.ack))
			return
		}
		this := &delivery{sum: sum}
		r.seen[m.id], m.ack = this, this.acknowledge(m.ack)
	}
	if matching > 1 {
		// Brokers may send a message once for each filter that matches.
		before, known := r.copies[m.topic]
		r.copies[m.topic] = copied{sum, m.at}
		if len(r.copies) > waiting {
			clear(r.copies)
		}
		if known && m.at.Sub(before.at) < copies && sum == before.sum {
			delete(r.copies, m.topic)
			r.decoder.Skip(m.topic, m.payload, overlapped, m.ack)
			return
		}
	}
	r.decoder.Add(m.topic, m.payload, m.at, false, m.ack)
}

// copied is a message that may come once more for another filter.
type copied struct {
	sum uint64
	at  time.Time
}

// delivery is a message of QoS 1 or 2 that was received.
type delivery struct {
	sum   uint64
	acked atomic.Int64 // Unix ns, 0 if not acknowledged
}

func (d *delivery) acknowledge(ack func()) func() {
	return func() {
		ack()
		d.acked.Store(time.Now().UnixNano())
	}
}

// settled reports whether the broker must have the acknowledgement, although the
// connection was lost later: it was sent more than keepAlive and patience before
// that, within which a dead connection is noticed. From then on the broker may use
// the packet ID for another message, even one with the same topic and payload.
func (d *delivery) settled(lost time.Time) bool {
	acked := d.acked.Load()
	return acked != 0 && lost.Sub(time.Unix(0, acked)) > keepAlive+patience
}

func (r *run) sum(m received) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	_, _ = h.WriteString(m.topic)
	_ = h.WriteByte(0)
	_, _ = h.Write(m.payload)
	return h.Sum64()
}

// waitEmpty waits until n has returned 0 twice. Before the second time, the
// goroutine that took the last item has had time to write it.
func waitEmpty(ctx context.Context, n func() int) {
	for quiet := 0; quiet < 2; {
		if n() == 0 {
			quiet++
		} else {
			quiet = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}
