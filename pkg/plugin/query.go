package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strings"

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

// wire is what a query has beside the fields of its source.
type wire struct {
	// Legend is the format of display names; {{label}} stands for a label.
	Legend string `json:"legend"`
	// Format says what becomes of the values: nothing, formatNewest, or states, which
	// sources of PromQL know.
	Format string `json:"format"`
	// Timezone is the IANA name of the zone whose days and hours steps mean. The
	// front end gives that of the dashboard where the query has none.
	Timezone string `json:"timezone"`
	// Live, Polled, Nonce and Resync are set by the front end alone: that the
	// newest rows are wanted and a stream of what follows, or polled, without
	// one; the guard's nonce, and why it asks again.
	Live   bool   `json:"live"`
	Polled bool   `json:"polled"`
	Nonce  int64  `json:"nonce"`
	Resync string `json:"resync"`
	// From is another data source that answers, which only panels can ask: the
	// front end hands the query over to it, and leaves the name out.
	From struct {
		UID string `json:"uid"`
	} `json:"from"`
}

// formatNewest is the format with one row per series, which has the newest value. Of
// a live query the front end makes it, because its stream has rows.
const formatNewest = "newest"

// liveAnswer is what an answer with the newest window of rows tells the guard, in
// meta.custom.
type liveAnswer struct {
	// Data is the subscription data, to be passed on as it is, if there is a
	// channel.
	Data string `json:"data,omitempty"`
	// Step and Window are in milliseconds, and the path's.
	Step   int64 `json:"step"`
	Window int64 `json:"window"`
	// First is the promise: from this grid time on no row is missing.
	First int64 `json:"first"`
}

// caller is who asks, as far as it decides the form of the answer.
type caller struct {
	context backend.PluginContext
	// computes: alert rules and expressions read numbers, they do not draw.
	computes bool
}

// The alerting engine marks its requests with a raw map key, which
// GetHTTPHeader does not find; the name is backend.FromAlertHeaderName.
// Expressions in panels come with an HTTP header from Grafana's front end.
func callerOf(req *backend.QueryDataRequest) caller {
	_, alert := req.Headers[backend.FromAlertHeaderName]
	return caller{req.PluginContext, alert || req.GetHTTPHeader("X-Grafana-From-Expr") != ""}
}

// parallel queries of one request; the SDK allows 1 to 10.
const parallel = 10

// QueryData answers each query by itself: one that fails never spoils others.
func (in *instance) QueryData(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	caller := callerOf(req)
	// The answers are in memory until they are sent, which is when ctx ends.
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
			// Answers are told apart by refId alone: one of them would be lost.
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

// invalid is an error that the asker can mend.
type invalid struct{ error }

// errorResponse says whose error it is: the plugin's, unless its type says that it
// is the asker's, or of what the source asks.
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
	// One text that is not UTF-8 would spoil the answers of the whole request.
	response := backend.ErrDataResponseWithSource(status, from, strings.ToValidUTF8(err.Error(), "\ufffd"))
	response.Frames = frames
	return response
}

// passedOn returns what the guard has to know of a server's failure: whether it
// can pass by itself, and when to ask again at the earliest.
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

// busy is meta.custom of the frame that comes with a failure. An error of its own
// has no place for it, nor have headers a way through Grafana.
type busy struct {
	// RetryAfter is in seconds.
	RetryAfter float64 `json:"retryAfter"`
}

// query answers one query: settled rows, and a channel where one is wanted and
// right.
func (in *instance) query(ctx context.Context, caller caller, dq backend.DataQuery) (data.Frames, error) {
	if in.broken != nil {
		return nil, source.Downstream(in.broken) // whoever watches may wait until it is mended
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
		computes: caller.computes, maxRows: dq.MaxDataPoints, zone: w.Timezone,
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
	for i := range rows.Series {
		if rows.Series[i].Display, err = display(ctx, rows.Series[i], w.Legend); err != nil {
			return nil, err
		}
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
	// Once, because it may be long and the frames many.
	frames[0].Meta.ExecutedQueryString = fmt.Sprintf("%s, one row per %v", q, ms(p.step))
	if p.calendar != nil {
		frames[0].Meta.ExecutedQueryString += fmt.Sprintf(" of the clocks in %s", p.calendar.Zone)
	}
	notice := p.notice
	switch {
	case len(rows.Series) == 0:
		notice = errors.New(hint(ctx, p.bound, rows)) // without a stream: the guard looks again for series
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
		}
		frames[0].AppendNotices(data.Notice{Severity: severity, Text: notice.Error()})
	}
	frames[0].AppendNotices(rows.Notices...)
	return frames, nil
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

// hint says what is known of a query that has no series.
func hint(ctx context.Context, b source.Bound, rows grid.Rows) string {
	if h, ok := b.(source.Hinter); ok {
		if text := h.Hint(ctx, rows.After, rows.Through); text != "" {
			return text
		}
	}
	return "No series in this time range matches the query."
}

// offer returns the channel of the rows that follow and its subscription data. An
// error says why there can be none.
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

// countResync counts the reasons that guards give, and no others: a label's
// values must not be the browser's to choose.
func countResync(reason string) {
	switch reason {
	case "":
	case "hole", "short", "fields", "silence", "refused", "range", "failure", "health":
		resyncs.WithLabelValues(reason).Inc()
	default:
		resyncs.WithLabelValues("other").Inc()
	}
}

var placeholder = regexp.MustCompile(`\{\{\s*([^{}\s]+)\s*\}\}`)

// valueName returns the name of the values in a table: the legend, if it is the same
// for all series.
func valueName(legend string) string {
	if placeholder.MatchString(legend) {
		return ""
	}
	return legend
}

// display returns a series' name in legends: the format with each {{label}}
// replaced by the label's value, or the name that the source gave. That name
// also stands, once, where the series has not all of the labels.
func display(ctx context.Context, s grid.Series, format string) (string, error) {
	if format == "" {
		return s.Display, nil
	}
	size := len(format) + len(s.Display)
	for _, m := range placeholder.FindAllStringSubmatch(format, -1) {
		size += len(s.Labels[m[1]])
	}
	if err := limits.Label.Check(int64(size)); err != nil {
		return "", err
	}
	if err := limits.ChargeLabels(ctx, size); err != nil {
		return "", err
	}
	named := false
	return placeholder.ReplaceAllStringFunc(format, func(m string) string {
		value, ok := s.Labels[placeholder.FindStringSubmatch(m)[1]]
		if !ok && !named {
			named = true
			return s.Display
		}
		return value
	}), nil
}
