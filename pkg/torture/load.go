package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// gauge measures the memory and the goroutines of the plugin.
type gauge struct {
	profiler string // address of the plugin's pprof server, which can also collect garbage
}

// newGauge returns a gauge for plugins that are started after this call. Their profiles have
// what is much smaller than by default, or nobody could find in them what has grown.
func newGauge() (*gauge, error) {
	address, err := free()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return &gauge{address}, errors.Join(os.Setenv("GF_PLUGIN_PROFILING_ENABLED", "true"), os.Setenv("GF_PLUGIN_PROFILING_PORT", port),
		os.Setenv("GODEBUG", "memprofilerate=8192"))
}

// reading is what the plugin takes at one time.
type reading struct {
	memory     float64 // bytes in use after a garbage collection
	goroutines float64
	resident   float64 // bytes, as the system counts them; goes up and down
}

// read returns the lowest of several readings, because requests that are being
// served only add to it.
func (g *gauge) read(ctx context.Context, p *process) (reading, error) {
	const readings = 9
	least := reading{math.Inf(1), math.Inf(1), math.Inf(1)}
	var failed error
	for range readings {
		asking, cancel := context.WithTimeout(ctx, patience)
		r, err := g.once(asking, p)
		cancel()
		failed = errors.Join(failed, err)
		if err == nil {
			least = reading{min(least.memory, r.memory), min(least.goroutines, r.goroutines), min(least.resident, r.resident)}
		}
		wait(ctx, 300*time.Millisecond)
	}
	if math.IsInf(least.memory, 1) {
		return reading{}, fmt.Errorf("memory and goroutines cannot be read: %w", failed)
	}
	return least, nil
}

// save writes profiles of memory and goroutines into files whose names have when in
// them.
func (g *gauge) save(ctx context.Context, dir, when string) error {
	var errs []error
	for file, profile := range map[string]string{"heap-" + when + ".pprof": "heap?gc=1", "goroutines-" + when + ".txt": "goroutine?debug=1"} {
		content, err := g.get(ctx, profile)
		errs = append(errs, err, os.WriteFile(filepath.Join(dir, file), content, 0o600))
	}
	return errors.Join(errs...)
}

func (g *gauge) get(ctx context.Context, profile string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.profiler+"/debug/pprof/"+profile, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true // an open connection takes two goroutines of the plugin
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rsp.Body.Close() }()
	return io.ReadAll(rsp.Body)
}

func (g *gauge) once(ctx context.Context, p *process) (r reading, err error) {
	// Between collections the heap may grow freely, so its size says little. It is
	// read right after a collection: on a busy machine megabytes of garbage pile up
	// before the next request.
	heap, err := g.get(ctx, "heap?gc=1&debug=1")
	if err != nil {
		return r, err
	}
	text, err := p.metrics(ctx)
	if err != nil {
		return r, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return r, err
	}
	value := func(name string) float64 {
		if f := families[name]; f != nil && len(f.GetMetric()) == 1 {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
		return 0
	}
	return reading{
		memStat(heap, "HeapAlloc") + memStat(heap, "Stack"),
		value("go_goroutines"), value("process_resident_memory_bytes"),
	}, nil
}

// memStat returns a number of runtime.MemStats from the end of a heap profile in
// text.
func memStat(heap []byte, name string) float64 {
	_, after, _ := bytes.Cut(heap, []byte("\n# "+name+" = "))
	digits := bytes.IndexFunc(after, func(r rune) bool { return r < '0' || r > '9' })
	n, err := strconv.ParseFloat(string(after[:max(digits, 0)]), 64)
	if err != nil {
		return 0 // compare reports 0 as a violation
	}
	return n
}

// compare returns which readings have grown too much.
func compare(warm, after reading) []error {
	const most = 1.1
	var violations []error
	for _, of := range []bounded{
		{"bytes of memory", warm.memory, after.memory},
		{"goroutines", warm.goroutines, after.goroutines},
	} {
		if of.warm == 0 || of.after == 0 || of.after > most*of.warm {
			violations = append(violations, of)
		}
	}
	return violations
}
