package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/metricsapi"
)

var metricsAPIType = sourceType{
	complete: func(s *settings) { setDefault(&s.MetricsAPI.KeyHeader, "Authorization") },
	check:    func(s settings) error { return inRange(bounds{"delay", s.MetricsAPI.Delay, 0, day, "ms"}) },
	open:     openMetricsAPI,
	// Address, headers and credentials decide which rows there are; saved stands for
	// them.
	revision: func(s settings) string { return s.saved },
}

// metricsAPISettings are the settings of a metrics API. Timeout, TLS, basic auth and
// custom headers are where Grafana keeps those of every data source.
type metricsAPISettings struct {
	Endpoint string `json:"endpoint"`
	// KeyHeader is the header for the API key, by default Authorization. In
	// Authorization the key is a bearer token; in any other header it is sent as it
	// is.
	KeyHeader string `json:"keyHeader"`
	// Delay is how long after its time a point may still come, in milliseconds.
	Delay int64 `json:"delay"`
}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// openMetricsAPI returns the source of a metrics API. Its client has only the
// credentials of the data source, never those of a viewer.
func openMetricsAPI(ctx context.Context, in *instance, s backend.DataSourceInstanceSettings) (source.Source, *recorder.Config, error) {
	c := in.settings.MetricsAPI
	opts, err := httpOptions(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	if key := strings.TrimSpace(s.DecryptedSecureJSONData["apiKey"]); key != "" {
		header := http.CanonicalHeaderKey(strings.TrimSpace(c.KeyHeader))
		switch {
		case !headerName.MatchString(header):
			return nil, nil, fmt.Errorf("the header of the API key, %q, is not the name of a header: enter one such as X-API-Key in the data source settings", header)
		case header != "Authorization":
			opts.Header.Set(header, key)
		case opts.BasicAuth != nil:
			return nil, nil, errors.New("an API key in the header Authorization leaves no room for basic auth: " +
				"choose one of them, or another header for the key, in the data source settings")
		default:
			opts.Header.Set(header, "Bearer "+key)
		}
	}
	client, err := httpclient.New(opts)
	if err != nil {
		return nil, nil, fmt.Errorf("the HTTP settings of the data source cannot be used: %w", err)
	}
	in.patience = opts.Timeouts.Timeout
	secrets, private := secretsOf(opts, s)
	api, err := metricsapi.New(metricsapi.Config{
		Endpoint: c.Endpoint, Client: client, Timeout: in.patience, Delay: ms(c.Delay), Secrets: secrets, Private: private})
	if err != nil {
		return nil, nil, err
	}
	return api, nil, nil
}

// names answers with the names of a metrics API's metrics.
func (in *instance) names(w http.ResponseWriter, r *http.Request) {
	api, ok := in.source.(*metricsapi.Source)
	switch {
	case in.broken != nil:
		respond(w, nil, invalid{in.broken})
	case !ok:
		respond(w, nil, invalid{fmt.Errorf("the source %q has no list of names", in.settings.Source)})
	default:
		names, err := api.Names(r.Context())
		respond(w, names, err)
	}
}
