// Package reported runs tests of inputs that people reported publicly. Files in
// testdata/cases of the package under test describe them.
package reported

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Run calls test for each case, with its input: inputs is keyed by the names of the
// files without .json. A case without an input is an error, and so is an input
// without a case.
func Run[T any](t *testing.T, inputs map[string]T, test func(t *testing.T, input T)) {
	t.Helper()
	paths, err := filepath.Glob("testdata/cases/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".json"))
	}
	if have := slices.Sorted(maps.Keys(inputs)); !slices.Equal(names, have) {
		t.Fatalf("the cases are %v, the inputs are of %v", names, have)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) { test(t, inputs[name]) })
	}
}

// Write writes cases to the file at path, as people write them.
func Write(t *testing.T, path string, cases any) {
	t.Helper()
	var made bytes.Buffer
	to := json.NewEncoder(&made)
	to.SetEscapeHTML(false)
	to.SetIndent("", " ")
	if err := to.Encode(cases); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, made.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
