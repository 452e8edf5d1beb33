package plugin

import (
	"flag"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"

	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	// The SDK logs every query.
	backend.Logger, log.DefaultLogger = log.NewNullLogger(), log.NewNullLogger()
	os.Exit(programs.Main(m, programs.Prometheus))
}

// noStores is a recorder for data sources that have none.
func noStores() *recorder.Recorder {
	return recorder.New("", slog.New(slog.DiscardHandler))
}

// onSignal returns data source settings with the signal as their source, unless
// they say another.
func onSignal(jsonData string) []byte {
	if !strings.Contains(jsonData, `"source"`) {
		jsonData = strings.Replace(jsonData, "{", `{"source":"signal",`, 1)
		jsonData = strings.Replace(jsonData, ",}", "}", 1)
	}
	return []byte(jsonData)
}
