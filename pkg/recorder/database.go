package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alecthomas/units"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

const (
	// segmentBytes is how much of the disk is reserved for a block while it is
	// written.
	segmentBytes = 16 << 20
	// reopenWait is how long readers wait for a TSDB that is being reopened.
	reopenWait = 5 * time.Second
)

// closeWait is how long the TSDB may take to close: after a panic it may hold a lock
// for ever. Tests set it shorter.
var closeWait = 30 * time.Second

// lockFile is the TSDB's name for the file of a directory's lock.
const lockFile = "lock"

// reloadEvery is how often the TSDB compacts its head and deletes old blocks. Tests
// set it shorter.
var reloadEvery = time.Minute

// database is the TSDB in a directory. It may close and reopen the TSDB while others
// want to use it. It holds the lock of the directory for all that time; the TSDB
// itself is opened without a lock file.
type database struct {
	dir    string
	logger *slog.Logger
	now    func() time.Time
	lock   *tsdbutil.DirLocker

	// changing is held while the TSDB is opened, closed or rewritten.
	changing sync.Mutex
	broken   *tsdb.DB // the TSDB that could not be closed
	unclean  bool     // the last TSDB was not closed well

	mu      sync.Mutex
	config  Config
	current *opened
	retired *opened       // to be closed once nobody reads it
	why     error         // why there is no current TSDB
	opening chan struct{} // not nil while a TSDB is being reopened, then closed
}

// opened is one opening of the TSDB. SeriesRefs of one opening mean nothing to
// another.
type opened struct {
	*tsdb.DB
	failures failures
	readers  sync.WaitGroup
	// refs is the same number for as long as SeriesRefs mean the same series. It
	// changes with each opening, and when series were removed from the head: these
	// may come back with other refs.
	refs atomic.Uint64

	mu   sync.Mutex
	gone []storage.SeriesRef // removed since takeGone was called last
}

var (
	refs atomic.Uint64

	_ tsdb.SeriesLifecycleCallback = (*opened)(nil)
)

// PreCreation implements tsdb.SeriesLifecycleCallback.
func (o *opened) PreCreation(labels.Labels) error { return nil }

// PostCreation implements tsdb.SeriesLifecycleCallback.
func (o *opened) PostCreation(labels.Labels) {}

// PostDeletion implements tsdb.SeriesLifecycleCallback.
func (o *opened) PostDeletion(gone map[chunks.HeadSeriesRef]labels.Labels) {
	if len(gone) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for ref := range gone {
		o.gone = append(o.gone, storage.SeriesRef(ref))
	}
	o.refs.Store(refs.Add(1))
}

// takeGone returns the series that were removed from the head since the last call.
func (o *opened) takeGone() []storage.SeriesRef {
	o.mu.Lock()
	defer o.mu.Unlock()
	gone := o.gone
	o.gone = nil
	return gone
}

// newDatabase locks the directory for this process. It does not open the TSDB yet.
func newDatabase(dir string, c Config, now func() time.Time, logger *slog.Logger) (*database, error) {
	if err := files.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	lock, err := tsdbutil.NewDirLocker(dir, "tsdb", logger, nil)
	if err != nil {
		return nil, err
	}
	// The previous process removes the lock file when it closes the store properly.
	left, err := files.Exists(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	if err := lock.Lock(); err != nil {
		return nil, err
	}
	d := &database{dir: dir, logger: logger, now: now, lock: lock, unclean: left, config: c, why: ErrClosed}
	if err := d.resumeImport(); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	return d, nil
}

// acquire returns the TSDB. The caller must call readers.Done of it: until then it
// stays open.
func (d *database) acquire() (*opened, error) {
	var timeout <-chan time.Time
	for {
		d.mu.Lock()
		current, why, opening := d.current, d.why, d.opening
		if current != nil {
			current.readers.Add(1)
		}
		d.mu.Unlock()
		if current != nil {
			return current, nil
		}
		if opening == nil {
			return nil, why
		}
		if timeout == nil {
			timeout = time.After(reopenWait)
		}
		select {
		case <-opening:
		case <-timeout:
			return nil, why
		}
	}
}

// outOfOrder returns how far out of order a sample may be, in ms.
func (d *database) outOfOrder() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config.OutOfOrder.Milliseconds()
}

// configure sets what may change while the TSDB is open.
func (d *database) configure(c Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.config = c
	if d.current == nil {
		return nil
	}
	return d.current.ApplyConfig(&config.Config{StorageConfig: config.StorageConfig{TSDBConfig: &config.TSDBConfig{
		OutOfOrderTimeWindow: c.OutOfOrder.Milliseconds(),
		Retention:            &config.TSDBRetentionConfig{Size: units.Base2Bytes(c.MaxBytes)},
	}}})
}

// open opens the TSDB.
func (d *database) open() error {
	d.changing.Lock()
	defer d.changing.Unlock()
	return d.openLocked()
}

func (d *database) openLocked() error {
	d.mu.Lock()
	c := d.config
	d.mu.Unlock()
	db, err := d.openTSDB(c)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.why = err
	} else {
		d.current, d.why = db, nil
	}
	if d.opening != nil {
		close(d.opening)
		d.opening = nil
	}
	return err
}

func (d *database) openTSDB(c Config) (*opened, error) {
	if d.broken != nil {
		// There is room on the disk again, so the old head may be able to close now.
		if err := finish("close what could not be closed", d.broken.Head().Close); err != nil {
			d.logger.Warn("A part of the store could not be closed, and takes memory until Grafana is restarted", "error", err)
		}
		d.broken = nil
	}
	// While the TSDB reads its logs it also writes, and panics if that fails.
	if err := probe(d.dir); err != nil {
		return nil, fmt.Errorf("%w: %w", errWrite, err)
	}
	if err := d.restore(); err != nil {
		return nil, err
	}
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = 0 // see expired
	opts.MaxBytes = c.MaxBytes
	opts.OutOfOrderTimeWindow = c.OutOfOrder.Milliseconds()
	opts.MaxBlockDuration = widestBlock(c.Retention)
	opts.MaxBlockChunkSegmentSize = segmentBytes
	opts.BlockReloadInterval = reloadEvery
	opts.NewCompactorFunc = newCompactor
	opts.WALCompression = compression.Snappy
	// The default series map is made for millions of series, and takes 100 MB even
	// if it is empty.
	opts.StripeSize = 1 << 10
	opts.NoLockfile = true // d.lock is held
	for tries := 0; ; tries++ {
		if err := d.prepareChunks(); err != nil {
			return nil, err
		}
		o := &opened{}
		o.refs.Store(refs.Add(1))
		opts.SeriesLifecycleCallback = o
		var ready atomic.Pointer[tsdb.DB]
		opts.BlocksToDelete = func(blocks []*tsdb.Block) map[ulid.ULID]struct{} {
			gone := d.expired(blocks)
			if db := ready.Load(); db != nil {
				maps.Copy(gone, tsdb.DefaultBlocksToDelete(db)(blocks)) // by size
			}
			return gone
		}
		var err error
		if o.DB, err = tsdb.Open(d.dir, d.logger, &o.failures, opts, nil); err != nil {
			return nil, err
		}
		ready.Store(o.DB)
		if o.failures.repairs() > 0 && tries < 3 {
			// When the TSDB repairs one of its logs, it does not read all of the
			// other.
			d.unclean = true
			if err := o.Close(); err != nil {
				return nil, err
			}
			continue
		}
		if d.unclean {
			err := panics.Catch("store", func() error { return o.CompactOOOHead(context.Background()) })
			if err == nil {
				err = files.RemoveAll(filepath.Join(d.dir, oldWBLDir))
			}
			if err != nil {
				failed := finish("close the TSDB", o.Close)
				if failed != nil {
					d.broken = o.DB
				}
				return nil, fmt.Errorf("%w: %w", errWrite, errors.Join(err, failed))
			}
			d.unclean = false
		}
		return o, nil
	}
}

// widestBlock returns the longest time of a block, in ms. As in Prometheus: larger
// blocks are cheaper to read, but are deleted whole.
func widestBlock(retention time.Duration) int64 {
	return min(31*24*time.Hour, retention/10).Milliseconds()
}

// expired returns the blocks that are older than the retention. The TSDB's own rule
// counts from its newest block: a block from the future would make it delete all
// others.
func (d *database) expired(blocks []*tsdb.Block) map[ulid.ULID]struct{} {
	d.mu.Lock()
	retention := d.config.Retention.Milliseconds()
	d.mu.Unlock()
	newest := int64(math.MinInt64)
	for _, b := range blocks {
		newest = max(newest, b.Meta().MaxTime)
	}
	gone := make(map[ulid.ULID]struct{})
	for _, b := range blocks {
		if b.Meta().Compaction.Deletable || b.Meta().MaxTime <= min(newest, d.now().UnixMilli())-retention {
			gone[b.Meta().ULID] = struct{}{}
		}
	}
	return gone
}

// prepareChunks brings the chunks on the disk up to the logs, see fillChunks. If they
// cannot be used, it makes them anew: their samples are in the logs, too.
//
// They cannot be used, either, if the last TSDB was not closed well and has a log of
// samples out of order (WBL). That names, by chunk number, the samples that are already
// in a chunk and need not be read from the log. After a crash or an error the TSDB uses
// such numbers a second time, and would skip samples that are in no chunk. So the log is
// put aside until all of it is in blocks.
func (d *database) prepareChunks() error {
	late, err := d.hasLate()
	if err != nil {
		return err
	}
	if !d.unclean || !late {
		if err = fillChunks(d.dir); err == nil {
			return nil
		}
		d.unclean = true
		d.logger.Warn("The chunks of the head are made anew from the logs", append(panics.Attrs(err), "error", err)...)
	}
	if err := files.RemoveAll(filepath.Join(d.dir, chunksHeadDir)); err != nil {
		return err
	}
	wbl, old := filepath.Join(d.dir, wblDir), filepath.Join(d.dir, oldWBLDir)
	aside, err := files.Exists(old)
	if err != nil {
		return err
	}
	if aside {
		// Nothing was acknowledged since it was put aside.
		err = files.RemoveAll(wbl)
	} else if err = files.Rename(wbl, old); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = fillChunks(d.dir)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errWrite, err)
	}
	return nil
}

// hasLate reports whether there is a log of samples out of order.
func (d *database) hasLate() (bool, error) {
	for _, log := range []string{wblDir, oldWBLDir} {
		segments, err := files.ReadDir(filepath.Join(d.dir, log))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		for _, s := range segments {
			if s.Size() > 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// restore undoes a repair of a log that was interrupted. Otherwise the TSDB would
// ignore the file that was to be repaired.
func (d *database) restore() error {
	for _, log := range []string{walDir, wblDir} {
		found, err := files.ReadDir(filepath.Join(d.dir, log))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, f := range found {
			whole, repaired := strings.CutSuffix(f.Name(), ".repair")
			if !repaired {
				continue
			}
			if err := files.Rename(filepath.Join(d.dir, log, f.Name()), filepath.Join(d.dir, log, whole)); err != nil {
				return err
			}
		}
	}
	return nil
}

// isOpen reports whether there is a TSDB.
func (d *database) isOpen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current != nil
}

// close closes the TSDB once nobody reads it any more. From then on acquire returns
// why.
func (d *database) close(why error) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	return d.closeLocked(why, false)
}

// reopen closes the TSDB and opens it again. Meanwhile acquire waits.
func (d *database) reopen(why error) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	if err := d.closeLocked(why, true); err != nil {
		d.logger.Warn("The store was not closed well, and is opened again", "error", err)
	}
	return d.openLocked()
}

// retire takes the TSDB away from new readers: acquire returns why from now on or,
// if soon, waits until the TSDB is open again. It reports whether there is a TSDB to
// close.
func (d *database) retire(why error, soon bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != nil {
		d.retired = d.current
	}
	d.current, d.why = nil, why
	if soon && d.opening == nil {
		d.opening = make(chan struct{})
	}
	return d.retired != nil
}

func (d *database) closeLocked(why error, soon bool) error {
	d.retire(why, soon)
	d.mu.Lock()
	o := d.retired
	d.retired = nil
	d.mu.Unlock()
	if o == nil {
		return nil
	}
	o.readers.Wait()
	err := finish("close the TSDB", o.Close)
	if err != nil {
		d.broken, d.unclean = o.DB, true
	}
	return err
}

// release unlocks the directory. The TSDB must be closed. If it was not closed
// well, the file of the lock stays, as after a crash.
func (d *database) release() error {
	err := d.lock.Release()
	if d.unclean {
		err = errors.Join(err, files.WriteFile(filepath.Join(d.dir, lockFile), nil, 0o666))
	}
	return err
}

// finish runs f, and returns an error if f panics or takes longer than closeWait.
func finish(what string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- panics.Catch("store", f) }()
	select {
	case err := <-done:
		return err
	case <-time.After(closeWait):
		return fmt.Errorf("%s: it took more than %v", what, closeWait)
	}
}

// toBlocks writes all samples in memory into blocks and reopens the TSDB without
// logs, so that deleted samples cannot come back from the logs. A block ends at cut
// (Unix ms), so that no block has samples from both before and after it. toBlocks
// runs do when the blocks are written, before it reopens the TSDB. Nobody may write
// meanwhile.
func (d *database) toBlocks(ctx context.Context, cut int64, do func(*tsdb.DB) error) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	d.mu.Lock()
	o, why := d.current, d.why
	d.mu.Unlock()
	if o == nil {
		return why
	}
	err := panics.Catch("store", func() error { return o.toBlocks(ctx, cut, do) })
	if errors.As(err, new(*panics.Error)) {
		// A chunk could not be written. The TSDB must not go on after that.
		return errors.Join(err, d.closeLocked(errReopening, true), d.openLocked())
	}
	if err != nil {
		return err
	}
	if err := d.closeLocked(errReopening, true); err != nil {
		return errors.Join(err, d.openLocked())
	}
	var errs []error
	for _, part := range []string{walDir, wblDir, chunksHeadDir} {
		errs = append(errs, files.RemoveAll(filepath.Join(d.dir, part)))
	}
	return errors.Join(append(errs, d.openLocked())...)
}

// toBlocks does what database.toBlocks does before it closes the TSDB.
func (o *opened) toBlocks(ctx context.Context, cut int64, do func(*tsdb.DB) error) error {
	if err := o.CompactOOOHead(ctx); err != nil {
		return err
	}
	first, last := o.Head().MinTime(), o.Head().MaxTime()
	if o.Head().NumSeries() > 0 && first <= last {
		if first <= cut && cut < last {
			if err := o.CompactHead(tsdb.NewRangeHead(o.Head(), first, cut)); err != nil {
				return err
			}
			first = cut + 1
		}
		if err := o.CompactHead(tsdb.NewRangeHead(o.Head(), first, last)); err != nil {
			return err
		}
	}
	if do == nil {
		return nil
	}
	return do(o.DB)
}

// delete deletes samples. The disk has them until clean. Nobody may write meanwhile.
//
// In memory the TSDB only hides deleted samples, and would hide later ones of the same
// times along with them. In blocks it really deletes them.
func (d *database) delete(ctx context.Context, mint, maxt int64, matchers []*labels.Matcher) error {
	return d.toBlocks(ctx, maxt, func(db *tsdb.DB) error { return db.Delete(ctx, mint, maxt, matchers...) })
}

// clean removes what was deleted from the disk.
func (d *database) clean() error {
	db, err := d.acquire()
	if err != nil {
		return err
	}
	defer db.readers.Done()
	return db.CleanTombstones()
}

// read calls do with each matching series, sorted by labels, and its samples from mint
// to maxt (Unix ms).
func (d *database) read(ctx context.Context, mint, maxt int64, do func(labels.Labels, chunkenc.Iterator) error, matchers ...*labels.Matcher) (err error) {
	db, err := d.acquire()
	if err != nil {
		return err
	}
	defer db.readers.Done()
	q, err := db.Querier(mint, maxt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	set := q.Select(ctx, true, &storage.SelectHints{Start: mint, End: maxt}, matchers...)
	for set.Next() {
		if err := do(set.At().Labels(), set.At().Iterator(nil)); err != nil {
			return err
		}
	}
	return set.Err()
}

// newest returns the time (Unix ms) of the newest sample by the TSDB's own
// bookkeeping, math.MinInt64 if the TSDB is empty.
func (o *opened) newest() int64 {
	newest := o.Head().MaxTime()
	for _, b := range o.Blocks() {
		newest = max(newest, b.Meta().MaxTime-1)
	}
	return newest
}

// hasAfter reports whether there is a sample after t (Unix ms), or may be because
// reading failed. The time range of a block does not tell: a block of samples out of
// order ends with its two hours, which may be well after now.
func (o *opened) hasAfter(t int64) bool {
	if o.newest() <= t {
		return false
	}
	q, err := o.Querier(t+1, math.MaxInt64)
	if err != nil {
		return true
	}
	defer func() { _ = q.Close() }() // nothing was written
	set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".*"))
	for set.Next() {
		if set.At().Iterator(nil).Next() != chunkenc.ValNone {
			return true
		}
	}
	return set.Err() != nil
}

// failures collects the TSDB's counters of failed writes and repairs. When the TSDB
// cannot write a sample out of order, these counters and a line in the log are the
// only signs of it. failures is the registerer of the TSDB, and ignores all other
// metrics.
type failures struct {
	mu       sync.Mutex
	writes   []prometheus.Collector
	repaired []prometheus.Collector
}

var _ prometheus.Registerer = (*failures)(nil)

// Register implements prometheus.Registerer.
func (f *failures) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 100) // far more than any has
	c.Describe(descs)
	close(descs)
	f.mu.Lock()
	defer f.mu.Unlock()
	for desc := range descs {
		switch text := desc.String(); {
		case strings.Contains(text, `_writes_failed_total"`):
			f.writes = append(f.writes, c)
		case strings.Contains(text, `_tsdb_wal_corruptions_total"`), strings.Contains(text, `_tsdb_mmap_chunk_corruptions_total"`):
			f.repaired = append(f.repaired, c)
		}
	}
	return nil
}

// MustRegister implements prometheus.Registerer.
func (f *failures) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		_ = f.Register(c) // cannot fail
	}
}

// Unregister implements prometheus.Registerer.
func (f *failures) Unregister(prometheus.Collector) bool { return true }

// failedWrites returns how many writes of the logs have failed.
func (f *failures) failedWrites() float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return sum(f.writes)
}

// repairs returns how often a log or the chunks on the disk were repaired.
func (f *failures) repairs() float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return sum(f.repaired)
}

func sum(counters []prometheus.Collector) (n float64) {
	for _, c := range counters {
		metrics := make(chan prometheus.Metric, 1)
		c.Collect(metrics)
		var m dto.Metric
		if err := (<-metrics).Write(&m); err == nil {
			n += m.GetCounter().GetValue()
		}
	}
	return n
}
