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

// sourceType is what the plugin does for one kind of source. Each kind has a file
// of its own, with its settings.
type sourceType struct {
	// complete sets the defaults for settings that are absent, null or zero.
	complete func(*settings)
	// check returns an error that names the field and says what to do.
	check func(settings) error
	// open returns the source, and how its samples are recorded if they are. It
	// connects to nothing and changes nothing: an instance that cannot be made
	// would be tried again at every request, and it may be one of older settings.
	open func(context.Context, *instance, backend.DataSourceInstanceSettings) (source.Source, *recorder.Config, error)
	// revision names the settings that decide which rows a query has.
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

// record makes how samples are recorded that of the process. Without a
// configuration nothing more is recorded for this data source.
func (in *instance) record(config *recorder.Config) error {
	if config == nil {
		return in.recorder.Idle(in.storeKey())
	}
	if err := in.recorder.Configure(in.storeKey(), *config); err != nil {
		return err
	}
	// So that it records from now on. An error shows when the store is asked.
	go func() { _, _ = in.recorder.Store(context.Background(), in.storeKey()) }()
	return nil
}

func (in *instance) storeKey() recorder.Key {
	return recorder.Key{Org: in.owner.org, UID: in.owner.uid}
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
