package clock

import (
	"strings"
	"time"

	"github.com/spf13/afero"
	"golang.org/x/sys/unix"
)

// bootID names this start of the machine, empty where /proc is not there.
func bootID() string {
	id, err := afero.ReadFile(afero.NewOsFs(), "/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// sinceBootAtStart returns the time since the machine was started.
func sinceBootAtStart() time.Duration { return clockTime(unix.CLOCK_BOOTTIME) }

// asleep returns how long the machine has slept since it was started.
func asleep() time.Duration { return clockTime(unix.CLOCK_BOOTTIME) - clockTime(unix.CLOCK_MONOTONIC) }

func clockTime(clock int32) time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(clock, &t) // no Linux that Go runs on is without these clocks
	return time.Duration(t.Nano())
}
