package clock

import "time"

var (
	started = time.Now()
	// slept is how long the machine had slept then, and booted the time since it was
	// started.
	booted, slept = sinceBootAtStart(), asleep()
)

// sinceBoot is the time since the machine was started, sleep included, which Go's own
// monotonic clock leaves out.
func sinceBoot() time.Duration { return booted + time.Since(started) + asleep() - slept }
