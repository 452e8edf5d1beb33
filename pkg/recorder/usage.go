package recorder

import (
	"sync"
	"time"
)

// usage knows when somebody last asked for samples. Grafana does not tell a plugin
// when a data source is deleted, so a store that nobody asks for a long time stops
// recording.
type usage struct {
	now func() time.Time
	// woken gets a value when an idle store is used again.
	woken chan struct{}

	mu   sync.Mutex
	used int64 // Unix ms
	idle int64 // ms, 0 for never
}

func newUsage(now func() time.Time, used int64) *usage {
	return &usage{now: now, used: used, woken: make(chan struct{}, 1)}
}

func (u *usage) configure(idle time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.idle = idle.Milliseconds()
}

// note notes that somebody asks for samples.
func (u *usage) note() {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now().UnixMilli()
	if stops := u.stops(); stops != 0 && now >= stops {
		select {
		case u.woken <- struct{}{}:
		default:
		}
	}
	u.used = now
}

// times returns when samples were last asked for, and when recording stops unless
// somebody asks again, 0 for never. Both are in Unix ms.
func (u *usage) times() (used, stops int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.used, u.stops()
}

// stops needs u.mu.
func (u *usage) stops() int64 {
	if u.idle == 0 {
		return 0
	}
	return u.used + u.idle
}

// over reports whether recording has stopped.
func (u *usage) over() bool {
	_, stops := u.times()
	return stops != 0 && u.now().UnixMilli() >= stops
}
