package grid

import (
	"slices"
	"strconv"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// State is a text that a number stands for.
type State struct {
	Text  string
	Value float64
	// Color is one of Grafana's names, or any that CSS knows.
	Color string
}

// mappings returns the states as value mappings of a field, nil if there are none.
func (r Rows) mappings() data.ValueMappings {
	if len(r.States) == 0 {
		return nil
	}
	texts := make(data.ValueMapper, len(r.States))
	for i, s := range r.States {
		texts[strconv.FormatFloat(s.Value, 'f', -1, 64)] = data.ValueMappingResult{Text: s.Text, Color: s.Color, Index: i}
	}
	return data.ValueMappings{texts}
}

// Schema is what a stream cannot change, because packets have values alone: the names
// of the fields, in order, and the texts that their values can stand for.
type Schema struct{ Fields, States []string }

// Schema returns that of the rows.
func (r Rows) Schema() Schema {
	s := Schema{Fields: r.Fields()}
	for _, state := range r.States {
		s.States = append(s.States, state.Text)
	}
	return s
}

// knows reports whether the schema has all of the states.
func (s Schema) knows(states []State) bool {
	return !slices.ContainsFunc(states, func(state State) bool { return !slices.Contains(s.States, state.Text) })
}
