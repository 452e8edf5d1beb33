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
	// Address, headers and credentials decide what there is to see.
	revision: func(s settings) string { return s.saved },
}

// prometheusSettings say how a Prometheus-compatible server is asked. Its URL,
// credentials, TLS and headers are where Grafana keeps those of every data
// source. Times are in milliseconds.
type prometheusSettings struct {
	// HTTPMethod is POST, or GET where a proxy lets nothing else through.
	HTTPMethod string `json:"httpMethod"`
	// Delay is how long rows wait for their samples, by default as long as
	// Interval suggests.
	Delay int64 `json:"delay"`
	// QueryTimeout bounds one question, by default like any request.
	QueryTimeout int64 `json:"queryTimeout"`
	// Interval is how far apart samples are: the scrape interval.
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

// openPrometheus returns the source of what a Prometheus-compatible server has, which
// is asked with the data source's own credentials.
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
