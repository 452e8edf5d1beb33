package message

import (
	"strings"
	"testing"

	"github.com/prometheus/common/model"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

func TestSeriesNames(t *testing.T) {
	const slash = "plant/7/boiler/temperature"
	for _, test := range []struct {
		name, topic, field string
		rules              Rules
		want               string
	}{
		{"no field", slash, "", Rules{}, `temperature{topic="plant/7/boiler/temperature"}`},
		{"a field", slash, "raw", Rules{}, `raw{topic="plant/7/boiler/temperature"}`},
		{"a field called value", slash, "value", Rules{}, `temperature{topic="plant/7/boiler/temperature"}`},
		{"of an array", slash, "0_x", Rules{}, `temperature_0_x{topic="plant/7/boiler/temperature"}`},
		{"one level", "temperature", "", Rules{}, `temperature{topic="temperature"}`},
		{"odd letters", "a/b-c d.é", "", Rules{}, `{"b_c_d_é", topic="a/b-c d.é"}`},
		{"odd letters, as before", "a/b-c d.é", "", Rules{Version: Version1}, `b_c_d__{topic="a/b-c d.é"}`},
		{"a number for a level", "a/42", "", Rules{}, `_42{topic="a/42"}`},
		{"empty levels", "/a//", "", Rules{}, `a{topic="/a//"}`},
		{"only empty levels", "//", "", Rules{}, `value{topic="//"}`},
		{"another script", "a/温度", "", Rules{}, `{"温度", topic="a/温度"}`},
		{"another script, as before", "a/温度", "", Rules{Version: Version1}, `value{topic="a/温度"}`},
		{"a field in another script", "a", "温度", Rules{}, `{"温度", topic="a"}`},
		{"no usable level", "a/°", "", Rules{}, `value{topic="a/°"}`},
		{"no usable field", "a", "°", Rules{}, "none"},

		{"a pattern", slash, "", Rules{Rule: Rule{Pattern: "plant/+line/+part/temperature"}}, `temperature{line="7", part="boiler"}`},
		{"a pattern to the end", slash, "", Rules{Rule: Rule{Pattern: "plant/+line/+part/+what"}}, `plant{line="7", part="boiler", what="temperature"}`},
		{"only labels", "7/boiler", "", Rules{Rule: Rule{Pattern: "+line/+part"}}, `value{line="7", part="boiler"}`},
		{"only labels, with a field", "7/boiler", "t", Rules{Rule: Rule{Pattern: "+line/+part"}}, `t{line="7", part="boiler"}`},
		{"a wildcard without a name", slash, "", Rules{Rule: Rule{Pattern: "plant/+line/+/temperature"}},
			`temperature{line="7", topic="plant/7/boiler/temperature"}`},
		{"the rest", slash, "", Rules{Rule: Rule{Pattern: "plant/+line/#"}}, `temperature{line="7", topic="plant/7/boiler/temperature"}`},
		{"the rest with a name", slash, "", Rules{Rule: Rule{Pattern: "plant/+line/#rest"}}, `plant{line="7", rest="boiler/temperature"}`},
		{"the rest is nothing", "plant/7", "", Rules{Rule: Rule{Pattern: "plant/+line/#"}}, `plant{line="7", topic="plant/7"}`},
		{"an empty level", "plant//x", "", Rules{Rule: Rule{Pattern: "plant/+line/+part"}}, `plant{part="x"}`},
		{"another text", "works/7", "", Rules{Rule: Rule{Pattern: "plant/+line"}}, "does not fit"},
		{"too short", "plant", "", Rules{Rule: Rule{Pattern: "plant/+line"}}, "does not fit"},
		{"too long", "plant/7/8", "", Rules{Rule: Rule{Pattern: "plant/+line"}}, "does not fit"},

		{"a rule", slash, "raw", Rules{Rule: Rule{Pattern: "plant/+line/+part/+what", Metric: "{{part}}_{{what}}_{{ field }}"}},
			`boiler_temperature_raw{line="7", part="boiler", what="temperature"}`},
		{"a rule without a field", slash, "", Rules{Rule: Rule{Metric: "x_{{level}}_{{field}}"}}, `x_temperature{topic="plant/7/boiler/temperature"}`},
		{"a fixed name", slash, "", Rules{Rule: Rule{Metric: "celsius"}}, `celsius{topic="plant/7/boiler/temperature"}`},
		{"fixed labels", slash, "", Rules{Rule: Rule{Labels: map[string]string{"site": "a", "topic": ""}}}, `temperature{site="a"}`},
		{"a fixed label in a rule", slash, "", Rules{Rule: Rule{Metric: "{{site}}_{{level}}", Labels: map[string]string{"site": "a"}}},
			`a_temperature{site="a", topic="plant/7/boiler/temperature"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.rules.Check(); err != nil {
				t.Fatal(err)
			}
			d := New(test.rules, "/", &keeper{})
			topic, reason := d.newTopic(test.topic)
			if topic == nil {
				if reason != notInPattern || test.want != "does not fit" {
					t.Errorf("not recorded: %s", reason)
				}
				return
			}
			lbls, reason := topic.series(test.field, nil)
			got := "none"
			if reason == "" {
				got = recorder.Text(lbls)
				if !model.UTF8Validation.IsValidMetricName(lbls.Get(model.MetricNameLabel)) {
					t.Errorf("%s is not a valid name", got)
				}
			}
			if got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
		})
	}
	subject, _ := New(Rules{Rule: Rule{Pattern: "plant.*line.>"}}, ".", &keeper{}).newTopic("plant.7.a.b")
	if lbls, _ := subject.series("", nil); recorder.Text(lbls) != `b{line="7", subject="plant.7.a.b"}` {
		t.Errorf("a subject: %s", recorder.Text(lbls))
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name  string
		rules Rules
		want  string // part of the error
	}{
		{"nothing", Rules{}, ""},
		{"all", Rules{MaxSeries: 5, Rule: Rule{Format: "json", Pattern: "a/+b/#c", Metric: "x_{{b}}_{{field}}", TimeKey: "t", TimeUnit: "ns", Labels: map[string]string{"d": "e"}}}, ""},
		{"for subjects", Rules{Rule: Rule{Pattern: "a.*b.>"}}, ""},
		{"format", Rules{Rule: Rule{Format: "xml"}}, `rules.format: "xml" is none of`},
		{"unit", Rules{Rule: Rule{TimeUnit: "min"}}, `rules.timeUnit: "min"`},
		{"units", Rules{Units: map[string]string{"temperature": "°C"}}, ""},
		{"empty unit", Rules{Units: map[string]string{"a": ""}}, `rules.units: the unit of "a" must have from 1 to 20 bytes`},
		{"long unit", Rules{Units: map[string]string{"a": "degrees of temperature"}}, `rules.units: the unit of "a" must`},
		{"key without JSON", Rules{Rule: Rule{Format: "number", TimeKey: "t"}}, "rules.timeKey: only JSON has keys"},
		{"limit", Rules{MaxSeries: -1}, "rules.maxSeries"},
		{"label", Rules{Rule: Rule{Labels: map[string]string{"__name__": "x"}}}, `rules.labels: "__name__"`},
		{"value", Rules{Rule: Rule{Labels: map[string]string{"a": "\xff"}}}, "not valid UTF-8"},
		{"label of the pattern", Rules{Rule: Rule{Pattern: "+a", Labels: map[string]string{"a": "x"}}}, "label of the pattern already"},
		{"pattern's label", Rules{Rule: Rule{Pattern: "a/+1"}}, `rules.pattern: "1" cannot be`},
		{"label twice", Rules{Rule: Rule{Pattern: "+a/+a"}}, "twice"},
		{"rest in the middle", Rules{Rule: Rule{Pattern: "a/#/b"}}, "must be the last"},
		{"wildcard in a level", Rules{Rule: Rule{Pattern: "a/b+"}}, "a level is either"},
		{"open braces", Rules{Rule: Rule{Metric: "{{a"}}, "rules.metric: {{ without }}"},
		{"variable", Rules{Rule: Rule{Metric: "{{a b}}"}}, "rules.metric: {{a b}}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.rules.Check()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\nwant %s", err, test.want)
			}
		})
	}
}

// FuzzNames: whatever the topic, pattern and rule, names are valid.
func FuzzNames(f *testing.F) {
	f.Add("plant/1/x", "plant/+line/#", "{{line}}_{{field}}", "a_b")
	f.Add("//", "+a/+b/+c", "", "")
	f.Add("a/温度/\xff", "#rest", "{{rest}}", "0")
	f.Fuzz(func(t *testing.T, from, pattern, metric, field string) {
		r := Rules{Rule: Rule{Pattern: pattern, Metric: metric}}
		if r.Check() != nil {
			return
		}
		topic, reason := New(r, "/", &keeper{}).newTopic(from)
		if topic == nil {
			if reason == "" {
				t.Error("no reason")
			}
			return
		}
		lbls, none := topic.series(field, nil)
		if none != "" {
			return
		}
		if !model.UTF8Validation.IsValidMetricName(lbls.Get(model.MetricNameLabel)) {
			t.Errorf("the name of %v", lbls)
		}
		if !lbls.IsValid(model.UTF8Validation) {
			t.Errorf("%v is not valid", lbls)
		}
	})
}
