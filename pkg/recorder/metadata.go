package recorder

import (
	"maps"
	"sync"
)

// metadata is what inputs have said about metrics, by name.
type metadata struct {
	mu  sync.Mutex
	all map[string]Metadata
}

func (m *metadata) add(more map[string]Metadata) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = make(map[string]Metadata)
	}
	maps.Copy(m.all, more)
}

func (m *metadata) get() map[string]Metadata {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.all)
}

func (m *metadata) of(metric string) Metadata {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[metric]
}
