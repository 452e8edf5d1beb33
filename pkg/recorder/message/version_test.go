package message

import (
	"strings"
	"testing"
	"time"
)

// Inputs of older versions make of messages what they made of them before.
func TestVersions(t *testing.T) {
	for _, test := range []struct {
		rule                     Rule
		topic, payload, old, now string
	}{
		{Rule{}, "t", `[{"n":"a","v":1}]`, `v{topic="t"} 1`, `a{topic="t"} 1`},
		{Rule{}, "t", `{"name":"m","fields":{"a":1}}`, `fields_a{topic="t"} 1`, `m_a{topic="t"} 1`},
		{Rule{}, "t", `{"timestamp":1700000000000,"values":[{"id":"a","v":1,"t":1700000000000}]}`, `timestamp{topic="t"} 1.7e+12`, `v{id="a", topic="t"} 1`},
		{Rule{}, "v1/gateway/telemetry", `{"A":[{"a":1}]}`, ``, `a{device="A", topic="v1/gateway/telemetry"} 1`},
		{Rule{}, "v1/gateway/attributes", `{"A":{"a":1}}`, `A_a{topic="v1/gateway/attributes"} 1`, `a{device="A", topic="v1/gateway/attributes"} 1`},
		{Rule{States: []string{"*"}}, "t", `"{\"a\":1}"`, `t{t="{\"a\":1}", topic="t"} 1`, `a{topic="t"} 1`},
		{Rule{LabelKeys: []string{"host.name"}}, "t", `{"host.name":"a","v":1}`, `v{topic="t"} 1`, `v{host_name="a", topic="t"} 1`},
		{Rule{LabelKeys: []string{"host.tags.*"}}, "t", `{"host.tags":{"x":"a"},"v":1}`, `v{topic="t"} 1`, `v{topic="t", x="a"} 1`},
		{Rule{LabelKeys: []string{"host.name"}}, "t", `{"host":{"name":"a"},"v":1}`, `v{host_name="a", topic="t"} 1`, `v{host_name="a", topic="t"} 1`},
		{Rule{Each: "devices.*"}, "t", `{"devices":{"a1":{"v":1}}}`, `devices_a1_v{topic="t"} 1`, `v{devices="a1", topic="t"} 1`},
		{Rule{Each: "*"}, "t", `{"a1":{"v":1}}`, `a1_v{topic="t"} 1`, `v{key="a1", topic="t"} 1`},
		{Rule{Each: "lines.machines"}, "t", `{"n":1,"lines":[{"machines":[{"v":1}]}]}`, `n{topic="t"} 1`, "n{topic=\"t\"} 1\nv{topic=\"t\"} 1"},
		{Rule{Each: "lines.0"}, "t", `{"n":1,"lines":[{"v":1}]}`, `n{topic="t"} 1`, "n{topic=\"t\"} 1\nv{topic=\"t\"} 1"},
		{Rule{Each: "data.values"}, "t", `{"data":{"values":[{"v":1}]}}`, `v{topic="t"} 1`, `v{topic="t"} 1`},
	} {
		for version, want := range map[int]string{Version2: test.old, Version3: test.old, Version4: test.now, 0: test.now} {
			rules := Rules{Version: version, Rule: test.rule}
			if err := rules.Check(); err != nil {
				t.Error(err)
			}
			var got []string
			for _, s := range rules.Preview("/", []Incoming{{test.topic, []byte(test.payload)}}, time.Now()).Samples {
				got = append(got, s.Text())
			}
			if strings.Join(got, "\n") != want {
				t.Errorf("%s by version %d of %+v becomes %s, not %s", test.payload, version, test.rule, got, want)
			}
		}
	}
}

// What was no key is none now, but must not keep an input from recording.
func TestEachOfOlderVersions(t *testing.T) {
	for _, each := range []string{"a..b", ".a", "a.*.b", "-.*"} {
		for version, right := range map[int]bool{Version1: true, Version2: true, Version3: true, Version4: false, 0: false} {
			if err := (Rules{Version: version, Rule: Rule{Each: each}}).Check(); (err == nil) != right {
				t.Errorf("%q in version %d: %v", each, version, err)
			}
		}
	}
}
