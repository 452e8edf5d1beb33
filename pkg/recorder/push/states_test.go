package push

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"
)

// Strings of fields that are named are states: 1 for the last that came, 0 for those
// before, and a number that was there before them ends.
func TestStates(t *testing.T) {
	_, store := open(t, Config{States: []string{"mode", "lock_state"}, MaxSeries: 100})
	sink := store.Sink("push")
	now := time.Now().UnixMilli() - 10_000
	line := func(after int64, fields string) string { return fmt.Sprintf("%s %d\n", fields, now+after) }
	body := line(0, `pump,id=7 mode="auto",text="not named"`) + line(1, `pump,id=7 mode="off line"`) + line(2, "pump,id=7 mode=4") +
		line(3, `pump,id=7 mode="auto"`) + line(0, `lock state="locked"`) + line(4, `pump,id=8 mode="`+strings.Repeat("x", 129)+`"`) +
		line(5, `pump,id=9,pump_mode=x mode="auto"`)
	answer := post(sink, Influx, "?precision=ms", body)
	if answer.StatusCode != http.StatusBadRequest || !strings.Contains(answer.Body, "two labels, one name") {
		t.Errorf("%d %s", answer.StatusCode, answer.Body)
	}
	all := samples(t, store)
	var got []string
	for _, at := range slices.Sorted(maps.Keys(all)) {
		name, after, _ := strings.Cut(at, "@")
		v := fmt.Sprint(all[at])
		if value.IsStaleNaN(all[at]) {
			v = "stale"
		}
		got = append(got, fmt.Sprintf("%s %s %s", name, v, after[len(after)-1:]))
	}
	last := func(after int64) string { return fmt.Sprint((now + after) % 10) }
	want := []string{
		`lock_state{lock_state="locked"} 1 ` + last(0),
		`pump_mode{id="7", pump_mode="auto"} 1 ` + last(0), `pump_mode{id="7", pump_mode="auto"} 0 ` + last(1),
		`pump_mode{id="7", pump_mode="auto"} 0 ` + last(2), `pump_mode{id="7", pump_mode="auto"} 1 ` + last(3),
		`pump_mode{id="7", pump_mode="off line"} 1 ` + last(1), `pump_mode{id="7", pump_mode="off line"} 0 ` + last(2), `pump_mode{id="7", pump_mode="off line"} 0 ` + last(3),
		`pump_mode{id="7"} 4 ` + last(2), `pump_mode{id="7"} stale ` + last(3),
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	skipped := status(t, store).Skipped
	if skipped[notANumber].Count != 1 || skipped[tooLongText].Count != 1 {
		t.Errorf("skipped %v", skipped)
	}
}

// After the input was stopped and started, the text that was 1 becomes 0.
func TestStatesAfterARestart(t *testing.T) {
	r, store := open(t, Config{States: []string{"*"}})
	now := time.Now().UnixMilli() - 10_000
	send := func(after int64, fields string) {
		t.Helper()
		if a := post(store.Sink("push"), Influx, "?precision=ms", fmt.Sprintf("%s %d\n", fields, now+after)); a.StatusCode != http.StatusNoContent {
			t.Fatalf("%d %s", a.StatusCode, a.Body)
		}
	}
	send(0, `pump mode="running"`)
	in, err := New(Config{Name: "push", States: []string{"*"}, MaxSeries: 77}, nil) // another version
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Configure(key, configOf(in)); err != nil {
		t.Fatal(err)
	}
	for !status(t, store).State.Connected() {
		time.Sleep(time.Millisecond)
	}
	send(1, `pump mode="idle"`)
	if all := samples(t, store); all[fmt.Sprintf(`pump_mode{pump_mode="running"}@%d`, now+1)] != 0 || len(all) != 3 {
		t.Errorf("%v", all)
	}
}
