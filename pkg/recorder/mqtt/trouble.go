package mqtt

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
)

// httpError is a server's HTTP answer that is not a WebSocket.
type httpError struct{ status string }

func (e httpError) Error() string { return e.status }

func handshakeError(resp *http.Response, err error) error {
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return httpError{resp.Status}
	}
	return err
}

// explain returns a sentence for people that says why there is no connection and
// what to do about it. It has no secrets, and of the URL only the host.
func (r *run) explain(f endpoint.Failure) (string, endpoint.Cause) {
	text, cause := r.reason(f)
	if f.Conflict() {
		text += fmt.Sprintf("; this happens again and again: does another client use the client ID %s?", r.clientID)
	}
	return text, cause
}

func (r *run) reason(f endpoint.Failure) (string, endpoint.Cause) {
	var status httpError
	code, ok := codeOf(f.Err)
	switch {
	case ok && f.Connected:
		return fmt.Sprintf("the broker %s ended the connection: %v", r.in.peer.Host, code), code.cause()
	case ok:
		return fmt.Sprintf("the broker %s refuses the connection: %v", r.in.peer.Host, code), code.cause()
	case errors.As(f.Err, &status):
		return fmt.Sprintf("the server %s answers %q instead of opening a WebSocket: check the path in the URL", r.in.peer.Host, status.status), endpoint.Unreachable
	}
	return r.in.peer.Explain(f.Err, f.Connected), endpoint.Unreachable
}

// codeOf returns the refusal of a broker. The codes of version 3.1.1 become those of
// 5.
func codeOf(err error) (codeError, bool) {
	var code codeError
	if errors.As(err, &code) {
		return code, true
	}
	for of, is := range map[error]byte{
		packets.ErrorRefusedBadUsernameOrPassword: badUser,
		packets.ErrorRefusedNotAuthorised:         notAuthorised,
		packets.ErrorRefusedIDRejected:            badClientID,
		packets.ErrorRefusedServerUnavailable:     serverUnavailable,
		packets.ErrorRefusedBadProtocolVersion:    badVersion,
	} {
		if errors.Is(err, of) {
			return codeError{code: is}, true
		}
	}
	return codeError{}, false
}

// cause is Unreachable for reasons that pass, and Refused for those that people must
// change.
func (e codeError) cause() endpoint.Cause {
	switch e.code {
	case serverUnavailable, serverBusy, shuttingDown, keepAliveTimeout:
		return endpoint.Unreachable
	}
	return endpoint.Refused
}

// The reason codes of MQTT 5 with a text of their own.
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
