package clock

import (
	"cmp"
	"time"
)

const (
	// Jitter is how far two answers of one clock usually may differ beyond the time
	// that the questions took.
	Jitter = time.Second
	// Confirmations is how many answers in a row must agree before they replace the
	// one that is believed.
	Confirmations = 3
)

// Remote is the clock of a server whose replicas may have different clocks, so that
// single answers may be wrong. An answer is believed if it agrees with the one
// believed last; before there is one, with this machine's clock. Otherwise it is
// believed once Confirmations answers in a row agree. So an outlier is ignored, and
// a clock that was set, forward or back, is believed soon. The zero value has no
// answers. Its methods must not be called concurrently.
type Remote struct {
	// Tolerance is how far two answers may differ beyond the time that the questions
	// took, [Jitter] if it is 0.
	Tolerance time.Duration

	base              time.Time // offsets count from it, by the monotonic clock
	believed, doubted offset
	agree             int // answers in a row with doubted
}

// offset is how far a server's clock is ahead of ours, as a range: the server read
// it at some time between request and answer.
type offset struct {
	least, most time.Duration
	set         bool
}

// same reports whether two offsets may be those of one clock.
func (r *Remote) same(o, p offset) bool {
	tolerance := cmp.Or(r.Tolerance, Jitter)
	return o.set && o.least <= p.most+tolerance && p.least <= o.most+tolerance
}

// Answer notes an answer: the server's time was now (Unix ms) at some time from
// asked to answered. believed reports whether the answer is believed, and set
// whether the server's clock was set since the last believed answer.
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

// Believed reports whether an answer was believed so far.
func (r *Remote) Believed() bool { return r.believed.set }
