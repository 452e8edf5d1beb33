package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// httpError is what a server answered that is asked for a WebSocket.
type httpError struct{ status string }

func (e httpError) Error() string { return e.status }

func handshakeError(resp *http.Response, err error) error {
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return httpError{resp.Status}
	}
	return err
}

// text says to people why there is no connection and what to do about it. It
// has no secrets: nothing of the URL but the host.
func (r *run) text(connected bool, short int, err error) string {
	text := r.reason(connected, err)
	if connected && short >= 3 {
		text += fmt.Sprintf("; this happens again and again: does another client use the client ID %s?", r.clientID)
	}
	return text
}

func (r *run) reason(connected bool, err error) string {
	host := r.in.address.Host
	var (
		code      codeError
		status    httpError
		dns       *net.DNSError
		unknown   x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		alert     tls.AlertError
		notTLS    tls.RecordHeaderError
		verify    *tls.CertificateVerificationError
		inURL     *url.Error
		operation *net.OpError
	)
	switch {
	case errors.As(err, &code):
		if connected {
			return fmt.Sprintf("the broker %s ended the connection: %v", host, code)
		}
		return fmt.Sprintf("the broker %s refuses the connection: %v", host, code)
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword):
		return fmt.Sprintf("the broker %s refuses the connection: %s", host, reasonText(badUser))
	case errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return fmt.Sprintf("the broker %s refuses the connection: %s", host, reasonText(notAuthorised))
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return fmt.Sprintf("the broker %s refuses the connection: %s", host, reasonText(badClientID))
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		return fmt.Sprintf("the broker %s refuses the connection: %s", host, reasonText(serverUnavailable))
	case errors.Is(err, packets.ErrorRefusedBadProtocolVersion):
		return fmt.Sprintf("the broker %s refuses the connection: %s", host, reasonText(badVersion))
	case errors.As(err, &status):
		return fmt.Sprintf("the server %s answers %q instead of opening a WebSocket: check the path in the URL", host, status.status)
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("the host %s is not known: check the URL", r.in.address.Hostname())
	case errors.As(err, &unknown):
		return fmt.Sprintf("the certificate of %s is signed by an authority that is not known here: give its CA certificate", host)
	case errors.As(err, &name):
		return fmt.Sprintf("the certificate of %s is for another name: %v; set the server name, or the name in the URL", host, name)
	case errors.As(err, &invalid):
		return fmt.Sprintf("the certificate of %s is not valid: %v", host, invalid)
	case errors.As(err, &verify):
		return fmt.Sprintf("the certificate of %s cannot be trusted: %v", host, verify.Err)
	case errors.As(err, &notTLS):
		return fmt.Sprintf("%s does not speak TLS: check port and scheme of the URL", host)
	case errors.As(err, &alert), strings.Contains(errorText(err), "remote error: tls:"):
		return fmt.Sprintf("%s refuses the TLS connection (%v): it may want another client certificate", host, innermost(err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s: is the broker up, and are host and port right?", host)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("%s does not answer within %v: is it an MQTT broker, and is a firewall in the way?", host, patience)
	case connected && (err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Sprintf("the broker %s has closed the connection", host)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		text := fmt.Sprintf("%s closes the connection at once: check port and scheme of the URL, and whether the broker allows this user and MQTT %s",
			host, r.in.protocol())
		if r.in.tls != nil && len(r.in.tls.Certificates) == 0 {
			text += ", or wants a client certificate" // its word on that is lost now and then
		}
		return text
	case errors.As(err, &inURL):
		return fmt.Sprintf("no connection to %s: %v", host, innermost(inURL.Err))
	case errors.As(err, &operation):
		return fmt.Sprintf("no connection to %s: %v", host, operation.Err)
	case connected:
		return fmt.Sprintf("the connection to %s is lost: %v", host, innermost(err))
	}
	return fmt.Sprintf("no connection to %s: %v", host, innermost(err))
}

func (in *Input) protocol() string {
	if in.v311 {
		return "3.1.1"
	}
	return "5"
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// innermost is the error that err began with: those around it may repeat the URL.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// Reason codes of MQTT 5 that people can do something about.
const (
	badVersion        = 0x84
	badClientID       = 0x85
	badUser           = 0x86
	notAuthorised     = 0x87
	serverUnavailable = 0x88
	serverBusy        = 0x89
	banned            = 0x8A
	shuttingDown      = 0x8B
	keepAliveTimeout  = 0x8D
	takenOver         = 0x8E
	badFilter         = 0x8F
	packetTooLarge    = 0x95
	overQuota         = 0x97
	rateTooHigh       = 0x9F
	wildcards         = 0xA2
)

func reasonText(code byte) string {
	switch code {
	case badVersion:
		return "it does not speak this version of MQTT: set version 3.1.1"
	case badClientID:
		return "it does not like the client ID: set another"
	case badUser:
		return "user or password is wrong"
	case notAuthorised:
		return "not authorised: check user and password, and what the user may do"
	case serverUnavailable:
		return "it is not available now"
	case serverBusy:
		return "it is busy"
	case banned:
		return "this client is banned"
	case shuttingDown:
		return "it shuts down"
	case keepAliveTimeout:
		return "it did not hear from us for too long"
	case takenOver:
		return "another client has connected with the same client ID: set another in one of them"
	case badFilter:
		return "it does not allow this topic"
	case packetTooLarge:
		return "a packet was too large"
	case overQuota:
		return "a quota is used up"
	case rateTooHigh:
		return "messages come too fast for it"
	case wildcards:
		return "it does not allow wildcards"
	}
	return fmt.Sprintf("reason code 0x%02X", code)
}
