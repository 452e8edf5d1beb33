//go:build !linux

package clock

import "time"

// sinceBoot stops while the machine sleeps where the system's monotonic clock
// does: waking up then looks like a step, and is confirmed like one.
func sinceBoot() time.Duration { return monotonic() }
