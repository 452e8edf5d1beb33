package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// gauge follows what the process takes.
type gauge struct {
	process *process

	mu   sync.Mutex
	last []reading // newest at the end
}

// reading is what the process takes at one time.
type reading struct {
	memory     float64 // bytes that are its own, without what it maps of files
	goroutines float64
}

// over is of how many readings the median counts: memory goes up and down
// with each garbage collection.
const over = 9

// run takes a reading every second until ctx ends.
func (g *gauge) run(ctx context.Context) {
	tick(ctx, time.Second, func(time.Time) {
		asking, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		r, err := g.read(asking)
		g.mu.Lock()
		defer g.mu.Unlock()
		if err != nil {
			g.last = nil // another process comes, or is there
			return
		}
		g.last = append(g.last, r)
		g.last = g.last[max(0, len(g.last)-over):]
	})
}

func (g *gauge) read(ctx context.Context) (r reading, err error) {
	pid, text, err := g.process.metrics(ctx)
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
	r = reading{value("process_resident_memory_bytes"), value("go_goroutines")}
	// On Linux without pages of files: these are cache, which anybody may have back.
	if own, err := anonymous(pid); err == nil {
		r.memory = own
	}
	return r, nil
}

func anonymous(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(status, []byte("RssAnon:"))
	number, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	kb, err := strconv.ParseFloat(string(number), 64)
	return kb * 1024, err
}

// now returns the median of the last readings.
func (g *gauge) now() reading {
	g.mu.Lock()
	defer g.mu.Unlock()
	median := func(of func(reading) float64) float64 {
		if len(g.last) == 0 {
			return 0
		}
		all := make([]float64, len(g.last))
		for i, r := range g.last {
			all[i] = of(r)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return reading{
		median(func(r reading) float64 { return r.memory }),
		median(func(r reading) float64 { return r.goroutines }),
	}
}

// compare says what has grown.
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
