package importer

import (
	"fmt"
	"io"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/lineprotocol"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

func (r *Reader) influx(from io.Reader, into Into) error {
	errs, err := lineprotocol.Read(from, r.unit, func(p lineprotocol.Point) error {
		for _, text := range p.Texts {
			into.Refuse(p.Line, NotANumber, fmt.Sprintf("%.100s=%.100q", text.Name, text.Value))
		}
		if !p.Timed {
			for _, f := range p.Fields {
				into.Refuse(p.Line, noTime, lineprotocol.FieldName(p.Measurement, f.Name))
			}
			return nil
		}
		for _, f := range p.Fields {
			lbls, err := p.Labels(f.Name)
			if err == nil {
				err = series.Check(lbls)
			}
			if err != nil {
				into.Refuse(p.Line, badLabels, fmt.Sprintf("%.200s: %v", lineprotocol.FieldName(p.Measurement, f.Name), err))
				continue
			}
			past := recorder.Past{Labels: lbls, T: p.T, V: f.Value, Line: p.Line, Field: string(p.Measurement) + " " + string(f.Name)}
			if err := into.Add(past); err != nil {
				return err
			}
		}
		return nil
	})
	for _, e := range errs {
		for range e.Lines {
			into.Refuse(e.Line, notALine, fmt.Sprintf("%v: %s", e.Err, e.Text))
		}
	}
	return err
}
