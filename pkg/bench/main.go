// Command bench measures the built plugin and its peers, and writes
// docs/performance.md with its picture: `go tool mage bench`.
//
// It calls the plugin over gRPC as Grafana does. Runs of plugin and peer take turns,
// so that other load of the machine affects both, and the results are medians and
// their ratios. With names of sections as arguments (history, viewers, ingest,
// channels) it only measures these; the page then has the last results of the
// others, from build/bench.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/shirou/gopsutil/v4/process"

	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// section is one table of the report.
type section struct {
	name    string
	measure func(context.Context, string) (table, error) // gets a folder of its own
}

var sections = []section{
	{"history", history},
	{"viewers", viewers},
	{"ingest", ingest},
	{"channels", channels},
}

func run(ctx context.Context, names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(sections, func(s section) bool { return s.name == name }) {
			return fmt.Errorf("there is no section %q", name)
		}
	}
	for _, p := range []*programs.Program{programs.Plugin, programs.EmptyPlugin, programs.Prometheus} {
		if _, err := p.Build(); err != nil {
			return err
		}
	}
	for _, s := range sections {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		t, err := inFolder(ctx, s)
		if err == nil {
			t.Conditions = conditions()
			err = t.keep(s.name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Printf("%s\n%s\n", s.name, t.Markdown())
	}
	return report()
}

func inFolder(ctx context.Context, s section) (t table, err error) {
	dir, err := os.MkdirTemp("", "continuum-bench-")
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return s.measure(ctx, dir)
}

// plugin is a running plugin with one data source.
type plugin struct {
	*grafana.Plugin
	context backend.PluginContext
	process *process.Process
}

const uid = "bench"

// start starts a plugin that keeps its stores in dir. settings are the data
// source's, in JSON.
func start(program *programs.Program, dir, settings string) (*plugin, error) {
	binary, err := program.Build()
	if err != nil {
		return nil, err
	}
	if err := os.Setenv("GF_PLUGIN_RECORDER_DIR", dir); err != nil {
		return nil, err
	}
	p, err := grafana.Start(binary)
	if err != nil {
		return nil, err
	}
	os, err := process.NewProcess(int32(p.PID()))
	if err != nil {
		p.Stop()
		return nil, err
	}
	return &plugin{p, backend.PluginContext{
		OrgID: 1, PluginID: "continuum-live-datasource", User: &backend.User{Login: "bench", Role: "Admin"},
		DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{
			ID: 1, UID: uid, Name: "bench", Type: "continuum-live-datasource", Updated: time.Unix(1, 0), JSONData: []byte(settings),
		},
	}, os}, nil
}

// cpu returns the seconds of CPU time that the plugin has taken so far.
func (p *plugin) cpu() (float64, error) {
	t, err := p.process.Times()
	if err != nil {
		return 0, err
	}
	return t.User + t.System, nil
}

// query sends a query for a range of this length that ends at to.
func (p *plugin) query(ctx context.Context, query string, step, length time.Duration, to time.Time) (*backend.DataResponse, error) {
	rsp, err := p.QueryData(ctx, &backend.QueryDataRequest{PluginContext: p.context, Queries: []backend.DataQuery{{
		RefID: "A", JSON: []byte(query), Interval: step, MaxDataPoints: int64(length / step),
		TimeRange: backend.TimeRange{From: to.Add(-length), To: to},
	}}})
	if err != nil {
		return nil, err
	}
	answer := rsp.Responses["A"]
	if answer.Error == nil && len(answer.Frames) == 0 {
		answer.Error = errors.New("the answer has no frame")
	}
	return &answer, answer.Error
}

func median[T cmp.Ordered](all []T) T { return percentile(all, 50) }

// percentile returns the smallest value that at least this percentage of all values
// do not exceed.
func percentile[T cmp.Ordered](all []T, percent int) T {
	var none T
	if len(all) == 0 {
		return none
	}
	all = slices.Clone(all)
	slices.Sort(all)
	return all[(len(all)-1)*percent/100]
}

// sleep waits for d, or returns the error of ctx if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
