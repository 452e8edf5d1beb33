// Package lineprotocol parses Influx line protocol, and makes Prometheus names from
// it.
//
// A bad line does not stop the others. Booleans become 1 and 0.
package lineprotocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/naming"
)

// Point is one parsed line. Its bytes are valid only until the point function of
// Decode returns.
type Point struct {
	Line        int // from 1
	Measurement []byte
	Tags        []Tag
	Fields      []Field
	Texts       []Text
	// T is the time in Unix milliseconds, if Timed: the line has a time stamp.
	T     int64
	Timed bool
}

// Tag is a tag as it was sent.
type Tag struct{ Name, Value []byte }

// Field is a field with a number, as it was sent.
type Field struct {
	Name  []byte
	Value float64
}

// Text is a field with a string, as it was sent.
type Text struct{ Name, Value []byte }

// LineError says why a line could not be parsed.
type LineError struct {
	Line int // from 1; 0 if the error stands for several lines
	// Lines is how many lines the error stands for. It is 1, except for the last error
	// of more than maxErrors.
	Lines int
	Text  string // the line, cut to maxText
	Err   error
}

// Error implements error.
func (e LineError) Error() string {
	if e.Line == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("line %d: %v: %s", e.Line, e.Err, e.Text)
}

// Unwrap returns the error without the line.
func (e LineError) Unwrap() error { return e.Err }

const (
	maxErrors = 100 // lines with an error of their own
	maxText   = 200 // bytes

	// maxLine, maxTags (both in bytes) and maxFields limit a line, so that a small
	// text cannot become large in memory: each field gets a copy of the tags.
	maxLine   = 1 << 20
	maxTags   = 8 << 10
	maxFields = 10_000
)

var (
	errLine   = fmt.Errorf("the line has more than %d bytes", maxLine)
	errTags   = fmt.Errorf("measurement and tags have more than %d bytes", maxTags)
	errFields = fmt.Errorf("the line has more than %d fields", maxFields)
)

// Precisions are the units of time stamps, by the names that InfluxDB 1, 2 and 3 have
// for them; 0 is by magnitude.
var Precisions = map[string]time.Duration{
	"": time.Nanosecond, "n": time.Nanosecond, "ns": time.Nanosecond,
	"u": time.Microsecond, "us": time.Microsecond, "µ": time.Microsecond, "µs": time.Microsecond,
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
	"nanosecond": time.Nanosecond, "microsecond": time.Microsecond, "millisecond": time.Millisecond, "second": time.Second, "auto": 0,
}

// Decode parses the lines of b, calls point for each good line, in order, and
// returns the errors of the others. precision is the unit of time stamps; 0 means
// that the size of a time stamp decides.
func Decode(b []byte, precision time.Duration, point func(Point)) []LineError {
	d := decoder{precision: precision, point: point, line: 1}
	for len(b) > 0 {
		n, within := entry(b)
		d.entry(b[:n], within)
		b = b[n:]
	}
	return d.all()
}

// buffer is how much of a stream is in memory. The longest line must fit.
const buffer = 2 * maxLine

// Read is Decode for a stream of any length, of which it keeps little in memory. It
// stops at the first error of from, or of point, and returns it.
func Read(from io.Reader, precision time.Duration, point func(Point) error) ([]LineError, error) {
	var failed error
	d := decoder{precision: precision, line: 1, point: func(p Point) {
		if failed == nil {
			failed = point(p)
		}
	}}
	b := make([]byte, 0, buffer)
	skipping := false // the rest of a line that is too long
	for ended := false; !ended; {
		n, err := io.ReadFull(from, b[len(b):cap(b)])
		b = b[:len(b)+n]
		if ended = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); err != nil && !ended {
			return d.all(), err
		}
		rest := b
		for len(rest) > 0 && failed == nil {
			if skipping {
				end := bytes.IndexByte(rest, '\n')
				if end < 0 {
					rest = nil
					break
				}
				rest, skipping = rest[end+1:], false
				d.line++
				continue
			}
			n, within := entry(rest)
			if n == len(rest) && !ended {
				if n < cap(b) {
					break // it may go on
				}
				// A quotation mark is missing, or the line is too long.
				if n = bytes.LastIndexByte(rest, '\n') + 1; n == 0 {
					d.fail(d.line, rest, errLine)
					rest, skipping = nil, true
					break
				}
				within = bytes.Count(rest[:n], []byte{'\n'}) - 1
			}
			d.entry(rest[:n], within)
			rest = rest[n:]
		}
		if failed != nil {
			return d.all(), failed
		}
		b = append(b[:0], rest...)
	}
	return d.all(), nil
}

// length returns the length of the first line of b, with its line break.
func length(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

// entry returns the length of the first entry of b, and how many line breaks are
// within it. An entry is one line, or several if a string contains line breaks.
func entry(b []byte) (n, within int) {
	i := 0
	for i < len(b) && b[i] == ' ' {
		i++
	}
	first := length(b)
	if i == len(b) || b[i] == '#' || bytes.IndexByte(b[i:first], '"') < 0 {
		return first, 0
	}
	for fields, text := false, false; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\\' && i+1 < len(b) && (text || bytes.IndexByte([]byte(" ,="), b[i+1]) >= 0):
			if i++; b[i] == '\n' {
				within++
			}
		case text:
			switch c {
			case '"':
				text = false
			case '\n':
				within++
			}
		case c == '\n':
			return i + 1, within
		case c == ' ':
			fields = true
		case c == '"' && fields && b[i-1] == '=':
			text = true
		}
	}
	if within > 0 && b[len(b)-1] == '\n' {
		within-- // the last line break ends the entry
	}
	return len(b), within
}

type decoder struct {
	precision time.Duration
	point     func(Point)
	line      int // where the next entry begins
	errs      []LineError
	more      int

	p     Point
	bytes []byte // p's slices point into it
}

// entry reads an entry with so many ends of lines within.
func (d *decoder) entry(b []byte, within int) {
	err := d.decode(d.line, b)
	if err == nil || within == 0 {
		if err != nil {
			d.fail(d.line, b, err)
		}
		d.line += 1 + within
		return
	}
	// A string that goes on over the end of its line, or a quotation mark too many or
	// too few. The lines are read one by one, for all that are good by themselves.
	for ; len(b) > 0; d.line++ {
		one := b[:length(b)]
		if err := d.decode(d.line, one); err != nil {
			d.fail(d.line, one, err)
		}
		b = b[len(one):]
	}
}

// all returns the lines that were not read.
func (d *decoder) all() []LineError {
	if d.more > 0 {
		d.errs = append(d.errs, LineError{Lines: d.more, Err: fmt.Errorf("%d more lines cannot be read", d.more)})
	}
	return d.errs
}

func (d *decoder) fail(line int, text []byte, err error) {
	if len(d.errs) == maxErrors {
		d.more++
		return
	}
	text = bytes.TrimSpace(text)
	if len(text) > maxText {
		text = append(bytes.Clone(text[:maxText]), "…"...)
	}
	var syntax *lineprotocol.DecodeError
	if errors.As(err, &syntax) {
		err = syntax.Err // its position is that within the entry, not within b
	}
	d.errs = append(d.errs, LineError{Line: line, Lines: 1, Text: strings.ToValidUTF8(string(text), "\uFFFD"), Err: err})
}

func (d *decoder) keep(b []byte) []byte {
	n := len(d.bytes)
	d.bytes = append(d.bytes, b...)
	return d.bytes[n:len(d.bytes):len(d.bytes)]
}

// decode parses one entry, which may be empty or a comment.
func (d *decoder) decode(line int, b []byte) error {
	if len(b) > maxLine {
		return errLine
	}
	if text := bytes.TrimLeft(b, " \r\n"); len(text) == 0 || text[0] == '#' {
		return nil
	}
	r := lineprotocol.NewDecoderWithBytes(b)
	if !r.Next() {
		return nil // a comment
	}
	d.bytes = d.bytes[:0]
	d.p = Point{Line: line, Tags: d.p.Tags[:0], Fields: d.p.Fields[:0], Texts: d.p.Texts[:0]}
	name, err := r.Measurement()
	if err != nil {
		return err
	}
	d.p.Measurement = d.keep(name)
	for size := len(name); ; {
		name, value, err := r.NextTag()
		if err != nil {
			return err
		}
		if name == nil {
			break
		}
		// The two separators count, too, so that the number of empty tags is
		// bounded.
		if size += len(name) + len(value) + 2; size > maxTags {
			return errTags
		}
		d.p.Tags = append(d.p.Tags, Tag{d.keep(name), d.keep(value)})
	}
	for {
		name, value, err := r.NextField()
		if err != nil {
			return err
		}
		if name == nil {
			break
		}
		if len(d.p.Fields)+len(d.p.Texts) == maxFields {
			return errFields
		}
		d.field(name, value)
	}
	stamp, err := r.TimeBytes()
	if err != nil {
		return err
	}
	if stamp != nil {
		if d.p.T, err = Milliseconds(string(stamp), d.precision); err != nil {
			return err
		}
		d.p.Timed = true
	}
	if r.Next() {
		return errors.New("more than one line") // the library sees two entries
	}
	d.point(d.p)
	return nil
}

func (d *decoder) field(name []byte, value lineprotocol.Value) {
	var v float64
	switch value.Kind() {
	case lineprotocol.Float:
		v = value.FloatV()
	case lineprotocol.Int:
		v = float64(value.IntV())
	case lineprotocol.Uint:
		v = float64(value.UintV())
	case lineprotocol.Bool:
		if value.BoolV() {
			v = 1
		}
	default:
		d.p.Texts = append(d.p.Texts, Text{d.keep(name), d.keep(value.BytesV())})
		return
	}
	d.p.Fields = append(d.p.Fields, Field{d.keep(name), v})
}

// maxTime is the latest time of line protocol in nanoseconds, in the year 2262.
const maxTime = math.MaxInt64

// Milliseconds returns a time stamp of the given unit, 0 for by its magnitude, in Unix
// milliseconds.
func Milliseconds(stamp string, unit time.Duration) (int64, error) {
	n, err := strconv.ParseInt(stamp, 10, 64)
	if unit == 0 {
		// Below 1e11 are seconds (until the year 5138), then milliseconds (from 1973
		// on), and so on.
		switch {
		case n < 1e11:
			unit = time.Second
		case n < 1e14:
			unit = time.Millisecond
		case n < 1e17:
			unit = time.Microsecond
		default:
			unit = time.Nanosecond
		}
	}
	if err != nil || n < 0 || n > maxTime/int64(unit) {
		return 0, fmt.Errorf("the time stamp %.100s is not between 1970 and 2262: is its precision %v?", stamp, unit)
	}
	return n * int64(unit) / int64(time.Millisecond), nil
}

// FieldName returns the metric name of a field: measurement_field, or only the
// measurement if the field is called value.
func FieldName(measurement, field []byte) string {
	if string(field) == "value" {
		return string(measurement)
	}
	return string(measurement) + "_" + string(field)
}

// Labels returns the labels of the series of a field of p. The error is
// naming.ErrNoName or naming.ErrTwice.
func (p *Point) Labels(field []byte) (labels.Labels, error) {
	metric := naming.Metric(FieldName(p.Measurement, field))
	if metric == "" {
		return labels.EmptyLabels(), naming.ErrNoName
	}
	tags := make([]labels.Label, 0, len(p.Tags)+1)
	for _, t := range p.Tags {
		tags = append(tags, labels.Label{Name: string(t.Name), Value: string(t.Value)})
	}
	named, err := naming.Labels(tags)
	if err != nil {
		return labels.EmptyLabels(), err
	}
	return labels.New(append(named, labels.Label{Name: model.MetricNameLabel, Value: metric})...), nil
}
