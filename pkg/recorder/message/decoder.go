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

// Sink is the part of *recorder.Sink that a decoder needs.
type Sink interface {
	CommitEach(ctx context.Context, samples []recorder.Sample, watermark int64, refused func(i int, why error)) error
	Report(r recorder.Report)
	Now() time.Time
	States(lbls labels.Labels, label string) (texts []string, number bool, err error)
	SetUnits(units map[string]string)
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

// Decoder makes samples from messages and commits them to a sink. Its methods may be
// called from any goroutine.
type Decoder struct {
	sink      Sink
	rules     []*rule // the first one whose pattern fits a topic applies
	separator string

	mu      sync.Mutex
	room    *sync.Cond // there is room in pending, or Run has ended
	ended   bool
	full    chan struct{} // gets a value when a whole batch waits
	urgent  chan struct{} // gets a value when a done function waits
	pending *pending
	content content
	arrival arrival
	// off is how far the recorder's clock is ahead of this machine's, measured at
	// looked.
	off    time.Duration
	looked time.Time

	topics  map[string]*topic
	aliases int // entries in the fields of all topics, texts included
	table   *series.Table
	number  uint64 // the last record number, see record.number
	key     []byte
	zeros   int // samples that the states of this message have become

	timed bool             // messages have their own time
	own   series.Watermark // the watermark of these times

	examples map[string]string // by reason
	seen     seen
}

// pending is what has been added since the last commit.
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
	committed int // how many of samples are committed
}

func newPending() *pending {
	return &pending{skipped: make(map[string]uint64), refused: make(map[int]bool)}
}

// New returns a decoder. separator is what separates the levels of a topic, such as
// a slash. The rules must have passed Check.
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
	sink.SetUnits(r.Units)
	return d
}

// Add decodes one message of the topic from. received is when it arrived or, if own
// is true, its time in the stream that it comes from. Parts that cannot be recorded
// are counted by reason.
//
// If done is not nil, it is called once the samples of the message are committed, or
// once those before it are if it has none. The done functions are called in the
// order of Add, from one goroutine, which they must not hold up. done is not called
// if Run ends first.
//
// Add blocks while the store cannot commit and too many samples wait. It keeps
// nothing of payload.
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

// Skip counts a message that the input does not want to record. reason must be one
// of a few fixed texts. done is called as in Add. Skip never blocks.
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

// Run commits what is added, until ctx ends. It then commits what is left, and
// returns within a second.
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
	tick := time.NewTimer(untilTick())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
			defer cancel()
			d.commit(ctx, d.take(spare))
			return
		case <-tick.C:
			tick.Reset(untilTick())
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

// untilTick returns how long it is until decoders commit what waits. All do so at the
// same times: the process wakes up once for all that are idle.
func untilTick() time.Duration {
	now := time.Now()
	return now.Truncate(interval).Add(interval).Sub(now)
}

// calm waits until no message has come for quiet, or a whole batch waits.
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

// take returns what is pending. From then on, messages are added to empty.
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

// commit commits the rest of p, and reports whether that worked.
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
