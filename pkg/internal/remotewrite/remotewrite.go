// Package remotewrite writes samples to servers in tests, with remote write 1.0,
// which Prometheus and compatible servers accept.
package remotewrite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
)

// Sample is one value of a series at a time in Unix milliseconds.
type Sample struct {
	Labels map[string]string // with __name__
	T      int64
	V      float64
	// H is the native histogram, if the sample is one.
	H *histogram.Histogram
}

// Send stores samples on the server at url. After an error some of them may be
// stored.
func Send(ctx context.Context, url string, samples []Sample) error {
	var w prompb.WriteRequest
	for _, s := range samples {
		series := prompb.TimeSeries{Samples: []prompb.Sample{{Timestamp: s.T, Value: s.V}}}
		if s.H != nil {
			series.Samples, series.Histograms = nil, []prompb.Histogram{prompb.FromIntHistogram(s.T, s.H)}
		}
		for name, value := range s.Labels {
			series.Labels = append(series.Labels, prompb.Label{Name: name, Value: value})
		}
		slices.SortFunc(series.Labels, func(a, b prompb.Label) int { return strings.Compare(a.Name, b.Name) })
		w.Timeseries = append(w.Timeseries, series)
	}
	b, err := w.Marshal()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, b)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err == nil && rsp.StatusCode/100 != 2 {
		err = fmt.Errorf("remote write: %s %s", rsp.Status, body)
	}
	return err
}
