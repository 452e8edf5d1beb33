package message

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cases "github.com/continuum-live/continuum-datasource/pkg/internal/reported"
)

// Inputs of the families of senders that there are, each family in a file: what people
// send, and what it becomes. With -update the files get what is seen; read the change
// against what the input expects.
func TestFamilies(t *testing.T) {
	paths, err := filepath.Glob("testdata/families/*.json")
	if err != nil || len(paths) < 15 {
		t.Fatal(len(paths), "families", err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var all []reported
		var raw []map[string]any
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatal(path, err)
		}
		if err := json.Unmarshal(b, &raw); err != nil {
			t.Fatal(path, err)
		}
		for i, r := range all {
			t.Run(r.Name, func(t *testing.T) {
				if err := r.Rules.Check(); err != nil {
					t.Fatal(err)
				}
				got := r.outcome(t)
				raw[i]["seen"] = got
				if !slices.Equal(got, r.Seen) && !*update {
					t.Errorf("%s\n%s\nwant\n%s", r.Expect, strings.Join(got, "\n"), strings.Join(r.Seen, "\n"))
				}
			})
		}
		if *update {
			cases.Write(t, path, raw)
		}
	}
}
