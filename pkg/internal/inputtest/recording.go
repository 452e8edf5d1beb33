package inputtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Recording is a recorder with inputs.
type Recording struct {
	*recorder.Store
	recorder *recorder.Recorder
	key      recorder.Key
	config   recorder.Config
}

// Record runs inputs on a recorder in dir until Close.
func Record(t testing.TB, dir string, inputs ...recorder.Input) *Recording {
	t.Helper()
	r := &Recording{recorder: recorder.New(dir, slog.New(slog.DiscardHandler)), key: recorder.Key{Org: 1, UID: "uid"}}
	r.config = recorder.Config{Retention: 24 * time.Hour, OutOfOrder: time.Hour, MaxWait: 2 * time.Second, Inputs: inputs}
	if err := r.recorder.Configure(r.key, r.config); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.Store, err = r.recorder.Store(context.Background(), r.key); err != nil {
		t.Fatal(err)
	}
	return r
}

// Configure replaces the inputs and returns how long that took.
func (r *Recording) Configure(t testing.TB, inputs ...recorder.Input) time.Duration {
	t.Helper()
	r.config.Inputs = inputs
	begin := time.Now()
	if err := r.recorder.Configure(r.key, r.config); err != nil {
		t.Fatal(err)
	}
	return time.Since(begin)
}

// Close stops the inputs and closes the store.
func (r *Recording) Close(t testing.TB) {
	t.Helper()
	if err := r.recorder.Close(); err != nil {
		t.Error(err)
	}
}

// Input returns the status of the input with this name.
func (r *Recording) Input(name string) recorder.InputStatus {
	for _, in := range r.Status().Inputs {
		if in.Name == name {
			return in
		}
	}
	return recorder.InputStatus{}
}

// Samples returns all recorded samples, by the text of their labels and by time
// (Unix ms), except the health metrics.
func (r *Recording) Samples(t testing.TB) map[string]map[int64]float64 {
	t.Helper()
	q, err := r.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }() // nothing was written
	all := make(map[string]map[int64]float64)
	// The health metrics are recorded every few seconds, whatever a test does.
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchNotRegexp, model.MetricNameLabel, "|continuum_(input|recorder)_.*"))
	for set.Next() {
		samples := make(map[int64]float64)
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			at, v := it.At()
			samples[at] = v
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
		all[set.At().Labels().String()] = samples
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// Numbers returns nil if exactly the numbers from 1 to n are recorded, each once.
func (r *Recording) Numbers(t testing.TB, n int) error {
	t.Helper()
	count := make(map[float64]int, n)
	for _, samples := range r.Samples(t) {
		for _, v := range samples {
			count[v]++
		}
	}
	var missing, twice []int
	for i := 1; i <= n; i++ {
		switch c := count[float64(i)]; {
		case c == 0:
			missing = append(missing, i)
		case c > 1:
			twice = append(twice, i)
		}
		delete(count, float64(i))
	}
	var errs []error
	if len(missing) > 0 {
		errs = append(errs, fmt.Errorf("%d of %d numbers are missing: %v", len(missing), n, missing[:min(10, len(missing))]))
	}
	if len(twice) > 0 {
		errs = append(errs, extra{fmt.Errorf("%d of %d numbers are there more than once: %v", len(twice), n, twice[:min(10, len(twice))])})
	}
	if len(count) > 0 {
		others := slices.Sorted(maps.Keys(count))
		errs = append(errs, extra{fmt.Errorf("%d other values are there: %v", len(others), others[:min(10, len(others))])})
	}
	return errors.Join(errs...)
}

// extra is the error about samples that should not be there. They do not go away.
type extra struct{ error }

// patience is how long something may take on a busy machine before a test fails.
const patience = 2 * time.Minute

// Eventually waits until ok returns nil, and fails the test if that does not happen
// within patience. ok returns what is still wrong.
func Eventually(t testing.TB, ok func() error) {
	t.Helper()
	var err error
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(10 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatalf("still after %v: %v", patience, err)
}

// Wait waits until the numbers from 1 to n are recorded, and nothing else.
func (r *Recording) Wait(t testing.TB, n int) {
	t.Helper()
	Eventually(t, func() error {
		err := r.Numbers(t, n)
		if errors.As(err, new(extra)) {
			t.Fatalf("%v\nEither a message that came again was recorded again: give both the same time stamp. "+
				"Or they are messages of an earlier test: set Purge of the suite.", err)
		}
		if err != nil {
			return fmt.Errorf("%w\nthe inputs say of themselves: %+v", err, r.Status().Inputs)
		}
		return nil
	})
}

// Connected waits until the input with this name is connected and has no trouble.
func (r *Recording) Connected(t testing.TB, name string) {
	t.Helper()
	Eventually(t, func() error {
		if in := r.Input(name); !in.State.Connected() || in.Trouble != "" {
			return fmt.Errorf("the input does not say that it is connected, by Sink.Trouble with an empty text: its status is %+v", in)
		}
		return nil
	})
}

// Troubled waits until the input with this name has a trouble, and returns its text.
func (r *Recording) Troubled(t testing.TB, name string) string {
	t.Helper()
	var trouble string
	Eventually(t, func() error {
		if trouble = r.Input(name).Trouble; trouble == "" {
			return errors.New("the input does not say that it has no connection: report that with Sink.Retry, as endpoint.Reconnect does")
		}
		return nil
	})
	return trouble
}
