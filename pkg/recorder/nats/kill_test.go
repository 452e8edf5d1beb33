package nats

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	. "github.com/continuum-live/continuum-datasource/pkg/recorder/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

var (
	killDir    = flag.String("record", "", "for TestKilled: record in this directory until killed")
	killServer = flag.String("server", "", "for TestKilled: from the server at this address")
)

func numbersFrom(address string) Config {
	return Config{URL: "nats://" + address, Stream: "PLANT", Subjects: []string{"plant.*.number"}, Rules: message.Rules{Pattern: "plant.*line.number"}}
}

// TestRecordUntilKilled is the process that TestKilled kills. It says when it is
// connected.
func TestRecordUntilKilled(t *testing.T) {
	if *killDir == "" {
		t.Skip("a part of TestKilled")
	}
	r := Record(t, *killDir, newInput(t, numbersFrom(*killServer), none))
	r.Connected(t, "plant")
	fmt.Println("connected")
	<-context.Background().Done() // until it is killed
}

// A process is killed with SIGKILL again and again while 10,000 numbered messages
// are published to a stream, one per millisecond and subject. All are recorded
// with the stream's own time, none twice.
func TestKilled(t *testing.T) {
	const numbers, lines = 10_000, 4
	s := start(t, withJetStream)
	dir := t.TempDir()
	begin := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestRecordUntilKilled$", "-record="+dir, "-server="+s.Address())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if lines := bufio.NewScanner(out); !lines.Scan() || lines.Text() != "connected" {
			t.Errorf("the process said %q", lines.Text())
		}
		return cmd
	}
	kill := func(cmd *exec.Cmd) {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	}
	published := make(chan struct{})
	go func() {
		defer close(published)
		for n := 1; n <= numbers; n++ {
			subject := fmt.Sprintf("plant.%d.number", n%lines)
			ack, err := s.js.Publish(t.Context(), subject, strconv.AppendInt(nil, int64(n), 10))
			if err != nil || ack.Sequence != uint64(n) {
				t.Errorf("publish %d: %+v %v", n, ack, err)
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
		cmd := begin()
		select {
		case <-published:
			running = false
		case <-time.After(rand.N(time.Second)):
		}
		kill(cmd)
	}
	r := Record(t, dir, newInput(t, numbersFrom(s.Address()), none))
	defer r.Close(t)
	r.Wait(t, numbers)
	st := r.Input("plant")
	t.Logf("%d kills; the last process recorded %d and was sent again %d", kills, st.Samples, st.Repeated)

	stream, err := s.js.Stream(t.Context(), "PLANT")
	if err != nil {
		t.Fatal(err)
	}
	all := r.Samples(t)
	for n := 1; n <= numbers; n += 97 {
		m, err := stream.GetMsg(t.Context(), uint64(n))
		if err != nil {
			t.Fatal(err)
		}
		series := fmt.Sprintf(`{__name__="number", line="%d"}`, n%lines)
		if all[series][m.Time.UnixMilli()] != float64(n) {
			t.Fatalf("number %d is not in %s at the stream's time %v", n, series, m.Time)
		}
	}
}
