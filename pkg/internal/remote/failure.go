package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// Step is the step at which a request has failed.
type Step string

// The steps, in their order.
const (
	Address     Step = "Address"     // the server is not found, or does not listen
	TLS         Step = "TLS"         // there is no secure connection
	Credentials Step = "Credentials" // the server does not accept the credentials
	Endpoint    Step = "Endpoint"    // the server is not the expected one
	Server      Step = "Server"      // the server is too slow, too busy or broken
	Query       Step = "Query"       // the server refuses the query
	Answer      Step = "Answer"      // the answer does not follow the API
)

// Failure is why a request has no answer. It is a source.ErrDownstream, and may wrap
// a context's error or a *limits.Error, but nothing else.
type Failure struct {
	Step   Step
	Status int  // of HTTP, 0 if there was no answer
	Known  bool // the error has the form of the server's API

	text  string
	again bool // trying again may help
	after time.Duration
	cause error
}

func (f *Failure) Error() string { return f.text }

func (f *Failure) Unwrap() error { return f.cause }

// RetryAfter returns the server's Retry-After, 0 if there is none.
func (f *Failure) RetryAfter() time.Duration { return f.after }

// Is makes errors.Is report a source.ErrDownstream.
func (*Failure) Is(target error) bool { return target == source.ErrDownstream }

// Checked returns the error of a check. It begins with the step that failed.
func Checked(err error) error {
	var f *Failure
	if errors.As(err, &f) {
		return fmt.Errorf("%s: %w", f.Step, err)
	}
	return err
}

// Fail returns a failure that would come again. Its text is redacted.
func (c *Client) Fail(at Step, format string, args ...any) *Failure {
	return &Failure{Step: at, text: c.text(fmt.Sprintf(format, args...), maxText)}
}

// passing returns a failure that may pass, so that the request is tried again.
func (c *Client) passing(at Step, format string, args ...any) *Failure {
	f := c.Fail(at, format, args...)
	f.again = true
	return f
}

func (c *Client) slow() *Failure {
	f := c.passing(Server, "%s did not answer in time: ask for less, or raise the timeout in the data source settings", c.Name)
	f.cause = context.DeadlineExceeded
	return f
}

// ended returns why a request whose context has ended has no answer.
func (c *Client) ended(ctx context.Context) error {
	if why := context.Cause(ctx); !errors.Is(why, context.DeadlineExceeded) {
		return why // the caller's own reason
	}
	return c.slow()
}

// refused makes a failure from an answer that is not a success.
func (c *Client) refused(rsp *http.Response, path string) *Failure {
	code := rsp.StatusCode
	var said Said
	if body := beginning(rsp.Body); code == http.StatusBadRequest && c.Base.Scheme == "http" && bytes.Contains(body, []byte("HTTPS")) {
		// HTTPS servers answer HTTP requests like this, in different words.
		return c.Fail(TLS, "%s wants TLS: enter the %s with https:// instead of http://", c.Name, c.Setting)
	} else if len(body) > 0 && !IsPage(rsp.Header) {
		said = c.Explain(rsp.Header, body)
	}
	text := fmt.Sprintf("%s answers %s to %s", c.Name, strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code))), path)
	if s := c.Text(said.Text); s != "" {
		text += ": " + s
	}
	step, advice, again := Answer, "", false
	switch {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		step, advice = Credentials, "check the credentials and headers in the data source settings"
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code == http.StatusNotImplemented, code/100 == 3:
		if step = Endpoint; !said.Known {
			advice = c.Endpoint
		}
	case code == http.StatusTooManyRequests, code/100 == 5:
		step, again = Server, !said.Final
	case said.Known:
		step = Query
	}
	if advice != "" {
		text += ": " + advice
	}
	f := c.Fail(step, "%s", text)
	f.Status, f.Known, f.again = code, said.Known, again
	f.after = retryAfter(rsp.Header)
	return f
}

// beginning returns the body of an error, nil if it is longer than maxFailure: a cut
// could leave a part of a secret, which would not be redacted.
func beginning(r io.Reader) []byte {
	b, err := io.ReadAll(io.LimitReader(r, maxFailure+1))
	if err != nil || len(b) > maxFailure {
		return nil
	}
	return b
}

// IsPage reports whether an answer is a web page, by its header.
func IsPage(h http.Header) bool {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind == "text/html"
}

// IsText reports whether an answer is plain text, by its header.
func IsText(h http.Header) bool {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind == "text/plain"
}

// unreached makes a failure from the error of a request without an answer. It leaves
// out the texts of net/http, which have the whole URL.
func (c *Client) unreached(err error) error {
	var (
		redirect errRedirect
		dns      *net.DNSError
		op       *net.OpError
		cert     *tls.CertificateVerificationError
		record   tls.RecordHeaderError
	)
	dialed := errors.As(err, &op) && op.Op == "dial"
	switch {
	case errors.As(err, &redirect):
		return c.Fail(Endpoint, "%s redirects to %s", c.Name, redirect.text)
	case errors.As(err, &dns):
		f := c.Fail(Address, "%s cannot be reached: its host is not known to DNS: check the %s", c.Name, c.Setting)
		f.again = dns.IsTemporary && !dns.IsNotFound
		return f
	case errors.As(err, &cert), errors.As(err, new(x509.CertificateInvalidError)), errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.HostnameError)):
		why := err
		if cert != nil {
			why = cert.Err
		}
		return c.Fail(TLS, "the certificate of %s is not trusted: %v: check the CA certificate and the server name in the data source settings", c.Name, why)
	case errors.Is(err, http.ErrSchemeMismatch):
		return c.Fail(TLS, "%s does not speak TLS: enter the %s with http:// instead of https://", c.Name, c.Setting)
	case errors.As(err, &record):
		return c.Fail(TLS, "%s does not speak TLS: %s", c.Name, record.Msg)
	case op != nil && op.Op == "remote error": // an alert of TLS
		return c.Fail(TLS, "%s refuses the TLS connection: %v: check the client certificate in the data source settings", c.Name, op.Err)
	case dialed && op.Timeout():
		f := c.passing(Address, "%s cannot be reached: nothing answers at its address: check the %s, and whether a firewall is in between", c.Name, c.Setting)
		f.cause = context.DeadlineExceeded
		return f
	case dialed:
		return c.passing(Address, "%s cannot be reached: %s: check the %s, and whether the server is running", c.Name, reason(op.Err), c.Setting)
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return c.slow()
	case strings.Contains(err.Error(), "response header"): // net/http has no type for a header that is too large
		f := c.Fail(Answer, "the answer of %s is too large: %v", c.Name, limits.Header.Check(limits.Header.Most+1))
		f.cause = limits.Header.Check(limits.Header.Most + 1)
		return f
	}
	return c.passing(Server, "the connection to %s broke: %s", c.Name, reason(err))
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
		op     *net.OpError
	)
	if errors.As(err, &number) {
		return number.Error()
	}
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.As(err, &op) {
		err = op.Err
	}
	return err.Error()
}
