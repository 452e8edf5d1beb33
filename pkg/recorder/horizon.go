package recorder

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// horizon knows which times of a store are final: those from oldest to settled.
// It knows nothing of samples, the TSDB or inputs but their names.
//
// Whoever commits holds the settled time until the samples are there, so that
// what is late is known before and counted after. Readers do not wait for that.
type horizon struct {
	now func() time.Time

	mu         sync.Mutex
	maxWait    int64            // ms
	retention  int64            // ms
	watermarks map[string]int64 // by input
	holds      int
	settled    int64
	late       uint64
	moved      chan struct{} // closed and made anew when settled or late changes
}

func newHorizon(now func() time.Time, late uint64) *horizon {
	return &horizon{now: now, late: late, watermarks: make(map[string]int64), moved: make(chan struct{})}
}

func (h *horizon) configure(maxWait, retention time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.maxWait, h.retention = maxWait.Milliseconds(), retention.Milliseconds()
}

// join has the settled time wait for an input, which has nothing to say about
// the time before.
func (h *horizon) join(input string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watermarks[input] = h.now().UnixMilli() - 1
}

// leave has the settled time wait for an input no more.
func (h *horizon) leave(input string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watermarks, input)
}

// times returns the settled time and the oldest that is kept.
func (h *horizon) times() (oldest, settled int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle()
	return h.settled - h.retention, h.settled
}

// settle needs h.mu.
func (h *horizon) settle() {
	if h.holds > 0 {
		return
	}
	now := h.now().UnixMilli()
	low := now
	if len(h.watermarks) > 0 {
		low = min(low, max(slices.Min(slices.Collect(maps.Values(h.watermarks))), now-h.maxWait))
	}
	h.settled = max(h.settled, low)
}

// hold is times, but what it returns stays true until release is called.
func (h *horizon) hold() (oldest, settled int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle()
	h.holds++
	return h.settled - h.retention, h.settled
}

// release ends hold. late samples have been added, and input has given all that
// it has up to watermark.
func (h *horizon) release(input string, watermark int64, late uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holds--
	before := h.settled
	if old, ok := h.watermarks[input]; ok {
		h.watermarks[input] = max(old, watermark)
	}
	h.settle()
	h.late += late
	if late > 0 || h.settled > before {
		h.notify()
	}
}

// changed says that rows at or before the settled time are not what they were.
func (h *horizon) changed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.late++
	h.notify()
}

// wake has whoever watches look again.
func (h *horizon) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notify()
}

// notify needs h.mu.
func (h *horizon) notify() {
	close(h.moved)
	h.moved = make(chan struct{})
}

func (h *horizon) watch() (late uint64, moved <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.late, h.moved
}
