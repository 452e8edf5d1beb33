package plugin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

func TestPreview(t *testing.T) {
	for _, test := range []struct {
		name, role, body string
		status           int
		want             string
	}{
		{"a message", "Editor", `{"type":"mqtt","rules":{"version":2,"labelKeys":["id"]},"messages":[{"topic":"a/b","payload":"{\"id\":5,\"v\":1}"}]}`, 200,
			`{"samples":[{"metric":"v","labels":{"id":"5","topic":"a/b"},"value":1,`},
		{"bytes", "Admin", `{"type":"nats","rules":{"version":2},"messages":[{"topic":"a.b","data":"MjEuNQ=="}]}`, 200, `"labels":{"subject":"a.b"},"value":21.5`},
		{"what is not recorded", "Editor", `{"type":"mqtt","rules":{},"messages":[{"topic":"a","payload":"idle"}]}`, 200,
			`{"samples":[],"skipped":{"not a number":{"count":1,"example":"a idle"}}}`},
		{"a suggestion", "Editor", `{"type":"mqtt","rules":{"version":2},"messages":[{"topic":"a","payload":"{\"id\":5,\"v\":1}"}]}`, 200, `"change":{"labelKeys":["id"]}`},
		{"rules that are wrong", "Editor", `{"type":"mqtt","rules":{"format":"xml"},"messages":[{"topic":"a"}]}`, 400, "rules.format"},
		{"no message", "Editor", `{"type":"mqtt","rules":{}}`, 400, "give at least one"},
		{"another type", "Editor", `{"type":"push","rules":{},"messages":[{}]}`, 400, "none of mqtt"},
		{"not JSON", "Editor", `{`, 400, "cannot be read"},
		{"too large", "Editor", `{"type":"` + strings.Repeat("x", maxPreviewBytes), 400, "cannot be read"},
		{"a viewer", "Viewer", `{}`, 403, "only editors"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := backend.WithPluginContext(t.Context(), backend.PluginContext{User: &backend.User{Role: test.role}})
			w := httptest.NewRecorder()
			preview(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/inputs/preview", strings.NewReader(test.body)))
			if got := w.Body.String(); w.Code != test.status || !strings.Contains(got, test.want) {
				t.Errorf("%d %s\nwant %d %s", w.Code, got, test.status, test.want)
			}
		})
	}
}
