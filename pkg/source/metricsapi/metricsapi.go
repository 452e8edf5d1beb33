// Package metricsapi is the source of metrics that an HTTP service keeps. A service
// needs only the three endpoints of docs/metrics-api.md.
//
// A row is an aggregate of the points since the row before it. Rows are settled up to
// the newest point that the service reports, less a delay for points that come late.
// All times are the service's own. This machine's clock is used only to refuse points
// from the future, if the service's answers have no Date header.
//
// The package knows nothing of Grafana but frames, and must not import pkg/tail,
// pkg/plugin or the SDK's backend package. Nothing that it returns has a secret in it,
// whatever the service answers.
package metricsapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
	"github.com/continuum-live/continuum-datasource/pkg/internal/remote"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/unit"
)

// Limits of the query's fields.
const (
	MinStep    = 10                  // ms
	MaxStep    = 24 * 60 * 60 * 1000 // ms
	maxName    = 1000                // bytes
	maxText    = 8000                // bytes
	maxDelayMs = 24 * 60 * 60 * 1000
)

// Aggregations are the ways to make one value from the points since the row before,
// the default first.
var Aggregations = []string{"last", "avg", "min", "max", "sum", "count"}

// Config has the settings of a service.
type Config struct {
	// Endpoint is the address to which /health, /query, /latest and /names are
	// added.
	Endpoint string
	// Client adds the authentication. Redirects to other hosts are refused, whatever
	// its own rule is.
	Client *http.Client
	// Timeout is the longest time for one request, all attempts included.
	Timeout time.Duration
	// Delay is how long after its time a point may still come, or change.
	Delay time.Duration
	// Secrets never appear in anything that is returned. Private never appears in
	// errors; it is for values such as a tenant's name, which labels may have.
	Secrets, Private []string
}

// Source answers from one service. Make it with [New].
type Source struct {
	client  client
	timeout time.Duration
	delay   int64 // ms

	flights singleflight.Group               // by subject
	newest  *lru.Cache[string, newest]       // by subject
	units   *remote.Notes[map[string]string] // one note, by metric

	mu    sync.Mutex
	clock clock.Remote // the service's
}

// newest is the last answer of /latest about a subject.
type newest struct {
	settled int64 // the highest since the service's clock was set back, less the delay
	back    int   // answers in a row that were more than setBack before settled
	asked   time.Time
	err     error // of the last answer
}

// setBack is how far, in milliseconds, a newest point must be before the last one to
// mean that the service's clock was set back or its points deleted. It takes
// clock.Confirmations such answers in a row, because a single one may come from a
// replica that is behind.
const setBack = 10_000

// New returns the source of a service, or an error that says which setting is wrong.
// It does not send a request yet.
func New(c Config) (*Source, error) {
	endpoint, err := url.Parse(strings.TrimSpace(c.Endpoint))
	switch {
	case strings.TrimSpace(c.Endpoint) == "":
		return nil, errors.New("there is no endpoint: enter the address of the metrics API in the data source settings")
	case err != nil: // err has the whole address, perhaps with a password
		return nil, errors.New("the endpoint is not an address: enter one such as https://metrics.example.com/api")
	case endpoint.Scheme != "http" && endpoint.Scheme != "https", endpoint.Host == "":
		return nil, errors.New("the endpoint must begin with http:// or https:// and name a host: enter one such as https://metrics.example.com/api")
	case endpoint.User != nil:
		return nil, errors.New("the endpoint has a user or password in it: remove them, and use basic auth or the API key, which are kept secret")
	case endpoint.RawQuery != "" || endpoint.Fragment != "":
		return nil, errors.New("the endpoint has a ? or # in it: remove what follows it, and use the API key or a custom header for keys, which are kept secret")
	}
	if c.Delay < 0 || c.Delay.Milliseconds() > maxDelayMs {
		return nil, fmt.Errorf("the delay %v is out of range: enter 0 to %d ms", c.Delay, maxDelayMs)
	}
	subjects, err := lru.New[string, newest](maxSubjects)
	if err != nil {
		return nil, err
	}
	s := &Source{client: newClient(endpoint, c), timeout: c.Timeout, delay: c.Delay.Milliseconds(), newest: subjects,
		clock: clock.Remote{Tolerance: maxAhead}}
	s.units = remote.NewNotes(s.listedUnits)
	return s, nil
}

// Query implements source.Source. It reads the fields metricName, queryText,
// aggregation and minStep (ms), and ignores all others.
func (s *Source) Query(raw json.RawMessage) (source.Query, error) {
	in := fields{Aggregation: scalar(Aggregations[0]), MinStep: "1000"}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("the query is not a JSON object: %w", err)
	}
	q := query{MetricName: string(in.MetricName), QueryText: string(in.QueryText), Aggregation: string(in.Aggregation), source: s}
	switch {
	case q.MetricName == "":
		return nil, errors.New("the query has no metric: enter its name")
	case len(q.MetricName) > maxName:
		return nil, fmt.Errorf("metricName has %d bytes: use at most %d", len(q.MetricName), maxName)
	case len(q.QueryText) > maxText:
		return nil, fmt.Errorf("queryText has %d bytes: use at most %d", len(q.QueryText), maxText)
	case strings.ContainsRune(q.MetricName+q.QueryText, 0):
		return nil, errors.New("metricName or queryText has a NUL character in it: remove it")
	case !slices.Contains(Aggregations, q.Aggregation):
		return nil, fmt.Errorf("aggregation %q is not known: choose one of %s", remote.Line(q.Aggregation, 40), strings.Join(Aggregations, ", "))
	}
	step, err := strconv.ParseFloat(string(in.MinStep), 64)
	if err != nil || step != math.Trunc(step) || step < MinStep || step > MaxStep {
		return nil, fmt.Errorf("minStep %q is out of range: use a whole number of milliseconds from %d to %d", remote.Line(string(in.MinStep), 40), MinStep, MaxStep)
	}
	q.MinStepMs = int64(step)
	return q, nil
}

// fields are the query as dashboards save it.
type fields struct {
	MetricName  scalar `json:"metricName"`
	QueryText   scalar `json:"queryText"`
	Aggregation scalar `json:"aggregation"`
	MinStep     scalar `json:"minStep"`
}

// scalar is a JSON string, or the text of any other JSON value: in dashboards, a
// template variable turns a number into a string.
type scalar string

func (n *scalar) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		s = string(b)
	}
	*n = scalar(strings.TrimSpace(s))
	return nil
}

// query is comparable, and equal queries have equal JSON.
type query struct {
	MetricName  string `json:"metricName"`
	QueryText   string `json:"queryText,omitempty"`
	Aggregation string `json:"aggregation"`
	MinStepMs   int64  `json:"minStep"`

	source *Source
}

func (q query) JSON() json.RawMessage {
	b, err := json.Marshal(q)
	if err != nil {
		panic(err) // three strings and a number
	}
	return b
}

func (q query) String() string {
	s := q.Aggregation + " of " + q.MetricName
	if q.QueryText != "" {
		s += " (" + q.QueryText + ")"
	}
	return s
}

func (q query) MinStep() int64 { return q.MinStepMs }

// subject identifies the points that the query asks for, without the aggregation. It
// is a digest because the texts may be long.
func (q query) subject() string {
	sum := sha256.Sum256([]byte(q.params().Encode()))
	return string(sum[:])
}

func (q query) params() url.Values {
	p := url.Values{"metric": {q.MetricName}}
	if q.QueryText != "" {
		p.Set("query", q.QueryText)
	}
	return p
}

// Bind implements source.Query.
func (q query) Bind(step, _ int64) (source.Bound, error) { return bound{query: q, step: step}, nil }

// bound is a query at one step.
type bound struct {
	source.Plain
	query
	step int64 // ms
}

func (b bound) Query() source.Query { return b.query }

func (b bound) Traits() source.Traits {
	return source.Traits{Step: b.step, Lookback: b.source.delay + lookback, Reads: []source.Read{{Metric: b.MetricName, After: -b.step}}}
}

// lookback is how long a service's newest point counts as the present value, in
// milliseconds. It is Prometheus' default.
const lookback = 5 * 60 * 1000

// maxAge is how long an answer of /latest is used again at most, and maxAgeError how
// long a failure is.
const (
	maxAge      = 10 * time.Second
	maxAgeError = time.Second
)

// Settled returns the time of the newest point, less the delay. Within a step, or
// [maxAge], it returns the same answer for a subject: rows are a step apart, so a
// new answer would hardly give more of them.
func (b bound) Settled(ctx context.Context) (int64, error) {
	age := min(time.Duration(b.step)*time.Millisecond, maxAge)
	n, ok := b.source.known(b.subject(), age)
	if ok {
		return n.settled, n.err
	}
	// The request must not use the caller's context, because it goes on for others
	// who wait for it when the caller gives up.
	flight := b.source.flights.DoChan(b.subject(), func() (any, error) {
		n, ok := b.source.known(b.subject(), age)
		if !ok { // otherwise another flight has just asked
			ctx, cancel := context.WithTimeout(context.Background(), b.source.timeout)
			defer cancel()
			err := panics.Catch("probe", func() error {
				n = b.source.ask(ctx, b.query)
				return nil
			})
			if err != nil {
				return int64(0), err
			}
		}
		return n.settled, n.err
	})
	select {
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case r := <-flight:
		return r.Val.(int64), r.Err
	}
}

// known returns the last answer about a subject, and whether it is younger than age;
// a failure counts only for maxAgeError.
func (s *Source) known(subject string, age time.Duration) (newest, bool) {
	n, ok := s.newest.Get(subject)
	if n.err != nil {
		age = min(age, maxAgeError)
	}
	return n, ok && time.Since(n.asked) < age
}

// settled returns the known settled time of a subject, math.MinInt64 if there is
// none.
func (s *Source) settled(subject string) int64 {
	if n, ok := s.newest.Get(subject); ok {
		return n.settled
	}
	return math.MinInt64
}

// ask asks for the newest point and stores the answer. For one subject, only one
// call may run at a time.
func (s *Source) ask(ctx context.Context, q query) newest {
	asked := time.Now()
	n, ok := s.newest.Get(q.subject())
	fresh := ok && asked.Sub(n.asked) < maxAhead
	at, believed, err := s.latest(ctx, q)
	for range 2 * clock.Confirmations {
		if err != nil || believed || fresh { // what is fresh holds until the next question
			break
		}
		at, believed, err = s.latest(ctx, q) // until it is certain whose clock is right
	}
	switch {
	case err == nil && !believed && !fresh:
		err = s.client.Fail(remote.Answer, "the clocks of the metrics API differ by more than a minute from one answer to the next: set the clocks of its replicas")
	case err == nil && believed:
		settled := floorMs(at) - s.delay
		if ok && settled < n.settled-setBack {
			n.back++
		} else {
			n.back = 0
		}
		if !ok || settled > n.settled || n.back >= clock.Confirmations {
			n.settled, n.back = settled, 0
		}
	}
	n.asked, n.err = asked, err
	if err == nil || ok { // invented names do not push out real ones
		s.newest.Add(q.subject(), n)
	}
	return n
}

// latest asks for the newest point. It is not to be believed while the service's clock
// says another time than before: it may come from a replica whose clock is wrong, and
// a time that is ahead would hold back all true ones.
func (s *Source) latest(ctx context.Context, q query) (at int64, believed bool, err error) {
	asked := time.Now()
	at, now, err := s.client.latest(ctx, q.params())
	if err != nil {
		return 0, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	believed, _ = s.clock.Answer(now.UnixMilli(), asked, time.Now())
	return at, believed, nil
}

// maxSubjects is how many subjects are remembered. The least recently used are
// forgotten.
const maxSubjects = 5000

func (b bound) Rows(ctx context.Context, after, through int64) (grid.Rows, error) {
	if ctx.Err() != nil {
		return grid.Rows{}, context.Cause(ctx)
	}
	rows := grid.Rows{Step: b.step, After: after, Through: through}
	if err := rows.Check(); err != nil {
		return grid.Rows{}, err
	}
	if through > b.source.settled(b.subject()) {
		settled, err := b.Settled(ctx)
		if err != nil {
			return grid.Rows{}, err
		}
		if through > settled {
			return grid.Rows{}, source.ErrNotSettled
		}
	}
	first := after
	if after == through {
		first = through - b.step // an empty range has the fields of the row at its end
	}
	ctx, cancel := context.WithTimeout(ctx, b.source.timeout)
	defer cancel()
	answer, done, err := b.source.client.points(ctx, b.params(), first, through)
	defer done()
	if err != nil {
		return grid.Rows{}, err
	}
	if err := limits.NewAnswer(ctx, rows.Len()).Add(len(b.MetricName) + len(answer.labels.String())); err != nil {
		return grid.Rows{}, err
	}
	rows.Series = []grid.Series{{
		Name: name(b.MetricName, answer.labels), Labels: answer.labels, Unit: b.unit(ctx, answer.unit),
		Display: display(b.MetricName, answer.labels), Values: aggregate(b.Aggregation, answer.points, rows),
	}}
	return rows, rows.Check()
}

// unitWait is how long rows wait for the list of metrics, which may have the unit.
const unitWait = time.Second

// unit returns the unit of the rows' values, given that of the points: a number of points
// has none. If the points do not have one, the list of metrics may.
func (b bound) unit(ctx context.Context, points string) string {
	switch {
	case b.Aggregation == "count":
		return ""
	case points != "":
		return points
	}
	return b.source.units.Get(ctx, "", time.Now().Add(unitWait))[b.MetricName]
}

// listedUnits returns the units of the metrics that the service lists.
func (s *Source) listedUnits(ctx context.Context, _ string) (map[string]string, error) {
	metrics, err := s.client.names(ctx, 1)
	units := make(map[string]string)
	for _, m := range metrics {
		if m.Unit == "" {
			described, _ := unit.Described(m.Description)
			m.Unit = described.Amount
		}
		if m.Unit != "" {
			units[m.Name] = m.Unit
		}
	}
	return units, err
}

// name returns a series' field name. It includes the labels, so that a metric whose
// labels change becomes another field.
func name(metric string, labels data.Labels) string {
	if metric == grid.TimeName && len(labels) == 0 {
		return metric + "{}"
	}
	return display(metric, labels)
}

// display returns the name of a series in PromQL's notation.
func display(metric string, labels data.Labels) string {
	if len(labels) == 0 {
		return metric
	}
	return metric + "{" + labels.String() + "}"
}

// point is a value and its time in Unix nanoseconds. NaN means no value.
type point struct {
	at    int64
	value float64
}

// floorMs and ceilMs round a time in nanoseconds to whole milliseconds.
func floorMs(ns int64) int64 { return grid.Floor(ns, 1e6) / 1e6 }

func ceilMs(ns int64) int64 { return -floorMs(-ns) }

// aggregate makes one value from the points in (t - step, t] for each row t, NaN if
// there are none. The value depends only on these points, in their order, and not on
// the requested range.
func aggregate(how string, points []point, rows grid.Rows) []float64 {
	values := make([]float64, rows.Len())
	counts := make([]float64, rows.Len())
	for _, p := range points {
		// Grid times are whole milliseconds, so a point is at or before one of them
		// exactly if its time, rounded up, is.
		at := ceilMs(p.at)
		if math.IsNaN(p.value) || at <= rows.After || at > rows.Through {
			continue
		}
		i := (at - rows.After - 1) / rows.Step
		counts[i]++
		if counts[i] == 1 {
			values[i] = p.value
			continue
		}
		switch how {
		case "last":
			values[i] = p.value
		case "min":
			values[i] = min(values[i], p.value)
		case "max":
			values[i] = max(values[i], p.value)
		case "sum", "avg":
			values[i] += p.value
		}
	}
	for i, n := range counts {
		switch {
		case n == 0:
			values[i] = math.NaN()
		case how == "count":
			values[i] = n
		case how == "avg":
			values[i] /= n
		}
	}
	return values
}
