package signal

import (
	"encoding/json"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The settled time stays while the clock is set back a little, and follows one that
// is set back far.
func TestSettledWhenTheClockGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		for back, stays := range map[time.Duration]bool{0: true, 200 * time.Millisecond: true, 10 * time.Second: true, time.Minute: false} {
			b := bound{step: 1000, told: new(atomic.Int64)}
			told := time.Now().Add(back).UnixMilli()
			b.told.Store(told) // by a clock that was set back since
			settled, err := b.Settled(t.Context())
			if err != nil || (settled == told) != stays {
				t.Errorf("set back by %v, settled is %d ms before what was told, %v", back, told-settled, err)
			}
			through := settled / 1000 * 1000
			b.query = query{Shape: "sine", UpperLimit: 1, TickInterval: 1000}
			if _, err := b.Rows(t.Context(), through-1000, through); err != nil {
				t.Errorf("set back by %v, the newest row is refused: %v", back, err)
			}
		}
	})
}

func TestNull(t *testing.T) {
	if _, err := (Source{}).Query(json.RawMessage(" null ")); err == nil {
		t.Error("null is taken for a query")
	}
}
