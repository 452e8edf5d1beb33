// Package importer reads history that others have recorded: Influx line protocol, CSV,
// OpenMetrics and blocks of a Prometheus TSDB.
//
// It reads what may be far larger than the memory, line by line or series by series,
// and hands on each sample. A bad line never stops the rest. Names are made as inputs
// make them; those of OpenMetrics and blocks stay as they are.
package importer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/afero"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/lineprotocol"
)

// The formats.
const (
	Influx      = "influx"
	CSV         = "csv"
	OpenMetrics = "openmetrics"
	TSDB        = "tsdb"
)

var formats = []string{Influx, CSV, OpenMetrics, TSDB}

// Into takes what is read. [recorder.Import] is one.
type Into interface {
	// Add takes a sample. An error ends the reading.
	Add(recorder.Past) error
	// Refuse notes what can be no sample, in a line, 0 if there are no lines.
	Refuse(line int, reason, text string)
	Describe(metric string, m recorder.Metadata)
}

// InputError says that what is imported cannot be read, and what to do.
type InputError struct{ Err error }

// Error implements error.
func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns why.
func (e *InputError) Unwrap() error { return e.Err }

func unreadable(format string, args ...any) error { return &InputError{fmt.Errorf(format, args...)} }

// Reader reads a format.
type Reader struct {
	format string
	unit   time.Duration // of times that are numbers, 0 for by magnitude
	unitOf bool          // it was said
}

// New returns a reader of a format. precision is the unit of times that are numbers,
// as InfluxDB names units: nanoseconds if it is empty, but for CSV, whose numbers then
// are not taken for times.
func New(format, precision string) (*Reader, error) {
	if !slices.Contains(formats, format) {
		return nil, unreadable("the format %.100q is none of %s", format, strings.Join(formats, ", "))
	}
	unit, ok := lineprotocol.Precisions[precision]
	if !ok {
		return nil, unreadable("the precision %.100q is none of ns, us, ms, s, auto", precision)
	}
	return &Reader{format, unit, precision != ""}, nil
}

// files is how this package touches files that are not the TSDB's.
var files = afero.Afero{Fs: afero.NewOsFs()}

// Path reads a file, or for blocks a folder.
func (r *Reader) Path(path string, logger *slog.Logger, into Into) error {
	if r.format == TSDB {
		return readBlocks(path, logger, into)
	}
	f, err := files.Open(path)
	if err != nil {
		return &InputError{err}
	}
	defer func() { _ = f.Close() }() // nothing was written
	return r.Read(f, into)
}

// Read reads a text, which may be compressed with gzip.
func (r *Reader) Read(from io.Reader, into Into) error {
	buffered := bufio.NewReader(from)
	from = buffered
	if magic, _ := buffered.Peek(3); bytes.Equal(magic, []byte{0x1f, 0x8b, 0x08}) {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return unreadable("gzip: %w", err)
		}
		from = z
	}
	switch r.format {
	case Influx:
		return r.influx(from, into)
	case CSV:
		return r.csv(from, into)
	case OpenMetrics:
		return readOpenMetrics(from, into)
	}
	return unreadable("blocks are a folder, which cannot be sent: put it into the folder for imports, and give its name")
}

// maxLine is how long a line may be, in bytes.
const maxLine = 1 << 20

// shown is a text for people, cut.
func shown(text string) string {
	if len(text) > 200 {
		text = text[:200] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// Why something can be no sample.
const (
	notALine  = "the line cannot be read"
	noTime    = "no time"
	badLabels = "labels that are not valid"
)

// NotANumber is why a text can be no sample.
const NotANumber = "not a number"
