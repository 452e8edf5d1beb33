package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/broker"
	"github.com/continuum-live/continuum-datasource/pkg/internal/grafana"
	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
)

// useMQTT makes the data source of this test a recorder of plant/# at a broker.
func useMQTT(t *testing.T, address, more string) {
	useRecorder(t)
	pluginContext.DataSourceInstanceSettings.JSONData = fmt.Appendf(nil,
		`{"recorder":{"noHost":true,"inputs":[{"type":"mqtt","name":"plant","url":"tcp://%s","topics":["plant/#"],"rules":{"timeKey":"t"}%s}]}}`, address, more)
}

// number asks for the newest value of an expression that is one series, 0 if there
// is none.
func number(t *testing.T, p *grafana.Plugin, expr string) float64 {
	t.Helper()
	frame := ask(t, p, 5*time.Second, fmt.Sprintf(`{"expr":%q}`, expr))
	if len(frame.Fields) < 2 || frame.Rows() == 0 {
		return 0
	}
	if v, ok := frame.Fields[1].At(frame.Rows() - 1).(*float64); ok && v != nil {
		return *v
	}
	return 0
}

// The plugin is killed with SIGKILL again and again while 10,000 numbered messages
// are published, stamped a millisecond apart in each topic. All of them are recorded, none
// twice, and nobody need ask for that.
func TestMQTTKilled(t *testing.T) {
	const numbers, topics = 10_000, 2
	for _, version := range []string{"5", "3.1.1"} {
		t.Run(version, func(t *testing.T) {
			m := broker.StartMosquitto(t)
			useMQTT(t, m.Address(), fmt.Sprintf(`,"version":%q`, version))
			p := start(t)
			inputtest.Eventually(t, func() error {
				m.Send(t, "plant/begin", broker.Numbered(1, time.Now()), false)
				if number(t, p, `n{topic="plant/begin"}`) == 0 {
					return fmt.Errorf("the plugin does not record")
				}
				return nil
			})
			published := make(chan struct{})
			go func() {
				defer close(published)
				at := time.Now().Add(-numbers * time.Millisecond) // so that no time is ahead
				for n := 1; n <= numbers; n++ {
					if n%topics == 1 {
						at = at.Add(time.Millisecond)
					}
					m.Send(t, fmt.Sprint("plant/number/", n%topics), broker.Numbered(n, at), false)
				}
			}()
			kills := 0
			for running := true; running; kills++ {
				select {
				case <-published:
					running = false
				case <-time.After(rand.N(2 * time.Second)):
				}
				if err := p.Kill(); err != nil {
					t.Fatal(err)
				}
				p = start(t)
			}
			const all = `{__name__="n",topic=~"plant/number/.*"}`
			inputtest.Eventually(t, func() error {
				count := number(t, p, `sum(count_over_time(`+all+`[10m]))`)
				sum := number(t, p, `sum(sum_over_time(`+all+`[10m]))`)
				if count != numbers || sum != numbers*(numbers+1)/2 {
					return fmt.Errorf("%v of %d numbers are recorded, their sum is %v", count, numbers, sum)
				}
				return nil
			})
			t.Logf("%d kills", kills)
		})
	}
}
