// Package clock tells when something happened, on machines whose clock may be
// wrong for a while.
//
// The wall clock can be set; the time since the machine was started cannot, and
// goes on while the machine sleeps. A Clock holds the one against the other. It
// must not import anything of this module.
package clock

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// MaxStep is how far the wall clock may be set forward without being in
	// doubt. Slewing, and the small steps of time synchronisation, are less.
	MaxStep = time.Minute
	// Confirmation is how long the wall clock must go on steadily after a larger
	// step before it is believed. Time synchronisation corrects a wrong step
	// sooner than that: it asks again every 32 to 64 seconds after a step. A clock
	// that was set back from a time which it had for this long, and returns to it
	// within this long, is believed at once.
	Confirmation = 2 * time.Minute
)

// ErrDoubt says that the wall clock was set forward and is not yet believed.
var ErrDoubt = errors.New("this machine's clock was set forward")

// Clock is a wall clock that is not believed blindly. Its methods may be called
// from any goroutine.
type Clock struct {
	wall func() time.Time
	boot func() time.Duration

	mu sync.Mutex
	// offset is what the believed time is ahead of the time since boot, as a time.
	offset time.Time
	// changed is the time since boot when offset last changed by more than MaxStep.
	changed time.Duration
	// before is the offset that was believed for at least Confirmation until the
	// clock was set back at the time since boot left, zero if there is none.
	before time.Time
	left   time.Duration
	// doubted is the offset that waits to be confirmed since the time after boot
	// since, zero if there is none.
	doubted time.Time
	since   time.Duration
	setBack uint64
}

// New returns a clock that believes what wall, which is time.Now or stands for
// it, says now. boot is the time since any fixed moment, which nobody can set.
func New(wall func() time.Time, boot func() time.Duration) *Clock {
	c := &Clock{wall: wall, boot: boot}
	c.changed = c.boot()
	c.offset = c.wall().Round(0).Add(-c.changed)
	return c
}

// System returns the clock of this machine.
func System() *Clock { return New(Wall, sinceStart) }

// Now returns the time that is believed. After a step forward it goes on as
// before until the new time is confirmed.
func (c *Clock) Now() time.Time {
	now, _ := c.Check()
	return now
}

// Check returns the time that is believed, and an ErrDoubt while the wall clock
// has another that is not confirmed.
func (c *Clock) Check() (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	boot := c.boot()
	wall := c.wall().Round(0)
	offset := wall.Add(-boot)
	step := offset.Sub(c.offset)
	switch {
	case step <= MaxStep:
		// A clock that goes back is believed at once: it was ahead.
		if step < -MaxStep {
			c.setBack++
			if boot-c.changed >= Confirmation {
				c.before, c.left = c.offset, boot
			}
			c.changed = boot
		}
		c.offset, c.doubted = offset, time.Time{}
		return wall, nil
	case !c.before.IsZero() && boot-c.left < Confirmation && offset.Sub(c.before).Abs() <= MaxStep:
		// It was right before it was set back. The time before counts as well, so
		// that it may be set back once more.
		c.offset, c.doubted, c.changed = offset, time.Time{}, boot-Confirmation
		return wall, nil
	case c.doubted.IsZero() || offset.Sub(c.doubted).Abs() > MaxStep:
		c.doubted, c.since = offset, boot
	case boot-c.since >= Confirmation:
		c.offset, c.doubted, c.changed = offset, time.Time{}, c.since
		return wall, nil
	}
	return c.offset.Add(boot), fmt.Errorf("%w by %v, to %s: it is believed once it has gone on steadily for %v",
		ErrDoubt, step.Round(time.Second), wall.UTC().Format(time.RFC3339), Confirmation)
}

// SetBack returns how often the clock was set back by more than MaxStep, as far
// as calls of Now and Check have seen.
func (c *Clock) SetBack() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setBack
}
