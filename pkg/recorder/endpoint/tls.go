package endpoint

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	caCert     = "caCert"
	clientCert = "clientCert"
	clientKey  = "clientKey"
)

// Secrets returns the names of the TLS secrets, all in PEM, after those of others.
func Secrets(others ...string) []string { return append(others, caCert, clientCert, clientKey) }

// Trust has the TLS settings of an input.
type Trust struct {
	// ServerName is the name in the certificate, if it is not the host of the URL.
	ServerName string
	// SkipVerify trusts any certificate.
	SkipVerify bool
	// Secret returns secrets by name, empty if not set: caCert, clientCert and
	// clientKey.
	Secret func(key string) string
}

// IsSet reports whether a setting is made that is of use only with TLS.
func (t Trust) IsSet() bool {
	return t.ServerName != "" || t.SkipVerify || t.Secret(caCert) != "" || t.Secret(clientCert) != "" || t.Secret(clientKey) != ""
}

// Config returns the TLS configuration. Its errors name the setting.
func (t Trust) Config() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.SkipVerify, MinVersion: tls.VersionTLS12} //nolint:gosec // the user asks for it
	if ca := t.Secret(caCert); ca != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("caCert: has no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")
		}
	}
	cert, key := t.Secret(clientCert), t.Secret(clientKey)
	if (cert == "") != (key == "") {
		return nil, errors.New("clientCert and clientKey: one needs the other")
	}
	if cert != "" {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			return nil, fmt.Errorf("clientCert and clientKey: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Unencrypted returns the error for TLS settings beside a URL whose scheme has no
// TLS. use lists the schemes that have it.
func Unencrypted(scheme, use string) error {
	return fmt.Errorf("url: %s:// does not encrypt, so it has no use for certificates: begin with %s", scheme, use)
}

// Version returns a digest of an input's settings and of the secrets of these names,
// for recorder.Input.Version.
func Version(settings any, secret func(key string) string, keys []string) string {
	all := []any{settings}
	for _, key := range keys {
		all = append(all, secret(key))
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(err) // settings come from JSON
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
