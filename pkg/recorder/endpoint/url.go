// Package endpoint has what all inputs that connect to a server share: the URL, TLS,
// reconnecting, the texts that explain failures, and the queue of received data.
//
// Its texts never repeat a secret, and of a URL only the host.
package endpoint

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// Form says which URLs of a server are valid.
type Form struct {
	// Ports has the default port of each scheme.
	Ports map[string]string
	// Schemes lists the schemes for error texts, and Example is a valid URL.
	Schemes, Example string
	// Credentials tells people where user and password belong instead.
	Credentials string
}

// Parse parses a URL, and adds the default port of its scheme if it has none. Its
// errors tell people what to change.
func (f Form) Parse(text string) (*url.URL, error) {
	text = strings.TrimSpace(text)
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, errors.New("url: is missing: write it as in " + f.Example)
	case err != nil:
		return nil, errors.New("url: is no URL: write it as in " + f.Example)
	case f.Ports[u.Scheme] == "":
		return nil, errors.New("url: must begin with " + f.Schemes)
	case u.User != nil:
		return nil, errors.New("url: must not have a user and password: " + f.Credentials)
	case u.Hostname() == "":
		return nil, errors.New("url: has no host: write it as in " + f.Example)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), f.Ports[u.Scheme])
	}
	return u, nil
}

// MayHoldSecret reports whether one of several URLs, separated by commas, has a part
// that may be a secret, such as a token in the query.
func MayHoldSecret(urls string) bool {
	for text := range strings.SplitSeq(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil || u.User != nil || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" || strings.Contains(text, "@") {
			return true
		}
	}
	return false
}
