package nats

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	. "github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// subjects are so many that hardly two messages of one come within a millisecond.
const subjects = 1000

// benchmark measures how many messages come through in a second: b.N are
// published, and begin returns how to learn how many have come, once it is ready
// for them. ahead is whether all are published before it begins.
func benchmark(b *testing.B, s *natsServer, ahead bool, begin func() (come func() int64)) {
	b.Helper()
	s.connect(b)
	publish := func() {
		for i := range b.N {
			payload := fmt.Appendf(nil, `{"temperature":%d.5}`, i%100)
			if s.stream == "" {
				if err := s.conn.Publish(fmt.Sprintf("plant.%d", i%subjects), payload); err != nil {
					b.Error(err)
				}
			} else if _, err := s.js.PublishAsync(fmt.Sprintf("plant.%d", i%subjects), payload); err != nil {
				b.Error(err)
			}
		}
		if err := s.conn.Flush(); err != nil {
			b.Error(err)
		}
		if s.stream != "" {
			<-s.js.PublishAsyncComplete()
		}
	}
	if ahead {
		publish()
	}
	b.ResetTimer()
	come := begin()
	if !ahead {
		b.ResetTimer()
		publish()
	}
	for come() < int64(b.N) {
		if b.Elapsed() > time.Minute {
			b.Fatalf("%d of %d have come", come(), b.N)
		}
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkServer is what the server itself delivers.
func BenchmarkServer(b *testing.B) {
	s := start(b, nil)
	benchmark(b, s, false, func() func() int64 {
		var n atomic.Int64
		nc, err := nats.Connect("nats://" + s.Address())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		if _, err := nc.Subscribe("plant.>", func(*nats.Msg) { n.Add(1) }); err != nil {
			b.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			b.Fatal(err)
		}
		return n.Load
	})
}

func come(r *Recording) func() int64 {
	return func() int64 { return int64(r.Input("plant").Messages) }
}

// BenchmarkInput is what is recorded of that.
func BenchmarkInput(b *testing.B) {
	s := start(b, nil)
	r := Record(b, b.TempDir(), newInput(b, Config{URL: "nats://" + s.Address(), Subjects: []string{"plant.>"}}, none))
	defer r.Close(b)
	r.Connected(b, "plant")
	benchmark(b, s, false, func() func() int64 { return come(r) })
	if lost := r.Input("plant").Skipped[tooFast].Count; lost > 0 {
		b.Logf("%d of %d were dropped", lost, b.N)
	}
}

// BenchmarkServerStream is what the server itself delivers from a stream, each
// message acknowledged.
func BenchmarkServerStream(b *testing.B) {
	s := start(b, withJetStream)
	benchmark(b, s, true, func() func() int64 {
		var n atomic.Int64
		nc, err := nats.Connect("nats://" + s.Address())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			b.Fatal(err)
		}
		c, err := js.CreateConsumer(b.Context(), "PLANT", jetstream.ConsumerConfig{Durable: "plain", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: pending})
		if err != nil {
			b.Fatal(err)
		}
		got, err := c.Consume(func(m jetstream.Msg) {
			_ = m.Ack()
			n.Add(1)
		}, jetstream.PullMaxMessages(ahead))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(got.Stop)
		return n.Load
	})
}

// BenchmarkInputStream is what is recorded of that.
func BenchmarkInputStream(b *testing.B) {
	s := start(b, withJetStream)
	var r *Recording
	benchmark(b, s, true, func() func() int64 {
		r = Record(b, b.TempDir(), newInput(b, Config{URL: "nats://" + s.Address(), Stream: "PLANT"}, none))
		return come(r)
	})
	if in := r.Input("plant"); in.Refused != (recorder.Refused{}) {
		b.Logf("%+v", in.Refused)
	}
	r.Close(b)
}
