package plugin

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armon/go-socks5"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/proxy"
	"github.com/grafana/grafana-plugin-sdk-go/config"

	"github.com/continuum-live/continuum-datasource/pkg/internal/prometheus"
	"github.com/continuum-live/continuum-datasource/pkg/source/metricsapi/metricsapitest"
)

// behindProxy is a host name that a SOCKS proxy alone knows.
const behindProxy = "server.invalid"

type resolver struct{ asked atomic.Int64 }

func (r *resolver) Resolve(ctx context.Context, name string) (context.Context, net.IP, error) {
	if name != behindProxy {
		return ctx, nil, errors.New("not known")
	}
	r.asked.Add(1)
	return ctx, net.IPv4(127, 0, 0, 1), nil
}

// A server that only Grafana's secure socks proxy reaches is asked through it, by
// both sources that have a server.
func TestSecureSocksProxy(t *testing.T) {
	hosts := new(resolver)
	socks, err := socks5.New(&socks5.Config{Resolver: hosts, Logger: log.New(io.Discard, "", 0)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { _ = socks.Serve(l) }() // until it is closed

	service := httptest.NewServer(&metricsapitest.Service{Period: time.Second})
	t.Cleanup(service.Close)
	for name, test := range map[string]struct {
		url      string
		settings func(url string) backend.DataSourceInstanceSettings
	}{
		"prometheus": {prometheus.Start(t, prometheus.Options{}).URL, func(url string) backend.DataSourceInstanceSettings {
			return backend.DataSourceInstanceSettings{URL: url, JSONData: []byte(`{"source":"prometheus","enableSecureSocksProxy":true}`)}
		}},
		"metrics API": {service.URL, func(url string) backend.DataSourceInstanceSettings {
			return backend.DataSourceInstanceSettings{JSONData: []byte(`{"source":"metrics-api","enableSecureSocksProxy":true,"metricsApi":{"endpoint":"` + url + `"}}`)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(test.url)
			if err != nil {
				t.Fatal(err)
			}
			u.Host = net.JoinHostPort(behindProxy, u.Port())
			s := test.settings(u.String())
			s.UID, s.Name, s.Updated = "uid", "behind a proxy", time.UnixMilli(1)
			pc := backend.PluginContext{OrgID: 1, PluginID: ID, DataSourceInstanceSettings: &s}
			ctx := backend.WithPluginContext(t.Context(), pc)
			ctx = config.WithGrafanaConfig(ctx, config.NewGrafanaCfg(map[string]string{
				proxy.PluginSecureSocksProxyEnabled:       "true",
				proxy.PluginSecureSocksProxyProxyAddress:  l.Addr().String(),
				proxy.PluginSecureSocksProxyServerName:    "proxy",
				proxy.PluginSecureSocksProxyAllowInsecure: "true",
			}))
			in, err := NewFactory(noStores())(ctx, s)
			if err != nil {
				t.Fatal(err)
			}
			before := hosts.asked.Load()
			health, err := in.(*instance).CheckHealth(ctx, &backend.CheckHealthRequest{PluginContext: pc})
			if err != nil || health.Status != backend.HealthStatusOk {
				t.Errorf("health: %+v, %v", health, err)
			}
			if hosts.asked.Load() == before {
				t.Error("the proxy was not asked")
			}
		})
	}
}
