package promql

import (
	"strings"
	"testing"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

func TestCheckBeginsWithTroubles(t *testing.T) {
	now := time.Date(2026, 1, 2, 14, 2, 0, 0, time.UTC)
	host := recorder.InputStatus{Name: "host", State: recorder.StateRecording, Rate: 79.5}
	down := recorder.InputStatus{Name: "plant", State: recorder.StateDown, Since: now.UnixMilli(), Trouble: "broker:1883 refuses the connection",
		Last: &recorder.Message{From: "a/b", Payload: strings.Repeat("x", 1000)}}
	silent := recorder.InputStatus{Name: "bus", State: recorder.StateWaiting, Silent: []string{"a", "b", "c", "d", "e", "f"}}
	texts := recorder.InputStatus{Name: "texts", State: recorder.StateUnstored, Since: now.UnixMilli(), LastError: "no message has become a sample."}
	for name, c := range map[string]struct {
		status recorder.Status
		broken bool
		want   string
	}{
		"well": {
			recorder.Status{Series: 1234, Bytes: 3 << 20, Inputs: []recorder.InputStatus{host, silent}}, false,
			"The recorder has 1,234 series in 3.0 MiB.\nhost: 79.5 samples/s.\nbus: connected, no messages yet, nothing from a, b, c, d, e and 1 more.",
		},
		"an input is down": {
			recorder.Status{Series: 1, Bytes: 1 << 30, Inputs: []recorder.InputStatus{host, down, texts}}, true,
			"plant: no connection since 14:02 UTC: broker:1883 refuses the connection. " +
				"texts: receives messages and records nothing since 14:02 UTC: no message has become a sample.\n" +
				"The recorder has 1 series in 1.0 GiB.\nhost: 79.5 samples/s.",
		},
		"many are down": {
			recorder.Status{Inputs: []recorder.InputStatus{texts, texts, texts, texts, texts}}, true,
			strings.Repeat("texts: receives messages and records nothing since 14:02 UTC: no message has become a sample. ", 3) +
				"2 more inputs have trouble, see Status.\nThe recorder has 0 series in 0 B.",
		},
		"the store is full": {
			recorder.Status{NotReady: "the disk is nearly full", Fleeting: "the folder lies in memory", Inputs: []recorder.InputStatus{host}}, true,
			"Nothing is recorded now: the disk is nearly full.\nThe recorder has 0 series in 0 B.\n" +
				"What is recorded may be gone after the next start: the folder lies in memory.\nhost: 79.5 samples/s.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := checked(c.status, now)
			if err != nil {
				got = err.Error()
			}
			if got != c.want || (err != nil) != c.broken {
				t.Errorf("got %s\n(broken: %v), not\n%s", got, err != nil, c.want)
			}
		})
	}
}
