// Package grid is the one idea of Continuum as arithmetic: every query is
// answered at the grid times t = k·step, so a row's time is its identity.
//
// All times and steps are whole Unix milliseconds. The package is pure: no
// clock, no goroutine, no lock. It may import the standard library and the
// SDK's data package, nothing else.
package grid

import "math/bits"

// Floor returns the last grid time at or before t.
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
func Window(length, step int64) int64 {
	rows := max(1, (length+step-1)/step)
	eighth := max(1, int64(1)<<(bits.Len64(uint64(rows))-1)>>3)
	return (rows + eighth - 1) / eighth * eighth * step
}
