package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
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
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/tail"
)

// wire is what a query has beside the fields of its source.
type wire struct {
	// Legend is the format of display names; {{label}} stands for a label.
	Legend string `json:"legend"`
	// Live, Nonce and Resync are set by the front end alone: that the range
	// ends at now and a stream is wanted, the guard's nonce, and why it asks
	// again.
	Live   bool   `json:"live"`
	Nonce  int64  `json:"nonce"`
	Resync string `json:"resync"`
}

// live is what an answer with a channel tells the guard, in meta.custom.
type live struct {
	// Data is the subscription data, to be passed on as it is.
	Data string `json:"data"`
	// Step and Window are the path's, in milliseconds.
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
	return concurrent.QueryData(ctx, req, func(ctx context.Context, q concurrent.Query) backend.DataResponse {
		ctx, span := tracing.DefaultTracer().Start(ctx, "continuum query", trace.WithAttributes(attribute.String("refId", q.DataQuery.RefID)))
		defer span.End()
		frames, err := in.query(ctx, caller, q.DataQuery)
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
			return errorResponse(ctx, err)
		}
		return backend.DataResponse{Frames: frames, Status: backend.StatusOK}
	}, parallel)
}

// invalid is an error that the asker can mend.
type invalid struct{ error }

// errorResponse says whose error it is: the plugin's, unless its type says that it
// is the asker's, or of what the source asks.
func errorResponse(ctx context.Context, err error) backend.DataResponse {
	status, from := backend.StatusBadGateway, backend.ErrorSourceDownstream
	switch {
	case errors.As(err, new(invalid)):
		status = backend.StatusBadRequest
	case errors.Is(err, context.DeadlineExceeded):
		status = backend.StatusTimeout
	case errors.Is(err, context.Canceled):
	case errors.Is(err, source.ErrDownstream):
		backend.Logger.FromContext(ctx).Warn("Query failed", "error", err)
	default:
		status, from = backend.StatusInternal, backend.ErrorSourcePlugin
		backend.Logger.FromContext(ctx).Error("Query failed", "error", err)
	}
	return backend.ErrDataResponseWithSource(status, from, err.Error())
}

// query answers one query: settled rows, and a channel where one is wanted and
// right.
func (in *instance) query(ctx context.Context, caller caller, dq backend.DataQuery) (data.Frames, error) {
	if in.broken != nil {
		return nil, source.Downstream(in.broken) // whoever watches may wait until it is mended
	}
	var w wire
	if err := json.Unmarshal(dq.JSON, &w); err != nil {
		return nil, invalid{fmt.Errorf("the query cannot be read: %w", err)}
	}
	if w.Nonce < 0 || w.Nonce > channel.MaxNonce {
		return nil, invalid{fmt.Errorf("nonce %d is out of range: use 0 to %d", w.Nonce, channel.MaxNonce)}
	}
	q, err := in.source.Query(dq.JSON)
	if err != nil {
		return nil, invalid{err}
	}
	countResync(w.Resync)
	settled, err := q.Settled(ctx)
	if err != nil {
		return nil, err
	}
	step := max(dq.Interval.Milliseconds(), q.MinStep(), in.settings.MinStep)
	from, to := dq.TimeRange.From.UnixMilli(), dq.TimeRange.To.UnixMilli()
	if from < -channel.MaxTime || to > channel.MaxTime {
		return nil, invalid{errors.New("the time range is out of bounds: choose one that is nearer to now")}
	}
	if from > to {
		return nil, invalid{errors.New("the time range ends before it begins: choose another one")}
	}

	// A plain answer has the settled rows of the range.
	isLive := w.Live && !caller.computes && 2*step <= to-from
	var notice error
	if u, ok := q.(source.Unsplit); ok && isLive {
		if err := u.Unsplit(); err != nil {
			isLive, notice = false, fmt.Errorf("Shown without a live stream: %w", err)
		}
	}
	after, through := grid.Floor(from, step), grid.Floor(min(to, settled), step)
	if n := grid.Window(to-from, step) / step; isLive && n > in.settings.MaxRows && (through-after)/step <= in.settings.MaxRows {
		isLive, notice = false, fmt.Errorf("Shown without a live stream: it would have %d rows, more than the %d that the data source settings allow. "+
			"Choose a shorter time range, or a larger minimum interval in the query options.", n, in.settings.MaxRows)
	}
	if isLive {
		// The newest window, by the clock of the source: the browser's may be off.
		through = grid.Floor(settled, step)
		after = through - grid.Window(to-from, step)
	}
	after = min(after, through) // nothing of the range is settled yet
	if windowed, ok := q.(source.Windowed); ok {
		window := to - from
		if isLive {
			window = through - after
		}
		q = windowed.Within(window)
	}
	if n := (through - after) / step; n > in.settings.MaxRows {
		return nil, invalid{fmt.Errorf("the query has %d rows, more than the %d that the data source settings allow: "+
			"choose a shorter time range, or a larger minimum interval in the query options", n, in.settings.MaxRows)}
	}
	first := after
	if isLive {
		// A stream begins with the overlap, and must know the fields of it all.
		first = min(first, through-tail.OverlapLen(step)*step)
	}
	late := lateOf(q) // before the rows: what comes meanwhile counts as later
	rows, err := q.Rows(ctx, step, first, through)
	if err != nil {
		return nil, err
	}
	rows = rows.Newest(int((through - after) / step))
	for i := range rows.Series {
		rows.Series[i].Display = display(rows.Series[i], w.Legend)
	}
	executed := fmt.Sprintf("%s, one row per %v", q, time.Duration(step)*time.Millisecond)

	var frames data.Frames
	if caller.computes {
		frames = rows.Multi()
	} else {
		frames = data.Frames{rows.Frame()}
	}
	for _, f := range frames {
		f.RefID = dq.RefID
		f.Meta.ExecutedQueryString = executed
	}
	if isLive {
		notice = in.offer(frames[0].Meta, caller, w, q, rows, late)
	}
	if notice != nil {
		frames[0].AppendNotices(data.Notice{Severity: data.NoticeSeverityWarning, Text: notice.Error()})
	}
	return frames, nil
}

// lateOf returns how many late samples the query's source has taken.
func lateOf(q source.Query) uint64 {
	w, ok := q.(source.Watched)
	if !ok {
		return 0
	}
	late, _ := w.Watch()
	return late
}

// offer puts the channel of the rows that follow into an answer's meta. An error
// says why there can be none.
func (in *instance) offer(meta *data.FrameMeta, caller caller, w wire, q source.Query, rows grid.Rows, late uint64) error {
	encoded, err := channel.Data{
		Query:    q.JSON(),
		Legend:   w.Legend,
		Fields:   rows.Fields(),
		Revision: in.settings.revision(),
		Late:     late,
	}.Encode()
	if err != nil {
		return err
	}
	if len(encoded) > channel.MaxData {
		return fmt.Errorf("Shown without a live stream: the query and its series take %d KB, more than the %d KB a stream can have. "+
			"Ask for fewer series.", len(encoded)>>10, channel.MaxData>>10)
	}
	if err := checkFields(rows.Fields(), rows.Step); err != nil {
		return fmt.Errorf("Shown without a live stream: %w. Ask for fewer series, or a larger minimum interval.", err)
	}
	window := rows.Through - rows.After
	path := channel.Path{Step: rows.Step, Window: window, Digest: channel.DigestOf(encoded), Nonce: w.Nonce}
	pc := caller.context
	if err := in.streams.room(ownerOf(pc), path, userOf(pc), in.settings); err != nil {
		return err
	}
	meta.Channel = path.Channel(pc.DataSourceInstanceSettings.UID)
	meta.Custom = live{Data: encoded, Step: rows.Step, Window: window, First: rows.Time(0)}
	return nil
}

// countResync counts the reasons that guards give, and no others: a label's
// values must not be the browser's to choose.
func countResync(reason string) {
	switch reason {
	case "":
	case "hole", "short", "fields", "silence", "refused", "failure":
		resyncs.WithLabelValues(reason).Inc()
	default:
		resyncs.WithLabelValues("other").Inc()
	}
}

var placeholder = regexp.MustCompile(`\{\{\s*([^{}\s]+)\s*\}\}`)

// display returns a series' name in legends: the format with each {{label}}
// replaced by the label's value, or the name that the source gave.
func display(s grid.Series, format string) string {
	if format == "" {
		return s.Display
	}
	return placeholder.ReplaceAllStringFunc(format, func(m string) string {
		return s.Labels[placeholder.FindStringSubmatch(m)[1]]
	})
}
