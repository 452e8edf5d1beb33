package mqtt

import (
	"bufio"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/continuum-live/continuum-datasource/pkg/internal/broker"
)

// bare is the least that a subscriber can do: it reads and counts.
func bare(b *testing.B, address string) *atomic.Uint64 {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	r := bufio.NewReaderSize(conn, 64<<10)
	send := func(p packets.ControlPacket) {
		if err := p.Write(conn); err != nil {
			b.Error(err)
		}
	}
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.CleanSession, connect.ClientIdentifier = "MQTT", 4, true, "bare"
	send(connect)
	subscribe := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	subscribe.MessageID, subscribe.Topics, subscribe.Qoss = 1, []string{"plant/#"}, []byte{0}
	send(subscribe)
	for range 2 {
		if _, err := packets.ReadPacket(r); err != nil {
			b.Fatal(err)
		}
	}
	var n atomic.Uint64
	go func() {
		for {
			first, err := r.ReadByte()
			if err != nil {
				return
			}
			length, shift := 0, 0
			for {
				c, _ := r.ReadByte()
				length |= int(c&0x7F) << shift
				if shift += 7; c < 0x80 {
					break
				}
			}
			if first>>4 == packets.Publish {
				n.Add(1)
			}
			_, _ = r.Discard(length)
		}
	}()
	return &n
}

// Small JSON messages from a broker in this process: what it can deliver to a
// subscriber that only counts, and what the input records. With QoS 0, because
// mochi's lists of what is under way can lock one another out.
func BenchmarkFromBroker(b *testing.B) {
	payload := []byte(`{"temperature": 21.57, "humidity": 40.2}`)
	topics := make([]string, 1000)
	for i := range topics {
		topics[i] = fmt.Sprintf("plant/line%d/sensor%d", i/100, i)
	}
	for _, name := range []string{"counted", "recorded 5", "recorded 3.1.1"} {
		b.Run(name, func(b *testing.B) {
			m := broker.StartMochi(b)
			var count func() uint64
			if name == "counted" {
				count = bare(b, m.Address()).Load
			} else {
				c := Config{URL: "tcp://" + m.Address(), Version: name[len("recorded "):], QoS: new(int), Topics: []string{"plant/#"}}
				r := Record(b, b.TempDir(), newInput(b, c, none))
				defer r.Close(b)
				r.Connected(b, "plant")
				count = func() uint64 { return r.Input("plant").Messages }
			}
			const window = 4000 // the broker drops what waits for too long
			var n, got uint64
			for b.Loop() {
				if err := m.Server.Publish(topics[n%1000], payload, false, 0); err != nil {
					b.Fatal(err)
				}
				for n++; n-got >= window; {
					if got = count(); n-got >= window {
						time.Sleep(500 * time.Microsecond)
					}
				}
			}
			for n != count() {
				time.Sleep(500 * time.Microsecond)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
