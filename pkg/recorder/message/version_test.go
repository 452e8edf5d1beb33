package message

import (
	"strings"
	"testing"
	"time"
)

// An input of version 3 makes of the shapes that it did not know what it made of them.
func TestVersion3(t *testing.T) {
	for _, test := range []struct{ topic, payload, old, now string }{
		{"t", `[{"n":"a","v":1}]`, `v{topic="t"} 1`, `a{topic="t"} 1`},
		{"t", `{"name":"m","fields":{"a":1}}`, `fields_a{topic="t"} 1`, `m_a{topic="t"} 1`},
		{"t", `{"timestamp":1700000000000,"values":[{"id":"a","v":1,"t":1700000000000}]}`, `timestamp{topic="t"} 1.7e+12`, `v{id="a", topic="t"} 1`},
		{"v1/gateway/telemetry", `{"A":[{"a":1}]}`, ``, `a{device="A", topic="v1/gateway/telemetry"} 1`},
		{"v1/gateway/attributes", `{"A":{"a":1}}`, `A_a{topic="v1/gateway/attributes"} 1`, `a{device="A", topic="v1/gateway/attributes"} 1`},
	} {
		for version, want := range map[int]string{Version3: test.old, Version4: test.now, 0: test.now} {
			var got []string
			for _, s := range (Rules{Version: version}).Preview("/", []Incoming{{test.topic, []byte(test.payload)}}, time.Now()).Samples {
				got = append(got, s.Text())
			}
			if strings.Join(got, "\n") != want {
				t.Errorf("%s by version %d becomes %s, not %s", test.payload, version, got, want)
			}
		}
	}
}
