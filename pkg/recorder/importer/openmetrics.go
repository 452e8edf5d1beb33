package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

var eof = []byte("# EOF")

// readOpenMetrics reads line by line: no line needs another, and a bad one does not
// stop the rest, as it would the parser.
func readOpenMetrics(from io.Reader, into Into) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	described := make(map[string]recorder.Metadata)
	ended := false
	var text []byte
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSuffix(lines.Bytes(), []byte{'\r'})
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if ended = bytes.Equal(line, eof); ended {
			continue
		}
		text = append(append(append(text[:0], line...), '\n'), "# EOF\n"...)
		p := textparse.NewOpenMetricsParser(text, nil)
		entry, err := p.Next()
		if err != nil {
			into.Refuse(n, notALine, fmt.Sprintf("%s: %v", shown(string(line)), err))
			continue
		}
		switch entry {
		case textparse.EntrySeries:
			var lbls labels.Labels
			_, t, v := p.Series()
			p.Labels(&lbls)
			if err := series.Check(lbls); err != nil {
				into.Refuse(n, badLabels, fmt.Sprintf("%.200s: %v", lbls, err))
			} else if t == nil {
				into.Refuse(n, noTime, shown(string(line)))
			} else if err := into.Add(recorder.Past{Labels: lbls.WithoutEmpty(), T: *t, V: v, Line: n}); err != nil {
				return err
			}
		case textparse.EntryType, textparse.EntryHelp, textparse.EntryUnit:
			describe(p, entry, described, into)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return unreadable("there is a line of more than %d bytes", maxLine)
	case err != nil:
		return &InputError{err}
	case !ended:
		return unreadable("the text does not end with # EOF: it was cut, or is in Prometheus' older format, whose times are in milliseconds")
	}
	return nil
}

const maxDescribed = 10_000

func describe(p textparse.Parser, entry textparse.Entry, described map[string]recorder.Metadata, into Into) {
	var name []byte
	var set func(*recorder.Metadata)
	switch entry {
	case textparse.EntryType:
		metric, kind := p.Type()
		name, set = metric, func(m *recorder.Metadata) { m.Type = kind }
	case textparse.EntryHelp:
		metric, help := p.Help()
		name, set = metric, func(m *recorder.Metadata) { m.Help = string(help) }
	default:
		metric, unit := p.Unit()
		name, set = metric, func(m *recorder.Metadata) { m.Unit = string(unit) }
	}
	m, known := described[string(name)]
	if !known && len(described) == maxDescribed {
		return
	}
	set(&m)
	described[string(name)] = m
	into.Describe(string(name), m)
	if m.Type == "counter" { // whose samples have another name
		into.Describe(string(name)+"_total", m)
	}
}
