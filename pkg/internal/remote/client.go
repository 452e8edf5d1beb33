// Package remote asks the HTTP servers that sources get their numbers from. It
// does for all of them what none should do in its own way: try again where that
// helps, leave a server alone that asks for it, keep credentials on the server
// that they are for, bound what is read, and say in words what is wrong.
//
// It guarantees that a [Failure] is one line of valid UTF-8 with no secret in it,
// whatever the server answers. It knows nothing of Grafana: how the requests are
// authenticated is the *http.Client's business.
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

// Config says which server is asked, and how failures speak of it.
type Config struct {
	// Base is the address that all requests lie below, without credentials.
	Base *url.URL
	// HTTP makes the requests. Redirects to other servers are refused, whatever it
	// does with them: credentials would go there too.
	HTTP *http.Client
	// Name is what failures call the server, and Setting the setting that its
	// address comes from.
	Name, Setting string
	// Endpoint is what to do where the server does not know what is asked for.
	Endpoint string
	// Secrets are credentials, Private are other values of headers. Neither is in
	// a failure; [Client.Redact] takes out the secrets alone.
	Secrets, Private []string
	// Explain reads the beginning of an answer that is a failure.
	Explain func(header http.Header, body []byte) Said
}

// Said is what a server says about a failure.
type Said struct {
	Text string
	// Known: it is in the form of the server's API, so the API is there.
	Known bool
	// Final: the same question would fail again.
	Final bool
}

// Client asks one server. Make it with [New]. It may be used by several
// goroutines at once.
type Client struct {
	Config
	http             http.Client
	secrets, private redactor

	mu sync.Mutex
	// until is when the server may be asked again, by its own Retry-After.
	until time.Time
	why   *Failure
}

// New returns the client of a server. It asks nothing yet.
func New(c Config) *Client {
	client := &Client{Config: c, http: *c.HTTP, secrets: newRedactor(c.Secrets)}
	client.private = newRedactor(append(c.Private, c.Secrets...))
	client.http.CheckRedirect = client.checkRedirect
	return client
}

// Tries is how often a question is asked that may go well the next time.
const Tries = 4

const (
	// maxWait is the longest that a server's Retry-After is believed.
	maxWait = 5 * time.Minute
	// maxSaid and maxText are the most runes of what a server says, and of a
	// failure.
	maxSaid, maxText = 300, 700
	// maxFailure is the most of a failure's body that is read, in bytes.
	maxFailure = 64 << 10
)

// Request is one question, which is safe to be asked again.
type Request struct {
	// URL is the base or lies below it. Its query is replaced by Form.
	URL  *url.URL
	Form url.Values
	// Post sends the form in the body.
	Post bool
	// Tries is how often it is asked at most.
	Tries uint
	// Limit bounds the answer, in bytes.
	Limit limits.Limit
	// Read reads a successful answer to its end. Its errors go on after the name
	// of the answer. [ErrPage] says that it is a web page.
	Read func(header http.Header, body io.Reader) error
}

// ErrPage says that an answer is a web page, as of whoever answers to everything.
var ErrPage = errors.New("is a web page")

// Do asks until there is an answer, it is tried often enough, or ctx ends. An
// error is a *[Failure], or why the asker has ended ctx.
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
		return last // and not that there was no time for more
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
		return c.refused(rsp, path)
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

// path returns what failures call a question.
func (c *Client) path(u *url.URL) string {
	return "/" + strings.TrimLeft(strings.TrimPrefix(u.Path, strings.TrimRight(c.Base.Path, "/")), "/")
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

// resting returns a failure while the server wants to be left alone.
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

// rest leaves the server alone for as long as it wants, whoever asks.
func (c *Client) rest(f *Failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := time.Now().Add(f.after); until.After(c.until) {
		c.until, c.why = until, f
	}
}

// retryAfter returns how long to wait before the next question, 0 if the server
// does not say. A date is held against the server's own clock.
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

// errRedirect says why a redirect is not followed.
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

// port returns the port of an address if it is not the usual one.
func port(u *url.URL) string {
	p := u.Port()
	if p == "80" && u.Scheme == "http" || p == "443" && u.Scheme == "https" {
		return ""
	}
	return p
}

// Text returns what a server says as it may be shown: one line of valid UTF-8, of
// sane length, without secrets.
func (c *Client) Text(said string) string { return c.text(said, maxSaid) }

// text redacts twice because a secret may have spaces in it, and a server write
// them otherwise.
func (c *Client) text(said string, n int) string {
	said = c.private.redact(Line(c.private.redact(said), math.MaxInt))
	return Line(said, n)
}

// Redact returns a text without secrets, and else as it is.
func (c *Client) Redact(text string) string { return c.secrets.redact(text) }
