package push

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/lineprotocol"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/naming"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// influx answers a request with line protocol.
func (r *run) influx(w http.ResponseWriter, req *http.Request) {
	precision, ok := lineprotocol.Precisions[req.URL.Query().Get("precision")]
	if !ok {
		fail(w, http.StatusBadRequest, fmt.Sprintf("the precision %q is none of ns, us, ms, s, auto", req.URL.Query().Get("precision")))
		return
	}
	body, ok := r.body(w, req, "gzip")
	if !ok {
		return
	}
	if text := bytes.TrimSpace(body); len(text) > 0 && (text[0] == '{' || text[0] == '[') && json.Valid(text) {
		fail(w, http.StatusBadRequest, `the request is JSON and must be line protocol: Telegraf writes it with data_format = "influx"`)
		return
	}
	q := r.newRequest(req.Context(), Influx)
	if wait := r.allow(q.now); wait > 0 {
		w.Header().Set("Retry-After", seconds(wait))
		fail(w, http.StatusTooManyRequests, r.tooFast().Error())
		return
	}
	q.payload = string(body[:min(len(body), 4000)])
	for _, err := range lineprotocol.Decode(body, precision, q.point) {
		q.skip(notLines, err.Lines, err.Text)
		q.fault(err.Line, "%v: %s", err.Err, err.Text)
	}
	if err := q.finish(); err != nil {
		fail(w, http.StatusServiceUnavailable, unavailable(w.Header(), err).Error())
		return
	}
	if q.faulty == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	slices.SortStableFunc(q.faults, func(a, b fault) int { return a.line - b.line })
	var lines []line
	for _, f := range q.faults {
		lines = append(lines, line{f.line, f.text})
	}
	fail(w, http.StatusBadRequest, q.told(), lines...)
}

// point adds the samples of a line.
func (q *request) point(p lineprotocol.Point) {
	if len(p.Texts) > 0 {
		q.skip(notANumber, len(p.Texts), p.Texts[0].Value)
	}
	t := q.now.UnixMilli()
	if p.Timed {
		t = p.T
	}
	for _, f := range p.Fields {
		name := lineprotocol.FieldName(p.Measurement, f.Name)
		lbls, err := p.Labels(f.Name)
		if err != nil {
			reason := noName
			if errors.Is(err, naming.ErrTwice) {
				reason = twoTags
			}
			q.skip(reason, 1, name)
			q.fault(p.Line, "%v: %.200s", err, name)
			continue
		}
		if err := q.grow(int(lbls.ByteSize())); err != nil {
			q.fault(p.Line, "%v", err)
			return // as all that follow
		}
		if err := series.Check(lbls); err != nil {
			q.skip(badLabels, 1, shown(lbls))
			q.fault(p.Line, "%v: %.200s", err, shown(lbls))
			continue
		}
		s := q.find(lbls, p.Line)
		if s == nil {
			continue
		}
		// Where the measurement ends is lost in the name.
		if other, ok := s.Claim("", string(p.Measurement)+"\x00"+string(f.Name), q.now); !ok {
			other = strings.Replace(other, "\x00", " ", 1)
			q.skip(twoFields, 1, shown(lbls))
			q.fault(p.Line, "%s: %.200q and %.200q are both %.200s", twoFields, other, fmt.Sprintf("%s %s", p.Measurement, f.Name), shown(lbls))
			continue
		}
		s.Used = q.now
		q.add(recorder.Sample{Series: &s.Series, T: t, V: f.Value, Arrived: !p.Timed}, p.Line)
	}
}
