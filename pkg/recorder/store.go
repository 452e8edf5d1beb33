package recorder

import (
	"context"
	"errors"
	"log/slog"
	"maps"
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

const (
	// maxWait is the longest that the settled time waits for one input.
	maxWait = 2 * time.Second
	// maxAhead is how far ahead of this clock a sample may be. One from the far
	// future would make the TSDB refuse every true one after it.
	maxAhead = 10 * time.Second
)

// Store is the TSDB of one data source.
type Store struct {
	dir    string
	db     *tsdb.DB
	logger *slog.Logger
	now    func() time.Time

	// mu is held through every commit: what comes at or before the settled time
	// is known to be late, because it cannot move meanwhile.
	mu        sync.Mutex
	retention time.Duration
	settled   int64
	late      uint64
	moved     chan struct{} // closed and made anew when settled or late changes
	sinks     map[string]*Sink
	meta      map[string]Metadata
}

func open(dir string, c Config, logger *slog.Logger, now func() time.Time) (*Store, error) {
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
	return &Store{dir: dir, db: db, logger: logger, now: now,
		moved: make(chan struct{}), sinks: make(map[string]*Sink), meta: make(map[string]Metadata)}, nil
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
	wanted := make(map[string]Input, len(c.Inputs))
	for _, in := range c.Inputs {
		wanted[in.ID()] = in
	}

	s.mu.Lock()
	s.retention = c.Retention
	gone := maps.Clone(s.sinks)
	maps.DeleteFunc(gone, func(id string, _ *Sink) bool { return wanted[id] != nil })
	s.mu.Unlock()

	// An input that goes may have something to commit yet. Until it has ended,
	// the settled time waits for it.
	stop(gone)

	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range gone {
		delete(s.sinks, id)
	}
	for id, in := range wanted {
		if s.sinks[id] == nil {
			s.start(id, in)
		}
	}
	return nil
}

func (s *Store) start(id string, in Input) {
	ctx, cancel := context.WithCancel(context.Background())
	// It has nothing to say about the time before it begins.
	sink := &Sink{store: s, id: id, watermark: s.now().UnixMilli() - 1, stop: cancel, done: make(chan struct{})}
	s.sinks[id] = sink
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

func (s *Store) close() error {
	s.mu.Lock()
	sinks := maps.Clone(s.sinks)
	s.mu.Unlock()
	stop(sinks)
	return s.db.Close()
}

// Settled returns the time in Unix milliseconds up to which samples are final,
// but for late ones. It is the lowest watermark of the inputs, and waits at most
// maxWait for any of them.
func (s *Store) Settled() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settle()
}

func (s *Store) settle() int64 {
	now := s.now().UnixMilli()
	low := now
	for _, sink := range s.sinks {
		low = min(low, max(sink.watermark, now-maxWait.Milliseconds()))
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
	s.mu.Lock()
	oldest := s.settle() - s.retention.Milliseconds()
	s.mu.Unlock()
	if maxt < oldest {
		return storage.NoopQuerier(), nil
	}
	q, err := s.db.Querier(max(mint, oldest), maxt)
	if err != nil {
		return nil, err
	}
	return querier{q, oldest}, nil
}

type querier struct {
	storage.Querier
	oldest int64
}

func (q querier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
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
	store *Store
	id    string
	stop  context.CancelFunc
	done  chan struct{}

	// guarded by store.mu
	watermark int64
	status    InputStatus
	recent    rate
}

// Describe says what the metrics are, by name.
func (k *Sink) Describe(meta map[string]Metadata) {
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	maps.Copy(k.store.meta, meta)
}

// Trouble sets what people are to be told about the input, empty if all is well.
func (k *Sink) Trouble(message string) {
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	k.status.Trouble = message
}

// Commit stores samples and says that the input has given all that it has up to
// watermark (Unix ms). When it returns nil, what was not refused is found again
// even if the process is killed. Refused are samples that are too far ahead of
// this clock, too old, or another value for a time that the series has one for.
// After an error nothing is stored.
func (k *Sink) Commit(ctx context.Context, samples []Sample, watermark int64) error {
	s := k.store
	s.mu.Lock()
	defer s.mu.Unlock()
	err := k.append(ctx, samples)
	if err != nil {
		k.status.LastError = err.Error()
	}
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

func (k *Sink) append(ctx context.Context, samples []Sample) error {
	s := k.store
	if len(samples) == 0 {
		return nil
	}
	newest := s.now().Add(maxAhead).UnixMilli()
	settled := s.settle()
	var stored, late uint64
	var refused Refused
	app := s.db.Appender(ctx)
	for i := range samples {
		p := &samples[i]
		if p.T > newest {
			refused.Future++
			continue
		}
		ref, err := app.Append(p.Series.ref, p.Series.Labels, p.T, p.V)
		switch {
		case err == nil:
			p.Series.ref = ref
			stored++
			if p.T <= settled {
				late++
			}
		case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrOutOfOrderSample):
			refused.TooOld++
		case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
			refused.Duplicate++
		default:
			return errors.Join(err, app.Rollback())
		}
	}
	if err := app.Commit(); err != nil {
		return err
	}
	k.status.Samples += stored
	k.status.Late += late
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
