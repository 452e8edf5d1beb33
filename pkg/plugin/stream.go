package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/tail"
)

var (
	// errDenied means that the path is not a canonical one of this data source, or
	// that the data do not belong to it.
	errDenied = errors.New("denied")
	// errStale means that a stream was made under other settings. A new query helps.
	errStale = errors.New("the data source settings have changed")
)

// open checks a path and its subscription data, which come from a viewer's browser,
// against the source, the rules and the limits of this data source. Nothing in them
// is trusted before that. Errors are errDenied, errStale, or the reason why there
// can be no stream.
func (in *instance) open(path string, raw json.RawMessage) (channel.Path, channel.Data, source.Bound, error) {
	p, err := channel.ParsePath(path)
	fail := func(err error) (channel.Path, channel.Data, source.Bound, error) {
		return p, channel.Data{}, nil, err
	}
	if err != nil {
		return fail(errors.Join(errDenied, err))
	}
	d, err := p.Carries(raw)
	if err != nil {
		return fail(errors.Join(errDenied, err))
	}
	if in.broken != nil {
		return fail(in.broken)
	}
	// Check the revision first: with other settings the source may be another one,
	// to which the query means nothing.
	if d.Revision != in.settings.revision() {
		return fail(errStale)
	}
	q, err := in.source.Query(d.Query)
	if err != nil {
		return fail(err)
	}
	if string(q.JSON()) != string(d.Query) {
		return fail(fmt.Errorf("%w: the query is not in its canonical form", errDenied))
	}
	b, err := q.Bind(p.Step, p.Window)
	if err == nil {
		err = streamable(b, p.Window, d.Fields, in.settings)
	}
	return p, d, b, err
}

// SubscribeStream admits a viewer to the channels that QueryData offers, and to no
// others. It answers with the overlap.
//
// A status makes the browser give up. So a status is only returned for refusals that
// do not pass by themselves, and an error otherwise.
func (in *instance) SubscribeStream(ctx context.Context, req *backend.SubscribeStreamRequest) (*backend.SubscribeStreamResponse, error) {
	logger := backend.Logger.FromContext(ctx)
	refuse := func(status backend.SubscribeStreamStatus, why error) (*backend.SubscribeStreamResponse, error) {
		logger.Warn("Subscription refused", "path", brief(req.Path), "reason", brief(why))
		return &backend.SubscribeStreamResponse{Status: status}, nil
	}
	p, d, b, err := in.open(req.Path, req.Data)
	switch {
	case errors.Is(err, errDenied):
		return refuse(backend.SubscribeStreamStatusPermissionDenied, err)
	case in.broken != nil:
		return nil, err // the browser tries again until the settings are fixed
	case errors.Is(err, errStale):
		// Admit the viewer, and send changed below, so that it asks again at once. A
		// status would leave it waiting for its own silence rule.
	case err != nil:
		return refuse(backend.SubscribeStreamStatusNotFound, err)
	}
	if err := in.streams.join(ownerOf(req.PluginContext), p, userOf(req.PluginContext), in.settings); err != nil {
		return refuse(backend.SubscribeStreamStatusNotFound, err)
	}
	ok := &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusOK}
	var packet []byte
	if err == nil {
		packet, err = in.tails.Overlap(ctx, b, d.Schema())
	}
	switch {
	case errors.Is(err, errStale), errors.Is(err, tail.ErrFields):
		packet = changed
	case err != nil:
		// The source is slow or not reachable. RunStream sends the same rows later.
		logger.Debug("Joined without the overlap", "path", brief(req.Path), "error", brief(err))
		return ok, nil
	}
	if ok.InitialData, err = backend.NewInitialData(packet); err != nil {
		return nil, err
	}
	return ok, nil
}

// PublishStream always refuses: Grafana would broadcast a client's data to all
// viewers.
func (in *instance) PublishStream(context.Context, *backend.PublishStreamRequest) (*backend.PublishStreamResponse, error) {
	return &backend.PublishStreamResponse{Status: backend.PublishStreamStatusPermissionDenied}, nil
}

// RunStream sends the tail to one channel until its context ends. Grafana calls it
// with the first viewer's data, and calls it again after an error or a restart of
// the plugin, without SubscribeStream. So it checks the data itself. It must not
// return nil while its context lives: Grafana would leave the viewers without
// updates.
func (in *instance) RunStream(ctx context.Context, req *backend.RunStreamRequest, sender *backend.StreamSender) error {
	logger := backend.Logger.FromContext(ctx)
	p, d, b, err := in.open(req.Path, req.Data)
	if errors.Is(err, errDenied) {
		logger.Warn("Stream refused", "path", brief(req.Path), "reason", brief(err))
		<-ctx.Done() // an error would make Grafana call again and again
		return ctx.Err()
	}
	run := in.streams.begin(ownerOf(req.PluginContext), p, userOf(req.PluginContext), in.settings.revision())
	defer run.end()
	if err == nil {
		err = in.follow(ctx, run, b, p, d, sender)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	logger.Info("Stream cannot go on, viewers are told to ask afresh", "path", brief(req.Path), "reason", brief(err))
	what := changed
	if errors.Is(err, source.ErrHealth) {
		what = health
	}
	return sayChanged(ctx, what, run.joined, sender)
}

// follow serves the tail until the context ends, the settings change or the stream
// has to begin again.
func (in *instance) follow(ctx context.Context, run run, b source.Bound, p channel.Path, d channel.Data, sender *backend.StreamSender) error {
	select {
	case <-run.stale:
		return errStale
	default:
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-run.stale:
			cancel(errStale)
		case <-ctx.Done():
		}
	}()
	t, release := in.tails.Follow(b, d.Schema())
	defer release()
	err := t.Serve(ctx, tail.History{Window: p.Window, Mark: d.Mark}, run.joined, sender.SendBytes)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// changed and health are packets with one row and a field that no query has. They
// tell viewers to query again; health says that an input of the source went down or
// came back. The guard recognises them by the field.
var (
	changed = noRow("changed")
	health  = noRow("health")
)

func noRow(field string) []byte {
	frame := data.NewFrame("",
		data.NewField(grid.TimeName, nil, []time.Time{time.UnixMilli(0)}),
		data.NewField(field, nil, []bool{true}))
	b, err := data.FrameToJSON(frame, data.IncludeAll)
	if err != nil {
		panic(err)
	}
	return b
}

// sayChanged sends what to the viewers, and again whenever a viewer joins, until ctx
// ends. It sends it three times, because the first packets of a stream and after a
// join can get lost.
func sayChanged(ctx context.Context, what []byte, joined <-chan struct{}, sender *backend.StreamSender) error {
	for {
		for _, pause := range []time.Duration{0, 250 * time.Millisecond, 750 * time.Millisecond} {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
			if err := sender.SendBytes(what); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-joined:
		}
	}
}

// brief returns a value as text for the log, cut because it may have a whole query.
func brief(v any) string { return fmt.Sprintf("%.300s", v) }

func userOf(pc backend.PluginContext) string {
	if pc.User == nil {
		return ""
	}
	return pc.User.Login
}
