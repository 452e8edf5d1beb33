package recorder

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/afero"
)

// files accesses all files but those of the TSDB.
var files = afero.Afero{Fs: afero.NewOsFs()}

// memoryFile is in the folder of the store.
const memoryFile = "continuum.json"

// memory is what a store writes to the disk beside its samples, so that the inputs
// can run after a restart before anybody asks for the store.
type memory struct {
	file  string
	fresh bool // not on the disk yet

	// Identity is random, and distinguishes this store from all others anywhere.
	Identity string `json:"identity"`
	// Settings is Config.Remember.
	Settings json.RawMessage `json:"settings,omitempty"`
	// Used is when samples were last asked for (Unix ms), at most an hour too early.
	// Idle is Config.Idle in milliseconds.
	Used int64 `json:"used"`
	Idle int64 `json:"idle"`
}

// recall reads the memory of the store in dir. If there is none, it makes one with
// this identity, or a random identity if that is empty. A file that cannot be parsed
// is ignored, so that its store can still be opened.
func recall(dir, identity string, now time.Time, logger *slog.Logger) (*memory, error) {
	m := &memory{file: filepath.Join(dir, memoryFile)}
	text, err := files.ReadFile(m.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(text, m); err != nil {
			logger.Warn("What was remembered of a store cannot be understood and is forgotten", "file", m.file, "error", err)
			*m = memory{file: m.file}
		}
	}
	if m.Identity == "" {
		m.Identity, m.Used, m.fresh = cmp.Or(identity, rand.Text()), now.UnixMilli(), true
	}
	return m, nil
}

// keep writes the memory to the disk if it has changed.
func (m *memory) keep(c Config, used int64) error {
	next := memory{file: m.file, Identity: m.Identity, Settings: c.Remember, Used: used, Idle: c.Idle.Milliseconds()}
	if !m.fresh && string(next.Settings) == string(m.Settings) && next.Used == m.Used && next.Idle == m.Idle {
		return nil
	}
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := write(m.file, bytes.NewReader(text)); err != nil {
		return fmt.Errorf("remember the settings: %w", err)
	}
	*m = next
	return nil
}

// write replaces a file completely or not at all.
func write(file string, content io.Reader) error {
	f, err := files.TempFile(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = files.Rename(f.Name(), file)
	}
	if err != nil {
		err = errors.Join(err, files.Remove(f.Name()))
	}
	return err
}

var orgs = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)

// Remembered returns Config.Remember of all stores that were in use when they were
// last open. It logs and leaves out what it cannot read.
func (r *Recorder) Remembered() map[Key]json.RawMessage {
	now := r.clock.Now()
	all := make(map[Key]json.RawMessage)
	for _, org := range folders(r.root, orgs) {
		id, err := strconv.ParseInt(org, 10, 64)
		if err != nil {
			continue
		}
		for _, uid := range folders(filepath.Join(r.root, org), uids) {
			m, err := recall(filepath.Join(r.root, org, uid), "", now, r.logger)
			if err != nil {
				r.logger.Warn("A store's settings are forgotten until it is asked", "error", err)
				continue
			}
			if len(m.Settings) > 0 && (m.Idle == 0 || now.UnixMilli() < m.Used+m.Idle) {
				all[Key{id, uid}] = m.Settings
			}
		}
	}
	return all
}

// folders returns the names in dir that match, none if it cannot be read.
func folders(dir string, names *regexp.Regexp) []string {
	found, _ := files.ReadDir(dir) // nothing was recorded yet, or it shows when the store is opened
	var all []string
	for _, f := range found {
		if names.MatchString(f.Name()) {
			all = append(all, f.Name())
		}
	}
	return all
}
