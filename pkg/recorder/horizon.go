package recorder

import (
	"math"
	"slices"
	"sync"
	"time"
)

// horizon knows which times of a store are final: those from oldest to settled.
// It knows nothing of samples, the TSDB or inputs but their names.
//
// Whoever commits holds the settled time until the samples are there, so that
// what is late is known before and noted after. Readers do not wait for that.
type horizon struct {
	now func() time.Time

	mu         sync.Mutex
	maxWait    int64            // ms
	retention  int64            // ms
	watermarks map[string]int64 // by input
	lowest     int64            // of watermarks, or was when it was last settled
	holds      int
	settled    int64
	changes    changes
	moved      chan struct{} // closed and made anew when settled changes or there are changes
}

func newHorizon(now func() time.Time) *horizon {
	return &horizon{now: now, changes: newChanges(), watermarks: make(map[string]int64), moved: make(chan struct{})}
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
	h.watermarks[input], h.lowest = h.now().UnixMilli()-1, math.MaxInt64
}

// leave has the settled time wait for an input no more.
func (h *horizon) leave(input string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle() // time alone moves it without notice
	before := h.settled
	delete(h.watermarks, input)
	if h.settle(); h.settled > before {
		h.notify()
	}
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
		h.lowest = math.MaxInt64
		for _, w := range h.watermarks {
			h.lowest = min(h.lowest, w)
		}
		low = min(low, max(h.lowest, now-h.maxWait))
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

// written is what the samples of a batch mean for whoever reads.
type written struct {
	metrics []string        // that the input writes to for the first time, with repetitions
	late    map[string]span // between which times samples were late, by metric
}

type span struct{ from, to int64 } // Unix ms

func (w *written) noteLate(metric string, t int64) {
	if w.late == nil {
		w.late = make(map[string]span)
	}
	s, ok := w.late[metric]
	if !ok {
		s = span{t, t}
	}
	w.late[metric] = span{min(s.from, t), max(s.to, t)}
}

// release ends hold: samples have been added, and input has given all that it has
// up to watermark.
func (h *horizon) release(input string, watermark int64, w written) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holds--
	before := h.settled
	for _, m := range w.metrics {
		h.changes.wrote(input, m)
	}
	for metric, s := range w.late {
		h.changes.changed(metric, Change{s.from, s.to, before})
	}
	if old, ok := h.watermarks[input]; ok {
		h.watermarks[input] = max(old, watermark)
	}
	h.settle()
	if len(w.late) > 0 || h.settled > before {
		h.notify()
	}
}

// pass notes that an input has given all that it has up to watermark, and no samples.
func (h *horizon) pass(input string, watermark int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old, ok := h.watermarks[input]
	if !ok || watermark <= old {
		return
	}
	if old > h.lowest { // another one is waited for
		h.watermarks[input] = watermark
		return
	}
	h.settle() // time alone moves it without notice
	before := h.settled
	h.watermarks[input] = watermark
	if h.settle(); h.settled > before {
		h.notify()
	}
}

// changed notes that samples of a metric, of all if it is empty, are not what they
// were at the times from one to another (Unix ms).
func (h *horizon) changed(metric string, from, to int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes.changed(metric, Change{from, to, h.settled})
	h.notify()
}

// turned notes that an input went down or is back.
func (h *horizon) turned(input string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes.turned(input)
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

func (h *horizon) watch(metrics []string) (mark string, moved <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes.mark(metrics), h.moved
}

func (h *horizon) since(mark, metric string) (Change, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes.since(mark, metric)
}

func (h *horizon) turnedSince(mark string, metrics []string) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes.turnedSince(mark, metrics)
}

// concerns reports whether an input may write to one of the metrics.
func (h *horizon) concerns(input string, metrics []string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(metrics, func(m string) bool { return h.changes.concerns(input, m) })
}
