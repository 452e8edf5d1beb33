package plugin

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
)

// sourceType has the plugin's code for one kind of source. Each kind has a file of
// its own, with its settings.
type sourceType struct {
	// complete sets the defaults for settings that are absent, null or zero.
	complete func(*settings)
	// check returns an error that names the field and says what to do.
	check func(settings) error
	// open returns the source and, if its samples are recorded, the settings of the
	// store. It must not connect or change anything: a failed instance is made again
	// at every request, and the settings may be outdated.
	open func(context.Context, *instance, backend.DataSourceInstanceSettings) (source.Source, *recorder.Config, error)
	// revision returns the settings that decide which rows a query has.
	revision func(settings) string
}

var sourceTypes = map[string]sourceType{
	sourceRecorder:   recorderType,
	sourcePrometheus: prometheusType,
	sourceMetricsAPI: metricsAPIType,
	sourceSignal: {
		complete: func(*settings) {},
		check:    func(settings) error { return nil },
		open: func(context.Context, *instance, backend.DataSourceInstanceSettings) (source.Source, *recorder.Config, error) {
			return signal.Source{}, nil, nil
		},
		revision: func(settings) string { return "" },
	},
}

func sourceNames() []string { return slices.Sorted(maps.Keys(sourceTypes)) }

// record applies the settings of the store to the recorder. Without a config it
// stops recording for this data source.
func (in *instance) record(config *recorder.Config) error {
	if config == nil {
		return in.recorder.Idle(in.storeKey())
	}
	if err := in.recorder.Configure(in.storeKey(), *config); err != nil {
		return err
	}
	// Open the store now, so that recording starts. Requests for the store report an
	// error.
	go func() { _, _ = in.recorder.Store(context.Background(), in.storeKey()) }()
	return nil
}

func (in *instance) storeKey() recorder.Key {
	return recorder.Key{Org: in.owner.org, UID: in.owner.uid}
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
