package promql

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// remoteClient is the api.Client through which Remote asks: it adds what servers
// need to give exact answers, bounds the answers, tries again where that helps,
// and says what is wrong in words.
type remoteClient struct {
	base   *url.URL
	http   http.Client
	method string
	// secrets are replaced in what servers say.
	secrets *strings.Replacer
}

// maxAnswer bounds an answer, in bytes: some two million points.
const maxAnswer = 64 << 20

func newRemoteClient(base *url.URL, c RemoteConfig) *remoteClient {
	var pairs []string
	for _, s := range c.Secrets {
		if len(s) > 3 { // shorter ones would tear words apart
			pairs = append(pairs, s, "***", base64.StdEncoding.EncodeToString([]byte(s)), "***")
		}
	}
	r := &remoteClient{base: base, http: *c.Client, method: c.Method, secrets: strings.NewReplacer(pairs...)}
	r.http.CheckRedirect = r.checkRedirect
	return r
}

// URL implements api.Client.
func (c *remoteClient) URL(endpoint string, args map[string]string) *url.URL {
	for name, value := range args {
		endpoint = strings.ReplaceAll(endpoint, ":"+name, value)
	}
	return c.base.JoinPath(endpoint)
}

// Steps on the way to an answer, as errors name them.
const (
	stepAddress  = "address"
	stepTLS      = "TLS"
	stepKey      = "key"
	stepEndpoint = "endpoint"
	stepAnswer   = "answer"
	stepServer   = "server"
	stepQuery    = "query"
)

// failure is why there is no answer, and whether asking again may help.
type failure struct {
	step, text string
	again      bool
	after      time.Duration // as the server wishes
	cause      error         // for errors.Is
}

func (f failure) Error() string { return f.step + ": " + f.text }

func (f failure) Unwrap() error { return f.cause }

func (failure) Is(target error) bool { return target == source.ErrDownstream }

// backoff are the pauses before further attempts.
var backoff = [...]time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second}

// Do implements api.Client. A response comes with a body that is JSON, perhaps;
// all else is a failure.
func (c *remoteClient) Do(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	form, err := formOf(req)
	if err != nil {
		return nil, nil, err
	}
	for attempt := 0; ; attempt++ {
		rsp, body, err := c.once(ctx, req.URL, form)
		if err == nil {
			return rsp, body, nil
		}
		var f failure
		if attempt == len(backoff) || !errors.As(err, &f) || !f.again {
			return nil, nil, err
		}
		wait := max(f.after, backoff[attempt]/2+rand.N(backoff[attempt]/2))
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, err
		case <-time.After(wait):
		}
	}
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

// once makes one attempt.
func (c *remoteClient) once(ctx context.Context, u *url.URL, form url.Values) (*http.Response, []byte, error) {
	get := *u
	get.RawQuery = form.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, get.String(), nil)
	if c.method == http.MethodPost && takesForms(u) {
		get.RawQuery = ""
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, get.String(), strings.NewReader(form.Encode()))
	}
	if err != nil {
		return nil, nil, err
	}
	if req.Method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", "application/json")
	rsp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, c.unanswered(err)
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(rsp.Body, maxAnswer+1))
	switch {
	case rsp.StatusCode/100 != 2:
		return nil, nil, c.refused(rsp, body)
	case err != nil:
		return nil, nil, failure{step: stepServer, again: true, text: fmt.Sprintf("the answer of %s broke off: %s", c.base.Host, c.said(err.Error()))}
	case len(body) > maxAnswer:
		return nil, nil, failure{step: stepAnswer, text: fmt.Sprintf("the answer of %s is larger than %d MB: ask for fewer series or a shorter time range", c.base.Host, maxAnswer>>20)}
	case isHTML(rsp, body):
		return nil, nil, c.noAPI("it answers with a web page")
	}
	return rsp, body, nil
}

// takesForms: the others are only known by GET.
func takesForms(u *url.URL) bool {
	return strings.HasSuffix(u.Path, "/query") || strings.HasSuffix(u.Path, "/query_range") || strings.HasSuffix(u.Path, "/labels")
}

func isHTML(rsp *http.Response, body []byte) bool {
	return strings.Contains(rsp.Header.Get("Content-Type"), "html") || len(body) > 0 && body[0] == '<'
}

func (c *remoteClient) noAPI(why string) failure {
	return failure{step: stepEndpoint, text: fmt.Sprintf("there is no Prometheus API at %s: %s. Check the URL in the data source settings; "+
		"it is what comes before /api/v1", c.base, why)}
}

// refused says what an answer without success means.
func (c *remoteClient) refused(rsp *http.Response, body []byte) error {
	var e struct{ ErrorType, Error string }
	isJSON := json.Unmarshal(body, &e) == nil && e.Error != ""
	message := rsp.Status
	if said := c.said(e.Error); isJSON {
		message += ": " + said
	} else if said := c.said(string(body)); said != "" && !isHTML(rsp, body) {
		message += ": " + said
	}
	code := rsp.StatusCode
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return failure{step: stepKey, text: fmt.Sprintf("%s refuses the credentials (%s). Check authentication and headers in the data source settings", c.base.Host, message)}
	case code == http.StatusTooManyRequests:
		return failure{step: stepServer, again: true, after: retryAfter(rsp), text: fmt.Sprintf("%s is asked too often (%s)", c.base.Host, message)}
	case code/100 == 5:
		// What took too long once would do so again.
		slow := e.ErrorType == "timeout" || e.ErrorType == "canceled"
		return failure{step: stepServer, again: !slow, after: retryAfter(rsp), text: fmt.Sprintf("%s fails (%s)", c.base.Host, message)}
	case code == http.StatusNotFound || code == http.StatusMethodNotAllowed || code/100 == 3:
		return c.noAPI("it answers " + message)
	case isJSON:
		return failure{step: stepQuery, text: fmt.Sprintf("%s refuses the query (%s)", c.base.Host, message)}
	case strings.Contains(message, "HTTPS server"):
		return failure{step: stepTLS, text: fmt.Sprintf("%s wants https: change the URL in the data source settings", c.base.Host)}
	}
	return c.noAPI("it answers " + message)
}

// retryAfter returns how long a server wants to be left alone.
func retryAfter(rsp *http.Response) time.Duration {
	text := rsp.Header.Get("Retry-After")
	if s, err := strconv.ParseUint(text, 10, 16); err == nil {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return time.Until(at)
	}
	return 0
}

// unanswered says what a request without an answer means.
func (c *remoteClient) unanswered(err error) error {
	// It names the whole URL, expression included.
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	if f := (failure{}); errors.As(err, &f) {
		return f // of a redirect
	}
	said := c.said(err.Error())
	var unverified *tls.CertificateVerificationError
	var alert tls.AlertError
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return failure{step: stepTLS, text: fmt.Sprintf("%s does not speak TLS: change https to http in the URL in the data source settings", c.base.Host)}
	case errors.As(err, &unverified):
		return failure{step: stepTLS, text: fmt.Sprintf("the certificate of %s is not accepted: %s. Give its CA certificate or server name in the data source settings", c.base.Host, said)}
	case errors.As(err, &alert), errors.As(err, new(tls.RecordHeaderError)), strings.Contains(said, "tls:"):
		return failure{step: stepTLS, text: fmt.Sprintf("no TLS connection to %s: %s. Check certificates and keys in the data source settings", c.base.Host, said)}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return c.slow(c.http.Timeout)
	}
	return failure{step: stepAddress, again: true, text: fmt.Sprintf("no connection to %s: %s. "+
		"Check the URL in the data source settings, and whether the server runs", c.base.Host, said)}
}

// slow says that there was no answer in time.
func (c *remoteClient) slow(timeout time.Duration) failure {
	return failure{step: stepServer, cause: context.DeadlineExceeded, text: fmt.Sprintf("%s has not answered within %v: "+
		"ask for less, or raise the timeout in the data source settings", c.base.Host, timeout)}
}

// checkRedirect keeps credentials on the server that they are for, and the form
// in its request.
func (c *remoteClient) checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case req.URL.Scheme != c.base.Scheme || req.URL.Host != c.base.Host:
		return c.noAPI(fmt.Sprintf("it redirects to %s://%s, which is not followed", req.URL.Scheme, req.URL.Host))
	case len(via) > 3:
		return c.noAPI("it redirects again and again")
	case req.Method != via[0].Method:
		return c.noAPI("it redirects to " + req.URL.Path)
	}
	return nil
}

// said returns what a server says in a form that can be shown: one line of
// sane length, without secrets.
func (c *remoteClient) said(text string) string { return short(c.secrets.Replace(text)) }

// short returns text as one valid line of at most 300 letters.
func short(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	if utf8.RuneCountInString(text) > 300 {
		text = string([]rune(text)[:300]) + "…"
	}
	return text
}
