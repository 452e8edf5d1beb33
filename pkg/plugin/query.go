package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/tracing"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/experimental/concurrent"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
	"github.com/continuum-live/continuum-datasource/pkg/internal/remote"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// wire are the fields of a query besides those of its source.
type wire struct {
	// Legend is the format of display names; {{label}} stands for a label.
	Legend string `json:"legend"`
	// Format says what becomes of the values: nothing, formatNewest, or states, which
	// sources of PromQL know.
	Format string `json:"format"`
	// Timezone is the IANA name of the zone whose days and hours steps mean. The
	// front end gives that of the dashboard where the query has none.
	Timezone string `json:"timezone"`
	// MinStep is the minimum step that the user has chosen, empty for none. Sources that
	// know it read it again.
	MinStep any `json:"minStep"`
	// Only the front end sets these. Live asks for the newest rows and a stream of
	// new ones; with Polled there is no stream. Nonce is the guard's nonce, and
	// Resync why the guard asks again.
	Live   bool   `json:"live"`
	Polled bool   `json:"polled"`
	Nonce  int64  `json:"nonce"`
	Resync string `json:"resync"`
	// From is another data source that shall answer. Only panels can use it: the
	// front end sends the query to that data source, without this field.
	From struct {
		UID string `json:"uid"`
	} `json:"from"`
}

// formatNewest is the format with one row per series, which has the newest value. Of
// a live query the front end makes it, because its stream has rows.
const formatNewest = "newest"

// liveAnswer is what the guard reads in meta.custom of an answer with the newest
// window.
type liveAnswer struct {
	// Data is the subscription data of the channel, if there is one. The guard
	// passes it on unchanged.
	Data string `json:"data,omitempty"`
	// Step and Window are those of the channel's path, in milliseconds.
	Step   int64 `json:"step"`
	Window int64 `json:"window"`
	// First promises that from this grid time on no row is missing.
	First int64 `json:"first"`
}

// polledAnswer is meta.custom of an answer that has no stream, and need not have one. The
// guard polls it all the same, as it does where a warning says why there is no stream.
type polledAnswer struct {
	Poll bool `json:"poll"`
}

// caller says who asks, as far as it decides the form of the answer.
type caller struct {
	context backend.PluginContext
	// computes is set for alert rules and expressions, which calculate and do not
	// draw.
	computes bool
}

// callerOf returns the caller of a request. The alerting engine marks its requests
// with a raw map key, backend.FromAlertHeaderName, which GetHTTPHeader does not
// find. Expressions in panels come with an HTTP header from Grafana's front end.
func callerOf(req *backend.QueryDataRequest) caller {
	_, alert := req.Headers[backend.FromAlertHeaderName]
	return caller{req.PluginContext, alert || req.GetHTTPHeader("X-Grafana-From-Expr") != ""}
}

// parallel is how many queries of a request run at once; the SDK allows 1 to 10.
const parallel = 10

// QueryData answers each query by itself: one that fails does not affect the others.
func (in *instance) QueryData(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	caller := callerOf(req)
	// The answers stay in memory until they are sent, and ctx ends after that.
	ctx, end := limits.Begin(ctx)
	context.AfterFunc(ctx, end)
	asked := make(map[string]int, len(req.Queries))
	for _, q := range req.Queries {
		asked[q.RefID]++
	}
	return concurrent.QueryData(ctx, req, func(ctx context.Context, q concurrent.Query) backend.DataResponse {
		ctx, span := tracing.DefaultTracer().Start(ctx, "continuum query", trace.WithAttributes(attribute.String("refId", q.DataQuery.RefID)))
		defer span.End()
		var frames data.Frames
		// What a query took that fails is free for the others, but for its error.
		if err := limits.Charge(ctx, limits.PerAnswer+int64(len(q.DataQuery.JSON))); err != nil {
			return errorResponse(ctx, err)
		}
		ctx, release := limits.Begin(ctx)
		err := panics.Catch("query", func() (err error) {
			// The answers are keyed by refId, so one of two with the same refId
			// would be lost.
			if n := asked[q.DataQuery.RefID]; n > 1 {
				return invalid{fmt.Errorf("%d queries have the refId %q: give each another one", n, q.DataQuery.RefID)}
			}
			frames, err = in.query(ctx, caller, q.DataQuery)
			return err
		})
		if err != nil {
			release()
			span.SetStatus(codes.Error, err.Error())
			return errorResponse(ctx, err)
		}
		return backend.DataResponse{Frames: frames, Status: backend.StatusOK}
	}, parallel)
}

var errSlow = fmt.Errorf("the source did not answer in time: ask for less, or raise the timeout in the data source settings: %w", context.DeadlineExceeded)

// invalid is an error that the user can fix.
type invalid struct{ error }

// errorResponse returns an error as an answer, and says to Grafana whose error it
// is: the plugin's (an internal error), unless its type says that it comes from the
// query or from the source's server.
func errorResponse(ctx context.Context, err error) backend.DataResponse {
	status, from := backend.StatusBadGateway, backend.ErrorSourceDownstream
	var beyond *limits.Error
	var failure *remote.Failure
	var frames data.Frames
	switch {
	case errors.As(err, &beyond) && beyond.Passes():
		status = backend.StatusTooManyRequests
	case errors.As(err, &beyond):
		status = backend.StatusBadRequest
	case errors.As(err, new(invalid)):
		status = backend.StatusBadRequest
	case errors.Is(err, context.DeadlineExceeded):
		status = backend.StatusTimeout
	case errors.Is(err, context.Canceled):
	case errors.Is(err, source.ErrDownstream):
		backend.Logger.FromContext(ctx).Warn("Query failed", "error", err)
		if errors.As(err, &failure) {
			status, frames = passedOn(failure)
		}
	default:
		status, from = backend.StatusInternal, backend.ErrorSourcePlugin
		backend.Logger.FromContext(ctx).Error("Query failed", append(panics.Attrs(err), "error", err)...)
	}
	// Text that is not UTF-8 would break the answers to all queries of the request.
	response := backend.ErrDataResponseWithSource(status, from, strings.ToValidUTF8(err.Error(), "\ufffd"))
	response.Frames = frames
	return response
}

// passedOn returns the status of a server's failure and, in a frame, after how many
// seconds to ask again. The guard decides by them whether and when it asks again.
func passedOn(f *remote.Failure) (backend.Status, data.Frames) {
	switch f.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return backend.Status(f.Status), nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if f.RetryAfter() == 0 {
			return backend.Status(f.Status), nil
		}
		frame := data.NewFrame("").SetMeta(&data.FrameMeta{Custom: busy{math.Ceil(f.RetryAfter().Seconds())}})
		return backend.Status(f.Status), data.Frames{frame}
	}
	return backend.StatusBadGateway, nil
}

// busy is meta.custom of a frame that comes with an error. Grafana passes on neither
// headers nor other data with an error.
type busy struct {
	// RetryAfter is in seconds.
	RetryAfter float64 `json:"retryAfter"`
}

// query answers one query with its settled rows and, if a stream is wanted and
// possible, a channel.
func (in *instance) query(ctx context.Context, caller caller, dq backend.DataQuery) (data.Frames, error) {
	began := time.Now()
	if in.broken != nil {
		return nil, source.Downstream(in.broken) // so that the guard asks again until the settings are fixed
	}
	if err := limits.Text.Check(int64(len(dq.JSON))); err != nil {
		return nil, invalid{err}
	}
	var w wire
	if err := json.Unmarshal(dq.JSON, &w); err != nil {
		return nil, invalid{fmt.Errorf("the query cannot be read: %w", err)}
	}
	if w.Nonce < 0 || w.Nonce > channel.MaxNonce {
		return nil, invalid{fmt.Errorf("nonce %d is out of range: use 0 to %d", w.Nonce, channel.MaxNonce)}
	}
	if w.From.UID != "" {
		return nil, invalid{fmt.Errorf("the query is to be answered by another data source (%s), which only panels can ask: ask that data source itself", w.From.UID)}
	}
	q, err := in.source.Query(dq.JSON)
	if err != nil {
		return nil, invalid{err}
	}
	countResync(w.Resync)
	p, err := newPlan(q, request{
		from: dq.TimeRange.From.UnixMilli(), to: dq.TimeRange.To.UnixMilli(),
		interval: dq.Interval.Milliseconds(), live: w.Live && !caller.computes,
		computes: caller.computes, maxRows: dq.MaxDataPoints, asksStep: w.MinStep != nil && w.MinStep != "", zone: w.Timezone,
	}, in.settings)
	if err != nil {
		return nil, invalid{err}
	}
	if err := fits(p.bound, w.Format, caller); err != nil {
		return nil, invalid{err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, in.patience, errSlow)
	defer cancel()
	rows, mark, err := p.read(ctx, in.settings)
	if err != nil {
		return nil, err
	}
	switch {
	case w.Legend != "":
		err = nameBy(ctx, w.Legend, rows.Series)
	case !caller.computes:
		nameByDifference(rows.Series)
	}
	if err != nil {
		return nil, err
	}

	var frames data.Frames
	switch newest := w.Format == formatNewest; {
	case newest && caller.computes:
		frames = rows.Numbers()
	case newest && !w.Live:
		frames = data.Frames{rows.Table(valueName(w.Legend))}
	case caller.computes:
		frames = rows.Multi()
	case len(rows.Series) == 0:
		frames = data.Frames{grid.Empty()}
	default:
		frames = data.Frames{rows.Frame()}
	}
	for _, f := range frames {
		f.RefID = dq.RefID
	}
	// Only in the first frame, because it may be long and there may be many frames.
	frames[0].Meta.ExecutedQueryString = fmt.Sprintf("%s, one row per %v", q, ms(p.step))
	if p.calendar != nil {
		frames[0].Meta.ExecutedQueryString += fmt.Sprintf(" of the clocks in %s", p.calendar.Zone)
	}
	notice := p.notice
	switch {
	case len(rows.Series) == 0:
		notice = errors.New(hint(ctx, p.bound, rows)) // no stream: the guard asks again until there are series
	case p.live:
		answer := liveAnswer{Step: p.step, Window: p.window, First: rows.Time(0)}
		if !w.Polled {
			frames[0].Meta.Channel, answer.Data, notice = in.offer(caller, w, p, rows.Schema(), mark)
		}
		frames[0].Meta.Custom = answer
	}
	if notice != nil {
		severity := data.NoticeSeverityWarning
		if errors.As(notice, new(followsClocks)) { // as it has to be
			severity = data.NoticeSeverityInfo
			frames[0].Meta.Custom = polledAnswer{true}
		}
		frames[0].AppendNotices(data.Notice{Severity: severity, Text: notice.Error()})
	}
	if p.coarse != nil {
		frames[0].AppendNotices(data.Notice{Severity: data.NoticeSeverityInfo, Text: p.coarse.Error()})
	}
	frames[0].AppendNotices(rows.Notices...)
	frames[0].Meta.Stats = statsOf(rows, time.Since(began))
	return frames, nil
}

// statsOf returns what the query inspector shows of an answer's rows and of the time
// that they took.
func statsOf(rows grid.Rows, took time.Duration) []data.QueryStat {
	stat := func(name, unit string, value float64) data.QueryStat {
		return data.QueryStat{FieldConfig: data.FieldConfig{DisplayName: name, Unit: unit}, Value: value}
	}
	stats := []data.QueryStat{
		stat("Series", "", float64(len(rows.Series))),
		stat("Rows", "", float64(rows.Len())),
	}
	if rows.Samples > 0 {
		stats = append(stats, stat("Samples read", "", float64(rows.Samples)))
	}
	return append(stats, stat("Time taken", "ms", float64(took.Microseconds())/1000))
}

// formatStates is the format of texts over time.
const formatStates = "states"

// fits returns why a query cannot be answered in a format, nil if it can.
func fits(b source.Bound, format string, caller caller) error {
	drawn := b.Traits().Drawn
	switch {
	case format == formatStates && drawn == nil:
		return errors.New("the format states is for queries in PromQL: leave the format out")
	case format != "" && format != formatStates && format != formatNewest:
		return fmt.Errorf("the format %.60q is not known: use %q, %q, or none for a time series", format, formatNewest, formatStates)
	case caller.computes:
		return drawn
	}
	return nil
}

// hint returns a text for a query without series, if possible with the reason.
func hint(ctx context.Context, b source.Bound, rows grid.Rows) string {
	if text := b.Hint(ctx, rows.After, rows.Through); text != "" {
		return text
	}
	return "No series in this time range matches the query."
}

// offer returns the channel for new rows and its subscription data. The error says
// why there can be no stream.
func (in *instance) offer(caller caller, w wire, p plan, schema grid.Schema, mark string) (name, data string, err error) {
	encoded, err := channel.Data{
		Query:    p.bound.Query().JSON(),
		Legend:   w.Legend,
		Fields:   schema.Fields,
		States:   schema.States,
		Revision: in.settings.revision(),
		Mark:     mark,
	}.Encode()
	if err != nil {
		return "", "", err
	}
	if len(encoded) > channel.MaxData {
		return "", "", fmt.Errorf("Shown without a live stream: the query and its series take %d KB, more than the %d KB a stream can have. "+
			"Ask for fewer series.", len(encoded)>>10, channel.MaxData>>10)
	}
	if err := streamable(p.bound, p.window, schema.Fields, in.settings); err != nil {
		return "", "", fmt.Errorf("Shown without a live stream: %w", err)
	}
	path := channel.Path{Step: p.step, Window: p.window, Digest: channel.DigestOf(encoded), Nonce: w.Nonce}
	pc := caller.context
	if err := in.streams.room(ownerOf(pc), path, userOf(pc), in.settings); err != nil {
		return "", "", err
	}
	return path.Channel(pc.DataSourceInstanceSettings.UID), encoded, nil
}

// countResync counts the reason that a guard gives. Unknown reasons count as
// "other", because browsers must not choose the values of a label.
func countResync(reason string) {
	switch reason {
	case "":
	case "hole", "short", "fields", "silence", "refused", "range", "failure", "health":
		resyncs.WithLabelValues(reason).Inc()
	default:
		resyncs.WithLabelValues("other").Inc()
	}
}
