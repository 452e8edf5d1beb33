// Package endpoint has what all inputs share that connect to a server: the URL,
// TLS, connecting again, what is said when that fails, and the queue of what was
// received.
//
// Nothing that it says to people repeats a secret, or more of a URL than the host.
package endpoint

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// Form is what the URL of a server must be like.
type Form struct {
	// Ports has the default port of each scheme.
	Ports map[string]string
	// Schemes lists the schemes for people, and Example is a URL.
	Schemes, Example string
	// Credentials says where user and password belong.
	Credentials string
}

// Parse reads a URL, and gives it the port of its scheme if it has none.
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

// MayHoldSecret reports whether any of several URLs, with commas between them,
// has a part that may be a secret, such as a token in the query.
func MayHoldSecret(urls string) bool {
	for text := range strings.SplitSeq(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil || u.User != nil || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" || strings.Contains(text, "@") {
			return true
		}
	}
	return false
}
