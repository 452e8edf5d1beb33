package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// asker sends a query and returns the rows.
type asker func(ctx context.Context, expr string, from, to time.Time, step time.Duration) (*data.Frame, error)

// page is how many rows one query asks for.
const page = 3000

// read returns every sample of a sender in a time range. It uses ordinary queries:
// if a row has only one sample, it queries its value and time, otherwise all
// milliseconds of the row.
func read(ctx context.Context, ask asker, sender string, from, to time.Time, step time.Duration) ([]sample, error) {
	selector := fmt.Sprintf(`n{sender=%q}`, sender)
	var all []sample
	from = from.Truncate(step)
	for ; from.Before(to); from = from.Add(page * step) {
		until := from.Add(page * step)
		if until.After(to) {
			until = to
		}
		// A row has the samples after the row before it.
		counts, err := cells(ctx, ask, fmt.Sprintf("count_over_time(%s[%dms])", selector, step.Milliseconds()), from, until, step)
		if err != nil || len(counts) == 0 {
			if err != nil {
				return nil, err
			}
			continue
		}
		values, err := cells(ctx, ask, fmt.Sprintf("last_over_time(%s[%dms])", selector, step.Milliseconds()), from, until, step)
		if err != nil {
			return nil, err
		}
		times, err := cells(ctx, ask, fmt.Sprintf("timestamp(%s)", selector), from, until, step)
		if err != nil {
			return nil, err
		}
		for at, count := range counts {
			if count == 1 {
				all = append(all, sample{sender, at.series, int(values[at]), int64(math.Round(times[at] * 1000))})
				continue
			}
			fine, err := readFine(ctx, ask, sender, at, step)
			if err != nil {
				return nil, err
			}
			if len(fine) != int(count) {
				return nil, fmt.Errorf("%s %s has %v samples in the %v to %d, and %d of them can be read", sender, at.series, count, step, at.t, len(fine))
			}
			all = append(all, fine...)
		}
	}
	return all, nil
}

// readFine reads the samples of one row millisecond by millisecond.
func readFine(ctx context.Context, ask asker, sender string, at cell, step time.Duration) ([]sample, error) {
	const fine = 10 * time.Millisecond // the smallest step
	var all []sample
	to := time.UnixMilli(at.t)
	for offset := range fine.Milliseconds() {
		expr := fmt.Sprintf(`last_over_time(n{sender=%q,series=%q}[1ms] offset %dms)`, sender, at.series, offset)
		if offset == 0 {
			expr = fmt.Sprintf(`last_over_time(n{sender=%q,series=%q}[1ms])`, sender, at.series)
		}
		values, err := cells(ctx, ask, expr, to.Add(-step), to, fine)
		if err != nil {
			return nil, err
		}
		for c, v := range values {
			all = append(all, sample{sender, c.series, int(v), c.t - offset})
		}
	}
	return all, nil
}

// cell is a position in an answer.
type cell struct {
	series string
	t      int64 // Unix ms
}

// cells returns the values of an answer, for the rows after from and up to to.
func cells(ctx context.Context, ask asker, expr string, from, to time.Time, step time.Duration) (map[cell]float64, error) {
	frame, err := ask(ctx, expr, from.Add(time.Millisecond), to, step)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	all := make(map[cell]float64)
	if len(frame.Fields) == 0 {
		return all, nil
	}
	for _, field := range frame.Fields[1:] {
		for i := range field.Len() {
			v, err := field.NullableFloatAt(i)
			if err != nil {
				return nil, err
			}
			t, ok := frame.Fields[0].ConcreteAt(i)
			if v != nil && ok {
				all[cell{field.Labels["series"], t.(time.Time).UnixMilli()}] = *v
			}
		}
	}
	return all, nil
}
