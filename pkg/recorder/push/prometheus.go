package push

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// prometheus answers a request of remote write.
func (r *run) prometheus(w http.ResponseWriter, req *http.Request) {
	body, ok := r.body(w, req, "snappy")
	if !ok {
		return
	}
	// The library wants the parameter without a space before it, which the
	// standard allows.
	if media, params, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err == nil && params["proto"] != "" {
		req.Header.Set("Content-Type", media+";proto="+params["proto"])
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	h := remote.NewWriteHandler(storage{r}, remote.MessageTypes{remote.WriteV1MessageType, remote.WriteV2MessageType},
		remote.WithWriteHandlerMiddlewares())
	h.ServeHTTP(w, req)
}

// storage is the library's view of a running input.
type storage struct{ *run }

// Store stores a message. The library answers the request with what it returns.
func (s storage) Store(req *http.Request, kind remote.WriteMessageType) (*remote.WriteResponse, error) {
	rsp := remote.NewWriteResponse()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return rsp, err
	}
	now := time.Now()
	q := request{from: Prometheus + " 1.0", meta: make(map[string]recorder.Metadata)}
	if err = checkParts(body); err == nil && kind == remote.WriteV2MessageType {
		q.from = Prometheus + " 2.0"
		err = s.decode2(&q, body, now)
	} else if err == nil {
		err = s.decode1(&q, body, now)
	}
	if err != nil {
		rsp.SetStatusCode(http.StatusBadRequest)
		return rsp, fmt.Errorf("the message cannot be read: %w", err)
	}
	if wait := s.allow(now, len(q.samples)); wait > 0 {
		rsp.SetStatusCode(http.StatusTooManyRequests)
		rsp.SetExtraHeader("Retry-After", seconds(wait))
		return rsp, s.tooFast()
	}
	if err := s.store(req.Context(), &q, now); err != nil {
		rsp.SetStatusCode(http.StatusServiceUnavailable)
		rsp.SetExtraHeader("Retry-After", "1")
		return rsp, cannotStore(err)
	}
	rsp.Samples = len(q.samples) - q.refused
	if q.faulty > 0 {
		rsp.SetStatusCode(http.StatusBadRequest)
		return rsp, errors.New(q.told())
	}
	return rsp, nil
}

// maxParts is how many series, symbols and descriptions a message may have. Each
// takes a hundred times as much memory as the two bytes of an empty one.
const maxParts = 200_000

func checkParts(message []byte) error {
	for n := 0; len(message) > 0; n++ {
		if n == maxParts {
			return fmt.Errorf("it has more than %d parts: send less at once", maxParts)
		}
		_, _, size := protowire.ConsumeField(message)
		if size < 0 {
			return protowire.ParseError(size)
		}
		message = message[size:]
	}
	return nil
}

// decode1 reads a message of remote write 1.0.
func (r *run) decode1(q *request, body []byte, now time.Time) error {
	var m prompb.WriteRequest
	if err := m.Unmarshal(body); err != nil {
		return err
	}
	b := labels.NewScratchBuilder(0)
	for _, ts := range m.Timeseries {
		series := r.writable(q, ts.ToLabels(&b, nil), nil, len(ts.Samples), len(ts.Histograms), len(ts.Exemplars), now)
		if series == nil {
			continue
		}
		for _, s := range ts.Samples {
			q.samples = append(q.samples, recorder.Sample{Series: series, T: s.Timestamp, V: s.Value})
		}
	}
	for _, d := range m.Metadata {
		q.describe(d.MetricFamilyName, recorder.Metadata{
			Type: model.MetricType(strings.ToLower(d.Type.String())), Unit: d.Unit, Help: d.Help,
		})
	}
	q.payload = fmt.Sprintf("%d series, %d descriptions", len(m.Timeseries), len(m.Metadata))
	return nil
}

// decode2 reads a message of remote write 2.0.
func (r *run) decode2(q *request, body []byte, now time.Time) error {
	var m writev2.Request
	if err := m.Unmarshal(body); err != nil {
		return err
	}
	b := labels.NewScratchBuilder(0)
	for _, ts := range m.Timeseries {
		lbls, err := ts.ToLabels(&b, m.Symbols)
		series := r.writable(q, lbls, err, len(ts.Samples), len(ts.Histograms), len(ts.Exemplars), now)
		if series == nil {
			continue
		}
		for _, s := range ts.Samples {
			q.samples = append(q.samples, recorder.Sample{Series: series, T: s.Timestamp, V: s.Value})
		}
		if d, err := ts.ToMetadata(m.Symbols); err == nil && d.Type != model.MetricTypeUnknown {
			q.describe(lbls.Get(model.MetricNameLabel), recorder.Metadata{Type: d.Type, Unit: d.Unit, Help: d.Help})
		}
	}
	q.payload = fmt.Sprintf("%d series", len(m.Timeseries))
	return nil
}

// writable returns the series of labels, nil if there is nothing to write to it.
// It notes what is not stored. A native histogram is a fault, so that senders
// are told; exemplars are not, because nothing is drawn from them.
func (r *run) writable(q *request, lbls labels.Labels, err error, samples, hists, exems int, now time.Time) *recorder.Series {
	if err == nil {
		err = check(lbls)
	}
	if err != nil {
		q.skip(badLabels, samples+hists, lbls.String())
		q.fault(0, "%v: %.200s", err, lbls.String())
		return nil
	}
	if hists > 0 {
		q.skip(histograms, hists, text(lbls))
		q.fault(0, "native histograms cannot be recorded, switch them off for this series: %s", text(lbls))
	}
	if exems > 0 {
		q.skip(exemplars, exems, text(lbls))
	}
	if samples == 0 {
		return nil
	}
	series := r.find(lbls.WithoutEmpty(), now)
	if series == nil {
		r.tooMany(q, 0, text(lbls))
	}
	return series
}

// describe notes what a metric is, within reason.
func (q *request) describe(name string, m recorder.Metadata) {
	const most = 1000 // bytes
	if name == "" || len(name)+len(m.Unit)+len(m.Help) > most {
		return
	}
	q.meta[name] = m
}
