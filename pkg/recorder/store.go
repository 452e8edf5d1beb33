package recorder

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// Store has the samples of one data source. It is made of parts. Each part has its
// own lock, and knows only the other parts in its fields:
//
//   - database is the TSDB, which is closed and reopened when necessary;
//   - readiness decides whether samples may be acknowledged;
//   - horizon has the settled time, and notes which settled samples have changed;
//   - ingester takes batches of samples into the TSDB, one after another;
//   - inputs start and stop, and each has a Sink;
//   - rules evaluates recording rules and has what they record, in a TSDB of its own;
//   - usage knows when somebody last asked for samples;
//   - metadata has what inputs say about metrics.
//
// The store also records the state of its inputs, see recordHealth, and keeps its
// parts working, see maintain.
type Store struct {
	identity string
	fleeting string // why what is recorded may not be there after the next start
	logger   *slog.Logger
	clock    *clock.Clock
	reserve  *reserve
	// keepClock writes the state of the clock to the disk.
	keepClock func()

	database *database
	ready    *readiness
	horizon  *horizon
	ingester *ingester
	inputs   *inputs
	rules    *rules
	usage    *usage
	metadata metadata
	future   future

	// ended is closed when the store closes.
	ended   chan struct{}
	running sync.WaitGroup
	// importing is held by an import.
	importing sync.Mutex

	// configuring is held while settings are applied and written to the disk.
	configuring sync.Mutex
	config      Config
	idle        bool // the inputs are stopped, because nobody asks
	memory      *memory
}

func open(r *Recorder, dir string, c Config, identity string, logger *slog.Logger) (s *Store, err error) {
	db, err := newDatabase(dir, c, r.clock.Now, logger)
	if err != nil {
		return nil, err
	}
	isOpen := false
	defer func() {
		if !isOpen { // also after a panic
			err = errors.Join(err, db.release())
		}
	}()
	m, err := recall(dir, identity, r.clock.Now(), logger)
	if err != nil {
		return nil, err
	}
	s = &Store{
		identity: m.Identity, memory: m, logger: logger, clock: r.clock, reserve: r.reserve, keepClock: r.keepClock, database: db,
		ready:   newReadiness(r.clock, func() (int64, error) { return r.free(dir) }),
		horizon: newHorizon(r.clock.Now), usage: newUsage(r.clock.Now, m.Used), ended: make(chan struct{}),
	}
	s.rules = newRules(dir, logger, r.clock, s.ready, s.horizon, db)
	s.rules.from = quiet{s}
	s.ingester = &ingester{database: db, horizon: s.horizon, ready: s.ready, rules: s.rules, now: r.clock.Now}
	s.inputs = &inputs{identity: m.Identity, logger: logger, ingester: s.ingester, horizon: s.horizon, metadata: &s.metadata, clock: r.clock, sinks: make(map[string]*Sink)}
	s.configure(c)
	if full, _, err := s.ready.disk(); full == levelCritical {
		db.retire(err, false) // to be opened once there is room
	} else if err := db.open(); err != nil {
		return nil, err
	}
	isOpen = true
	s.rules.start(c)
	s.metadata.add(ruleMetrics)
	if s.fleeting = fleeting(dir); s.fleeting != "" {
		logger.Warn("What is recorded may be gone after the next start", "reason", s.fleeting)
	}
	s.future.opened()
	s.watchFuture()
	s.running.Go(s.watchUse)
	s.running.Go(s.maintain)
	s.running.Go(s.recordHealth)
	s.running.Go(func() { s.rules.run(s.ended) })
	return s, nil
}

func (s *Store) configure(c Config) {
	s.ready.configure(c.DiskLow, c.DiskCritical)
	s.horizon.configure(c.MaxWait, c.Retention)
	s.usage.configure(c.Idle)
	s.ingester.configure(c.MaxAhead)
}

// apply sets what may change while the store is open, and starts and stops
// inputs.
func (s *Store) apply(c Config) error {
	if err := s.database.configure(c); err != nil {
		return err
	}
	s.rules.configure(c)
	s.configuring.Lock()
	defer s.configuring.Unlock()
	s.config = c
	s.configure(c)
	s.idle = s.usage.over()
	if s.idle {
		s.inputs.run(nil)
	} else {
		s.inputs.run(c.Inputs)
	}
	// Samples are recorded all the same; only the next restart needs the file.
	if err := s.keep(); err != nil {
		s.logger.Warn("Recording will not go on by itself after a restart", "error", err)
	}
	return nil
}

// keep needs s.configuring.
func (s *Store) keep() error {
	used, _ := s.usage.times()
	return s.memory.keep(s.config, used)
}

// leaveWithin is how long Leaver.Leave may take.
const leaveWithin = 10 * time.Second

// leave calls Leave of the inputs that were removed from the settings, so that
// nothing of theirs stays at their servers. It does not wait for the result.
func (s *Store) leave(removed []Input) {
	for _, in := range removed {
		leaver, ok := in.(Leaver)
		if !ok {
			continue
		}
		s.running.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
			defer cancel()
			go func() {
				select {
				case <-s.ended:
					cancel()
				case <-ctx.Done():
				}
			}()
			err := panics.Catch("input", func() error {
				if s.Sink(in.Name()) != nil {
					return nil // it was added again
				}
				return leaver.Leave(ctx, s.inputs.identityOf(in.Name()))
			})
			if err != nil { // its text is not logged, as it may have secrets
				s.logger.Warn("An input that was removed has left its session or consumer at its server", append(panics.Attrs(err), "input", in.Name())...)
			}
		})
	}
}

// close stops the inputs and closes the TSDB once nobody reads it any more.
func (s *Store) close() error {
	close(s.ended)
	s.running.Wait()
	s.importing.Lock() // for ever
	s.configuring.Lock()
	defer s.configuring.Unlock()
	s.inputs.run(nil)
	err := s.keep()
	s.database.retire(ErrClosed, false)
	s.horizon.wake() // followers of rows must ask the recorder for the store again
	return errors.Join(err, s.rules.close(), s.database.close(ErrClosed), s.database.release())
}

// watchUse stops the inputs when nobody has asked for long, and starts them
// again when somebody does.
func (s *Store) watchUse() {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
		case <-s.usage.woken:
		}
		s.guard(s.checkUse)
	}
}

// guard runs do, and logs its panics. The goroutines of the store call it time and
// again, so the next call is another chance.
func (s *Store) guard(do func()) {
	err := panics.Catch("store", func() error {
		do()
		return nil
	})
	if err != nil {
		s.logger.Error("The store's maintenance panicked and is tried again", append(panics.Attrs(err), "error", err)...)
	}
}

func (s *Store) checkUse() {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	idle := s.usage.over()
	switch {
	case s.idle == idle:
	case idle:
		s.logger.Warn("Nothing is recorded any more, because nobody asks for it", "unused for", s.config.Idle)
		s.inputs.run(nil)
	default:
		s.inputs.run(s.config.Inputs)
	}
	s.idle = idle
	if used, _ := s.usage.times(); used-s.memory.Used >= time.Hour.Milliseconds() {
		if err := s.keep(); err != nil {
			s.logger.Warn("It cannot be noted that the store is in use", "error", err)
		}
	}
}

// retryOpen is the pause after a TSDB could not be opened.
const retryOpen = 5 * time.Second

// maintain keeps the TSDB open while it may be, and closed while it must not.
func (s *Store) maintain() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var failed time.Time // when it could not be opened
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
		case <-s.ready.trouble:
		}
		s.guard(func() { s.look(&failed) })
	}
}

// look reacts to the state of the disk, of the store and of the clock. It sets
// failed to the time of an attempt to open the store that has failed.
func (s *Store) look(failed *time.Time) {
	full, _, why := s.ready.disk()
	open, failure := s.database.isOpen(), s.ready.failure()
	switch {
	case full == levelCritical:
		s.shut(why)
	case open && failure != nil, !open && time.Since(*failed) > retryOpen:
		if !s.reopen(failure) {
			*failed = time.Now()
		}
	case full == levelEnough:
		s.configuring.Lock()
		critical := s.config.DiskCritical
		s.configuring.Unlock()
		if err := s.reserve.ensure(reserveBytes(critical)); err != nil {
			s.logger.Warn("The disk has no reserve for the store", "error", err)
		}
	}
	s.watchFuture()
	s.keepClock()
}

// shut closes the TSDBs, whose own goroutines panic on a full disk, if they are not
// closed yet.
func (s *Store) shut(why error) {
	inputs, recorded := s.database.retire(why, false), s.rules.retire(why)
	if !inputs && !recorded {
		return
	}
	s.logger.Error("The store is closed until there is room on the disk", "reason", why)
	if err := s.reserve.release(); err != nil {
		s.logger.Error("The store is closed without a reserve", "error", err)
	}
	// At once, as each of them may have to wait for its readers.
	var closing sync.WaitGroup
	var failed error
	closing.Go(func() { failed = s.rules.shut(why) })
	err := s.database.close(why)
	closing.Wait()
	if err := errors.Join(err, failed); err != nil {
		s.logger.Error("The store was not closed well", "error", err)
	}
}

// reopen reopens the TSDB after failure, and reports whether that worked.
func (s *Store) reopen(failure error) bool {
	if failure != nil {
		s.logger.Error("Samples could not be written: the store is opened anew", append(panics.Attrs(failure), "error", failure)...)
	}
	if err := s.database.reopen(errReopening); err != nil {
		s.logger.Error("The store cannot be opened", "error", err)
		return false
	}
	s.ready.recover()
	s.future.opened()
	s.logger.Warn("The store is open again")
	return true
}

// Sink returns the sink of the running input of this name, nil if there is none.
func (s *Store) Sink(name string) *Sink { return s.inputs.sink(name) }

// Settled returns the time (Unix ms) up to which samples are final, apart from late
// ones. It is the lowest watermark of the inputs. For each input it waits at most
// Config.MaxWait.
func (s *Store) Settled() int64 {
	_, settled := s.horizon.times()
	return settled
}

// SettledOf returns the time (Unix ms) up to which the samples of all these metrics are
// final: those that a rule records are once it was evaluated. An empty metric stands for
// all.
func (s *Store) SettledOf(metrics ...string) (int64, error) { return s.rules.settled(metrics) }

// Watch returns a mark of what is known about the metrics, and a channel. The mark
// is another one once settled samples of one of the metrics have changed, or an
// input that may write to them went down or came back. The channel is closed when
// that happens to any metric, or when the settled time moves. An empty metric stands
// for all.
func (s *Store) Watch(metrics ...string) (mark string, moved <-chan struct{}) {
	return s.horizon.watch(metrics)
}

// Since returns which settled samples of a metric have changed since a mark of
// Watch; an empty metric stands for all. ok is false if none has. The error is an
// ErrMark.
func (s *Store) Since(mark, metric string) (change Change, ok bool, err error) {
	return s.horizon.since(mark, metric)
}

// TurnedSince reports whether an input that may write to one of the metrics went
// down or came back since a mark of Watch. The error is an ErrMark.
func (s *Store) TurnedSince(mark string, metrics ...string) (bool, error) {
	return s.horizon.turnedSince(mark, metrics)
}

// Metadata returns what inputs have said about metrics, by name.
func (s *Store) Metadata() map[string]Metadata { return s.metadata.get() }

// Describe returns what inputs have said about a metric, the zero value if nothing.
func (s *Store) Describe(metric string) Metadata { return s.metadata.of(metric) }

// Delete deletes the samples from mint to maxt (Unix ms) of all matching series,
// from the disk too, and those that rules have recorded among them. Since reports the
// change, as it does for late samples. Samples that are written to these times
// afterwards stay.
func (s *Store) Delete(ctx context.Context, mint, maxt int64, matchers ...*labels.Matcher) error {
	metric := metricOf(matchers)
	done, err := s.rules.announce(map[string]span{metric: {mint, maxt}, deletedMark + metric: {mint, maxt}})
	if err != nil {
		return err
	}
	defer done()
	resume := s.ingester.pause()
	err = s.database.delete(ctx, mint, maxt, matchers)
	resume()
	if err != nil {
		return err
	}
	err = errors.Join(s.database.clean(), s.rules.delete(ctx, mint, maxt, matchers))
	s.horizon.changed(metric, mint, maxt)
	if err != nil {
		return err
	}
	db, err := s.database.acquire()
	if err != nil {
		return err
	}
	ahead := db.newest() > s.limit()
	db.readers.Done()
	if !ahead {
		return nil
	}
	// Until it is reopened, the TSDB goes by the newest sample that it ever had.
	resume = s.ingester.pause()
	defer resume()
	return s.database.toBlocks(ctx, maxt, nil)
}

// metricOf returns the only metric that matches, empty if there may be others.
func metricOf(matchers []*labels.Matcher) string {
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}
