package endpoint

import (
	"slices"
	"sync"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Silence knows from which topics or subjects of an input nothing has come yet, and
// reports it to the sink. Its methods may be called from any goroutine.
type Silence struct {
	mu   sync.Mutex
	sink *recorder.Sink
	rest []string
}

// NewSilence returns that of an input that has received nothing.
func NewSilence(sink *recorder.Sink, filters []string) *Silence {
	sink.Silent(filters)
	return &Silence{sink: sink, rest: slices.Clone(filters)}
}

// Heard notes that something has come from a filter.
func (s *Silence) Heard(filter string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.rest, filter)
	if i < 0 {
		return
	}
	s.rest = slices.Delete(slices.Clone(s.rest), i, i+1) // the sink has the other
	s.sink.Silent(s.rest)
}
