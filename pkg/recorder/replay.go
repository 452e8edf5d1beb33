package recorder

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"slices"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

const (
	walDir        = "wal"
	wblDir        = wlog.WblDirName
	chunksHeadDir = "chunks_head"
	// oldWBLDir is the log of samples out of order of a TSDB that was not closed well,
	// from when its samples are moved to chunks until they are in blocks.
	oldWBLDir = "wbl.old"

	// chunkSamples is how many samples a chunk has at most, and lateSamples how many one
	// has that are out of order, as in the TSDB.
	chunkSamples = tsdb.DefaultSamplesPerChunk
	lateSamples  = int(tsdb.DefaultOutOfOrderCapMax)
)

// fillChunks moves the samples of the TSDB's logs to the chunks on the disk, except
// for the last sample of each series.
//
// When the TSDB is opened, it reads its logs into memory, and writes each chunk that
// gets full meanwhile to the disk. If the disk is full, one of its own goroutines
// panics, which nobody can recover. When the chunks have all samples but one of a
// series, none gets full. The TSDB needs the last sample: without any in memory it
// takes later ones out of order for ones in order, and drops them.
//
// Of samples out of order fillChunks moves those in oldWBLDir alone.
//
// After an error the chunks on the disk must be deleted.
func fillChunks(dir string) error {
	return panics.Catch("store", func() (err error) {
		mapper, err := chunks.NewChunkDiskMapper(nil, filepath.Join(dir, chunksHeadDir), chunkenc.NewPool(), chunks.MinWriteBufferSize, 0)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, mapper.Close()) }()
		f := &filler{
			mapper: mapper, have: make(map[chunks.HeadSeriesRef]int64),
			byRef: make(map[chunks.HeadSeriesRef]*filling), byLabels: make(map[string]*filling),
			decoder: record.NewDecoder(nil, slog.New(slog.DiscardHandler)),
		}
		err = mapper.IterateAllChunks(func(ref chunks.HeadSeriesRef, _ chunks.ChunkDiskMapperRef, _, maxt int64, _ uint16, _ chunkenc.Encoding, late bool) error {
			if before, ok := f.have[ref]; !late && (!ok || before < maxt) {
				f.have[ref] = maxt
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := readLog(filepath.Join(dir, walDir), f.record); err != nil {
			return err
		}
		if err := f.flush(); err != nil {
			return err
		}
		f.late = true
		if err := readLog(filepath.Join(dir, oldWBLDir), f.record); err != nil {
			return err
		}
		return f.flush()
	})
}

// readLog calls do for all records of a log, the checkpoint first. Like the TSDB it
// reads up to the first record that is damaged.
func readLog(dir string, do func(rec []byte) error) error {
	first, last, err := wlog.Segments(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	checkpoint, covered, err := wlog.LastCheckpoint(dir)
	switch {
	case err == nil:
		first = max(first, covered+1)
		if ok, err := readSegments(wlog.SegmentRange{Dir: checkpoint, First: -1, Last: -1}, do); !ok || err != nil {
			return err
		}
	case !errors.Is(err, record.ErrNotFound):
		return err
	}
	for i := max(first, 0); i <= last; i++ {
		if ok, err := readSegments(wlog.SegmentRange{Dir: dir, First: i, Last: i}, do); !ok || err != nil {
			return err
		}
	}
	return nil
}

// readSegments reports whether it could read all records. The error is that of do, or
// of opening the segments.
func readSegments(r wlog.SegmentRange, do func(rec []byte) error) (whole bool, err error) {
	segments, err := wlog.NewSegmentsRangeReader(r)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, segments.Close()) }()
	reader := wlog.NewReader(segments)
	for reader.Next() {
		if err := do(reader.Record()); err != nil {
			return false, err
		}
	}
	return reader.Err() == nil, nil
}

// filler writes samples into chunks.
type filler struct {
	mapper   *chunks.ChunkDiskMapper
	have     map[chunks.HeadSeriesRef]int64 // the newest time (Unix ms) in chunks in order
	byRef    map[chunks.HeadSeriesRef]*filling
	byLabels map[string]*filling
	late     bool // samples are out of order

	decoder record.Decoder
	series  []record.RefSeries
	samples []record.RefSample
	key     []byte
}

// filling is a series whose next chunk is not full yet.
type filling struct {
	// ref is that of the last record of the series: if a log has several, the TSDB
	// takes chunks for that one alone.
	ref    chunks.HeadSeriesRef
	behind int64 // samples in order up to this time (Unix ms) are in chunks
	any    bool  // last is set
	last   record.RefSample

	chunk    *chunkenc.XORChunk // nil if it has no samples
	app      chunkenc.Appender
	from, to int64
	late     []record.RefSample // of the next chunk, not sorted yet
}

// record takes a record of a log. It ignores those that cannot be understood: the
// TSDB reports them.
func (f *filler) record(rec []byte) (err error) {
	switch f.decoder.Type(rec) {
	case record.Series:
		if f.series, err = f.decoder.Series(rec, f.series[:0]); err != nil {
			return nil //nolint:nilerr // see above
		}
		for _, s := range f.series {
			if err := f.found(s); err != nil {
				return err
			}
		}
	case record.Samples, record.SamplesV2:
		if f.samples, err = f.decoder.Samples(rec, f.samples[:0]); err != nil {
			return nil //nolint:nilerr // see above
		}
		for _, s := range f.samples {
			if err := f.add(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// found takes the record of a series. A series that left the head and came back has
// another ref, and what came before is in blocks.
func (f *filler) found(s record.RefSeries) error {
	f.key = s.Labels.Bytes(f.key)
	b := f.byLabels[string(f.key)]
	if b == nil {
		b = &filling{}
		f.byLabels[string(f.key)] = b
	} else if b.ref == s.Ref {
		return nil
	}
	if err := f.write(b); err != nil {
		return err
	}
	b.ref, b.any, b.behind = s.Ref, false, math.MinInt64
	if t, ok := f.have[s.Ref]; ok {
		b.behind = t
	}
	f.byRef[s.Ref] = b
	return nil
}

func (f *filler) add(s record.RefSample) error {
	b := f.byRef[s.Ref]
	switch {
	case b == nil: // the TSDB drops it, too
		return nil
	case f.late:
		if b.late = append(b.late, s); len(b.late) < lateSamples {
			return nil
		}
		return f.write(b)
	case s.T <= b.behind, b.any && s.T <= b.last.T: // out of order, or in a chunk
		return nil
	}
	before, had := b.last, b.any
	b.last, b.any = s, true
	if !had {
		return nil
	}
	return f.put(b, before)
}

func (f *filler) put(b *filling, s record.RefSample) (err error) {
	if b.chunk != nil && (b.chunk.NumSamples() == chunkSamples || binOf(b.from) != binOf(s.T)) {
		if err := f.end(b); err != nil {
			return err
		}
	}
	if b.chunk == nil {
		b.chunk, b.from = chunkenc.NewXORChunk(), s.T
		if b.app, err = b.chunk.Appender(); err != nil {
			return err
		}
	}
	b.app.Append(0, s.T, s.V)
	b.to = s.T
	return nil
}

// flush writes all chunks that have samples.
func (f *filler) flush() error {
	for _, b := range f.byLabels {
		if err := f.write(b); err != nil {
			return err
		}
	}
	return nil
}

// write writes what there is of a series. After an error nothing may be written any
// more.
func (f *filler) write(b *filling) error {
	slices.SortStableFunc(b.late, func(a, b record.RefSample) int { return cmp.Compare(a.T, b.T) })
	for i, s := range b.late {
		if i > 0 && s.T == b.late[i-1].T { // the first wins
			continue
		}
		if err := f.put(b, s); err != nil {
			return err
		}
	}
	b.late = b.late[:0]
	return f.end(b)
}

// end writes the chunk of a series, if it has samples.
func (f *filler) end(b *filling) (err error) {
	if b.chunk != nil {
		f.mapper.WriteChunk(b.ref, b.from, b.to, b.chunk, f.late, func(failed error) { err = failed })
		b.chunk = nil
	}
	return err
}
