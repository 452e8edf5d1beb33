//go:build !linux

package clock

import "time"

// bootID is unknown here, so each process starts with the wall clock as it is.
func bootID() string { return "" }

func sinceBootAtStart() time.Duration { return 0 }

// asleep is unknown here. If Go's monotonic clock stops while the machine sleeps,
// waking up looks like a step forward and must be confirmed like one.
func asleep() time.Duration { return 0 }
