package importer

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/lineprotocol"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/naming"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// table is what the header of a CSV file says. It is wide, with a series in each
// column but one, or long, with a metric and a value in each row, and labels in the
// other columns.
type table struct {
	time          int
	wide          []labels.Labels // by column, empty where there is none
	names         []string        // of columns, as they were written
	long          bool
	metric, value int
}

var errForm = errors.New("the first line must name the columns: time and then a series in each column, or time, metric and value and then a label in each column")

func (r *Reader) csv(from io.Reader, into Into) error {
	bounded := &boundedReader{from: bufio.NewReader(from)}
	rows := csv.NewReader(bounded)
	rows.ReuseRecord = true
	header, err := rows.Read()
	if err != nil {
		return unreadable("%w: %w", errForm, err)
	}
	t, err := newTable(header)
	if err != nil {
		return &InputError{err}
	}
	for line := 1; ; {
		bounded.read = 0
		row, err := rows.Read()
		if err == nil {
			line, _ = rows.FieldPos(0)
		}
		var bad *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &bad):
			into.Refuse(bad.StartLine, notALine, bad.Err.Error())
			continue
		case errors.Is(err, errRecord):
			return unreadable("a row near line %d has %w: is a quotation mark missing?", line+1, err)
		case err != nil:
			return &InputError{err}
		}
		at, err := r.time(row[t.time])
		if err != nil {
			into.Refuse(line, noTime, err.Error())
			continue
		}
		if err := t.row(row, line, at, into); err != nil {
			return err
		}
	}
}

// boundedReader keeps a row from being read for ever because a quotation mark is
// missing.
type boundedReader struct {
	from io.Reader
	read int
}

var errRecord = fmt.Errorf("more than %d bytes", maxLine)

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.read > maxLine {
		return 0, errRecord
	}
	n, err := b.from.Read(p)
	b.read += n
	return n, err
}

func newTable(header []string) (table, error) {
	t := table{time: -1, metric: -1, value: -1, names: slices.Clone(header), wide: make([]labels.Labels, len(header))}
	t.names[0] = strings.TrimPrefix(t.names[0], "\uFEFF")
	if len(header) == 1 && strings.Contains(header[0], ";") {
		return t, errors.New("the columns must be separated by commas, and not by semicolons")
	}
	for i, name := range t.names {
		name = strings.TrimSpace(name)
		t.names[i] = name
		special := map[string]*int{"time": &t.time, "timestamp": &t.time, "metric": &t.metric, "value": &t.value}[strings.ToLower(name)]
		if special == nil {
			continue
		}
		if *special >= 0 {
			return t, fmt.Errorf("the columns %q and %q would be the same", t.names[*special], name)
		}
		*special = i
	}
	t.long = t.metric >= 0
	switch {
	case t.time < 0:
		return t, fmt.Errorf("there is no column time: %w", errForm)
	case t.long != (t.value >= 0):
		return t, fmt.Errorf("of the columns metric and value one is missing: %w", errForm)
	case len(header) == 1:
		return t, fmt.Errorf("there is a column time alone: %w", errForm)
	}
	return t, t.nameColumns()
}

// nameColumns finds what the columns are that are none of the above.
func (t *table) nameColumns() error {
	before := make(map[string]string)
	for i, name := range t.names {
		if i == t.time || i == t.metric || i == t.value {
			continue
		}
		var key string
		if t.long {
			key = naming.Label(name)
			if key == "labels" {
				return errors.New("there is a column labels: give each label a column of its own")
			}
		} else {
			var err error
			if t.wide[i], err = columnLabels(name); err != nil {
				return fmt.Errorf("column %d, %.200q: %w", i+1, name, err)
			}
			key = t.wide[i].String()
		}
		if key == "" {
			return fmt.Errorf("column %d, %.200q: %w", i+1, name, naming.ErrNoName)
		}
		if other, twice := before[key]; twice {
			return fmt.Errorf("the columns %.200q and %.200q would be the same", other, name)
		}
		before[key] = name
	}
	return nil
}

// columnLabels returns the series that a column of a wide table is called: a name, or
// a series as PromQL writes it.
func columnLabels(name string) (labels.Labels, error) {
	metric := naming.Metric(name)
	if metric == "" {
		return labels.EmptyLabels(), naming.ErrNoName
	}
	lbls := labels.FromStrings(model.MetricNameLabel, metric)
	if strings.Contains(name, "{") {
		if err := limits.PromQL(name); err != nil {
			return lbls, err
		}
		var err error
		if lbls, err = parser.NewParser(parser.Options{}).ParseMetric(name); err != nil {
			return lbls, err
		}
	}
	return lbls, series.Check(lbls)
}

// row adds the samples of a row.
func (t *table) row(row []string, line int, at int64, into Into) error {
	if t.long {
		return t.longRow(row, line, at, into)
	}
	for i, text := range row {
		if i == t.time || strings.TrimSpace(text) == "" {
			continue
		}
		v, ok := t.number(row, i, line, into)
		if !ok {
			continue
		}
		if err := into.Add(recorder.Past{Labels: t.wide[i], T: at, V: v, Line: line}); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) longRow(row []string, line int, at int64, into Into) error {
	v, ok := t.number(row, t.value, line, into)
	if !ok {
		return nil
	}
	var named []labels.Label
	for i, text := range row {
		if i != t.time && i != t.metric && i != t.value && text != "" {
			named = append(named, labels.Label{Name: naming.Label(t.names[i]), Value: text})
		}
	}
	metric := naming.Metric(row[t.metric])
	if metric == "" {
		into.Refuse(line, badLabels, fmt.Sprintf("%.100q: %v", row[t.metric], naming.ErrNoName))
		return nil
	}
	lbls := labels.New(append(named, labels.Label{Name: model.MetricNameLabel, Value: metric})...)
	if err := series.Check(lbls); err != nil {
		into.Refuse(line, badLabels, fmt.Sprintf("%.200s: %v", lbls, err))
		return nil
	}
	return into.Add(recorder.Past{Labels: lbls, T: at, V: v, Line: line, Field: row[t.metric]})
}

// number returns the number in a column, or refuses it.
func (t *table) number(row []string, column, line int, into Into) (float64, bool) {
	text := strings.TrimSpace(row[column])
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		into.Refuse(line, NotANumber, fmt.Sprintf("%.100q in the column %.100q", text, t.names[column]))
	}
	return v, err == nil
}

// time returns a time in Unix milliseconds.
func (r *Reader) time(text string) (int64, error) {
	text = strings.TrimSpace(text)
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UnixMilli(), nil
	}
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsNaN(n):
		return 0, fmt.Errorf("%.100q is no time: use RFC 3339, such as 2026-01-02T15:04:05Z, or a Unix time", text)
	case !r.unitOf:
		return 0, fmt.Errorf("%.100q is a number: say its unit with precision=s, ms, us or ns", text)
	}
	if seconds, _, fraction := strings.Cut(text, "."); fraction && r.unit == time.Second && len(seconds) < 12 {
		return int64(math.Round(n * 1000)), nil
	}
	return lineprotocol.Milliseconds(text, r.unit)
}
