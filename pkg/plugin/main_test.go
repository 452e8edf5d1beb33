package plugin

import (
	"os"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
)

func TestMain(m *testing.M) {
	// The SDK logs every query.
	backend.Logger, log.DefaultLogger = log.NewNullLogger(), log.NewNullLogger()
	os.Exit(m.Run())
}
