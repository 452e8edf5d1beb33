package nats

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// plain is an error that says all.
type plain string

func (p plain) Error() string { return string(p) }

// why says what is wrong, and what to do.
func (r *run) why(err error) string {
	var (
		op        *net.OpError
		unknownCA x509.UnknownAuthorityError
		hostname  x509.HostnameError
		netErr    net.Error
	)
	at := r.in.hosts
	if dial := r.conns.failed(); dial != nil && (errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout)) {
		err = dial
	}
	switch {
	case errors.As(err, new(plain)):
		return err.Error()
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return fmt.Sprintf("the credentials have expired, says the server %s: set new ones", at)
	case errors.Is(err, nats.ErrAuthRevoked):
		return fmt.Sprintf("the credentials were revoked, says the server %s: set new ones", at)
	case errors.Is(err, nats.ErrAuthorization), strings.Contains(err.Error(), "Authorization Violation"):
		return fmt.Sprintf("the server %s refuses the login: check user and password, token or credentials", at)
	case errors.Is(err, nats.ErrPermissionViolation):
		return fmt.Sprintf("the server %s does not let this user do all that is needed: %s", at, cut(strings.TrimPrefix(err.Error(), "nats: ")))
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Sprintf("the server %s does not encrypt: begin the URL with nats://, and set no certificates", at)
	case errors.As(err, &unknownCA):
		return fmt.Sprintf("the certificate of the server %s is signed by nobody who is trusted here: set caCert to that of its authority", at)
	case errors.As(err, &hostname):
		return fmt.Sprintf("the certificate of the server %s is for another name: set serverName to the one that it is for: %v", at, hostname)
	case strings.Contains(err.Error(), "certificate required"), strings.Contains(err.Error(), "after TLS handshake"):
		// Which one is a matter of who is quicker.
		return fmt.Sprintf("the server %s ends encrypted connections at once: if it wants a client certificate, set clientCert and clientKey", at)
	case strings.Contains(err.Error(), "tls:"), strings.Contains(err.Error(), "x509:"):
		return fmt.Sprintf("no encrypted connection to %s: %s", at, cut(err.Error()))
	case errors.Is(err, nats.ErrNoInfoReceived):
		return fmt.Sprintf("what answers at %s is no NATS server, or wants encryption: check the URL", at)
	case errors.Is(err, nats.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabled),
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		return fmt.Sprintf("JetStream does not answer at %s: is it enabled, for this account too?", at)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Sprintf("there is no stream %s at %s: it will be recorded once it is there", r.in.stream, at)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.As(err, &netErr) && netErr.Timeout():
		return fmt.Sprintf("no answer from %s", at)
	case errors.Is(err, nats.ErrStaleConnection):
		return fmt.Sprintf("the server %s does not answer any more", at)
	case errors.Is(err, io.EOF), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, net.ErrClosed):
		return fmt.Sprintf("the connection to %s was lost", at)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Sprintf("no connection to %s: %v", at, op.Err)
	}
	return fmt.Sprintf("no connection to %s: %s", at, cut(err.Error()))
}

// cut shortens what servers say.
func cut(s string) string {
	const most = 300
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
