package message

import "time"

// maxSlew is how far the clock may be set back without stamps going back. It is well
// below recorder.DefaultMaxAhead, as stamps are ahead of the clock then.
const maxSlew = 5 * time.Second

// arrival makes stamps from times of arrival, such that no stamp is before the last.
type arrival struct {
	received, stamp time.Time // of the last message
}

// at returns the stamp (Unix ms) of a message that was received at now. When the
// clock was set back, stamps go at half the speed until the clock has caught up. For
// that, now must have a reading of the monotonic clock.
func (a *arrival) at(now time.Time) int64 {
	stamp := now.Round(0)
	if ahead := a.stamp.Sub(stamp); ahead > 0 && ahead < maxSlew {
		if slow := a.stamp.Add(now.Sub(a.received) / 2); slow.After(stamp) {
			stamp = slow
		}
		if stamp.Before(a.stamp) { // this one was received before the last one
			stamp = a.stamp
		}
	}
	if now.After(a.received) || stamp.Before(a.stamp) {
		a.received = now
	}
	a.stamp = stamp
	return stamp.UnixMilli()
}
