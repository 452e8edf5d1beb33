package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
)

// The plugin is killed with SIGKILL again and again while 10,000 numbered messages
// are published to a stream, one per millisecond and subject. All of them are
// recorded with the stream's own time, none twice, and nobody need ask for that.
func TestNATSKilled(t *testing.T) {
	const numbers, lines = 10_000, 4
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "PLANT", Subjects: []string{"plant.>"}}); err != nil {
		t.Fatal(err)
	}
	useRecorder(t)
	pluginContext.DataSourceInstanceSettings.JSONData = fmt.Appendf(nil,
		`{"recorder":{"noHost":true,"inputs":[{"type":"nats","name":"plant","url":"nats://%s","stream":"PLANT","rules":{"pattern":"plant.*line.n"}}]}}`, s.Addr())
	p := start(t)
	ask(t, p, 5*time.Second, `{"expr":"n"}`) // the data source begins with its first request
	published := make(chan struct{})
	go func() {
		defer close(published)
		for n := 1; n <= numbers; n++ {
			if _, err := js.Publish(t.Context(), fmt.Sprintf("plant.%d.n", n%lines), fmt.Append(nil, n)); err != nil {
				t.Error(err)
				return
			}
			if n%lines == 0 { // the stream has a time of its own
				now := time.Now()
				time.Sleep(time.Until(now.Truncate(time.Millisecond).Add(time.Millisecond)))
			}
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
	inputtest.Eventually(t, func() error {
		count, sum := number(t, p, `sum(count_over_time(n[10m]))`), number(t, p, `sum(sum_over_time(n[10m]))`)
		if count != numbers || sum != numbers*(numbers+1)/2 {
			return fmt.Errorf("%v of %d numbers are recorded, their sum is %v", count, numbers, sum)
		}
		return nil
	})
	// A number is where the stream has it, also one from the middle.
	stream, err := js.Stream(t.Context(), "PLANT")
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), numbers/2)
	if err != nil {
		t.Fatal(err)
	}
	at := float64(m.Time.UnixMilli()) / 1000
	if got := number(t, p, fmt.Sprintf(`n{line="%d"} @ %.3f`, numbers/2%lines, at)); got != numbers/2 {
		t.Errorf("at the time of number %d there is %v", numbers/2, got)
	}
	t.Logf("%d kills", kills)
}
