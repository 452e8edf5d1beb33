package plugin

import (
	"flag"
	"os"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	// The SDK logs every query.
	backend.Logger, log.DefaultLogger = log.NewNullLogger(), log.NewNullLogger()
	os.Exit(m.Run())
}
