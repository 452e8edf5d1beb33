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

// run makes the inputs those that run. Those of the same name and version go on.
func (ins *inputs) run(all []Input) {
	ins.changing.Lock()
	defer ins.changing.Unlock()
	wanted := make(map[string]Input, len(all))
	for _, in := range all {
		wanted[in.Name()] = in
	}

	gone := ins.others(wanted)

	// An input that goes may have something to commit yet. Until it has ended,
	// the settled time waits for it.
	for _, sink := range gone {
		sink.stop()
	}
	for name, sink := range gone {
		<-sink.done
		ins.horizon.leave(name)
	}

	ins.mu.Lock()
	defer ins.mu.Unlock()
	for name, sink := range gone {
		delete(ins.sinks, name)
		if sink.isDown() {
			ins.horizon.turned(name) // nothing is said of it any more
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

// runInput runs an input until ctx ends. An input that panics has that as its
// trouble and is run again: nobody else would, and what its server keeps meanwhile
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

// status returns how the inputs are, by name.
func (ins *inputs) status() []InputStatus {
	var all []InputStatus
	for _, k := range ins.running() {
		all = append(all, k.snapshot())
	}
	return all
}

// running returns the sinks of the running inputs, by name.
func (ins *inputs) running() []*Sink {
	ins.mu.Lock()
	sinks := slices.Collect(maps.Values(ins.sinks))
	ins.mu.Unlock()
	slices.SortFunc(sinks, func(a, b *Sink) int { return cmp.Compare(a.name, b.name) })
	return sinks
}

// Sink takes the samples of one running input. All methods may be called at
// any time from any goroutine.
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

// Identity names this input of this very store among all clients of a server:
// 22 letters and digits, the same after restarts.
func (k *Sink) Identity() string { return k.of.identityOf(k.name) }

func (ins *inputs) identityOf(name string) string {
	sum := sha256.Sum256([]byte(ins.identity + "/" + name))
	return "c" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:13]))
}

// Now returns the time by which what arrives is to be stamped. It is not that of
// the wall clock while this is in doubt, see package clock.
func (k *Sink) Now() time.Time { return k.of.clock.Now() }

// Describe says what the metrics are, by name.
func (k *Sink) Describe(meta map[string]Metadata) { k.of.metadata.add(meta) }

// Trouble sets what people are to be told about an input that is connected, empty if
// all is well. Until the first call of this or of Retry, or the first commit, it counts
// as connecting.
func (k *Sink) Trouble(message string) {
	k.update(func(now time.Time) {
		k.status.Trouble, k.status.NextTry = cut(message, maxPayload), 0
		k.begun, k.cut = true, false
	})
}

// Retry sets why an input has no connection, and when it tries again, a zero time if
// that is not known.
func (k *Sink) Retry(message string, next time.Time) {
	k.update(func(now time.Time) {
		k.status.Trouble, k.status.NextTry = cut(message, maxPayload), 0
		if !next.IsZero() {
			k.status.NextTry = next.UnixMilli()
		}
		k.begun, k.cut = true, true
	})
}

// Report adds to what the status says of messages. It comes after the commit of the
// samples that they became.
func (k *Sink) Report(r Report) {
	k.update(func(now time.Time) {
		k.status.add(r)
		k.received(r.Messages, now)
	})
}

// Silent sets the topics or subjects that nothing has come from yet.
func (k *Sink) Silent(filters []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Silent = filters
}

// update runs do and makes known what follows from it.
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

// Commit stores samples and says that the input has given all that it has up to
// watermark (Unix ms). When it returns nil, what was not refused is found again
// even if the process is killed. Refused are samples that are too far ahead of
// this clock, too old, or another value for a time that the series has one for:
// the first wins. Those that have Arrived get the time that they are stored at as
// their T. After an error nothing counts as stored, and all should be
// committed again: after an ErrNotReady it succeeds when there is room on the
// disk again, or whatever else kept it from succeeding is over.
func (k *Sink) Commit(ctx context.Context, samples []Sample, watermark int64) error {
	return k.CommitEach(ctx, samples, watermark, func(int, error) {})
}

// CommitEach is Commit for those who tell others which samples were refused. It
// calls refused, before it returns, with the index and the reason of each; after
// an error they count for nothing.
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
