package promql

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/continuum-live/continuum-datasource/pkg/internal/remote"
)

// remoteClient is the api.Client through which Remote asks: it adds what servers
// need to give exact answers.
type remoteClient struct {
	*remote.Client
	method string
}

// maxAnswer bounds an answer, in bytes: some two million points.
const maxAnswer = 64 << 20

func newRemoteClient(base *url.URL, c RemoteConfig) remoteClient {
	return remoteClient{remote.New(remote.Config{
		Base: base, HTTP: c.Client, Secrets: c.Secrets, Private: c.Private, MaxBytes: maxAnswer,
		Name: base.Host, Setting: "URL", Endpoint: "check the URL in the data source settings: it is what comes before /api/v1",
		Explain: explain,
	}), c.Method}
}

// explain returns what a server says about a failure, as Prometheus says it or in
// any other way.
func explain(_ http.Header, body []byte) remote.Said {
	var said struct{ ErrorType, Error string }
	if json.Unmarshal(body, &said) != nil || said.Error == "" {
		if isPage(body) {
			return remote.Said{}
		}
		return remote.Said{Text: string(body)}
	}
	// What took too long once would do so again.
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

// Do implements api.Client. A response comes with a body that is JSON, perhaps;
// all else is a failure.
func (c remoteClient) Do(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	form, err := formOf(req)
	if err != nil {
		return nil, nil, err
	}
	var body []byte
	err = c.Client.Do(ctx, remote.Request{
		URL: req.URL, Form: form, Post: c.method == http.MethodPost && takesForms(req.URL), Tries: remote.Tries,
		Read: func(header http.Header, r io.Reader) error {
			if body, err = io.ReadAll(r); err == nil && (remote.IsPage(header) || isPage(body)) {
				return remote.ErrPage
			}
			return err
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return &http.Response{StatusCode: http.StatusOK}, body, nil
}

// formOf returns what is asked for, with what servers need to give exactly that.
// Each of them ignores what is meant for others.
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
	form.Set("partial_response", "false")  // Thanos: no answers with holes
	form.Set("deny_partial_response", "1") // VictoriaMetrics: the same
	if step, err := strconv.ParseFloat(form.Get("step"), 64); err == nil {
		// Servers cut fractions of a millisecond off what they calculate: of
		// 1.001 s, they would make 1000 ms.
		if step != math.Floor(step) {
			form.Set("step", strconv.FormatFloat(step+0.00025, 'f', -1, 64))
		}
		form.Set("nocache", "1") // VictoriaMetrics would move the range
		form.Set("max_lookback", form.Get("lookback_delta"))
	}
	return form, nil
}

// takesForms: the others are only known by GET.
func takesForms(u *url.URL) bool {
	return strings.HasSuffix(u.Path, "/query") || strings.HasSuffix(u.Path, "/query_range") || strings.HasSuffix(u.Path, "/labels")
}
