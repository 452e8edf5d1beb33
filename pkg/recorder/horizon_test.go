package recorder

import (
	"testing"
	"time"
)

// While samples are being committed the settled time stands still, and nobody
// waits for it.
func TestHold(t *testing.T) {
	c := &manualClock{}
	c.ms.Store(start)
	h := newHorizon(c.now, 7)
	h.configure(2*time.Second, time.Hour)
	h.join("a")
	h.join("b")
	h.leave("b")
	if oldest, settled := h.hold(); settled != start-1 || oldest != settled-time.Hour.Milliseconds() {
		t.Errorf("settled is %d, the oldest %d", settled, oldest)
	}
	c.ms.Add(10_000)
	if _, settled := h.times(); settled != start-1 {
		t.Errorf("settled moved to %d while it was held", settled)
	}
	_, moved := h.watch()
	h.release("a", start+9000, 3)
	<-moved
	if _, settled := h.times(); settled != start+9000 {
		t.Errorf("settled is %d", settled)
	}
	if late, _ := h.watch(); late != 10 {
		t.Errorf("%d samples are late", late)
	}
	h.hold()
	h.release("b", start+1, 0) // it has left, and holds nothing back any more
	if _, settled := h.times(); settled != start+9000 {
		t.Errorf("settled is %d", settled)
	}
}
