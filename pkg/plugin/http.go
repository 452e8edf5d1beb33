package plugin

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

// httpOptions returns how requests to a source's server are made: with the TLS,
// basic authentication, headers, timeout and secure socks proxy from Grafana's
// settings of the data source, and never with the credentials of a viewer.
func httpOptions(ctx context.Context, s backend.DataSourceInstanceSettings) (httpclient.Options, error) {
	o, err := s.HTTPClientOptions(ctx)
	if err != nil {
		return o, fmt.Errorf("the HTTP settings of the data source cannot be read: %w", err)
	}
	o.ForwardHTTPHeaders = false
	o.ConfigureTransport = func(_ httpclient.Options, t *http.Transport) { t.MaxResponseHeaderBytes = limits.Header.Most }
	if o.Timeouts.Timeout <= 0 { // no timeout at all
		o.Timeouts.Timeout = httpclient.DefaultTimeoutOptions.Timeout
	}
	return o, nil
}

// credentialHeader matches the names of headers that have passwords. Other headers
// name a tenant or the like.
var credentialHeader = regexp.MustCompile(`(?i)auth|key|token|secret|cookie|password`)

// secretsOf returns the credentials of a data source, and the values of its other
// headers, such as the name of a tenant, as private. A server may repeat both in its
// errors; private values may also be in labels.
func secretsOf(o httpclient.Options, s backend.DataSourceInstanceSettings) (secrets, private []string) {
	for name, value := range s.DecryptedSecureJSONData {
		if !strings.HasPrefix(name, "httpHeaderValue") {
			secrets = append(secrets, value)
		}
	}
	if b := o.BasicAuth; b != nil {
		secrets = append(secrets, b.User+":"+b.Password) // as the header has it, in base64
	}
	for name, values := range o.Header {
		for _, v := range values {
			if !credentialHeader.MatchString(name) {
				private = append(private, v)
				continue
			}
			_, credentials, _ := strings.Cut(v, " ") // Bearer …
			secrets = append(secrets, v, credentials)
		}
	}
	return secrets, private
}

// savedAt returns a text that stands for all settings of a server in the revision:
// address, headers and credentials decide which rows there are, and viewers must not
// see them.
func savedAt(s backend.DataSourceInstanceSettings) string {
	return strconv.FormatInt(s.Updated.UnixMilli(), 36)
}
