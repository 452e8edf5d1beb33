package tail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
)

// scripted is the signal with a source's troubles added.
type scripted struct {
	source.Bound
	reads   atomic.Int64
	down    atomic.Bool
	panics  atomic.Bool
	renamed atomic.Bool
	series  int // instead of one
	late    atomic.Uint64
	lateAt  atomic.Int64 // Unix ms
	ended   atomic.Bool  // the series gives no more rows
	behind  atomic.Int64 // ms, by which its clock was set back
	revised atomic.Bool
	mended  sync.Map // values by the times of rows that were changed
	changed chan struct{}
	state   atomic.Value // the text of the only state
}

func (s *scripted) Settled(ctx context.Context) (int64, error) {
	settled, err := s.Bound.Settled(ctx)
	return settled - s.behind.Load(), err
}

func (s *scripted) Watch() (string, <-chan struct{}) { return fmt.Sprint(s.late.Load()), s.changed }

func (s *scripted) Since(mark string, after int64) error {
	if now, _ := s.Watch(); mark == now || after >= s.lateAt.Load() {
		return nil
	}
	return source.ErrLate
}

func (s *scripted) Traits() source.Traits {
	traits := s.Bound.Traits()
	traits.Revised = s.revised.Load()
	return traits
}

func (s *scripted) MinStep() int64 { return s.Query().MinStep() }

var errDown = errors.New("the source is down")

// start is the history that a stream without late samples goes on from.
var start = History{Window: 100_000, Mark: "0"}

func newScripted(t testing.TB, raw string) *scripted {
	t.Helper()
	log.DefaultLogger = log.NewNullLogger()
	q, err := signal.Source{}.Query(json.RawMessage(raw))
	if err != nil {
		t.Fatal(err)
	}
	b, err := q.Bind(q.MinStep(), 100*q.MinStep())
	if err != nil {
		t.Fatal(err)
	}
	return &scripted{Bound: b}
}

func (s *scripted) Rows(ctx context.Context, after, through int64) (grid.Rows, error) {
	if s.down.Load() {
		return grid.Rows{}, errDown
	}
	if s.panics.Load() {
		panic("a fault of the source")
	}
	s.reads.Add(1)
	rows, err := s.Bound.Rows(ctx, after, through)
	for i := 1; i < s.series && err == nil; i++ {
		more := rows.Series[0]
		more.Name += string(rune('a' + i))
		rows.Series = append(rows.Series, more)
	}
	for i := range rows.Len() {
		if v, ok := s.mended.Load(rows.Time(i)); ok && err == nil {
			rows.Series[0].Values[i] = v.(float64)
		}
	}
	if err == nil && s.ended.Load() {
		rows.Series = nil
	}
	if err == nil && s.renamed.Load() {
		rows.Series[0].Name = "other"
	}
	if state, ok := s.state.Load().(string); ok {
		rows.States = []grid.State{{Text: state}}
	}
	return rows, err
}

// stream collects what Serve sends.
type stream struct {
	mu      sync.Mutex
	packets []sent
	fields  int // of the last packet, without the time
	err     error
}

type sent struct {
	at    time.Time
	bytes int
	times []int64
}

func (s *stream) send(b []byte) error {
	var p struct {
		Data struct{ Values []json.RawMessage }
	}
	var times []int64
	if err := errors.Join(json.Unmarshal(b, &p), json.Unmarshal(p.Data.Values[0], &times)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets = append(s.packets, sent{time.Now(), len(b), times})
	s.fields = len(p.Data.Values) - 1
	return nil
}

// ended returns why the stream ended, nil while it runs.
func (s *stream) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// count returns how many packets were sent.
func (s *stream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.packets)
}

// since returns the packets after the first n.
func (s *stream) since(n int) []sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.packets[n:])
}

// times returns the times of all rows sent, without repeats.
func (s *stream) times() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []int64
	for _, p := range s.packets {
		all = append(all, p.times...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

var signalFields = grid.Schema{Fields: []string{"signal"}}

// serve runs do in a bubble beside a stream of q at step, which it ends.
func serve(t *testing.T, raw string, do func(t *testing.T, q *scripted, s *stream, joined chan<- struct{})) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q, s, joined := newScripted(t, raw), &stream{}, make(chan struct{}, 1)
		var pool Pool
		tail, release := pool.Follow(q, signalFields)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			err := tail.Serve(ctx, start, joined, s.send)
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			close(done)
		}()
		do(t, q, s, joined)
		cancel()
		<-done
		release()
		if len(pool.tails) != 0 {
			t.Error("the tail goes on without followers")
		}
	})
}

// wait lets virtual time pass, and then whoever runs come to rest.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestEveryRowInOrder(t *testing.T) {
	for name, raw := range map[string]string{
		"20 ms": `{"tickInterval":20}`, "100 ms": `{"tickInterval":100}`, "1 s": `{"tickInterval":1000}`, "1 m": `{"tickInterval":60000}`,
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, raw, func(t *testing.T, q *scripted, s *stream, _ chan<- struct{}) {
				from := time.Now()
				wait(100*time.Duration(q.MinStep())*time.Millisecond + time.Second)
				step := q.MinStep()
				times := s.times()
				for i := 1; i < len(times); i++ {
					if times[i]-times[i-1] != step {
						t.Fatalf("row %d follows row %d", times[i], times[i-1])
					}
				}
				late := time.Now().UnixMilli() - times[len(times)-1]
				if late > max(step, 2*pace.Milliseconds()) || times[0] > from.UnixMilli() {
					t.Errorf("rows go from %v before the start to %d ms before the end", from.Sub(time.UnixMilli(times[0])), late)
				}
				for i, p := range s.packets {
					if len(p.times) == 0 || !slices.IsSorted(p.times) {
						t.Errorf("packet %d has the rows %v", i, p.times)
					}
					if i >= 10 && p.at.Sub(s.packets[i-10].at) < time.Second {
						t.Errorf("eleven packets in %v", p.at.Sub(s.packets[i-10].at))
					}
				}
			})
		})
	}
}

// A join is followed by the overlap after a quarter of a second and after one
// second, so that what vanished around the join is sent again.
func TestOverlapAfterJoin(t *testing.T) {
	serve(t, `{"tickInterval":60000}`, func(t *testing.T, _ *scripted, s *stream, joined chan<- struct{}) {
		repeats := func(do func()) []time.Duration {
			wait(3 * time.Second)
			before, from := s.count(), time.Now()
			do()
			wait(3 * time.Second)
			var at []time.Duration
			for _, p := range s.since(before) {
				if len(p.times) != overlapRows {
					t.Errorf("an overlap of %d rows", len(p.times))
				}
				at = append(at, p.at.Sub(from))
			}
			return at
		}
		if got := repeats(func() { joined <- struct{}{} }); !slices.Equal(got, repeatAfter[:]) {
			t.Errorf("after a join the overlap comes after %v", got)
		}
		got := repeats(func() {
			for range 20 {
				joined <- struct{}{}
				wait(100 * time.Millisecond)
			}
		})
		for i := 1; i < len(got); i++ {
			if got[i]-got[i-1] < repeatApart {
				t.Errorf("with a join every 100 ms the overlap comes after %v", got)
			}
		}
		if last := got[len(got)-1]; last < 2900*time.Millisecond {
			t.Errorf("the last of 20 joins, after 1.9 s, was followed by an overlap after %v", last)
		}
	})
}

func TestOverlapSize(t *testing.T) {
	for _, c := range []struct {
		name   string
		step   string
		series int
		rows   int // 0: as many as fit
	}{
		{"10 rows", "60000", 1, 10},
		{"10 seconds of rows", "100", 1, 100},
		{"as many as fit", "10", 4, 0},
		{"one row that is too long", "1000", 2000, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newScripted(t, `{"tickInterval":`+c.step+`}`)
				q.series = c.series
				rows, err := newest(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				var pool Pool
				cold, err := pool.Overlap(t.Context(), q, rows.Schema())
				if err != nil {
					t.Fatal(err)
				}
				_, release := pool.Follow(q, rows.Schema())
				synctest.Wait()
				reads := q.reads.Load()
				warm, err := pool.Overlap(t.Context(), q, rows.Schema())
				if err != nil {
					t.Fatal(err)
				}
				if q.reads.Load() != reads {
					t.Error("a running tail's overlap was read from the source")
				}
				release()
				for _, b := range [][]byte{cold, warm} {
					var s stream
					if err := s.send(b); err != nil {
						t.Fatal(err)
					}
					n := len(s.packets[0].times)
					if c.rows != 0 && n != c.rows {
						t.Errorf("%d rows, not %d", n, c.rows)
					}
					if c.rows != 1 && len(b) > overlapBytes {
						t.Errorf("%d bytes", len(b))
					}
					if c.rows == 0 && len(b) < overlapBytes/2 {
						t.Errorf("only %d bytes with %d rows", len(b), n)
					}
				}
			})
		})
	}
}

// While the source is away nothing is sent; afterwards all that was missed is,
// with no row lost.
func TestSourceAway(t *testing.T) {
	serve(t, `{"tickInterval":1000}`, func(t *testing.T, q *scripted, s *stream, _ chan<- struct{}) {
		wait(10 * time.Second)
		q.down.Store(true)
		wait(time.Second)
		packets := s.count()
		wait(10 * time.Minute)
		if s.count() != packets {
			t.Error("packets were sent while the source was away")
		}
		q.down.Store(false)
		wait(11 * time.Second) // at the longest backoff
		times := s.times()
		if got, want := len(times), int(times[len(times)-1]-times[0])/1000+1; got != want {
			t.Errorf("%d rows of %d were sent", got, want)
		}
		if late := time.Now().UnixMilli() - times[len(times)-1]; late > 1000 {
			t.Errorf("the newest row is %d ms old", late)
		}
	})
}

// A source that panics is one that fails: its tail tries again, ever more slowly,
// other tails go on, and so does the process.
func TestSourcePanics(t *testing.T) {
	serve(t, `{}`, func(t *testing.T, q *scripted, s *stream, _ chan<- struct{}) {
		var pool Pool
		other, release := pool.Follow(newScripted(t, `{"shape":"sine"}`), signalFields)
		defer release()
		beside := &stream{}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = other.Serve(ctx, start, nil, beside.send) }()
		wait(5 * time.Second)

		before, failed := len(beside.times()), testutil.ToFloat64(failures)
		q.panics.Store(true)
		sent := s.count()
		wait(time.Minute)
		if n := testutil.ToFloat64(failures) - failed; n < 5 || n > 20 {
			t.Errorf("a source that panics was asked %v times in a minute", n)
		}
		if n := s.count() - sent; n > 0 {
			t.Errorf("%d packets of a source that panics", n)
		}
		if n := len(beside.times()) - before; n != 60 {
			t.Errorf("another tail sent %d rows in a minute", n)
		}
		q.panics.Store(false)
		wait(2 * backoffMax)
		times := s.times()
		for i := 1; i < len(times); i++ {
			if times[i]-times[i-1] != 1000 {
				t.Fatalf("row %d follows row %d", times[i], times[i-1])
			}
		}
		if late := time.Now().UnixMilli() - times[len(times)-1]; late > 1000 {
			t.Errorf("the newest row is %d ms old", late)
		}
	})
}

// A source without new rows is not dead: its newest rows are sent every five
// seconds. One that cannot be read is silent.
func TestRepeatsWhileIdle(t *testing.T) {
	serve(t, `{"tickInterval":3600000}`, func(t *testing.T, q *scripted, s *stream, _ chan<- struct{}) {
		wait(2 * time.Second)
		packets := s.count()
		wait(10 * time.Minute)
		if got := s.count() - packets; got != 120 {
			t.Errorf("%d packets came in ten minutes without a new row, not one every five seconds", got)
		}
		q.down.Store(true)
		wait(time.Hour) // the next row cannot be read
		packets = s.count()
		wait(time.Minute)
		if s.count() != packets {
			t.Error("packets were sent while the source was away")
		}
	})
}

// Zero is a time like any other.
func TestBeforeAndAfter1970(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"before": time.Hour, "across": 30 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newScripted(t, `{}`)
				q.behind.Store(time.Now().Add(ahead).UnixMilli())
				var pool Pool
				tail, release := pool.Follow(q, signalFields)
				defer release()
				s := &stream{}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- tail.Serve(ctx, start, nil, s.send) }()
				wait(time.Minute)
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("the stream ended with %v", err)
				}
				times := s.times()
				if len(times) != 10+60 || times[0] != -ahead.Milliseconds()-9000 || times[69] != times[0]+69_000 {
					t.Errorf("%d rows are %v", len(times), times)
				}
			})
		})
	}
}

// After a very long time away the tail starts anew, with a hole, instead of
// reading all that was missed.
func TestSourceAwayForVeryLong(t *testing.T) {
	serve(t, `{"tickInterval":10}`, func(t *testing.T, q *scripted, s *stream, _ chan<- struct{}) {
		wait(time.Second)
		q.down.Store(true)
		wait(10 * time.Minute)
		q.down.Store(false)
		wait(11 * time.Second)
		times := s.times()
		if late := time.Now().UnixMilli() - times[len(times)-1]; late > 300 {
			t.Errorf("the newest row is %d ms old", late)
		}
	})
}

// No packet is huge, whatever there is to send. A row cannot be sent in parts.
func TestPacketSize(t *testing.T) {
	const most = 256 << 10
	for _, c := range []struct {
		tick, series int
		away         time.Duration
	}{
		{10, 1, time.Hour}, {10, 1, 90 * time.Second}, {10, 200, 9 * time.Second}, {1000, 1000, 9 * time.Second},
		{1000, 1000, time.Hour}, {60_000, 500, time.Hour},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newScripted(t, fmt.Sprintf(`{"tickInterval":%d}`, c.tick))
				q.series = c.series
				first, err := newest(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				var pool Pool
				tail, release := pool.Follow(q, first.Schema())
				defer release()
				ctx, cancel := context.WithCancel(t.Context())
				s, done := &stream{}, make(chan struct{})
				go func() {
					_ = tail.Serve(ctx, start, nil, s.send)
					close(done)
				}()
				wait(2 * time.Second)
				q.down.Store(true)
				wait(c.away)
				q.down.Store(false)
				wait(12*time.Second + time.Duration(c.tick)*time.Millisecond)
				cancel()
				<-done
				for i, p := range s.packets {
					if p.bytes > most || len(p.times) > catchUp {
						t.Errorf("packet %d has %d bytes in %d rows", i, p.bytes, len(p.times))
					}
				}
				times := s.times()
				if late := time.Now().UnixMilli() - times[len(times)-1]; late > int64(c.tick)+300 {
					t.Errorf("the newest row is %d ms old", late)
				}
			})
		})
	}
}

// A source whose clock is set back a little is waited for. Else the tail ends,
// and a new one goes on from where the source now is.
func TestClockSetBack(t *testing.T) {
	serve(t, `{}`, func(t *testing.T, q *scripted, s *stream, _ chan<- struct{}) {
		wait(5 * time.Second)
		packets, rows := s.count(), len(s.times())
		q.behind.Store(9000)
		wait(8 * time.Second)
		if s.ended() != nil || len(s.times()) != rows {
			t.Errorf("%d rows came while the clock was 9 s behind, error %v", len(s.times())-rows, s.ended())
		}
		wait(5 * time.Second)
		times := s.times()
		if got, want := len(times), int(times[len(times)-1]-times[0])/1000+1; got != want || s.count() <= packets {
			t.Errorf("%d rows of %d were sent", got, want)
		}
		q.behind.Store(3_600_000)
		wait(2 * time.Second)
		if !errors.Is(s.ended(), ErrClock) {
			t.Errorf("an hour back, Serve: %v", s.ended())
		}
		var pool Pool
		tail, release := pool.Follow(q, signalFields)
		defer release()
		again := &stream{}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = tail.Serve(ctx, start, nil, again.send) }()
		wait(5 * time.Second)
		cancel()
		times = again.times()
		if late := time.Now().UnixMilli() - 3_600_000 - times[len(times)-1]; late < 0 || late > 1000 {
			t.Errorf("the newest row is %d ms old by the source's clock", late)
		}
	})
}

func TestFieldsChange(t *testing.T) {
	serve(t, `{"tickInterval":1000}`, func(t *testing.T, q *scripted, s *stream, _ chan<- struct{}) {
		wait(5 * time.Second)
		q.renamed.Store(true)
		before := s.count()
		wait(5 * time.Second)
		if !errors.Is(s.ended(), ErrFields) || s.count() != before {
			t.Errorf("Serve: %v, with %d packets after the change", s.ended(), s.count()-before)
		}
	})
}

// A state that the history did not have ends the tail, as packets cannot say its text.
func TestStatesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pool Pool
		q := newScripted(t, `{"tickInterval":1000}`)
		q.state.Store("idle")
		schema := grid.Schema{Fields: []string{"signal"}, States: []string{"idle", "running"}}
		tail, release := pool.Follow(q, schema)
		defer release()
		if _, other := pool.Follow(q, signalFields); len(pool.tails) != 2 {
			t.Error("tails with and without states are one")
		} else {
			other()
		}
		wait(5 * time.Second)
		q.state.Store("running")
		wait(5 * time.Second)
		if tail.ended() {
			t.Fatal("a state that was known ends the tail")
		}
		q.state.Store("failed")
		wait(5 * time.Second)
		if err := tail.state().err; !errors.Is(err, ErrFields) {
			t.Errorf("a new state: %v", err)
		}
		if _, err := pool.Overlap(t.Context(), q, schema); !errors.Is(err, ErrFields) {
			t.Errorf("Overlap: %v", err)
		}
	})
}

func TestSendFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pool Pool
		tail, release := pool.Follow(newScripted(t, `{}`), signalFields)
		defer release()
		gone := errors.New("gone")
		if err := tail.Serve(t.Context(), start, nil, func([]byte) error { return gone }); !errors.Is(err, gone) {
			t.Errorf("Serve: %v", err)
		}
	})
}

// A stream that is held up gets the overlap, not a flood, and holds up no other.
func TestSlowStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pool Pool
		tail, release := pool.Follow(newScripted(t, `{"tickInterval":100}`), signalFields)
		ctx, cancel := context.WithCancel(t.Context())
		var slow, fast stream
		for _, s := range []*stream{&slow, &fast} {
			go func() {
				_ = tail.Serve(ctx, start, nil, func(b []byte) error {
					if s == &slow {
						time.Sleep(3 * time.Second)
					}
					return s.send(b)
				})
			}()
		}
		wait(20 * time.Second)
		cancel()
		wait(5 * time.Second)
		release()
		for name, s := range map[string]*stream{"slow": &slow, "fast": &fast} {
			times := s.times()
			if got, want := len(times), int(times[len(times)-1]-times[0])/100+1; got != want {
				t.Errorf("%s: %d rows of %d", name, got, want)
			}
		}
		if len(slow.packets) > 10 || len(fast.packets) < 100 {
			t.Errorf("%d packets to the slow stream, %d to the fast one", len(slow.packets), len(fast.packets))
		}
	})
}

// However many streams want the rows, they are read once.
func TestOneEvaluation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pool Pool
		q := newScripted(t, `{"tickInterval":1000}`)
		ctx, cancel := context.WithCancel(t.Context())
		for range 100 {
			tail, release := pool.Follow(q, signalFields)
			go func() {
				defer release()
				_ = tail.Serve(ctx, start, nil, new(stream).send)
			}()
		}
		wait(10*time.Second + time.Millisecond)
		if n := q.reads.Load(); n != 11 { // the overlap, then a row a second
			t.Errorf("%d reads in ten seconds", n)
		}
		cancel()
		synctest.Wait()
		if len(pool.tails) != 0 {
			t.Error("the tail goes on without followers")
		}
	})
}

// A viewer who joins does not wait for a slow source.
func TestOverlapOfSlowSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now()
		_, err := new(Pool).Overlap(t.Context(), stuck{newScripted(t, `{}`)}, signalFields)
		if waited := time.Since(from); !errors.Is(err, context.DeadlineExceeded) || waited > overlapWait {
			t.Errorf("%v after %v", err, waited)
		}
	})
}

type stuck struct{ *scripted }

func (stuck) Settled(ctx context.Context) (int64, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// A source that does not answer is given up after some time, and asked again.
func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tail := newTail(stuck{newScripted(t, `{}`)}, signalFields)
		ctx, cancel := context.WithCancel(t.Context())
		go tail.run(ctx)
		failed := testutil.ToFloat64(failures)
		time.Sleep(5 * readTime)
		synctest.Wait()
		if got := testutil.ToFloat64(failures) - failed; got != 4 { // with a wait after each
			t.Errorf("%v failures within five deadlines", got)
		}
		if !tail.state().away {
			t.Error("the source does not count as away")
		}
		cancel()
		synctest.Wait()
	})
}

// beyond has rows that are refused by a limit.
type beyond struct {
	*scripted
	limit limits.Limit
}

func (b beyond) Rows(context.Context, int64, int64) (grid.Rows, error) {
	return grid.Rows{}, fmt.Errorf("refused: %w", b.limit.Check(b.limit.Most+1))
}

// A tail whose rows are too many can never go on, and says so. While others take
// all of the process, it waits.
func TestBeyondLimits(t *testing.T) {
	for _, c := range []struct {
		limit limits.Limit
		ends  bool
	}{{limits.Series, true}, {limits.Samples, true}, {limits.Bytes, false}} {
		synctest.Test(t, func(t *testing.T) {
			tail := newTail(beyond{newScripted(t, `{}`), c.limit}, signalFields)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go tail.run(ctx)
			time.Sleep(time.Minute)
			synctest.Wait()
			if tail.ended() != c.ends {
				t.Errorf("%s: the tail has ended: %v", c.limit.Name, tail.ended())
			}
		})
	}
}

// The overlap of a viewer who joins is charged, and what it took given back.
func TestOverlapIsCharged(t *testing.T) {
	b := charged{newScripted(t, `{}`), limits.Request.Most}
	for range 2 {
		if _, err := new(Pool).Overlap(t.Context(), b, signalFields); err != nil {
			t.Error(err)
		}
	}
	b.bytes++
	if _, err := new(Pool).Overlap(t.Context(), b, signalFields); !errors.As(err, new(*limits.Error)) {
		t.Errorf("got %v", err)
	}
}

// charged has rows that take some bytes of the process.
type charged struct {
	*scripted
	bytes int64
}

func (c charged) Rows(ctx context.Context, after, through int64) (grid.Rows, error) {
	if err := limits.Charge(ctx, c.bytes); err != nil {
		return grid.Rows{}, err
	}
	return c.scripted.Rows(ctx, after, through)
}

// One settled row to 1,000 streams of the same query: one evaluation and one
// encoding, then the hand-over of the same bytes to each.
func BenchmarkFanOut(b *testing.B) {
	const streams = 1000
	q := newScripted(b, `{"tickInterval":1000}`)
	t := newTail(q, signalFields)
	through := time.Now().UnixMilli()/1000*1000 - 1_000_000_000
	next := func() grid.Rows {
		rows, err := q.Rows(b.Context(), through, through+1000)
		if err != nil {
			b.Fatal(err)
		}
		through += 1000
		return rows
	}
	if err := t.publish(next()); err != nil {
		b.Fatal(err)
	}
	arrived := make(chan struct{}, 4*streams)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	first := make(chan struct{}, 2*streams)
	for range streams {
		go func() {
			seen := 0
			_ = t.Serve(ctx, start, nil, func([]byte) error {
				// The overlap is sent twice after the start.
				if seen++; seen <= len(repeatAfter) {
					first <- struct{}{}
				} else {
					arrived <- struct{}{}
				}
				return nil
			})
		}()
	}
	for range streams * len(repeatAfter) {
		<-first
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := t.publish(next()); err != nil {
			b.Fatal(err)
		}
		for range streams {
			<-arrived
		}
	}
}

// A series that ends stays on screen and so keeps its field.
func TestSeriesEnds(t *testing.T) {
	serve(t, `{}`, func(t *testing.T, q *scripted, s *stream, _ chan<- struct{}) {
		wait(5 * time.Second)
		q.ended.Store(true)
		before := len(s.times())
		wait(5 * time.Second)
		if got := len(s.times()) - before; got != 5 || s.ended() != nil {
			t.Errorf("%d rows came after the series ended, error %v", got, s.ended())
		}
		if s.fields != len(signalFields.Fields) {
			t.Errorf("the packets have %d fields", s.fields)
		}
	})
}

// Late samples end a stream, but not right after it began.
func TestLate(t *testing.T) {
	for _, c := range []struct{ at, want time.Duration }{
		{0, leastLife},
		{3 * time.Second, leastLife},
		{15500 * time.Millisecond, 16 * time.Second},
	} {
		serve(t, `{}`, func(t *testing.T, q *scripted, s *stream, _ chan<- struct{}) {
			began := time.Now()
			wait(c.at)
			q.lateAt.Store(time.Now().UnixMilli())
			q.late.Add(2)
			wait(c.want - c.at - time.Millisecond)
			if s.ended() != nil {
				t.Fatalf("late samples after %v end the stream before %v: %v", c.at, c.want, s.ended())
			}
			wait(time.Second)
			if !errors.Is(s.ended(), source.ErrLate) {
				t.Errorf("late samples after %v do not end the stream in %v: %v", c.at, time.Since(began), s.ended())
			}
		})
	}
}

// A source that says when its settled time moves is not polled.
func TestWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &moving{scripted: newScripted(t, `{}`), changed: make(chan struct{})}
		q.settled = time.Now().UnixMilli()
		var pool Pool
		tail, release := pool.Follow(q, signalFields)
		defer release()
		s := &stream{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			_ = tail.Serve(ctx, start, nil, s.send)
			close(done)
		}()
		wait(1500 * time.Millisecond)
		for range 5 {
			q.move(1000)
			wait(pace)
			if newest := s.times(); newest[len(newest)-1] != q.settled {
				t.Errorf("%d ms after the settled time moved its row was not sent", time.Now().UnixMilli()-q.settled)
			}
			wait(1100 * time.Millisecond)
		}
		cancel()
		<-done
	})
}

// moving is a source whose settled time moves only when told.
type moving struct {
	*scripted
	mu      sync.Mutex
	settled int64
	changed chan struct{}
}

func (m *moving) Settled(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settled, nil
}

func (m *moving) Watch() (string, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return start.Mark, m.changed
}

func (m *moving) move(ms int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settled += ms
	close(m.changed)
	m.changed = make(chan struct{})
}

// Where settled rows may change, those of the overlap are sent again when they
// do, and only then.
func TestRevised(t *testing.T) {
	serve(t, `{"tickInterval":1000}`, func(t *testing.T, q *scripted, s *stream, _ chan<- struct{}) {
		q.revised.Store(true)
		time.Sleep(5500 * time.Millisecond)
		count := func() (packets, rows int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, p := range s.packets {
				rows += len(p.times)
			}
			return len(s.packets), rows
		}
		packets, rows := count()
		time.Sleep(5 * time.Second)
		if p, r := count(); p != packets+5 || r != rows+5 {
			t.Errorf("%d packets with %d rows in five seconds without changes", p-packets, r-rows)
		}
		now := time.Now().UnixMilli() / 1000 * 1000
		q.mended.Store(now-3000, 1e6)
		q.mended.Store(now-60_000, 1e6) // too old to be noticed
		time.Sleep(time.Second)
		s.mu.Lock()
		last := s.packets[len(s.packets)-1].times
		s.mu.Unlock()
		if want := []int64{now - 3000, now - 2000, now - 1000, now, now + 1000}; !slices.Equal(last, want) {
			t.Errorf("after a change the rows %v are sent, not %v", last, want)
		}
		packets, rows = count()
		q.down.Store(true) // changes while nobody can know
		time.Sleep(3 * time.Second)
		q.mended.Store(now, 1e6)
		q.down.Store(false)
		time.Sleep(5 * time.Second)
		if p, r := count(); p <= packets || r < rows+9 {
			t.Errorf("%d packets with %d rows after a failure", p-packets, r-rows)
		}
		q.revised.Store(false)
		q.mended.Store(now+8000, 1e6)
		packets, rows = count()
		time.Sleep(5 * time.Second)
		if p, r := count(); p != packets+5 || r != rows+5 {
			t.Errorf("%d packets with %d rows where rows do not change", p-packets, r-rows)
		}
	})
}

// While the source has never answered nothing is sent, to nobody, and it is asked
// ever more slowly. The first answer begins the stream.
func TestSourceAwayFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newScripted(t, `{}`)
		q.down.Store(true)
		var pool Pool
		tail, release := pool.Follow(q, signalFields)
		defer release()
		before := testutil.ToFloat64(failures)
		s, joined := &stream{}, make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			_ = tail.Serve(ctx, start, joined, s.send)
			close(done)
		}()
		for range 10 {
			wait(time.Minute)
			joined <- struct{}{}
			if _, err := pool.Overlap(ctx, q, signalFields); !errors.Is(err, errDown) {
				t.Errorf("Overlap: %v", err)
			}
		}
		if n := s.count(); n != 0 {
			t.Errorf("%d packets came from a source that never answered", n)
		}
		// At most every 5 to 10 s, but for the beginning.
		if n := testutil.ToFloat64(failures) - before; n < 60 || n > 130 {
			t.Errorf("the source was asked %v times in ten minutes", n)
		}
		q.down.Store(false)
		wait(backoffMax + time.Second)
		times := s.times()
		if len(times) < overlapRows || time.Now().UnixMilli()-times[len(times)-1] > 1000 {
			t.Errorf("the rows at %v came", times)
		}
		cancel()
		<-done
	})
}

// However many viewers join, a stream has no more than ten packets in any second.
func TestPacketsPerSecond(t *testing.T) {
	for _, tick := range []int{10, 100, 1000} {
		serve(t, fmt.Sprintf(`{"tickInterval":%d}`, tick), func(t *testing.T, _ *scripted, s *stream, joined chan<- struct{}) {
			for i := range 1000 {
				select {
				case joined <- struct{}{}:
				default: // as streams.join does
				}
				wait(time.Duration(1+i*7%40) * time.Millisecond)
			}
			for i := 10; i < len(s.packets); i++ {
				if d := s.packets[i].at.Sub(s.packets[i-10].at); d < time.Second {
					t.Fatalf("at a tick of %d ms, 11 packets came in %v", tick, d)
				}
			}
		})
	}
}

// The repeats of several joins come in the order of their times.
func TestRepeatsOfSeveralJoins(t *testing.T) {
	var r repeats
	began := time.Unix(0, 0)
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	r.join(began)
	r.join(at(100))
	var got []int64
	for {
		next, ok := r.next()
		if !ok {
			break
		}
		got = append(got, next.Sub(began).Milliseconds())
		if r.due(next.Add(-time.Millisecond)) || !r.due(next) {
			t.Errorf("a repeat is not due at %v", next)
		}
		r.done(next)
		if len(got) == 2 {
			r.join(at(1100)) // before the second one of the join at 100 ms is done
		}
	}
	if want := []int64{250, 750, 1250, 1750, 2250}; !slices.Equal(got, want) {
		t.Errorf("the overlap is repeated after %v ms, want %v", got, want)
	}
}

// A tail that has ended serves nobody new, and its last follower leaves the new
// one alone.
func TestFollowAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pool Pool
		q := newScripted(t, `{}`)
		ended, leave := pool.Follow(q, signalFields)
		wait(2 * time.Second)
		q.renamed.Store(true)
		wait(2 * time.Second)
		if !ended.ended() {
			t.Fatal("the tail goes on")
		}
		if _, err := pool.Overlap(t.Context(), q, signalFields); !errors.Is(err, ErrFields) {
			t.Errorf("Overlap: %v", err)
		}
		q.renamed.Store(false)
		running, release := pool.Follow(q, signalFields)
		if running == ended {
			t.Fatal("a tail that has ended is followed")
		}
		leave()
		leave() // it is of no harm
		if again, release := pool.Follow(q, signalFields); again != running {
			t.Error("the running tail is forgotten")
		} else {
			release()
		}
		s := &stream{}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = running.Serve(ctx, start, nil, s.send) }()
		wait(5 * time.Second)
		if n := s.count(); n < 5 {
			t.Errorf("%d packets came of the running tail", n)
		}
		cancel()
		release()
		synctest.Wait()
		if len(pool.tails) != 0 {
			t.Error("a tail goes on without followers")
		}
	})
}

// The metrics count what happens: a row that is read once for two streams is sent
// twice, and repeats are not counted.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pool Pool
		q := newScripted(t, `{}`)
		ctx, cancel := context.WithCancel(t.Context())
		time.Sleep(500 * time.Millisecond)
		for range 2 {
			tail, release := pool.Follow(q, signalFields)
			go func() {
				defer release()
				_ = tail.Serve(ctx, start, nil, new(stream).send)
			}()
		}
		wait(3 * time.Second) // the repeats are over
		reads, rows, failed := testutil.ToFloat64(evaluations), testutil.ToFloat64(rowsSent), testutil.ToFloat64(failures)
		wait(10 * time.Second)
		if n := testutil.ToFloat64(evaluations) - reads; n != 10 {
			t.Errorf("%v evaluations in ten seconds", n)
		}
		if n := testutil.ToFloat64(rowsSent) - rows; n != 20 {
			t.Errorf("%v rows were sent to two streams in ten seconds", n)
		}
		q.down.Store(true)
		wait(2 * time.Second)
		if n := testutil.ToFloat64(failures) - failed; n < 2 {
			t.Errorf("%v failures in two seconds without the source", n)
		}
		cancel()
		synctest.Wait()
	})
}
