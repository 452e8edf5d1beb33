package mqtt

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

var (
	killDir     = flag.String("record", "", "for TestKilled: record in this directory until killed")
	killAddress = flag.String("broker", "", "for TestKilled: from the broker at this address")
	killVersion = flag.String("version", "", "for TestKilled: with this version of MQTT")
)

func numbersFrom(address, version string) Config {
	return Config{Name: "plant", URL: "tcp://" + address, Version: version, Topics: []string{"plant/#"}, Rules: message.Rules{TimeKey: "t"}}
}

// TestRecordUntilKilled is the process that TestKilled kills. It says when it is
// connected.
func TestRecordUntilKilled(t *testing.T) {
	if *killDir == "" {
		t.Skip("a part of TestKilled")
	}
	r := Record(t, *killDir, newInput(t, numbersFrom(*killAddress, *killVersion), none))
	r.Connected(t, "plant")
	fmt.Println("connected")
	<-context.Background().Done() // until it is killed
}

// A process is killed with SIGKILL again and again while 10,000 numbered messages
// are published with QoS 1, one per millisecond and topic. All are recorded, none
// twice.
func TestKilled(t *testing.T) {
	const numbers, topics = 10_000, 4
	each(t, func(t *testing.T, version string) {
		m := startMosquitto(t)
		dir := t.TempDir()
		published := make(chan struct{})
		start := func() *exec.Cmd {
			cmd := exec.Command(os.Args[0], "-test.run=^TestRecordUntilKilled$", "-record="+dir, "-broker="+m.Address(), "-version="+version)
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
		cmd := start() // from now on the broker keeps what comes
		go func() {
			defer close(published)
			at := time.Now()
			for n := 1; n <= numbers; n++ {
				if n%topics == 1 {
					time.Sleep(time.Until(at.Add(time.Millisecond)))
					at = time.Now()
				}
				m.Send(t, fmt.Sprint("plant/", n%topics), numbered(n, at), false)
			}
		}()
		kills := 0
		for running := true; running; kills++ {
			select {
			case <-published:
				running = false
			case <-time.After(rand.N(time.Second)):
			}
			kill(cmd)
			if running {
				cmd = start()
			}
		}
		// Whatever the processes acknowledged they had committed.
		r := Record(t, dir, newInput(t, numbersFrom(m.Address(), version), none))
		defer r.Close(t)
		r.Wait(t, numbers)
		st := r.Input("plant")
		t.Logf("%d kills; the last process recorded %d, %d of which were there", kills, st.Samples+st.Repeated, st.Repeated)
	})
}
