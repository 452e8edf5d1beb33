package message

import "time"

// maxSlew is how far the clock may be set back without stamps going back. A
// store refuses what is ten seconds ahead of the clock.
const maxSlew = 5 * time.Second

// arrival turns times of arrival into stamps that do not go back.
type arrival struct {
	received, stamp time.Time // of the last
}

// at returns the stamp in Unix milliseconds for what was received now, which must
// have the reading of the monotonic clock if it is to be right while the clock is
// set back: stamps then go at half the speed until the clock has caught up.
func (a *arrival) at(now time.Time) int64 {
	stamp := now.Round(0)
	if ahead := a.stamp.Sub(stamp); ahead > 0 && ahead < maxSlew {
		if slow := a.stamp.Add(now.Sub(a.received) / 2); slow.After(stamp) {
			stamp = slow
		}
		if stamp.Before(a.stamp) { // several wait, and this one was received before
			stamp = a.stamp
		}
	}
	if now.After(a.received) || stamp.Before(a.stamp) {
		a.received = now
	}
	a.stamp = stamp
	return stamp.UnixMilli()
}
