package plugin

import (
	"context"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

// CheckHealth says whether the data source works, and if not what to do.
func (in *instance) CheckHealth(ctx context.Context, _ *backend.CheckHealthRequest) (*backend.CheckHealthResult, error) {
	err := in.broken
	if err == nil {
		var message string
		if message, err = in.source.Check(ctx); err == nil {
			return &backend.CheckHealthResult{Status: backend.HealthStatusOk, Message: message}, nil
		}
	}
	return &backend.CheckHealthResult{Status: backend.HealthStatusError, Message: err.Error()}, nil
}
