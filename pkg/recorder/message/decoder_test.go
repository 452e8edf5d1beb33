package message

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// keeper is a sink that keeps what it gets.
type keeper struct {
	mu        sync.Mutex
	samples   []string
	watermark int64
	report    recorder.Report
	commits   int
	arrived   int
	units     map[string]string
	off       time.Duration // of the clock that is believed
	err       error
}

func (k *keeper) CommitEach(_ context.Context, samples []recorder.Sample, watermark int64, _ func(int, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.commits++
	if k.err != nil {
		return k.err
	}
	for _, s := range samples {
		k.samples = append(k.samples, fmt.Sprintf("%s %v @ %d", recorder.Text(s.Series.Labels), s.V, s.T))
		if s.Arrived {
			k.arrived++
		}
	}
	k.watermark = max(k.watermark, watermark)
	return nil
}

func (k *keeper) Now() time.Time { return time.Now().Add(k.off) }

func (k *keeper) States(labels.Labels, string) ([]string, bool, error) { return nil, false, nil }

func (k *keeper) SetUnits(units map[string]string) { k.units = units }

func (k *keeper) Report(r recorder.Report) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.report.Messages += r.Messages
	for reason, s := range r.Skipped {
		if k.report.Skipped == nil {
			k.report.Skipped = make(map[string]recorder.Skipped)
		}
		s.Count += k.report.Skipped[reason].Count
		k.report.Skipped[reason] = s
	}
	if r.Last != nil {
		k.report.Last = r.Last
	}
}

func (k *keeper) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

// reached is the watermark once all that is ready to run has run.
func (k *keeper) reached() int64 {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.watermark
}

func (k *keeper) skipped() string {
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(k.report.Skipped)) {
		all = append(all, fmt.Sprintf("%s(%d)", reason, k.report.Skipped[reason].Count))
	}
	return strings.Join(all, " ")
}

// run runs a decoder in virtual time.
func run(t *testing.T, r Rules, do func(t *testing.T, d *Decoder, k *keeper)) *keeper {
	t.Helper()
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	k := &keeper{}
	synctest.Test(t, func(t *testing.T) {
		d := New(r, "/", k)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { d.Run(ctx) })
		do(t, d, k)
		cancel()
		wg.Wait()
	})
	return k
}

func add(d *Decoder, topic, payload string) {
	d.Add(topic, []byte(payload), time.Now(), false, nil)
}

// Messages that were received before the watermark was told, and wait to be decoded
// until after it, all get its stamp. None is dropped for that.
func TestArrivedBeforeTheWatermark(t *testing.T) {
	k := run(t, Rules{}, func(_ *testing.T, d *Decoder, _ *keeper) {
		received := time.Now()
		time.Sleep(3 * interval)
		for i := range 3 {
			d.Add("a/t", []byte(fmt.Sprint(i)), received.Add(time.Duration(i)*10*time.Millisecond), false, nil)
		}
	})
	if len(k.samples) != 3 || k.skipped() != "" {
		t.Errorf("recorded: %q, skipped: %s", k.samples, k.skipped())
	}
}

func TestArrival(t *testing.T) {
	k := run(t, Rules{}, func(_ *testing.T, d *Decoder, _ *keeper) {
		add(d, "a/t", "1")
		add(d, "a/t", "2") // within the same millisecond
		add(d, "a/u", "3")
		time.Sleep(time.Millisecond)
		add(d, "a/t", "4")
	})
	want := `t{topic="a/t"} 1 @ 946684800000 t{topic="a/t"} 2 @ 946684800000 u{topic="a/u"} 3 @ 946684800000 t{topic="a/t"} 4 @ 946684800001`
	if got := strings.Join(k.samples, " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := k.skipped(); got != "" || k.arrived != 4 {
		t.Errorf("skipped: %s, %d arrived", got, k.arrived)
	}
	if last := k.report.Last; k.report.Messages != 4 || last.From != "a/t" || last.Payload != "4" ||
		!slices.Equal(last.Samples, []string{`t{topic="a/t"} 4 @ 2000-01-01T00:00:00.001Z`}) {
		t.Errorf("the report is %+v with %+v", k.report, last)
	}
}

func TestWatermark(t *testing.T) {
	run(t, Rules{}, func(t *testing.T, _ *Decoder, k *keeper) {
		time.Sleep(time.Second)
		if now, got := time.Now().UnixMilli(), k.reached(); got != now-1 {
			t.Errorf("idle, the watermark is %d ms behind", now-got)
		}
	})
	run(t, Rules{Rule: Rule{TimeKey: "t"}}, func(t *testing.T, d *Decoder, k *keeper) {
		base := time.Now().Add(-time.Hour).UnixMilli()
		for _, step := range []struct {
			name     string
			at, want int64 // after base
		}{
			{"the first", 0, 0},
			{"in order", 100, 100},
			{"out of order", 50, 100}, // it never goes back
			{"held back by as much", 1000, 1000 - 51},
			{"out of order again", 960, 1000 - 51},
			{"far out of order", 1000 - 10_000, 1000 - 51},
			{"held back no further than it may", 10_000, 8000 - 1},
		} {
			if step.name == "the first" {
				time.Sleep(time.Second)
				if got := k.reached(); got != 0 {
					t.Errorf("the watermark is %d before the first message", got)
				}
			}
			add(d, "x", fmt.Sprintf(`{"t":%d,"v":1}`, base+step.at))
			time.Sleep(interval)
			if got := k.reached(); got != base+step.want {
				t.Errorf("%s: the watermark is %d, want %d", step.name, got-base, step.want)
			}
		}
		// Without another for two windows it is believed no more.
		for i := range int64(3) {
			time.Sleep(time.Minute + time.Second)
			add(d, "x", fmt.Sprintf(`{"t":%d,"v":1}`, base+100_000+i))
		}
		time.Sleep(interval)
		if got := k.reached(); got != base+100_002 {
			t.Errorf("the watermark is %d", got-base)
		}
	})
}

func TestDoneAfterCommit(t *testing.T) {
	run(t, Rules{}, func(t *testing.T, d *Decoder, k *keeper) {
		var done []int
		k.fail(errors.New("no space"))
		begin := time.Now()
		for i, payload := range []string{"1", "no number", "3"} {
			d.Add("x", []byte(payload), time.Now(), false, func() { done = append(done, i) })
		}
		time.Sleep(10 * retry)
		k.reached()
		if len(done) != 0 {
			t.Errorf("%v are done before they were committed", done)
		}
		if k.commits < 9 || k.commits > 11 {
			t.Errorf("%d attempts in ten seconds", k.commits)
		}
		k.fail(nil)
		time.Sleep(retry)
		k.reached()
		if !slices.Equal(done, []int{0, 1, 2}) || len(k.samples) != 2 {
			t.Errorf("done: %v, samples: %v", done, k.samples)
		}
		// Who waits to acknowledge does not wait for the next tick.
		time.Sleep(interval - time.Since(begin)%interval + interval/2)
		d.Add("x", []byte("4"), time.Now(), false, func() { done = append(done, 3) })
		time.Sleep(4 * quiet)
		k.reached()
		if len(done) != 4 {
			t.Error("what can be acknowledged waits")
		}
	})
}

func TestBackPressure(t *testing.T) {
	k := run(t, Rules{}, func(t *testing.T, d *Decoder, k *keeper) {
		k.fail(errors.New("no space"))
		added := 0
		go func() {
			for range backlog + 3*batch {
				time.Sleep(time.Millisecond)
				add(d, "x", "1")
				added++
			}
		}()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		// One part is being committed, the other is full.
		if added < backlog || added >= backlog+2*batch {
			t.Errorf("%d were taken", added)
		}
		k.fail(nil)
		time.Sleep(10 * time.Minute)
	})
	if len(k.samples) != backlog+3*batch {
		t.Errorf("%d samples", len(k.samples))
	}
}

func TestAddAfterRun(t *testing.T) {
	k := &keeper{err: errors.New("no space")}
	synctest.Test(t, func(t *testing.T) {
		d := New(Rules{}, "/", k)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { d.Run(ctx) })
		wg.Go(func() {
			for range 3 * backlog {
				time.Sleep(time.Millisecond)
				add(d, "x", "1")
			}
		})
		time.Sleep(time.Minute + backlog*time.Millisecond)
		cancel()
		begin := time.Now()
		wg.Wait()
		if took := time.Since(begin); took > 3*backlog*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

func TestWhatCannotBeRecorded(t *testing.T) {
	k := run(t, Rules{MaxSeries: 3, Rule: Rule{Pattern: "plant/+line/#"}}, func(_ *testing.T, d *Decoder, _ *keeper) {
		add(d, "plant/1/a", `{"x":1,"y":null,"z":"idle"}`)
		add(d, "works/1/a", "1")
		add(d, "works/\xff", "1")
		add(d, "plant/"+strings.Repeat("x", maxFrom), "1")
		add(d, "plant/2/a", `{"p-q":1,"p_q":2}`)
		add(d, "plant/3/a", `{"°":1,"x":5,"x":6}`)
		add(d, "plant/4/a", "7")
		d.Skip("plant/5/a", []byte("9"), "came too fast", nil)
	})
	want := "came too fast(1) does not fit the pattern(1) name too long(1) no usable name(1) not a number(1) " +
		"not valid UTF-8(1) null(1) same series twice in a message(1) too many series(1) two fields, one name(1)"
	if got := k.skipped(); got != want {
		t.Errorf("skipped %s\nwant    %s", got, want)
	}
	if got := k.report.Skipped[tooMany].Example; got != `plant/4/a is a{line="4", topic="plant/4/a"} (the input may write to 3)` {
		t.Errorf("the example is %q", got)
	}
	if len(k.samples) != 3 || k.report.Messages != 8 {
		t.Errorf("%d messages, samples: %v", k.report.Messages, k.samples)
	}
}

// refusing is a sink that refuses the value 2.
type refusing struct{ *keeper }

func (k refusing) CommitEach(_ context.Context, samples []recorder.Sample, _ int64, refused func(int, error)) error {
	for i, s := range samples {
		if s.V == 2 {
			refused(i, recorder.ErrDuplicate)
		}
	}
	return nil
}

// What is shown of the last message is what was stored.
func TestLastMessageAsStored(t *testing.T) {
	k := &keeper{}
	synctest.Test(t, func(t *testing.T) {
		d := New(Rules{}, "/", refusing{k})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { d.Run(ctx) })
		add(d, "a", `{"x":2,"y":2}`)
		add(d, "a", `{"x":1,"y":2,"z":3}`)
		cancel()
		wg.Wait()
	})
	var got []string
	for _, s := range k.report.Last.Samples {
		got = append(got, strings.Fields(s)[1])
	}
	if !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("it became %q", k.report.Last.Samples)
	}
}

// While this machine's clock is in doubt, stamps go by the one that is believed.
func TestDoubtedClock(t *testing.T) {
	begin := time.Time{}
	k := run(t, Rules{}, func(_ *testing.T, d *Decoder, k *keeper) {
		begin = time.Now()
		add(d, "a", "1")
		k.off = -24 * time.Hour // the clock is a day ahead from now on
		d.Add("b", []byte("2"), time.Now().Add(time.Second), false, nil)
	})
	for i, at := range []time.Time{begin, begin.Add(time.Second - 24*time.Hour)} {
		if len(k.samples) != 2 || !strings.HasSuffix(k.samples[i], fmt.Sprint(" @ ", at.UnixMilli())) {
			t.Errorf("%v", k.samples)
		}
	}
}

func TestUnusedSeriesMakeRoom(t *testing.T) {
	k := run(t, Rules{MaxSeries: 2}, func(_ *testing.T, d *Decoder, _ *keeper) {
		add(d, "a", "1")
		add(d, "b", "2")
		time.Sleep(time.Hour)
		add(d, "b", "3")
		add(d, "c", "4") // a was used an hour ago, and no longer
		time.Sleep(2 * time.Minute)
		add(d, "c", "5")
	})
	if got, want := len(k.samples), 4; got != want || k.skipped() != "too many series(1)" {
		t.Errorf("%v, skipped %s", k.samples, k.skipped())
	}
}

func TestManyTopicsOneSeries(t *testing.T) {
	k := run(t, Rules{MaxSeries: 1, Rule: Rule{Metric: "x", Labels: map[string]string{"topic": ""}}}, func(t *testing.T, d *Decoder, _ *keeper) {
		for i := range 5000 {
			add(d, fmt.Sprint("topic/", i), "1")
			time.Sleep(time.Millisecond)
		}
		if len(d.topics) > 1100 {
			t.Errorf("%d topics are remembered", len(d.topics))
		}
	})
	if len(k.samples) != 5000 {
		t.Errorf("%d samples", len(k.samples))
	}
}

func TestStamps(t *testing.T) {
	begin := time.Now() // it has a reading of the monotonic clock
	wall := begin.UnixMilli()
	var a arrival
	check := func(name string, at time.Time, want int64) {
		t.Helper()
		if got := a.at(at); got != want {
			t.Errorf("%s: %d, want %d", name, got-wall, want-wall)
		}
	}
	check("the first", begin, wall)
	check("later", begin.Add(10*time.Millisecond), wall+10)
	check("received before", begin.Add(5*time.Millisecond), wall+10)
	check("caught up", begin.Add(20*time.Millisecond), wall+20)

	// The clock is set back by four seconds: what was seen is that much ahead.
	a.stamp = a.stamp.Add(4 * time.Second)
	check("set back", begin.Add(120*time.Millisecond), wall+4020+50)
	check("no further", begin.Add(120*time.Millisecond), wall+4020+50)
	check("half as fast", begin.Add(1120*time.Millisecond), wall+4020+550)
	check("caught up", begin.Add(9*time.Second), wall+9000)

	a.stamp = a.stamp.Add(maxSlew + time.Second)
	check("set back too far", begin.Add(10*time.Second), wall+10000)
}

func openStore(b *testing.B, in recorder.Input) *recorder.Store {
	r := recorder.New(b.TempDir(), slog.New(slog.DiscardHandler))
	b.Cleanup(func() {
		if err := r.Close(); err != nil {
			b.Error(err)
		}
	})
	key := recorder.Key{Org: 1, UID: "uid"}
	c := recorder.Config{Retention: 24 * time.Hour, OutOfOrder: time.Hour, MaxWait: 2 * time.Second, Inputs: []recorder.Input{in}}
	if err := r.Configure(key, c); err != nil {
		b.Fatal(err)
	}
	s, err := r.Store(b.Context(), key)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

type input struct{ sinks chan *recorder.Sink }

func (input) Name() string    { return "bench" }
func (input) Version() string { return "" }
func (in input) Run(ctx context.Context, sink *recorder.Sink) {
	in.sinks <- sink
	<-ctx.Done()
}

// Small JSON messages of a thousand topics, decoded and committed. Run it with
// -cpu 1 for what one core does.
func BenchmarkCommitted(b *testing.B) {
	in := input{make(chan *recorder.Sink, 1)}
	s := openStore(b, in)
	d := New(Rules{}, "/", <-in.sinks)
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { d.Run(ctx) })
	topics := make([]string, 1000)
	for i := range topics {
		topics[i] = fmt.Sprintf("plant/line%d/sensor%d", i/100, i)
	}
	payload := []byte(`{"temperature": 21.57, "humidity": 40.2}`)
	// One message for a topic and millisecond, so the stamps run ahead of time.
	at := time.Now().Add(-30 * time.Minute)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n%len(topics) == 0 {
			at = at.Add(time.Millisecond)
		}
		d.Add(topics[n%len(topics)], payload, at, true, nil)
	}
	cancel()
	wg.Wait() // all is committed
	if in := s.Status().Inputs[0]; in.Samples != uint64(2*n) {
		b.Fatalf("%d messages became %+v", n, in)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
}

func BenchmarkAdd(b *testing.B) {
	d := New(Rules{}, "/", &keeper{})
	payload := []byte(`{"temperature": 21.57, "humidity": 40.2}`)
	at := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(time.Millisecond)
		d.Add("plant/line/sensor", payload, at, true, nil)
		d.pending.samples = d.pending.samples[:0]
	}
}

// An input without units tells so, because it may have had some.
func TestUnits(t *testing.T) {
	k := &keeper{units: map[string]string{"old": "V"}}
	New(Rules{}, "/", k)
	if len(k.units) != 0 {
		t.Errorf("the units are still %v", k.units)
	}
	if New(Rules{Units: map[string]string{"m": "°C"}}, "/", k); k.units["m"] != "°C" {
		t.Errorf("the units are %v", k.units)
	}
}
