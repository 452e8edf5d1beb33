package recorder

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

var ingest = flag.String("ingest", "", "for TestKilledDuringIngest: write to the recorder in this directory until killed")

const ingestSeries = 10

// TestIngestUntilKilled is the process that TestKilledDuringIngest kills. It
// prints each number once it is committed.
func TestIngestUntilKilled(t *testing.T) {
	if *ingest == "" {
		t.Skip("a part of TestKilledDuringIngest")
	}
	r := New(*ingest, slog.New(slog.DiscardHandler))
	in := newManual("manual")
	s, err := openStore(r, Key{1, "uid"}, Config{Retention: 24 * time.Hour, OutOfOrder: time.Hour, Inputs: []Input{in}})
	if err != nil {
		t.Fatal(err)
	}
	sink := <-in.sinks
	next := 0
	for _, samples := range read(t, s, "m") {
		next = max(next, len(samples))
	}
	begin := time.Now().Add(-time.Minute).UnixMilli()
	for _, samples := range read(t, s, "m") {
		for at, v := range samples {
			begin = at - int64(v)
		}
	}
	samples := make([]Sample, ingestSeries)
	for i := range samples {
		samples[i].Series = series("m", "i", fmt.Sprint(i))
	}
	for n := next; ; n++ {
		for i := range samples {
			samples[i].T, samples[i].V = begin+int64(n), float64(n)
		}
		if err := sink.Commit(context.Background(), samples, 0); err != nil {
			t.Fatal(err)
		}
		fmt.Println("committed", n)
	}
}

// A process is killed with SIGKILL while it ingests, again and again. Every
// number that it said was committed is found in every series.
func TestKilledDuringIngest(t *testing.T) {
	const kills = 12 // most of the time is that of the processes to start
	dir := t.TempDir()
	last := -1
	for kill := range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestIngestUntilKilled$", "-ingest="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		after := rand.IntN(500)
		for n := 0; lines.Scan(); n++ {
			text := lines.Text()
			number, err := strconv.Atoi(text[min(len(text), len("committed ")):])
			if err != nil {
				// A line may be cut short by the kill, and then is not the last number.
				if n <= after {
					t.Fatalf("the process said %q", text)
				}
				continue
			}
			if n > after || number > last {
				last = max(last, number)
			}
			if n == after {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // it was killed

		r := New(dir, slog.New(slog.DiscardHandler))
		s, err := openStore(r, Key{1, "uid"}, Config{Retention: 24 * time.Hour, OutOfOrder: time.Hour})
		if err != nil {
			t.Fatalf("after kill %d: %v", kill, err)
		}
		all := read(t, s, "m")
		if len(all) != ingestSeries {
			t.Fatalf("after kill %d there are %d series", kill, len(all))
		}
		for name, samples := range all {
			found := make(map[float64]bool, len(samples))
			for _, v := range samples {
				found[v] = true
			}
			for n := range last + 1 {
				if !found[float64(n)] {
					t.Fatalf("after kill %d, number %d of %d is missing in %s", kill, n, last, name)
				}
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d numbers in %d series after %d kills", last+1, ingestSeries, kills)
}
