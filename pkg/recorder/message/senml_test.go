package message

import (
	"slices"
	"testing"
	"time"
)

// A time that is counted from now is the sample's own: a store must not move it behind
// the newest sample. So a pack that comes again with an overlap has the same times.
func TestRelativeTimes(t *testing.T) {
	k := run(t, Rules{}, func(_ *testing.T, d *Decoder, _ *keeper) {
		add(d, "t", `[{"n":"a","v":1},{"n":"a","t":-1,"v":2},{"n":"a","t":-2,"v":3}]`)
		time.Sleep(time.Second)
		add(d, "t", `[{"n":"a","v":0},{"n":"a","t":-1,"v":1},{"n":"a","t":-2,"v":2}]`)
		add(d, "t", `[{"n":"b","t":-3600,"v":1}]`)
	})
	want := []string{
		`a{topic="t"} 1 @ 946684800000`, `a{topic="t"} 2 @ 946684799000`, `a{topic="t"} 3 @ 946684798000`,
		`a{topic="t"} 0 @ 946684801000`, `a{topic="t"} 1 @ 946684800000`, `a{topic="t"} 2 @ 946684799000`,
		`b{topic="t"} 1 @ 946681201000`,
	}
	if !slices.Equal(k.samples, want) || k.arrived != 2 {
		t.Errorf("%q, of which %d have the time of arrival", k.samples, k.arrived)
	}
	if k.watermark >= 946684801000 {
		t.Errorf("all is said to have come up to %d", k.watermark)
	}
}

func TestTimesBeyondAll(t *testing.T) {
	for _, payload := range []string{
		`[{"n":"a","t":1e300,"v":1}]`, `[{"n":"a","t":-1e300,"v":1}]`, `[{"n":"a","t":1e400,"v":1}]`, `[{"bn":"a","bt":1e19,"v":1}]`, `[{"n":"a","bt":-7258118401,"v":1}]`,
	} {
		k := run(t, Rules{}, func(_ *testing.T, d *Decoder, _ *keeper) { add(d, "t", payload) })
		if len(k.samples) > 0 || k.skipped() != "no valid time stamp(1)" {
			t.Errorf("%s becomes %q, skipped: %s", payload, k.samples, k.skipped())
		}
	}
}
