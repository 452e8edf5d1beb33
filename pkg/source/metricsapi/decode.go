package metricsapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/internal/remote"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

// Limits of an answer, besides those of package limits.
const (
	maxLabels = 100
	maxLabel  = 1000 // bytes of a label's name or value, or of a unit
)

// series is an answer of /query.
type series struct {
	points []point
	labels data.Labels
	unit   string
}

// decodeSeries reads an answer of /query. The times of the points must be in [from,
// to] (Unix ms) and ascending.
func decodeSeries(ctx context.Context, r io.Reader, from, to int64) (series, error) {
	// room charges points, many at once: each takes 24 bytes while it is read.
	const many = 4096
	room := func(i int) error {
		if err := limits.Points.Check(int64(i) + 1); err != nil || i%many > 0 {
			return err
		}
		return limits.Charge(ctx, many*24)
	}
	var s series
	var values []float64
	dec := newDecoder(r)
	err := dec.object(map[string]func() error{
		"timestamps": func() error {
			return dec.list("timestamps", func(i int, t jsontext.Token) error {
				if err := room(i); err != nil {
					return err
				}
				at, err := timeOf(t)
				if err != nil {
					return fmt.Errorf("is wrong: timestamps[%d] %w", i, err)
				}
				if floorMs(at) < from || ceilMs(at) > to {
					return fmt.Errorf("is wrong: timestamps[%d] is %s, which was not asked for%s", i, written(at), hint(at, from, to))
				}
				if n := len(s.points); n > 0 {
					switch last := s.points[n-1].at; {
					case at == last:
						return fmt.Errorf("is wrong: timestamps[%d] is %s, as is the one before: a metric has one point for each time", i, written(at))
					case at < last:
						return fmt.Errorf("is wrong: timestamps[%d] is %s, which is before %s: points must come in the order of time", i, written(at), written(last))
					}
				}
				s.points = append(s.points, point{at: at})
				return nil
			})
		},
		"values": func() error {
			return dec.list("values", func(i int, t jsontext.Token) error {
				if err := limits.Points.Check(int64(i) + 1); err != nil {
					return err
				}
				v, err := valueOf(t)
				if err != nil {
					return fmt.Errorf("is wrong: values[%d] %w", i, err)
				}
				values = append(values, v)
				return nil
			})
		},
		"labels": func() (err error) {
			s.labels, err = dec.labels()
			return err
		},
		"unit": func() (err error) {
			s.unit, err = dec.text("unit")
			return err
		},
	}, "timestamps", "values")
	if err != nil {
		return series{}, err
	}
	if len(values) != len(s.points) {
		return series{}, fmt.Errorf("is wrong: it has %d timestamps and %d values", len(s.points), len(values))
	}
	for i, v := range values {
		s.points[i].value = v
	}
	return s, nil
}

// hint returns the likely reason why a time is outside the requested range.
func hint(at, from, to int64) string {
	if s := floorMs(at); s != 0 && s >= from/1000-1 && s <= to/1000+1 {
		return ": numbers must be milliseconds, not seconds"
	}
	const layout = "2006-01-02T15:04:05.000Z"
	return fmt.Sprintf(": that was %s to %s", time.UnixMilli(from).UTC().Format(layout), time.UnixMilli(to).UTC().Format(layout))
}

// decodeLatest reads an answer of /latest. at is the time of the newest point in
// Unix nanoseconds; ok is false if there is no point yet.
func decodeLatest(r io.Reader) (at int64, ok bool, err error) {
	dec := newDecoder(r)
	err = dec.object(map[string]func() error{
		"timestamp": func() error {
			t, err := dec.token()
			if err != nil || t.Kind() == jsontext.KindNull {
				return err
			}
			if at, err = timeOf(t); err != nil {
				return fmt.Errorf("is wrong: timestamp %w", err)
			}
			ok = true
			return nil
		},
		"value": func() error {
			t, err := dec.token()
			if err != nil {
				return err
			}
			if _, err := valueOf(t); err != nil {
				return fmt.Errorf("is wrong: value %w", err)
			}
			return nil
		},
	}, "timestamp", "value")
	return at, ok, err
}

// decodeNames reads an answer of /names: a list of names, or of objects with a name.
func decodeNames(r io.Reader) ([]Metric, error) {
	metrics := []Metric{} // in JSON [] and not null
	dec := newDecoder(r)
	err := dec.list("it", func(i int, t jsontext.Token) error {
		var m Metric
		switch t.Kind() {
		case jsontext.KindString:
			m.Name = t.String()
		case jsontext.KindBeginObject:
			read := func(name string, to *string) func() error {
				return func() (err error) {
					*to, err = dec.text(name)
					return err
				}
			}
			if err := dec.fields(map[string]func() error{
				"name": read("the name", &m.Name), "unit": read("the unit", &m.Unit), "description": read("the description", &m.Description),
			}, "name"); err != nil {
				return err
			}
		default:
			return fmt.Errorf("is wrong: metric %d is %s: use a name, or an object with a name", i, kind(t))
		}
		if int64(i) < limits.Listed.Most { // enough for completion
			metrics = append(metrics, m)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return metrics, dec.end()
}

// timeOf returns a time in Unix nanoseconds. The text of its errors continues a
// sentence.
func timeOf(t jsontext.Token) (int64, error) {
	switch t.Kind() {
	case jsontext.KindNumber:
		ms, err := t.Int()
		if err != nil {
			f, ferr := t.Float()
			if ferr != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
				return 0, fmt.Errorf("is %s, which is not a whole number of milliseconds", t)
			}
			ms = int64(f) // 1.7e12
		}
		switch {
		case ms >= 1e17:
			return 0, fmt.Errorf("is %d, which looks like nanoseconds: numbers must be milliseconds", ms)
		case ms >= 1e14:
			return 0, fmt.Errorf("is %d, which looks like microseconds: numbers must be milliseconds", ms)
		}
		return nanos(time.UnixMilli(ms))
	case jsontext.KindString:
		at, err := rfc3339(t.String())
		if err != nil {
			return 0, fmt.Errorf("is %q, which is not a time as in RFC 3339, such as 2006-01-02T15:04:05.000Z", t)
		}
		return nanos(at)
	}
	return 0, fmt.Errorf("is %s and not a time", kind(t))
}

// rfc3339 parses a time. Package time does not know the small letters and the leap
// seconds that RFC 3339 allows.
func rfc3339(s string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err == nil {
		return at, nil
	}
	s = strings.ToUpper(s)
	const leap = "23:59:60"
	if i := strings.Index(s, leap); i > 0 {
		if at, err := time.Parse(time.RFC3339Nano, s[:i]+"23:59:59"+s[i+len(leap):]); err == nil {
			return at.Add(time.Second), nil
		}
	}
	return time.Parse(time.RFC3339Nano, s)
}

// nanos returns Unix nanoseconds, and refuses years that do not fit into an int64.
func nanos(t time.Time) (int64, error) {
	if y := t.UTC().Year(); y < 1700 || y > 2200 {
		return 0, errors.New("is not between the years 1700 and 2200")
	}
	return t.UnixNano(), nil
}

func written(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

// valueOf returns a number, NaN for null.
func valueOf(t jsontext.Token) (float64, error) {
	switch t.Kind() {
	case jsontext.KindNull:
		return math.NaN(), nil
	case jsontext.KindNumber:
		v, err := t.Float()
		if err != nil {
			return 0, fmt.Errorf("is %s, which does not fit into 64 bits", t)
		}
		return v, nil
	}
	return 0, fmt.Errorf("is %s: use a number, or null for none", kind(t))
}

func kind(t jsontext.Token) string {
	switch t.Kind() {
	case jsontext.KindString:
		return fmt.Sprintf("the text %q", t)
	case jsontext.KindNumber:
		return "the number " + t.String()
	case jsontext.KindBeginArray:
		return "a list"
	case jsontext.KindBeginObject:
		return "an object"
	}
	return t.String() // null, true or false
}

// decoder reads one JSON value token by token, so that an answer that is too long is
// noticed before it fills the memory. The text of its errors continues a sentence
// that begins with the name of the answer.
type decoder struct {
	*jsontext.Decoder
	skipped int64 // values that nobody reads
	page    bool  // it is a web page
}

// newDecoder returns a decoder of r, which may begin with a byte order mark.
func newDecoder(r io.Reader) *decoder {
	from := bufio.NewReader(r)
	const mark = "\uFEFF"
	if begin, _ := from.Peek(len(mark)); string(begin) == mark {
		_, _ = from.Discard(len(mark)) // they are there
	}
	begin, _ := from.Peek(1)
	return &decoder{page: string(begin) == "<",
		Decoder: jsontext.NewDecoder(from, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
}

// token returns the next token. It is valid until the next call.
func (d *decoder) token() (jsontext.Token, error) {
	t, err := d.ReadToken()
	if err == nil {
		return t, nil
	}
	if d.page {
		return t, remote.ErrPage
	}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return t, errors.New("is not JSON: it ends too early")
	case errors.As(err, &syntax):
		return t, fmt.Errorf("is not JSON: %w", syntax.Err)
	}
	return t, err
}

// object reads the whole input as one object. read has a function for each known
// field, by its name in lower case; other fields are skipped, but a text in the field
// error says that the answer is none.
func (d *decoder) object(read map[string]func() error, needed ...string) error {
	t, err := d.token()
	if err != nil {
		return err
	}
	if t.Kind() != jsontext.KindBeginObject {
		return fmt.Errorf("is wrong: it is %s and not an object", kind(t))
	}
	if err := d.fields(read, needed...); err != nil {
		return err
	}
	return d.end()
}

// fields reads what follows the beginning of an object, as object does.
func (d *decoder) fields(read map[string]func() error, needed ...string) error {
	seen := make(map[string]bool)
	for d.PeekKind() != jsontext.KindEndObject {
		t, err := d.token()
		if err != nil {
			return err
		}
		name := strings.ToLower(t.String())
		if name == "error" && d.PeekKind() == jsontext.KindString {
			if t, err = d.token(); err != nil {
				return err
			}
			if text := t.String(); text != "" {
				return fmt.Errorf("is an error: %s", text)
			}
			continue
		}
		if read[name] == nil {
			if err := d.skip(); err != nil {
				return err
			}
			continue
		}
		if seen[name] {
			return fmt.Errorf("is wrong: it has the field %s twice", name)
		}
		seen[name] = true
		if err := read[name](); err != nil {
			return err
		}
	}
	if _, err := d.token(); err != nil {
		return err
	}
	for _, name := range needed {
		if !seen[name] {
			return fmt.Errorf("is wrong: it has no field %s", name)
		}
	}
	return nil
}

func (d *decoder) end() error {
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("is wrong: something follows its end")
	}
	return nil
}

// skip skips one value. A field that nobody reads may have a value for each
// point.
func (d *decoder) skip() error {
	for depth := 0; ; {
		t, err := d.token()
		if err != nil {
			return err
		}
		if d.skipped++; d.skipped > limits.Points.Most {
			return limits.Points.Check(d.skipped)
		}
		switch t.Kind() {
		case jsontext.KindBeginObject, jsontext.KindBeginArray:
			depth++
		case jsontext.KindEndObject, jsontext.KindEndArray:
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// list reads a list of plain values.
func (d *decoder) list(name string, each func(i int, t jsontext.Token) error) error {
	t, err := d.token()
	if err != nil {
		return err
	}
	if t.Kind() != jsontext.KindBeginArray {
		return fmt.Errorf("is wrong: %s is %s and not a list", name, kind(t))
	}
	for i := 0; d.PeekKind() != jsontext.KindEndArray; i++ {
		t, err := d.token()
		if err != nil {
			return err
		}
		if err := each(i, t); err != nil {
			return err
		}
	}
	_, err = d.token()
	return err
}

func (d *decoder) text(name string) (string, error) {
	t, err := d.token()
	if err != nil || t.Kind() == jsontext.KindNull {
		return "", err
	}
	if t.Kind() != jsontext.KindString {
		return "", fmt.Errorf("is wrong: %s is %s and not a text", name, kind(t))
	}
	s := t.String()
	if len(s) > maxLabel || !utf8.ValidString(s) {
		return "", fmt.Errorf("is wrong: %s is not a text of at most %d bytes", name, maxLabel)
	}
	return s, nil
}

func (d *decoder) labels() (data.Labels, error) {
	t, err := d.token()
	if err != nil || t.Kind() == jsontext.KindNull {
		return nil, err
	}
	if t.Kind() != jsontext.KindBeginObject {
		return nil, fmt.Errorf("is wrong: labels is %s and not an object", kind(t))
	}
	labels := data.Labels{}
	for d.PeekKind() != jsontext.KindEndObject {
		name, err := d.text("the name of a label")
		if err != nil {
			return nil, err
		}
		if _, twice := labels[name]; twice {
			return nil, fmt.Errorf("is wrong: it has the label %s twice", name)
		}
		if labels[name], err = d.text("label " + name); err != nil {
			return nil, err
		}
		if len(labels) > maxLabels {
			return nil, fmt.Errorf("is wrong: it has more than %d labels", maxLabels)
		}
	}
	_, err = d.token()
	return labels, err
}
