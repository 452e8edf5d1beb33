package grid

import (
	"math"
	"slices"
)

// Onto returns r with the series of a schema, in their order. A series that r does not
// have gets no values: it may have ended, or not spoken. It reports false if r has a
// series or a state that the schema does not have, which is a new one.
func (r Rows) Onto(schema Schema) (Rows, bool) {
	knows := schema.knows(r.States)
	fields := schema.Fields
	if slices.Equal(r.Fields(), fields) {
		return r, knows
	}
	known := make(map[string]Series, len(r.Series))
	for _, s := range r.Series {
		known[s.Name] = s
	}
	series := make([]Series, len(fields))
	for i, name := range fields {
		s, ok := known[name]
		if !ok {
			s = Series{Name: name, Values: make([]float64, r.Len())}
			for j := range s.Values {
				s.Values[j] = math.NaN()
			}
		}
		delete(known, name)
		series[i] = s
	}
	r.Series = series
	return r, knows && len(known) == 0
}
