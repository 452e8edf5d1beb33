// Package clock provides the time for samples on machines whose wall clock may be
// wrong for a while.
//
// The wall clock can be set. The time since the machine was started cannot, and it
// goes on while the machine sleeps. A Clock compares the two. The package must not
// import anything of this module.
package clock

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// MaxStep is how far the wall clock may be set forward without being doubted.
	// Slewing and the small steps of time synchronisation stay below it.
	MaxStep = time.Minute
	// Confirmation is how long the wall clock must go on steadily after a larger
	// step forward before it is believed. Time synchronisation corrects a wrong step
	// sooner: after a step it asks again every 32 to 64 seconds. There is one
	// exception: if the clock was set back from a time that it had for at least this
	// long, and returns to it within this time, it is believed at once.
	Confirmation = 2 * time.Minute
)

// ErrDoubt means that the wall clock was set forward and is not believed yet.
var ErrDoubt = errors.New("this machine's clock was set forward")

// Clock is a wall clock that doubts large steps forward. Its methods may be called
// from any goroutine.
type Clock struct {
	wall func() time.Time
	boot func() time.Duration

	mu      sync.Mutex
	state   State
	setBack uint64
	// The last reading of boot, and of wall at that time, zero if there is none.
	read   time.Duration
	readAt time.Time
}

// State is the state of a Clock. Another process that resumes it goes on as this one
// would. Without a state, a Clock believes the wall clock as it is.
type State struct {
	// Boot identifies the boot of the machine from which the durations count, empty
	// if unknown.
	Boot string `json:"boot"`
	// Offset is the believed time minus the time since boot.
	Offset time.Time `json:"offset"`
	// Changed is the time since boot when Offset last changed by more than MaxStep.
	Changed time.Duration `json:"changed"`
	// Before is the offset that was believed for at least Confirmation, until the
	// clock was set back at Left (time since boot); zero if there is none.
	Before time.Time     `json:"before,omitzero"`
	Left   time.Duration `json:"left,omitzero"`
	// Doubted is the offset that waits for confirmation since Since (time since
	// boot), zero if there is none.
	Doubted time.Time     `json:"doubted,omitzero"`
	Since   time.Duration `json:"since,omitzero"`
}

// Same reports whether a process that resumes s goes on as one that resumes o, apart
// from small steps, which are believed at once.
func (s State) Same(o State) bool {
	near := func(a, b time.Time) bool { return a.IsZero() == b.IsZero() && a.Sub(b).Abs() < time.Second }
	return s.Boot == o.Boot && s.Changed == o.Changed && s.Left == o.Left && s.Since == o.Since &&
		near(s.Offset, o.Offset) && near(s.Before, o.Before) && near(s.Doubted, o.Doubted)
}

// New returns a clock that believes the present result of wall, which is time.Now or
// a replacement. boot returns the time since a fixed moment, by a clock that cannot
// be set.
func New(wall func() time.Time, boot func() time.Duration) *Clock {
	c := &Clock{wall: wall, boot: boot}
	c.state.Changed = c.boot()
	c.state.Offset = c.wall().Round(0).Add(-c.state.Changed)
	return c
}

// System returns the clock of this machine.
func System() *Clock {
	c := New(Wall, sinceBoot)
	c.state.Boot = bootID()
	return c
}

// State returns the current state.
func (c *Clock) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Resume continues with the state of another process, unless the machine was started
// again since.
func (c *Clock) Resume(s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if boot := c.boot(); s.Boot != "" && s.Boot == c.state.Boot && max(s.Changed, s.Left, s.Since) <= boot {
		c.state = s
	}
}

// Now returns the believed time. After a large step forward it continues from the
// time before, until the new time is confirmed.
func (c *Clock) Now() time.Time {
	now, _ := c.Check()
	return now
}

// Check returns the believed time, and an ErrDoubt while the wall clock has another
// one that is not confirmed.
func (c *Clock) Check() (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.wall()
	boot, wall := c.sinceBoot(now), now.Round(0)
	offset := wall.Add(-boot)
	step := offset.Sub(c.state.Offset)
	switch {
	case step <= MaxStep:
		// A step back is believed at once: the clock was ahead before.
		if step < -MaxStep {
			c.setBack++
			if boot-c.state.Changed >= Confirmation {
				c.state.Before, c.state.Left = c.state.Offset, boot
			}
			c.state.Changed = boot
		}
		c.state.Offset, c.state.Doubted = offset, time.Time{}
		return wall, nil
	case !c.state.Before.IsZero() && boot-c.state.Left < Confirmation && offset.Sub(c.state.Before).Abs() <= MaxStep:
		// The clock was right before it was set back. Changed is set so that the
		// time counts as confirmed: the clock may be set back once more.
		c.state.Offset, c.state.Doubted, c.state.Changed = offset, time.Time{}, boot-Confirmation
		return wall, nil
	case c.state.Doubted.IsZero() || offset.Sub(c.state.Doubted).Abs() > MaxStep:
		c.state.Doubted, c.state.Since = offset, boot
	case boot-c.state.Since >= Confirmation:
		c.state.Offset, c.state.Doubted, c.state.Changed = offset, time.Time{}, c.state.Since
		return wall, nil
	}
	return c.state.Offset.Add(boot), fmt.Errorf("%w by %v, to %s: it is believed once it has gone on steadily for %v",
		ErrDoubt, step.Round(time.Second), wall.UTC().Format(time.RFC3339), Confirmation)
}

// maxSleep is how long the machine may sleep without boot being read again.
const maxSleep = 50 * time.Millisecond

// sinceBoot returns the time since boot at the time now of wall. It reads boot, which
// takes system calls, only if the machine may have slept since the last reading:
// otherwise wall and the monotonic clock have gone on equally. If now has no monotonic
// reading, it reads boot.
func (c *Clock) sinceBoot(now time.Time) time.Duration {
	wall := now.Round(0)
	if passed := now.Sub(c.readAt); now != wall && !c.readAt.IsZero() && (wall.Sub(c.readAt.Round(0))-passed).Abs() < maxSleep {
		return c.read + passed
	}
	c.read, c.readAt = c.boot(), now
	return c.read
}

// SetBack returns how often calls of Now and Check have found the clock set back by
// more than MaxStep.
func (c *Clock) SetBack() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setBack
}
