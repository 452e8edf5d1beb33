package mqtt

import (
	"fmt"
	"strings"
	"testing"

	paho3 "github.com/eclipse/paho.mqtt.golang"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho/session"

	"github.com/continuum-live/continuum-datasource/pkg/internal/broker"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

const fault = "a fault of the input"

type faultySession struct{ session.SessionManager }

func (faultySession) Ack(*packets.Publish) error { panic(fault) }

type faultyMessage struct{ paho3.Message }

func (faultyMessage) Ack() { panic(fault) }

// What the libraries call in goroutines of their own, and what acknowledges, ends the
// input and not the process when it panics.
func TestClientPanics(t *testing.T) {
	nothing := func(received) {}
	faulty := func(received) { panic(fault) }
	five := func(receive func(received), s session.SessionManager) func(*Input, *panics.Group) client {
		return func(in *Input, g *panics.Group) client {
			return &client5{in: in, clientID: "panics", receive: receive, guard: g.Do, session: s, last: true}
		}
	}
	three := func(receive func(received)) func(*Input, *panics.Group) client {
		return func(in *Input, g *panics.Group) client {
			return &client3{in: in, clientID: "panics", receive: receive, guard: g.Do, last: true}
		}
	}
	m := broker.StartMochi(t)
	for _, test := range []struct {
		name, version string
		make          func(*Input, *panics.Group) client
		then          func(client)
	}{
		{"a message", "5", five(faulty, newSession()), func(client) { m.Send(t, "a", "1", false) }},
		{"an acknowledgement", "5", five(nothing, faultySession{newSession()}), func(c client) { c.(*client5).acks <- &packets.Publish{} }},
		{"a message", "3.1.1", three(faulty), func(client) { m.Send(t, "a", "1", false) }},
		{"an acknowledgement", "3.1.1", three(nothing), func(c client) { c.(*client3).acks <- faultyMessage{} }},
	} {
		t.Run(test.name+" of version "+test.version, func(t *testing.T) {
			in := newInput(t, Config{URL: "tcp://" + m.Address(), Version: test.version, Topics: []string{"#"}}, none).(*Input)
			group, ctx := panics.NewGroup(t.Context())
			conn, err := in.dial(ctx)
			if err != nil {
				t.Fatal(err)
			}
			c := test.make(in, group)
			if _, err := c.connect(ctx, conn); err != nil {
				t.Fatal(err)
			}
			if err := c.subscribe(ctx, []string{"#"}, map[string]string{}); err != nil {
				t.Fatal(err)
			}
			test.then(c)
			<-ctx.Done() // the input ends with its group
			c.close()
			err = panics.Catch("test", func() error {
				group.Wait()
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), fault) || !strings.Contains(fmt.Sprint(panics.Attrs(err)...), "panic_test.go") {
				t.Errorf("got %v", err)
			}
		})
	}
}
