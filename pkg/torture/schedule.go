package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// kind is a kind of fault.
type kind string

const (
	killPlugin  kind = "kill"     // SIGKILL
	termPlugin  kind = "term"     // SIGTERM
	fillDisk    kind = "disk"     // filled by a file that is not the plugin's, then emptied
	shrinkDisk  kind = "shrink"   // has no room for one write, then SIGKILL
	stopMQTT    kind = "mqtt"     // the broker is ended, then started
	killNATS    kind = "nats"     // the server is killed, then started
	newSettings kind = "settings" // other settings, with which inputs start again
	stepClock   kind = "clock"    // the plugin's clock is stepped, then stepped back
	lateBatch   kind = "late"     // samples of the last hour
	hostileBody kind = "hostile"  // bodies that could harm the plugin, see hostile
	failedWrite kind = "failed"   // is noted, not planned
)

// fault is a planned fault.
type fault struct {
	at    time.Duration // since the begin of the faults
	kind  kind
	lasts time.Duration // 0 if it is over at once
	// amount is how many bytes are left on the disk, by how much the clock is
	// stepped in ms, or the number of the settings or of the body.
	amount int64
}

func (f fault) String() string {
	s := fmt.Sprintf("%6.1f s  %-8s", f.at.Seconds(), f.kind)
	switch f.kind {
	case fillDisk, shrinkDisk:
		s += fmt.Sprintf(" %d bytes are left", f.amount)
	case stepClock:
		s += fmt.Sprintf(" by %v", time.Duration(f.amount)*time.Millisecond)
	case newSettings, hostileBody, lateBatch:
		s += fmt.Sprintf(" number %d", f.amount)
	}
	if f.lasts > 0 {
		s += fmt.Sprintf(" for %.1f s", f.lasts.Seconds())
	}
	return s
}

// deck has the kinds of faults. All of it is drawn before it is shuffled again, so a
// kind comes as often as it is here.
var deck = []kind{
	killPlugin, killPlugin, termPlugin, fillDisk, fillDisk, shrinkDisk, stopMQTT, killNATS,
	newSettings, stepClock, lateBatch, hostileBody,
}

const (
	// longDisk is how long the disk is full once in a long run. The TSDB works
	// once a minute by itself, and not after a restart alone.
	longDisk = 75 * time.Second
	// longLead is how long before that the plugin is ended in good order, and nothing
	// else happens to its store. A TSDB that was opened anew has no file for the
	// chunks of its head until one is full, which takes a series of remote write 24 s,
	// and a minute has gone by: then it makes one, and panics if there is no room.
	longLead = 40 * time.Second
	// slowly is how much longer a fault may take on a slow machine, where that matters.
	slowly = 5 * time.Second
	// shrinks is how often a write is tried that is to fail: the plugin may see first
	// that there is no room.
	shrinks = 12
	// enough is how long a run must be for that, and for a clock that is set back so
	// far that it is in doubt when it returns: nothing is stored for two minutes then.
	enough = 3 * time.Minute
)

// planned returns the faults of a run. They only depend on seed and length.
func planned(seed uint64, length time.Duration) []fault {
	r := rand.New(rand.NewPCG(seed, 0))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(r.Int64N(int64(most-least)))
	}

	// What leaks is gone with its process, and is to add up towards the end. Before
	// that each run has a write that fails.
	lastEnd := length - length/4
	faults := []fault{{at: lastEnd, kind: shrinkDisk, amount: r.Int64N(4 << 10)}}
	var longBegin, longEnd time.Duration // of what leads up to the long one, and of itself
	if length >= enough {
		longBegin = between(slowly, lastEnd-longLead-longDisk-slowly)
		longEnd = longBegin + longLead + longDisk
		faults = append(faults,
			fault{at: longBegin, kind: termPlugin},
			fault{at: longBegin + longLead, kind: fillDisk, lasts: longDisk})
	}
	until := make(map[kind]time.Duration) // when a kind is over
	var cards []kind
	for at := between(0, time.Second); at < length; at += between(1500*time.Millisecond, 3500*time.Millisecond) {
		if len(cards) == 0 {
			cards = slices.Clone(deck)
			r.Shuffle(len(cards), func(i, j int) { cards[i], cards[j] = cards[j], cards[i] })
		}
		f := fault{at: at, kind: cards[0]}
		cards = cards[1:]
		switch f.kind {
		case fillDisk:
			f.lasts = between(3*time.Second, 9*time.Second)
			// Nothing, less than some pages, less than some blocks, or an amount
			// between the floors.
			f.amount = []int64{0, 0, r.Int64N(64 << 10), r.Int64N(16 << 20), (diskLow + diskCritical) / 2}[r.IntN(5)]
		case shrinkDisk:
			f.amount = r.Int64N(4 << 10)
		case stopMQTT, killNATS:
			f.lasts = between(500*time.Millisecond, 4*time.Second)
		case stepClock:
			f.lasts = between(time.Second, 5*time.Second)
			steps := []time.Duration{30 * 24 * time.Hour, time.Hour, 3 * time.Second, -3 * time.Second, -45 * time.Second, -2 * time.Minute}
			if length < enough {
				steps = steps[:5]
			}
			f.amount = steps[r.IntN(len(steps))].Milliseconds()
		case newSettings, lateBatch, hostileBody:
			f.amount = int64(r.IntN(1000))
		}
		f.lasts = min(f.lasts, length-at)
		if at < until[f.kind] {
			continue
		}
		if at+f.lasts+slowly > longBegin && at < longEnd && (ends(f.kind) || slices.Contains([]kind{fillDisk, stepClock, lateBatch}, f.kind)) {
			continue
		}
		if at > lastEnd && ends(f.kind) || at <= lastEnd && at+f.lasts > lastEnd && f.kind == fillDisk {
			continue
		}
		until[f.kind] = at + f.lasts
		faults = append(faults, f)
	}
	slices.SortStableFunc(faults, func(a, b fault) int { return int(a.at - b.at) })
	return faults
}

// ends reports whether the plugin is ended by a kind of fault.
func ends(k kind) bool { return k == killPlugin || k == termPlugin || k == shrinkDisk }
