// Package push is the recorder's input for what others send: Influx line
// protocol, as Telegraf writes it, and Prometheus remote write 1.0 and 2.0.
//
// It opens no port. [Handler] answers requests that came through Grafana, which
// knows who sends them; whoever calls it makes sure that they may write.
//
// It guarantees that a request is answered with success only after all of it was
// stored, or had been before. Of a request with faults the good part is stored,
// and the answer (400) tells the faults and keeps the sender from trying again.
// What may be tried again is answered with 429 or 503.
package push

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/time/rate"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
)

// The formats.
const (
	Influx     = "influx"
	Prometheus = "prometheus"
)

// Config is the settings of the input.
type Config struct {
	Name string `json:"name"`
	// Formats are those that are taken, all if empty.
	Formats []string `json:"formats,omitempty"`
	// MaxBytes is how large a request may be, after decompression too, 0 for
	// 8 MiB.
	MaxBytes int64 `json:"maxBytes,omitempty"`
	// MaxSeries is how many series may be written to within an hour, 0 for
	// 100,000.
	MaxSeries int `json:"maxSeries,omitempty"`
	// SamplesPerSecond is how many samples are taken in the long run, 0 for
	// 100,000.
	SamplesPerSecond int `json:"samplesPerSecond,omitempty"`
}

const (
	defaultMaxBytes         = 8 << 20
	defaultMaxSeries        = 100_000
	defaultSamplesPerSecond = 100_000

	// limitOfMaxBytes is about what a plugin can be sent at all.
	limitOfMaxBytes         = 64 << 20
	limitOfMaxSeries        = 1_000_000
	limitOfSamplesPerSecond = 10_000_000
)

// Input is the input for what others send.
type Input struct {
	config  Config
	version string
}

// Secrets returns none: Grafana knows who may write.
func (Config) Secrets() []string { return nil }

// Sensitive reports that the settings hold no secret.
func (Config) Sensitive() bool { return false }

// New checks the settings.
func New(c Config, _ func(key string) string) (recorder.Input, error) {
	version := endpoint.Version(c, nil, nil)
	for _, f := range c.Formats {
		if f != Influx && f != Prometheus {
			return nil, fmt.Errorf("formats: %q is neither %s nor %s", f, Influx, Prometheus)
		}
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

// running has the *run of each sink whose input is of this package. It belongs to
// the process, as running inputs do: who answers a request has only the sink.
var running sync.Map

// grace is how long a request that is being answered holds up the end.
const grace = 500 * time.Millisecond

// Run implements recorder.Input.
func (in *Input) Run(ctx context.Context, sink *recorder.Sink) {
	r := newRun(in.config, sink)
	running.Store(sink, r)
	sink.Trouble("")
	<-ctx.Done()
	running.Delete(sink)
	select {
	case r.turn <- struct{}{}: // for ever
	case <-time.After(grace):
	}
}

// run is a running input. All but sink and config is for whoever has the turn:
// one request after another is read and stored, which bounds what they take.
type run struct {
	config Config
	sink   *recorder.Sink
	turn   chan struct{}

	limiter *rate.Limiter
	series  map[string]*series // by their labels
	checked time.Time          // when unused series were last looked for
	key     []byte
	newest  newest
	// described are the metrics that the store was told about.
	described map[string]recorder.Metadata
}

func newRun(c Config, sink *recorder.Sink) *run {
	return &run{
		config: c, sink: sink, turn: make(chan struct{}, 1),
		limiter:   rate.NewLimiter(rate.Limit(c.SamplesPerSecond), c.SamplesPerSecond),
		series:    make(map[string]*series),
		described: make(map[string]recorder.Metadata),
	}
}

func (r *run) takes(format string) bool { return slices.Contains(r.config.Formats, format) }

// series is one that is written to.
type series struct {
	recorder.Series
	used time.Time
}

// unused is how long a series must not have been written to before another may
// take its place.
const unused = time.Hour

// find returns the series of the given labels, nil if there are too many.
func (r *run) find(lbls labels.Labels, now time.Time) *recorder.Series {
	r.key = lbls.Bytes(r.key)
	s := r.series[string(r.key)]
	if s == nil {
		if len(r.series) >= r.config.MaxSeries && !r.forget(now) {
			return nil
		}
		s = &series{Series: recorder.Series{Labels: lbls}}
		r.series[string(r.key)] = s
	}
	s.used = now
	return &s.Series
}

// forget makes room for new series. It returns false if it cannot.
func (r *run) forget(now time.Time) bool {
	if now.Sub(r.checked) < time.Minute {
		return false
	}
	r.checked = now
	before := len(r.series)
	for key, s := range r.series {
		if now.Sub(s.used) > unused {
			delete(r.series, key)
		}
	}
	return len(r.series) < before
}

// allow takes n samples off what may come now. It returns how long to wait if
// there have been too many. A request is never too large by itself: what it
// takes too much the next ones have less.
func (r *run) allow(now time.Time, n int) time.Duration {
	if !r.limiter.AllowN(now, 1) {
		return time.Duration((1 - r.limiter.TokensAt(now)) / float64(r.limiter.Limit()) * float64(time.Second))
	}
	for n--; n > 0; n -= r.limiter.Burst() {
		r.limiter.ReserveN(now, min(n, r.limiter.Burst()))
	}
	return 0
}

// newest follows the times of samples. Senders have several connections, and
// send some series later than others: what is behind the newest time by no more
// than has been usual of late is not late.
type newest struct {
	t      int64
	spread [2]int64 // ms, of this and the last window
	begin  time.Time
}

const (
	spreadWindow = time.Minute
	// maxSpread is as far as it makes sense to hold the watermark back: the
	// settled time does not wait longer for any input, unless it is told to.
	maxSpread = 2000 // ms
)

func (n *newest) add(t int64, now time.Time) {
	if now.Sub(n.begin) > spreadWindow {
		n.spread, n.begin = [2]int64{0, n.spread[0]}, now
	}
	t = min(t, now.UnixMilli()) // others' clocks may be ahead
	if n.t > t {
		n.spread[0] = max(n.spread[0], min(n.t-t, maxSpread))
	}
	n.t = max(n.t, t)
}

func (n *newest) watermark() int64 {
	if behind := max(n.spread[0], n.spread[1]); behind > 0 {
		return n.t - behind - 1
	}
	return n.t
}
