package push

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/lineprotocol"
)

// precisions are those of InfluxDB 1 and 2.
var precisions = map[string]time.Duration{
	"": time.Nanosecond, "n": time.Nanosecond, "ns": time.Nanosecond,
	"u": time.Microsecond, "us": time.Microsecond, "µ": time.Microsecond, "µs": time.Microsecond,
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
}

// influx answers a request with line protocol.
func (r *run) influx(w http.ResponseWriter, req *http.Request) {
	precision, ok := precisions[req.URL.Query().Get("precision")]
	if !ok {
		fail(w, http.StatusBadRequest, fmt.Sprintf("the precision %q is none of ns, us, ms, s", req.URL.Query().Get("precision")))
		return
	}
	body, ok := r.body(w, req, "gzip")
	if !ok {
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
	q.skip(notANumber, p.Strings, p.Text)
	t := q.now.UnixMilli()
	if p.Timed {
		t = p.T
	}
	for _, f := range p.Fields {
		lbls, ok := p.Labels(f.Name)
		if !ok {
			name := fmt.Sprintf("%.200s %.200s", p.Measurement, f.Name)
			q.skip(noName, 1, name)
			q.fault(p.Line, "%s, use Latin letters or digits: %s", noName, name)
			continue
		}
		if err := q.grow(int(lbls.ByteSize())); err != nil {
			q.fault(p.Line, "%v", err)
			return // as all that follow
		}
		if err := check(lbls); err != nil {
			q.skip(badLabels, 1, shown(lbls))
			q.fault(p.Line, "%v: %.200s", err, shown(lbls))
			continue
		}
		if s := q.find(lbls, p.Line); s != nil {
			q.add(recorder.Sample{Series: &s.Series, T: t, V: f.Value, Arrived: !p.Timed}, p.Line)
		}
	}
}
