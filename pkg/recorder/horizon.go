package recorder

import (
	"math"
	"slices"
	"sync"
	"time"
)

// horizon knows which times of a store are final: those from oldest to settled. It
// knows nothing of samples or of the TSDB, and of inputs only the names.
//
// A commit holds the settled time until its samples are stored, so that it is known
// beforehand which of them are late, and noted afterwards. Readers do not wait for
// that.
type horizon struct {
	now func() time.Time

	mu         sync.Mutex
	maxWait    int64            // ms
	retention  int64            // ms
	watermarks map[string]int64 // by input
	lowest     int64            // of watermarks
	atLowest   int              // how many of watermarks are the lowest
	holds      int
	settled    int64
	changes    changes
	moved      chan struct{} // closed and replaced when settled or changes change
}

func newHorizon(now func() time.Time) *horizon {
	return &horizon{now: now, changes: newChanges(), watermarks: make(map[string]int64), moved: make(chan struct{})}
}

func (h *horizon) configure(maxWait, retention time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.maxWait, h.retention = maxWait.Milliseconds(), retention.Milliseconds()
}

// join makes the settled time wait for an input from now on.
func (h *horizon) join(input string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watermarks[input] = h.now().UnixMilli() - 1
	h.findLowest()
}

// leave ends join: the settled time waits for the input no more.
func (h *horizon) leave(input string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle() // time alone moves it without notice
	before := h.settled
	delete(h.watermarks, input)
	h.findLowest()
	if h.settle(); h.settled > before {
		h.notify()
	}
}

// times returns the oldest time that is kept, by the retention, and the settled
// time, in Unix ms.
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
	h.settled = max(h.settled, h.low())
}

// low returns the time up to which nothing is waited for. It needs h.mu.
func (h *horizon) low() int64 {
	now := h.now().UnixMilli()
	if len(h.watermarks) == 0 {
		return now
	}
	return min(now, max(h.lowest, now-h.maxWait))
}

// setBack puts the settled time back if it is after limit (Unix ms), which only
// happens when the clock was ahead. Marks from before end, as samples that were
// settled may come now.
func (h *horizon) setBack(limit int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled <= limit {
		return
	}
	now := h.now().UnixMilli()
	for input, w := range h.watermarks {
		h.watermarks[input] = min(w, now-1)
	}
	h.findLowest()
	h.settled = h.low()
	h.changes.renew()
	h.notify()
}

// findLowest needs h.mu.
func (h *horizon) findLowest() {
	h.lowest, h.atLowest = math.MaxInt64, 0
	for _, w := range h.watermarks {
		if w < h.lowest {
			h.lowest, h.atLowest = w, 0
		}
		if w == h.lowest {
			h.atLowest++
		}
	}
}

// raise sets the watermark of an input to a later one. It needs h.mu.
func (h *horizon) raise(input string, watermark int64) {
	watermark = min(watermark, h.now().UnixMilli()) // it may be from when the clock was ahead
	old, ok := h.watermarks[input]
	if !ok || watermark <= old {
		return
	}
	h.watermarks[input] = watermark
	if old > h.lowest {
		return
	}
	if h.atLowest--; h.atLowest == 0 {
		h.findLowest()
	}
}

// hold returns the same as times. Neither value changes until release is called.
func (h *horizon) hold() (oldest, settled int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle()
	h.holds++
	return h.settled - h.retention, h.settled
}

// written is what readers have to know about the samples of a batch.
type written struct {
	metrics []string        // metrics that the input writes to for the first time, may repeat
	late    map[string]span // first and last time of late samples, by metric
}

type span struct{ from, to int64 } // Unix ms

func (w *written) noteLate(metric string, of span) {
	if w.late == nil {
		w.late = make(map[string]span)
	}
	s, ok := w.late[metric]
	if !ok {
		s = of
	}
	if all := (span{min(s.from, of.from), max(s.to, of.to)}); !ok || all != s {
		w.late[metric] = all
	}
}

// release ends hold after samples were added: input has given all its samples up to
// watermark (Unix ms).
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
	h.raise(input, watermark)
	h.settle()
	if len(w.late) > 0 || h.settled > before {
		h.notify()
	}
}

// pass notes that an input has given all that it has up to watermark, and no samples.
func (h *horizon) pass(input string, watermark int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watermarks[input] > h.lowest || h.atLowest > 1 { // another one is waited for
		h.raise(input, watermark)
		return
	}
	h.settle() // time alone moves it without notice
	before := h.settled
	h.raise(input, watermark)
	if h.settle(); h.settled > before {
		h.notify()
	}
}

// changed notes that samples of a metric have changed between two times (Unix ms);
// an empty metric stands for all.
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

// wake wakes all watchers, so that they look again.
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
