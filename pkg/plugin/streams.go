package plugin

import (
	"fmt"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
)

// owner identifies a data source across all its instances.
type owner struct {
	org int64
	uid string
}

func ownerOf(pc backend.PluginContext) owner {
	return owner{pc.OrgID, pc.DataSourceInstanceSettings.UID}
}

// streams is the list of streams that are open, or about to be, in this process. It
// reports joins from SubscribeStream to RunStream, which may run in different
// instances of the data source, and enforces the limits.
type streams struct {
	mu     sync.Mutex
	owners map[owner]*ownerStreams
}

type ownerStreams struct {
	revision string
	stale    chan struct{} // closed when revision changes
	paths    map[channel.Path]*stream
}

// stream is an open path. Grafana may call RunStream again before the last call has
// ended, so there can be several runs for a moment.
type stream struct {
	user  string                     // the user who joined last, empty for anonymous ones
	runs  map[chan struct{}]struct{} // the joined channel of each run
	since time.Time                  // when SubscribeStream was called last
}

// openWithin is how long after SubscribeStream a path counts as open while RunStream
// has not been called. Grafana calls it at once.
const openWithin = 5 * time.Second

func newStreams() *streams {
	return &streams{owners: make(map[owner]*ownerStreams)}
}

func (s *streams) of(o owner) *ownerStreams {
	os := s.owners[o]
	if os == nil {
		os = &ownerStreams{stale: make(chan struct{}), paths: make(map[channel.Path]*stream)}
		s.owners[o] = os
	}
	for path, st := range os.paths {
		if len(st.runs) == 0 && time.Since(st.since) > openWithin {
			delete(os.paths, path)
		}
	}
	return os
}

// adopt notes the revision of the newest settings. Streams of another one become
// stale.
func (s *streams) adopt(o owner, revision string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	os := s.of(o)
	if os.revision != revision {
		close(os.stale)
		os.revision, os.stale = revision, make(chan struct{})
	}
}

// errLimit is why a stream is refused. The panel shows its text.
type errLimit struct {
	what  string
	limit int64
}

func (e errLimit) Error() string {
	return fmt.Sprintf("Shown without a live stream: %s already has %d streams open, which is the limit. "+
		"Close some dashboards, or raise the limit in the data source settings.", e.what, e.limit)
}

// room returns an error if a stream on path would exceed a limit. A path that is
// already open has room for every viewer.
func (s *streams) room(o owner, path channel.Path, user string, limits settings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(o).room(path, user, limits)
}

// room counts paths that differ only in the nonce as one. A viewer who asks again
// gets a new nonce, and must not be refused because of its old stream, which Grafana
// keeps for a while. But there may be only twice as many paths as streams, so that
// nonces cannot get around the limits.
func (os *ownerStreams) room(path channel.Path, user string, limits settings) error {
	if os.paths[path] != nil {
		return nil
	}
	rows, mine := map[channel.Path]bool{}, map[channel.Path]bool{}
	myPaths := int64(0)
	for open, st := range os.paths {
		open.Nonce = path.Nonce
		if st.user == user {
			myPaths++
		}
		if open == path {
			continue
		}
		rows[open] = true
		if st.user == user {
			mine[open] = true
		}
	}
	if int64(len(rows)) >= limits.MaxStreams || int64(len(os.paths)) >= 2*limits.MaxStreams {
		return errLimit{"this data source", limits.MaxStreams}
	}
	// Anonymous viewers cannot be told apart.
	if user == "" {
		return nil
	}
	if int64(len(mine)) >= limits.MaxStreamsPerUser || myPaths >= 2*limits.MaxStreamsPerUser {
		return errLimit{"this user", limits.MaxStreamsPerUser}
	}
	return nil
}

// join notes that a viewer joins path and tells the path's runs. It returns an error
// if there is no room.
func (s *streams) join(o owner, path channel.Path, user string, limits settings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	os := s.of(o)
	if err := os.room(path, user, limits); err != nil {
		return err
	}
	st := os.open(path, user)
	st.user, st.since = user, time.Now()
	for joined := range st.runs {
		select {
		case joined <- struct{}{}:
		default: // a join is pending, and stands for both
		}
	}
	return nil
}

func (os *ownerStreams) open(path channel.Path, user string) *stream {
	st := os.paths[path]
	if st == nil {
		st = &stream{user: user, runs: make(map[chan struct{}]struct{})}
		os.paths[path] = st
	}
	return st
}

// run is one call of RunStream.
type run struct {
	joined <-chan struct{} // gets a value when viewers join
	stale  <-chan struct{} // closed when the revision of the settings changes
	end    func()
}

// begin notes that RunStream was called for path. That may happen without
// SubscribeStream, after an error or a restart of the plugin. It may also happen in
// an instance whose settings are outdated; the run is stale then.
func (s *streams) begin(o owner, path channel.Path, user, revision string) run {
	s.mu.Lock()
	defer s.mu.Unlock()
	os := s.of(o)
	st := os.open(path, user)
	joined := make(chan struct{}, 1)
	st.runs[joined] = struct{}{}
	openStreams.Inc()
	stale := os.stale
	if os.revision != revision {
		stale = make(chan struct{})
		close(stale)
	}
	return run{joined, stale, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(st.runs, joined)
		openStreams.Dec()
	}}
}
