// Package plugin implements Grafana's plugin protocol, one file per handler. Only
// main imports it.
package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/tail"
)

// ID is the plugin's id, as in plugin.json.
const ID = "continuum-live-datasource"

// instance is one data source under one version of its settings. Grafana makes it at
// the first request, and a new one when the settings change; the old one and the new
// one overlap for a while. It needs no closing: its tails end with the streams that
// follow them, and stores belong to the process.
type instance struct {
	settings settings
	owner    owner
	recorder *recorder.Recorder
	outdated bool // there are newer settings
	// broken is why the settings cannot be used. It is not returned to Grafana when
	// the instance is made, so that each handler can report it in its own way.
	broken error
	source source.Source
	// patience limits one answer and one read of a tail. It is the timeout of the
	// source's server in the settings. src/datasource.ts waits a little longer.
	patience time.Duration
	tails    tail.Pool
	streams  *streams
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
	var owners sync.Map // of *adopted
	return func(ctx context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
		in := &instance{owner: owner{backend.PluginConfigFromContext(ctx).OrgID, s.UID}, recorder: rec, streams: streams}
		in.patience = httpclient.DefaultTimeoutOptions.Timeout
		found, _ := owners.LoadOrStore(in.owner, &adopted{})
		a := found.(*adopted) //nolint:forcetypeassert // nothing else is stored
		a.mu.Lock()
		defer a.mu.Unlock()
		in.outdated = !a.adopt(s.Updated, time.Now())
		in.settings, in.broken = parseSettings(s.JSONData)
		in.settings.saved = savedAt(s)
		var recorded *recorder.Config
		if in.broken == nil {
			in.source, recorded, in.broken = sourceTypes[in.settings.Source].open(ctx, in, s)
		}
		in.tails.ReadTime = in.patience
		if in.broken == nil && !in.outdated {
			in.broken = in.record(recorded)
		} // otherwise the recorder keeps its settings
		if !in.outdated {
			streams.adopt(in.owner, in.settings.revision())
		}
		return in, nil // the handlers report in.broken
	}
}

// adopted is when the settings of a data source were saved that the process goes by.
// The lock is held while others take their place, which may have to wait for inputs to
// stop: other data sources must not wait for that.
type adopted struct {
	mu    sync.Mutex
	saved time.Time
}

// adopt has settings take the place of those that were saved before, and reports
// whether they do. A request that began before a change of settings comes with those of
// before. They must not become those of the recorder and of streams again. But where
// those of now are of the future, the clock was set back since: then what comes last
// is the newest.
func (a *adopted) adopt(saved, now time.Time) bool {
	if saved.Before(a.saved) && !a.saved.After(now) {
		return false
	}
	a.saved = saved
	return true
}

// NewRecorder returns the recorder of this process. Its directory is recorder_dir in
// the plugin's section of Grafana's configuration, or continuum-recorder beside the
// plugins. It is no data source setting, because an organisation's admin must not
// choose where the server writes.
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

// logHandler passes warnings and errors of the recorder and the TSDB to Grafana's
// log.
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
