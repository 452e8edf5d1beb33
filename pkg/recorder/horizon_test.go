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
	h := newHorizon(c.now)
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
	mark, moved := h.watch([]string{"m"})
	var w written
	w.noteLate("m", start-5000)
	h.release("a", start+9000, w)
	<-moved
	if _, settled := h.times(); settled != start+9000 {
		t.Errorf("settled is %d", settled)
	}
	if now, _ := h.watch([]string{"m"}); now == mark {
		t.Error("late samples are not noted")
	}
	h.hold()
	h.release("b", start+1, written{}) // it has left, and holds nothing back any more
	if _, settled := h.times(); settled != start+9000 {
		t.Errorf("settled is %d", settled)
	}
}
