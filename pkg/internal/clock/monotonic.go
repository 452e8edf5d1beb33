package clock

import "time"

var started = time.Now()

func monotonic() time.Duration { return time.Since(started) }
