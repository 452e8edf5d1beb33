// Package push is the recorder's input for samples that others send: Influx line
// protocol, as Telegraf writes it, and Prometheus remote write 1.0 and 2.0.
//
// It opens no port. [Handler] answers requests that came through Grafana, which
// has checked who sends them. Its caller must check that they may write.
//
// A request is answered with success only after all of it was stored, or had been
// before. If a request has faults, its good part is stored, and the answer is 400:
// it lists the faults and keeps the sender from trying again. If trying again can
// help, the answer is 429 or 503.
//
// A request is read piece by piece, and its samples are committed as they come, so
// that a small request cannot become large in memory.
package push

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// The formats.
const (
	Influx     = "influx"
	Prometheus = "prometheus"
)

// Config has the settings of the input.
type Config struct {
	Name string `json:"name"`
	// Formats are the accepted formats, all if empty.
	Formats []string `json:"formats,omitempty"`
	// MaxBytes is the largest request in bytes, also after decompression, 0 for 8
	// MiB.
	MaxBytes int64 `json:"maxBytes,omitempty"`
	// MaxSeries is how many series may be written to within an hour, 0 for
	// 100,000.
	MaxSeries int `json:"maxSeries,omitempty"`
	// SamplesPerSecond is how many samples per second are accepted on average, 0 for
	// 100,000.
	SamplesPerSecond int `json:"samplesPerSecond,omitempty"`
	// States are the fields of line protocol whose strings are recorded as states,
	// mode or pump_mode for mode of the measurement pump; * for all.
	States []string `json:"states,omitempty"`
}

const (
	defaultMaxBytes         = 8 << 20
	defaultMaxSeries        = 100_000
	defaultSamplesPerSecond = 100_000
	maxStates               = 100

	// limitOfMaxBytes is about the largest request that Grafana sends to a plugin.
	limitOfMaxBytes         = 64 << 20
	limitOfMaxSeries        = 1_000_000
	limitOfSamplesPerSecond = 10_000_000
)

// Input is the push input.
type Input struct {
	config  Config
	version string
}

// Secrets returns none, because Grafana checks who may write.
func (Config) Secrets() []string { return nil }

// Sensitive returns false: the settings hold no secret.
func (Config) Sensitive() bool { return false }

// New returns the input, or an error that names the setting that is wrong.
func New(c Config, _ func(key string) string) (recorder.Input, error) {
	version := endpoint.Version(c, nil, nil)
	for _, f := range c.Formats {
		if f != Influx && f != Prometheus {
			return nil, fmt.Errorf("formats: %q is neither %s nor %s", f, Influx, Prometheus)
		}
	}
	if slices.Contains(c.States, "") || len(c.States) > maxStates {
		return nil, fmt.Errorf("states: write at most %d names of fields, or * for all", maxStates)
	}
	if len(c.Formats) == 0 {
		c.Formats = []string{Influx, Prometheus}
	}
	err := errors.Join(
		limit("maxBytes", &c.MaxBytes, defaultMaxBytes, limitOfMaxBytes),
		limit("maxSeries", &c.MaxSeries, defaultMaxSeries, limitOfMaxSeries),
		limit("samplesPerSecond", &c.SamplesPerSecond, defaultSamplesPerSecond, limitOfSamplesPerSecond))
	if err != nil {
		return nil, err
	}
	return &Input{c, version}, nil
}

func limit[T int | int64](name string, n *T, standard, most T) error {
	if *n < 0 || *n > most {
		return fmt.Errorf("%s: must be from 1 to %d, or 0 for %d", name, most, standard)
	}
	if *n == 0 {
		*n = standard
	}
	return nil
}

// Name implements recorder.Input.
func (in *Input) Name() string { return in.config.Name }

// Version implements recorder.Input.
func (in *Input) Version() string { return in.version }

// running has the *run of each sink whose push input runs. It is global, because the
// handler of a request only has the sink.
var running sync.Map

// grace is how long Run waits at its end for a request that is being answered.
const grace = 500 * time.Millisecond

// Run implements recorder.Input.
func (in *Input) Run(ctx context.Context, sink *recorder.Sink) {
	r := newRun(in.config, sink)
	running.Store(sink, r)
	sink.Trouble("")
	<-ctx.Done()
	running.Delete(sink)
	select {
	case r.turn <- struct{}{}: // keeps the turn, so that no request follows
	case <-time.After(grace):
	}
}

// run is a running input. All fields but sink and config belong to whoever has the
// turn. Requests are read and stored one after another, so that they take bounded
// memory.
type run struct {
	config Config
	sink   *recorder.Sink
	turn   chan struct{}

	limiter *rate.Limiter
	table   *series.Table
	newest  series.Watermark
	// described are the descriptions that the sink was given.
	described map[string]recorder.Metadata
}

func newRun(c Config, sink *recorder.Sink) *run {
	return &run{
		config: c, sink: sink, turn: make(chan struct{}, 1),
		limiter:   rate.NewLimiter(rate.Limit(c.SamplesPerSecond), c.SamplesPerSecond),
		table:     series.NewTable(c.MaxSeries),
		described: make(map[string]recorder.Metadata),
	}
}

func (r *run) takes(format string) bool { return slices.Contains(r.config.Formats, format) }

// allow returns 0 if a request may come now, or how long to wait because there were
// too many samples. It admits a request of any size; a large one makes the next ones
// wait.
func (r *run) allow(now time.Time) time.Duration {
	if r.limiter.AllowN(now, 1) {
		return 0
	}
	return time.Duration((1 - r.limiter.TokensAt(now)) / float64(r.limiter.Limit()) * float64(time.Second))
}

// take notes that an allowed request had n samples; allow has counted the first.
func (r *run) take(now time.Time, n int) {
	for n--; n > 0; n -= r.limiter.Burst() {
		r.limiter.ReserveN(now, min(n, r.limiter.Burst()))
	}
}
