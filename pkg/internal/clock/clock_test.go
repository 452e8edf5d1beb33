package clock

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

func TestSteps(t *testing.T) {
	start := time.UnixMilli(1_800_000_000_000)
	const month = 30 * 24 * time.Hour
	type step struct {
		pass, set time.Duration // time that passes, and that the clock is set by
		ahead     time.Duration // what the believed time is ahead of the true one
		doubt     bool
	}
	for _, test := range []struct {
		name  string
		steps []step
		back  uint64
	}{
		{"no step", []step{{pass: time.Hour}, {pass: month}}, 0},
		{"slewed and small steps", []step{{time.Second, 50 * time.Second, 50 * time.Second, false}, {0, 50 * time.Second, 100 * time.Second, false}}, 0},
		{"corrected before it is confirmed", []step{
			{time.Second, month, 0, true}, {Confirmation - time.Second, 0, 0, true}, {0, -month, 0, false}, {Confirmation, 0, 0, false},
		}, 0},
		{"confirmed", []step{{time.Second, month, 0, true}, {Confirmation - time.Second, 0, 0, true}, {time.Second, 0, month, false}}, 0},
		{"a second step begins anew", []step{
			{0, month, 0, true}, {Confirmation - time.Second, month, 0, true}, {Confirmation - time.Second, 0, 0, true}, {time.Second, 0, 2 * month, false},
		}, 0},
		{"slewed while in doubt", []step{
			{0, month, 0, true}, {Confirmation / 2, time.Second, 0, true}, {Confirmation / 2, time.Second, month + 2*time.Second, false},
		}, 0},
		{"back is believed at once", []step{{time.Hour, -month, -month, false}, {time.Second, 0, -month, false}}, 1},
		{"back and forth", []step{
			{Confirmation, -time.Hour, -time.Hour, false}, {time.Minute, time.Hour, 0, false},
			{time.Minute, -time.Hour, -time.Hour, false}, {time.Minute, time.Hour + time.Second, time.Second, false},
		}, 2},
		{"back for long, and forth", []step{{Confirmation, -time.Hour, -time.Hour, false}, {Confirmation, time.Hour, -time.Hour, true}}, 1},
		{"back, and forth to another time", []step{{Confirmation, -time.Hour, -time.Hour, false}, {time.Second, month, -time.Hour, true}}, 1},
		{"back and forth to a time that was new", []step{{time.Second, -time.Hour, -time.Hour, false}, {time.Second, time.Hour, -time.Hour, true}}, 1},
		{"back after it was confirmed", []step{{0, month, 0, true}, {Confirmation, 0, month, false}, {time.Second, -month, 0, false}}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var passed, set time.Duration
			c := New(func() time.Time { return start.Add(passed + set) }, func() time.Duration { return time.Minute + passed })
			for i, s := range test.steps {
				passed += s.pass
				set += s.set
				now, err := c.Check()
				if got := now.Sub(start.Add(passed)); got != s.ahead || errors.Is(err, ErrDoubt) != s.doubt {
					t.Errorf("step %d: the clock is %v ahead, not %v: %v", i, got, s.ahead, err)
				}
			}
			if c.SetBack() != test.back {
				t.Errorf("it was set back %d times", c.SetBack())
			}
		})
	}
}

// Another process goes on with what this one believes and doubts, and with no other
// machine's, nor with that of an earlier start.
func TestResume(t *testing.T) {
	start := time.UnixMilli(1_800_000_000_000)
	var passed, set time.Duration
	process := func(boot string, before *Clock) *Clock {
		c := New(func() time.Time { return start.Add(passed + set) }, func() time.Duration { return time.Hour + passed })
		c.state.Boot = boot
		if before != nil {
			text, err := json.Marshal(before.State())
			if err != nil {
				t.Fatal(err)
			}
			var s State
			if err := json.Unmarshal(text, &s); err != nil {
				t.Fatal(err)
			}
			if !s.Same(before.State()) {
				t.Errorf("%s is read as %+v", text, s)
			}
			c.Resume(s)
		}
		return c
	}
	check := func(c *Clock, ahead time.Duration, doubt bool) {
		t.Helper()
		now, err := c.Check()
		if got := now.Sub(start.Add(passed)); got != ahead || errors.Is(err, ErrDoubt) != doubt {
			t.Errorf("the clock is %v ahead, not %v: %v", got, ahead, err)
		}
	}
	first := process("a", nil)
	check(first, 0, false)
	passed, set = time.Minute, time.Hour
	for _, other := range []*Clock{process("b", first), process("", first), process("a", nil)} {
		check(other, time.Hour, false)
	}
	second := process("a", first)
	check(second, 0, true)
	// The time in doubt goes on through restarts.
	passed += Confirmation - time.Second
	second = process("a", second)
	check(second, 0, true)
	passed += time.Second
	second = process("a", second)
	check(second, time.Hour, false)
	// So does it that a time was believed before the clock was set back.
	passed += Confirmation
	check(second, time.Hour, false)
	set = 0
	second = process("a", second)
	check(second, 0, false)
	passed, set = passed+time.Second, time.Hour
	check(process("a", second), time.Hour, false)
	// The machine was started again under the same name, which cannot be.
	passed = 0
	check(process("a", second), time.Hour, false)
}

// The time since boot is read once while the machine does not sleep.
func TestReadings(t *testing.T) {
	begin, readings := time.Now(), 0
	c := New(time.Now, func() time.Duration {
		readings++
		return time.Since(begin)
	})
	c.Now()
	readings = 0
	for range 1000 {
		c.Now()
	}
	if readings > 0 {
		t.Errorf("it was read %d times", readings)
	}
}

// The two clocks of a machine go on together.
func TestSystem(t *testing.T) {
	c := System()
	for range 1000 {
		now, err := c.Check()
		if err != nil || time.Since(now).Abs() > time.Second {
			t.Fatal(now, err)
		}
	}
}
