package promql

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/remote"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

// remoteClient is the api.Client of Remote. It adds the parameters that servers need
// to give exact and complete answers.
type remoteClient struct {
	*remote.Client
	method string
}

func newRemoteClient(base *url.URL, c RemoteConfig) remoteClient {
	return remoteClient{remote.New(remote.Config{
		Base: base, HTTP: c.Client, Secrets: c.Secrets, Private: c.Private,
		Name: base.Host, Setting: "URL", Endpoint: "check the URL in the data source settings: it is what comes before /api/v1",
		Explain: explain,
	}), c.Method}
}

// explain returns the error in a server's answer, in Prometheus' form or in any
// other.
func explain(_ http.Header, body []byte) remote.Said {
	var said struct{ ErrorType, Error string }
	if json.Unmarshal(body, &said) != nil || said.Error == "" {
		if isPage(body) {
			return remote.Said{}
		}
		return remote.Said{Text: string(body)}
	}
	// A query that timed out once would do so again.
	return remote.Said{Text: said.Error, Known: true, Final: said.ErrorType == "timeout" || said.ErrorType == "canceled"}
}

func isPage(body []byte) bool { return len(body) > 0 && body[0] == '<' }

// URL implements api.Client.
func (c remoteClient) URL(endpoint string, args map[string]string) *url.URL {
	for name, value := range args {
		endpoint = strings.ReplaceAll(endpoint, ":"+name, value)
	}
	return c.Base.JoinPath(endpoint)
}

// Do implements api.Client, for requests with small answers. A response always has
// the status 200, and a body that should be JSON; everything else is an error.
func (c remoteClient) Do(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	form, err := formOf(req)
	if err != nil {
		return nil, nil, err
	}
	var body []byte
	err = c.ask(ctx, req.URL, form, limits.Names, func(r io.Reader) error {
		body, err = io.ReadAll(r)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return &http.Response{StatusCode: http.StatusOK}, body, nil
}

// ask sends a request, and calls read with the body of an answer that is not a web
// page.
func (c remoteClient) ask(ctx context.Context, u *url.URL, form url.Values, limit limits.Limit, read func(io.Reader) error) error {
	r := remote.Request{
		URL: u, Form: form, Post: c.method == http.MethodPost && takesForms(u), Tries: remote.Tries, Limit: limit,
		Read: func(header http.Header, r io.Reader) error {
			if remote.IsPage(header) {
				return remote.ErrPage
			}
			buffered := bufio.NewReader(r)
			if first, err := buffered.Peek(1); err == nil && isPage(first) {
				return remote.ErrPage
			}
			return read(buffered)
		},
	}
	if isDescription(u) {
		r.Tries, r.Optional = 1, true
	}
	return c.Client.Do(ctx, r)
}

// formOf returns the parameters of a request, with those that make answers complete.
func formOf(req *http.Request) (url.Values, error) {
	form := req.URL.Query()
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		if form, err = url.ParseQuery(string(b)); err != nil {
			return nil, err
		}
	}
	complete(form)
	return form, nil
}

// complete asks servers to refuse incomplete answers. Each server ignores the
// parameters of others.
func complete(form url.Values) {
	form.Set("partial_response", "false")  // Thanos
	form.Set("deny_partial_response", "1") // VictoriaMetrics
}

// rangeForm returns the parameters for the values of expr at these times.
func rangeForm(expr string, lookback, timeout time.Duration, at span) url.Values {
	seconds := func(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64) }
	form := url.Values{
		"query": {expr}, "start": {seconds(at.first)}, "end": {seconds(at.last)}, "step": {seconds(at.step)},
		"timeout": {timeout.String()}, "limit": {strconv.FormatInt(limits.Series.Most+1, 10)},
		"lookback_delta": {lookback.String()}, "max_lookback": {lookback.String()}, // the names in Prometheus and VictoriaMetrics
		"nocache": {"1"}, // or VictoriaMetrics would align the range to its cache
	}
	if at.step%1000 != 0 {
		// Servers cut off fractions of a millisecond after rounding errors: 1.001 s
		// would become 1000 ms.
		form.Set("step", strconv.FormatFloat(float64(at.step)/1000+0.00025, 'f', -1, 64))
	}
	complete(form)
	return form
}

// isDescription reports whether an endpoint has descriptions of metrics, without which
// rows can be shown as well.
func isDescription(u *url.URL) bool { return strings.HasSuffix(u.Path, "/metadata") }

// takesForms reports whether an endpoint accepts POST; the others only accept GET.
func takesForms(u *url.URL) bool {
	return strings.HasSuffix(u.Path, "/query") || strings.HasSuffix(u.Path, "/query_range") || strings.HasSuffix(u.Path, "/labels")
}
