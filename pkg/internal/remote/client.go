// Package remote makes requests to the HTTP servers of sources. It has what all of
// them need: it tries again if that can help, obeys Retry-After, keeps credentials
// from other servers, limits the size of answers, and explains errors in words.
//
// It guarantees that the text of a [Failure] is one line of valid UTF-8 without
// secrets, whatever the server answers. It knows nothing of Grafana: the *http.Client
// adds the authentication.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

// Config describes a server, and how failures name it.
type Config struct {
	// Base is the URL below which all requests are, without credentials.
	Base *url.URL
	// HTTP makes the requests. Redirects to other servers are refused, whatever its
	// own rule is, because credentials would go there, too.
	HTTP *http.Client
	// Name is the name of the server in failures, and Setting the setting that has
	// its URL.
	Name, Setting string
	// Endpoint is the advice if the server does not know a path.
	Endpoint string
	// Secrets are credentials, Private are other values of headers. Failures have
	// neither; [Client.Redact] only removes secrets.
	Secrets, Private []string
	// Explain parses the body of an error answer, at most maxFailure of it.
	Explain func(header http.Header, body []byte) Said
}

// Said is the server's own explanation of an error.
type Said struct {
	Text string
	// Known says that it has the form of the server's API, so the API is there.
	Known bool
	// Final says that the same request would fail again.
	Final bool
}

// Client makes requests to one server. Make it with [New]. It is safe for concurrent
// use.
type Client struct {
	Config
	http             http.Client
	secrets, private redactor

	mu sync.Mutex
	// until is when the server may be asked again after a Retry-After; why is the
	// failure that had it.
	until time.Time
	why   *Failure
}

// New returns the client of a server. It does not send a request yet.
func New(c Config) *Client {
	client := &Client{Config: c, http: *c.HTTP, secrets: newRedactor(c.Secrets)}
	client.private = newRedactor(append(c.Private, c.Secrets...))
	client.http.CheckRedirect = client.checkRedirect
	return client
}

// Tries is how often a request is tried that may succeed later.
const Tries = 4

const (
	// maxWait is the longest Retry-After that is obeyed.
	maxWait = 5 * time.Minute
	// maxSaid and maxText are the largest lengths, in runes, of a server's text and of
	// a failure.
	maxSaid, maxText = 300, 700
	// maxFailure is how much of the body of an error answer is read, in bytes.
	maxFailure = 64 << 10
)

// Request is one request. It must be safe to send it again.
type Request struct {
	// URL is Base or below it. Form replaces its query.
	URL  *url.URL
	Form url.Values
	// Post sends the form in the body, with POST.
	Post bool
	// Tries is how often the request is sent at most.
	Tries uint
	// Optional says that other requests must not wait because of this one: they do not
	// obey the Retry-After of its answer.
	Optional bool
	// Limit limits the size of the answer, in bytes.
	Limit limits.Limit
	// Read reads the body of a successful answer to its end. The text of its errors
	// continues a sentence that begins with the name of the answer. [ErrPage] means
	// that the answer is a web page.
	Read func(header http.Header, body io.Reader) error
}

// ErrPage means that an answer is a web page, as from a server that answers every
// path.
var ErrPage = errors.New("is a web page")

// Do sends a request until there is an answer, Tries are used up, or ctx ends. The
// error is a *[Failure], or the cause of ctx.
func (c *Client) Do(ctx context.Context, r Request) error {
	var last error
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.Multiplier, wait.MaxInterval = 250*time.Millisecond, 2, 5*time.Second
	var limit time.Duration // none
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = c.once(ctx, r)
		var f *Failure
		switch {
		case last == nil:
			return struct{}{}, nil
		case !errors.As(last, &f) || !f.again:
			return struct{}{}, backoff.Permanent(last)
		case f.after > 0:
			return struct{}{}, &backoff.RetryAfterError{Duration: f.after}
		}
		return struct{}{}, last
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(r.Tries), backoff.WithMaxElapsedTime(limit))
	if err != nil && last != nil {
		return last // the reason, and not that there was no time left
	}
	return err
}

func (c *Client) once(ctx context.Context, r Request) error {
	if ctx.Err() != nil {
		return c.ended(ctx)
	}
	if err := c.resting(); err != nil {
		return err
	}
	req, err := c.request(ctx, r)
	if err != nil {
		return c.Fail(Endpoint, "the %s is not an address", c.Setting)
	}
	rsp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return c.ended(ctx)
		}
		return c.unreached(err)
	}
	defer func() { _ = rsp.Body.Close() }()
	path := c.path(r.URL)
	if rsp.StatusCode/100 != 2 {
		f := c.refused(rsp, path)
		if f.again && f.after > 0 && !r.Optional {
			c.rest(f)
		}
		return f
	}
	tooLarge := func(why error) error {
		f := c.Fail(Answer, "the answer of %s to %s is too large: %v", c.Name, path, why)
		f.cause = why
		return f
	}
	if err := r.Limit.Check(rsp.ContentLength); err != nil {
		return tooLarge(err)
	}
	body := &tracked{r: limits.JSON(http.MaxBytesReader(nil, rsp.Body, r.Limit.Most))}
	err = r.Read(rsp.Header, body)
	var refused *limits.Error
	switch {
	case err == nil || errors.As(err, new(*Failure)):
		return err
	case ctx.Err() != nil:
		return c.ended(ctx)
	case errors.Is(err, ErrPage) || IsPage(rsp.Header):
		return c.Fail(Endpoint, "%s answers %s with a web page and not JSON: %s", c.Name, path, c.Endpoint)
	case errors.As(body.err, new(*http.MaxBytesError)):
		return tooLarge(r.Limit.Check(r.Limit.Most + 1))
	case errors.As(err, &refused), errors.As(body.err, &refused):
		return tooLarge(refused)
	case body.err != nil:
		return c.unreached(body.err)
	}
	return c.Fail(Answer, "the answer of %s to %s %v", c.Name, path, err)
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	u, method, body := *r.URL, http.MethodGet, io.Reader(nil)
	if u.RawQuery = r.Form.Encode(); r.Post {
		method, body, u.RawQuery = http.MethodPost, strings.NewReader(u.RawQuery), ""
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if r.Post {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// path returns the path of a request as failures name it.
func (c *Client) path(u *url.URL) string {
	return "/" + strings.TrimLeft(strings.TrimPrefix(u.Path, strings.TrimRight(c.Base.Path, "/")), "/")
}

// tracked is a reader that remembers its error.
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

// resting returns a failure until the server may be asked again.
func (c *Client) resting() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := time.Until(c.until)
	if left <= 0 {
		return nil
	}
	f := *c.why
	f.after = left
	return &f
}

// rest stops all requests to the server for as long as the failure says.
func (c *Client) rest(f *Failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := time.Now().Add(f.after); until.After(c.until) {
		c.until, c.why = until, f
	}
}

// retryAfter returns how long to wait before the next request, 0 if the server does
// not say. A date is compared with the server's own clock, its Date header.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxWait)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, min(at.Sub(now), maxWait))
}

// maxRedirects is how many redirects are followed.
const maxRedirects = 5

// errRedirect is why a redirect is not followed.
type errRedirect struct{ text string }

func (e errRedirect) Error() string { return e.text }

func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	from, to := via[0].URL, req.URL
	switch {
	case !strings.EqualFold(from.Hostname(), to.Hostname()) || port(from) != port(to) || from.Scheme == "https" && to.Scheme != "https":
		return errRedirect{fmt.Sprintf("%s://%s, which is not followed because the credentials would go there too: enter that address as the %s if it is right",
			to.Scheme, to.Host, c.Setting)}
	case len(via) > maxRedirects:
		return errRedirect{"itself again and again: check the " + c.Setting}
	case req.Method != via[0].Method: // the form is lost
		return errRedirect{fmt.Sprintf("%s, which takes no %s: check the %s, and the credentials: it may be where one logs in", to.Path, via[0].Method, c.Setting)}
	}
	return nil
}

// port returns the port of a URL, empty for the default one.
func port(u *url.URL) string {
	p := u.Port()
	if p == "80" && u.Scheme == "http" || p == "443" && u.Scheme == "https" {
		return ""
	}
	return p
}

// Text returns a text of the server in a form that can be shown: one line of valid
// UTF-8, not too long, without secrets.
func (c *Client) Text(said string) string { return c.text(said, maxSaid) }

// text redacts twice, because a secret may have spaces, which the server may have
// written differently.
func (c *Client) text(said string, n int) string {
	said = c.private.redact(Line(c.private.redact(said), math.MaxInt))
	return Line(said, n)
}

// Redact returns a text without secrets, otherwise unchanged.
func (c *Client) Redact(text string) string { return c.secrets.redact(text) }
