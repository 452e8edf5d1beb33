// Package nats is the recorder's input from NATS: subjects as they are published,
// or a stream of JetStream.
//
// Of a stream, every message is recorded that the stream still holds: a durable
// consumer remembers which ones were acknowledged, and the input acknowledges a
// message once the store has committed its samples. Samples have the stream's time,
// so that a message that comes twice is recorded once. Messages that the stream has
// dropped before they could be read are counted. If the stream or its consumer is
// gone, the status says so, and recording goes on once it is there again.
//
// Subjects without a stream are recorded while there is a connection, and stamped on
// arrival.
//
// The input never blocks the store. When messages come faster than they can be
// stored, a stream keeps them; without a stream the newest are dropped and counted.
package nats

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

// Config has the settings of the input.
type Config struct {
	Name string `json:"name"`
	// URL is the URL of a server, or of several of one cluster, separated by commas.
	// The schemes are nats and tls, or ws and wss.
	URL  string `json:"url"`
	User string `json:"user,omitempty"`
	// Subjects may have wildcards. With a stream they may be empty, for all of its
	// subjects.
	Subjects []string `json:"subjects,omitempty"`
	// Stream is the name of a stream of JetStream, empty for subjects without one.
	Stream string `json:"stream,omitempty"`
	// ServerName is the name in the server's certificate, if it is not the host
	// of the URL. SkipVerify trusts any certificate.
	ServerName string        `json:"serverName,omitempty"`
	SkipVerify bool          `json:"skipVerify,omitempty"`
	Rules      message.Rules `json:"rules"`
}

// Input is the NATS input.
type Input struct {
	name     string
	version  string // of the settings
	servers  []string
	peer     endpoint.Peer
	subjects []string
	stream   string
	login    []nats.Option
	rules    message.Rules
}

// Secrets returns the names of the secrets that the input may have. credentials is
// the content of a .creds file.
func (Config) Secrets() []string { return endpoint.Secrets("password", "token", "credentials") }

// Sensitive reports whether the settings themselves may hold a secret. A user may be
// a token.
func (c Config) Sensitive() bool { return c.User != "" || endpoint.MayHoldSecret(c.URL) }

// New returns the input, or an error that names the setting that is wrong. secret
// returns the secrets of the input by name, empty if not set.
func New(c Config, secret func(key string) string) (recorder.Input, error) {
	in := &Input{name: c.Name, stream: c.Stream, rules: c.Rules}
	var hosts []string
	for text := range strings.SplitSeq(c.URL, ",") {
		u, err := form.Parse(text)
		if err != nil {
			return nil, err
		}
		in.servers, hosts = append(in.servers, u.String()), append(hosts, u.Host)
		if isWebSocket(u.Scheme) != strings.HasPrefix(in.servers[0], "ws") {
			return nil, errors.New("url: either all servers are reached by ws:// and wss://, or none is")
		}
	}
	for _, s := range c.Subjects {
		if err := checkSubject(s); err != nil {
			return nil, fmt.Errorf("subjects: %w", err)
		}
	}
	in.subjects = reduce(c.Subjects)
	switch {
	case len(in.subjects) == 0 && c.Stream == "":
		return nil, errors.New("subjects: give at least one, such as plant.>, or the name of a stream")
	case strings.ContainsAny(c.Stream, " \t\r\n.*>/\\"):
		return nil, errors.New("stream: the name of a stream has no spaces and none of . * > / \\: subjects have a field of their own")
	}
	if err := c.Rules.Check(); err != nil {
		return nil, err
	}
	if err := in.logins(c, secret); err != nil {
		return nil, err
	}
	if err := in.tls(c, secret); err != nil {
		return nil, err
	}
	in.version = endpoint.Version(c, secret, c.Secrets())
	in.peer = endpoint.Peer{Kind: "a NATS server", Host: strings.Join(hosts, ", "), Patience: patience, ServerName: true,
		ClientCert: secret("clientCert") != ""}
	return in, nil
}

// Name implements recorder.Input.
func (in *Input) Name() string { return in.name }

// Version implements recorder.Input.
func (in *Input) Version() string { return in.version }

var form = endpoint.Form{
	Ports:       map[string]string{"nats": "4222", "tls": "4222", "ws": "80", "wss": "443"},
	Schemes:     "nats:// or tls://, ws:// or wss://",
	Example:     "nats://server.example:4222",
	Credentials: "user, password and token have fields of their own, where they are kept secret",
}

func isWebSocket(scheme string) bool { return strings.HasPrefix(scheme, "ws") }

// logins sets how the input logs in.
func (in *Input) logins(c Config, secret func(string) string) error {
	password, token, credentials := secret("password"), secret("token"), secret("credentials")
	ways := 0
	for _, is := range []bool{c.User != "", token != "", credentials != ""} {
		if is {
			ways++
		}
	}
	switch {
	case ways > 1:
		return errors.New("user, token and credentials: give only one of them")
	case password != "" && c.User == "":
		return errors.New("user: a password needs a user")
	case c.User != "":
		in.login = append(in.login, nats.UserInfo(c.User, password))
	case token != "":
		in.login = append(in.login, nats.Token(token))
	case credentials != "":
		const want = "must be what a .creds file holds, with a JWT and a seed between their lines of dashes"
		if _, err := nkeys.ParseDecoratedJWT([]byte(credentials)); err != nil || !strings.Contains(credentials, "-----") {
			return errors.New("credentials: " + want)
		}
		key, err := nkeys.ParseDecoratedNKey([]byte(credentials))
		if err != nil {
			return errors.New("credentials: " + want)
		}
		key.Wipe()
		in.login = append(in.login, nats.UserCredentialBytes([]byte(credentials)))
	}
	return nil
}

func (in *Input) tls(c Config, secret func(string) string) error {
	trust := endpoint.Trust{ServerName: c.ServerName, SkipVerify: c.SkipVerify, Secret: secret}
	if strings.HasPrefix(in.servers[0], "ws:") && trust.IsSet() {
		return endpoint.Unencrypted("ws", "wss://")
	}
	if !trust.IsSet() && !strings.HasPrefix(in.servers[0], "tls:") && !strings.HasPrefix(in.servers[0], "wss:") {
		return nil // the library still uses TLS if the server requires it
	}
	t, err := trust.Config()
	if err != nil {
		return err
	}
	in.login = append(in.login, nats.Secure(t))
	return nil
}
