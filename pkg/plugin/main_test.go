package plugin

import (
	"flag"
	"log/slog"
	"os"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	// The SDK logs every query.
	backend.Logger, log.DefaultLogger = log.NewNullLogger(), log.NewNullLogger()
	os.Exit(m.Run())
}

// noStores is a recorder for data sources that have none.
func noStores() *recorder.Recorder {
	return recorder.New("", slog.New(slog.DiscardHandler))
}
