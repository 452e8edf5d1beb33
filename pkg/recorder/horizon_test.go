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
	w.noteLate("m", span{start - 5000, start - 5000})
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

// Inputs that have nothing move the settled time, with notice, also once the one that was
// waited for has left.
func TestPass(t *testing.T) {
	now := time.UnixMilli(start)
	h := newHorizon(func() time.Time { return now })
	h.configure(time.Hour, time.Hour)
	h.join("a")
	h.join("b")
	h.join("c")
	now = now.Add(10 * time.Second)
	passes := func(input string, watermark, settled int64, notice bool) {
		t.Helper()
		_, moved := h.watch(nil)
		h.pass(input, start+watermark)
		told := false
		select {
		case <-moved:
			told = true
		default:
		}
		if _, got := h.times(); got != start+settled || told != notice {
			t.Errorf("%s at %d: settled is %d, notice %v", input, watermark, got-start, told)
		}
	}
	passes("a", 100, -1, false)
	passes("b", 200, -1, false)
	passes("c", 300, 100, true)
	passes("b", 400, 100, false)
	_, moved := h.watch(nil)
	h.leave("a")
	select {
	case <-moved:
	default:
		t.Error("no notice that the one that was waited for has left")
	}
	passes("b", 500, 300, false)
	passes("c", 600, 500, true)
	passes("c", 550, 500, false)
	passes("gone", 900, 500, false)
}
