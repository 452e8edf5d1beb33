package clock

import (
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
