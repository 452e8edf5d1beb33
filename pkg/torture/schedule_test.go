package main

import (
	"slices"
	"testing"
	"time"
)

func TestPlanned(t *testing.T) {
	for seed := range uint64(200) {
		for _, length := range []time.Duration{20 * time.Second, time.Minute, 4 * time.Minute, time.Hour} {
			plan := planned(seed, length)
			if !slices.Equal(plan, planned(seed, length)) {
				t.Fatalf("seed %d has other faults the second time", seed)
			}
			until := make(map[kind]time.Duration)
			var long fault
			for i, f := range plan {
				if f.at < 0 || f.at+f.lasts > length || i > 0 && f.at < plan[i-1].at {
					t.Errorf("seed %d, %v: %v is out of place", seed, length, f)
				}
				if f.at < until[f.kind] {
					t.Errorf("seed %d, %v: %v begins before another is over", seed, length, f)
				}
				until[f.kind] = f.at + f.lasts
				if f.lasts == longDisk {
					long = f
				}
			}
			if (long.lasts > 0) != (length >= enough) {
				t.Errorf("seed %d, %v: the disk is full for %v", seed, length, long.lasts)
			}
			for _, k := range deck {
				if length > time.Minute && !slices.ContainsFunc(plan, func(f fault) bool { return f.kind == k }) {
					t.Errorf("seed %d, %v: there is no %s", seed, length, k)
				}
			}
			last := length - length/4
			for _, f := range plan {
				if ends(f.kind) && f.at > long.at-longLead && f.at < long.at+long.lasts {
					t.Errorf("seed %d, %v: %v while the disk is full for long, or before", seed, length, f)
				}
				if ends(f.kind) && f.at > last {
					t.Errorf("seed %d, %v: %v towards the end", seed, length, f)
				}
			}
			if !slices.ContainsFunc(plan, func(f fault) bool { return f.kind == shrinkDisk && f.at == last }) {
				t.Errorf("seed %d, %v: no write fails", seed, length)
			}
		}
	}
	if slices.Equal(planned(1, time.Minute), planned(2, time.Minute)) {
		t.Error("two seeds have the same faults")
	}
}
