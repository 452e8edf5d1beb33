package promql

import (
	"os"
	"testing"

	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

func TestMain(m *testing.M) { os.Exit(programs.Main(m, programs.Prometheus)) }
