package plugin

import (
	"fmt"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/channel"
)

// owner is a data source across all its instances.
type owner struct {
	org int64
	uid string
}

func ownerOf(pc backend.PluginContext) owner {
	return owner{pc.OrgID, pc.DataSourceInstanceSettings.UID}
}

// streams is the list of streams that are open, or about to be, in this
// process. It carries joins from SubscribeStream to RunStream, which may run in
// different instances of the data source, and keeps to the limits.
type streams struct {
	mu     sync.Mutex
	owners map[owner]*ownerStreams
}

type ownerStreams struct {
	revision string
	stale    chan struct{} // closed when revision changes
	paths    map[channel.Path]*stream
}

// stream is one path. Grafana may call RunStream anew before the last call has
// ended, so there can be several runs for a moment.
type stream struct {
	user  string                     // who joined last, and so is there; empty if that is nobody known
	runs  map[chan struct{}]struct{} // each run's joins
	since time.Time                  // of the last SubscribeStream
}

// openWithin is how long after SubscribeStream a path counts as open although
// RunStream has not been called. Grafana calls it at once.
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

// adopt notes the revision of the data source's newest settings. Streams under
// another one become stale.
func (s *streams) adopt(o owner, revision string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	os := s.of(o)
	if os.revision != revision {
		close(os.stale)
		os.revision, os.stale = revision, make(chan struct{})
	}
}

// errLimit refuses a stream. Its text is for the panel that asked.
type errLimit struct {
	what  string
	limit int64
}

func (e errLimit) Error() string {
	return fmt.Sprintf("Shown without a live stream: %s already has %d streams open, which is the limit. "+
		"Close some dashboards, or raise the limit in the data source settings.", e.what, e.limit)
}

// room returns an error if a stream on path would break a limit. A path that is
// open has room for every viewer.
func (s *streams) room(o owner, path channel.Path, user string, limits settings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(o).room(path, user, limits)
}

// room counts paths that differ only in the nonce as one: a viewer who asks
// afresh must not be refused because of the stream it leaves, which Grafana keeps
// for a while. So that nonces are no way around the limits, there may be no more
// than twice as many paths.
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
	// Anonymous viewers have no name to be told apart by.
	if user == "" {
		return nil
	}
	if int64(len(mine)) >= limits.MaxStreamsPerUser || myPaths >= 2*limits.MaxStreamsPerUser {
		return errLimit{"this user", limits.MaxStreamsPerUser}
	}
	return nil
}

// join notes that a viewer joins path and tells the runs of it, or returns an
// error if there is no room.
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
		default: // one is waiting to be seen, and will stand for both
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
	joined <-chan struct{} // receives when viewers join
	stale  <-chan struct{} // closed once the settings' revision is another one
	end    func()
}

// begin notes that RunStream was called for path, which it may be without any
// SubscribeStream: after an error, or after the plugin was restarted. It may also
// be called with settings that another instance has replaced by now.
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
