package promql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/prometheus/model/labels"
	upstream "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// timeout is the longest time for one evaluation. Grafana waits as long.
const timeout = 30 * time.Second

// subqueryStep is the step of subqueries without one, as in Prometheus.
const subqueryStep = time.Minute

// engine is Prometheus' own engine.
var engine = upstream.NewEngine(upstream.EngineOpts{
	MaxSamples: int(limits.Samples.Most), Timeout: timeout, EnableAtModifier: true, EnableNegativeOffset: true,
	NoStepSubqueryIntervalFn: func(int64) int64 { return subqueryStep.Milliseconds() },
	Parser:                   promParser,
})

// Embedded evaluates queries with Prometheus' engine on a store of this process.
type Embedded struct {
	// Store opens the store, or returns the one that is open.
	Store func(context.Context) (*recorder.Store, error)
	// Interval is the usual time between two samples of a series.
	Interval time.Duration
}

// How long a check waits for inputs to connect, and then to receive something.
const (
	connectWait = 5 * time.Second
	receiveWait = 2 * time.Second
)

// Check implements Engine. It returns an error if nothing can be stored, if an input
// has no connection or stores nothing, or if an input with trouble receives nothing.
// The first line of the text is the troubles, or what is recorded. The other lines
// are about one input or one remark each.
func (e Embedded) Check(ctx context.Context) (string, error) {
	s, err := e.Store(ctx)
	if err != nil {
		return "", err
	}
	wait(ctx, connectWait, s, func(in recorder.InputStatus) bool { return in.State != recorder.StateConnecting || in.Trouble != "" })
	wait(ctx, receiveWait, s, func(in recorder.InputStatus) bool { return in.Samples > 0 || in.Trouble != "" })
	return checked(s.Status(), time.Now())
}

// mostTroubles is how many inputs with trouble a check names.
const mostTroubles = 3

// checked returns what Check does for a status at a time.
func checked(st recorder.Status, now time.Time) (string, error) {
	var troubles, lines []string
	if st.NotReady != "" {
		troubles = append(troubles, "Nothing is recorded now: "+sentence(st.NotReady))
	}
	if st.Fleeting != "" {
		lines = append(lines, "What is recorded may be gone after the next start: "+sentence(st.Fleeting))
	}
	if r := st.Removed; r != nil {
		lines = append(lines, fmt.Sprintf("%s samples from %s to %s were ahead of this machine's clock, and deleted.", humanize.Comma(int64(r.Samples)),
			time.UnixMilli(r.From).UTC().Format(time.RFC3339), time.UnixMilli(r.To).UTC().Format(time.RFC3339)))
	}
	if used, stops := time.UnixMilli(st.Used), time.UnixMilli(st.Stops); st.Stops != 0 && 2*stops.Sub(now) < stops.Sub(used) {
		lines = append(lines, fmt.Sprintf("Nobody has asked for its samples since %s: recording stops on %s unless a panel or an alert rule does.",
			used.UTC().Format(time.DateOnly), stops.UTC().Format(time.DateOnly)))
	}
	var failed []string
	for _, in := range st.Inputs {
		if line, broken := inputLine(in); broken {
			failed = append(failed, line)
		} else {
			lines = append(lines, line)
		}
	}
	if n := len(failed) - mostTroubles; n > 0 {
		failed = append(failed[:mostTroubles], fmt.Sprintf("%d more inputs have trouble, see Status.", n))
	}
	troubles = append(troubles, failed...)
	facts := fmt.Sprintf("The recorder has %s series in %s.", humanize.Comma(int64(st.Series)), humanize.IBytes(uint64(st.Bytes)))
	if len(troubles) == 0 {
		return strings.Join(append([]string{facts}, lines...), "\n"), nil
	}
	return "", errors.New(strings.Join(append([]string{strings.Join(troubles, " "), facts}, lines...), "\n"))
}

// inputLine returns the state of an input in a line, and whether it is broken.
func inputLine(in recorder.InputStatus) (line string, broken bool) {
	switch in.State {
	case recorder.StateConnecting:
		line = "connecting"
	case recorder.StateDown:
		line, broken = "no connection since "+hour(in.Since), true
	case recorder.StateWaiting:
		line = "connected, no messages yet"
	case recorder.StateUnstored:
		line, broken = "receives messages and records nothing since "+hour(in.Since), true
	default:
		line = fmt.Sprintf("%.1f samples/s", in.Rate)
	}
	switch {
	case in.Trouble != "":
		line += ": " + in.Trouble
		broken = broken || in.Rate == 0
	case in.State == recorder.StateUnstored && in.LastError != "":
		line += ": " + in.LastError
	case len(in.Silent) > 0 && in.State != recorder.StateConnecting:
		line += ", nothing from " + strings.Join(in.Silent[:min(len(in.Silent), 5)], ", ")
		if n := len(in.Silent) - 5; n > 0 {
			line += fmt.Sprintf(" and %d more", n)
		}
	}
	return in.Name + ": " + sentence(line), broken
}

// sentence ends a text with a period.
func sentence(text string) string { return strings.TrimRight(text, ". ") + "." }

// hour returns the time of day of a time (Unix ms), for people.
func hour(at int64) string { return time.UnixMilli(at).UTC().Format("15:04 MST") }

// wait waits until is returns true for all inputs, at most for limit.
func wait(ctx context.Context, limit time.Duration, s *recorder.Store, is func(recorder.InputStatus) bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		_, moved := s.Watch()
		if !slices.ContainsFunc(s.Status().Inputs, func(in recorder.InputStatus) bool { return !is(in) }) {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// Exact implements Engine.
func (Embedded) Exact() bool { return true }

// Settled implements Engine.
func (e Embedded) Settled(ctx context.Context, reads []source.Read) (int64, error) {
	s, err := e.Store(ctx)
	if err != nil {
		return 0, err
	}
	return s.SettledOf(metricsOf(reads)...)
}

// Watch implements Engine. If the store is not open, there is nothing to watch.
func (e Embedded) Watch(reads []source.Read) (string, <-chan struct{}) {
	s := e.opened()
	if s == nil {
		return "", nil
	}
	return s.Watch(metricsOf(reads)...)
}

// ended is a context that does not wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// opened returns the store if it is open.
func (e Embedded) opened() *recorder.Store {
	s, err := e.Store(ended)
	if err != nil {
		return nil
	}
	return s
}

func metricsOf(reads []source.Read) []string {
	metrics := make([]string, len(reads))
	for i, r := range reads {
		metrics[i] = r.Metric
	}
	return metrics
}

// Since implements Engine.
func (e Embedded) Since(reads []source.Read, mark string, after int64) error {
	s := e.opened()
	if s == nil || len(reads) == 0 {
		return nil
	}
	for _, r := range reads {
		c, ok, err := s.Since(mark, r.Metric)
		if err != nil || ok && reaches(c, r, after) {
			return source.ErrLate
		}
	}
	if turned, _ := s.TurnedSince(mark, metricsOf(reads)...); turned {
		return source.ErrHealth
	}
	return nil
}

// reaches reports whether a change may have changed a settled row after a time,
// through the samples of r.
func reaches(c recorder.Change, r source.Read, after int64) bool {
	if r.Fixed {
		return c.Newest > r.After && c.Oldest <= r.Through
	}
	return c.Newest-r.After > after && c.Oldest-r.Through <= c.Settled
}

// Notices implements Engine. It returns a text for each input that is down and may
// have samples for these rows.
func (e Embedded) Notices(reads []source.Read) []string {
	s := e.opened()
	if s == nil {
		return nil
	}
	return s.Notices(metricsOf(reads)...)
}

// Describe implements Engine.
func (e Embedded) Describe(_ context.Context, metric string, _ time.Time) recorder.Metadata {
	s := e.opened()
	if s == nil {
		return recorder.Metadata{}
	}
	return s.Describe(metric)
}

// Range implements Engine. The values at a time do not depend on first and last, not
// even in the last bit, unless the expression itself does.
func (e Embedded) Range(ctx context.Context, expr string, lookback time.Duration, first, last, step int64) (Answer, error) {
	s, err := e.Store(ctx)
	if err != nil {
		return Answer{}, err
	}
	answer, err := e.rangeOf(ctx, s, expr, lookback, span{first, last, step})
	if err != nil {
		return Answer{}, explained(err)
	}
	return answer, nil
}

// rangeOf evaluates an expression at the times at.
func (e Embedded) rangeOf(ctx context.Context, s recorder.Samples, expr string, lookback time.Duration, at span) (Answer, error) {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	parsed, err := promParser.ParseExpr(expr)
	if err != nil {
		return Answer{}, err
	}
	if resolveStartEnd(parsed, at) {
		expr = parsed.String()
	}
	how, err := e.plan(waiting, s, parsed, lookback, at)
	if err != nil {
		return Answer{}, err
	}
	done, err := limits.Evaluate(waiting, how.heavy)
	if err != nil {
		return Answer{}, unevaluated{err}
	}
	defer done()
	ctx, cancel = context.WithTimeout(ctx, timeout) // for all parts together
	defer cancel()
	// Evaluate the newest part first: it has most of the series, so too many of them
	// are noticed early.
	m := newMatrix(ctx, at)
	var said annotations.Annotations
	var read int64
	n := int64(how.first)
	for end := at.last; end >= at.first; end, n = end-n*at.step, int64(how.rows) {
		if parsed == nil { // the part before has used it up
			if parsed, err = promParser.ParseExpr(expr); err != nil {
				return Answer{}, err
			}
		}
		of, samples, err := e.part(ctx, s, parsed, expr, lookback, span{max(at.first, end-(n-1)*at.step), end, at.step}, m)
		if err != nil {
			return Answer{}, err
		}
		said.Merge(of)
		read += samples
		parsed = nil
	}
	notices := noticesOf(said.AsStrings("", 0, 0)) // without positions, which are those in a part
	return Answer{Series: m.series, Notices: notices, Samples: read}, nil
}

// unevaluated is why an evaluation has not begun.
type unevaluated struct{ error }

func (u unevaluated) Unwrap() error { return u.error }

// plan returns how an expression is evaluated. It counts the matching series if that
// matters.
func (e Embedded) plan(ctx context.Context, s recorder.Samples, parsed parser.Expr, lookback time.Duration, at span) (how work, err error) {
	most, err := s.MostSeries()
	if err != nil {
		return how, upstream.ErrStorage{Err: err}
	}
	from, to := at.first, at.last
	rs, _ := reads(parsed, lookback)
	for _, r := range rs {
		if r.Fixed {
			from, to = min(from, r.After), max(to, r.Through)
		} else {
			from, to = min(from, at.first+r.After), max(to, at.last+r.Through)
		}
	}
	var uncounted error
	how, err = plan(parsed, at, e.Interval, float64(most), func(v *parser.VectorSelector) float64 {
		n, err := s.CountSeries(ctx, from, to, v.LabelMatchers...)
		if err != nil {
			uncounted = upstream.ErrStorage{Err: err}
		}
		return float64(n)
	})
	if uncounted != nil {
		err = uncounted
	}
	return how, err
}

// part evaluates an expression, as evaluate does, at some of the times of m, and adds
// the values to m. It returns the annotations, and how many samples it read.
func (e Embedded) part(ctx context.Context, s recorder.Samples, expr parser.Expr, text string, lookback time.Duration, at span, m *matrix) (said annotations.Annotations, read int64, err error) {
	result, free, err := evaluate(ctx, s, expr, text, lookback, at)
	defer free()
	if err != nil {
		return nil, 0, err
	}
	for _, of := range result.matrix {
		if len(of.Histograms) > 0 {
			return nil, 0, errHistograms
		}
		if !slices.ContainsFunc(of.Floats, func(p upstream.FPoint) bool { return !math.IsNaN(p.F) }) {
			continue
		}
		values, err := m.values(of.Metric)
		if err != nil {
			return nil, 0, err
		}
		for _, p := range of.Floats {
			values[(p.T-m.at.first)/m.at.step] = p.F
		}
	}
	return result.annotations, result.read, nil
}

// explained marks an error of an evaluation as downstream if the query is at fault,
// or the store cannot be read now.
func explained(err error) error {
	var beyond *limits.Error
	var not unevaluated
	switch {
	case errors.As(err, &not):
		return not.error
	case errors.As(err, new(upstream.ErrTooManySamples)):
		return limits.Samples.Check(limits.Samples.Most + 1)
	case errors.As(err, &beyond):
		return beyond
	case errors.Is(err, errHistograms):
		return source.Downstream(err)
	}
	err = fmt.Errorf("PromQL: %w", err)
	if stored := (upstream.ErrStorage{}); !errors.As(err, &stored) || errors.Is(stored.Err, recorder.ErrNotReady) {
		err = source.Downstream(err)
	}
	return err
}

// LabelNames implements Browser.
func (e Embedded) LabelNames(ctx context.Context, from, to int64, limit int, matchers ...*labels.Matcher) ([]string, error) {
	s, err := e.Store(ctx)
	if err != nil {
		return nil, err
	}
	return s.LabelNames(ctx, from, to, limit, matchers...)
}

// LabelValues implements Browser.
func (e Embedded) LabelValues(ctx context.Context, from, to int64, limit int, name string, matchers ...*labels.Matcher) ([]string, error) {
	s, err := e.Store(ctx)
	if err != nil {
		return nil, err
	}
	return s.LabelValues(ctx, from, to, limit, name, matchers...)
}

// Metadata implements Browser.
func (e Embedded) Metadata(ctx context.Context) (map[string]recorder.Metadata, error) {
	s, err := e.Store(ctx)
	if err != nil {
		return nil, err
	}
	return s.Metadata(), nil
}
