package promql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"golang.org/x/sync/singleflight"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
	"github.com/continuum-live/continuum-datasource/pkg/internal/remote"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// RemoteConfig are the settings of a server with Prometheus' HTTP API.
type RemoteConfig struct {
	// URL is the part of the URL before /api/v1, without credentials.
	URL string
	// Client makes the requests, with credentials and TLS. It follows redirects only
	// within the same server.
	Client *http.Client
	// Method is http.MethodGet or http.MethodPost. Long expressions need POST.
	Method string
	// Delay is after how long the samples of a time are certainly stored. See
	// [DelayOf].
	Delay time.Duration
	// Timeout is the longest time for one query, all attempts included.
	Timeout time.Duration
	// Secrets (credentials) and Private (other values of headers) never appear in
	// errors, even if the server repeats them.
	Secrets, Private []string
}

// DelayOf returns how long a row must wait for samples that are scraped once per
// interval. A sample has the time at which its scrape began, and Prometheus lets no
// scrape take longer than its interval. Half a second more is for storing it.
func DelayOf(interval time.Duration) time.Duration { return interval + 500*time.Millisecond }

// Remote evaluates queries on a server with Prometheus' HTTP API: Prometheus,
// Mimir, Thanos, VictoriaMetrics and others.
type Remote struct {
	api     v1.API
	client  remoteClient
	host    string
	delay   time.Duration
	timeout time.Duration
	// described are the descriptions of metrics.
	described *remote.Notes[recorder.Metadata]

	probes singleflight.Group
	mu     sync.Mutex
	probed time.Time // when the last probe ended, by the monotonic clock
	err    error     // of the last probe
	// clock is used by one probe at a time.
	clock clock.Remote
	// settled is the settled time at probed. newest is the greatest settled time
	// returned since the server's clock was set: the settled time goes back only
	// then.
	settled, newest int64
}

const (
	// probeEvery is the shortest time between two requests for the server's clock,
	// for any number of queries. In between, its time is extrapolated.
	probeEvery = time.Second
	// maxPoints is how many points per series Prometheus returns at once.
	maxPoints = 11_000
)

// NewRemote returns the engine, or an error that names the wrong setting.
func NewRemote(c RemoteConfig) (*Remote, error) {
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		return nil, errors.New("the URL of the server is missing: enter it in the data source settings, for example http://prometheus:9090")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("the URL of the server cannot be read: enter one such as http://prometheus:9090 in the data source settings")
	case u.User != nil:
		return nil, errors.New("the URL of the server has a user or password in it: use basic authentication in the data source settings instead")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the URL of the server must end before ? and #: enter only what comes before /api/v1 in the data source settings")
	case c.Method != http.MethodGet && c.Method != http.MethodPost:
		return nil, fmt.Errorf("HTTP method %q is not known: choose GET or POST in the data source settings", c.Method)
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/v1")
	client := newRemoteClient(u, c)
	r := &Remote{api: v1.NewAPI(client), client: client, host: u.Host, delay: c.Delay, timeout: c.Timeout}
	r.described = remote.NewNotes(r.describe)
	return r, nil
}

// Exact implements Engine. A server may store late samples, and adds up series in
// any order.
func (*Remote) Exact() bool { return false }

// Watch implements Engine. A server does not report changes.
func (*Remote) Watch([]source.Read) (string, <-chan struct{}) { return "", nil }

// Since implements Engine.
func (*Remote) Since([]source.Read, string, int64) error { return nil }

// Notices implements Engine.
func (*Remote) Notices([]source.Read) []string { return nil }

// Settled implements Engine: it is the server's current time, less the delay.
func (r *Remote) Settled(ctx context.Context, _ []source.Read) (int64, error) {
	if settled, ok, err := r.known(); ok {
		return settled, err
	}
	probed := r.probes.DoChan("", func() (any, error) {
		if _, ok, _ := r.known(); ok { // another call has probed meanwhile
			return nil, nil
		}
		// Not with ctx of the first caller, because others wait for the result, too.
		ctx, cancel := r.bound(context.Background())
		defer cancel()
		err := panics.Catch("probe", func() error { return r.probe(ctx) })
		r.mu.Lock()
		defer r.mu.Unlock()
		r.err = err
		if err != nil {
			r.probed = time.Now()
		}
		return nil, nil
	})
	select {
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-probed:
	}
	settled, _, err := r.known()
	return settled, err
}

// known returns the result of the last probe, extrapolated to now, and whether the
// result is still valid. A failure is valid for as long as a success, so that a
// server in trouble is not asked more often.
func (r *Remote) known() (settled int64, ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	age := time.Since(r.probed)
	ok = !r.probed.IsZero() && age < probeEvery
	if r.err != nil {
		return 0, ok, r.err
	}
	r.newest = max(r.newest, r.settled+min(age, probeEvery).Milliseconds())
	return r.newest, ok, nil
}

// probe asks for the settled time. It counts the answer from its arrival, so that
// the extrapolated clock is never ahead of the server's. While an answer is not
// believed, the time continues from the one before.
//
// VictoriaMetrics evaluates a query without a time some seconds in the past, and
// answers later times with invented values. There, that past time is the settled
// one.
func (r *Remote) probe(ctx context.Context) error {
	for range 2 * clock.Confirmations {
		asked := time.Now()
		now, value, err := r.now(ctx)
		if err != nil {
			return err
		}
		answered := time.Now()
		believed, set := r.clock.Answer(now, asked, answered)
		if !believed && !r.clock.Believed() {
			continue
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case believed:
			r.settled = r.final(now, value)
		default:
			r.settled += answered.Sub(r.probed).Milliseconds()
		}
		if set {
			r.newest = r.settled
		}
		r.probed = answered
		return nil
	}
	return r.client.Fail(remote.Answer, "the clocks of %s differ by more than a second from one answer to the next: set the clocks of its replicas", r.host)
}

func (r *Remote) final(now, value int64) int64 { return min(now-r.delay.Milliseconds(), value) }

// now returns the server's current time, and the time for which it evaluates a query
// without a time, both in Unix milliseconds. It asks for PromQL's time(), which is
// as exact as the server's clock. The Date header has whole seconds only, and may be
// a proxy's.
func (r *Remote) now(ctx context.Context) (now, value int64, err error) {
	answer, _, _, err := r.api.Query(ctx, "time()", time.Time{})
	if err != nil {
		return 0, 0, r.explain(ctx, err)
	}
	var t model.Time
	var v model.SampleValue
	switch a := answer.(type) {
	case *model.Scalar:
		t, v = a.Timestamp, a.Value
	case model.Vector: // VictoriaMetrics has no scalars
		if len(a) == 1 {
			t, v = a[0].Timestamp, a[0].Value
		}
	}
	if math.IsNaN(float64(v)) || v <= 0 || v > 1e12 || t <= 0 {
		return 0, 0, r.client.Fail(remote.Answer, "asked for time(), %s answers %s", r.host, r.client.Text(fmt.Sprint(answer)))
	}
	return int64(t), int64(math.Floor(float64(v) * 1000)), nil
}

// bound returns a context with the timeout of one query.
func (r *Remote) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, r.timeout)
}

// explain returns the reason of a failed request as an error for people.
func (r *Remote) explain(ctx context.Context, err error) error {
	var f *remote.Failure
	var refused *v1.Error
	switch {
	case errors.As(err, &f):
		return f
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &refused) && refused.Type != v1.ErrBadResponse:
		return r.client.Fail(remote.Query, "%s refuses the query: %s", r.host, r.client.Text(refused.Msg))
	}
	return r.client.Fail(remote.Answer, "%s answers what Prometheus would not: %s", r.host, r.client.Text(err.Error()))
}

// Describe implements Engine.
func (r *Remote) Describe(ctx context.Context, metric string, until time.Time) recorder.Metadata {
	return r.described.Get(ctx, metric, until)
}

// describe asks for the description of a metric.
func (r *Remote) describe(ctx context.Context, metric string) (recorder.Metadata, error) {
	all, err := r.api.Metadata(ctx, metric, "1")
	if err != nil {
		return recorder.Metadata{}, err
	}
	return r.metadata(all[metric]), nil
}

// metadata returns what the targets of a metric say about it: the first, as most say the
// same.
func (r *Remote) metadata(of []v1.Metadata) recorder.Metadata {
	if len(of) == 0 {
		return recorder.Metadata{}
	}
	return recorder.Metadata{Type: model.MetricType(of[0].Type), Unit: r.client.Text(of[0].Unit), Help: r.client.Text(of[0].Help)}
}

// Range implements Engine. An answer that may be incomplete is an error.
func (r *Remote) Range(ctx context.Context, expr string, lookback time.Duration, first, last, step int64) (Answer, error) {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	expr = portable(expr)
	m := newMatrix(ctx, span{first, last, step})
	var warnings, infos []string
	for begin := first; begin <= last; begin += maxPoints * step {
		part := span{begin, min(begin+(maxPoints-1)*step, last), step}
		var a answer
		err := r.client.ask(ctx, r.client.URL("/api/v1/query_range", nil), rangeForm(expr, lookback, r.timeout, part), limits.Body, func(body io.Reader) error {
			a = answer{matrix: m, part: part}
			return a.decode(body)
		})
		if err != nil {
			return Answer{}, r.explain(ctx, err)
		}
		if err := r.whole(a); err != nil {
			return Answer{}, err
		}
		warnings, infos = append(warnings, a.warnings...), append(infos, a.infos...)
	}
	return Answer{Series: m.found(), Notices: noticesOf(r.texts(warnings), r.texts(infos))}, nil
}

// portable returns an expression as servers take it that know no names in quotes, such
// as Prometheus 2: {"温度"} is {__name__="温度"} there.
func portable(expr string) string {
	parsed, err := promParser.ParseExpr(expr)
	if err != nil {
		return expr // which the server may know
	}
	quoted := false
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok && s.Name == "" {
			quoted = quoted || slices.ContainsFunc(s.LabelMatchers, func(m *labels.Matcher) bool {
				return m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual
			})
		}
		return nil
	})
	if !quoted {
		return expr
	}
	return parsed.String()
}

// whole returns an error unless an answer is complete. Parts may be missing if a
// store behind the server is not reachable; the server then says so.
func (r *Remote) whole(a answer) error {
	switch {
	case a.failed:
		return r.client.Fail(remote.Query, "%s refuses the query: %s", r.host, r.client.Text(a.why))
	case a.kind != "matrix":
		return r.client.Fail(remote.Answer, "%s answers a range with %q", r.host, r.client.Text(a.kind))
	case a.partial:
		return r.client.Fail(remote.Server, "%s answers with a part of what it has, because a storage node is away (isPartial)", r.host)
	}
	for _, w := range a.warnings {
		if !harmless(w) {
			return r.client.Fail(remote.Server, "%s may have left something out: %s", r.host, r.client.Text(w))
		}
	}
	if a.histograms {
		return r.client.Fail(remote.Query, "%s answers, but %v", r.host, errHistograms)
	}
	return nil
}

// texts returns texts of the server without secrets and control characters.
func (r *Remote) texts(said []string) []string {
	texts := make([]string, len(said))
	for i, s := range said {
		texts[i] = r.client.Text(s)
	}
	return texts
}

// Check implements Engine. Its error begins with the step that failed, see
// remote.Checked.
func (r *Remote) Check(ctx context.Context) (string, error) {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	now, value, err := r.now(ctx)
	if err != nil {
		return "", remote.Checked(err)
	}
	off := time.Until(time.UnixMilli(now)).Round(time.Second)
	message := r.host + " answers."
	if info, err := r.api.Buildinfo(ctx); err == nil && info.Version != "" {
		message = fmt.Sprintf("%s answers, version %s.", r.host, r.client.Text(info.Version))
	}
	message += fmt.Sprintf(" Rows are shown %v after their time.", time.Duration(now-r.final(now, value))*time.Millisecond)
	switch {
	case off > 5*time.Second:
		message += fmt.Sprintf(" Its clock is %v ahead of Grafana's.", off)
	case off < -5*time.Second:
		message += fmt.Sprintf(" Its clock is %v behind Grafana's.", -off)
	}
	return message, nil
}

// LabelNames implements Browser.
func (r *Remote) LabelNames(ctx context.Context, from, to int64, limit int, ms ...*labels.Matcher) ([]string, error) {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	names, _, _, err := r.api.LabelNames(ctx, selectors(ms), time.UnixMilli(from), time.UnixMilli(to), v1.WithLimit(uint64(limit)))
	if err != nil {
		return nil, r.explain(ctx, err)
	}
	return texts(names, limit), nil
}

// LabelValues implements Browser.
func (r *Remote) LabelValues(ctx context.Context, from, to int64, limit int, name string, ms ...*labels.Matcher) ([]string, error) {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	ask := func(name string) (model.LabelValues, error) {
		values, _, _, err := r.api.LabelValues(ctx, name, selectors(ms), time.UnixMilli(from), time.UnixMilli(to), v1.WithLimit(uint64(limit)))
		return values, err
	}
	escaped := model.EscapeName(name, model.ValueEncodingEscaping) // the API wants names beyond ASCII escaped in paths
	values, err := ask(escaped)
	if err != nil {
		return nil, r.explain(ctx, err)
	}
	if len(values) == 0 && escaped != name {
		// Older ones of VictoriaMetrics take any name as it is, and others refuse it.
		if found, err := ask(name); err == nil {
			values = found
		}
	}
	return texts(values, limit), nil
}

// texts returns the first limit texts of a list, as not every server supports
// limits.
func texts[T ~string](list []T, limit int) []string {
	texts := make([]string, min(limit, len(list)))
	for i := range texts {
		texts[i] = string(list[i])
	}
	return texts
}

// selectors returns matchers as a series selector, the form that the API takes.
func selectors(ms []*labels.Matcher) []string {
	if len(ms) == 0 {
		return nil
	}
	texts := make([]string, len(ms))
	for i, m := range ms {
		texts[i] = m.String()
	}
	return []string{"{" + strings.Join(texts, ",") + "}"}
}

// Metadata implements Browser.
func (r *Remote) Metadata(ctx context.Context) (map[string]recorder.Metadata, error) {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	all, err := r.api.Metadata(ctx, "", "")
	if err != nil {
		return nil, r.explain(ctx, err)
	}
	metadata := make(map[string]recorder.Metadata, len(all))
	for name, of := range all {
		metadata[name] = r.metadata(of)
	}
	return metadata, nil
}
