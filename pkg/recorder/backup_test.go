package recorder

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// What was backed up is found again, to the last sample, when the store has been lost
// and the backup is put in its place.
func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	r, _ := newRecorder(t, dir)
	key := Key{1, "uid"}
	s, sink := openManual(t, r, key)
	var samples []Sample
	for i := range 20 {
		m := series("m", "i", fmt.Sprint(i))
		for j := range int64(200) {
			samples = append(samples, Sample{Series: m, T: start - 3_000_000 + j*10_000, V: rand.Float64()})
		}
	}
	commit(t, sink, start-2_000_000, samples...)
	// Some that come late and out of order.
	commit(t, sink, start, Sample{Series: samples[0].Series, T: start - 2_999_999, V: 7}, Sample{Series: series("late"), T: start - 2_500_000, V: 8})
	want := []any{read(t, s, "m"), read(t, s, "late")}
	identity := sink.Identity()

	folder, err := r.Backup(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, sink, start, Sample{Series: series("after"), T: start, V: 1})
	if got := read(t, s, "after"); len(got) != 1 {
		t.Error("nothing is recorded after a backup")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	store := filepath.Join(dir, "1", "uid")
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, folder), store); err != nil {
		t.Fatal(err)
	}
	again, _ := newRecorder(t, dir)
	s, sink = openManual(t, again, key)
	if got := []any{read(t, s, "m"), read(t, s, "late")}; !reflect.DeepEqual(got, want) {
		t.Error("the restored store has other samples")
	}
	if len(read(t, s, "after")) != 0 {
		t.Error("the restored store has what came after the backup")
	}
	if sink.Identity() != identity {
		t.Error("servers know the restored store by another name")
	}
	commit(t, sink, start+1000, Sample{Series: series("m", "i", "0"), T: start + 1000, V: 1})
}

// A store without samples can be backed up, too, and nothing that is no backup looks
// like one.
func TestBackupOfNothing(t *testing.T) {
	dir := t.TempDir()
	r, _ := newRecorder(t, dir)
	key := Key{1, "uid"}
	openManual(t, r, key)
	if _, err := r.Backup(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	r.free = func(string) (int64, error) { return 0, nil }
	if _, err := openStore(r, Key{1, "full"}, Config{Retention: time.Hour, DiskLow: 100, DiskCritical: 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Backup(t.Context(), Key{1, "full"}); err == nil {
		t.Error("a backup was made on a full disk")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, backupsDir, "1", "full", "*")); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
	if got := r.Remembered(); len(got) != 0 {
		t.Errorf("backups are taken for stores: %v", got)
	}
}
