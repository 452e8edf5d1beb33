package recorder

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/compression"
)

// maxAhead is how far ahead of this clock a sample may be. One from the far
// future would make the TSDB refuse every true one after it.
const maxAhead = 10 * time.Second

// Store is the TSDB of one data source.
type Store struct {
	db       *tsdb.DB
	memory   *memory
	identity string
	logger   *slog.Logger
	now      func() time.Time

	// readers are open queriers, under which the TSDB must not be closed.
	readers sync.WaitGroup
	// wake is sent to when an idle store is used again, ended closed at the end.
	wake, ended chan struct{}
	running     sync.WaitGroup

	// configuring is held while inputs are started and stopped.
	configuring sync.Mutex
	inputs      []Input
	idle        bool // the inputs are stopped, because nobody asks

	// mu is held through every commit: what comes at or before the settled time
	// is known to be late, because it cannot move meanwhile.
	mu      sync.Mutex
	closed  bool
	config  Config
	used    int64 // when samples were last asked for, Unix ms
	settled int64
	late    uint64
	moved   chan struct{} // closed and made anew when settled or late changes
	sinks   map[string]*Sink
	meta    map[string]Metadata
	last    map[storage.SeriesRef]int64 // the newest time of series, where known
}

func open(dir string, c Config, late uint64, identity string, logger *slog.Logger, now func() time.Time) (*Store, error) {
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = c.Retention.Milliseconds()
	opts.MaxBytes = c.MaxBytes
	opts.OutOfOrderTimeWindow = c.OutOfOrder.Milliseconds()
	// As in Prometheus: larger blocks are cheaper to read, but are deleted whole.
	opts.MaxBlockDuration = min(31*24*time.Hour, c.Retention/10).Milliseconds()
	opts.WALCompression = compression.Snappy
	// A series map for millions of series would cost 100 MB before the first.
	opts.StripeSize = 1 << 10
	db, err := tsdb.Open(dir, logger, nil, opts, nil)
	if err != nil {
		return nil, err
	}
	// Only now is the directory there, and this process its only owner.
	m, err := recall(dir, identity, now(), logger)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &Store{db: db, memory: m, identity: m.Identity, used: m.Used, logger: logger, now: now, late: late,
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		moved: make(chan struct{}), sinks: make(map[string]*Sink), meta: make(map[string]Metadata), last: make(map[storage.SeriesRef]int64)}
	s.running.Go(s.watchUse)
	return s, nil
}

// apply sets what may change while the store is open, and starts and stops
// inputs.
func (s *Store) apply(c Config) error {
	if err := s.db.ApplyConfig(&config.Config{StorageConfig: config.StorageConfig{TSDBConfig: &config.TSDBConfig{
		OutOfOrderTimeWindow: c.OutOfOrder.Milliseconds(),
		Retention:            &config.TSDBRetentionConfig{Time: model.Duration(c.Retention), Size: units.Base2Bytes(c.MaxBytes)},
	}}}); err != nil {
		return err
	}
	s.configuring.Lock()
	defer s.configuring.Unlock()
	s.mu.Lock()
	s.config = c
	idle, used := s.isIdle(), s.used
	s.mu.Unlock()
	s.inputs, s.idle = c.Inputs, idle
	if idle {
		s.run(nil)
	} else {
		s.run(c.Inputs)
	}
	// Nothing is lost but what a restart would begin with.
	if err := s.memory.keep(c, used); err != nil {
		s.logger.Warn("Recording will not go on by itself after a restart", "error", err)
	}
	return nil
}

// run makes the inputs those that run. It needs s.configuring.
func (s *Store) run(inputs []Input) {
	wanted := make(map[string]Input, len(inputs))
	for _, in := range inputs {
		wanted[in.Name()] = in
	}

	s.mu.Lock()
	gone := maps.Clone(s.sinks)
	maps.DeleteFunc(gone, func(name string, k *Sink) bool { return wanted[name] != nil && wanted[name].Version() == k.version })
	s.mu.Unlock()

	// An input that goes may have something to commit yet. Until it has ended,
	// the settled time waits for it.
	stop(gone)

	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range gone {
		delete(s.sinks, name)
	}
	for name, in := range wanted {
		if s.sinks[name] == nil {
			s.start(in)
		}
	}
}

func (s *Store) start(in Input) {
	ctx, cancel := context.WithCancel(context.Background())
	// It has nothing to say about the time before it begins.
	sink := &Sink{store: s, name: in.Name(), version: in.Version(), watermark: s.now().UnixMilli() - 1, stop: cancel, done: make(chan struct{})}
	s.sinks[sink.name] = sink
	go func() {
		defer close(sink.done)
		in.Run(ctx, sink)
	}()
}

func stop(sinks map[string]*Sink) {
	for _, sink := range sinks {
		sink.stop()
	}
	for _, sink := range sinks {
		<-sink.done
	}
}

// close stops the inputs and closes the TSDB once nobody reads it any more.
func (s *Store) close() error {
	close(s.ended)
	s.running.Wait()
	s.configuring.Lock()
	defer s.configuring.Unlock()
	s.run(nil)

	s.mu.Lock()
	s.closed = true
	c, used := s.config, s.used
	s.tell() // whoever follows rows has to look elsewhere
	s.mu.Unlock()
	err := s.memory.keep(c, used)
	s.readers.Wait()
	return errors.Join(err, s.db.Close())
}

// Sink returns that of the running input of the given name, nil if there is none.
func (s *Store) Sink(name string) *Sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sinks[name]
}

// Settled returns the time in Unix milliseconds up to which samples are final,
// but for late ones. It is the lowest watermark of the inputs, and waits at most
// the configured time for any of them.
func (s *Store) Settled() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settle()
}

func (s *Store) settle() int64 {
	now := s.now().UnixMilli()
	low := now
	for _, sink := range s.sinks {
		low = min(low, max(sink.watermark, now-s.config.MaxWait.Milliseconds()))
	}
	s.settled = max(s.settled, low)
	return s.settled
}

// Watch returns how many late samples the store has taken, and a channel that
// is closed when that changes or an input moves the settled time.
func (s *Store) Watch() (late uint64, moved <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.late, s.moved
}

// Querier implements storage.Queryable. It leaves out what is older than the
// retention, which the TSDB deletes only in whole blocks, and yields series in
// the order of their labels: sums would differ in their last bits otherwise.
func (s *Store) Querier(mint, maxt int64) (storage.Querier, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	oldest := s.settle() - s.config.Retention.Milliseconds()
	s.use()
	s.mu.Unlock()
	q := storage.NoopQuerier()
	if maxt >= oldest {
		var err error
		if q, err = s.db.Querier(max(mint, oldest), maxt); err != nil {
			s.readers.Done()
			return nil, err
		}
	}
	return &querier{Querier: q, oldest: oldest, release: sync.OnceFunc(s.readers.Done)}, nil
}

// read notes a reader, who must call s.readers.Done.
func (s *Store) read() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.readers.Add(1)
	return nil
}

type querier struct {
	storage.Querier
	oldest  int64
	release func()
}

func (q *querier) Close() error {
	defer q.release()
	return q.Querier.Close()
}

func (q *querier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	if hints != nil && hints.Start < q.oldest {
		h := *hints
		h.Start = q.oldest
		hints = &h
		if h.End < h.Start {
			return storage.EmptySeriesSet()
		}
	}
	return q.Querier.Select(ctx, true, hints, matchers...)
}

// Metadata returns what inputs have said about metrics, by name.
func (s *Store) Metadata() map[string]Metadata {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.meta)
}

// Sink takes the samples of one running input. All methods may be called at
// any time from any goroutine.
type Sink struct {
	store   *Store
	name    string
	version string
	stop    context.CancelFunc
	done    chan struct{}

	// guarded by store.mu
	watermark int64
	heard     bool // the input has said how it is, or committed
	status    InputStatus
	recent    rate
}

// Identity names this input of this very store among all clients of a server:
// 22 letters and digits, the same after restarts.
func (k *Sink) Identity() string {
	sum := sha256.Sum256([]byte(k.store.identity + "/" + k.name))
	return "c" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:13]))
}

// Describe says what the metrics are, by name.
func (k *Sink) Describe(meta map[string]Metadata) {
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	maps.Copy(k.store.meta, meta)
}

// Trouble sets what people are to be told about the input, empty if it is
// connected and all is well. Until the first call or commit it counts as
// connecting.
func (k *Sink) Trouble(message string) { k.Retry(message, time.Time{}) }

// Retry is Trouble for an input that tries again by itself at the time next.
func (k *Sink) Retry(message string, next time.Time) {
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	k.status.Trouble, k.status.NextTry = cut(message, maxPayload), 0
	if !next.IsZero() {
		k.status.NextTry = next.UnixMilli()
	}
	k.hear()
}

// Report adds to what the status says of messages.
func (k *Sink) Report(r Report) {
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	k.status.add(r)
}

func (k *Sink) hear() {
	if !k.heard {
		k.heard = true
		k.store.tell()
	}
}

// Commit stores samples and says that the input has given all that it has up to
// watermark (Unix ms). When it returns nil, what was not refused is found again
// even if the process is killed. Refused are samples that are too far ahead of
// this clock, too old, or another value for a time that the series has one for:
// the first wins. After an error nothing is stored.
func (k *Sink) Commit(ctx context.Context, samples []Sample, watermark int64) error {
	return k.CommitEach(ctx, samples, watermark, func(int, error) {})
}

// Why a sample is refused.
var (
	ErrFuture    = fmt.Errorf("more than %v ahead of this clock", maxAhead)
	ErrTooOld    = errors.New("too old")
	ErrDuplicate = errors.New("another value for a time that has one already")
)

// CommitEach is Commit for those who tell others which samples were refused. It
// calls refused, before it returns, with the index and the reason of each; after
// an error they count for nothing.
func (k *Sink) CommitEach(ctx context.Context, samples []Sample, watermark int64, refused func(i int, why error)) error {
	s := k.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	err := k.append(ctx, samples, refused)
	if err != nil {
		k.status.LastError = err.Error()
	}
	k.hear()
	before := s.settle()
	k.watermark = max(k.watermark, watermark)
	if s.settle() > before {
		s.tell()
	}
	return err
}

func (s *Store) tell() {
	close(s.moved)
	s.moved = make(chan struct{})
}

func (k *Sink) append(ctx context.Context, samples []Sample, refuse func(int, error)) error {
	s := k.store
	if len(samples) == 0 {
		return nil
	}
	newest := s.now().Add(maxAhead).UnixMilli()
	settled := s.settle()
	var stored, late, repeated uint64
	var refused Refused
	app := s.db.Appender(ctx)
	seen := s.seenBy(ctx, app, samples)
	for i := range samples {
		p := &samples[i]
		if p.T > newest {
			refused.Future++
			refuse(i, ErrFuture)
			continue
		}
		is, v, err := seen.before(i)
		if err != nil {
			return errors.Join(err, app.Rollback())
		}
		if is {
			if math.Float64bits(v) == math.Float64bits(p.V) {
				repeated++
			} else {
				refused.Duplicate++
				refuse(i, ErrDuplicate)
			}
			continue
		}
		ref, err := app.Append(p.Series.ref, p.Series.Labels, p.T, p.V)
		switch {
		case err == nil:
			seen.add(p, ref)
			stored++
			if p.T <= settled {
				late++
			}
		case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrOutOfOrderSample):
			refused.TooOld++
			refuse(i, ErrTooOld)
		case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
			refused.Duplicate++
			refuse(i, ErrDuplicate)
		default:
			return errors.Join(err, app.Rollback())
		}
	}
	if err := app.Commit(); err != nil {
		return err
	}
	k.status.Samples += stored
	k.status.Late += late
	k.status.Repeated += repeated
	k.status.Refused.add(refused)
	k.recent.add(s.now(), stored)
	if late > 0 {
		s.late += late
		s.tell()
	}
	return nil
}

// Delete deletes the samples from mint to maxt (Unix ms) of all series that match.
// That rows have changed is told as with late samples. The names of series in
// memory stay in lists until the TSDB next cleans up, within hours.
func (s *Store) Delete(ctx context.Context, mint, maxt int64, matchers ...*labels.Matcher) error {
	if err := s.read(); err != nil {
		return err
	}
	defer s.readers.Done()
	// In the head the TSDB deletes in-order samples alone. So late ones go into
	// blocks before, or they would stay or come back.
	if err := s.db.CompactOOOHead(ctx); err != nil {
		return err
	}
	if err := s.db.Delete(ctx, mint, maxt, matchers...); err != nil {
		return err
	}
	s.mu.Lock()
	s.late++
	s.tell()
	s.mu.Unlock()
	// Until this is done the samples are hidden, but still on the disk.
	return s.db.CleanTombstones()
}

// query runs do on a querier of the times from mint to maxt.
func (s *Store) query(mint, maxt int64, do func(storage.Querier) (annotations.Annotations, error)) error {
	q, err := s.Querier(mint, maxt)
	if err != nil {
		return err
	}
	_, err = do(q)
	return errors.Join(err, q.Close())
}
