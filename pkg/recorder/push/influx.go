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
	now := time.Now()
	q := request{from: Influx, payload: string(body[:min(len(body), 4000)])}
	for _, err := range lineprotocol.Decode(body, precision, func(p lineprotocol.Point) { r.point(&q, p, now) }) {
		q.skip(notLines, err.Lines, err.Text)
		q.fault(err.Line, "%v: %s", err.Err, err.Text)
	}
	if wait := r.allow(now, len(q.samples)); wait > 0 {
		w.Header().Set("Retry-After", seconds(wait))
		fail(w, http.StatusTooManyRequests, r.tooFast().Error())
		return
	}
	if err := r.store(req.Context(), &q, now); err != nil {
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, cannotStore(err).Error())
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
func (r *run) point(q *request, p lineprotocol.Point, now time.Time) {
	q.skip(notANumber, p.Strings, string(p.Text))
	t := now.UnixMilli()
	if p.Timed {
		t = p.T
	}
	for _, f := range p.Fields {
		lbls, ok := p.Labels(f.Name)
		if !ok {
			name := fmt.Sprintf("%s %s", p.Measurement, f.Name)
			q.skip(noName, 1, name)
			q.fault(p.Line, "%s, use Latin letters or digits: %s", noName, name)
			continue
		}
		if err := check(lbls); err != nil {
			q.skip(badLabels, 1, lbls.String())
			q.fault(p.Line, "%v: %.200s", err, lbls.String())
			continue
		}
		s := r.find(lbls, now)
		if s == nil {
			r.tooMany(q, p.Line, text(lbls))
			continue
		}
		q.samples = append(q.samples, recorder.Sample{Series: s, T: t, V: f.Value})
		q.lines = append(q.lines, p.Line)
	}
}

func (r *run) tooMany(q *request, line int, series string) {
	q.skip(tooManySeries, 1, series)
	q.fault(line, "the input has the %d series that it may write to within an hour: raise its maxSeries, or send fewer: %s", r.config.MaxSeries, series)
}
