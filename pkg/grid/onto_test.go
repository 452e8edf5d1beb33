package grid

import (
	"math"
	"slices"
	"testing"
)

func TestOnto(t *testing.T) {
	rows := Rows{Step: 1, After: 0, Through: 2, Series: []Series{{Name: "a", Values: []float64{1, 2}}, {Name: "b", Unit: "s", Values: []float64{3, 4}}}}
	for _, c := range []struct {
		name   string
		fields []string
		ok     bool
	}{
		{"the same", []string{"a", "b"}, true},
		{"another order", []string{"b", "a"}, true},
		{"one has ended", []string{"a", "b", "c"}, true},
		{"one is new", []string{"b"}, false},
		{"all are new", nil, false},
		{"one is new and one has ended", []string{"a", "c"}, false},
	} {
		got, ok := rows.Onto(Schema{Fields: c.fields})
		if ok != c.ok {
			t.Errorf("%s: %v", c.name, ok)
			continue
		}
		if !slices.Equal(got.Fields(), c.fields) {
			t.Errorf("%s: the fields are %v", c.name, got.Fields())
		}
		if err := got.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, s := range got.Series {
			if i := slices.Index(rows.Fields(), s.Name); i >= 0 {
				if s.Unit != rows.Series[i].Unit || !slices.Equal(s.Values, rows.Series[i].Values) {
					t.Errorf("%s: %s is %+v", c.name, s.Name, s)
				}
			} else if !math.IsNaN(s.Values[0]) || !math.IsNaN(s.Values[1]) {
				t.Errorf("%s: %s has the values %v", c.name, s.Name, s.Values)
			}
		}
	}
	if rows.Series[0].Name != "a" {
		t.Error("the rows themselves were changed")
	}
}
