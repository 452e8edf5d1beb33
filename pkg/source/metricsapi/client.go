package metricsapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/internal/remote"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

// maxAhead is how far a point may be ahead of the service's clock.
const maxAhead = time.Minute

// client sends requests to the service's endpoints.
type client struct{ *remote.Client }

func newClient(endpoint *url.URL, c Config) client {
	return client{remote.New(remote.Config{
		Base: endpoint, HTTP: c.Client, Secrets: c.Secrets, Private: c.Private,
		Name: "the metrics API", Setting: "endpoint", Endpoint: "is the endpoint the metrics API's?",
		Explain: explain,
	})}
}

// explain returns the error in a service's answer: in the form of the contract, in
// other usual forms, or as plain text.
func explain(header http.Header, body []byte) remote.Said {
	var said struct{ Error, Message, Detail any }
	if json.Unmarshal(body, &said) == nil {
		if o, ok := said.Error.(map[string]any); ok {
			said.Error = o["message"]
		}
		for i, v := range []any{said.Error, said.Message, said.Detail} {
			if text, ok := v.(string); ok && text != "" {
				return remote.Said{Text: text, Known: i < 2}
			}
		}
	} else if remote.IsText(header) {
		return remote.Said{Text: string(body)}
	}
	return remote.Said{}
}

// get sends a request for a path below the endpoint.
func (c client) get(ctx context.Context, tries uint, path string, params url.Values, decode func(http.Header, io.Reader) error) error {
	limit := limits.Body
	if path == "/names" {
		limit = limits.Names
	}
	return c.Do(ctx, remote.Request{URL: c.Base.JoinPath(path[1:]), Form: params, Tries: tries, Limit: limit, Read: decode})
}

// latest returns the time of the newest point in Unix nanoseconds, and what the
// service takes for now.
func (c client) latest(ctx context.Context, params url.Values) (at int64, now time.Time, err error) {
	err = c.get(ctx, remote.Tries, "/latest", params, func(header http.Header, body io.Reader) error {
		var ok bool
		if at, ok, err = decodeLatest(body); err != nil {
			return err
		}
		if !ok {
			return c.Fail(remote.Answer, "the metrics API has no point of %q yet", params.Get("metric"))
		}
		// The settled time does not go back by itself: after one point from the
		// future, all true ones would come too late. A service without a Date header
		// is assumed to have this machine's clock.
		whose := "the metrics API's own clock"
		if now, err = http.ParseTime(header.Get("Date")); err != nil {
			whose, now = "Grafana's clock", time.Now()
		}
		if time.Unix(0, at).Sub(now) > maxAhead {
			return c.Fail(remote.Answer, "the newest point of %q is at %s, but %s says %s: points must not come from the future",
				params.Get("metric"), written(at), whose, now.UTC().Format(time.RFC3339))
		}
		return nil
	})
	return at, now, err
}

// points returns the points in [from, to] (Unix ms), and perhaps of one more
// millisecond. done, which is never nil, gives back the memory that they were
// charged.
func (c client) points(ctx context.Context, params url.Values, from, to int64) (s series, done func(), err error) {
	done = func() {}
	// One more millisecond, so that it does not matter whether a service includes
	// the end of a range.
	to++
	params.Set("from", strconv.FormatInt(from, 10))
	params.Set("to", strconv.FormatInt(to, 10))
	err = c.get(ctx, remote.Tries, "/query", params, func(_ http.Header, body io.Reader) error {
		done() // gives back what the last attempt was charged
		ctx, done = limits.Begin(ctx)
		s, err = decodeSeries(ctx, body, from, to)
		return err
	})
	s.unit = c.Redact(s.unit)
	labels := make(data.Labels, len(s.labels))
	for name, value := range s.labels {
		labels[c.Redact(name)] = c.Redact(value)
	}
	s.labels = labels
	return s, done, err
}

// names returns the metrics that the service lists, none if it has no such endpoint.
func (c client) names(ctx context.Context, tries uint) (metrics []Metric, err error) {
	err = c.get(ctx, tries, "/names", nil, func(_ http.Header, body io.Reader) error {
		metrics, err = decodeNames(body)
		return err
	})
	var f *remote.Failure
	if errors.As(err, &f) && (f.Status == http.StatusNotFound || f.Status == http.StatusMethodNotAllowed || f.Status == http.StatusNotImplemented) {
		return []Metric{}, nil
	}
	for i, m := range metrics {
		metrics[i] = Metric{c.Redact(m.Name), c.Redact(m.Unit), c.Redact(m.Description)}
	}
	return metrics, err
}
