package plugin

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Clients of InfluxDB add paths of their own to the URL of the resource.
func TestPushPaths(t *testing.T) {
	rec := recorder.New(t.TempDir(), slog.New(slog.DiscardHandler))
	defer func() {
		if err := rec.Close(); err != nil {
			t.Error(err)
		}
	}()
	pc := backend.PluginContext{OrgID: 1, PluginID: ID, User: &backend.User{Login: "telegraf", Role: "Editor"},
		DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{UID: "uid", JSONData: []byte(`{"source":"recorder","recorder":{"noHost":true,"inputs":[{"type":"push","name":"push"}]}}`)}}
	in, err := NewFactory(rec)(backend.WithPluginContext(t.Context(), pc), *pc.DataSourceInstanceSettings)
	if err != nil {
		t.Fatal(err)
	}
	request := func(method, path, query string, body string) int {
		var got *backend.CallResourceResponse
		err := in.(*instance).CallResource(backend.WithPluginContext(t.Context(), pc), &backend.CallResourceRequest{PluginContext: pc, Method: method, Path: path, URL: path + query, Body: []byte(body)},
			backend.CallResourceResponseSenderFunc(func(rsp *backend.CallResourceResponse) error { got = rsp; return nil }))
		if err != nil {
			t.Fatal(err)
		}
		return got.Status
	}
	for request(http.MethodGet, "push/influx/ping", "", "") == http.StatusServiceUnavailable {
		time.Sleep(10 * time.Millisecond) // the input starts
	}
	for _, test := range []struct {
		method, path, query, body string
		want                      int
	}{
		{http.MethodPost, "push/influx", "", "m v=1", http.StatusNoContent},
		{http.MethodPost, "push/influx/", "", "m v=1", http.StatusNoContent},
		{http.MethodPost, "push/influx/write", "?db=d&precision=s", "m v=1", http.StatusNoContent},
		{http.MethodPost, "push/influx/api/v2/write", "?org=o&bucket=b", "m v=1", http.StatusNoContent},
		{http.MethodPost, "push/influx/api/v3/write_lp", "?db=d", "m v=1", http.StatusNoContent},
		{http.MethodGet, "push/influx/ping", "", "", http.StatusNoContent},
		{http.MethodGet, "push/influx/health", "", "", http.StatusOK},
		{http.MethodPost, "push/influx/query", "?q=CREATE%20DATABASE%20d", "", http.StatusOK},
		{http.MethodPost, "push/other", "", "", http.StatusNotFound},
		{http.MethodPut, "push/influx", "", "", http.StatusMethodNotAllowed},
	} {
		if got := request(test.method, test.path, test.query, test.body); got != test.want {
			t.Errorf("%s %s%s: %d, not %d", test.method, test.path, test.query, got, test.want)
		}
	}
}
