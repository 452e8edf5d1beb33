package clock

import "time"

var started = time.Now()

// sinceStart is the time since this process was started. Go's own monotonic
// clock stops while the machine sleeps.
func sinceStart() time.Duration { return time.Since(started) + asleep() }
