package push

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/continuum-live/continuum-datasource/pkg/internal/protofields"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// prometheus answers a request of remote write.
func (r *run) prometheus(w http.ResponseWriter, req *http.Request) {
	done, ok := r.writes(w, req)
	if !ok {
		return
	}
	defer done()
	kind := req.Header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(kind)
	if kind != "" && (err != nil || media != "application/x-protobuf") {
		fail(w, http.StatusUnsupportedMediaType, fmt.Sprintf("the content type %.100q is not that of remote write: use application/x-protobuf", kind))
		return
	}
	body, ok := r.body(w, req, "snappy")
	if !ok {
		return
	}
	// The library accepts the parameter proto only without a space before it, while
	// the standard allows one.
	if params["proto"] != "" {
		req.Header.Set("Content-Type", media+";proto="+params["proto"])
	}
	h := remote.NewWriteHandler(storage{r, body}, remote.MessageTypes{remote.WriteV1MessageType, remote.WriteV2MessageType},
		remote.WithWriteHandlerMiddlewares())
	h.ServeHTTP(w, req)
}

// storage implements the library's interface for one request.
type storage struct {
	*run
	body []byte // after decompression
}

// Store stores a message of remote write. The library answers the request with the
// result.
func (s storage) Store(req *http.Request, kind remote.WriteMessageType) (*remote.WriteResponse, error) {
	rsp := remote.NewWriteResponse()
	q, decode := s.newRequest(req.Context(), Prometheus+" 1.0"), (*request).decode1
	if kind == remote.WriteV2MessageType {
		q.from, decode = Prometheus+" 2.0", (*request).decode2
	}
	if wait := s.allow(q.now); wait > 0 {
		rsp.SetStatusCode(http.StatusTooManyRequests)
		rsp.SetExtraHeader("Retry-After", seconds(wait))
		return rsp, s.tooFast()
	}
	if err := checkParts(s.body); err != nil {
		rsp.SetStatusCode(http.StatusBadRequest)
		return rsp, fmt.Errorf("the message cannot be read: %w", err)
	}
	if err := decode(q, s.body); err != nil {
		q.fault(0, "%v", err)
	}
	if err := q.finish(); err != nil {
		why := make(http.Header)
		err = unavailable(why, err)
		rsp.SetStatusCode(http.StatusServiceUnavailable)
		rsp.SetExtraHeader("Retry-After", why.Get("Retry-After"))
		return rsp, err
	}
	rsp.Samples = q.all - q.refused
	if q.faulty > 0 {
		rsp.SetStatusCode(http.StatusBadRequest)
		return rsp, errors.New(q.told())
	}
	return rsp, nil
}

// maxParts is how many series, symbols and descriptions a message may have.
const maxParts = 200_000

// checkParts checks that a message can be read, and how many parts it has. It does
// not look into the parts.
func checkParts(message []byte) error {
	n := 0
	return protofields.Each(message, func(protowire.Number, protowire.Type, uint64, []byte) error {
		if n++; n > maxParts {
			return fmt.Errorf("it has more than %d parts: send less at once", maxParts)
		}
		return nil
	})
}

// schema has the field numbers of a series in a version of remote write.
type schema struct{ labels, samples, histograms, exemplars, metadata protowire.Number }

var (
	schema1 = schema{labels: 1, samples: 2, exemplars: 3, histograms: 4}
	schema2 = schema{labels: 1, samples: 2, histograms: 3, exemplars: 4, metadata: 5}
)

// decode1 reads a message of remote write 1.0 (prometheus.WriteRequest).
func (q *request) decode1(message []byte) error {
	var timeSeries, descriptions int
	err := protofields.Each(message, func(field protowire.Number, _ protowire.Type, _ uint64, b []byte) error {
		switch field {
		case 1:
			timeSeries++
			return q.timeSeries(b, schema1, nil)
		case 3:
			descriptions++
			var m prompb.MetricMetadata
			if len(b) > maxDescription {
				return nil
			}
			if err := m.Unmarshal(b); err != nil {
				return unreadable(err)
			}
			q.describe(m.MetricFamilyName, m.Type.String(), m.Unit, m.Help)
		}
		return nil
	})
	q.payload = fmt.Sprintf("%d series, %d descriptions", timeSeries, descriptions)
	return err
}

// decode2 reads a message of remote write 2.0 (io.prometheus.write.v2.Request).
func (q *request) decode2(message []byte) error {
	var (
		all     [][]byte // series
		symbols []string
	)
	err := protofields.Each(message, func(field protowire.Number, kind protowire.Type, _ uint64, b []byte) error {
		switch {
		case kind != protowire.BytesType:
		case field == 4:
			symbols = append(symbols, string(b))
		case field == 5:
			all = append(all, b)
		}
		return nil
	})
	for _, b := range all {
		if err != nil {
			break
		}
		err = q.timeSeries(b, schema2, symbols)
	}
	q.payload = fmt.Sprintf("%d series", len(all))
	return err
}

func unreadable(err error) error { return fmt.Errorf("the message cannot be read: %w", err) }

// timeSeries reads a series. It returns an error if the rest of the message cannot
// be read. A native histogram is a fault, so that senders learn of it. An exemplar
// is not, because no panel shows exemplars of this data source.
func (q *request) timeSeries(message []byte, at schema, symbols []string) error {
	var (
		samples, hists, exems int
		lbls                  labelSet
		meta                  []byte
	)
	err := protofields.Each(message, func(field protowire.Number, kind protowire.Type, n uint64, b []byte) error {
		switch field {
		case at.labels:
			if symbols == nil {
				return lbls.label(b)
			}
			return lbls.refs(symbols, kind, n, b)
		case at.samples:
			samples++
		case at.histograms:
			hists++
		case at.exemplars:
			exems++
		case at.metadata:
			meta = b
		}
		return nil
	})
	if err != nil {
		return unreadable(err)
	}
	if err := q.grow(lbls.size); err != nil {
		return err
	}
	made, err := lbls.make()
	if err != nil {
		q.skip(badLabels, samples+hists, shown(made))
		q.fault(0, "%v: %.200s", err, shown(made))
		return nil
	}
	if hists > 0 {
		q.skip(histograms, hists, shown(made))
		q.fault(0, "native histograms cannot be recorded, switch them off for this series: %.200s", shown(made))
	}
	q.skip(exemplars, exems, shown(made))
	if err := q.metadata2(made.Get(model.MetricNameLabel), meta, symbols); err != nil {
		return unreadable(err)
	}
	if samples == 0 {
		return nil
	}
	found := q.find(made.WithoutEmpty(), 0)
	if found == nil {
		return nil
	}
	found.Used = q.now
	return protofields.Each(message, func(field protowire.Number, _ protowire.Type, _ uint64, b []byte) error {
		if field != at.samples {
			return nil
		}
		var s prompb.Sample // samples of 2.0 have the same fields
		if err := s.Unmarshal(b); err != nil {
			return unreadable(err)
		}
		q.add(recorder.Sample{Series: &found.Series, T: s.Timestamp, V: s.Value}, 0)
		return nil
	})
}

// labelSet collects the labels of a series, up to maxLabels.
type labelSet struct {
	b    labels.ScratchBuilder
	size int // bytes
	err  error

	name  string // a label whose value comes next, if named
	named bool
}

func (l *labelSet) add(name, value string) {
	if l.size += len(name) + len(value) + 2; l.size > series.MaxLabels {
		l.err = series.ErrLabels
	}
	if l.err == nil {
		l.b.Add(name, value)
	}
}

// label adds a label of remote write 1.0.
func (l *labelSet) label(b []byte) error {
	if l.size+len(b) > series.MaxLabels {
		l.size, l.err = series.MaxLabels, series.ErrLabels
		return nil
	}
	var m prompb.Label
	if err := m.Unmarshal(b); err != nil {
		return err
	}
	l.add(m.Name, m.Value)
	return nil
}

// refs adds labels of remote write 2.0: b has two symbol numbers for each label.
func (l *labelSet) refs(symbols []string, kind protowire.Type, n uint64, b []byte) error {
	if kind == protowire.VarintType { // a single number that is not packed
		b = protowire.AppendVarint(nil, n)
	}
	for len(b) > 0 && l.err == nil {
		ref, size := protowire.ConsumeVarint(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		switch {
		case ref >= uint64(len(symbols)):
			l.err = fmt.Errorf("a label has the symbol %d, and there are %d", ref, len(symbols))
		case l.named:
			l.add(l.name, symbols[ref])
			l.named = false
		default:
			l.name, l.named = symbols[ref], true
		}
	}
	return nil
}

// make returns the labels, sorted. If there can be no series with them, it also
// returns why.
func (l *labelSet) make() (labels.Labels, error) {
	l.b.Sort()
	made := l.b.Labels()
	switch {
	case l.err != nil:
		return made, l.err
	case l.named:
		return made, errors.New("a label has a name and no value")
	}
	return made, series.Check(made)
}

const maxDescription = 1000 // bytes

// describe notes the description of a metric. kind is the name of the type in
// Protobuf.
func (q *request) describe(name, kind, unit, help string) {
	if name == "" || len(name)+len(unit)+len(help) > maxDescription || len(q.meta) >= maxDescribed {
		return
	}
	q.meta[name] = recorder.Metadata{Type: model.MetricType(strings.ToLower(strings.TrimPrefix(kind, "METRIC_TYPE_"))), Unit: unit, Help: help}
}

// metadata2 reads the description in a series of remote write 2.0.
func (q *request) metadata2(name string, b []byte, symbols []string) error {
	var m writev2.Metadata
	if err := m.Unmarshal(b); err != nil {
		return err
	}
	if n := uint32(len(symbols)); m.Type != writev2.Metadata_METRIC_TYPE_UNSPECIFIED && m.UnitRef < n && m.HelpRef < n {
		q.describe(name, m.Type.String(), symbols[m.UnitRef], symbols[m.HelpRef])
	}
	return nil
}
