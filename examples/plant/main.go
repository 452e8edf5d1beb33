// Command plant publishes what a small factory would over MQTT, so that there is
// something to record: each of its lines has a temperature, a motor with several
// values, a door that is open or closed, and a state in words.
//
// With -listen it is the broker too, for machines that have none.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	server "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

func main() {
	broker := flag.String("broker", "tcp://127.0.0.1:1883", "URL of the broker")
	listen := flag.String("listen", "", "be the broker too, on this address; anybody may connect")
	every := flag.Duration("every", time.Second, "time between two messages of a sensor")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *broker, *listen, *every); err != nil {
		fmt.Fprintln(os.Stderr, "plant:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, broker, listen string, every time.Duration) error {
	if every <= 0 {
		return errors.New("-every must be above 0")
	}
	if listen != "" {
		s, err := serve(listen)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		broker = "tcp://" + listen
	}
	address, err := url.Parse(broker)
	if err != nil {
		return err
	}
	connection, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:     []*url.URL{address},
		KeepAlive:      30,
		OnConnectError: func(err error) { fmt.Fprintln(os.Stderr, "plant:", err) },
	})
	if err != nil {
		return err
	}
	if err := connection.AwaitConnection(ctx); err != nil {
		return nil // told to stop
	}
	lines := []*line{{name: "press"}, {name: "oven", warm: 140}, {name: "packing", warm: -4}}
	for tick := time.NewTicker(every); ; {
		for _, l := range lines {
			for topic, payload := range l.measure(time.Now()) {
				_, err := connection.Publish(ctx, &paho.Publish{Topic: topic, Payload: payload, QoS: 1, Retain: true})
				if ctx.Err() != nil {
					return nil
				}
				if err != nil { // the connection mends itself
					fmt.Fprintln(os.Stderr, "plant:", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func serve(address string) (*server.Server, error) {
	s := server.New(&server.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		return nil, err
	}
	if err := s.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: address})); err != nil {
		return nil, err
	}
	return s, s.Serve()
}

// line is a production line.
type line struct {
	name string
	warm float64 // how much above 24 °C it is on average
	open bool    // its door
	// fault is for how many more measurements the line is out of order.
	fault int
}

// state returns what the line does under a load.
func (l *line) state(load float64) string {
	switch {
	case l.fault > 0:
		l.fault--
		return "fault"
	case rand.IntN(200) == 0:
		l.fault = 15
		return "fault"
	case load <= 0.2:
		return "cleaning"
	case load <= 0.4:
		return "idle"
	}
	return "running"
}

// measure returns the messages of one time, by topic.
func (l *line) measure(now time.Time) map[string][]byte {
	minutes := float64(now.UnixMilli()) / 60_000
	load := 0.5 + 0.4*math.Sin(minutes+l.warm) + 0.1*rand.Float64()
	if rand.IntN(20) == 0 {
		l.open = !l.open
	}
	door := "closed"
	if l.open {
		door = "open"
	}
	motor, err := json.Marshal(map[string]any{
		"rpm":     math.Round(1450 * load),
		"current": map[string]float64{"l1": 8 * load, "l2": 7.9 * load, "l3": 8.1 * load},
		"running": load > 0.2,
	})
	if err != nil {
		panic(err) // numbers and booleans
	}
	topic := "plant/" + l.name + "/"
	return map[string][]byte{
		topic + "temperature": fmt.Appendf(nil, "%.2f", 24+l.warm+6*load+0.2*rand.NormFloat64()),
		topic + "motor":       motor,
		topic + "door":        []byte(door),
		topic + "state":       []byte(l.state(load)),
	}
}
