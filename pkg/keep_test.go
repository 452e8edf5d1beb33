package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

// History in all formats comes into the built binary and is one line with what is
// pushed. Backed up with the command, wiped and restored, a query has the same rows.
func TestImportBackUpAndRestore(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("GF_PLUGIN_RECORDER_DIR", dir)
	pc := pluginContext
	settings := *pc.DataSourceInstanceSettings
	settings.JSONData = []byte(`{"source":"recorder","recorder":{"noHost":true,"outOfOrder":3600000,"inputs":[{"type":"push","name":"pushed"}]}}`)
	pc.DataSourceInstanceSettings = &settings
	pluginContext, pc = pc, pluginContext
	t.Cleanup(func() { pluginContext = pc })
	p := start(t)
	url, _ := resources(t, p, pluginContext)
	post := func(path, body string) (int, string) {
		t.Helper()
		return postAs(t, url+path, "Admin", body)
	}
	inputtest.Eventually(t, func() error { // until the store is open
		code, text := post("push/influx", fmt.Sprintf("live v=1 %d\n", time.Now().UnixNano()))
		if code != http.StatusNoContent && code != http.StatusServiceUnavailable {
			t.Fatalf("%d %s", code, text)
		}
		if code != http.StatusNoContent {
			return errors.New(text)
		}
		return nil
	})

	// A value a minute, from 12 days to 5 hours before now.
	const n = (12*24 - 5) * 60
	first := time.Now().Truncate(time.Minute).Add(-12 * 24 * time.Hour)
	imports := filepath.Join(dir, "imports", "1", "uid")
	if err := os.MkdirAll(imports, 0o777); err != nil {
		t.Fatal(err)
	}
	var csv, wide, influx, metrics strings.Builder
	csv.WriteString("time,metric,kind,value\n")
	wide.WriteString("time,wide\n")
	block, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), filepath.Join(imports, "prometheus"), 40*24*3600*1000)
	if err != nil {
		t.Fatal(err)
	}
	app := block.Appender(t.Context())
	for i := range n {
		at := first.Add(time.Duration(i) * time.Minute)
		fmt.Fprintf(&csv, "%s,long,csv,%d\n", at.Format(time.RFC3339), i)
		fmt.Fprintf(&wide, "%d,%d\n", at.Unix(), i)
		fmt.Fprintf(&influx, "lines value=%d %d\n", i, at.UnixNano())
		fmt.Fprintf(&metrics, "metrics %d %d\n", i, at.Unix())
		if _, err := app.Append(0, labels.FromStrings("__name__", "blocks"), at.UnixMilli(), float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	metrics.WriteString("# EOF\n")
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := block.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := block.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(imports, "metrics.om"), []byte(metrics.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{
		"import?format=csv":                         csv.String(),
		"import?format=csv&precision=s":             wide.String(),
		"import?format=influx":                      influx.String(),
		"import?format=openmetrics&file=metrics.om": "",
		"import?format=tsdb&file=prometheus":        "",
	} {
		if code, text := post(path, body); code != http.StatusOK || !strings.Contains(text, fmt.Sprintf(`"samples":%d,"series":1,`, n)) || strings.Contains(text, "refused") {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	if code, text := post("push/influx", fmt.Sprintf("lines value=1 %d\n", time.Now().UnixNano())); code != http.StatusNoContent {
		t.Errorf("%d %s", code, text)
	}
	rows := func(after string) map[string][2]float64 {
		t.Helper()
		got := make(map[string][2]float64)
		for _, name := range []string{"long", "wide", "lines", "metrics", "blocks"} {
			var both [2]float64
			for i, function := range []string{"count", "sum"} {
				frame := ask(t, p, 10*time.Second, fmt.Sprintf(`{"expr":"%s_over_time(%s[14d])"}`, function, name))
				if len(frame.Fields) != 2 {
					t.Fatalf("%s: %s has %d fields", after, name, len(frame.Fields))
				}
				if v := frame.Fields[1].At(frame.Rows() - 1).(*float64); v != nil {
					both[i] = *v
				}
			}
			got[name] = both
		}
		t.Logf("%s: %v", after, got)
		return got
	}
	var before map[string][2]float64
	inputtest.Eventually(t, func() error { // until a row has what was pushed
		if before = rows("imported"); before["lines"][0] == n {
			return errors.New("what was pushed is in no row")
		}
		return nil
	})
	for _, name := range []string{"long", "wide", "lines", "metrics", "blocks"} {
		want := [2]float64{n, n * (n - 1) / 2}
		if name == "lines" {
			want[0]++ // live
			want[1]++
		}
		if before[name] != want {
			t.Errorf("%s has %v and not %v", name, before[name], want)
		}
	}

	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("Admin\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSuffix(url, "/api/datasources/uid/uid/resources/")
	command := func() (string, error) {
		out, err := exec.CommandContext(t.Context(), programs.Plugin.Path(t), "backup", "-url", address, "-uid", "uid", "-token-file", token).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	folder, err := command()
	if err != nil || !strings.HasPrefix(folder, filepath.Join("backups", "1", "uid")) {
		t.Fatalf("%v: %s", err, folder)
	}
	// A backup can be imported, too: the store has all of it.
	second, err := command()
	if err != nil {
		t.Fatalf("%v: %s", err, second)
	}
	if err := os.Rename(filepath.Join(dir, second), filepath.Join(imports, "backup")); err != nil {
		t.Fatal(err)
	}
	if code, text := post("import?format=tsdb&file=backup", ""); code != http.StatusOK || !strings.Contains(text, `"samples":0,"series":0,`) || strings.Contains(text, "refused") {
		t.Errorf("a backup: %d %s", code, text)
	}

	// What is wrong is told. More than 16 MiB do not even come in.
	if code, text := post("import?format=csv", strings.Repeat("x", 17<<20)); code != http.StatusInternalServerError || !strings.Contains(text, "larger than max") {
		t.Errorf("17 MiB: %d %.200s", code, text)
	}
	if err := os.WriteFile(token, []byte("Editor"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := command(); err == nil || !strings.Contains(out, "403 Forbidden: only admins") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), programs.Plugin.Path(t), "backup").CombinedOutput(); err == nil || !strings.Contains(string(out), "-uid and -token-file are needed") {
		t.Errorf("%v: %s", err, out)
	}

	p.Stop()
	store := filepath.Join(dir, "1", "uid")
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, folder), store); err != nil {
		t.Fatal(err)
	}
	p = start(t)
	ask(t, p, 10*time.Second, `{"expr":"vector(1)"}`)
	after := rows("restored")
	for name, want := range before {
		if after[name] != want {
			t.Errorf("restored, %s has %v and not %v", name, after[name], want)
		}
	}
}
