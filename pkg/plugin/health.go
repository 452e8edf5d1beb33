package plugin

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

// CheckHealth says whether the data source works, and if not, what to do. The first
// line is the message, and what follows are details, which Grafana unfolds. Viewers
// do not get what is wrong with a recorder, nor its details: both may have addresses
// and messages.
func (in *instance) CheckHealth(ctx context.Context, req *backend.CheckHealthRequest) (*backend.CheckHealthResult, error) {
	text, err := "", in.broken
	if err == nil {
		text, err = in.source.Check(ctx)
	}
	status := backend.HealthStatusOk
	if err != nil {
		status, text = backend.HealthStatusError, err.Error()
	}
	message, details, _ := strings.Cut(text, "\n")
	if in.settings.Source == sourceRecorder && !mayEdit(req.PluginContext) {
		details = ""
		if err != nil {
			message = "The recorder has trouble: editors and admins see which when they test the data source."
		}
	}
	result := &backend.CheckHealthResult{Status: status, Message: message}
	if details != "" {
		// The name is Grafana's.
		if result.JSONDetails, err = json.Marshal(map[string]string{"verboseMessage": details}); err != nil {
			return nil, err
		}
	}
	return result, nil
}
