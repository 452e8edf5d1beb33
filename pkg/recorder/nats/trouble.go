package nats

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
)

// plain is an error whose text needs no explanation.
type plain string

func (p plain) Error() string { return string(p) }

func refusesLogin(err error) bool {
	return errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAccountAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) ||
		errors.Is(err, nats.ErrAuthorization) || strings.Contains(err.Error(), "Authorization Violation")
}

// why returns a sentence for people that says what is wrong and what to do.
// connected says that there is, or was, a connection.
func (r *run) why(err error, connected bool) (string, endpoint.Cause) {
	at := r.in.peer.Host
	if dial := r.conns.failed(); dial != nil && (errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout)) {
		err = dial // the library leaves out the reason
	}
	switch {
	case errors.As(err, new(plain)):
		return err.Error(), endpoint.Unreachable
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return fmt.Sprintf("the credentials have expired, says the server %s: set new ones", at), endpoint.Refused
	case errors.Is(err, nats.ErrAuthRevoked):
		return fmt.Sprintf("the credentials were revoked, says the server %s: set new ones", at), endpoint.Refused
	case refusesLogin(err):
		return fmt.Sprintf("the server %s refuses the login: check user and password, token or credentials", at), endpoint.Refused
	case errors.Is(err, nats.ErrPermissionViolation):
		return fmt.Sprintf("the server %s does not let this user do all that is needed: %.300s", at, strings.TrimPrefix(err.Error(), "nats: ")), endpoint.Refused
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Sprintf("the server %s does not encrypt: begin the URL with nats://, and set no certificates", at), endpoint.Unreachable
	case strings.Contains(err.Error(), "certificate required"), strings.Contains(err.Error(), "after TLS handshake"):
		// Which of the two errors comes is a matter of timing.
		return fmt.Sprintf("the server %s ends encrypted connections at once: if it wants a client certificate, set clientCert and clientKey", at), endpoint.Unreachable
	case errors.Is(err, nats.ErrNoInfoReceived):
		return fmt.Sprintf("what answers at %s is no NATS server, or wants encryption: check the URL", at), endpoint.Unreachable
	case errors.Is(err, nats.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabled),
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		return fmt.Sprintf("JetStream does not answer at %s: is it enabled, for this account too?", at), endpoint.Unreachable
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Sprintf("there is no stream %s at %s: it will be recorded once it is there", r.in.stream, at), endpoint.Unreachable
	case errors.Is(err, nats.ErrStaleConnection):
		return fmt.Sprintf("the server %s does not answer any more", at), endpoint.Unreachable
	case errors.Is(err, nats.ErrConnectionClosed):
		err = nil // by the server
	}
	return r.in.peer.Explain(err, connected), endpoint.Unreachable
}
