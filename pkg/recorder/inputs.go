package recorder

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// inputs are the running inputs of a store.
type inputs struct {
	identity string // of the store
	logger   *slog.Logger
	ingester *ingester
	horizon  *horizon
	metadata *metadata
	clock    *clock.Clock

	changing sync.Mutex // held while inputs are started and stopped

	mu    sync.Mutex
	sinks map[string]*Sink
}

// run starts and stops inputs so that exactly these run. Inputs of the same name and
// version keep running.
func (ins *inputs) run(all []Input) {
	ins.changing.Lock()
	defer ins.changing.Unlock()
	wanted := make(map[string]Input, len(all))
	for _, in := range all {
		wanted[in.Name()] = in
	}

	gone := ins.others(wanted)

	// An input that stops may still have something to commit. Until it has ended,
	// the settled time waits for it.
	for _, sink := range gone {
		sink.stop()
	}
	for name, sink := range gone {
		<-sink.done
		ins.horizon.leave(name)
		ins.metadata.setUnits(name, nil)
	}

	ins.mu.Lock()
	defer ins.mu.Unlock()
	for name, sink := range gone {
		delete(ins.sinks, name)
		if sink.isDown() {
			ins.horizon.turned(name) // it is gone, and with it its notice
		}
	}
	for name, in := range wanted {
		if ins.sinks[name] == nil {
			ins.sinks[name] = ins.start(in)
		}
	}
}

// others returns the sinks of inputs that are not wanted in the version that runs.
func (ins *inputs) others(wanted map[string]Input) map[string]*Sink {
	ins.mu.Lock()
	defer ins.mu.Unlock()
	all := maps.Clone(ins.sinks)
	maps.DeleteFunc(all, func(name string, k *Sink) bool { return wanted[name] != nil && wanted[name].Version() == k.version })
	return all
}

func (ins *inputs) start(in Input) *Sink {
	ctx, cancel := context.WithCancel(context.Background())
	sink := &Sink{of: ins, name: in.Name(), version: in.Version(), stop: cancel, done: make(chan struct{}), health: health{state: StateConnecting, since: ins.clock.Now()}}
	ins.horizon.join(sink.name)
	go func() {
		defer close(sink.done)
		ins.runInput(ctx, in, sink)
	}()
	return sink
}

// restart is how long an input that panicked waits before it runs again.
const restart = 10 * time.Second

// runInput runs an input until ctx ends. After a panic it shows the panic as the
// trouble of the input, and runs it again: then what the server has kept meanwhile
// is not lost.
func (ins *inputs) runInput(ctx context.Context, in Input, sink *Sink) {
	for {
		err := panics.Catch("input", func() error {
			in.Run(ctx, sink)
			return nil
		})
		if err == nil {
			return
		}
		ins.logger.Error("An input panicked and is run again", append(panics.Attrs(err), "input", sink.name, "error", err, "wait", restart)...)
		sink.Retry(err.Error(), time.Now().Add(restart))
		select {
		case <-ctx.Done():
			return
		case <-time.After(restart):
		}
	}
}

func (ins *inputs) sink(name string) *Sink {
	ins.mu.Lock()
	defer ins.mu.Unlock()
	return ins.sinks[name]
}

// status returns the status of all running inputs, sorted by name.
func (ins *inputs) status() []InputStatus {
	var all []InputStatus
	for _, k := range ins.running() {
		all = append(all, k.snapshot())
	}
	return all
}

// running returns the sinks of the running inputs, sorted by name.
func (ins *inputs) running() []*Sink {
	ins.mu.Lock()
	sinks := slices.Collect(maps.Values(ins.sinks))
	ins.mu.Unlock()
	slices.SortFunc(sinks, func(a, b *Sink) int { return cmp.Compare(a.name, b.name) })
	return sinks
}

// Sink takes the samples of one running input. All methods may be called at any time
// from any goroutine.
type Sink struct {
	of      *inputs
	name    string
	version string
	stop    context.CancelFunc
	done    chan struct{}

	mu     sync.Mutex
	status InputStatus
	recent rate
	health
}

// Identity returns a name for this input of this store that no other client of a
// server has. It has 22 letters and digits, and is the same after restarts.
func (k *Sink) Identity() string { return k.of.identityOf(k.name) }

func (ins *inputs) identityOf(name string) string {
	sum := sha256.Sum256([]byte(ins.identity + "/" + name))
	return "c" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:13]))
}

// Now returns the time to stamp arriving samples with. While the wall clock is in
// doubt, it is another time, see package clock.
func (k *Sink) Now() time.Time { return k.of.clock.Now() }

// Describe adds metadata of metrics, by name. Empty fields leave what is known.
func (k *Sink) Describe(meta map[string]Metadata) { k.of.metadata.add(meta) }

// SetUnits replaces the units that the settings of the input give to metrics, by name of
// the metric. They count before those of Describe, unless inputs contradict each other.
// They end with the input.
func (k *Sink) SetUnits(units map[string]string) { k.of.metadata.setUnits(k.name, units) }

// Trouble sets the message that people see about a connected input, empty if all is
// well. The input counts as connecting until the first call of Trouble, of Retry or
// of a commit.
func (k *Sink) Trouble(message string) {
	k.update(func(now time.Time) {
		k.status.Trouble, k.status.NextTry = cut(message, maxPayload), 0
		k.begun, k.cut = true, false
	})
}

// Retry sets why the input has no connection, and when it tries again, a zero time
// if that is not known.
func (k *Sink) Retry(message string, next time.Time) {
	k.update(func(now time.Time) {
		k.status.Trouble, k.status.NextTry = cut(message, maxPayload), 0
		if !next.IsZero() {
			k.status.NextTry = next.UnixMilli()
		}
		k.begun, k.cut = true, true
	})
}

// Report adds r to the status. Call it after the samples of these messages were
// committed.
func (k *Sink) Report(r Report) {
	k.update(func(now time.Time) {
		k.status.add(r)
		k.received(r.Messages, now)
	})
}

// Silent sets the topics or subjects from which nothing has come yet.
func (k *Sink) Silent(filters []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Silent = filters
}

// update runs do, and tells watchers if the state of the input has changed.
func (k *Sink) update(do func(now time.Time)) {
	now := k.of.clock.Now()
	k.mu.Lock()
	begun := k.begun
	do(now)
	begins := k.begun && !begun
	turned := k.turn(now)
	k.mu.Unlock()
	switch {
	case turned:
		k.of.horizon.turned(k.name)
	case begins:
		k.of.horizon.wake()
	}
}

// Commit stores samples and says that the input has given all its samples up to
// watermark (Unix ms). When it returns nil, samples that were not refused are found
// again even if the process is killed. Samples are refused if they are too far ahead
// of this clock, too old, or another value for a time that has one: the first wins.
// Samples with Arrived get the time at which they were stored as their T.
//
// After an error no sample counts as stored, and all should be committed again, from
// the same slice: samples with Arrived have noted there when they may have been stored
// all the same. If it is an ErrNotReady, that succeeds once the cause is over, such as a
// full disk.
func (k *Sink) Commit(ctx context.Context, samples []Sample, watermark int64) error {
	return k.CommitEach(ctx, samples, watermark, func(int, error) {})
}

// CommitEach is Commit for callers that report refused samples. Before it returns,
// it calls refused with the index of each such sample and the reason. If CommitEach
// returns an error, ignore these calls.
func (k *Sink) CommitEach(ctx context.Context, samples []Sample, watermark int64, refused func(i int, why error)) error {
	var first map[string]int // refused, by the reason's name
	out, err := k.of.ingester.commit(ctx, k.name, samples, watermark, func(i int, why error) {
		if name := refusedNames[why]; name != "" {
			if first == nil {
				first = make(map[string]int)
			}
			if _, ok := first[name]; !ok {
				first[name] = i
			}
		}
		refused(i, why)
	})
	if len(samples) == 0 && err == nil && k.unmoved() {
		return nil
	}
	k.update(func(now time.Time) {
		if err != nil {
			k.status.LastError = err.Error()
		} else {
			k.refusedFirst(samples, first)
		}
		k.status.Samples += out.stored
		k.status.Late += out.late
		k.status.Repeated += out.repeated
		k.status.Refused.add(out.refused)
		if out.stored > 0 {
			k.recent.add(now, out.stored)
			k.status.Stored = now.UnixMilli()
		}
		k.begun = true
		k.committed(len(samples), out, err)
	})
	return err
}

// unmoved reports whether an empty commit makes no difference to how the input is.
func (k *Sink) unmoved() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.begun && k.unstored.messages == 0
}

// refusedFirst notes which samples were refused first. It needs k.mu.
func (k *Sink) refusedFirst(samples []Sample, first map[string]int) {
	for name, i := range first {
		if _, ok := k.status.RefusedFirst[name]; ok {
			continue
		}
		if k.status.RefusedFirst == nil {
			k.status.RefusedFirst = make(map[string]string)
		}
		k.status.RefusedFirst[name] = cut(samples[i].String(), maxExample)
	}
}

func (k *Sink) isDown() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.down
}

func (k *Sink) snapshot() InputStatus {
	k.update(func(time.Time) {})
	now := k.of.clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	in := k.status
	in.Name, in.Rate = k.name, k.recent.perSecond(now)
	in.State, in.Since = k.state, k.since.UnixMilli()
	in.Skipped, in.RefusedFirst = maps.Clone(in.Skipped), maps.Clone(in.RefusedFirst)
	return in
}
