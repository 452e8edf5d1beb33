// Package mqtt is the recorder's input from an MQTT broker, of version 5 or
// 3.1.1.
//
// It keeps a session with the broker, under a client ID that stays the same, so
// that the broker keeps what arrives while the plugin is down (for QoS 1 and 2).
// A message is acknowledged once its samples are committed: after a crash the
// broker sends again what was not. What is sent again although it was recorded,
// because a connection was lost before the broker heard of it, is recognised as
// long as the process lives. After that it is known by its time stamp, if the
// payload has one, else it is recorded a second time.
//
// The package never blocks the store, and never its own keep-alive: of what comes
// with QoS 0 faster than it can be stored, the newest is dropped and counted.
// What comes with QoS 1 and 2 the broker keeps.
package mqtt

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

// Config is the settings of the input.
type Config struct {
	Name string `json:"name"`
	// URL has one of the schemes tcp or mqtt, ssl or mqtts, ws, wss.
	URL string `json:"url"`
	// Version is "5" (or empty) or "3.1.1".
	Version string `json:"version,omitempty"`
	User    string `json:"user,omitempty"`
	// ClientID is the input's own if empty. No two clients of a broker may have
	// the same.
	ClientID string   `json:"clientId,omitempty"`
	Topics   []string `json:"topics"`
	// QoS is 1 if it is not set.
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
	rules    message.Rules
}

var ports = map[string]string{"tcp": "1883", "mqtt": "1883", "ssl": "8883", "mqtts": "8883", "ws": "80", "wss": "443"}

// New checks the settings. secret returns the secrets of the input: password,
// caCert, clientCert and clientKey, in PEM, empty if not set.
func New(c Config, secret func(key string) string) (recorder.Input, error) {
	in := &Input{name: c.Name, user: c.User, clientID: c.ClientID, password: secret("password"), rules: c.Rules, qos: 1}
	var err error
	if in.address, err = parseURL(c.URL); err != nil {
		return nil, fmt.Errorf("url: %w", err)
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
	digest := sha256.New()
	if err := json.NewEncoder(digest).Encode([]any{c, secret("password"), secret("caCert"), secret("clientCert"), secret("clientKey")}); err != nil {
		return nil, err
	}
	in.version = hex.EncodeToString(digest.Sum(nil))
	return in, nil
}

// Name implements recorder.Input.
func (in *Input) Name() string { return in.name }

// Version implements recorder.Input.
func (in *Input) Version() string { return in.version }

// parseURL reads the URL and makes its host one with a port. Its errors do not
// repeat the URL, which may have secrets.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	switch {
	case s == "":
		return nil, errors.New("is missing: write it as in tcp://broker.example:1883")
	case err != nil:
		return nil, errors.New("is no URL: write it as in tcp://broker.example:1883")
	case ports[u.Scheme] == "":
		return nil, errors.New("must begin with tcp:// or mqtt://, ssl:// or mqtts://, ws:// or wss://")
	case u.User != nil:
		return nil, errors.New("must not have a user and password: they have the fields user and password, where they are kept secret")
	case u.Hostname() == "":
		return nil, errors.New("has no host: write it as in tcp://broker.example:1883")
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), ports[u.Scheme])
	}
	if strings.HasPrefix(u.Scheme, "ws") && u.Path == "" {
		u.Path = "/mqtt"
	}
	return u, nil
}

// tlsConfig is nil if the URL is not for TLS.
func tlsConfig(c Config, u *url.URL, secret func(string) string) (*tls.Config, error) {
	ca, cert, key := secret("caCert"), secret("clientCert"), secret("clientKey")
	switch u.Scheme {
	case "ssl", "mqtts", "wss":
	default:
		if ca != "" || cert != "" || key != "" || c.ServerName != "" || c.SkipVerify {
			return nil, fmt.Errorf("url: %s:// does not encrypt, so it has no use for certificates: begin with ssl:// or wss://", u.Scheme)
		}
		return nil, nil
	}
	t := &tls.Config{ServerName: c.ServerName, InsecureSkipVerify: c.SkipVerify, MinVersion: tls.VersionTLS12} //nolint:gosec // the user asks for it
	if t.ServerName == "" {
		t.ServerName = u.Hostname()
	}
	if ca != "" {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("caCert: has no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")
		}
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("clientCert and clientKey: one needs the other")
	}
	if cert != "" {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			return nil, fmt.Errorf("clientCert and clientKey: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
