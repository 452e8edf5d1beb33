package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// Peer describes the server that an input connects to, for messages to people.
type Peer struct {
	// Kind is what the server should be, such as "an MQTT broker".
	Kind string
	// Host is host:port, or several of them.
	Host string
	// Patience is how long the server may take to answer.
	Patience time.Duration
	// ServerName says that a setting serverName exists.
	ServerName bool
	// ClientCert says that a client certificate is set.
	ClientCert bool
}

// Explain returns a sentence that says why there is no connection and what to do
// about it. err is the error of the attempt, or what ended the connection; it may be
// nil if connected. connected says that there was a connection.
func (p Peer) Explain(err error, connected bool) string {
	var (
		dns       *net.DNSError
		unknown   x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		alert     tls.AlertError
		notTLS    tls.RecordHeaderError
		verify    *tls.CertificateVerificationError
		operation *net.OpError
	)
	text := errorText(err)
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("the host %s is not known: check the URL", dns.Name)
	case errors.As(err, &dns):
		return fmt.Sprintf("the address of the host %s cannot be found out: %s", dns.Name, dns.Err)
	case errors.As(err, &unknown):
		return fmt.Sprintf("the certificate of %s is signed by an authority that is not known here: set caCert to its CA certificate", p.Host)
	case errors.As(err, &name):
		hint := "put the name that it is for into the URL"
		if p.ServerName {
			hint += ", or set serverName to it"
		}
		return fmt.Sprintf("the certificate of %s is for another name: %s: %v", p.Host, hint, name)
	case errors.As(err, &invalid):
		return fmt.Sprintf("the certificate of %s is not valid: %v", p.Host, invalid)
	case errors.As(err, &verify):
		return fmt.Sprintf("the certificate of %s cannot be trusted: %v", p.Host, verify.Err)
	case errors.As(err, &notTLS), strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return fmt.Sprintf("%s does not speak TLS: check port and scheme of the URL", p.Host)
	case errors.As(err, &alert), strings.Contains(text, "remote error: tls:"):
		hint := "set clientCert and clientKey if it wants a client certificate"
		if p.ClientCert {
			hint = "it may want another client certificate"
		}
		return fmt.Sprintf("%s refuses the TLS connection (%v): %s", p.Host, innermost(err), hint)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s: is %s running there, and are host and port right?", p.Host, p.Kind)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("there is no way to %s: is the address right, and the network up?", p.Host)
	case connected && isTimeout(err):
		return fmt.Sprintf("%s does not answer any more", p.Host)
	case isTimeout(err):
		return fmt.Sprintf("%s does not answer within %v: is it %s, and is a firewall in the way?", p.Host, p.Patience, p.Kind)
	case connected && (err == nil || ended):
		return fmt.Sprintf("%s has closed the connection", p.Host)
	case ended:
		hint := ""
		if !p.ClientCert {
			hint = ", or whether it wants a client certificate" // the TLS alert that says so does not always arrive
		}
		return fmt.Sprintf("%s closes the connection at once: is it %s? If so, check port and scheme of the URL, and whether this user may connect%s", p.Host, p.Kind, hint)
	case connected:
		return fmt.Sprintf("the connection to %s is lost: %s", p.Host, cut(innermost(err)))
	case errors.As(err, &operation):
		return fmt.Sprintf("no connection to %s: %s", p.Host, cut(operation.Err))
	}
	return fmt.Sprintf("no connection to %s: %s", p.Host, cut(innermost(err)))
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// innermost returns the error that err wraps in the end: the errors around it may
// repeat the URL, which may have a secret.
func innermost(err error) error {
	for {
		if inURL := (*url.Error)(nil); errors.As(err, &inURL) {
			err = inURL.Err
			continue
		}
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// cut shortens the text of an error, which may come from a server.
func cut(err error) string {
	const most = 300
	text := errorText(err)
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
