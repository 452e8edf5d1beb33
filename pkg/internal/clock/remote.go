package clock

import (
	"cmp"
	"time"
)

const (
	// Jitter is how far two answers of one clock usually may differ beyond the time
	// that the questions took.
	Jitter = time.Second
	// Confirmations is how many answers in a row must agree before they are
	// believed against what was believed before.
	Confirmations = 3
)

// Remote is the clock of a server of which some answers may be wrong, because a
// replica of it has another clock. An answer is believed if it agrees with those
// before, or, as the first, with this machine's clock; else once several in a row
// agree. So an outlier is dropped, and a clock that was set, forward or back, is
// believed soon. The zero value has no answers. Its methods must not be called at
// the same time.
type Remote struct {
	// Tolerance is how far two answers may differ beyond the time that the questions
	// took, [Jitter] if it is 0.
	Tolerance time.Duration

	base              time.Time // by which times are counted, on our monotonic clock
	believed, doubted offset
	agree             int // answers in a row with doubted
}

// offset is what a server's clock is ahead of ours, at least and at most. The
// answer was made at some time while the question was on its way.
type offset struct {
	least, most time.Duration
	set         bool
}

// same reports whether two offsets may be those of one clock.
func (r *Remote) same(o, p offset) bool {
	tolerance := cmp.Or(r.Tolerance, Jitter)
	return o.set && o.least <= p.most+tolerance && p.least <= o.most+tolerance
}

// Answer notes that a server took now, in Unix milliseconds, for the present at a
// time from asked to answered. It reports whether that is believed, and whether the
// server's clock was set since the answer that was believed last.
func (r *Remote) Answer(now int64, asked, answered time.Time) (believed, set bool) {
	if r.base.IsZero() {
		r.base = asked
	}
	at := time.UnixMilli(now).Sub(r.base)
	o := offset{at - answered.Sub(r.base), at - asked.Sub(r.base), true}
	reference := r.believed
	if !reference.set {
		reference = offset{set: true} // our own clock
	}
	switch {
	case r.same(o, reference):
		r.believed, r.agree = o, 0
		return true, false
	case r.agree > 0 && r.same(o, r.doubted):
		r.agree++
	default:
		r.agree = 1
	}
	r.doubted = o
	if r.agree < Confirmations {
		return false, false
	}
	set = r.believed.set
	r.believed, r.agree = o, 0
	return true, set
}

// Believed reports whether any answer was believed.
func (r *Remote) Believed() bool { return r.believed.set }
