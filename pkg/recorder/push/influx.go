package push

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/lineprotocol"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/naming"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// influx answers a request with line protocol, whose time stamps are nanoseconds unless
// it says otherwise.
func (r *run) influx(w http.ResponseWriter, req *http.Request) {
	r.lines(w, req, req.URL.Query().Get("precision"))
}

// influxByTime is influx, but the size of a time stamp says its unit, as InfluxDB 3 has
// it.
func (r *run) influxByTime(w http.ResponseWriter, req *http.Request) {
	r.lines(w, req, cmp.Or(req.URL.Query().Get("precision"), "auto"))
}

// ping and healthy answer clients of InfluxDB that ask whether there is a server.
func (r *run) ping(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Influxdb-Version", "continuum")
	w.WriteHeader(http.StatusNoContent)
}

func (r *run) healthy(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"name":"influxdb","message":"ready for writes","status":"pass"}`)
}

// query answers CREATE DATABASE, which clients of InfluxDB 1 send before they write.
func (r *run) query(w http.ResponseWriter, req *http.Request) {
	if !strings.HasPrefix(strings.ToUpper(strings.TrimSpace(req.FormValue("q"))), "CREATE DATABASE") {
		fail(w, http.StatusBadRequest, "there is no InfluxQL here: ask the data source in PromQL")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"results":[{"statement_id":0}]}`)
}

// byteOrderMark is what some editors put before a text.
var byteOrderMark = []byte("\uFEFF")

// lines stores line protocol, whose time stamps have the precision named.
func (r *run) lines(w http.ResponseWriter, req *http.Request, named string) {
	done, ok := r.writes(w, req)
	if !ok {
		return
	}
	defer done()
	precision, ok := lineprotocol.Precisions[named]
	if !ok {
		fail(w, http.StatusBadRequest, fmt.Sprintf("the precision %q is none of ns, us, ms, s, auto", named))
		return
	}
	body, ok := r.body(w, req, "gzip")
	if !ok {
		return
	}
	body = bytes.TrimPrefix(body, byteOrderMark)
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
	t := q.now.UnixMilli()
	if p.Timed {
		t = p.T
	}
	for _, x := range p.Texts {
		text := string(bytes.TrimSpace(x.Value))
		switch {
		case !q.config.isState(p.Measurement, x.Name) || text == "":
			q.skip(notANumber, 1, fmt.Sprintf("%.200s (name the field under states of the input to record it)", x.Value))
			continue
		case len(text) > series.MaxText:
			q.skip(tooLongText, 1, x.Value)
			continue
		case !utf8.ValidString(text):
			q.skip(badLabels, 1, strings.ToValidUTF8(text, "\uFFFD"))
			continue
		}
		lbls, ok := q.labels(&p, x.Name)
		if !ok {
			return
		}
		if !lbls.IsEmpty() {
			q.state(&p, x.Name, text, lbls, t)
		}
	}
	for _, f := range p.Fields {
		lbls, ok := q.labels(&p, f.Name)
		if !ok {
			return
		}
		if lbls.IsEmpty() {
			continue
		}
		s := q.find(lbls, p.Line)
		if s == nil || !q.claim(&p, f.Name, &s.Use, lbls) {
			continue
		}
		if len(q.config.States) > 0 && q.config.isState(p.Measurement, f.Name) {
			q.table.Recall(s, q.sink.States)
		}
		s.Used = q.now
		q.add(recorder.Sample{Series: &s.Series, T: t, V: f.Value, Arrived: !p.Timed}, p.Line)
		if s.States != nil {
			q.write(s.States.Clear(q.table, s, "", q.now), &p, t)
		}
	}
}

// labels returns those of the series of a field, none if it can have none, which it
// notes. It returns false if nothing that follows can have any.
func (q *request) labels(p *lineprotocol.Point, field []byte) (labels.Labels, bool) {
	none := labels.EmptyLabels()
	name := lineprotocol.FieldName(p.Measurement, field)
	lbls, err := p.Labels(field)
	if err != nil {
		reason := noName
		if errors.Is(err, naming.ErrTwice) {
			reason = twoTags
		}
		q.skip(reason, 1, name)
		q.fault(p.Line, "%v: %.200s", err, name)
		return none, true
	}
	if err := q.grow(int(lbls.ByteSize())); err != nil {
		q.fault(p.Line, "%v", err)
		return none, false // the labels of later points would be too many, too
	}
	if err := series.Check(lbls); err != nil {
		q.skip(badLabels, 1, shown(lbls))
		q.fault(p.Line, "%v: %.200s", err, shown(lbls))
		return none, true
	}
	return lbls, true
}

// claim reports whether a field may write to what others have written to: where the
// measurement ends is lost in the name.
func (q *request) claim(p *lineprotocol.Point, field []byte, use *series.Use, lbls labels.Labels) bool {
	other, ok := use.Claim("", string(p.Measurement)+"\x00"+string(field), q.now)
	if !ok {
		other = strings.Replace(other, "\x00", " ", 1)
		q.skip(twoFields, 1, shown(lbls))
		q.fault(p.Line, "%s: %.200q and %.200q are both %.200s", twoFields, other, fmt.Sprintf("%s %s", p.Measurement, field), shown(lbls))
	}
	return ok
}

// isState reports whether the strings of a field are states.
func (c *Config) isState(measurement, field []byte) bool {
	return slices.ContainsFunc(c.States, func(key string) bool {
		return key == "*" || key == string(field) || key == lineprotocol.FieldName(measurement, field)
	})
}

// state adds what a string makes of the series of states.
func (q *request) state(p *lineprotocol.Point, field []byte, text string, lbls labels.Labels, t int64) {
	set, err := q.table.StateSet(lbls, q.sink.States)
	if err != nil {
		q.skip(twoTags, 1, shown(lbls))
		q.fault(p.Line, "%v: the text would be the label %.200s of %.200s", err, lbls.Get(model.MetricNameLabel), shown(lbls))
		return
	}
	if !q.claim(p, field, &set.Use, lbls) {
		return
	}
	values, err := set.Set(q.table, "", text, q.now)
	if err := q.grow(len(values) * int(lbls.ByteSize())); err != nil {
		q.fault(p.Line, "%v", err)
		return
	}
	q.write(values, p, t)
	switch {
	case errors.Is(err, series.ErrFull):
		q.full(lbls, p.Line)
	case err != nil:
		q.skip(err.Error(), 1, text+" of "+recorder.Text(lbls)+" within an hour")
	}
}

// write adds what a string or a number makes of the series of states.
func (q *request) write(values []series.Value, p *lineprotocol.Point, t int64) {
	for _, v := range values {
		q.add(recorder.Sample{Series: &v.Series.Series, T: t, V: v.V, Arrived: !p.Timed}, p.Line)
	}
}
