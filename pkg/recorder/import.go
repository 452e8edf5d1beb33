package recorder

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lanrat/extsort"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// Past is a sample of history, at a time in Unix milliseconds.
type Past struct {
	Labels labels.Labels
	T      int64
	V      float64
	// Line is where it was found, 0 if there are no lines.
	Line int
	// Field is what the series was called where it was found. Samples of two fields
	// are never made one series.
	Field string
}

// Imported is what came of an import.
type Imported struct {
	// Samples were stored, of so many Series, from From to To.
	Samples uint64    `json:"samples"`
	Series  int       `json:"series"`
	From    time.Time `json:"from,omitzero"`
	To      time.Time `json:"to,omitzero"`
	// Recent is how many of Samples were within the out-of-order window, and went the
	// way of what inputs bring.
	Recent uint64 `json:"recent"`
	// Repeated is how many samples the store had already.
	Repeated uint64 `json:"repeated"`
	// Refused is how many were not stored, by reason, and Lines the first of them.
	Refused map[string]uint64 `json:"refused,omitempty"`
	Lines   []RefusedLine     `json:"lines,omitempty"`
}

// RefusedLine is a part of an import that was not stored.
type RefusedLine struct {
	Line   int    `json:"line,omitempty"`
	Reason string `json:"reason"`
	Text   string `json:"text,omitempty"`
}

// Why a sample of an import is refused, beside what refuses those of inputs.
var (
	errTwoFields = errors.New("two fields, one name")
	errNotYet    = errors.New("too recent for an import and too old for the out-of-order window: import it again in some hours")
)

// ErrTooMuch says that an import is too large in a way that the disk cannot help.
var ErrTooMuch = errors.New("too much for one import")

const (
	// maxImportSeries is how many series an import may have, and maxImportLabels how
	// large the labels of all of them may be, in bytes: they are in memory.
	maxImportSeries = 100_000
	maxImportLabels = 64 << 20
	// maxRefusedLines is how many refused lines are told.
	maxRefusedLines = 20
	// sortChunk is how many samples are sorted in memory. Each takes 24 bytes, and there
	// are five such chunks at most.
	sortChunk = 250_000
	// importBatch is how many samples are committed at once.
	importBatch = 5000
	// importSpare is how much an import leaves free above the first floor, in bytes.
	importSpare = 64 << 20

	importInput = "import"
)

// Import is an import that is being read. It is not safe for concurrent use.
type Import struct {
	store  *Store
	ctx    context.Context //nolint:containedctx // it lives no longer than the import
	oldest int64           // that is within the retention

	ids    map[string]uint32 // of series, by their labels
	series []pastSeries
	bytes  int // of all labels
	key    []byte
	meta   map[string]Metadata

	in       chan<- pastSample
	sortErr  <-chan error
	ended    chan struct{} // closed when the sorter takes nothing any more
	panicked error         // of the sorter, set before ended is closed
	added    uint64
	imported Imported
}

// pastSeries is a series of an import.
type pastSeries struct {
	Series
	field string
	span  // of what was stored; from > to if nothing was
}

// pastSample is a sample on its way through the sorter.
type pastSample struct {
	series uint32
	line   uint32
	t      int64
	v      float64
}

const pastBytes = 24

func (p pastSample) encode() ([]byte, error) {
	b := make([]byte, 0, pastBytes)
	b = binary.LittleEndian.AppendUint32(b, p.series)
	b = binary.LittleEndian.AppendUint32(b, p.line)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.t))
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(p.v)), nil
}

func decodePast(b []byte) (pastSample, error) {
	if len(b) != pastBytes {
		return pastSample{}, fmt.Errorf("a sorted sample has %d bytes", len(b))
	}
	return pastSample{
		series: binary.LittleEndian.Uint32(b), line: binary.LittleEndian.Uint32(b[4:]),
		t: int64(binary.LittleEndian.Uint64(b[8:])), v: math.Float64frombits(binary.LittleEndian.Uint64(b[16:])),
	}, nil
}

// compare orders samples by the two hours that they are in, by series, by time and, of
// the same time, by where they were found.
func (p pastSample) compare(o pastSample) int {
	return cmp.Or(cmp.Compare(binOf(p.t), binOf(o.t)), cmp.Compare(p.series, o.series), cmp.Compare(p.t, o.t), cmp.Compare(p.line, o.line))
}

// binOf returns which two hours t is in. Within them samples need not be in the order
// of their times for a block.
func binOf(t int64) int64 { return t / binLength } // nothing is kept from before 1970

// Import stores the samples that read adds, however old they are within the retention.
// What the out-of-order window has no room for becomes blocks, which are there at once
// when all has been read, or not at all if there is an error; the rest is stored as if
// an input had brought it. Of two samples of a series and time the first wins, and what
// was recorded before is the first. So an import may be repeated. Streams that show any
// of these times ask afresh. There is one import of a store at a time.
//
// The error is an ErrNotReady, an ErrTooMuch, or that of read.
func (s *Store) Import(ctx context.Context, read func(*Import) error) (Imported, error) {
	if !s.importing.TryLock() {
		return Imported{}, errors.New("another import is being stored: wait for its end")
	}
	defer s.importing.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-s.ended:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	}()
	var imported Imported
	err := panics.Catch("import", func() (err error) {
		imported, err = s.importAll(ctx, read)
		return err
	})
	if err != nil {
		return Imported{}, fmt.Errorf("import: %w", cmp.Or(context.Cause(ctx), err))
	}
	return imported, nil
}

func (s *Store) importAll(ctx context.Context, read func(*Import) error) (_ Imported, err error) {
	partial := filepath.Join(s.database.dir, importPartial)
	err = errors.Join(files.RemoveAll(partial), files.MkdirAll(filepath.Join(partial, importBlocks), 0o777))
	if err != nil {
		return Imported{}, err
	}
	defer func() { err = errors.Join(err, files.RemoveAll(partial)) }()

	ctx, cancel := context.WithCancel(ctx)
	in := make(chan pastSample, 1000)
	sorter, sorted, sortErr := extsort.Generic(in, decodePast, pastSample.encode, pastSample.compare,
		&extsort.Config{ChunkSize: sortChunk, NumWorkers: 1, SortedChanBuffSize: 1000, TempFilesDir: partial})
	oldest, _ := s.horizon.times()
	i := &Import{store: s, ctx: ctx, oldest: oldest, ids: make(map[string]uint32), in: in, sortErr: sortErr, ended: make(chan struct{})}
	go i.sort(func() { sorter.Sort(ctx) })
	whole := sync.OnceFunc(func() { close(in) })
	defer func() { // its files end before their folder
		cancel()
		whole()
		<-i.ended
		for i.panicked == nil {
			if _, more := <-sorted; !more { // nobody needs the rest
				break
			}
		}
	}()
	if err := i.check(); err != nil {
		return Imported{}, err
	}
	if err := read(i); err != nil {
		return Imported{}, err
	}
	whole()
	if <-i.ended; i.panicked != nil {
		return Imported{}, i.panicked
	}
	w := newImportWriter(i, partial)
	defer func() { err = errors.Join(err, w.close()) }()
	for p := range sorted {
		if err := w.take(p); err != nil {
			return Imported{}, err
		}
	}
	if err := <-sortErr; err != nil {
		return Imported{}, fmt.Errorf("%w: %w", errWrite, err)
	}
	if err := w.finish(); err != nil {
		return Imported{}, err
	}
	s.metadata.add(i.meta)
	return i.result(), nil
}

// check returns an error if there is no room for more. Inputs need room, too: an
// import does not use it up to the first floor.
func (i *Import) check() error {
	if err := i.ctx.Err(); err != nil {
		return err
	}
	if err := i.store.ready.check(); err != nil {
		return err
	}
	if free, low := i.store.ready.room(); free < low+importSpare {
		return fmt.Errorf("%w: %d MiB are free, and an import leaves %d MiB: free some space", ErrDiskLow, free>>20, (low+importSpare)>>20)
	}
	return nil
}

// Add takes a sample. What is wrong with it is noted, and is no error: an error ends
// the import.
func (i *Import) Add(p Past) error {
	if i.added++; i.added%importBatch == 0 {
		if err := i.check(); err != nil {
			return err
		}
	}
	if p.T < i.oldest {
		i.refuse(p, ErrTooOld)
		return nil
	}
	if i.store.rules.records(p.Labels.Get(model.MetricNameLabel)) {
		i.refuse(p, ErrRecorded)
		return nil
	}
	id, err := i.find(p)
	if err != nil || id < 0 {
		return err
	}
	select {
	case i.in <- pastSample{series: uint32(id), line: uint32(min(int64(p.Line), math.MaxUint32)), t: p.T, v: p.V}:
		return nil
	case <-i.ended:
		if i.panicked != nil {
			return i.panicked
		}
		return fmt.Errorf("%w: %w", errWrite, <-i.sortErr)
	}
}

// sort runs the sorter until it takes nothing any more.
func (i *Import) sort(run func()) {
	defer close(i.ended)
	i.panicked = panics.Catch("import", func() error {
		run()
		return nil
	})
}

// find returns the number of a sample's series, and one below 0 if it can have none,
// which it notes.
func (i *Import) find(p Past) (int, error) {
	i.key = p.Labels.Bytes(i.key)
	id, ok := i.ids[string(i.key)]
	if !ok {
		if i.bytes += len(i.key); len(i.series) == maxImportSeries || i.bytes > maxImportLabels {
			return 0, fmt.Errorf("%w: there are more than %d series, or their labels have more than %d bytes: import them in parts",
				ErrTooMuch, maxImportSeries, maxImportLabels)
		}
		id = uint32(len(i.series))
		// noted: an import is no input that could go down.
		i.ids[string(i.key)] = id
		i.series = append(i.series, pastSeries{Series: Series{Labels: p.Labels, noted: true}, field: p.Field, span: noSpan})
	}
	if of := i.series[id].field; of != p.Field {
		i.Refuse(p.Line, errTwoFields.Error(), fmt.Sprintf("%.200q and %.200q", of, p.Field))
		return -1, nil
	}
	return int(id), nil
}

// Describe notes what a metric is.
func (i *Import) Describe(metric string, m Metadata) {
	if i.meta == nil {
		i.meta = make(map[string]Metadata)
	}
	if _, known := i.meta[metric]; known || len(i.meta) < maxImportSeries {
		i.meta[metric] = m
	}
}

// Refuse notes something that cannot be stored.
func (i *Import) Refuse(line int, reason, text string) {
	if i.imported.Refused == nil {
		i.imported.Refused = make(map[string]uint64)
	}
	i.imported.Refused[reason]++
	if len(i.imported.Lines) < maxRefusedLines {
		i.imported.Lines = append(i.imported.Lines, RefusedLine{line, reason, text})
	}
}

func (i *Import) refuse(p Past, why error) {
	text := ""
	if len(i.imported.Lines) < maxRefusedLines { // to write it costs more than all else
		text = fmt.Sprintf("%.300s %v @ %s", p.Labels, p.V, time.UnixMilli(p.T).UTC().Format(time.RFC3339Nano))
	}
	reason := why.Error()
	if errors.Is(why, ErrTooOld) {
		reason = "older than the retention"
	}
	i.Refuse(p.Line, reason, text)
}

// result returns what came of the import.
func (i *Import) result() Imported {
	slices.SortStableFunc(i.imported.Lines, func(a, b RefusedLine) int { return a.Line - b.Line })
	all := noSpan
	for _, s := range i.series {
		if s.from > s.to {
			continue
		}
		i.imported.Series++
		all = all.with(s.from).with(s.to)
	}
	if all.from <= all.to {
		i.imported.From, i.imported.To = time.UnixMilli(all.from).UTC(), time.UnixMilli(all.to).UTC()
	}
	return i.imported
}

// noSpan has no time in it.
var noSpan = span{math.MaxInt64, math.MinInt64}

func (s span) with(t int64) span { return span{min(s.from, t), max(s.to, t)} }

// importsDir is beside the organisations' folders, whose names are numbers.
const importsDir = "imports"

var importNames = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}$`)

// ImportPath returns where the file or folder of the given name lies that is to be
// imported into the store of key: only whoever runs the machine can have put it there.
func (r *Recorder) ImportPath(key Key, name string) (string, error) {
	folder := filepath.Join(importsDir, strconv.FormatInt(key.Org, 10), key.UID)
	if !importNames.MatchString(name) {
		return "", fmt.Errorf("%.100q is not the name of a file: put the file into %s below the recorder's folder, and give its name alone", name, folder)
	}
	return filepath.Join(r.root, folder, name), nil
}
