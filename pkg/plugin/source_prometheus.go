package plugin

import (
	"context"
	"fmt"
	"net/http"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/promql"
)

var prometheusType = sourceType{
	complete: func(s *settings) { s.Prometheus.complete() },
	check:    func(s settings) error { return s.Prometheus.check() },
	open:     openPrometheus,
	// Address, headers and credentials decide which rows there are; saved stands for
	// them.
	revision: func(s settings) string { return s.saved },
}

// prometheusSettings are the settings of a Prometheus-compatible server. Its URL,
// credentials, TLS and headers are where Grafana keeps those of every data source.
// Times are in milliseconds.
type prometheusSettings struct {
	// HTTPMethod is POST, or GET if a proxy forbids POST.
	HTTPMethod string `json:"httpMethod"`
	// Delay is how long rows wait for their samples. The default follows from
	// Interval.
	Delay int64 `json:"delay"`
	// QueryTimeout is the longest time for one query, by default Grafana's timeout.
	QueryTimeout int64 `json:"queryTimeout"`
	// Interval is the scrape interval.
	Interval int64 `json:"interval"`
	// Lookback is how long a series keeps its last value.
	Lookback int64 `json:"lookback"`
}

func (p *prometheusSettings) complete() {
	setDefault(&p.HTTPMethod, http.MethodPost)
	setDefault(&p.Interval, 15_000)
	setDefault(&p.Delay, promql.DelayOf(ms(p.Interval)).Milliseconds())
	setDefault(&p.Lookback, max(5*60*1000, p.Interval))
}

func (p prometheusSettings) check() error {
	return inRange(
		bounds{"scrape interval", p.Interval, 100, day, "ms"},
		bounds{"delay", p.Delay, 1, 2 * day, "ms"}, // more than the scrape interval
		bounds{"query timeout", p.QueryTimeout, 0, hour, "ms"},
		bounds{"lookback", p.Lookback, p.Interval, 30 * day, "ms"},
	)
}

// openPrometheus returns the source of a Prometheus-compatible server. Its client
// has only the credentials of the data source, never those of a viewer.
func openPrometheus(ctx context.Context, in *instance, s backend.DataSourceInstanceSettings) (source.Source, *recorder.Config, error) {
	p := in.settings.Prometheus
	options, err := httpOptions(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	timeout := ms(p.QueryTimeout)
	setDefault(&timeout, options.Timeouts.Timeout)
	options.Timeouts.Timeout = max(options.Timeouts.Timeout, timeout)
	in.patience = options.Timeouts.Timeout
	client, err := httpclient.New(options)
	if err != nil {
		return nil, nil, fmt.Errorf("the HTTP settings of the data source cannot be used: %w", err)
	}
	secrets, private := secretsOf(options, s)
	engine, err := promql.NewRemote(promql.RemoteConfig{
		URL: s.URL, Client: client, Method: p.HTTPMethod, Delay: ms(p.Delay), Timeout: timeout, Secrets: secrets, Private: private})
	if err != nil {
		return nil, nil, err
	}
	return promql.Source{Engine: engine, Browser: engine, Interval: ms(p.Interval), Lookback: ms(p.Lookback)}, nil, nil
}
