package recorder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// smallDisk returns a directory on a file system of the given size.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", bytes), "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: what becomes of samples when the disk is full, because this user may not mount a tmpfs: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir
}

// fill writes to the disk until so many bytes are free, and returns what makes
// room again.
func fill(t *testing.T, dir string, leave int64) (empty func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "somebody else's"))
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 4<<10)
	for {
		free, err := freeBytes(dir)
		if err != nil {
			t.Fatal(err)
		}
		if free <= leave {
			break
		}
		if free > 4<<20+leave {
			_, err = io.CopyN(f, zeroes{}, 1<<20)
		} else {
			_, err = f.Write(zeros)
		}
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(f.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// numbers commits numbers, one after another, as samples in order and others that
// are not, until stopped. It commits each until it is acknowledged.
type numbers struct {
	acknowledged atomic.Int64
	refusals     atomic.Int64
	stop         context.CancelFunc
	done         chan struct{}
}

func number(t *testing.T, sink *Sink, first int64) *numbers {
	ctx, cancel := context.WithCancel(t.Context())
	n := &numbers{stop: cancel, done: make(chan struct{})}
	n.acknowledged.Store(first - 1)
	begin := time.Now().Add(-30 * time.Minute).UnixMilli()
	ordered, late := make([]*Series, 50), make([]*Series, 50)
	for i := range ordered {
		ordered[i], late[i] = series("ordered", "i", fmt.Sprint(i)), series("late", "i", fmt.Sprint(i))
	}
	go func() {
		defer close(n.done)
		for i := first; ctx.Err() == nil; {
			var batch []Sample
			for j := range ordered {
				batch = append(batch, Sample{Series: ordered[j], T: begin + i, V: float64(i)}, Sample{Series: late[j], T: begin - i, V: float64(i)})
			}
			if sink.Commit(ctx, batch, 0) != nil {
				n.refusals.Add(1)
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
				}
				continue
			}
			n.acknowledged.Store(i)
			i++
		}
	}()
	return n
}

// end ends it and returns the last number that was acknowledged.
func (n *numbers) end() int64 {
	n.stop()
	<-n.done
	return n.acknowledged.Load()
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	const patience = 2 * time.Minute // of a busy machine
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// checkNumbers fails unless all numbers from 1 to n are there, in every series.
func checkNumbers(t *testing.T, s *Store, n int64) {
	t.Helper()
	for _, name := range []string{"ordered", "late"} {
		all := read(t, s, name)
		if len(all) != 50 {
			t.Errorf("%s has %d series", name, len(all))
		}
		for which, samples := range all {
			values := make(map[float64]int, len(samples))
			for _, v := range samples {
				values[v]++
			}
			missing, twice := 0, 0
			for i := int64(1); i <= n; i++ {
				switch values[float64(i)] {
				case 0:
					missing++
				case 1:
				default:
					twice++
				}
			}
			if missing+twice > 0 {
				t.Errorf("%s: of %d acknowledged numbers %d are missing, and %d are there twice", which, n, missing, twice)
				return
			}
		}
	}
}

// The disk is filled by somebody else and emptied again, with and without
// floors, with the TSDB's own work every second. No number that was acknowledged
// is lost, and the process lives.
func TestFullDisk(t *testing.T) {
	for _, test := range []struct {
		name          string
		low, critical int64
		leave         int64
		closed        bool
	}{
		{"low", 24 << 20, 8 << 20, 16 << 20, false},
		{"critical", 24 << 20, 8 << 20, 6 << 20, true},
		{"full", 24 << 20, 8 << 20, 0, true},
		{"full without floors", 0, 0, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer func(before time.Duration) { reloadEvery = before }(reloadEvery)
			reloadEvery = time.Second
			if test.low == 0 {
				reloadEvery = time.Hour // its panic cannot be recovered
			}
			dir := smallDisk(t, 64<<20)
			config := testConfig()
			config.DiskLow, config.DiskCritical = test.low, test.critical
			last := int64(0)
			for range 2 {
				in := newManual("manual")
				config.Inputs = []Input{in}
				var log bytes.Buffer
				r := New(dir, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
				s, err := openStore(r, Key{1, "uid"}, config)
				if err != nil {
					t.Fatal(err)
				}
				n := number(t, <-in.sinks, last+1)
				eventually(t, "numbers are acknowledged", func() bool { return n.acknowledged.Load() > last+200 })
				empty := fill(t, dir, test.leave)
				eventually(t, "numbers are refused", func() bool { return n.refusals.Load() > 20 })
				if test.low > 0 {
					eventually(t, "the status says so", func() bool { return s.Status().NotReady != "" })
				}
				if test.closed {
					eventually(t, "the TSDB is closed", func() bool { return !s.database.isOpen() })
					// Of a disk that is full at once a failed write may tell first.
					if _, err := s.Querier(0, 1); !errors.Is(err, ErrNotReady) {
						t.Errorf("queries get %v", err)
					}
				} else if test.low > 0 {
					if q, err := s.Querier(0, 1); err != nil {
						t.Errorf("queries get %v", err)
					} else if err := q.Close(); err != nil {
						t.Error(err)
					}
				}
				if !test.closed && test.low > 0 {
					time.Sleep(reloadEvery + reloadEvery/2) // the TSDB does its own work, without a sign of it
				}
				empty()
				before := n.acknowledged.Load()
				eventually(t, "numbers are acknowledged again", func() bool { return n.acknowledged.Load() > before+200 })
				last = n.end()
				checkNumbers(t, s, last)
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				if t.Failed() {
					t.Logf("%s", log.String())
				}
				r = New(dir, slog.New(slog.DiscardHandler))
				config.Inputs = nil
				if s, err = openStore(r, Key{1, "uid"}, config); err != nil {
					t.Fatal(err)
				}
				checkNumbers(t, s, last)
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A store is opened on a full disk once there is room.
func TestOpenedOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, 64<<20)
	config := testConfig()
	r := New(dir, slog.New(slog.DiscardHandler))
	in := newManual("manual")
	config.Inputs = []Input{in}
	if _, err := openStore(r, Key{1, "uid"}, config); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	commit(t, <-in.sinks, now, Sample{Series: series("m"), T: now, V: 1})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	empty := fill(t, dir, 0)
	config.DiskLow, config.DiskCritical, config.Inputs = 24<<20, 8<<20, nil
	r = New(dir, slog.New(slog.DiscardHandler))
	defer func() { _ = r.Close() }()
	s, err := openStore(r, Key{1, "uid"}, config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Querier(0, 1); !errors.Is(err, ErrDiskLow) || s.Status().NotReady == "" {
		t.Errorf("queries get %v, the status is %+v", err, s.Status())
	}
	empty()
	eventually(t, "the store is open", s.database.isOpen)
	if got := read(t, s, "m"); len(got) != 1 {
		t.Errorf("the store has %v", got)
	}
}

// The TSDB panics while it is closed, because its chunks have no room. The
// directory is not lost for that, nor is anything in it. A process that is started
// afterwards knows that it was not closed well, also if one before could not open it.
func TestClosePanics(t *testing.T) {
	for name, processes := range map[string]int{"the same process goes on": 0, "another process": 1, "another process after one that could not": 2} {
		t.Run(name, func(t *testing.T) { testClosePanics(t, processes) })
	}
}

func testClosePanics(t *testing.T, processes int) {
	dir := smallDisk(t, 64<<20)
	take := func() *database {
		d, err := newDatabase(filepath.Join(dir, "store"), testConfig(), time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	open := func() *database {
		d := take()
		if err := d.open(); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := open()
	db, err := d.acquire()
	if err != nil {
		t.Fatal(err)
	}
	app := db.Appender(t.Context())
	const samples = 1000
	for i := range int64(samples) {
		if _, err := app.Append(0, labels.FromStrings("__name__", "m"), start+1000*i, float64(i*i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	db.readers.Done()
	empty := fill(t, dir, 0)
	if err := d.close(ErrDiskLow); !errors.As(err, new(*panics.Error)) {
		t.Errorf("closing on a full disk gives %v", err)
	}
	for i := range processes {
		if i > 0 {
			if err := d.open(); err == nil {
				t.Error("it was opened on a full disk")
			}
		}
		if err := d.release(); err != nil {
			t.Fatal(err)
		}
		if d = take(); !d.unclean {
			t.Error("it was closed well")
		}
	}
	empty()
	if err := d.open(); err != nil {
		t.Fatal(err)
	}
	if n := countAll(t, d); n != samples {
		t.Errorf("%d samples are left", n)
	}
	if err := errors.Join(d.close(ErrClosed), d.release()); err != nil {
		t.Error(err)
	}
	d = open()
	if n := countAll(t, d); n != samples {
		t.Errorf("%d samples are left", n)
	}
	if err := errors.Join(d.close(ErrClosed), d.release()); err != nil {
		t.Error(err)
	}
}

// A write fails after a part of it is on the disk, and the rest is written when the
// TSDB is closed. What arrived is stored once, although its input commits it again.
func TestFailedWriteIsStoredOnce(t *testing.T) {
	dir := smallDisk(t, 64<<20)
	r := New(dir, slog.New(slog.DiscardHandler))
	defer func() { _ = r.Close() }()
	in := newManual("manual")
	config := testConfig(in)
	s, err := openStore(r, Key{1, "uid"}, config)
	if err != nil {
		t.Fatal(err)
	}
	sink := <-in.sinks
	var all []*Series
	for i := range 5 {
		all = append(all, series("m", "i", fmt.Sprint(i)))
	}
	n := 0
	for range 2 {
		empty := fill(t, dir, 0)
		s.database.changing.Lock() // so that there is room when it is closed
		for failed := false; !failed; n++ {
			batch := make([]Sample, len(all))
			for i := range batch {
				batch[i] = Sample{Series: all[i], T: time.Now().UnixMilli(), V: float64(n) / 7919, Arrived: true}
			}
			if failed = sink.Commit(t.Context(), batch, 0) != nil; failed {
				empty()
				s.database.changing.Unlock()
				eventually(t, "the batch is stored", func() bool { return sink.Commit(t.Context(), batch, 0) == nil })
			}
		}
	}
	for which, samples := range read(t, s, "m") {
		if len(samples) != n {
			t.Errorf("%s has %d samples of %d batches", which, len(samples), n)
		}
	}
}
