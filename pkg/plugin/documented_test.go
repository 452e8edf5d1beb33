package plugin

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
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
	type table struct {
		column   string
		defaults map[string]any
		with     string // settings with one of this table, of a value
	}
	common := make(map[string]any)
	tables := []table{{"`jsonData`", common, `{%q:%d}`}}
	for name, value := range read(sourceRecorder) {
		if _, ok := value.(map[string]any); !ok {
			common[name] = value
			continue
		}
		// The settings of a source are called as it is, in camel case.
		kind := kindOf(t, name)
		defaults := read(kind)[name].(map[string]any)
		if kind == sourceRecorder {
			defaults["inputs"], defaults["rules"] = nil, nil // absent where there are none
		}
		tables = append(tables, table{"`jsonData." + name + "`", defaults, `{"source":"` + kind + `","` + name + `":{%q:%d}}`})
	}
	for _, table := range tables {
		documented := settingsTable(t, table.column)
		for name, setting := range documented {
			text := setting.standard
			value, ok := table.defaults[name]
			if !ok {
				t.Errorf("the table of %s in docs/ has %s, and there is no such setting", table.column, name)
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
				t.Errorf("%s: the range of %s is %q, and not of the form %q", table.column, name, setting.between, "1 ms to 1 day")
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
				t.Errorf("%s is not in the table of %s in docs/: describe it there", name, table.column)
			}
		}
	}
}

// The tables of docs/inputs.md name every setting and secret of every input and of its
// rules, and no others.
func TestInputsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/inputs.md")
	if err != nil {
		t.Fatal(err)
	}
	check := func(what, begin string, want []string) {
		t.Helper()
		at := regexp.MustCompile(begin).FindIndex(doc)
		if at == nil {
			t.Errorf("docs/inputs.md has no section about %s: write one", what)
			return
		}
		_, table, _ := strings.Cut(string(doc[at[1]:]), "|---|---|---|\n")
		var got []string
		for line := range strings.Lines(table) {
			cells := strings.Split(line, "|")
			if len(cells) < 5 {
				break
			}
			for _, name := range inBackticks.FindAllString(cells[2], -1) {
				got = append(got, strings.Trim(name, "`"))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("the table of %s in docs/inputs.md has %q in its second column, and there are the settings and secrets %q", what, got, want)
		}
	}
	check("rules", `\*\*Rules\*\*`, fieldsOf(reflect.TypeFor[message.Rules]()))
	for kind, build := range inputTypes {
		_, settings, _ := build([]byte(`{}`), func(string) string { return "" })
		check(kind, `(?im)^## `+kind+`$`, slices.Concat(fieldsOf(reflect.TypeOf(settings), "name", "rules"), settings.Secrets()))
	}
}

var inBackticks = regexp.MustCompile("`[^`]+`")

// fieldsOf returns the names in JSON of the fields of a struct, without some.
func fieldsOf(t reflect.Type, without ...string) []string {
	var names []string
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && !slices.Contains(without, name) {
			names = append(names, name)
		}
	}
	return names
}

// documentedSetting is what a table says of a setting.
type documentedSetting struct{ standard, between string }

// kindOf returns the source whose settings have this name.
func kindOf(t *testing.T, settings string) string {
	t.Helper()
	for _, kind := range sourceNames() {
		if strings.EqualFold(strings.ReplaceAll(kind, "-", ""), settings) {
			return kind
		}
	}
	t.Fatalf("no source is called as its settings %s: metrics-api has metricsApi", settings)
	return ""
}

// settingsTable returns a table of the documentation by the names of its settings.
func settingsTable(t *testing.T, column string) map[string]documentedSetting {
	t.Helper()
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	header := "| setting | " + column + " | default | range |"
	var table string
	for _, doc := range docs {
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		if _, after, ok := strings.Cut(string(b), header); ok {
			table = after
		}
	}
	if table == "" {
		t.Fatalf("no page of docs/ has a table of settings that begins with %s: describe them there", header)
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
