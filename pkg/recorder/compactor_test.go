package recorder

import (
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Deleting writes a block that ends within two hours. Late samples of the same two
// hours do not make the TSDB leave out at a restart what was recorded after it.
func TestRestartAfterDeleteAndLate(t *testing.T) {
	dir := t.TempDir()
	key := Key{1, "uid"}
	r, clock := newRecorder(t, dir)
	const start = start + 1_800_000 // where no block ends
	clock.ms.Store(start)
	s, sink := openManual(t, r, key)
	m := series("m")
	commit(t, sink, start, Sample{Series: m, T: start - 600_000, V: 1}, Sample{Series: m, T: start, V: 2}, Sample{Series: series("gone"), T: start, V: 3})
	if err := s.Delete(t.Context(), start-1000, start, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "gone")); err != nil {
		t.Fatal(err)
	}
	clock.ms.Store(start + 60_000)
	commit(t, sink, start+60_000, Sample{Series: m, T: start + 30_000, V: 4}, Sample{Series: m, T: start + 60_000, V: 5})
	commit(t, sink, start+60_000, Sample{Series: m, T: start - 300_000, V: 6}) // late
	if _, err := r.Backup(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	db, err := s.database.acquire()
	if err != nil {
		t.Fatal(err)
	}
	err = db.Compact(t.Context())
	db.readers.Done()
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "m")[`{__name__="m"}`]; len(got) != 5 {
		t.Errorf("before the restart: %v", got)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r, clock = newRecorder(t, dir)
	clock.ms.Store(start + 60_000)
	s, _ = openManual(t, r, key)
	if got := read(t, s, "m")[`{__name__="m"}`]; len(got) != 5 {
		t.Errorf("after the restart: %v", got)
	}
}
