package recorder

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

const hour = int64(3_600_000)

// past returns a sample for an import.
func past(name string, t int64, v float64) Past {
	return Past{Labels: labels.FromStrings("__name__", name), T: t, V: v, Line: int(v)}
}

func importAll(t testing.TB, s *Store, all ...Past) Imported {
	t.Helper()
	got, err := s.Import(t.Context(), func(i *Import) error {
		for _, p := range all {
			if err := i.Add(p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// History of all ages, in any order, is found again beside what is recorded: before and
// after a restart, and after the TSDB has compacted what it has.
func TestImport(t *testing.T) {
	dir := t.TempDir()
	key := Key{1, "uid"}
	want := make(map[string]map[int64]float64)
	r, _ := newRecorder(t, dir)
	in := newManual("manual")
	config := Config{Retention: 60 * 24 * time.Hour, OutOfOrder: 24 * time.Hour, MaxWait: 2 * time.Second, Inputs: []Input{in}}
	s, err := openStore(r, key, config)
	if err != nil {
		t.Fatal(err)
	}
	sink := <-in.sinks
	add := func(name string, at int64, v float64) Past {
		k := labels.FromStrings("__name__", name).String()
		if want[k] == nil {
			want[k] = make(map[int64]float64)
		}
		want[k][at] = v
		return past(name, at, v)
	}
	live := series("a")
	for j := range int64(300) {
		add("a", start-300_000+j*1000, float64(j))
		commit(t, sink, start-300_000+j*1000, Sample{Series: live, T: start - 300_000 + j*1000, V: float64(j)})
	}
	var all []Past
	for j := range int64(2000) {
		// Out of order and over two months, so that there are many blocks.
		at := start - 59*24*hour + (j*7919%2000)*42*60_000
		all = append(all, add("a", at, float64(j)), add("b", at+1, float64(-j)))
	}
	all = append(all, past("a", start-61*24*hour, 1), past("a", start+hour, 2))
	mark, _ := s.Watch("a")
	other, _ := s.Watch("c")
	got := importAll(t, s, all...)
	if got.Samples != 4000 || got.Series != 2 || got.Repeated != 0 || got.Recent == 0 || got.From.UnixMilli() != start-59*24*hour ||
		!maps.Equal(got.Refused, map[string]uint64{"older than the retention": 1, ErrFuture.Error(): 1}) || len(got.Lines) != 2 {
		t.Errorf("%+v", got)
	}
	if c, ok, err := s.Since(mark, "a"); err != nil || !ok || c.Oldest != start-59*24*hour {
		t.Errorf("who shows the metric is told %+v %v, %v", c, ok, err)
	}
	if again, _ := s.Watch("c"); again != other {
		t.Error("who shows another metric is told")
	}
	check := func(when string) {
		t.Helper()
		all := read(t, s, "a")
		maps.Copy(all, read(t, s, "b"))
		if !reflect.DeepEqual(all, want) {
			t.Errorf("%s there are %d and %d samples", when, len(all[`{__name__="a"}`]), len(all[`{__name__="b"}`]))
		}
	}
	check("after the import")
	if left, _ := filepath.Glob(filepath.Join(dir, "1", "uid", "import*")); len(left) > 0 {
		t.Errorf("left are %v", left)
	}

	// Once more: nothing new, and of other values none.
	changed := slices.Clone(all[:4000])
	changed[0].V, changed[1].V = 1e9, 1e9
	if again := importAll(t, s, changed...); again.Samples != 0 || again.Repeated != 3998 || again.Refused[ErrDuplicate.Error()] != 2 {
		t.Errorf("again: %+v", again)
	}
	if both := importAll(t, s, all[0], changed[0], all[0]); both.Repeated != 2 || both.Refused[ErrDuplicate.Error()] != 1 {
		t.Errorf("both values: %+v", both)
	}
	check("after it was repeated")

	// Between what is there, and into the same two hours.
	all = nil
	for j := range int64(500) {
		all = append(all, add("a", start-59*24*hour+j*42*60_000+30_000, 0.5))
	}
	if more := importAll(t, s, all...); more.Samples != 500 {
		t.Errorf("more: %+v", more)
	}
	check("after more of it")

	db, err := s.database.acquire()
	if err != nil {
		t.Fatal(err)
	}
	before := len(db.Blocks())
	err = db.Compact(t.Context())
	t.Logf("%d blocks, %d after compaction", before, len(db.Blocks()))
	db.readers.Done()
	if err != nil {
		t.Fatal(err)
	}
	check("after compaction")
	// The input goes on.
	add("a", start, 77)
	commit(t, sink, start, Sample{Series: live, T: start, V: 77})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r, _ = newRecorder(t, dir)
	config.Inputs = nil
	if s, err = openStore(r, key, config); err != nil {
		t.Fatal(err)
	}
	check("after a restart")
}

// Without an out-of-order window, what is in memory keeps its times for itself.
func TestImportWithoutWindow(t *testing.T) {
	dir := t.TempDir()
	r, _ := newRecorder(t, dir)
	in := newManual("manual")
	s, err := openStore(r, Key{1, "uid"}, Config{Retention: 24 * time.Hour, Inputs: []Input{in}})
	if err != nil {
		t.Fatal(err)
	}
	sink := <-in.sinks
	commit(t, sink, start-hour, Sample{Series: series("m"), T: start - hour, V: 1})
	commit(t, sink, start, Sample{Series: series("m"), T: start, V: 2})
	got := importAll(t, s, past("m", start-10*hour, 3), past("m", start-hour/2, 4), past("m", start-4*hour, 5))
	if got.Samples != 2 || got.Refused[errNotYet.Error()] != 1 {
		t.Errorf("%+v", got)
	}
	want := map[string]map[int64]float64{`{__name__="m"}`: {start - 10*hour: 3, start - 4*hour: 5, start - hour: 1, start: 2}}
	if all := read(t, s, "m"); !reflect.DeepEqual(all, want) {
		t.Errorf("%v", all)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r, _ = newRecorder(t, dir)
	if s, err = openStore(r, Key{1, "uid"}, Config{Retention: 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if all := read(t, s, "m"); !reflect.DeepEqual(all, want) {
		t.Errorf("after a restart: %v", all)
	}
}

// An import that does not come to its end leaves nothing.
func TestImportFails(t *testing.T) {
	dir := t.TempDir()
	r, _ := newRecorder(t, dir)
	s, _ := openManual(t, r, Key{1, "uid"})
	left := func() []string {
		all, _ := filepath.Glob(filepath.Join(dir, "1", "uid", "import*"))
		blocks, _ := filepath.Glob(filepath.Join(dir, "1", "uid", "01*"))
		return append(all, blocks...)
	}
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		read func(*Import) error
		want error
	}{
		"by the reader": {func(i *Import) error { return errors.Join(i.Add(past("m", start-10*hour, 1)), broken) }, broken},
		"by a panic":    {func(*Import) error { panic("no") }, nil},
		"by a full disk": {func(i *Import) error {
			r.free = func(string) (int64, error) { return 10, nil }
			s.ready.configure(100, 10)
			return nil
		}, ErrDiskLow},
		"by too many series": {func(i *Import) error {
			r.free = freeBytes
			s.ready.configure(0, 0)
			for j := range maxImportSeries + 1 {
				if err := i.Add(past(fmt.Sprint("m", j), start-10*hour, 1)); err != nil {
					return err
				}
			}
			return nil
		}, ErrTooMuch},
	} {
		_, err := s.Import(t.Context(), c.read)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		r.free = freeBytes
		s.ready.configure(0, 0)
		if l := left(); len(l) > 0 {
			t.Errorf("%s: left are %v", name, l)
		}
	}
	// What would make the store too large is not stored, so that the TSDB deletes nothing.
	if err := r.Configure(Key{1, "uid"}, Config{Retention: 24 * time.Hour, OutOfOrder: time.Hour, MaxBytes: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Import(t.Context(), func(i *Import) error { return i.Add(past("m", start-10*hour, 1)) }); !errors.Is(err, ErrTooMuch) || !strings.Contains(err.Error(), "maximum size") {
		t.Errorf("too large: %v", err)
	}
	if l := left(); len(l) > 0 {
		t.Errorf("too large: left are %v", l)
	}
	// Another one must wait.
	_, err := s.Import(t.Context(), func(*Import) error {
		_, err := s.Import(t.Context(), func(*Import) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "another import") {
			t.Errorf("a second import: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// The end of the store ends it.
	started := make(chan struct{})
	go func() { <-started; _ = r.Close() }()
	_, err = s.Import(t.Context(), func(i *Import) error {
		close(started)
		for {
			if err := i.Add(past("m", start-10*hour, 1)); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, ErrClosed) {
		t.Errorf("at the end: %v", err)
	}
}

// A process that ends while it imports leaves nothing half: what was not whole is gone,
// and what was is there, wherever it ended.
func TestImportAfterCrash(t *testing.T) {
	dir := t.TempDir()
	key := Key{1, "uid"}
	store := filepath.Join(dir, "1", "uid")
	r, _ := newRecorder(t, dir)
	s, _ := openManual(t, r, key)
	var all []Past
	for j := range int64(22) {
		all = append(all, past("m", start-23*hour+j*hour, float64(j)))
	}
	importAll(t, s, all...)
	want := read(t, s, "m")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	blocks, _ := filepath.Glob(filepath.Join(store, "01*"))
	if len(blocks) < 3 {
		t.Fatalf("there are %d blocks", len(blocks))
	}
	move := func(to string, blocks []string) {
		t.Helper()
		if err := os.MkdirAll(to, 0o777); err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			if err := os.Rename(b, filepath.Join(to, filepath.Base(b))); err != nil {
				t.Fatal(err)
			}
		}
	}
	// It ended when one block had been moved.
	move(filepath.Join(store, importReady), blocks[1:])
	r, _ = newRecorder(t, dir)
	s, _ = openManual(t, r, key)
	if got := read(t, s, "m"); !reflect.DeepEqual(got, want) {
		t.Errorf("of %v there is %v", want, got)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	// It ended before the decision.
	blocks, _ = filepath.Glob(filepath.Join(store, "01*"))
	move(filepath.Join(store, importPartial, importBlocks), blocks)
	r, _ = newRecorder(t, dir)
	s, _ = openManual(t, r, key)
	for name, samples := range read(t, s, "m") {
		for at := range samples {
			if at < start-2*hour {
				t.Errorf("%s has a sample at %d of what was not whole", name, at)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(store, "import*")); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// More samples than are sorted in memory, of which each block has a part.
func TestImportManySamples(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	s, _ := openManual(t, r, Key{1, "uid"})
	const n, seriesN = sortChunk + 50_000, 10
	got, err := s.Import(t.Context(), func(i *Import) error {
		for j := range int64(n) {
			p := past("m", start-20*hour+(j*7919%n)*200, float64(j))
			p.Labels = labels.FromStrings("__name__", "m", "i", fmt.Sprint(j%seriesN))
			if err := i.Add(p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || got.Samples != n || got.Series != seriesN {
		t.Fatalf("%+v, %v", got, err)
	}
	sum := 0
	for _, samples := range read(t, s, "m") {
		for at, v := range samples {
			if want := (int64(v)*7919%n)*200 + start - 20*hour; at != want {
				t.Fatalf("%v is at %d and not at %d", v, at, want)
			}
			sum++
		}
	}
	if sum != n {
		t.Errorf("there are %d samples", sum)
	}
}

func TestImportPath(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	for _, name := range []string{"", ".", "..", "../a", "a/b", `a\b`, "/etc/passwd", "a\x00"} {
		if path, err := r.ImportPath(Key{1, "uid"}, name); err == nil {
			t.Errorf("%q is %s", name, path)
		}
	}
	if path, err := r.ImportPath(Key{1, "uid"}, "2025.csv.gz"); err != nil || !strings.HasSuffix(path, filepath.Join("imports", "1", "uid", "2025.csv.gz")) {
		t.Errorf("%s, %v", path, err)
	}
}

// Times of a sample that travels to the disk and back stay as they are.
func TestPastSample(t *testing.T) {
	p := pastSample{series: math.MaxUint32, line: 7, t: math.MaxInt64, v: math.Inf(-1)}
	b, _ := p.encode()
	if got, err := decodePast(b); err != nil || got != p {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := decodePast(b[1:]); err == nil {
		t.Error("a part is taken for the whole")
	}
}
