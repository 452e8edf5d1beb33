package recorder

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
)

// clockFile is beside the stores. Only this file tells a process that starts with a
// wrong clock that the clock is wrong.
const clockFile = "clock.json"

// belief is the state of the clock that was last written to the disk.
type belief struct {
	mu     sync.Mutex
	kept   clock.State
	failed bool
}

// resumeClock lets the clock continue from the state that the last process wrote.
func (r *Recorder) resumeClock() {
	text, err := files.ReadFile(filepath.Join(r.root, clockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var s clock.State
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		r.logger.Warn("What the clock was before is not known, and it is believed as it is", "error", err)
		return
	}
	r.clock.Resume(s)
	r.belief.kept = s
}

// keepClock writes the state of the clock to the disk if it has changed.
func (r *Recorder) keepClock() {
	s := r.clock.State()
	b := &r.belief
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Boot == "" || s.Same(b.kept) {
		return
	}
	text, err := json.Marshal(s)
	if err == nil {
		err = files.MkdirAll(r.root, 0o777)
	}
	if err == nil {
		err = write(filepath.Join(r.root, clockFile), bytes.NewReader(text))
	}
	if err == nil {
		b.kept = s
	} else if !b.failed { // logged once: it is tried again soon
		r.logger.Warn("What the clock is believed to be cannot be written down", "error", err)
	}
	b.failed = err != nil
}
