package recorder

import (
	"maps"
	"testing"

	"github.com/prometheus/common/model"
)

// Each input may know something else of a metric, and nobody erases what others know.
func TestMetadata(t *testing.T) {
	var m metadata
	check := func(want Metadata) {
		t.Helper()
		if got := m.of("m"); got != want || m.get()["m"] != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	m.setUnits("rules", map[string]string{"m": "°C"})
	check(Metadata{Unit: "°C"})
	m.add(map[string]Metadata{"m": {Type: model.MetricTypeGauge, Unit: "kelvin"}})
	check(Metadata{Type: model.MetricTypeGauge, Unit: "°C"})
	m.add(map[string]Metadata{"m": {Help: "helps"}})
	check(Metadata{Type: model.MetricTypeGauge, Unit: "°C", Help: "helps"})
	m.setUnits("same", map[string]string{"m": "°C"})
	check(Metadata{Type: model.MetricTypeGauge, Unit: "°C", Help: "helps"})
	m.setUnits("other", map[string]string{"m": "°F"})
	check(Metadata{Type: model.MetricTypeGauge, Unit: "kelvin", Help: "helps"}) // they contradict each other
	m.setUnits("other", map[string]string{"n": "V"})
	check(Metadata{Type: model.MetricTypeGauge, Unit: "°C", Help: "helps"})
	m.setUnits("same", nil)
	m.setUnits("rules", nil)
	check(Metadata{Type: model.MetricTypeGauge, Unit: "kelvin", Help: "helps"})
	if got, want := m.get(), (map[string]Metadata{"m": m.of("m"), "n": {Unit: "V"}}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The units in the settings of an input end with it.
func TestSetUnits(t *testing.T) {
	r, _ := newRecorder(t, t.TempDir())
	s, sink := openManual(t, r, Key{1, "uid"})
	sink.SetUnits(map[string]string{"m": "°C"})
	if got := s.Describe("m").Unit; got != "°C" {
		t.Errorf("the unit is %q", got)
	}
	s.inputs.run(nil)
	if got := s.Describe("m").Unit; got != "" {
		t.Errorf("the unit is still %q", got)
	}
}
