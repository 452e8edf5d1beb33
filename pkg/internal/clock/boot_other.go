//go:build !linux

package clock

import "time"

// bootID is not known: each process begins to believe the clock anew.
func bootID() string { return "" }

func sinceBootAtStart() time.Duration { return 0 }

// asleep is not known. Where Go's monotonic clock stops while the machine
// sleeps, waking up looks like a step, and is confirmed like one.
func asleep() time.Duration { return 0 }
