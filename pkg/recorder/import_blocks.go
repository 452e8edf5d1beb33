package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// An import's blocks are made in a folder that is deleted if the process ends. Once
// they are whole, that folder gets another name, which is what decides: from then on
// they belong to the store, and if the process ends before they are moved the next one
// does it.
const (
	importPartial = "import.partial"
	importBlocks  = "blocks" // in importPartial
	importReady   = "import.ready"
)

const (
	// binLength is how long the shortest blocks are, in ms: longer ones begin and end
	// where these do.
	binLength = tsdb.DefaultBlockDuration
	// maxBlockSamples bounds what is in memory until a block is written.
	maxBlockSamples = 2_000_000
	// lookups is for how many series the TSDB is kept open: until it is let go it
	// cannot be closed.
	lookups = 500
)

// importWriter stores the sorted samples of an import.
type importWriter struct {
	*Import
	dir    string // import.partial
	widest int64  // that a block may be, in ms

	// Before window nothing that inputs bring is taken. Blocks end at edge: what
	// begins there is in memory, and after a restart the TSDB would not read back what
	// is older than a block's end.
	window, edge int64

	// Of the series and two hours of group, existing is what there is, nil if that was
	// not yet looked up, and last the last sample that was taken, if any was.
	group    pastSample
	existing *known
	last     pastSample
	any      bool
	looked   int
	lookedAt int64 // which two hours querier is for
	of       *opened
	querier  storage.Querier

	head    *tsdb.Head // of the next block, nil if it has no samples
	within  int64      // which of the widest ranges it is in
	app     storage.Appender
	samples int // in head
	waiting int // in app

	recent []pastSample // to be committed
}

func newImportWriter(i *Import, dir string) *importWriter {
	w := &importWriter{Import: i, dir: dir, widest: binLength}
	s := i.store
	s.configuring.Lock()
	c := s.config
	s.configuring.Unlock()
	for _, r := range tsdb.ExponentialBlockRanges(binLength, 10, 3) {
		if r <= widestBlock(c.Retention) {
			w.widest = r
		}
	}
	now := s.clock.Now().UnixMilli()
	w.window, w.edge = now, now
	if db, err := s.database.acquire(); err == nil {
		w.window = max(now, db.Head().MaxTime())
		w.edge = min(now, db.Head().MinTime())
		db.readers.Done()
	}
	w.window -= c.OutOfOrder.Milliseconds()
	w.edge -= w.edge % binLength
	return w
}

// take takes the next sample in the order of pastSample.compare.
func (w *importWriter) take(p pastSample) error {
	if w.group.series != p.series || binOf(w.group.t) != binOf(p.t) {
		w.group, w.existing, w.any = p, nil, false
	}
	v, is, err := w.before(p)
	if err != nil {
		return err
	}
	if !is && w.any && w.last.t == p.t {
		v, is = w.last.v, true
	}
	if is {
		w.twice(p, v)
		return nil
	}
	w.last, w.any = p, true
	if p.t >= min(w.window, w.edge) {
		if w.recent = append(w.recent, p); len(w.recent) == importBatch {
			return w.commit()
		}
		return nil
	}
	return w.toBlock(p)
}

// twice notes a sample of a time that has the value v already.
func (w *importWriter) twice(p pastSample, v float64) {
	if math.Float64bits(v) == math.Float64bits(p.v) {
		w.imported.Repeated++
		return
	}
	w.refuse(w.past(p), ErrDuplicate)
}

func (w *importWriter) past(p pastSample) Past {
	return Past{Labels: w.series[p.series].Labels, T: p.t, V: p.v, Line: int(p.line)}
}

// commit stores what is recent as inputs do. What has become too old for that
// meanwhile goes into a block.
func (w *importWriter) commit() error {
	if err := w.check(); err != nil {
		return err
	}
	if len(w.recent) == 0 {
		return nil
	}
	samples := make([]Sample, len(w.recent))
	for i, p := range w.recent {
		samples[i] = Sample{Series: &w.series[p.series].Series, T: p.t, V: p.v}
	}
	why := make(map[int]error)
	out, err := w.store.ingester.commit(w.ctx, importInput, samples, math.MinInt64, func(i int, err error) { why[i] = err })
	if err != nil {
		return err
	}
	w.imported.Samples += out.stored
	w.imported.Recent += out.stored
	w.imported.Repeated += out.repeated
	for i, p := range w.recent {
		switch err := why[i]; {
		case err == nil:
			w.stored(p)
		case errors.Is(err, ErrTooOld) && p.t < w.edge:
			if err := w.toBlock(p); err != nil {
				return err
			}
		case errors.Is(err, ErrTooOld) && p.t >= w.oldest:
			w.refuse(w.past(p), errNotYet)
		default:
			w.refuse(w.past(p), err)
		}
	}
	w.recent = w.recent[:0]
	return nil
}

func (w *importWriter) stored(p pastSample) {
	s := &w.series[p.series]
	s.span = s.with(p.t)
}

// toBlock has a sample be in the next block.
func (w *importWriter) toBlock(p pastSample) error {
	if w.head != nil && (w.samples >= maxBlockSamples || w.within != p.t/w.widest) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.head == nil {
		if err := w.begin(); err != nil {
			return err
		}
		w.within = p.t / w.widest
	}
	if w.app == nil {
		w.app = w.head.Appender(w.ctx)
	}
	if _, err := w.app.Append(0, w.series[p.series].Labels, p.t, p.v); err != nil {
		return err
	}
	w.samples++
	w.imported.Samples++
	w.stored(p)
	if w.waiting++; w.waiting < importBatch {
		return nil
	}
	if err := w.append(); err != nil {
		return err
	}
	return w.check()
}

// before returns the value that the store has at the time of a sample, if it has one.
func (w *importWriter) before(p pastSample) (v float64, is bool, err error) {
	if w.existing == nil {
		if w.existing, err = w.look(p); err != nil {
			return 0, false, err
		}
	}
	v, is = w.existing.samples[p.t]
	return v, is, nil
}

// look reads what there is of the series of p in the two hours that it is in.
func (w *importWriter) look(p pastSample) (*known, error) {
	from := binOf(p.t) * binLength
	k := &known{series: &w.series[p.series].Series, from: from, through: from + binLength - 1, samples: make(map[int64]float64)}
	if w.looked++; w.looked%lookups == 0 || w.querier != nil && w.lookedAt != from {
		if err := w.letGo(); err != nil {
			return nil, err
		}
	}
	if w.querier == nil {
		db, err := w.store.database.acquire()
		if err != nil {
			return nil, err
		}
		w.of, w.lookedAt = db, from
		if w.querier, err = db.Querier(k.from, k.through); err != nil {
			return nil, errors.Join(err, w.letGo())
		}
	}
	_, err := k.read(w.ctx, w.querier, nil)
	return k, err
}

// letGo lets the TSDB be closed.
func (w *importWriter) letGo() (err error) {
	if w.querier != nil {
		err = w.querier.Close()
	}
	if w.of != nil {
		w.of.readers.Done()
	}
	w.querier, w.of = nil, nil
	return err
}

// begin begins a block.
func (w *importWriter) begin() error {
	opts := tsdb.DefaultHeadOptions()
	opts.ChunkDirRoot = filepath.Join(w.dir, "head")
	// Samples may be half of it behind the newest: all of two hours.
	opts.ChunkRange = 2 * binLength
	opts.StripeSize = 1 << 10
	head, err := tsdb.NewHead(nil, w.store.logger, nil, nil, opts, nil)
	if err != nil {
		return err
	}
	w.head = head
	return head.Init(math.MinInt64)
}

// append gives to the head what waits.
func (w *importWriter) append() error {
	app := w.app
	w.app, w.waiting = nil, 0
	if app == nil {
		return nil
	}
	return app.Commit()
}

// flush writes the block.
func (w *importWriter) flush() error {
	if w.head == nil {
		return nil
	}
	if err := w.append(); err != nil {
		return err
	}
	compactor, err := tsdb.NewLeveledCompactorWithOptions(w.ctx, nil, w.store.logger, []int64{binLength}, chunkenc.NewPool(),
		tsdb.LeveledCompactorOptions{MaxBlockChunkSegmentSize: segmentBytes})
	if err != nil {
		return err
	}
	// It tells nothing of the times up to which samples in order are in blocks.
	if _, err := compactor.Write(filepath.Join(w.dir, importBlocks), w.head, w.head.MinTime(), w.head.MaxTime()+1, outOfOrder()); err != nil {
		return err
	}
	return w.drop()
}

// drop forgets the head.
func (w *importWriter) drop() error {
	if w.head == nil {
		return nil
	}
	var err error
	if w.app != nil {
		err = w.app.Rollback()
	}
	err = errors.Join(err, w.head.Close(), files.RemoveAll(filepath.Join(w.dir, "head")))
	w.head, w.app, w.samples, w.waiting = nil, nil, 0, 0
	return err
}

func (w *importWriter) close() error { return errors.Join(w.letGo(), w.drop()) }

// finish stores what is left, has the store take the blocks, and tells whoever shows
// their times.
func (w *importWriter) finish() error {
	if err := errors.Join(w.commit(), w.flush(), w.letGo()); err != nil {
		return err
	}
	changed := make(map[string]span)
	for _, p := range w.series {
		if p.from <= p.to {
			name := p.Labels.Get(model.MetricNameLabel)
			of, ok := changed[name]
			if !ok {
				of = noSpan
			}
			changed[name] = of.with(p.from).with(p.to)
		}
	}
	s := w.store
	done, err := s.rules.announce(changed)
	if err != nil {
		return err
	}
	defer done()
	if err := s.database.takeImport(w.ctx); err != nil {
		return err
	}
	for name, of := range changed {
		s.horizon.changed(name, of.from, of.to)
	}
	return nil
}

// takeImport has the store take the blocks that an import has made, if any.
func (d *database) takeImport(ctx context.Context) error {
	made := filepath.Join(d.dir, importPartial, importBlocks)
	blocks, err := files.ReadDir(made)
	if err != nil || len(blocks) == 0 {
		return err
	}
	if err := d.checkSize(made); err != nil {
		return err
	}
	if err := fileutil.Rename(made, filepath.Join(d.dir, importReady)); err != nil {
		return err
	}
	// From here on it is done, whoever waits for it or not.
	if err := d.resumeImport(); err != nil {
		return err
	}
	return d.reload(context.WithoutCancel(ctx), blocks)
}

// checkSize returns an error if the store would be larger than it may be with the
// blocks in a folder: the TSDB would delete its oldest blocks, and these first.
func (d *database) checkSize(folder string) error {
	size := int64(0)
	err := files.Walk(folder, func(_ string, info fs.FileInfo, err error) error {
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	db, err := d.acquire()
	if err != nil {
		return err
	}
	defer db.readers.Done()
	size += db.size()
	d.mu.Lock()
	most := d.config.MaxBytes
	d.mu.Unlock()
	if most > 0 && size > most {
		return fmt.Errorf("%w: the store would have %d MiB, and its maximum size is %d MiB: raise that, or import less", ErrTooMuch, size>>20, most>>20)
	}
	return nil
}

// resumeImport moves the blocks of an import that is whole to those of the store, and
// removes what there is of one that is not.
func (d *database) resumeImport() error {
	ready := filepath.Join(d.dir, importReady)
	blocks, err := files.ReadDir(ready)
	if errors.Is(err, fs.ErrNotExist) {
		return files.RemoveAll(filepath.Join(d.dir, importPartial))
	}
	if err != nil {
		return err
	}
	for _, b := range blocks {
		if err := fileutil.Rename(filepath.Join(ready, b.Name()), filepath.Join(d.dir, b.Name())); err != nil {
			return err
		}
	}
	return files.RemoveAll(ready)
}

// reload has the TSDB read the given blocks, which are in its folder, if it is open.
func (d *database) reload(ctx context.Context, blocks []fs.FileInfo) error {
	db, err := d.acquire()
	if err != nil {
		return nil //nolint:nilerr // it will read them when it is opened
	}
	// It reads what there is in its folder, too.
	err = db.CompactOOOHead(ctx)
	read := slices.ContainsFunc(db.Blocks(), func(b *tsdb.Block) bool { return b.Meta().ULID.String() == blocks[len(blocks)-1].Name() })
	db.readers.Done()
	if err != nil || read {
		return err
	}
	return d.reopen(errReopening) // without an out-of-order window it did not
}
