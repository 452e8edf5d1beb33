package message

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// idle is an input whose server sends nothing.
type idle string

func (in idle) Name() string { return string(in) }

func (in idle) Version() string { return "" }

func (in idle) Run(ctx context.Context, sink *recorder.Sink) { New(Rules{}, "/", sink).Run(ctx) }

// Inputs of stores of a hundred each receive nothing. What matters is how much of a core
// that takes, and that it is linear; run it with -benchtime 10x.
func BenchmarkIdleInputs(b *testing.B) {
	for _, inputs := range []int{100, 1000, 2000} {
		b.Run(strconv.Itoa(inputs), func(b *testing.B) { idleInputs(b, inputs) })
	}
}

func idleInputs(b *testing.B, inputs int) {
	r := recorder.New(b.TempDir(), slog.New(slog.DiscardHandler))
	defer func() {
		if err := r.Close(); err != nil {
			b.Error(err)
		}
	}()
	for org := range int64(inputs / 100) {
		c := recorder.Config{Retention: 24 * time.Hour, OutOfOrder: time.Hour, MaxWait: 2 * time.Second}
		for i := range 100 {
			c.Inputs = append(c.Inputs, idle(fmt.Sprintf("input%d", i)))
		}
		key := recorder.Key{Org: org + 1, UID: "uid"}
		if err := r.Configure(key, c); err != nil {
			b.Fatal(err)
		}
		if _, err := r.Store(context.Background(), key); err != nil {
			b.Fatal(err)
		}
	}
	self, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		b.Fatal(err)
	}
	used := func() float64 {
		times, err := self.Times()
		if err != nil {
			b.Fatal(err)
		}
		return times.User + times.System
	}
	time.Sleep(2 * time.Second) // until all run
	begin, before := time.Now(), used()
	for b.Loop() {
		time.Sleep(time.Second)
	}
	b.ReportMetric((used()-before)/time.Since(begin).Seconds(), "cores")
}
