// Package tail follows queries past the end of their history: one Tail per
// (query, step, window, schema) reads each row once, encodes it once and hands
// the same bytes to every stream that wants it.
//
// The fields are those that the history had. A series that ends keeps its field,
// without values, because it is still on screen; a new one ends the tail, and
// viewers ask for their history again, which has it. So does a state that is new.
//
// It guarantees that every settled row is sent in order to every stream that
// keeps up, and that the newest rows, the overlap, are sent again after each
// join and to each stream that fell behind. It never sends a message without
// rows. What a viewer misses beyond the overlap shows as a hole in the grid.
package tail

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

const (
	// pace is the shortest time between two publications. With the repeated overlap,
	// at most twice a second, a channel gets at most ten packets a second.
	pace = 125 * time.Millisecond

	// The overlap: 10 rows or 10 seconds of rows, whichever is more, but at
	// most 16 KiB of them.
	overlapRows  = 10
	overlapTime  = 10 * time.Second
	overlapBytes = 16 << 10

	// catchUp is how many values, times included, are sent at once at most after the
	// source was not reachable: some 200 KB. If there are more, the tail begins
	// again and leaves a hole, and viewers query their history again.
	catchUp = 10_000

	// idle is after how long without new rows the overlap is sent again, so that
	// viewers can tell a slow source from a dead stream.
	idle = 5 * time.Second

	// lookAgain is the longest time between two reads of the settled time, however
	// long the step is. Otherwise it would take long to notice that the source's
	// clock was set back, and viewers who join would get rows from the future.
	lookAgain = 10 * time.Second

	backoffMin = 250 * time.Millisecond
	backoffMax = 10 * time.Second
)

var (
	// ErrFields says that the query has a series or a state that the stream was not
	// made for.
	ErrFields = errors.New("the query has a new series or state")
	// ErrClock means that rows were sent that are in the future by the source's
	// clock, because it was set back.
	ErrClock = errors.New("the clock of the source was set back")
)

// readTime is the default of Pool.ReadTime. Without a limit, a stream whose source
// hangs would look alive for ever.
const readTime = 30 * time.Second

var errSlow = fmt.Errorf("the source did not answer in time: %w", context.DeadlineExceeded)

// leastLife is how long a stream goes on when its history has to be read again, so
// that a source with many late rows does not make its viewers query all the time.
const leastLife = 10 * time.Second

// Tail follows one query at one step. Make it with [Pool.Follow].
type Tail struct {
	bound    source.Bound
	step     int64
	schema   grid.Schema
	readTime time.Duration

	mu     sync.Mutex
	newest packet
	err    error  // why the tail has ended
	away   bool   // the last attempt to read the source failed
	mark   string // the last mark of the source
	// overlap are the newest rows; encoded is their packet, which is encoded when it is
	// first used after a publication.
	overlap grid.Rows
	encoded packet
	fits    int // rows that may fit into overlapBytes
	// published is closed and replaced at each publication.
	published chan struct{}
	// idles fires when nothing was published for idle. It is nil unless the tail runs.
	// One timer for all streams costs less than a timer each.
	idles *time.Timer
}

// packet has the rows in (after, through], and perhaps older ones that have changed.
type packet struct {
	after, through int64
	json           []byte
}

// exists reports whether p is a packet; there is none before the first publication.
func (p packet) exists() bool { return p.json != nil }

func newTail(b source.Bound, schema grid.Schema) *Tail {
	return &Tail{bound: b, step: b.Traits().Step, schema: schema, readTime: readTime, published: make(chan struct{}), fits: mostRows(len(schema.Fields))}
}

// mark is a grid time, or none if not set.
type mark struct {
	at  int64
	set bool
}

// run reads and publishes rows until ctx ends, there is a new series, the source's
// clock is set back, or there are more rows than the limits allow. It survives every
// failure of the source, panics included, and sends nothing while the source cannot
// be read.
func (t *Tail) run(ctx context.Context) {
	t.mu.Lock()
	t.idles = time.AfterFunc(idle, t.wakeIdle)
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.idles.Stop()
		t.idles = nil
	}()
	var read mark // the newest row that was published
	wait := backoffMin
	for {
		var pause time.Duration
		var changed <-chan struct{}
		err := panics.Catch("tail", func() (err error) {
			var now string
			now, changed = t.bound.Watch()
			if t.noteMark(now) {
				read = mark{} // published rows may have changed: begin again
			}
			read, pause, err = t.advance(ctx, read)
			return err
		})
		t.noteAway(err != nil)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			var beyond *limits.Error
			if errors.Is(err, ErrFields) || errors.Is(err, ErrClock) || errors.As(err, &beyond) && !beyond.Passes() {
				t.end(err)
				return
			}
			changed = nil
			log.DefaultLogger.Warn("The tail could not read its source and tries again",
				append(panics.Attrs(err), "query", fmt.Sprintf("%.200s", t.bound.Query()), "error", err, "wait", wait)...)
			failures.Inc()
			pause = wait/2 + rand.N(wait/2)
			wait = min(2*wait, backoffMax)
		} else {
			wait = backoffMin
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(pause, pace)):
		}
		if pause <= pace {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause - pace):
		case <-changed:
		}
	}
}

// noteMark reports whether the source's mark has changed, and wakes the streams if
// it has.
func (t *Tail) noteMark(now string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mark == now {
		return false
	}
	t.mark = now
	t.wake()
	return true
}

// noteAway notes whether the source could be read, and wakes the streams when
// that has changed.
func (t *Tail) noteAway(away bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away != away {
		t.away = away
		t.wake()
	}
}

// end ends the tail because of err.
func (t *Tail) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
	t.wake()
}

// wakeIdle wakes the streams, now and whenever nothing is published for idle.
func (t *Tail) wakeIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idles != nil {
		t.wake()
		t.idles.Reset(idle)
	}
}

func (t *Tail) wake() {
	close(t.published)
	t.published = make(chan struct{})
}

func (t *Tail) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err != nil
}

// advance publishes the rows that settled after read, or the overlap if read is not
// set. It returns up to where it has read, and how long to wait for the next row.
func (t *Tail) advance(ctx context.Context, read mark) (mark, time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.readTime, errSlow)
	defer cancel()
	ctx, end := limits.Begin(ctx)
	defer end()
	settled, err := t.bound.Settled(ctx)
	if err != nil {
		return read, 0, err
	}
	if s := t.state(); s.newest.exists() && s.newest.through-settled > overlapTime.Milliseconds() {
		return read, 0, ErrClock
	}
	after, last := read.at, grid.Floor(settled, t.step)
	anew := !read.set || (last-read.at)/t.step > max(OverlapLen(t.step), t.catchUp())
	if anew {
		after = last - OverlapLen(t.step)*t.step
	}
	if last > after {
		if !anew && t.bound.Traits().Revised {
			after -= OverlapLen(t.step) * t.step
		}
		rows, err := t.bound.Rows(ctx, after, last)
		if err != nil {
			return read, 0, err
		}
		rows, ok := rows.Onto(t.schema)
		if !ok {
			return read, 0, ErrFields
		}
		if err := t.publish(rows); err != nil {
			return read, 0, err
		}
		read = mark{last, true}
		lag.Observe(float64(time.Now().UnixMilli()-last) / 1000)
	}
	next := time.Duration(last+t.step-settled) * time.Millisecond
	return read, min(max(next, pace), lookAgain), nil
}

// unsent returns rows from the first one that was not published with the same
// values.
func (t *Tail) unsent(rows grid.Rows) grid.Rows {
	t.mu.Lock()
	sent := t.overlap
	t.mu.Unlock()
	if len(sent.Series) != len(rows.Series) {
		return rows
	}
	same := 0
	for ; same < rows.Len(); same++ {
		i := (rows.Time(same)-sent.After)/t.step - 1
		if i < 0 || i >= int64(sent.Len()) || !slices.EqualFunc(rows.Series, sent.Series, func(a, b grid.Series) bool {
			return math.Float64bits(a.Values[same]) == math.Float64bits(b.Values[i])
		}) {
			break
		}
	}
	return rows.Newest(rows.Len() - same)
}

// catchUp returns how many rows are sent at once at most, never less than one.
func (t *Tail) catchUp() int64 { return max(1, catchUp/int64(len(t.schema.Fields)+1)) }

// OverlapLen returns how many rows the overlap has at a step (ms). The fields of a
// stream must be those of at least this many rows, because a tail begins with them.
func OverlapLen(step int64) int64 {
	return max(overlapRows, overlapTime.Milliseconds()/step)
}

// publish sends rows to the streams. rows follow the last ones, or repeat some of
// them. If they do neither, or are too many to be sent at once, it sends the overlap
// instead.
func (t *Tail) publish(rows grid.Rows) error {
	joined, _ := t.overlap.Append(rows) // without the lock: only this goroutine writes to it
	overlap := joined.Newest(int(OverlapLen(t.step)))
	unsent := t.unsent(rows)
	// A stream that has the last packet needs only this one.
	last := t.state().newest
	p := packet{after: last.through, through: rows.Through}
	var err error
	if last.exists() && unsent.After <= last.through && int64(unsent.Len()) <= t.catchUp() {
		p.json, err = encode(unsent)
	} else {
		p, _, err = encodeOverlap(overlap, mostRows(len(t.schema.Fields)))
	}
	if err != nil {
		return err
	}
	evaluations.Inc()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.newest, t.overlap, t.encoded = p, overlap, packet{}
	t.wake()
	if t.idles != nil {
		t.idles.Reset(idle)
	}
	return nil
}

// encode returns rows as a packet without a schema. A value belongs to the series at
// its position. That is safe because the path's digest covers the fields.
func encode(rows grid.Rows) ([]byte, error) {
	return data.FrameToJSON(rows.Frame(), data.IncludeDataOnly)
}

// state is what Serve needs to know about its tail.
type state struct {
	newest packet
	mark   string
	err    error
	away   bool
	next   <-chan struct{} // closed when there is a newer state
}

func (t *Tail) state() state {
	t.mu.Lock()
	defer t.mu.Unlock()
	return state{t.newest, t.mark, t.err, t.away, t.published}
}

// overlapPacket returns the packet of the overlap, an empty one before the first
// publication.
func (t *Tail) overlapPacket() (packet, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.newest.exists() {
		return packet{}, nil
	}
	if !t.encoded.exists() {
		var err error
		if t.encoded, t.fits, err = encodeOverlap(t.overlap, t.fits); err != nil {
			return packet{}, err
		}
	}
	return t.encoded, nil
}

// encodeOverlap encodes the newest rows, as many as fit. It tries guess rows first,
// and returns the guess for the next time. One row always fits.
func encodeOverlap(rows grid.Rows, guess int) (packet, int, error) {
	for {
		newest := rows.Newest(guess)
		b, err := encode(newest)
		n := newest.Len()
		switch p := (packet{newest.After, newest.Through, b}); {
		case err != nil:
			return packet{}, 0, err
		case len(b) <= overlapBytes:
			// Allow a few more rows next time, in case rows have become shorter.
			return p, n + n/8 + 1, nil
		case n == 1:
			return p, 1, nil
		}
		guess = min(n-1, max(1, n*overlapBytes/len(b)))
	}
}

// mostRows returns an upper bound of how many rows fit into the overlap: a time
// takes 14 bytes and a value at least 2.
func mostRows(fields int) int { return 1 + overlapBytes/(14+2*fields) }

// History describes the rows that viewers of a stream already have.
type History struct {
	// Window is the length of the history in milliseconds. Mark is the source's mark
	// from when the history was read.
	Window int64
	Mark   string
}

// Serve sends the tail to one channel. It returns an error when ctx ends, send
// fails, the tail ends, or the source says that the history has to be read again.
// joined gets a value whenever a viewer joins; the call itself counts as the first
// join.
//
// When the tail has published nothing for five seconds, Serve sends the overlap again
// while the source can be read, so that silence of 7.5 seconds means trouble.
//
// Serve also sends the overlap a quarter of a second and one second after each join.
// Grafana calls RunStream before the viewer is in its hub, and publishes only to
// viewers who are there, so the first packets can get lost.
func (t *Tail) Serve(ctx context.Context, h History, joined <-chan struct{}, send func([]byte) error) error {
	var repeats repeats
	began := time.Now()
	repeats.join(began)
	timer := time.NewTimer(0)
	defer timer.Stop()

	// The overlap has the rows up to the newest one.
	newest := t.state().newest
	sent := mark{newest.through, newest.exists()}
	last := began // when a packet was sent last
	asked, outdated := h.Mark, error(nil)
	for ctx.Err() == nil {
		s := t.state()
		now := time.Now()
		if s.err != nil {
			return s.err
		}
		old := now.Sub(began) >= leastLife
		if s.mark != asked || outdated != nil && old {
			asked, outdated = s.mark, t.bound.Since(h.Mark, s.newest.through-h.Window)
		}
		if outdated != nil && old {
			return outdated
		}
		// The tail wakes all its streams when it idles. Those that have sent a packet
		// lately, for a viewer who joined, wait for the next time.
		idles := sent.set && s.newest.through <= sent.at && !s.away && now.Sub(last) >= idle/2
		due := s.newest.exists() && (idles || repeats.due(now))
		if due || s.newest.exists() && (!sent.set || s.newest.through > sent.at) {
			p, err := s.newest, error(nil)
			if due || !sent.set || s.newest.after != sent.at {
				p, err = t.overlapPacket()
			}
			if err == nil {
				err = send(p.json)
			}
			if err != nil {
				return err
			}
			if due {
				repeats.done(now)
			}
			before := p.after
			if sent.set {
				before = max(before, sent.at)
			}
			rowsSent.Add(float64((p.through - before) / t.step))
			sent, last = mark{p.through, true}, now
			continue
		}
		var wake <-chan time.Time
		at, ok := repeats.next()
		ok = ok && s.newest.exists()
		if end := began.Add(leastLife); outdated != nil && (!ok || end.Before(at)) {
			at, ok = end, true
		}
		if ok {
			timer.Reset(time.Until(at))
			wake = timer.C
		}
		select {
		case <-ctx.Done():
		case <-joined:
			repeats.join(time.Now())
		case <-s.next:
		case <-wake:
		}
	}
	return ctx.Err()
}

// repeats schedules when the overlap is sent again: a quarter of a second and one
// second after each join, but at most twice a second for any number of joins.
type repeats struct {
	wanted []time.Time // ascending
	last   time.Time
}

var repeatAfter = [...]time.Duration{250 * time.Millisecond, time.Second}

const repeatApart = 500 * time.Millisecond

func (r *repeats) join(now time.Time) {
	for _, d := range repeatAfter {
		r.wanted = append(r.wanted, now.Add(d))
	}
	slices.SortFunc(r.wanted, time.Time.Compare)
}

// next returns when the next repeat is to be sent, if one is wanted.
func (r *repeats) next() (time.Time, bool) {
	if len(r.wanted) == 0 {
		return time.Time{}, false
	}
	at := r.wanted[0]
	if free := r.last.Add(repeatApart); at.Before(free) {
		at = free
	}
	return at, true
}

func (r *repeats) due(now time.Time) bool {
	at, ok := r.next()
	return ok && !at.After(now)
}

// done notes that the overlap was sent at now, which serves all repeats due by then.
func (r *repeats) done(now time.Time) {
	r.last = now
	r.wanted = slices.DeleteFunc(r.wanted, func(t time.Time) bool { return !t.After(now) })
}
