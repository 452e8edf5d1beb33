// Package grid is the one idea of Continuum as arithmetic: every query is
// answered at the grid times t = k·step, so a row's time is its identity.
//
// All times and steps are whole Unix milliseconds. The package is pure: no
// clock, no goroutine, no lock. It may import the standard library and the
// SDK's data package, nothing else.
package grid

import (
	"math"
	"math/bits"
)

// Floor returns the last grid time at or before t. Less than a step from the
// smallest int64 there may be none, and the result is none either.
func Floor(t, step int64) int64 {
	r := t % step
	if r < 0 {
		r += step
	}
	return t - r
}

// Window returns the length in milliseconds of the window of rows that shows a
// time range of the given length: a multiple of step, at least length, whose
// number of rows is rounded up to an eighth of its power of two. A range that
// grows with every refresh ("today so far") thus keeps its window, and with it
// its channel, for a long time. Window(Window(l, s), s) == Window(l, s).
//
// No length overflows: where the window would not fit into an int64, it is the
// largest multiple of step that does.
func Window(length, step int64) int64 {
	rows := uint64(max(1, length/step))
	if length > int64(rows)*step {
		rows++
	}
	eighth := max(1, uint64(1)<<(bits.Len64(rows)-1)>>3)
	rows = (rows + eighth - 1) / eighth * eighth
	return int64(min(rows, math.MaxInt64/uint64(step))) * step
}
