package plugin

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
)

// The tables of settings in the documentation name every setting, its default and its
// range, and no others.
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
		with         string   // settings with one of this table, of a value
	}{
		{docs + "settings.md", "`jsonData`", top, []string{"recorder", "prometheus", "metricsApi"}, `{%q:%d}`},
		{docs + "recorder.md", "`jsonData.recorder`", recorder, nil, `{"recorder":{%q:%d}}`},
		{docs + "prometheus.md", "`jsonData.prometheus`", read(sourcePrometheus)["prometheus"].(map[string]any), nil, `{"source":"prometheus","prometheus":{%q:%d}}`},
		{docs + "metrics-api.md", "`jsonData.metricsApi`", read(sourceMetricsAPI)["metricsApi"].(map[string]any), nil, `{"source":"metrics-api","metricsApi":{%q:%d}}`},
	} {
		for _, name := range table.not {
			delete(table.defaults, name)
		}
		documented := settingsTable(t, table.file, table.column)
		for name, setting := range documented {
			text := setting.standard
			value, ok := table.defaults[name]
			if !ok {
				t.Errorf("%s: there is no setting %s", table.column, name)
				continue
			}
			if want, ok := valueOf(text); ok && value != want {
				t.Errorf("%s: the default of %s is %v, not %s", table.column, name, value, text)
			}
			if _, ok := value.(float64); !ok {
				if setting.between != "" {
					t.Errorf("%s: %s is no number and has no range", table.column, name)
				}
				continue
			}
			least, most, ok := rangeOf(setting.between, table.defaults)
			if !ok {
				t.Errorf("%s: the range of %s is %q", table.column, name, setting.between)
				continue
			}
			for _, n := range []int64{least - 1, least, most, most + 1} {
				if n == 0 {
					continue // the default
				}
				_, err := parseSettings(fmt.Appendf(nil, table.with, name, n))
				if within := n >= least && n <= most; (err == nil) != within || err != nil && !strings.Contains(err.Error(), fmt.Sprint(n)) {
					t.Errorf("%s: %s is said to be %s, but %d: %v", table.column, name, setting.between, n, err)
				}
			}
		}
		for name := range table.defaults {
			if _, ok := documented[name]; !ok {
				t.Errorf("%s: %s is not documented", table.column, name)
			}
		}
	}
}

// documentedSetting is what a table says of a setting.
type documentedSetting struct{ standard, between string }

// settingsTable returns a table by the names of its settings.
func settingsTable(t *testing.T, file, column string) map[string]documentedSetting {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(b), "| setting | "+column+" | default | range |")
	if !ok {
		t.Fatalf("%s has no table of %s", file, column)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	settings := make(map[string]documentedSetting)
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 5 && strings.HasPrefix(cells[2], " `") {
			settings[strings.Trim(cells[2], " `")] = documentedSetting{strings.TrimSpace(cells[3]), strings.TrimSpace(cells[4])}
		}
	}
	return settings
}

var quantity = regexp.MustCompile(`^([0-9]+)(?: (ms|s|minutes|hour|days?|MiB|GiB|PiB))?(?:,.*)?$`)

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
	return n * map[string]float64{"": 1, "ms": 1, "s": 1000, "minutes": 60_000, "hour": hour, "day": day, "days": day, "MiB": 1 << 20, "GiB": 1 << 30, "PiB": 1 << 50}[m[2]], true
}

// rangeOf returns the ends of a range such as "1 ms to half of `name`", where names
// stand for defaults.
func rangeOf(text string, defaults map[string]any) (least, most int64, ok bool) {
	of := func(text string) (int64, bool) {
		rest, half := strings.CutPrefix(text, "half of ")
		if name := strings.Trim(rest, "`"); name != rest {
			n, ok := defaults[name].(float64)
			if half {
				n /= 2
			}
			return int64(n), ok
		}
		n, ok := valueOf(rest)
		number, isNumber := n.(float64)
		return int64(number), ok && isNumber
	}
	first, last, ok := strings.Cut(text, " to ")
	least, okLeast := of(first)
	most, okMost := of(last)
	return least, most, ok && okLeast && okMost
}

// The package of channels knows no limits but its own.
func TestStreamDataLimit(t *testing.T) {
	if limits.StreamData.Most != channel.MaxData {
		t.Errorf("a stream may have %d bytes of data, not %d", channel.MaxData, limits.StreamData.Most)
	}
}
