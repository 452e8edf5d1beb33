package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// atRecord is a log handler that calls do when so many records were logged.
type atRecord struct {
	slog.Handler
	left int
	do   func()
}

func (h *atRecord) Enabled(context.Context, slog.Level) bool { return true }

func (h *atRecord) Handle(context.Context, slog.Record) error {
	if h.left--; h.left == 0 {
		h.do()
	}
	return nil
}

func (h *atRecord) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *atRecord) WithGroup(string) slog.Handler      { return h }

// appended is in how many series appendAll appends.
const appended = 5

func appendAll(t *testing.T, d *database, name string, n int, at func(i int) int64) {
	t.Helper()
	db, err := d.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer db.readers.Done()
	for i := range n {
		app := db.Appender(t.Context())
		for j := range appended {
			if _, err := app.Append(0, labels.FromStrings("__name__", name, "j", fmt.Sprint(j)), at(i), float64(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func countAll(t *testing.T, d *database) uint64 {
	t.Helper()
	db, err := d.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer db.readers.Done()
	r, err := ahead(db.DB, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r.Samples
}

// The disk is filled by somebody else at any time while a store is opened whose process
// was killed, or that was closed well. The process lives, and nothing is lost.
func TestDiskFillsWhileOpening(t *testing.T) {
	for name, killed := range map[string]bool{"killed": true, "closed well": false} {
		t.Run(name, func(t *testing.T) { testDiskFillsWhileOpening(t, killed) })
	}
}

func testDiskFillsWhileOpening(t *testing.T, killed bool) {
	disk := smallDisk(t, 48<<20)
	take := func(dir string, handler slog.Handler) *database {
		d, err := newDatabase(dir, testConfig(), time.Now, slog.New(handler))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	original := filepath.Join(t.TempDir(), "original")
	d := take(original, slog.DiscardHandler)
	if err := d.open(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-10 * time.Minute).UnixMilli()
	const n = 500 // several chunks
	appendAll(t, d, "ordered", n, func(i int) int64 { return begin + int64(i) })
	appendAll(t, d, "ordered", n, func(i int) int64 { return begin - 1 - int64(i) })
	want := countAll(t, d)
	if want != 2*n*appended {
		t.Fatalf("the store has %d samples", want)
	}
	if killed {
		// Nobody closes it: its lock is lost with this process.
		copied := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(copied, os.DirFS(original)); err != nil {
			t.Fatal(err)
		}
		original = copied
	}
	if err := errors.Join(d.close(ErrClosed), d.release()); err != nil {
		t.Fatal(err)
	}

	filled := 0
	for after := 1; ; after++ {
		dir := filepath.Join(disk, fmt.Sprint(after))
		if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
			t.Fatal(err)
		}
		empty := func() {}
		handler := &atRecord{left: after, do: func() { empty = fill(t, disk, 0); filled++ }}
		d := take(dir, handler)
		err := d.open()
		reached := handler.left <= 0
		handler.left = 0
		empty()
		if err != nil {
			if !errors.Is(err, ErrNotReady) {
				t.Errorf("filled after %d lines of the log: %v", after, err)
			}
			if err = d.open(); err != nil {
				t.Fatal(err)
			}
		}
		if got := countAll(t, d); got != want {
			t.Errorf("filled after %d lines of the log and emptied, the store has %d samples of %d", after, got, want)
		}
		// Late samples come before others.
		appendAll(t, d, "ordered", 10, func(i int) int64 { return begin - n - 1 - int64(i) })
		appendAll(t, d, "ordered", 10, func(i int) int64 { return begin + n + int64(i) })
		for range 2 {
			if got := countAll(t, d); got != want+20*appended {
				t.Errorf("filled after %d lines of the log, the store has %d samples of %d later", after, got, want+20*appended)
			}
			if err := d.close(ErrClosed); err != nil {
				t.Error(err)
			}
			if err := d.open(); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(d.close(ErrClosed), d.release(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
		if !reached || t.Failed() {
			break
		}
	}
	if filled < 5 {
		t.Errorf("the disk was filled at %d times only", filled)
	}
}

// A store is opened on a disk that has no room for its chunks, and after that when it
// has.
func TestNoRoomForChunks(t *testing.T) {
	disk := smallDisk(t, 64<<20)
	dir := filepath.Join(disk, "store")
	d, err := newDatabase(dir, testConfig(), time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.open(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-10 * time.Minute).UnixMilli()
	appendAll(t, d, "m", 500, func(i int) int64 { return begin + int64(i) })
	want := countAll(t, d)
	if err := d.close(ErrClosed); err != nil {
		t.Fatal(err)
	}
	d.unclean = true
	if err := os.RemoveAll(filepath.Join(dir, chunksHeadDir)); err != nil {
		t.Fatal(err)
	}
	empty := fill(t, disk, 0)
	if err := d.prepareChunks(); !errors.Is(err, ErrNotReady) {
		t.Errorf("without room, chunks are filled with %v", err)
	}
	empty()
	if err := d.open(); err != nil {
		t.Fatal(err)
	}
	if got := countAll(t, d); got != want {
		t.Errorf("the store has %d samples of %d", got, want)
	}
	if err := errors.Join(d.close(ErrClosed), d.release()); err != nil {
		t.Error(err)
	}
}
