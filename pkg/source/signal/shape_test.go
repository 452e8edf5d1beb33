package signal

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"testing"
	"time"
)

// seconds of some times, as they are for a tick of 1000.
var (
	epoch      = int64(0)
	before1970 = time.Date(1900, 2, 28, 12, 34, 56, 0, time.UTC).Unix()
	in2026     = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).Unix()
	in2100     = time.Date(2100, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
)

// The value at a time is for ever, in every process and on every architecture:
// another one is a break in the line of everyone who looks.
func TestGolden(t *testing.T) {
	ticks := []int64{epoch, -1, before1970, in2026, in2100}
	for _, tc := range []struct {
		shape string
		sum   uint64 // of 10,000 values from each of the ticks
		want  []float64
	}{
		{"walk", 0xa039f3db87afc641, []float64{678.8895760986694, 697.0665787642481, 553.1293144674814, 975.514221303223, 737.1274227991845}},
		{"sine", 0x9f0bbe34c4eac25e, []float64{493.9, 483.2989471137523, 451.5422757655382, 993.0111942946911, 483.2989471137523}},
		{"square", 0xf33a9bb1b7ea6b20, []float64{1000.1, -12.3, -12.3, 1000.1, -12.3}},
		{"sawtooth", 0xf59263292133fdb5, []float64{-12.3, 1000.1, 989.9421404682274, 214.55886287625415, 1000.1}},
		{"noise", 0xd9080558e6a6dd62, []float64{673.1559913237309, 589.3950486001244, 47.64347965814487, 308.2453887505456, 538.9358437202987}},
	} {
		t.Run(tc.shape, func(t *testing.T) {
			q := query{Shape: tc.shape, LowerLimit: -12.3, UpperLimit: 1000.1, TickInterval: 1000}
			var got []float64
			sum := fnv.New64a()
			for _, n := range ticks {
				got = append(got, q.at(n))
				for i := range int64(10_000) {
					sum.Write(binary.BigEndian.AppendUint64(nil, math.Float64bits(q.at(n+i))))
				}
			}
			if !slices.Equal(got, tc.want) || sum.Sum64() != tc.sum {
				t.Errorf("got  %#x %#v\nwant %#x %#v", sum.Sum64(), got, tc.sum, tc.want)
			}
		})
	}
}

// The limits are those of all values, whatever they are.
func TestWithinLimits(t *testing.T) {
	for _, limits := range [][2]float64{
		{0, 1}, {-12.3, 1000.1}, {-MaxLimit, MaxLimit}, {MaxLimit - 0.125, MaxLimit}, {-MaxLimit, -MaxLimit + 0.125},
		{0, math.SmallestNonzeroFloat64}, {0.1, 0.3}, {1, math.Nextafter(1, 2)},
		{-43, 86.8}, // -43 + (86.8 - -43) is above 86.8
	} {
		for _, shape := range Shapes {
			q := query{Shape: shape, LowerLimit: limits[0], UpperLimit: limits[1]}
			for i := range int64(3 * Period) {
				for _, n := range []int64{-1, epoch, in2026, math.MaxInt64 / MinTick, math.MinInt64 / MinTick} {
					if v := q.at(n - i); !(v >= q.LowerLimit && v <= q.UpperLimit) {
						t.Fatalf("%s: tick %d is %v", q, n-i, v)
					}
				}
			}
		}
	}
}

// The periodic shapes repeat, and reach both limits, or as good as.
func TestPeriodicShapes(t *testing.T) {
	for _, tc := range []struct {
		shape string
		steps int // different values in one turn
	}{{"sine", 151}, {"square", 2}, {"sawtooth", Period}} {
		t.Run(tc.shape, func(t *testing.T) {
			turn := map[float64]bool{}
			low, high := 1.0, 0.0
			for n := range int64(Period) {
				v := unit(tc.shape, n)
				turn[v] = true
				low, high = min(low, v), max(high, v)
				for _, other := range []int64{n - Period, n + Period, n + 1e6*Period, n - 1e6*Period} {
					if w := unit(tc.shape, other); w != v {
						t.Fatalf("tick %d is %v, tick %d is %v", n, v, other, w)
					}
				}
			}
			if low != 0 || high != 1 || len(turn) != tc.steps {
				t.Errorf("%d values from %v to %v", len(turn), low, high)
			}
		})
	}
}

// math.Sin is written in assembly on some architectures and fused on others, so
// its last bits differ. They vanish in the rounding, unless a value lies as near
// to a tie as they are large: about 1e-16. The margin is 10,000 times that.
func TestSineIsFarFromRoundingTies(t *testing.T) {
	const margin = 1e-12
	for phase := range int64(Period) {
		exact := sineExact(phase)
		for _, v := range []float64{exact - margin, exact + margin} {
			if rounded := math.Round(v*(1<<28)) / (1 << 28); rounded != sine(phase) {
				t.Errorf("phase %d: %v rounds to %v, but %v to %v", phase, exact, sine(phase), v, rounded)
			}
		}
	}
}

// walkFrom returns the walk of n ticks from a tick on.
func walkFrom(first int64, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = walk(first + int64(i))
	}
	return values
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// correlation returns the autocorrelation at a lag.
func correlation(values []float64, lag int) float64 {
	m := mean(values)
	var together, alone float64
	for i, v := range values {
		alone += (v - m) * (v - m)
		if i >= lag {
			together += (v - m) * (values[i-lag] - m)
		}
	}
	return together / alone
}

// steps returns the sizes of the steps from each value to the next.
func steps(values []float64) []float64 {
	sizes := make([]float64, len(values)-1)
	for i := range sizes {
		sizes[i] = math.Abs(values[i+1] - values[i])
	}
	return sizes
}

func TestWalkLooksLikeAWalk(t *testing.T) {
	const ticks = 1_000_000
	var all []float64 // the mean step of each epoch
	for _, first := range []int64{epoch, before1970, in2026, in2100} {
		t.Run(fmt.Sprint("from tick ", first), func(t *testing.T) {
			values := walkFrom(first, ticks)
			low, high := slices.Min(values), slices.Max(values)
			if low < 0 || high > 1 || low > 0.001 || high < 0.999 {
				t.Errorf("from %v to %v, not from 0 to 1", low, high)
			}
			for at := 0; at+1000 <= ticks; at += 500 {
				if r := correlation(values[at:at+1000], 1); r <= 0.9 {
					t.Errorf("in the 1,000 ticks from %d on the autocorrelation is %v", at, r)
				}
			}

			// A period would be a peak far behind the longest spacing, 4096 ticks.
			for _, lag := range []int{2 * 4096, 10_000, 3 * 4096, 4 * 4096, 20_000, 30_000, 8 * 4096, 60_000, 16 * 4096, 100_000} {
				if r := correlation(values, lag); math.Abs(r) > 0.15 {
					t.Errorf("the autocorrelation at %d ticks is %v", lag, r)
				}
			}

			// It drifts nowhere, and keeps its pace all the time.
			if drift := (values[ticks-1] - values[0]) / ticks; math.Abs(drift) > 1e-6 {
				t.Errorf("it drifts by %v a tick", drift)
			}
			sizes := steps(values)
			all = append(all, mean(sizes))
			for at := 0; at < len(sizes)-ticks/20; at += ticks / 20 {
				if m := mean(sizes[at : at+ticks/20]); math.Abs(m/mean(sizes)-1) > 0.15 {
					t.Errorf("the mean step is %v, and %v in the %d ticks from %d on", mean(sizes), m, ticks/20, at)
				}
			}
		})
	}
	for _, m := range all {
		if math.Abs(m/all[0]-1) > 0.01 {
			t.Errorf("the mean step depends on the time: %v", all)
			break
		}
	}
}

// The walk is made of points that lie 1, 2, 4 … ticks apart. Steps away from and
// towards those points must look like any others.
func TestWalkKeepsItsPaceAtEverySpacing(t *testing.T) {
	const samples = 10_000
	usual := mean(steps(walkFrom(in2026, 300_000)))
	for k := range weights {
		spacing := int64(1) << k
		// On the points, half way and a quarter of the way between them.
		for _, offset := range []int64{-1, 0, spacing / 4, spacing / 2} {
			var sum float64
			for i := range int64(samples) {
				n := i*spacing + offset
				sum += math.Abs(walk(n+1) - walk(n))
			}
			if m := sum / samples; math.Abs(m/usual-1) > 0.03 {
				t.Errorf("the mean step is %v at %d modulo %d, and %v elsewhere", m, offset, spacing, usual)
			}
		}
	}
}

// A line that stands still looks like a stream that has stopped.
func TestWalkMoves(t *testing.T) {
	still := 0
	for n := range int64(100_000) {
		if walk(in2026+n) == walk(in2026+n+1) {
			still++
		}
	}
	if still > 0 {
		t.Errorf("%d of 100,000 ticks have the value of the one before", still)
	}
}

// noise has no memory and prefers no value.
func TestNoiseIsUniform(t *testing.T) {
	const ticks, bins = 1_000_000, 100
	for _, first := range []int64{epoch, before1970, in2026, in2100} {
		values := make([]float64, ticks)
		var counts [bins]int
		for i := range values {
			values[i] = unit("noise", first+int64(i))
			counts[int(values[i]*bins)]++
		}
		// Chi-squared with 99 degrees of freedom: above 148.2 once in a thousand.
		var chi float64
		for _, c := range counts {
			chi += math.Pow(float64(c)-ticks/bins, 2) / (ticks / bins)
		}
		if chi > 148.2 {
			t.Errorf("from tick %d: chi-squared is %v", first, chi)
		}
		for _, lag := range []int{1, 2, 3, 64, Period, 4096} {
			if r := correlation(values, lag); math.Abs(r) > 0.004 { // four standard errors
				t.Errorf("from tick %d: the autocorrelation at %d ticks is %v", first, lag, r)
			}
		}
	}
}

// The points of different spacings must not be the same numbers shifted, else
// the walk would meet itself again.
func TestChanceStreamsAreApart(t *testing.T) {
	seen := map[float64]string{}
	for stream := range weights {
		for n := int64(-2000); n < 2000; n++ {
			v := chance(n, stream)
			if v < 0 || v >= 1 {
				t.Fatalf("chance(%d, %d) = %v", n, stream, v)
			}
			if other, ok := seen[v]; ok {
				t.Errorf("chance(%d, %d) is that of %s", n, stream, other)
			}
			seen[v] = fmt.Sprint(n, stream)
		}
	}
}
