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

	mu      sync.Mutex
	state   State
	setBack uint64
}

// State is what a Clock goes by. Another process that begins with it goes on as if it
// were this one: without it, it would believe whatever the wall clock says then.
type State struct {
	// Boot names the start of the machine that the times since are of, empty if it is
	// not known.
	Boot string `json:"boot"`
	// Offset is what the believed time is ahead of the time since boot, as a time.
	Offset time.Time `json:"offset"`
	// Changed is the time since boot when Offset last changed by more than MaxStep.
	Changed time.Duration `json:"changed"`
	// Before is the offset that was believed for at least Confirmation until the
	// clock was set back at the time since boot Left, zero if there is none.
	Before time.Time     `json:"before,omitzero"`
	Left   time.Duration `json:"left,omitzero"`
	// Doubted is the offset that waits to be confirmed since the time after boot
	// Since, zero if there is none.
	Doubted time.Time     `json:"doubted,omitzero"`
	Since   time.Duration `json:"since,omitzero"`
}

// Same reports whether a process that begins with s would go on as one that begins
// with o, but for the small steps that are believed at once.
func (s State) Same(o State) bool {
	near := func(a, b time.Time) bool { return a.IsZero() == b.IsZero() && a.Sub(b).Abs() < time.Second }
	return s.Boot == o.Boot && s.Changed == o.Changed && s.Left == o.Left && s.Since == o.Since &&
		near(s.Offset, o.Offset) && near(s.Before, o.Before) && near(s.Doubted, o.Doubted)
}

// New returns a clock that believes what wall, which is time.Now or stands for
// it, says now. boot is the time since any fixed moment, which nobody can set.
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

// State returns what the clock goes by now.
func (c *Clock) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Resume goes on with the state of another process, if the machine was not started
// again since.
func (c *Clock) Resume(s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if boot := c.boot(); s.Boot != "" && s.Boot == c.state.Boot && max(s.Changed, s.Left, s.Since) <= boot {
		c.state = s
	}
}

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
	step := offset.Sub(c.state.Offset)
	switch {
	case step <= MaxStep:
		// A clock that goes back is believed at once: it was ahead.
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
		// It was right before it was set back. The time before counts as well, so
		// that it may be set back once more.
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

// SetBack returns how often the clock was set back by more than MaxStep, as far
// as calls of Now and Check have seen.
func (c *Clock) SetBack() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setBack
}
