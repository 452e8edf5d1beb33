package naming_test

import (
	"testing"

	"github.com/prometheus/common/model"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/naming"
)

func TestNames(t *testing.T) {
	for _, test := range []struct{ s, metric, label, classic string }{
		{"temperature", "temperature", "temperature", "temperature"},
		{"node cpu/usage", "node_cpu_usage", "node_cpu_usage", "node_cpu_usage"},
		{"42", "_42", "_42", "_42"},
		{"__name__", "__name__", "_name__", "__name__"},
		{"温度", "温度", "温度", ""},
		{"температура", "температура", "температура", ""},
		{"θερμοκρασία", "θερμοκρασία", "θερμοκρασία", ""},
		{"तापमान", "तापमान", "तापमान", ""},
		{"Küche 🍳", "Küche__", "Küche__", "K_che__"},
		{"٣", "٣", "٣", ""},
		{"Temperatur °C", "Temperatur__C", "Temperatur__C", "Temperatur__C"},
		{"a:b", "a_b", "a_b", "a_b"},
		{"\ufffd", "", "", ""},
		{"\u0301", "", "", ""},
		{"°/%", "", "", ""},
		{"", "", "", ""},
	} {
		if got := naming.Metric(test.s); got != test.metric {
			t.Errorf("the metric of %q is %q, want %q", test.s, got, test.metric)
		}
		if got := naming.Label(test.s); got != test.label {
			t.Errorf("the label of %q is %q, want %q", test.s, got, test.label)
		}
		if got := naming.ClassicMetric(test.s); got != test.classic {
			t.Errorf("the classic metric of %q is %q, want %q", test.s, got, test.classic)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("temperature")
	f.Add("__温\xff度 °C")
	f.Fuzz(func(t *testing.T, s string) {
		if name := naming.Metric(s); name != "" && !model.UTF8Validation.IsValidMetricName(name) {
			t.Errorf("the metric of %q is %q", s, name)
		}
		if name := naming.Label(s); name != "" && !model.UTF8Validation.IsValidLabelName(name) || len(name) > 1 && name[:2] == "__" {
			t.Errorf("the label of %q is %q", s, name)
		}
		if name := naming.ClassicMetric(s); name != "" && !model.LegacyValidation.IsValidMetricName(name) {
			t.Errorf("the classic metric of %q is %q", s, name)
		}
		if name := naming.ClassicLabel(s); name != "" && !model.LegacyValidation.IsValidLabelName(name) {
			t.Errorf("the classic label of %q is %q", s, name)
		}
		if once := naming.Metric(s); naming.Metric(once) != once {
			t.Errorf("the name of %q is not its own name", once)
		}
	})
}
