package push

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	cases "github.com/continuum-live/continuum-datasource/pkg/internal/reported"
)

var update = flag.Bool("update", false, "write what is seen into testdata/families")

// What clients of InfluxDB send, the answer, and what is stored. With -update the file
// gets what is seen; read the change against what the input expects.
func TestInfluxClients(t *testing.T) {
	const path = "testdata/families/influx.json"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		reported
		Method string
		Seen   string
	}
	var raw []map[string]any
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	for i, r := range all {
		t.Run(r.Name, func(t *testing.T) {
			_, store := open(t, Config{})
			var header []string
			for name, value := range r.Headers {
				header = append(header, name, value)
			}
			now := time.Now()
			got := send(store.Sink("push"), r.Method, r.Format, r.Query, r.request(t, now), header...)
			seen := fmt.Sprintf("%d stored", got.StatusCode)
			stored := samples(t, store)
			for _, at := range slices.Sorted(maps.Keys(stored)) {
				name, _, _ := strings.Cut(at, "@")
				seen += fmt.Sprintf(" %s %v", name, stored[at])
			}
			var said answer
			if json.Unmarshal([]byte(got.Body), &said) == nil && said.Error != "" {
				seen += ": " + strings.NewReplacer(fmt.Sprint(now.UnixNano()), "%NS%", fmt.Sprint(now.Unix()), "%S%",
					now.UTC().Format("2006-01-02T15:04:05.000Z07:00"), "%NS%", now.UTC().Format("2006-01-02T15:04:05.000Z07:00")[:19]+".000Z", "%S%").Replace(said.Error)
			}
			raw[i]["seen"] = seen
			if seen != r.Seen && !*update {
				t.Errorf("%s\n%s\nwant\n%s", r.Expect, seen, r.Seen)
			}
		})
	}
	if *update {
		cases.Write(t, path, raw)
	}
}

// Clients of InfluxDB ask whether there is a server before they write.
func TestInfluxHealth(t *testing.T) {
	_, store := open(t, Config{})
	got := send(store.Sink("push"), http.MethodGet, "influx/health", "", "")
	if !strings.Contains(got.Body, `"status":"pass"`) {
		t.Error(got)
	}
}
