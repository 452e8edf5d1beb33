// Package grid has the arithmetic of Continuum's main idea: every query is answered
// at the grid times t = k·step, so the time of a row identifies it.
//
// All times and steps are whole Unix milliseconds. The package is pure: no clock, no
// goroutine, no lock. It may import the standard library and the SDK's data package,
// nothing else.
package grid

import (
	"math"
	"math/bits"
)

// Floor returns the last grid time at or before t. If t is less than a step above
// the smallest int64, there may be no such time, and the result is meaningless.
func Floor(t, step int64) int64 {
	r := t % step
	if r < 0 {
		r += step
	}
	return t - r
}

// Window returns the length (ms) of the window of rows that shows a time range of
// this length: a multiple of step, at least length. The number of rows is rounded up
// to a multiple of an eighth of the power of two below it. So a range that grows
// with every refresh ("today so far") keeps its window, and with it its channel, for
// a long time. Window(Window(l, s), s) == Window(l, s).
//
// No length overflows: a window that would not fit into an int64 becomes the largest
// multiple of step that does.
func Window(length, step int64) int64 {
	rows := uint64(max(1, length/step))
	if length > int64(rows)*step {
		rows++
	}
	eighth := max(1, uint64(1)<<(bits.Len64(rows)-1)>>3)
	rows = (rows + eighth - 1) / eighth * eighth
	return int64(min(rows, math.MaxInt64/uint64(step))) * step
}
