package recorder

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
)

func TestLevels(t *testing.T) {
	const low, critical = 800, 200
	for _, test := range []struct {
		before level
		free   int64
		want   level
	}{
		{levelEnough, 800, levelEnough},
		{levelEnough, 799, levelLow},
		{levelEnough, 199, levelCritical},
		{levelLow, 899, levelLow},
		{levelLow, 900, levelEnough},
		{levelLow, 200, levelLow},
		{levelLow, 199, levelCritical},
		{levelCritical, 299, levelCritical},
		{levelCritical, 300, levelLow},
		{levelCritical, 899, levelLow},
		{levelCritical, 900, levelEnough},
	} {
		if got := next(test.before, test.free, low, critical); got != test.want {
			t.Errorf("after %d, with %d free, the level is %d, not %d", test.before, test.free, got, test.want)
		}
	}
	if next(levelEnough, 0, 0, 0) != levelEnough {
		t.Error("no floors are a floor")
	}
	for _, floor := range []int64{4, 256 << 20, 1 << 40} {
		if reserveBytes(floor) > floor/2 {
			t.Errorf("with a floor of %d, the reserve is taken for room", floor)
		}
	}
}

func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &manualClock{}
		c.ms.Store(start)
		free, looks, broken := int64(10<<20), 0, errors.New("no such disk")
		var failing error
		r := newReadiness(clock.New(c.now, c.boot), func() (int64, error) {
			looks++
			return free, failing
		})
		r.configure(8<<20, 2<<20)
		for _, step := range []struct {
			name string
			do   func()
			want error
			text string
		}{
			{"the disk could never be looked at", func() { failing = broken }, nil, ""},
			{"ready", func() { failing = nil }, nil, ""},
			{"the disk is low", func() { free = 7 << 20 }, ErrDiskLow, "7 MiB are free, and nothing is stored below 8 MiB"},
			{"nearly enough", func() { free = 8 << 20 }, ErrDiskLow, ""},
			{"the disk cannot be looked at", func() { failing = broken }, ErrDiskLow, ""},
			{"enough", func() { free, failing = 9<<20, nil }, nil, ""},
			{"a write failed", func() { r.fail(errors.New("no space left")) }, errWrite, "no space left"},
			{"opened anew", r.recover, nil, ""},
			{"the clock is set forward", func() { c.ahead.Store(time.Hour.Milliseconds()) }, clock.ErrDoubt, "1h0m0s"},
			{"and back", func() { c.ahead.Store(0) }, nil, ""},
			{"samples of the future", func() { r.setAhead(true, 0) }, errAhead, ""},
			{"no more", func() { r.setAhead(false, 0) }, nil, ""},
		} {
			step.do()
			time.Sleep(lookEvery)
			err := r.check()
			if step.want == nil && err != nil || step.want != nil && (!errors.Is(err, step.want) || !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), step.text)) {
				t.Errorf("%s: %v", step.name, err)
			}
		}
		before := looks
		for range 1000 {
			_ = r.check()
		}
		if looks != before {
			t.Errorf("the disk was looked at %d times in no time", looks-before)
		}
	})
}
