// Command torture records with the real plugin binary while everything goes wrong
// that can, and afterwards compares what was recorded with what was sent.
//
// The plugin writes to a small disk of its own. MQTT and NATS servers and two pushing
// clients send it numbers. Meanwhile the plugin is killed, its disk is filled, its
// servers are stopped, its settings and its clock are changed, and late samples and
// hostile bodies come, in an order that the seed decides. It checks these guarantees:
//
//   - NoLoss: a query finds every acknowledged number. A push is acknowledged by 2xx,
//     a message by the broker.
//   - ExactlyOnce: a number with a stamp of its own, or with a position in a stream,
//     is found once, at its time. Of numbers that are stamped on arrival, at most as
//     many are found twice as the broker has sent again: those that were on their way
//     when plugin or broker ended.
//   - Alive: only a signal of this program ends the process.
//   - Bounded: memory and goroutines are at most 110 % of what they were after
//     warm-up. They are measured a minute after the last fault, or a third of a short
//     run after it.
//   - Reserved: nothing pushed is acknowledged while the disk is full.
//   - Derived: at each of its times, a recording rule has recorded what its expression
//     gives.
//
// A run has three parts: warm-up, faults, calm. It prints the seed; with the same seed
// the same faults come at the same times. The plugin must have been built with the
// tag torture, so that its clock can be stepped.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/continuum-live/continuum-datasource/pkg/internal/broker"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := func() error {
		switch {
		case len(os.Args) > 1 && os.Args[1] == serve:
			return runServer(ctx, os.Args[2:])
		case len(os.Args) != 2:
			return errors.New("usage: torture PLUGIN_BINARY (go tool mage torture builds it and passes it on)")
		}
		t, err := fromEnv(os.Args[1])
		if err != nil {
			return err
		}
		return t.run(ctx)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to be stopped
	}
}

// torture is a run.
type torture struct {
	binary string
	seed   uint64
	length time.Duration
}

func fromEnv(binary string) (*torture, error) {
	t := &torture{binary: binary, seed: rand.Uint64N(1_000_000), length: time.Minute}
	if text := os.Getenv("TORTURE_MINUTES"); text != "" {
		minutes, err := strconv.ParseFloat(text, 64)
		if err != nil || minutes < 0.5 || minutes > 24*60 {
			return nil, fmt.Errorf("TORTURE_MINUTES=%q is not a number of minutes from 0.5 to 1440", text)
		}
		t.length = time.Duration(minutes * float64(time.Minute))
	}
	if text := os.Getenv("TORTURE_SEED"); text != "" {
		var err error
		if t.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, fmt.Errorf("TORTURE_SEED=%q is not a whole number", text)
		}
	}
	return t, nil
}

// parts returns how long the time before the faults, the time with faults and the
// time after them are.
func (t *torture) parts() (warmUp, faults, calm time.Duration) {
	warmUp, calm = min(30*time.Second, t.length/5), min(time.Minute, t.length/3)
	return warmUp, t.length - warmUp - calm, calm
}

// The size of the plugin's disk, and its two floors, in bytes.
const (
	diskSize     = 1280 << 20
	diskLow      = 500 << 20
	diskCritical = 200 << 20
)

func (t *torture) run(ctx context.Context) (err error) {
	warmUp, faulty, calm := t.parts()
	fmt.Printf("TORTURE_SEED=%d TORTURE_MINUTES=%g: %v of warm-up, %v of faults, %v of calm\n", t.seed, t.length.Minutes(), warmUp, faulty, calm)
	plan := planned(t.seed, faulty)
	for _, f := range plan {
		fmt.Println("  planned", f)
	}

	dir, err := os.MkdirTemp("", "continuum-torture-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		} else {
			fmt.Println("Logs are kept in", dir)
		}
	}()
	disk, err := mountDisk(filepath.Join(dir, "disk"), diskSize)
	if err != nil {
		fmt.Printf("\n!!! NO DISK FAULTS: a file system of limited size cannot be mounted here: %v\n\n", err)
	}
	defer func() { err = errors.Join(err, disk.unmount()) }()
	logs := make(map[string]*os.File)
	for _, name := range []string{"plugin", "mqtt", "nats"} {
		file, err := os.Create(filepath.Join(dir, name+".log"))
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		logs[name] = file
	}
	mqtt, err := newMQTT(filepath.Join(dir, "mosquitto"), logs["mqtt"])
	if errors.Is(err, broker.ErrNoMosquitto) && mqtt != nil {
		fmt.Printf("\n!!! THE BROKER IS NOT ENDED: %v, and mochi forgets what it has\n\n", err)
	} else if err != nil {
		return err
	}
	nats, err := newNATS(filepath.Join(dir, "nats"), logs["nats"])
	if err != nil {
		return err
	}
	for _, s := range []*service{mqtt, nats} {
		if err := s.start(); err != nil {
			return err
		}
		defer s.stop()
	}
	nc, js, err := newStream(ctx, nats.address)
	if err != nil {
		return err
	}
	defer nc.Close()

	clock := filepath.Join(dir, "clock")
	if err := errors.Join(writeClock(clock, 0), os.Setenv("GF_PLUGIN_CLOCK_OFFSET_FILE", clock),
		os.Setenv("GF_PLUGIN_RECORDER_DIR", filepath.Join(disk.dir, "recorder"))); err != nil {
		return err
	}
	gauge, err := newGauge()
	if err != nil {
		return err
	}
	process := startProcess(t.binary, settings(mqtt.address, nats.address, 0), logs["plugin"])
	defer process.stop()
	if err := connected(ctx, process); err != nil {
		return err
	}

	began := time.Now()
	ledger := newLedger()
	sending, stopSending := context.WithCancel(ctx)
	defer stopSending()
	var running sync.WaitGroup
	pushers := make(map[string]*pusher)
	for _, s := range senders {
		switch s.name {
		case stamped, arrival:
			running.Go(func() { sendMQTT(sending, s, mqtt.address, ledger) })
		case stream:
			running.Go(func() { sendNATS(sending, s, js, ledger) })
		default:
			p := newPusher(s, process.post, ledger)
			pushers[s.name] = p
			running.Go(func() { p.run(sending) })
		}
	}

	f := &faults{process: process, disk: disk, mqtt: mqtt, nats: nats, js: js, clock: clock, pusher: pushers[write], began: began}
	// Some memory is taken once: by a process that goes on with a store, by the first
	// full chunk (a buffer of 4 MiB), by the first large body, by inputs that begin
	// anew. What is compared has all of it.
	full := []fault{{kind: lateBatch}, {kind: lateBatch}, {kind: lateBatch}}
	f.run(ctx, []fault{{kind: lateBatch}, {at: warmUp / 3, kind: termPlugin}})
	wait(ctx, warmUp/3)
	if err := f.each(ctx); err != nil {
		return err
	}
	f.run(ctx, full)
	f.burst(1)
	wait(ctx, warmUp/3)
	for _, p := range pushers {
		f.pushers = append(f.pushers, p)
	}
	if err := f.calm(ctx, ledger); err != nil {
		return fmt.Errorf("before there was any fault: %w", err)
	}
	warm, err := gauge.read(ctx, process)
	if err = errors.Join(err, gauge.save(ctx, dir, "warm")); err != nil {
		return err
	}
	f.run(ctx, plan)
	f.run(ctx, full)
	f.burst(8) // what is kept of each sample adds up
	// The faults are over when the plugin stores again and has caught up: a clock
	// that was set back is doubted for two minutes afterwards, and what waits
	// meanwhile takes memory.
	stuck := f.calm(ctx, ledger)
	fmt.Printf("All faults are over, %v are to come.\n", calm)
	wait(ctx, calm)
	after, failed := gauge.read(ctx, process)
	failed = errors.Join(stuck, failed)
	if err := gauge.save(ctx, dir, "end"); err != nil {
		fmt.Println("Profiles cannot be saved:", err)
	}
	stopSending()
	running.Wait()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}

	violations := compare(warm, after)
	if failed != nil {
		violations = append(violations, failed)
	}
	tallies, more := findings(ctx, process, ledger, js, f, began)
	violations = append(violations, more...)
	violations = append(violations, explained(process.failures(), f.events())...)
	fmt.Println()
	for _, r := range []struct {
		name string
		reading
	}{{"after warm-up", warm}, {"at the end", after}} {
		fmt.Printf("%s: %.2f MB in use, %.1f MB resident, %.0f goroutines\n", r.name, r.memory/1e6, r.resident/1e6, r.goroutines)
	}
	fmt.Printf("%s has sent %d messages again that are stamped on arrival\n", mqtt.name, len(mqtt.again()))
	fmt.Printf("%-14s %8s %8s %8s %8s %8s %8s %8s %8s\n", "sender", "sent", "acked", "refused", "unknown", "found", "lost", "doubled", "derived")
	for i, s := range senders {
		c := tallies[i]
		fmt.Printf("%-14s %8d %8d %8d %8d %8d %8d %8d %8d\n", s.name, c.sent, c.acknowledged, c.refused, c.unknown, c.found, c.lost, c.doubled, c.derived)
		if p := pushers[s.name]; p != nil {
			for _, text := range slices.Sorted(maps.Keys(p.troubles)) {
				fmt.Printf("  sent again %d times after: %s\n", p.troubles[text], text)
			}
			if p.refusal != "" {
				fmt.Println("  refused at last:", p.refusal)
			}
		}
	}
	if err = report(t.seed, violations); err != nil {
		if failed := keep(ctx, process, disk, dir); failed != nil {
			fmt.Println("The store cannot be kept:", failed)
		}
	}
	return err
}

// keep copies the status and the store into dir, for a later examination.
func keep(ctx context.Context, p *process, d *disk, dir string) error {
	_, status, err := p.resource(ctx, http.MethodGet, "status", nil, nil)
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "status.json"), []byte(status), 0o600),
		os.CopyFS(filepath.Join(dir, "recorder"), os.DirFS(filepath.Join(d.dir, "recorder"))))
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// running returns how many inputs have no trouble according to a status.
func running(status string) int {
	return strings.Count(status, `"state":"waiting"`) + strings.Count(status, `"state":"recording"`)
}

// connected waits until all inputs are connected, because brokers keep nothing for
// clients that they do not know yet.
func connected(ctx context.Context, p *process) error {
	for deadline := time.Now().Add(begins); ; wait(ctx, 100*time.Millisecond) {
		status, answer, err := p.resource(ctx, "GET", "status", nil, nil)
		if err == nil && status == 200 && running(answer) == inputs {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("the inputs are not connected: %d %s %w", status, answer, err)
		}
	}
}

// eventually is how long there may be no progress while acknowledged numbers are
// missing. The plugin doubts a clock that was set forward for two minutes.
const eventually = 150 * time.Second

// findings reads the recorded samples until none is missing, or for as long as there
// is progress, and checks them.
func findings(ctx context.Context, p *process, l *ledger, js jetstream.JetStream, f *faults, began time.Time) (tallies []tally, violations []error) {
	if err := readStream(ctx, js, l); err != nil {
		return make([]tally, len(senders)), []error{fmt.Errorf("the stream cannot be read: %w", err)}
	}
	least, ended := math.MaxInt, time.Now()
	for deadline := time.Now().Add(eventually); ; wait(ctx, 3*time.Second) {
		tallies, violations = make([]tally, len(senders)), nil
		missing, unread := 0, false
		for i, s := range senders {
			// Late samples are from before the run, and so are samples that arrived
			// while the clock was behind. Samples that arrived all at once are
			// stamped up to seconds ahead.
			found, err := read(ctx, p.query, s.name, began.Add(-lateFrom-s.step), time.Now(), s.step)
			if err != nil {
				unread = true
				violations = append(violations, fmt.Errorf("%s cannot be read: %w", s.name, err))
				continue
			}
			var broken []error
			tallies[i], broken = check(record{l.all(s.name), found, f.events(), s.direct, f.mqtt.again(), f.mqtt.inFlight})
			missing += tallies[i].lost
			violations = append(violations, broken...)
			values, wrong, err := derive(ctx, p.query, s.name, began.Add(-lateFrom), ended, f.events())
			tallies[i].derived = values - wrong
			missing += wrong
			if err != nil {
				violations = append(violations, err)
				unread = unread || wrong == 0
			}
		}
		if missing < least && !unread {
			least, deadline = missing, time.Now().Add(eventually)
		}
		if missing == 0 && !unread || ctx.Err() != nil || time.Now().After(deadline) {
			return tallies, violations
		}
	}
}

func explained(ends []error, events []event) []error {
	for i, err := range ends {
		var end alive
		if errors.As(err, &end) {
			end.during = during(events, end.at, end.at)
			ends[i] = end
		}
	}
	return ends
}

// report prints the violations and which guarantees held.
func report(seed uint64, violations []error) error {
	broken := make(map[string]int)
	for _, v := range violations {
		name, _, _ := strings.Cut(v.Error(), ":")
		broken[name]++
		if broken[name] <= 20 {
			fmt.Println("\n" + v.Error())
		}
	}
	fmt.Println()
	for _, name := range []string{"NoLoss", "ExactlyOnce", "Alive", "Bounded", "Reserved", "Derived"} {
		result := "held"
		if n := broken[name]; n > 0 {
			result = fmt.Sprintf("BROKEN, %d times", n)
		}
		fmt.Printf("%-12s %s\n", name, result)
	}
	if len(violations) > 0 {
		return fmt.Errorf("%d violations; TORTURE_SEED=%d has the same faults again", len(violations), seed)
	}
	return nil
}
