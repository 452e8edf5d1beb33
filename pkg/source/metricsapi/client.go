package metricsapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/cenkalti/backoff/v5"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/source"
)

const (
	// requestTime is how long one question may take, with all its retries. Grafana
	// waits as long.
	requestTime = 30 * time.Second
	// tries is how often a question is asked that may go well the next time.
	tries = 4
	// maxWait is the longest that a service's Retry-After is believed.
	maxWait = 5 * time.Minute
	// maxMessage is the most of a service's message that is passed on, in runes.
	maxMessage = 300
	// maxAhead is how far a point may be ahead of the service's clock.
	maxAhead = time.Minute
)

// client asks the service, and asks again where that may help.
type client struct {
	endpoint *url.URL
	http     http.Client
	secrets  *strings.Replacer

	mu sync.Mutex
	// until is when the service may be asked again, by its own Retry-After.
	until time.Time
	why   error
}

func newClient(endpoint *url.URL, c *http.Client, secrets []string) *client {
	own := *c
	own.CheckRedirect = sameHost
	return &client{endpoint: endpoint, http: own, secrets: replacer(secrets)}
}

// replacer takes secrets out of a text, also as quoting and escaping write them.
func replacer(secrets []string) *strings.Replacer {
	var forms []string
	for _, s := range secrets {
		if s == "" {
			continue
		}
		quoted := strconv.Quote(s)
		asJSON, err := json.Marshal(s)
		if err != nil {
			panic(err) // a string
		}
		forms = append(forms, s, quoted[1:len(quoted)-1], string(asJSON[1:len(asJSON)-1]), url.QueryEscape(s), url.PathEscape(s))
	}
	// The first that fits is taken, and a secret may be part of another.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, form := range forms {
		pairs = append(pairs, form, "[secret]")
	}
	return strings.NewReplacer(pairs...)
}

// step is what a check can fail at.
type step string

const (
	atAddress  step = "Address"
	atTLS      step = "TLS"
	atKey      step = "Key"
	atEndpoint step = "Endpoint"
	atAnswer   step = "Answer"
)

// failure is why a question has no answer. Its text has no secret in it, and
// what it wraps is a context's error at most.
type failure struct {
	step   step
	text   string
	status int  // of HTTP, 0 if there was no answer
	known  bool // the service says it in the form of the contract
	again  bool // asking again may help
	after  time.Duration
	cause  error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.cause }

func (*failure) Is(target error) bool { return target == source.ErrDownstream }

// fail makes a failure of a text that may have secrets in it.
func (c *client) fail(at step, again bool, format string, args ...any) *failure {
	text := c.secrets.Replace(strings.ToValidUTF8(fmt.Sprintf(format, args...), "\ufffd"))
	return &failure{step: at, again: again, text: cut(text, 2*maxMessage)}
}

// latest returns the time of the newest point in Unix nanoseconds.
func (c *client) latest(ctx context.Context, params url.Values) (at int64, err error) {
	err = c.get(ctx, tries, "/latest", params, func(header http.Header, body io.Reader) error {
		var ok bool
		if at, ok, err = decodeLatest(body); err != nil {
			return err
		}
		if !ok {
			return c.fail(atAnswer, false, "the metrics API has no point of %q yet", params.Get("metric"))
		}
		// Settled time never goes back: one point from the future would hold back
		// every true one after it.
		if now, err := http.ParseTime(header.Get("Date")); err == nil && time.Unix(0, at).Sub(now) > maxAhead {
			return c.fail(atAnswer, false, "the newest point of %q is at %s, but the metrics API's own clock says %s: points must not come from the future",
				params.Get("metric"), written(at), now.UTC().Format(time.RFC3339))
		}
		return nil
	})
	return at, err
}

// points returns the points in [from, to] and perhaps a millisecond more, in
// Unix milliseconds.
func (c *client) points(ctx context.Context, params url.Values, from, to int64) (s series, err error) {
	// The millisecond more makes it the same whether a service counts the end of
	// a range to it or not.
	to++
	params.Set("from", strconv.FormatInt(from, 10))
	params.Set("to", strconv.FormatInt(to, 10))
	err = c.get(ctx, tries, "/query", params, func(_ http.Header, body io.Reader) error {
		s, err = decodeSeries(body, from, to)
		return err
	})
	s.unit = c.secrets.Replace(s.unit)
	labels := make(data.Labels, len(s.labels))
	for name, value := range s.labels {
		labels[c.secrets.Replace(name)] = c.secrets.Replace(value)
	}
	s.labels = labels
	return s, err
}

// names returns the metrics that the service names, none if it does not.
func (c *client) names(ctx context.Context, tries uint) (names []string, err error) {
	err = c.get(ctx, tries, "/names", nil, func(_ http.Header, body io.Reader) error {
		names, err = decodeNames(body)
		return err
	})
	var f *failure
	if errors.As(err, &f) && (f.status == http.StatusNotFound || f.status == http.StatusMethodNotAllowed || f.status == http.StatusNotImplemented) {
		return []string{}, nil
	}
	for i := range names {
		names[i] = c.secrets.Replace(names[i])
	}
	return names, err
}

// get asks for a path below the endpoint until there is an answer, it is tried
// often enough, or ctx ends. All questions are safe to be asked again.
func (c *client) get(ctx context.Context, tries uint, path string, params url.Values, decode func(http.Header, io.Reader) error) error {
	u := c.endpoint.JoinPath(path[1:])
	u.RawQuery = params.Encode()
	var last error
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.Multiplier, wait.MaxInterval = 250*time.Millisecond, 2, 5*time.Second
	limit := requestTime
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = c.once(ctx, u, path, decode)
		var f *failure
		switch {
		case last == nil:
			return struct{}{}, nil
		case !errors.As(last, &f) || !f.again:
			return struct{}{}, backoff.Permanent(last)
		case f.after > 0:
			return struct{}{}, &backoff.RetryAfterError{Duration: f.after}
		}
		return struct{}{}, last
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(tries), backoff.WithMaxElapsedTime(limit))
	if err != nil && last != nil {
		return last // and not that there was no time for more
	}
	return err
}

// once asks once.
func (c *client) once(ctx context.Context, u *url.URL, path string, decode func(http.Header, io.Reader) error) error {
	if ctx.Err() != nil {
		return c.ended(ctx)
	}
	if err := c.resting(); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return c.fail(atEndpoint, false, "the endpoint is not an address")
	}
	req.Header.Set("Accept", "application/json")
	rsp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return c.ended(ctx)
		}
		return c.unreached(err)
	}
	defer func() { _ = rsp.Body.Close() }()
	if rsp.StatusCode != http.StatusOK {
		return c.refused(rsp, path)
	}
	body := &tracked{r: http.MaxBytesReader(nil, rsp.Body, maxBytes)}
	err = decode(rsp.Header, body)
	var f *failure
	switch {
	case err == nil || errors.As(err, &f):
		return err
	case ctx.Err() != nil:
		return c.ended(ctx)
	case errors.As(body.err, new(*http.MaxBytesError)):
		return c.fail(atAnswer, false, "the answer of %s has more than %d MB: choose a shorter time range, or narrow the query down", path, maxBytes>>20)
	case body.err != nil:
		return c.unreached(body.err)
	case isPage(rsp.Header):
		return c.fail(atEndpoint, false, "the answer of %s is a web page and not JSON: is the endpoint the metrics API's?", path)
	}
	return c.fail(atAnswer, false, "the answer of %s %v", path, err)
}

// tracked remembers why it could not be read to its end.
type tracked struct {
	r   io.Reader
	err error
}

func (t *tracked) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && err != io.EOF {
		t.err = err
	}
	return n, err
}

// resting returns an error while the service wants to be left alone.
func (c *client) resting() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := time.Until(c.until)
	if left <= 0 {
		return nil
	}
	return &failure{step: atAnswer, text: c.why.Error(), again: true, after: left}
}

// refused makes an error of an answer that is not 200 OK.
func (c *client) refused(rsp *http.Response, path string) error {
	body := beginning(rsp.Body)
	text, known := message(rsp.Header, body)
	said := fmt.Sprintf("the metrics API answers %s to %s", strings.TrimSpace(fmt.Sprintf("%d %s", rsp.StatusCode, http.StatusText(rsp.StatusCode))), path)
	if text = cut(c.secrets.Replace(text), maxMessage); text != "" {
		said += ": " + text
	}
	f := c.fail(atAnswer, false, "%s", said)
	f.status, f.known = rsp.StatusCode, known
	switch rsp.StatusCode {
	case http.StatusBadRequest:
		if c.endpoint.Scheme == "http" && bytes.Contains(body, []byte("HTTPS")) { // as servers of https answer, each in its words
			f = c.fail(atTLS, false, "the metrics API wants TLS: enter the endpoint with https:// instead of http://")
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		f.step = atKey
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		f.step = atEndpoint
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		f.again = true
		if wait := retryAfter(rsp.Header); wait > 0 {
			f.after = min(wait, maxWait)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.until, c.why = time.Now().Add(f.after), f
		}
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		f.again = true
	}
	return f
}

// retryAfter returns how long to wait before the next question, 0 if the service
// does not say. A date is held against the service's own clock.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return at.Sub(now)
}

// beginning returns a message of up to 64 KB. A longer one is not passed on at
// all: what is cut off might be half of a secret.
func beginning(r io.Reader) []byte {
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil || len(b) > most {
		return nil
	}
	return b
}

// message returns what a service says about a failure, as one line, and whether
// it says it in the form of the contract.
func message(header http.Header, body []byte) (string, bool) {
	var said struct{ Error, Message, Detail any }
	if json.Unmarshal(body, &said) == nil {
		if o, ok := said.Error.(map[string]any); ok {
			said.Error = o["message"]
		}
		for i, v := range []any{said.Error, said.Message, said.Detail} {
			if text, ok := v.(string); ok && text != "" {
				return oneLine(text), i < 2
			}
		}
		return "", false
	}
	if kind, _, _ := mime.ParseMediaType(header.Get("Content-Type")); kind != "text/plain" {
		return "", false
	}
	return oneLine(string(body)), false
}

func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// errPage says that an answer is a web page.
var errPage = errors.New("is a web page")

func isPage(header http.Header) bool {
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return kind == "text/html"
}

// errRedirect refuses to follow a redirect: the key would go there too.
type errRedirect struct{ to string }

func (e errRedirect) Error() string { return "redirect to " + e.to }

func sameHost(req *http.Request, via []*http.Request) error {
	from := via[0].URL
	if len(via) > 5 || req.URL.Host != from.Host || from.Scheme == "https" && req.URL.Scheme != "https" {
		return errRedirect{req.URL.Scheme + "://" + req.URL.Host}
	}
	return nil
}

// unreached makes an error of a request without an answer. What net/http says
// has the whole address of the question in it, which is left out.
func (c *client) unreached(err error) error {
	var (
		redirect errRedirect
		dns      *net.DNSError
		op       *net.OpError
		cert     *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		invalid  x509.CertificateInvalidError
	)
	dialed := errors.As(err, &op) && op.Op == "dial"
	switch {
	case errors.As(err, &redirect):
		return c.fail(atEndpoint, false, "the metrics API redirects to %s, which is not followed because the key would go there too: "+
			"enter that address as the endpoint if it is right", redirect.to)
	case errors.As(err, &dns):
		return c.fail(atAddress, dns.IsTemporary && !dns.IsNotFound, "the metrics API cannot be reached: its host is not known to DNS: check the endpoint")
	case errors.As(err, &cert), errors.As(err, &invalid), errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.HostnameError)):
		why := err
		if cert != nil {
			why = cert.Err
		}
		return c.fail(atTLS, false, "the metrics API's certificate is not trusted: %v: check the CA certificate and the server name in the data source settings", why)
	case errors.Is(err, http.ErrSchemeMismatch):
		return c.fail(atTLS, false, "the metrics API does not speak TLS: enter the endpoint with http:// instead of https://")
	case errors.As(err, &record):
		return c.fail(atTLS, false, "the metrics API does not speak TLS: %s", record.Msg)
	case op != nil && op.Op == "remote error": // an alert of TLS
		return c.fail(atTLS, false, "the metrics API refuses the TLS connection: %v: check the client certificate in the data source settings", op.Err)
	case dialed && op.Timeout():
		return c.unreachedInTime(atAddress, "the metrics API cannot be reached: nothing answers at its address: check the endpoint, and whether a firewall is in between")
	case dialed:
		return c.fail(atAddress, true, "the metrics API cannot be reached: %s: check the endpoint, and whether the service is running", reason(op.Err))
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return c.unreachedInTime(atAnswer, slow)
	}
	return c.fail(atAnswer, true, "the connection to the metrics API broke: %s", reason(err))
}

const slow = "the metrics API did not answer in time: ask for less, or raise the timeout in the data source settings"

// ended says why there is no answer to a question whose context has ended.
func (c *client) ended(ctx context.Context) error {
	if why := context.Cause(ctx); !errors.Is(why, context.DeadlineExceeded) {
		return why // the asker knows
	}
	return c.unreachedInTime(atAnswer, slow)
}

func (c *client) unreachedInTime(at step, text string) error {
	f := c.fail(at, true, "%s", text)
	f.cause = context.DeadlineExceeded
	return f
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// reason returns why a connection failed, without addresses.
func reason(err error) string {
	var (
		number syscall.Errno
		u      *url.Error
	)
	switch {
	case errors.As(err, &number):
		return number.Error()
	case errors.As(err, &u):
		err = u.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return err.Error()
}
