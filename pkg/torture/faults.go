package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/golang/snappy"
	"github.com/nats-io/nats.go/jetstream"
)

// faults makes the planned faults, and logs them.
type faults struct {
	process    *process
	disk       *disk
	mqtt, nats *service
	js         jetstream.JetStream
	clock      string // the file with the offset of the plugin's clock
	pusher     *pusher
	pushers    []*pusher // all pushers
	began      time.Time

	filling sync.Mutex // held while the disk is full

	mu       sync.Mutex
	log      []event
	lates    int
	settings int64
}

// run makes the planned faults and returns when all are over.
func (f *faults) run(ctx context.Context, plan []fault) {
	begin := time.Now()
	var running sync.WaitGroup
	defer running.Wait()
	for _, one := range plan {
		select {
		case <-time.After(time.Until(begin.Add(one.at))):
		case <-ctx.Done():
			return
		}
		running.Go(func() {
			if err := f.do(ctx, one); err != nil {
				f.note(one.kind, fmt.Sprintf("%s: %v", one.kind, err))()
			}
		})
	}
}

// each does once, one after another, what takes memory and ends nothing.
func (f *faults) each(ctx context.Context) error {
	all := []fault{{kind: newSettings, amount: -1}}
	for i := range hostile(nil) {
		all = append(all, fault{kind: hostileBody, amount: int64(i)})
	}
	for _, one := range all {
		if err := f.do(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// note logs an event that begins now. The caller must call over when the event is
// over.
func (f *faults) note(k kind, text string) (over func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := len(f.log)
	f.log = append(f.log, event{begin: time.Now(), kind: k, text: text})
	fmt.Println(f.log[i])
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.log[i].end = time.Now()
	}
}

func (f *faults) events() []event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]event(nil), f.log...)
}

func (f *faults) do(ctx context.Context, one fault) error {
	wait := func() {
		select {
		case <-time.After(one.lasts):
		case <-ctx.Done():
		}
	}
	switch one.kind {
	case killPlugin, termPlugin:
		signal := syscall.SIGKILL
		if one.kind == termPlugin {
			signal = syscall.SIGTERM
		}
		defer f.note(one.kind, "the plugin gets "+signal.String())()
		return f.process.signal(signal)
	case fillDisk:
		if !f.disk.mounted {
			return nil
		}
		f.filling.Lock() // on a slow machine the last fault may not be over
		defer f.filling.Unlock()
		if err := f.disk.fill(one.amount); err != nil {
			return err
		}
		over := f.note(one.kind, fmt.Sprintf("the disk is full, %d bytes are left", one.amount))
		wait()
		over() // before emptying, or later acknowledgements would count as too early
		return f.disk.empty()
	case shrinkDisk:
		return f.shrink(ctx, one)
	case stopMQTT, killNATS:
		s := f.mqtt
		if one.kind == killNATS {
			s = f.nats
		}
		if s.name == "mochi" {
			return nil // it would lose its sessions and messages
		}
		s.faulty.Lock() // on a slow machine the last fault may not be over
		defer s.faulty.Unlock()
		defer f.note(one.kind, s.name+" is ended")()
		s.stop()
		wait()
		return s.start()
	case newSettings:
		f.mu.Lock()
		f.settings = one.amount
		f.mu.Unlock()
		defer f.note(one.kind, "settings are changed")()
		f.process.configure(settings(f.mqtt.address, f.nats.address, one.amount))
	case stepClock:
		offset := time.Duration(one.amount) * time.Millisecond
		defer f.note(one.kind, fmt.Sprintf("the plugin's clock is off by %v", offset))()
		if err := writeClock(f.clock, offset); err != nil {
			return err
		}
		wait()
		return writeClock(f.clock, 0)
	case lateBatch:
		defer f.note(one.kind, "samples of the last hour are sent")()
		f.pusher.late <- f.late(lateSamples)
	case hostileBody:
		all := hostile(f.js)
		h := all[one.amount%int64(len(all))]
		defer f.note(one.kind, h.name)()
		asking, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		return h.send(asking, f.process.post)
	}
	return nil
}

// late returns samples of the last hour, so many of each series. After an hour of them
// there are none.
func (f *faults) late(samples int) (batch []message) {
	f.mu.Lock()
	at := f.began.Add(-lateFrom + time.Duration(f.lates)*writeEvery)
	f.lates += samples
	f.mu.Unlock()
	for range samples {
		if at = at.Add(writeEvery); at.Before(f.began.Add(-time.Minute)) {
			batch = append(batch, f.pusher.batch(at.Truncate(writeEvery))...)
		}
	}
	return batch
}

// burst has large batches of late samples sent.
func (f *faults) burst(batches int) {
	defer f.note(lateBatch, "many samples of the last hour are sent")()
	for range batches {
		f.pusher.late <- f.late(largeSamples)
	}
}

// shrink takes all room from the disk until a write has failed, so shortly that nobody
// sees it but who writes. Soon after the same samples are acknowledged after all it kills
// the plugin: from a log that goes on after half a record nothing is read that came then.
func (f *faults) shrink(ctx context.Context, one fault) error {
	if !f.disk.mounted {
		return nil
	}
	f.filling.Lock() // on a slow machine the disk may still be full
	defer f.filling.Unlock()
	defer f.note(one.kind, "the disk has no room until a write has failed, then the plugin gets killed")()
	batch := f.late(largeSamples)
	for range shrinks {
		for deadline := time.Now().Add(eventually); f.ready(ctx) != nil && ctx.Err() == nil && time.Now().Before(deadline); {
			pause(ctx)
		}
		if err := f.disk.resize(one.amount); err != nil {
			return err
		}
		_, answer, _ := f.pusher.try(ctx, batch)
		if err := f.disk.restore(); err != nil {
			return err
		}
		if !strings.Contains(answer, notWritten) {
			continue // it was seen before that there is no room
		}
		f.note(failedWrite, "a write has failed")()
		// If it was seen meanwhile, the store is closed, and no worse for that.
		if good, answer, _ := f.pusher.try(ctx, batch); good || strings.Contains(answer, notWritten) {
			break
		}
	}
	f.pusher.send(ctx, batch)
	pause(ctx)
	return f.process.signal(syscall.SIGKILL)
}

// notWritten is what the plugin answers after a write that failed.
const notWritten = "could not be written"

// calm waits until the plugin stores new samples and has stored all earlier ones. It
// waits for as long as there is progress, because a loaded machine needs longer.
func (f *faults) calm(ctx context.Context, l *ledger) error {
	goals := make(map[string]int)
	for _, s := range senders {
		goals[s.name] = l.count(s.name)
	}
	var why error
	done := math.MinInt
	for deadline := time.Now().Add(eventually); ctx.Err() == nil; wait(ctx, 500*time.Millisecond) {
		var now int
		if now, why = f.progress(ctx, goals); why == nil {
			return nil
		}
		if now > done {
			done, deadline = now, time.Now().Add(eventually)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the plugin does not catch up: %w", why)
		}
	}
	return ctx.Err()
}

// progress returns how much is stored. Until that is enough, the error says what is
// missing.
func (f *faults) progress(ctx context.Context, goals map[string]int) (done int, missing error) {
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := f.ready(ctx); err != nil {
		return 0, err
	}
	for _, p := range f.pushers {
		behind := p.behind()
		if done -= behind; behind > 1 {
			missing = fmt.Errorf("%s has %d batches to send", p.name, behind)
		}
	}
	for _, s := range senders {
		if s.direct {
			continue
		}
		now := time.Now()
		newest, err := cells(asking, f.process.query, fmt.Sprintf("max(max_over_time(n{sender=%q}[%ds]))", s.name, int(now.Sub(f.began).Seconds())+1),
			now.Add(-10*time.Second), now, time.Second)
		if err != nil {
			return done, err
		}
		n := 0
		for _, v := range newest {
			n = max(n, int(v))
		}
		if done += n; n < goals[s.name] {
			missing = fmt.Errorf("%s is stored up to %d of %d", s.name, n, goals[s.name])
		}
	}
	return done, missing
}

// ready returns an error that says why the plugin stores nothing now.
func (f *faults) ready(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	status, answer, err := f.process.resource(asking, http.MethodGet, "status", nil, nil)
	if err == nil && (status != http.StatusOK || strings.Contains(answer, `"notReady":`) || running(answer) != inputs) {
		err = fmt.Errorf("the status is %d %.2000s", status, answer)
	}
	return err
}

const (
	// lateFrom is how far back late samples go.
	lateFrom = 55 * time.Minute
	// lateSamples is how many a series gets at a time, more than an out-of-order chunk
	// has.
	lateSamples = 50
	// largeSamples is how many it gets where that must be more than a page of the
	// TSDB's log: of what fails within a record the log keeps the beginning, and what
	// comes after cannot be read.
	largeSamples = 400
)

// writeClock sets the offset of the plugin's clock.
func writeClock(file string, offset time.Duration) error {
	if err := os.WriteFile(file+".new", []byte(offset.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// hostileRequest is a request that must do no harm. Its answer does not matter.
type hostileRequest struct {
	name string
	send func(context.Context, poster) error
}

func hostile(js jetstream.JetStream) []hostileRequest {
	request := func(name, path string, header http.Header, body func() []byte) hostileRequest {
		return hostileRequest{name, func(ctx context.Context, post poster) error {
			_, _, _ = post(ctx, path, body(), header.Clone()) // whatever the answer is
			return nil
		}}
	}
	publish := func(name string, body func() []byte) hostileRequest {
		return hostileRequest{name, func(ctx context.Context, _ poster) error {
			_, _ = js.Publish(ctx, "torture.hostile.x", body()) // the server may be down
			return nil
		}}
	}
	const size = 8 << 20
	packed := func(b []byte) []byte { return snappy.Encode(nil, b) }
	text := http.Header{"Content-Type": {"text/plain"}}
	zipped := http.Header{"Content-Type": {"text/plain"}, "Content-Encoding": {"gzip"}}
	second := writeHeader.Clone()
	second.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
	second.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	return []hostileRequest{
		request("remote write: no snappy at all", "push/prometheus", writeHeader, func() []byte { return []byte("nonsense") }),
		request("remote write: says that it has 4 GiB", "push/prometheus", writeHeader, func() []byte {
			return append(binary.AppendUvarint(nil, 1<<32-1), 0, 0)
		}),
		request("remote write: 8 MB of empty series", "push/prometheus", writeHeader, func() []byte {
			return packed(bytes.Repeat([]byte{0x0A, 0}, size/2))
		}),
		request("remote write 2.0: 8 MB of empty series", "push/prometheus", second, func() []byte {
			return packed(bytes.Repeat([]byte{0x2A, 0}, size/2))
		}),
		request("remote write: 8 MB of empty samples in a series", "push/prometheus", writeHeader, func() []byte {
			return packed(nested(1, bytes.Repeat([]byte{0x12, 0}, size/2-10)))
		}),
		request("remote write: a label of 7 MB", "push/prometheus", writeHeader, func() []byte {
			label := append(nested(1, []byte("__name__")), nested(2, bytes.Repeat([]byte("x"), 7<<20))...)
			series := append(nested(1, label), nested(2, []byte{0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1})...)
			return packed(nested(1, series))
		}),
		request("remote write: a label of 17 MB", "push/prometheus", writeHeader, func() []byte {
			label := append(nested(1, []byte("__name__")), nested(2, bytes.Repeat([]byte("x"), 17<<20))...)
			return packed(nested(1, nested(1, label)))
		}),
		request("line protocol: one line of 8 MB", "push/influx", text, func() []byte {
			return []byte("n,a=" + strings.Repeat("b", size-100) + " value=1")
		}),
		request("line protocol: 1 GB in 1 MB", "push/influx", zipped, func() []byte {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			for range 1 << 10 {
				_, _ = z.Write(make([]byte, 1<<20)) // to memory
			}
			_ = z.Close()
			return b.Bytes()
		}),
		request("line protocol: 8 MB of commas", "push/influx", text, func() []byte { return bytes.Repeat([]byte(","), size-100) }),
		publish("stream: arrays in arrays", func() []byte { return bytes.Repeat([]byte("["), 500<<10) }),
		publish("stream: an object of 900 KB", func() []byte {
			var b bytes.Buffer
			b.WriteByte('{')
			for i := 0; b.Len() < 900<<10; i++ {
				fmt.Fprintf(&b, `"f%d":"",`, i)
			}
			b.WriteString(`"z":""}`)
			return b.Bytes()
		}),
		publish("stream: bytes that are no text", func() []byte { return bytes.Repeat([]byte{0xFF, 0, 0xFE}, 10_000) }),
	}
}

// nested returns a protobuf field with bytes.
func nested(field int, b []byte) []byte {
	return append(binary.AppendUvarint([]byte{byte(field<<3 | 2)}, uint64(len(b))), b...)
}
