package mqtt

import (
	"fmt"
	"strings"
	"testing"

	"github.com/continuum-live/continuum-datasource/pkg/internal/broker"
	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/internal/reported"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

// What people's devices and brokers send, through a broker.
func TestReported(t *testing.T) {
	reported.Run(t, map[string]func(t *testing.T, version string){
		"e01-mqtt-e2e": func(t *testing.T, version string) {
			m := broker.StartMosquitto(t, "sys_interval 1")
			r := Record(t, t.TempDir(), newInput(t, Config{URL: "tcp://" + m.Address(), Version: version,
				Topics: []string{"/lead/x", "a//b", "umlaut/#", "$SYS/broker/clients/total"}}, none))
			defer r.Close(t)
			r.Connected(t, "plant")
			m.Send(t, "/lead/x", "1", false)
			m.Send(t, "a//b", "2", false)
			m.Send(t, "umlaut/Küche", "3", true)
			m.Send(t, "umlaut/Küche", "", true) // what was retained is cleared
			inputtest.Eventually(t, func() error {
				all := values(t, r)
				for _, line := range []string{`topic="/lead/x"} 1`, `topic="a//b"} 2`, `topic="umlaut/Küche"} 3`, `topic="$SYS/broker/clients/total"} `} {
					if !strings.Contains(all, line) {
						return fmt.Errorf("%s is missing: %s", line, all)
					}
				}
				if empty := r.Input("plant").Skipped["empty message"].Count; empty != 1 {
					return fmt.Errorf("%d empty messages", empty)
				}
				return nil
			})
		},
		"e02-mqtt-unset-clock": func(t *testing.T, version string) {
			m := broker.StartMosquitto(t)
			r := Record(t, t.TempDir(), newInput(t, Config{URL: "tcp://" + m.Address(), Version: version, Topics: []string{"esp"},
				Rules: message.Rules{Rule: message.Rule{TimeKey: "t"}}}, none))
			defer r.Close(t)
			r.Connected(t, "plant")
			m.Send(t, "esp", `{"t":12,"v":1}`, false)
			in := messages(t, r, 1)
			inputtest.Eventually(t, func() error {
				if in = r.Input("plant"); in.Refused.TooOld != 1 || in.Samples != 0 {
					return fmt.Errorf("%+v", in)
				}
				return nil
			})
		},
	}, func(t *testing.T, test func(t *testing.T, version string)) { each(t, test) })
}
