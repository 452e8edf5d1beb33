package grid

import (
	"math"
	"testing"
)

func TestFloor(t *testing.T) {
	for _, tc := range []struct {
		name          string
		t, step, want int64
	}{
		{"on the grid", 3000, 1000, 3000},
		{"just before", 2999, 1000, 2000},
		{"just after", 3001, 1000, 3000},
		{"zero", 0, 1000, 0},
		{"before 1970, on the grid", -3000, 1000, -3000},
		{"before 1970, just before", -3001, 1000, -4000},
		{"before 1970, just after", -2999, 1000, -3000},
		{"a step of one", -7, 1, -7},
		{"a step that does not divide a second", 1_000_000, 7, 999_999},
		{"a step longer than the time", 5, 1000, 0},
		{"a negative time within the first step", -5, 1000, -1000},
		{"the newest time", math.MaxInt64, 1000, math.MaxInt64 / 1000 * 1000},
		{"the oldest grid time", math.MinInt64 / 1000 * 1000, 1000, math.MinInt64 / 1000 * 1000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Floor(tc.t, tc.step); got != tc.want {
				t.Errorf("Floor(%d, %d) = %d, want %d", tc.t, tc.step, got, tc.want)
			}
		})
	}
}

func FuzzFloor(f *testing.F) {
	f.Add(int64(0), int64(1))
	f.Add(int64(-1), int64(1000))
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64))
	f.Add(int64(math.MinInt64+2), int64(2))
	f.Fuzz(func(t *testing.T, at, step int64) {
		if step < 1 || at < math.MinInt64+step {
			t.Skip()
		}
		got := Floor(at, step)
		if got%step != 0 || got > at || uint64(at)-uint64(got) >= uint64(step) || Floor(got, step) != got {
			t.Errorf("Floor(%d, %d) = %d", at, step, got)
		}
	})
}

func TestWindow(t *testing.T) {
	const minute, hour, day = 60_000, 3_600_000, 86_400_000
	for _, tc := range []struct {
		name               string
		length, step, want int64
	}{
		{"five minutes", 5 * minute, 1000, 320_000},
		{"fifteen minutes", 15 * minute, 1000, 960_000},
		{"an hour", hour, 15_000, hour},
		{"six hours", 6 * hour, 15_000, 384 * minute},
		{"a day", day, minute, 1536 * minute},
		{"a power of two", 1024, 1, 1024},
		{"one more than a power of two", 1025, 1, 1152},
		{"one less than a power of two", 1023, 1, 1024},
		{"up to fifteen rows each number is its own", 13 * 1000, 1000, 13_000},
		{"no whole number of steps", 12_500, 1000, 13_000},
		{"shorter than a step", 10, 1000, 1000},
		{"no length", 0, 1000, 1000},
		{"a negative length", -5000, 1000, 1000},
		{"the most negative length", math.MinInt64, 1000, 1000},
		{"the longest length", math.MaxInt64, 1, math.MaxInt64},
		{"the longest length, whole steps", math.MaxInt64, 1000, math.MaxInt64 / 1000 * 1000},
		{"the longest step", 1, math.MaxInt64, math.MaxInt64},
		{"both", math.MaxInt64, math.MaxInt64, math.MaxInt64},
		{"rounding up would overflow", math.MaxInt64 - 1000, 1 << 40, math.MaxInt64 >> 40 << 40},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Window(tc.length, tc.step); got != tc.want {
				t.Errorf("Window(%d, %d) = %d, want %d", tc.length, tc.step, got, tc.want)
			}
		})
	}
}

// checkWindow checks what must hold for all lengths and steps.
func checkWindow(t *testing.T, length, step int64) {
	t.Helper()
	w := Window(length, step)
	if w < step || w%step != 0 {
		t.Fatalf("Window(%d, %d) = %d is no multiple of the step", length, step, w)
	}
	if again := Window(w, step); again != w {
		t.Fatalf("Window(%d, %d) = %d, but the window of that is %d", length, step, w, again)
	}
	if w < length && w != math.MaxInt64/step*step {
		t.Fatalf("Window(%d, %d) = %d is shorter than asked for", length, step, w)
	}
	// At most an eighth, and then up to the next step.
	if length > 0 && uint64(w) >= uint64(length)+uint64(length)/8+uint64(step)+1 {
		t.Fatalf("Window(%d, %d) = %d is too long", length, step, w)
	}
	if length > 0 && Window(length-1, step) > w {
		t.Fatalf("Window(%d, %d) is longer than Window(%[1]d, %[2]d)", length-1, step)
	}
}

func TestWindowOfAllLengths(t *testing.T) {
	for _, step := range []int64{1, 7, 10, 1000} {
		for length := range int64(20_000) {
			checkWindow(t, length, step)
		}
	}
}

func FuzzWindow(f *testing.F) {
	f.Add(int64(300_000), int64(1000))
	f.Add(int64(math.MaxInt64), int64(1))
	f.Add(int64(math.MaxInt64-5), int64(math.MaxInt64/3))
	f.Add(int64(1<<62+1), int64(1))
	f.Fuzz(func(t *testing.T, length, step int64) {
		if step < 1 {
			t.Skip()
		}
		checkWindow(t, length, step)
	})
}

// "Today so far" grows with every refresh. Each new window is a new channel and
// a new buffer, so there must be few of them.
func TestWindowOfTodaySoFar(t *testing.T) {
	const minute, day, step, refresh = 60_000, 86_400_000, 15_000, 10_000
	changes, last := 0, int64(0)
	for length := int64(minute); length <= day; length += refresh {
		if w := Window(length, step); w != last {
			changes, last = changes+1, w
		}
	}
	// Eight in each doubling: 1,440 minutes are ten and a half of them.
	if refreshes := (day - minute) / refresh; changes > 84 || refreshes < 8000 {
		t.Errorf("%d windows in %d refreshes", changes, refreshes)
	}

	// From hour to hour most refreshes keep theirs, and late in the day nearly all.
	changes = 0
	for length := int64(16 * 60 * minute); length <= day; length += refresh {
		if Window(length, step) != Window(length-refresh, step) {
			changes++
		}
	}
	if changes > 6 {
		t.Errorf("%d windows in the last eight hours of a day", changes)
	}
}

func BenchmarkWindow(b *testing.B) {
	for length := int64(0); b.Loop(); length++ {
		Window(length, 1000)
	}
}
