package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/host"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/promql"
	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
)

// openSource returns the source that the settings name. It connects to nothing: an
// instance that cannot be made would be tried again at every request.
func (in *instance) openSource(ctx context.Context, s backend.DataSourceInstanceSettings) (source.Source, error) {
	if in.settings.Source == sourceRecorder {
		return in.record(s.DecryptedSecureJSONData)
	}
	if !in.outdated {
		if err := in.recorder.Idle(in.store()); err != nil {
			return nil, err
		}
	}
	switch in.settings.Source {
	case sourcePrometheus:
		return in.prometheus(ctx, s)
	case sourceMetricsAPI:
		return in.metricsAPI(ctx, s)
	}
	return signal.Source{}, nil
}

// record starts the recorder under the instance's settings, and returns the
// source of what it has recorded.
func (in *instance) record(secrets map[string]string) (source.Source, error) {
	s := in.settings.Recorder
	config, err := s.config(secrets)
	if err != nil {
		return nil, err
	}
	if !in.outdated {
		if err := in.recorder.Configure(in.store(), config); err != nil {
			return nil, err
		}
	}
	// So that it records from now on. An error shows when the store is asked.
	go func() { _, _ = in.recorder.Store(context.Background(), in.store()) }()
	engine := promql.Embedded{Store: func(ctx context.Context) (*recorder.Store, error) { return in.recorder.Store(ctx, in.store()) }}
	return promql.Source{
		Engine:   engine,
		Browser:  engine,
		Interval: ms(s.Interval),
		Lookback: ms(s.Lookback),
	}, nil
}

func (in *instance) store() recorder.Key { return recorder.Key{Org: in.owner.org, UID: in.owner.uid} }

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// config returns how a store is to be kept, and remembers the settings that have
// no secrets and need none.
func (s recorderSettings) config(secrets map[string]string) (recorder.Config, error) {
	c := recorder.Config{
		Retention: ms(s.Retention), MaxBytes: s.MaxBytes, OutOfOrder: ms(s.OutOfOrder), MaxWait: ms(s.MaxWait), Idle: ms(s.IdleStop),
	}
	if !s.NoHost {
		c.Inputs = append(c.Inputs, host.Input{Interval: ms(s.HostInterval)})
	}
	configured, keep, err := inputs(s.Inputs, secrets)
	if err != nil {
		return c, err
	}
	c.Inputs = append(c.Inputs, configured...)
	s.Inputs = keep
	c.Remember, err = json.Marshal(map[string]any{"source": sourceRecorder, "recorder": s})
	return c, err
}

// Resume starts to record, before anybody asks, what was recorded when the
// process ended, as far as it needs no secrets: those only come with requests.
func Resume(rec *recorder.Recorder) {
	for key, raw := range rec.Remembered() {
		if err := resume(rec, key, raw); err != nil {
			backend.Logger.Warn("Recording begins with the first request", "org", key.Org, "uid", key.UID, "error", err)
		}
	}
}

func resume(rec *recorder.Recorder, key recorder.Key, raw json.RawMessage) error {
	s, err := parseSettings(raw)
	if err != nil {
		return fmt.Errorf("remembered settings: %w", err)
	}
	config, err := s.Recorder.config(nil)
	if err != nil {
		return err
	}
	if err := rec.Configure(key, config); err != nil {
		return err
	}
	go func() { _, _ = rec.Store(context.Background(), key) }() // an error shows when the store is asked
	return nil
}
