package victoria

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/remotewrite"
)

// A server takes samples, and keeps its address and its data through a restart.
func TestRestart(t *testing.T) {
	s := Start(t)
	url := s.URL
	err := remotewrite.Send(t.Context(), s.URL, []remotewrite.Sample{{Labels: map[string]string{"__name__": "kept"}, T: time.Now().Add(-time.Minute).UnixMilli(), V: 7}})
	if err != nil {
		t.Fatal(err)
	}
	stored := func() string {
		rsp, err := http.Get(s.URL + "/api/v1/export?match[]=kept")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(rsp.Body)
		if err != nil || rsp.Body.Close() != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for began := time.Now(); !strings.Contains(stored(), `"values":[7]`); {
		if time.Since(began) > patience {
			t.Fatal("the sample is not to be seen")
		}
	}
	s.Flush()
	s.Restart()
	if s.URL != url || !strings.Contains(stored(), `"values":[7]`) {
		t.Errorf("after a restart, %s has %s", s.URL, stored())
	}
}
