package plugin

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

// The tables of settings in the documentation name every setting and its default,
// and no others.
func TestSettingsAreDocumented(t *testing.T) {
	read := func(kind string) map[string]any {
		s, err := parseSettings([]byte(`{"source":"` + kind + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	top := read(sourceRecorder)
	recorder := top["recorder"].(map[string]any)
	recorder["inputs"] = nil // absent where there are none
	docs := "../../docs/"
	for _, table := range []struct {
		file, column string
		defaults     map[string]any
		not          []string // is not a setting of this table
	}{
		{docs + "settings.md", "`jsonData`", top, []string{"recorder", "prometheus", "metricsApi"}},
		{docs + "recorder.md", "`jsonData.recorder`", recorder, nil},
		{docs + "prometheus.md", "`jsonData.prometheus`", read(sourcePrometheus)["prometheus"].(map[string]any), nil},
		{docs + "metrics-api.md", "`jsonData.metricsApi`", read(sourceMetricsAPI)["metricsApi"].(map[string]any), nil},
	} {
		for _, name := range table.not {
			delete(table.defaults, name)
		}
		documented := settingsTable(t, table.file, table.column)
		for name, text := range documented {
			value, ok := table.defaults[name]
			if !ok {
				t.Errorf("%s: there is no setting %s", table.column, name)
				continue
			}
			if want, ok := valueOf(text); ok && value != want {
				t.Errorf("%s: the default of %s is %v, not %s", table.column, name, value, text)
			}
		}
		for name := range table.defaults {
			if _, ok := documented[name]; !ok {
				t.Errorf("%s: %s is not documented", table.column, name)
			}
		}
	}
}

// settingsTable returns the defaults of a table by the names of its settings.
func settingsTable(t *testing.T, file, column string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(b), "| setting | "+column+" | default |")
	if !ok {
		t.Fatalf("%s has no table of %s", file, column)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	defaults := make(map[string]string)
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 4 && strings.HasPrefix(cells[2], " `") {
			defaults[strings.Trim(cells[2], " `")] = strings.TrimSpace(cells[3])
		}
	}
	return defaults
}

var quantity = regexp.MustCompile(`^([0-9]+)(?: (ms|s|minutes|days|GiB))?(?:,.*)?$`)

// valueOf returns a default as the settings have it: times in milliseconds, sizes
// in bytes. A text that is no plain value is for people alone.
func valueOf(text string) (any, bool) {
	if plain := strings.Trim(text, "`"); plain != text {
		return plain, true
	}
	switch text {
	case "none":
		return nil, false
	case "true", "false":
		return text == "true", true
	}
	m := quantity.FindStringSubmatch(text)
	if m == nil {
		return nil, false
	}
	n, _ := strconv.ParseFloat(m[1], 64)
	return n * map[string]float64{"": 1, "ms": 1, "s": 1000, "minutes": 60_000, "days": 86_400_000, "GiB": 1 << 30}[m[2]], true
}

// The package of channels knows no limits but its own.
func TestStreamDataLimit(t *testing.T) {
	if limits.StreamData.Most != channel.MaxData {
		t.Errorf("a stream may have %d bytes of data, not %d", channel.MaxData, limits.StreamData.Most)
	}
}
