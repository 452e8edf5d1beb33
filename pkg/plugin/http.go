package plugin

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"
)

// httpOptions returns how a source's server is asked: with the TLS, basic
// authentication, headers, timeout and secure socks proxy that Grafana keeps for
// every data source, and never with the credentials of a viewer.
func httpOptions(ctx context.Context, s backend.DataSourceInstanceSettings) (httpclient.Options, error) {
	o, err := s.HTTPClientOptions(ctx)
	if err != nil {
		return o, fmt.Errorf("the HTTP settings of the data source cannot be read: %w", err)
	}
	o.ForwardHTTPHeaders = false
	if o.Timeouts.Timeout <= 0 { // which would be none
		o.Timeouts.Timeout = httpclient.DefaultTimeoutOptions.Timeout
	}
	return o, nil
}

// credentialHeader tells headers that are passwords from those that name a tenant
// or the like.
var credentialHeader = regexp.MustCompile(`(?i)auth|key|token|secret|cookie|password`)

// secretsOf returns the credentials of a data source, and the values of headers
// that are none, such as a tenant's name. A server may repeat either in its errors;
// the latter may well be in labels too.
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

// savedAt stands for all settings of a server in the revision: address, headers
// and credentials decide what there is to see, and viewers must not see them.
func savedAt(s backend.DataSourceInstanceSettings) string {
	return strconv.FormatInt(s.Updated.UnixMilli(), 36)
}
