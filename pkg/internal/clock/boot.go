package clock

import "time"

var (
	started = time.Now()
	// At started: booted is the time since the machine was started, slept how much
	// of it the machine has slept.
	booted, slept = sinceBootAtStart(), asleep()
)

// sinceBoot returns the time since the machine was started, including sleep, which
// Go's monotonic clock leaves out.
func sinceBoot() time.Duration { return booted + time.Since(started) + asleep() - slept }
