package prometheus

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

func TestMain(m *testing.M) { os.Exit(programs.Main(m, programs.Prometheus)) }

// A server answers, keeps its address and its directory through a restart, and
// reads the configuration.
func TestRestart(t *testing.T) {
	s := Start(t, Options{Config: "global: {external_labels: {site: here}}"})
	url := s.URL
	s.Kill()
	if rsp, err := http.Get(url + "/-/ready"); err == nil {
		_ = rsp.Body.Close()
		t.Error("a killed server answers")
	}
	s.Restart()
	if s.URL != url {
		t.Errorf("the server moved from %s to %s", url, s.URL)
	}
	rsp, err := http.Get(s.URL + "/api/v1/status/config")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(rsp.Body)
	if err != nil || rsp.Body.Close() != nil || !strings.Contains(string(body), "site: here") {
		t.Errorf("the configuration is %s, %v", body, err)
	}
}
