// Package grafana stands in for Grafana in the demo and in tests: it starts a
// built plugin binary and calls it over gRPC as Grafana does, and it holds what
// a panel would show.
package grafana

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/grpcplugin"
	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// Plugin is a running plugin binary.
type Plugin struct {
	client      *goplugin.Client
	pid         int
	received    received
	data        grpcplugin.DataClient
	stream      grpcplugin.StreamClient
	diagnostics grpcplugin.DiagnosticsClient
	resource    grpcplugin.ResourceClient
}

// maxMessage is the largest answer that Grafana accepts from a plugin, in bytes.
const maxMessage = 1 << 30

// Start starts the binary and drops its log.
func Start(binary string) (*Plugin, error) { return StartLogging(binary, io.Discard) }

// StartLogging starts the binary and writes its log to log.
func StartLogging(binary string, log io.Writer) (*Plugin, error) {
	p := &Plugin{}
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		// The constants and the version are those of the SDK's grpcplugin.Serve.
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion:  grpcplugin.ProtocolVersion,
			MagicCookieKey:   grpcplugin.MagicCookieKey,
			MagicCookieValue: grpcplugin.MagicCookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{grpcplugin.ProtocolVersion: {
			"data":        &grpcplugin.DataGRPCPlugin{},
			"stream":      &grpcplugin.StreamGRPCPlugin{},
			"diagnostics": &grpcplugin.DiagnosticsGRPCPlugin{},
			"resource":    &grpcplugin.ResourceGRPCPlugin{},
		}},
		Cmd:              exec.Command(binary),
		Stderr:           log,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
			grpc.WithStatsHandler(&p.received),
		},
		Logger: hclog.NewNullLogger(),
	})
	if err := p.dispense(); err != nil {
		p.client.Kill()
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	return p, nil
}

func (p *Plugin) dispense() error {
	protocol, err := p.client.Client()
	if err != nil {
		return err
	}
	p.pid = p.client.ReattachConfig().Pid
	var errs [4]error
	p.data, errs[0] = dispense[grpcplugin.DataClient](protocol, "data")
	p.stream, errs[1] = dispense[grpcplugin.StreamClient](protocol, "stream")
	p.diagnostics, errs[2] = dispense[grpcplugin.DiagnosticsClient](protocol, "diagnostics")
	p.resource, errs[3] = dispense[grpcplugin.ResourceClient](protocol, "resource")
	return errors.Join(errs[:]...)
}

func dispense[T any](protocol goplugin.ClientProtocol, service string) (T, error) {
	raw, err := protocol.Dispense(service)
	client, ok := raw.(T)
	if err == nil && !ok {
		err = fmt.Errorf("the plugin's %s service is a %T", service, raw)
	}
	return client, err
}

// Stop ends the plugin in the way of a Grafana that shuts down.
func (p *Plugin) Stop() { p.client.Kill() }

// PID returns the plugin's process id.
func (p *Plugin) PID() int { return p.pid }

// Exited reports whether the plugin's process has ended.
func (p *Plugin) Exited() bool { return p.client.Exited() }

// Received returns how many bytes of answers and packets the plugin has sent,
// counted on the wire.
func (p *Plugin) Received() uint64 { return p.received.Load() }

// received counts bytes as gRPC's stats handler.
type received struct{ atomic.Uint64 }

func (r *received) HandleRPC(_ context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InPayload); ok {
		r.Add(uint64(in.WireLength)) // never negative
	}
}

func (*received) HandleConn(context.Context, stats.ConnStats)                       {}
func (*received) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*received) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// Kill ends the plugin with SIGKILL.
func (p *Plugin) Kill() error {
	process, err := os.FindProcess(p.pid)
	if err != nil {
		return err
	}
	return process.Kill()
}

// QueryData calls the plugin.
func (p *Plugin) QueryData(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	rsp, err := p.data.QueryData(ctx, backend.ToProto().QueryDataRequest(req))
	if err != nil {
		return nil, err
	}
	return backend.FromProto().QueryDataResponse(rsp)
}

// SubscribeStream calls the plugin. It returns the initial data, nil if there are
// none.
func (p *Plugin) SubscribeStream(ctx context.Context, req *backend.SubscribeStreamRequest) (backend.SubscribeStreamStatus, []byte, error) {
	rsp, err := p.stream.SubscribeStream(ctx, backend.ToProto().SubscribeStreamRequest(req))
	if err != nil {
		return 0, nil, err
	}
	return backend.SubscribeStreamStatus(rsp.GetStatus()), rsp.GetData(), nil
}

// RunStream calls the plugin and calls packet for each packet until the stream ends.
// The error is that of the stream, io.EOF if the plugin returned none.
func (p *Plugin) RunStream(ctx context.Context, req *backend.RunStreamRequest, packet func([]byte)) error {
	s, err := p.stream.RunStream(ctx, backend.ToProto().RunStreamRequest(req))
	if err != nil {
		return err
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		packet(m.GetData())
	}
}

// Resource answers a request by calling the plugin, as Grafana does below
// /api/datasources/uid/<uid>/resources/. It passes headers and body on unchanged,
// with any compression.
func (p *Plugin) Resource(pc backend.PluginContext, path string, w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	req := &backend.CallResourceRequest{
		PluginContext: pc, Path: path, Method: r.Method, URL: path, Headers: r.Header, Body: body,
	}
	if r.URL.RawQuery != "" {
		req.URL += "?" + r.URL.RawQuery
	}
	s, err := p.resource.CallResource(r.Context(), backend.ToProto().CallResourceRequest(req))
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		m, err := s.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if first {
			for name, values := range m.GetHeaders() {
				for _, v := range values.GetValues() {
					w.Header().Add(name, v)
				}
			}
			w.WriteHeader(int(m.GetCode()))
		}
		if len(m.GetBody()) == 0 {
			continue // some statuses allow no body, not even an empty one
		}
		if _, err := w.Write(m.GetBody()); err != nil {
			return err
		}
	}
}

// CheckHealth calls the plugin.
func (p *Plugin) CheckHealth(ctx context.Context, req *backend.CheckHealthRequest) (*backend.CheckHealthResult, error) {
	rsp, err := p.diagnostics.CheckHealth(ctx, &pluginv2.CheckHealthRequest{
		PluginContext: backend.ToProto().PluginContext(req.PluginContext),
	})
	if err != nil {
		return nil, err
	}
	return backend.FromProto().CheckHealthResponse(rsp), nil
}

// Metrics returns the plugin's own metrics in Prometheus' text format.
func (p *Plugin) Metrics(ctx context.Context) ([]byte, error) {
	rsp, err := p.diagnostics.CollectMetrics(ctx, &pluginv2.CollectMetricsRequest{})
	if err != nil {
		return nil, err
	}
	return rsp.GetMetrics().GetPrometheus(), nil
}
