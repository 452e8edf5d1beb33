package message

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/internal/defence"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// Sink is what a decoder needs of a *recorder.Sink.
type Sink interface {
	CommitEach(ctx context.Context, samples []recorder.Sample, watermark int64, refused func(i int, why error)) error
	Report(r recorder.Report)
	Now() time.Time
	States(lbls labels.Labels, label string) (texts []string, number bool, err error)
}

const (
	// interval is the longest that samples wait to be committed, and the longest
	// between two watermarks.
	interval = 100 * time.Millisecond
	// quiet is how long no message must have come before those that somebody
	// waits to acknowledge are committed: brokers send no more than a few, by
	// default twenty, before the first of them is acknowledged.
	quiet = time.Millisecond
	// batch is how many samples are committed at once. The store's lock is held
	// that long.
	batch = 5_000
	// leastUsual is how many samples, and callers of done, there is always room for.
	leastUsual = 125
	// backlog is how many samples may wait for a store that cannot commit.
	backlog = 50_000
	// maxLast is how many samples the status shows of the last message.
	maxLast = 10
	// retry is how long a commit that failed is not tried again.
	retry = time.Second
	// grace is how long what is left may take to be committed at the end.
	grace = 500 * time.Millisecond
)

// Decoder makes samples of messages and commits them to a sink. Its methods may
// be called from any goroutine.
type Decoder struct {
	sink      Sink
	rules     []*rule // the first that a topic fits is for it
	separator string

	mu      sync.Mutex
	room    *sync.Cond // there is room in pending, or Run has ended
	ended   bool
	full    chan struct{} // sent to when a whole batch waits
	urgent  chan struct{} // sent to when somebody waits to acknowledge
	pending *pending
	content content
	arrival arrival
	// off is how far the clock that is believed is from this machine's, as it was at
	// the time looked.
	off    time.Duration
	looked time.Time

	topics  map[string]*topic
	aliases int // fields of all topics, texts included
	table   *series.Table
	number  uint64 // of what may have each series once
	key     []byte
	zeros   int // samples that the states of this message have become

	timed bool             // messages have their own time
	own   series.Watermark // of such times

	examples map[string]string // by reason
	seen     seen
}

// pending is what waits to be committed.
type pending struct {
	samples  []recorder.Sample
	done     []func()
	messages uint64
	skipped  map[string]uint64
	// usual is how many samples or messages there were, of late.
	usual int

	// the last message
	last             bool
	from             string
	payload          []byte
	lastBegin, lastN int          // its samples
	refused          map[int]bool // those of them that were not stored

	watermark int64
	report    recorder.Report
	committed int // how many of samples are
}

func newPending() *pending {
	return &pending{skipped: make(map[string]uint64), refused: make(map[int]bool)}
}

// New returns a decoder of messages whose topics have levels that are separated
// by separator. The rules must have passed Check.
func New(r Rules, separator string, sink Sink) *Decoder {
	d := &Decoder{
		sink: sink, separator: separator,
		full: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		pending: newPending(),
		topics:  make(map[string]*topic), table: series.NewTable(cmp.Or(r.MaxSeries, DefaultMaxSeries)),
		examples: make(map[string]string), seen: newSeen(),
	}
	d.room = sync.NewCond(&d.mu)
	for _, one := range append(slices.Clone(r.Topics), r.Rule) {
		d.rules = append(d.rules, one.ready(separator, r.Version))
		d.timed = d.timed || one.TimeKey != ""
	}
	return d
}

// Add decodes one message. received is when it arrived or, if own is true, its
// time in the stream that it comes from. What cannot be recorded of it is
// counted by reason.
//
// done, if not nil, is called once the samples are committed, or when nothing of
// the message can be recorded; in the order of Add, from one goroutine, which
// must not be held up. It is not called if Run ends before.
//
// Add blocks while the store cannot commit and too much waits. It keeps nothing
// of payload.
func (d *Decoder) Add(from string, payload []byte, received time.Time, own bool, done func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.pending.samples) >= backlog && !d.ended {
		d.room.Wait()
	}
	if d.ended {
		return
	}
	p := d.pending
	p.messages++
	begin := len(p.samples)
	d.add(from, payload, received, own)
	p.last, p.from = true, from
	p.payload = append(p.payload[:0], payload[:min(len(payload), 4000)]...)
	p.lastBegin, p.lastN = begin, len(p.samples)-begin

	d.whenCommitted(done)
	if begin < batch && len(p.samples) >= batch {
		wake(d.full)
	}
}

// Skip counts a message that the input does not want recorded, for a reason of
// few fixed words. done is called as in Add. It never blocks.
func (d *Decoder) Skip(from string, payload []byte, reason string, done func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	d.pending.messages++
	d.skip(reason, 1, from, "", example(payload))
	d.whenCommitted(done)
}

func (d *Decoder) whenCommitted(done func()) {
	if done == nil {
		return
	}
	if d.pending.done = append(d.pending.done, done); len(d.pending.done) == 1 {
		wake(d.urgent)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run commits what was added until ctx ends, and then within a second what is
// left.
func (d *Decoder) Run(ctx context.Context) {
	decoders.Store(d.sink, d)
	defer func() {
		decoders.Delete(d.sink)
		d.mu.Lock()
		d.ended = true
		d.room.Broadcast()
		d.mu.Unlock()
	}()
	spare := newPending()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
			defer cancel()
			d.commit(ctx, d.take(spare))
			return
		case <-tick.C:
		case <-d.full:
		case <-d.urgent:
			d.calm(ctx)
		}
		p := d.take(spare)
		for !d.commit(ctx, p) {
			select {
			case <-time.After(retry):
			case <-ctx.Done():
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
				defer cancel()
				if d.commit(ctx, p) {
					d.commit(ctx, d.take(p))
				}
				return
			}
		}
		spare = p
	}
}

// calm waits until no message has come for a while, or enough have.
func (d *Decoder) calm(ctx context.Context) {
	begin, before := time.Now(), uint64(0)
	for time.Since(begin) < interval && ctx.Err() == nil {
		d.mu.Lock()
		n, samples := d.pending.messages, len(d.pending.samples)
		d.mu.Unlock()
		if n == before || samples >= batch {
			return
		}
		before = n
		time.Sleep(quiet)
	}
}

// take returns what waits, and has empty, which is used up, filled from now on.
func (d *Decoder) take(empty *pending) *pending {
	// What a backlog took is given back within some turns.
	empty.usual = max(leastUsual, len(empty.samples), int(empty.messages), empty.usual/8*7)
	empty.samples = emptied(empty.samples, empty.usual) // the series may be forgotten meanwhile
	empty.done = emptied(empty.done, empty.usual)
	clear(empty.skipped)
	clear(empty.refused)
	empty.messages, empty.last, empty.committed = 0, false, 0
	if cap(empty.payload) > 64<<10 {
		empty.payload = nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pending
	d.pending = empty
	d.room.Broadcast()
	p.watermark = d.watermark()
	if p.messages > 0 {
		p.report = recorder.Report{Messages: p.messages}
		if len(p.skipped) > 0 {
			p.report.Skipped = make(map[string]recorder.Skipped, len(p.skipped))
			for reason, count := range p.skipped {
				p.report.Skipped[reason] = recorder.Skipped{Count: count, Example: d.examples[reason]}
			}
		}
	}
	return p
}

// emptied returns the room of a slice for others, unless it is far more than the usual.
func emptied[T any](s []T, usual int) []T {
	if cap(s) > 4*usual {
		return nil
	}
	clear(s)
	return s[:0]
}

// commit commits what is not yet committed of p. It returns false if it cannot.
func (d *Decoder) commit(ctx context.Context, p *pending) bool {
	if defence.Off(defence.AckAfterCommit) {
		p.acknowledge()
	}
	for {
		n := min(batch, len(p.samples)-p.committed)
		watermark := int64(math.MinInt64) // not before all is committed
		if p.committed+n == len(p.samples) {
			watermark = p.watermark
		}
		err := d.sink.CommitEach(ctx, p.samples[p.committed:p.committed+n], watermark, func(i int, _ error) {
			if i += p.committed; i >= p.lastBegin && i < p.lastBegin+p.lastN {
				p.refused[i] = true
			}
		})
		if err != nil {
			clear(p.refused)
			return false
		}
		if p.committed += n; p.committed == len(p.samples) {
			break
		}
	}
	p.acknowledge()
	if p.messages > 0 {
		if p.last {
			p.report.Last = p.message()
		}
		d.sink.Report(p.report)
	}
	return true
}

func (p *pending) acknowledge() {
	for _, done := range p.done {
		done()
	}
	clear(p.done)
	p.done = p.done[:0]
}

// message is the last message, for people, with what was stored of it.
func (p *pending) message() *recorder.Message {
	m := &recorder.Message{From: p.from, Payload: string(p.payload)}
	for i := p.lastBegin; i < p.lastBegin+p.lastN && len(m.Samples) < maxLast; i++ {
		if !p.refused[i] {
			m.Samples = append(m.Samples, p.samples[i].String())
		}
	}
	return m
}
