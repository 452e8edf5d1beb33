// Package plugin is Continuum's side of Grafana's plugin protocol, one file per
// handler. It is imported by main alone.
package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/host"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/promql"
	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
	"github.com/continuum-live/continuum-datasource/pkg/tail"
)

// ID is the plugin's id, as in plugin.json.
const ID = "continuum-live-datasource"

// instance is one data source under one version of its settings. Grafana makes
// it at the first request, and anew when settings change; the old one and the
// new one overlap for a while. It holds nothing that needs closing: its tails
// end with the streams that follow them, and stores belong to the process.
type instance struct {
	settings settings
	owner    owner
	recorder *recorder.Recorder
	// broken is why the settings cannot be used. It is kept, not returned to
	// Grafana, so that every handler can say it in its own way.
	broken  error
	source  source.Source
	tails   tail.Pool
	streams *streams
}

var (
	_ backend.QueryDataHandler    = (*instance)(nil)
	_ backend.CheckHealthHandler  = (*instance)(nil)
	_ backend.StreamHandler       = (*instance)(nil)
	_ backend.CallResourceHandler = (*instance)(nil)
)

// NewFactory returns the factory of the data source's instances. They share the
// list of open streams and the recorder, which belong to the process.
func NewFactory(rec *recorder.Recorder) datasource.InstanceFactoryFunc {
	streams := newStreams()
	return func(ctx context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
		in := &instance{owner: owner{backend.PluginConfigFromContext(ctx).OrgID, s.UID}, recorder: rec, streams: streams}
		in.settings, in.broken = parseSettings(s.JSONData)
		in.source = signal.Source{}
		switch {
		case in.broken != nil: // the recorder goes on as it was
		case in.settings.Source == sourceRecorder:
			in.source = in.record()
		default:
			in.broken = rec.Idle(in.store())
		}
		streams.adopt(in.owner, in.settings.revision())
		return in, nil //nolint:nilerr // what is broken is the handlers' to say
	}
}

// record starts the recorder under the instance's settings, and returns the
// source of what it has recorded.
func (in *instance) record() source.Source {
	s := in.settings.Recorder
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	config := recorder.Config{Retention: ms(s.Retention), MaxBytes: s.MaxBytes, OutOfOrder: ms(s.OutOfOrder), MaxWait: ms(s.MaxWait), Idle: ms(s.IdleStop)}
	if !s.NoHost {
		config.Inputs = append(config.Inputs, host.Input{Interval: ms(s.HostInterval)})
	}
	if in.broken = in.recorder.Configure(in.store(), config); in.broken == nil {
		// So that it records from now on. An error shows when the store is asked.
		go func() { _, _ = in.recorder.Store(context.Background(), in.store()) }()
	}
	return promql.Source{
		Engine:   promql.Embedded{Store: func(ctx context.Context) (*recorder.Store, error) { return in.recorder.Store(ctx, in.store()) }},
		Interval: ms(s.HostInterval),
		Lookback: ms(s.Lookback),
	}
}

func (in *instance) store() recorder.Key { return recorder.Key{Org: in.owner.org, UID: in.owner.uid} }

// NewRecorder returns the recorder of this process. Where its stores live is for
// whoever runs Grafana to say, as recorder_dir in the plugin's section of
// Grafana's configuration, and not for data source settings: an organisation's
// admin must not choose where the server writes.
func NewRecorder() (*recorder.Recorder, error) {
	dir := os.Getenv("GF_PLUGIN_RECORDER_DIR")
	if dir == "" {
		binary, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find a directory for the recorder: %w", err)
		}
		// <plugins>/<plugin>/<binary>; an update replaces the plugin's own folder.
		dir = filepath.Join(filepath.Dir(binary), "..", "..", "continuum-recorder")
	}
	return recorder.New(dir, slog.New(logHandler{log: log.DefaultLogger})), nil
}

// logHandler hands what the TSDB logs on to Grafana's log.
type logHandler struct {
	log  log.Logger
	args []any
}

func (h logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	args := slices.Clone(h.args)
	r.Attrs(func(a slog.Attr) bool {
		args = append(args, a.Key, a.Value.Any())
		return true
	})
	if r.Level >= slog.LevelError {
		h.log.Error(r.Message, args...)
	} else {
		h.log.Warn(r.Message, args...)
	}
	return nil
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.args = slices.Clone(h.args)
	for _, a := range attrs {
		h.args = append(h.args, a.Key, a.Value.Any())
	}
	return h
}

func (h logHandler) WithGroup(string) slog.Handler { return h }
