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
	// errDenied: not a canonical path of this data source, or data that do not
	// belong to it.
	errDenied = errors.New("denied")
	// errStale: made under settings that no longer hold. A fresh query helps.
	errStale = errors.New("the data source settings have changed")
)

// open validates what a viewer's browser says it wants against this data
// source's own source, rules and limits. Nothing in the request is believed
// before that. Errors are errDenied, errStale, or why it cannot be served.
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
	// Check the revision first: under other settings the source may be another
	// one, which does not even know the query.
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

// SubscribeStream authorizes a viewer for the channels that QueryData hands out
// and for no others, and answers with the overlap.
//
// Refusals are statuses, upon which the browser gives up; a status is never the
// answer to what may pass.
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
		return nil, err // until the settings are mended
	case errors.Is(err, errStale):
		// Also a viewer who was offline while the settings changed learns of it
		// at once: a status would leave it to its own silence rule.
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
		// The source is slow or away. RunStream sends the same rows later.
		logger.Debug("Joined without the overlap", "path", brief(req.Path), "error", brief(err))
		return ok, nil
	}
	if ok.InitialData, err = backend.NewInitialData(packet); err != nil {
		return nil, err
	}
	return ok, nil
}

// PublishStream refuses always: what a client sends would be broadcast to every
// viewer as it is.
func (in *instance) PublishStream(context.Context, *backend.PublishStreamRequest) (*backend.PublishStreamResponse, error) {
	return &backend.PublishStreamResponse{Status: backend.PublishStreamStatusPermissionDenied}, nil
}

// RunStream sends the tail to one channel until its context ends. Grafana calls
// it with the first viewer's data, and after an error or a plugin restart again
// without any SubscribeStream, so it validates for itself. It must not return
// while its context lives: after nil, Grafana would leave the viewers frozen.
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

// follow serves the tail until the context ends, the settings change or the
// tail no longer fits the stream.
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

// changed and health are one row under a schema that no query has. They tell viewers
// to ask afresh, the latter because of what an input of the source does. How they
// come to know is pkg/channel's and the guard's business.
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

// sayChanged tells the viewers, and every one who joins, what has changed, until
// ctx ends. It says so more than once because the first packets of a stream and
// of a join can vanish.
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

// brief returns what goes into a log of a value that may have a whole query in it.
func brief(v any) string { return fmt.Sprintf("%.300s", v) }

func userOf(pc backend.PluginContext) string {
	if pc.User == nil {
		return ""
	}
	return pc.User.Login
}
