package plugin

import (
	"context"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

// CheckHealth says whether the data source works, and if not, what to do. Viewers
// only get the first line of a recorder's message: the others are about its inputs,
// whose addresses and messages viewers must not see.
func (in *instance) CheckHealth(ctx context.Context, req *backend.CheckHealthRequest) (*backend.CheckHealthResult, error) {
	message, err := "", in.broken
	if err == nil {
		message, err = in.source.Check(ctx)
	}
	result := &backend.CheckHealthResult{Status: backend.HealthStatusOk, Message: message}
	if err != nil {
		result.Status, result.Message = backend.HealthStatusError, err.Error()
	}
	if in.settings.Source == sourceRecorder && !mayEdit(req.PluginContext) {
		result.Message, _, _ = strings.Cut(result.Message, "\n")
	}
	return result, nil
}
