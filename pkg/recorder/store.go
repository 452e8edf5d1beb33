package recorder

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// Store has the samples of one data source. It is made of parts, each of which
// has a lock of its own and knows the others only as its fields say:
//
//   - database is the TSDB, which is closed and opened anew when it must be;
//   - readiness decides whether samples may be acknowledged;
//   - horizon has the settled time, and notes what changed before it;
//   - ingester takes batches of samples into the TSDB, one after another;
//   - inputs start and stop, and each has a Sink;
//   - usage knows when somebody last asked;
//   - metadata is what inputs say of metrics.
//
// How its inputs are is recorded, too: see recordHealth.
//
// Store itself looks after them: see maintain.
type Store struct {
	identity string
	fleeting string // why what is recorded may not be there after the next start
	logger   *slog.Logger
	clock    *clock.Clock
	reserve  *reserve
	// keepClock writes down what the clock is believed to be.
	keepClock func()

	database *database
	ready    *readiness
	horizon  *horizon
	ingester *ingester
	inputs   *inputs
	usage    *usage
	metadata metadata
	future   future

	// ended is closed at the end.
	ended   chan struct{}
	running sync.WaitGroup
	// importing is held by an import.
	importing sync.Mutex

	// configuring is held while settings are applied and kept.
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
	s.ingester = &ingester{database: db, horizon: s.horizon, ready: s.ready, now: r.clock.Now}
	s.inputs = &inputs{identity: m.Identity, logger: logger, ingester: s.ingester, horizon: s.horizon, metadata: &s.metadata, clock: r.clock, sinks: make(map[string]*Sink)}
	s.configure(c)
	if full, _, err := s.ready.disk(); full == levelCritical {
		db.retire(err, false) // to be opened once there is room
	} else if err := db.open(); err != nil {
		return nil, err
	}
	isOpen = true
	if s.fleeting = fleeting(dir); s.fleeting != "" {
		logger.Warn("What is recorded may be gone after the next start", "reason", s.fleeting)
	}
	s.future.opened()
	s.watchFuture()
	s.running.Go(s.watchUse)
	s.running.Go(s.maintain)
	s.running.Go(s.recordHealth)
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
	// Nothing is lost but what a restart would begin with.
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

// leaveWithin is how long it may take to remove what an input has left at its server.
const leaveWithin = 10 * time.Second

// leave removes from their servers what inputs have left there that were removed
// from the settings. It does not wait for that.
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
			if err != nil { // whose text may have secrets
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
	s.horizon.wake() // whoever follows rows has to look elsewhere
	return errors.Join(err, s.database.close(ErrClosed), s.database.release())
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

// guard runs what a goroutine of the store does time and again. If it panics, the
// next time is another chance.
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

// retryOpen is how long a TSDB that could not be opened is not tried again.
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

// look does what the disk, the store and the clock ask for. It notes when the store
// could not be opened.
func (s *Store) look(failed *time.Time) {
	full, _, why := s.ready.disk()
	open, failure := s.database.isOpen(), s.ready.failure()
	switch {
	case full == levelCritical && open:
		s.shut(why)
	case full == levelCritical:
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

// shut closes the TSDB, whose own goroutines panic on a full disk.
func (s *Store) shut(why error) {
	s.logger.Error("The store is closed until there is room on the disk", "reason", why)
	if err := s.reserve.release(); err != nil {
		s.logger.Error("The store is closed without a reserve", "error", err)
	}
	if err := s.database.close(why); err != nil {
		s.logger.Error("The store was not closed well", "error", err)
	}
}

// reopen opens the TSDB anew, and reports whether it could.
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

// Sink returns that of the running input of the given name, nil if there is none.
func (s *Store) Sink(name string) *Sink { return s.inputs.sink(name) }

// Settled returns the time in Unix milliseconds up to which samples are final,
// but for late ones. It is the lowest watermark of the inputs, and waits at most
// the configured time for any of them.
func (s *Store) Settled() int64 {
	_, settled := s.horizon.times()
	return settled
}

// Watch returns a mark, which is another one once settled samples of one of the
// metrics have changed or an input that may write to them went down or is back, and a
// channel that is closed when that has happened to any metric or an input moves the
// settled time. An empty metric stands for all.
func (s *Store) Watch(metrics ...string) (mark string, moved <-chan struct{}) {
	return s.horizon.watch(metrics)
}

// Since returns what became of settled samples of a metric, of any if it is empty,
// since a mark of Watch. If nothing, ok is false. The error is an ErrMark.
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

// Delete deletes the samples from mint to maxt (Unix ms) of all series that match,
// from the disk too. That rows have changed is told as with late samples. What is
// written to these times afterwards stays.
func (s *Store) Delete(ctx context.Context, mint, maxt int64, matchers ...*labels.Matcher) error {
	// In memory the TSDB only hides samples, and later ones of the same times
	// along with them. In blocks it deletes them.
	resume := s.ingester.pause()
	err := s.database.toBlocks(ctx, maxt, func(db *tsdb.DB) error { return db.Delete(ctx, mint, maxt, matchers...) })
	resume()
	if err != nil {
		return err
	}
	db, err := s.database.acquire()
	if err != nil {
		return err
	}
	err = db.CleanTombstones() // from the disk too
	ahead := db.newest() > s.limit()
	db.readers.Done()
	s.horizon.changed(metricOf(matchers), mint, maxt)
	if err != nil || !ahead {
		return err
	}
	// It goes by the newest sample that it has had until it is opened anew.
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
