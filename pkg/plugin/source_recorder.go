package plugin

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/host"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/promql"
	"github.com/continuum-live/continuum-datasource/pkg/source/signal"
)

var recorderType = sourceType{
	complete: func(s *settings) { s.Recorder.complete() },
	check:    func(s settings) error { return s.Recorder.check() },
	open:     openRecorder,
	revision: func(s settings) string { return fmt.Sprintf("%d/%d", s.Recorder.Lookback, s.Recorder.Interval) },
}

// recorderSettings are the settings of the recorder: how samples are kept, and its
// inputs. Times are in milliseconds.
type recorderSettings struct {
	Retention int64 `json:"retention"`
	// MaxBytes is the most that the store may take of the disk.
	MaxBytes int64 `json:"maxBytes"`
	// OutOfOrder is how far behind the newest sample others are still taken: 0 is none
	// at all, which is not the default.
	OutOfOrder *int64 `json:"outOfOrder"`
	// Interval is the usual time between two samples of a series. No step is
	// smaller.
	Interval int64 `json:"interval"`
	// Lookback is how long a series keeps its last value.
	Lookback int64 `json:"lookback"`
	// MaxAhead is how far ahead of this machine's clock a sample may be.
	MaxAhead int64 `json:"maxAhead"`
	// Below DiskLow free bytes nothing is stored, below DiskCritical the store is
	// closed until there is room again.
	DiskLow      int64 `json:"diskLow"`
	DiskCritical int64 `json:"diskCritical"`
	// MaxWait is how long rows wait for an input that is behind.
	MaxWait int64 `json:"maxWait"`
	// IdleStop is how long recording goes on while nobody asks for samples.
	IdleStop int64 `json:"idleStop"`
	// NoHost turns off the host input, which takes samples every HostInterval.
	NoHost       bool  `json:"noHost"`
	HostInterval int64 `json:"hostInterval"`
	// Rules are recording rules in the form of Prometheus' rule files. What they record
	// is kept for RulesRetention.
	Rules          string `json:"rules,omitempty"`
	RulesRetention int64  `json:"rulesRetention"`
	// Inputs are the settings of the other inputs, each in the form of its package.
	Inputs []json.RawMessage `json:"inputs,omitempty"`
}

// minCritical is the least room, in bytes, below which a store is closed: what the TSDB
// takes at once for a block.
const minCritical = 16 << 20

func (s *recorderSettings) complete() {
	setDefault(&s.Retention, 15*day)
	setDefault(&s.MaxBytes, 10<<30)
	setDefault(&s.OutOfOrder, new(min(7*day, s.Retention))) // as long as brokers keep messages, see mqtt and nats
	setDefault(&s.MaxAhead, recorder.DefaultMaxAhead.Milliseconds())
	setDefault(&s.DiskLow, 1<<30)
	setDefault(&s.DiskCritical, max(s.DiskLow/4, minCritical))
	setDefault(&s.MaxWait, 2000)
	setDefault(&s.IdleStop, max(30*day, s.Retention))
	setDefault(&s.HostInterval, 1000)
	setDefault(&s.RulesRetention, max(730*day, s.Retention))
	setDefault(&s.Interval, s.HostInterval)
	setDefault(&s.Lookback, max(5*60*1000, s.Interval))
}

func (s recorderSettings) check() error {
	err := inRange(
		bounds{"retention", s.Retention, hour, 3650 * day, "ms"},
		bounds{"maximum size of the store", s.MaxBytes, 64 << 20, 1 << 50, "bytes"},
		bounds{"out-of-order window", *s.OutOfOrder, 0, s.Retention, "ms"},
		bounds{"sample interval", s.Interval, signal.MinTick, hour, "ms"},
		bounds{"lookback", s.Lookback, s.Interval, 30 * day, "ms"},
		// If it were larger than OutOfOrder, one sample from the future could make
		// the store refuse all current ones.
		bounds{"time that samples may be ahead", s.MaxAhead, 1, max(*s.OutOfOrder, hour), "ms"},
		bounds{"free space below which nothing is stored", s.DiskLow, 2 * minCritical, 1 << 50, "bytes"},
		// The first floor must be well above the second, so that it is reached
		// first.
		bounds{"free space below which the store is closed", s.DiskCritical, minCritical, s.DiskLow / 2, "bytes"},
		bounds{"wait for late inputs", s.MaxWait, 1, hour, "ms"},
		bounds{"time after which recording stops when unused", s.IdleStop, s.Retention, 3650 * day, "ms"},
		bounds{"interval of the host input", s.HostInterval, 250, hour, "ms"},
		bounds{"retention of what rules record", s.RulesRetention, s.Retention, 3650 * day, "ms"},
	)
	if err != nil {
		return err
	}
	if _, err := s.rules().Parse(s.Rules); err != nil {
		return fmt.Errorf("recording rules: %w", err)
	}
	return nil
}

// rules returns how the recording rules are read.
func (s recorderSettings) rules() promql.Rules {
	return promql.Rules{Interval: ms(s.Interval), Lookback: ms(s.Lookback), Retention: ms(s.Retention), RulesRetention: ms(s.RulesRetention)}
}

// openRecorder returns the source of the recorder, and the settings of its store.
func openRecorder(_ context.Context, in *instance, s backend.DataSourceInstanceSettings) (source.Source, *recorder.Config, error) {
	c := in.settings.Recorder
	config, err := c.config(s.DecryptedSecureJSONData)
	if err != nil {
		return nil, nil, err
	}
	engine := promql.Embedded{
		Store:    func(ctx context.Context) (*recorder.Store, error) { return in.recorder.Store(ctx, in.storeKey()) },
		Interval: ms(c.Interval),
	}
	return promql.Source{Engine: engine, Browser: engine, Interval: ms(c.Interval), Lookback: ms(c.Lookback)}, &config, nil
}

// config returns the settings of the store. It remembers the inputs that neither
// have nor need secrets.
func (s recorderSettings) config(secrets map[string]string) (recorder.Config, error) {
	c := recorder.Config{
		Retention: ms(s.Retention), MaxBytes: s.MaxBytes, OutOfOrder: ms(*s.OutOfOrder), MaxWait: ms(s.MaxWait), Idle: ms(s.IdleStop),
		MaxAhead: ms(s.MaxAhead), DiskLow: s.DiskLow, DiskCritical: s.DiskCritical,
	}
	rules := s.rules()
	var err error
	if c.Rules, err = rules.Parse(s.Rules); err != nil {
		return c, err
	}
	c.RulesRetention, c.Evaluate = rules.RulesRetention, rules.Evaluate
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

// Resume goes on recording after a start of the process, before anybody asks for a
// store. Inputs with secrets start later, as secrets only come with requests.
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
	go func() { _, _ = rec.Store(context.Background(), key) }() // requests for the store report the error
	return nil
}
