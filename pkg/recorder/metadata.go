package recorder

import (
	"cmp"
	"maps"
	"sync"
)

// metadata is what is known of metrics, by name.
type metadata struct {
	mu   sync.Mutex
	said map[string]Metadata // by inputs
	// set are the units in the settings of inputs, by input and metric.
	set map[string]map[string]string
	// units are those of set on which all inputs agree. They count before those in said.
	units map[string]string
}

// add adds what an input has said. What it leaves open stays as it is.
func (m *metadata) add(more map[string]Metadata) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.said == nil {
		m.said = make(map[string]Metadata)
	}
	for metric, now := range more {
		old := m.said[metric]
		m.said[metric] = Metadata{Type: cmp.Or(now.Type, old.Type), Unit: cmp.Or(now.Unit, old.Unit), Help: cmp.Or(now.Help, old.Help)}
	}
}

// setUnits replaces the units in the settings of an input.
func (m *metadata) setUnits(input string, units map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.set == nil {
		m.set = make(map[string]map[string]string)
	}
	delete(m.set, input)
	if len(units) > 0 {
		m.set[input] = units
	}
	m.units = make(map[string]string)
	disputed := make(map[string]bool)
	for _, units := range m.set {
		for metric, unit := range units {
			disputed[metric] = disputed[metric] || cmp.Or(m.units[metric], unit) != unit
			m.units[metric] = unit
		}
	}
	maps.DeleteFunc(m.units, func(metric string, _ string) bool { return disputed[metric] })
}

func (m *metadata) get() map[string]Metadata {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]Metadata, len(m.said)+len(m.units))
	for metric := range m.said {
		all[metric] = m.merged(metric)
	}
	for metric := range m.units {
		all[metric] = m.merged(metric)
	}
	return all
}

func (m *metadata) of(metric string) Metadata {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.merged(metric)
}

func (m *metadata) merged(metric string) Metadata {
	merged := m.said[metric]
	merged.Unit = cmp.Or(m.units[metric], merged.Unit)
	return merged
}
