package promql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	jsoniter "github.com/json-iterator/go"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

// matrix collects the series of a range from one or more answers. It checks the
// limits as series come, because a small answer can have many series with one value
// each, and each of them gets a value for every row.
type matrix struct {
	ctx    context.Context
	at     span // the times of all answers
	room   *limits.Answer
	index  map[string]int // by labels
	key    []byte         // buffer for keys of index
	series []Series
}

func newMatrix(ctx context.Context, at span) *matrix {
	return &matrix{ctx: ctx, at: at, room: limits.NewAnswer(ctx, at.len()), index: make(map[string]int)}
}

func (at span) len() int { return int((at.last-at.first)/at.step) + 1 }

// clear removes the values of a part, before it is read again.
func (m *matrix) clear(part span) {
	begin := int((part.first - m.at.first) / m.at.step)
	for _, s := range m.series {
		copy(s.Values[begin:begin+part.len()], none(part.len()))
	}
}

// found returns the series that have at least one value.
func (m *matrix) found() []Series {
	var found []Series
	for _, s := range m.series {
		for _, v := range s.Values {
			if !math.IsNaN(v) {
				found = append(found, s)
				break
			}
		}
	}
	return found
}

func (m *matrix) add(l labels.Labels, points []point) error {
	if len(points) == 0 {
		return nil
	}
	values, err := m.values(l)
	if err != nil {
		return err
	}
	for _, p := range points {
		values[(p.t-m.at.first)/m.at.step] = p.v
	}
	return nil
}

// values returns the values of a series. A new series has none yet.
func (m *matrix) values(l labels.Labels) ([]float64, error) {
	m.key = l.Bytes(m.key)
	i, ok := m.index[string(m.key)]
	if !ok {
		if err := m.room.Add(len(m.key)); err != nil {
			return nil, err
		}
		i = len(m.series)
		m.index[string(m.key)] = i
		m.series = append(m.series, Series{Labels: l, Values: none(m.at.len())})
	}
	return m.series[i].Values, nil
}

type point struct {
	t int64 // Unix milliseconds
	v float64
}

// answer is a server's answer to a range query.
type answer struct {
	matrix *matrix
	part   span // the requested times

	failed     bool
	why        string // the server's error, if failed
	kind       string // resultType
	warnings   []string
	infos      []string
	partial    bool // isPartial of VictoriaMetrics
	histograms bool // a series has native histograms
}

// decode reads an answer as a stream. The text of its errors continues a sentence
// that begins with the name of the answer.
func (a *answer) decode(r io.Reader) error {
	a.matrix.clear(a.part)
	d := jsoniter.Parse(jsoniter.ConfigDefault, r, 64<<10)
	var err error // of valid JSON with a wrong content
	seen := int64(0)
	d.ReadObjectCB(func(d *jsoniter.Iterator, field string) bool {
		switch field {
		case "status":
			a.failed = d.ReadString() != "success"
		case "error":
			a.why = d.ReadString()
		case "warnings":
			a.warnings = someTexts(d)
		case "infos":
			a.infos = someTexts(d)
		case "isPartial":
			a.partial = d.ReadBool()
		case "data":
			d.ReadObjectCB(func(d *jsoniter.Iterator, field string) bool {
				switch {
				case field == "resultType":
					a.kind = d.ReadString()
				case field == "result" && d.WhatIsNext() == jsoniter.ArrayValue:
					d.ReadArrayCB(func(d *jsoniter.Iterator) bool {
						if d.WhatIsNext() != jsoniter.ObjectValue {
							d.Skip() // an answer of another type
							return true
						}
						if seen++; err == nil {
							err = limits.Series.Check(seen)
						}
						if err == nil {
							err = a.series(d)
						}
						return err == nil && d.Error == nil
					})
				default:
					d.Skip()
				}
				return err == nil && d.Error == nil
			})
		default:
			d.Skip()
		}
		return err == nil && d.Error == nil
	})
	switch {
	case err != nil:
		return err
	case errors.Is(d.Error, io.EOF), errors.Is(d.Error, io.ErrUnexpectedEOF):
		return errors.New("is not JSON: it ends too early")
	case d.Error != nil:
		return fmt.Errorf("is not what Prometheus would answer: %w", d.Error)
	}
	return nil
}

// someTexts reads a list of texts, at most a hundred of them.
func someTexts(d *jsoniter.Iterator) (texts []string) {
	d.ReadArrayCB(func(d *jsoniter.Iterator) bool {
		if text := d.ReadString(); len(texts) < 100 {
			texts = append(texts, text)
		}
		return d.Error == nil
	})
	return texts
}

func (a *answer) series(d *jsoniter.Iterator) error {
	var (
		b      = labels.NewScratchBuilder(8)
		points []point
		size   int64
		err    error
	)
	d.ReadObjectCB(func(d *jsoniter.Iterator, field string) bool {
		switch field {
		case "metric":
			d.ReadObjectCB(func(d *jsoniter.Iterator, name string) bool {
				value := d.ReadString()
				if size += int64(len(name) + len(value) + 1); size > limits.Token.Most {
					err = limits.Token.Check(size)
				} else if !utf8.ValidString(name + value) {
					err = fmt.Errorf("is wrong: the label %s=%q is not UTF-8", name, value)
				}
				b.Add(name, value)
				return err == nil && d.Error == nil
			})
		case "values":
			d.ReadArrayCB(func(d *jsoniter.Iterator) bool {
				var p point
				if p, err = a.point(d); err == nil && !math.IsNaN(p.v) {
					points = append(points, p)
				}
				if err == nil && len(points) > a.part.len() {
					err = errors.New("is wrong: a series has more values than were asked for")
				}
				return err == nil && d.Error == nil
			})
		case "histograms":
			d.ReadArrayCB(func(d *jsoniter.Iterator) bool {
				a.histograms = true
				d.Skip()
				return d.Error == nil
			})
		default:
			d.Skip()
		}
		return err == nil && d.Error == nil
	})
	if err != nil || d.Error != nil {
		return err
	}
	b.Sort()
	return a.matrix.add(b.Labels(), points)
}

// point reads [seconds, "value"].
func (a *answer) point(d *jsoniter.Iterator) (p point, err error) {
	i := 0
	d.ReadArrayCB(func(d *jsoniter.Iterator) bool {
		switch i++; i {
		case 1:
			p.t = int64(math.Round(d.ReadFloat64() * 1000))
		case 2:
			p.v, err = strconv.ParseFloat(d.ReadString(), 64)
		default:
			d.Skip()
		}
		return err == nil && d.Error == nil
	})
	switch {
	case d.Error != nil:
		return p, nil
	case err != nil || i != 2:
		return p, errors.New("is wrong: a value is not a pair of a time and a number in a text")
	case p.t < a.part.first || p.t > a.part.last || (p.t-a.part.first)%a.part.step != 0:
		return p, fmt.Errorf("is wrong: it has a value for %d, which was not asked for (%d to %d in steps of %d ms)", p.t, a.part.first, a.part.last, a.part.step)
	}
	return p, nil
}
