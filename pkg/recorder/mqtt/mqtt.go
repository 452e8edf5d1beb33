// Package mqtt is the recorder's input from an MQTT broker, of version 5 or
// 3.1.1.
//
// The input keeps a session with the broker, under a client ID that stays the same,
// so that the broker keeps messages of QoS 1 and 2 while the plugin is down. It
// acknowledges a message once its samples are committed: after a crash the broker
// sends all others again.
//
// The broker may also send a message again that was recorded, if the connection was
// lost before the acknowledgement arrived. The input recognises it while the process
// lives. After that, the store recognises its samples by their time, if the payload
// has one; otherwise they are recorded a second time.
//
// The input never blocks the store or its own keep-alive. When messages come faster
// than they can be stored, the newest ones of QoS 0 are dropped and counted, while
// the broker keeps those of QoS 1 and 2.
package mqtt

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

// Config has the settings of the input.
type Config struct {
	Name string `json:"name"`
	// URL has one of the schemes tcp or mqtt, ssl or mqtts (with TLS), ws, wss.
	URL string `json:"url"`
	// Version is "5" (or empty) or "3.1.1".
	Version string `json:"version,omitempty"`
	User    string `json:"user,omitempty"`
	// ClientID must differ from that of all other clients of the broker. If empty,
	// Sink.Identity is used.
	ClientID string   `json:"clientId,omitempty"`
	Topics   []string `json:"topics"`
	// QoS is 0, 1 or 2, and 1 if it is not set.
	QoS *int `json:"qos,omitempty"`
	// ServerName is the name in the broker's certificate, if it is not the host
	// of the URL. SkipVerify trusts any certificate.
	ServerName string        `json:"serverName,omitempty"`
	SkipVerify bool          `json:"skipVerify,omitempty"`
	Rules      message.Rules `json:"rules"`
}

// Input is the MQTT input.
type Input struct {
	name     string
	version  string // of the settings
	address  *url.URL
	v311     bool
	user     string
	password string
	clientID string
	filters  []string
	qos      byte
	tls      *tls.Config
	peer     endpoint.Peer
	rules    message.Rules
}

var form = endpoint.Form{
	Ports:       map[string]string{"tcp": "1883", "mqtt": "1883", "ssl": "8883", "mqtts": "8883", "ws": "80", "wss": "443"},
	Schemes:     "tcp:// or mqtt://, ssl:// or mqtts://, ws:// or wss://",
	Example:     "tcp://broker.example:1883",
	Credentials: "they have the fields user and password, where they are kept secret",
}

// Secrets returns the names of the secrets that the input may have.
func (Config) Secrets() []string { return endpoint.Secrets("password") }

// Sensitive reports whether the settings themselves may hold a secret. A user may be
// one: with some brokers it is a token without a password.
func (c Config) Sensitive() bool { return c.User != "" || endpoint.MayHoldSecret(c.URL) }

// New returns the input, or an error that names the setting that is wrong. secret
// returns the secrets of the input by name, empty if not set.
func New(c Config, secret func(key string) string) (recorder.Input, error) {
	in := &Input{name: c.Name, user: c.User, clientID: c.ClientID, password: secret("password"), rules: c.Rules, qos: 1}
	var err error
	if in.address, err = form.Parse(c.URL); err != nil {
		return nil, err
	}
	if strings.HasPrefix(in.address.Scheme, "ws") && in.address.Path == "" {
		in.address.Path = "/mqtt"
	}
	switch c.Version {
	case "", "5":
	case "3.1.1":
		in.v311 = true
	default:
		return nil, fmt.Errorf("version: %q is neither 5 nor 3.1.1", c.Version)
	}
	if c.QoS != nil {
		if *c.QoS < 0 || *c.QoS > 2 {
			return nil, fmt.Errorf("qos: must be 0, 1 or 2, not %d", *c.QoS)
		}
		in.qos = byte(*c.QoS)
	}
	if len(c.Topics) == 0 {
		return nil, errors.New("topics: give at least one, such as plant/#")
	}
	for _, filter := range c.Topics {
		if err := checkFilter(filter); err != nil {
			return nil, fmt.Errorf("topics: %w", err)
		}
	}
	in.filters = reduce(c.Topics)
	if in.password != "" && in.user == "" && in.v311 {
		return nil, errors.New("user: MQTT 3.1.1 has no password without a user")
	}
	if err := c.Rules.Check(); err != nil {
		return nil, err
	}
	if in.tls, err = tlsConfig(c, in.address, secret); err != nil {
		return nil, err
	}
	in.version = endpoint.Version(c, secret, c.Secrets())
	in.peer = endpoint.Peer{Kind: "a broker for MQTT " + in.protocol(), Host: in.address.Host, Patience: patience, ServerName: true,
		ClientCert: in.tls != nil && len(in.tls.Certificates) > 0}
	return in, nil
}

// Name implements recorder.Input.
func (in *Input) Name() string { return in.name }

// Version implements recorder.Input.
func (in *Input) Version() string { return in.version }

// tlsConfig returns nil if the URL's scheme has no TLS.
func tlsConfig(c Config, u *url.URL, secret func(string) string) (*tls.Config, error) {
	trust := endpoint.Trust{ServerName: c.ServerName, SkipVerify: c.SkipVerify, Secret: secret}
	switch u.Scheme {
	case "ssl", "mqtts", "wss":
	default:
		if trust.IsSet() {
			return nil, endpoint.Unencrypted(u.Scheme, "ssl:// or wss://")
		}
		return nil, nil
	}
	if trust.ServerName == "" {
		trust.ServerName = u.Hostname()
	}
	return trust.Config()
}

func (in *Input) protocol() string {
	if in.v311 {
		return "3.1.1"
	}
	return "5"
}
