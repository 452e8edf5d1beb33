package endpoint

import (
	"slices"
	"sync"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Silence knows the topics or subjects of an input from which nothing has come yet,
// and reports them to the sink. Its methods may be called from any goroutine.
type Silence struct {
	mu   sync.Mutex
	sink *recorder.Sink
	rest []string
}

// NewSilence returns the Silence of an input that has received nothing yet.
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
	s.rest = slices.Delete(slices.Clone(s.rest), i, i+1) // the sink uses the old slice
	s.sink.Silent(s.rest)
}
