// Package plugin is Continuum's side of Grafana's plugin protocol, one file per
// handler. It is imported by main alone.
package plugin

import (
	"context"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"

	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
	"github.com/continuum-live/continuum-datasource/pkg/tail"
)

// ID is the plugin's id, as in plugin.json.
const ID = "continuum-live-datasource"

// instance is one data source under one version of its settings. Grafana makes
// it at the first request, and anew when settings change; the old one and the
// new one overlap for a while. It holds nothing that needs closing: its tails
// end with the streams that follow them.
type instance struct {
	settings settings
	// broken is why the settings cannot be used. It is kept, not returned to
	// Grafana, so that every handler can say it in its own way.
	broken  error
	source  source.Source
	tails   tail.Pool
	streams *streams
}

var (
	_ backend.QueryDataHandler   = (*instance)(nil)
	_ backend.CheckHealthHandler = (*instance)(nil)
	_ backend.StreamHandler      = (*instance)(nil)
)

// NewFactory returns the factory of the data source's instances. They share the
// list of open streams, which belongs to the process.
func NewFactory() datasource.InstanceFactoryFunc {
	streams := newStreams()
	return func(ctx context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
		in := &instance{source: signal.Source{}, streams: streams}
		in.settings, in.broken = parseSettings(s.JSONData)
		org := backend.PluginConfigFromContext(ctx).OrgID
		streams.adopt(owner{org, s.UID}, in.settings.revision())
		return in, nil
	}
}
