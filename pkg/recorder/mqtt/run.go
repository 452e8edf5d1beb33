package mqtt

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/paho/session"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

const (
	// firstWait and longestWait are how long is waited before the first and the
	// later attempts to connect again, give or take a half.
	firstWait   = 250 * time.Millisecond
	longestWait = 30 * time.Second
	// steady is how long a connection must have lasted to count as a good one.
	steady = 10 * time.Second
	// waiting is how many messages may wait to be decoded, and waitingBytes how
	// much they may hold. Of QoS 0 the rest is dropped.
	waiting      = 10_000
	waitingBytes = 64 << 20
	// goodbye is how long the end of a connection may take.
	goodbye = 200 * time.Millisecond
	// copies is how far apart the copies of one message may come.
	copies = 10 * time.Millisecond
)

// Why messages are not recorded, besides what package message has.
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
	ready    func()        // lets the decoder begin
	decoded  chan struct{} // closed when the decoder has committed the last

	queue  chan received
	queued atomic.Int64 // bytes
	ended  <-chan struct{}

	// unwanted is sent a topic that an earlier subscription still brings.
	unwanted chan string

	// of the goroutine that handles messages
	seed   maphash.Seed
	seen   map[uint16]uint64 // what was received last under a packet ID
	copies map[string]received
	fresh  atomic.Bool // the broker has begun a new session
}

// Run implements recorder.Input.
func (in *Input) Run(ctx context.Context, sink *recorder.Sink) {
	r := &run{
		in: in, sink: sink, decoder: message.New(in.rules, "/", sink), clientID: in.clientID,
		session: newSession(), decoded: make(chan struct{}),
		queue: make(chan received, waiting), ended: ctx.Done(), unwanted: make(chan string, 1),
		seed: maphash.MakeSeed(), seen: make(map[uint16]uint64), copies: make(map[string]received),
	}
	if r.clientID == "" {
		r.clientID = sink.Identity()
	}
	// The first commit says that the input has begun. It has when it is known
	// whether there is a connection.
	ready := make(chan struct{})
	r.ready = sync.OnceFunc(func() { close(ready) })
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(r.decoded)
		select {
		case <-ready:
		case <-ctx.Done():
		}
		r.decoder.Run(ctx)
	})
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case m := <-r.queue:
				r.queued.Add(-int64(len(m.payload)))
				r.handle(m)
			}
		}
	})
	r.connect(ctx)
	wg.Wait()
	_ = r.session.Close()
}

// connect keeps the input connected until ctx ends.
func (r *run) connect(ctx context.Context) {
	subscribed := false
	short := 0 // connections that ended soon, one after another
	for failed := 0; ; {
		begin := time.Now()
		connected, err := r.connection(ctx, &subscribed)
		if ctx.Err() != nil {
			return
		}
		switch {
		case connected && time.Since(begin) >= steady:
			failed, short = 0, 0
		case connected:
			short++
			failed++
		default:
			failed++
		}
		r.trouble(r.text(connected, short, err))
		wait := min(firstWait<<min(failed, 10), longestWait) / 2
		wait += rand.N(wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (r *run) trouble(text string) {
	r.sink.Trouble(text)
	r.ready()
}

func (r *run) client() client {
	if r.in.v311 {
		return &client3{in: r.in, clientID: r.clientID, receive: r.receive}
	}
	return &client5{in: r.in, clientID: r.clientID, receive: r.receive, session: r.session}
}

// connection connects, and returns when the connection is lost. subscribed tells
// whether this process has subscribed in the session that the broker keeps.
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
	// In version 3.1.1 each subscription brings the retained messages again.
	if !*subscribed || !r.in.v311 {
		refused, err := c.subscribe(begin, r.in.filters)
		if err != nil {
			return false, err
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
			err := c.unsubscribe(ask, candidates(topic, r.in.filters))
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

// receive takes a message from a connection. It does not wait for the store
// unless the broker waits for us: there are few messages of QoS 1 and 2 that are
// not acknowledged.
func (r *run) receive(m received) {
	m.at = time.Now()
	if m.qos == 0 && (len(r.queue) > waiting-receiveMaximum || r.queued.Load() > waitingBytes) {
		r.decoder.Skip(m.topic, m.payload, tooFast, nil)
		return
	}
	r.queued.Add(int64(len(m.payload)))
	select {
	case r.queue <- m:
	case <-r.ended:
	}
}

// handle gives a message to the decoder, unless it has been given to it before.
func (r *run) handle(m received) {
	if r.fresh.Swap(false) {
		clear(r.seen)
	}
	matching := 0
	for _, f := range r.in.filters {
		if matches(f, m.topic) {
			matching++
		}
	}
	if matching == 0 {
		r.decoder.Skip(m.topic, m.payload, notWanted, m.ack)
		select {
		case r.unwanted <- m.topic:
		default: // one after another
		}
		return
	}
	if m.qos > 0 {
		sum := r.sum(m)
		before, known := r.seen[m.id]
		r.seen[m.id] = sum
		if m.duplicate && known && before == sum {
			// The connection was lost before the broker got the acknowledgement.
			r.decoder.Skip(m.topic, m.payload, again, m.ack)
			return
		}
	}
	if matching > 1 {
		// Brokers may send a message once for each filter that it matches.
		before, known := r.copies[m.topic]
		r.copies[m.topic] = m
		if len(r.copies) > waiting {
			clear(r.copies)
		}
		if known && m.at.Sub(before.at) < copies && string(m.payload) == string(before.payload) {
			delete(r.copies, m.topic)
			r.decoder.Skip(m.topic, m.payload, overlapped, m.ack)
			return
		}
	}
	r.decoder.Add(m.topic, m.payload, m.at, false, m.ack)
}

func (r *run) sum(m received) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	_, _ = h.WriteString(m.topic)
	_ = h.WriteByte(0)
	_, _ = h.Write(m.payload)
	return h.Sum64()
}

// waitEmpty waits until n returns 0 twice, the second time after whoever took
// the last has had the time to write it.
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
