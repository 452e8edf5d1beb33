package message

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	promvalue "github.com/prometheus/prometheus/model/value"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestRecords(t *testing.T) {
	id := []string{"id", "channel"}
	for _, test := range []struct {
		name    string
		rule    Rule
		payload string
		want    string
	}{
		{"label keys", Rule{LabelKeys: id}, `{"id":5,"channel":"A","v":1,"on":true}`, `v{channel="A", id="5"}=1 on{channel="A", id="5"}=1`},
		{"where they stand", Rule{LabelKeys: id}, `{"n":1,"a":{"id":1,"v":2},"b":{"v":3,"id":2},"c":{"v":4}}`,
			`n=1 a_v{id="1"}=2 b_v{id="2"}=3 c_v=4`},
		{"within those of others", Rule{LabelKeys: id}, `{"id":"gw","a":{"channel":1,"v":2},"b":{"id":3,"v":4}}`,
			`a_v{channel="1", id="gw"}=2 b_v{id="gw", id="3"}=4`},
		{"all of an object", Rule{LabelKeys: []string{"tags.*"}}, `{"tags":{"host":"a","n":1,"of":{"x":2}},"v":3}`, `tags_of_x{host="a", n="1"}=2 v{host="a", n="1"}=3`},
		{"of an object", Rule{LabelKeys: []string{"device.id"}}, `{"device":{"id":"a","rssi":-60},"v":3}`, `device_rssi{device_id="a"}=-60 v{device_id="a"}=3`},
		{"null for a label", Rule{LabelKeys: id}, `{"id":null,"v":3}`, `v=3 !null(1)`},
		{"nothing but labels", Rule{LabelKeys: id}, `{"id":1}`, `!empty message(1)`},

		{"an array of objects", Rule{}, `[{"v":1,"of":{"w":2}},{"v":3}]`, "v=1 of_w=2 v=3"},
		{"their labels", Rule{LabelKeys: id}, `[{"id":"a","v":1},{"id":"b","v":2}]`, `v{id="a"}=1 v{id="b"}=2`},
		{"each", Rule{Each: "data.values", LabelKeys: id}, `{"id":"gw","data":{"n":2,"values":[{"id":"a","v":1},{"channel":1,"v":2}]}}`,
			`data_n{id="gw"}=2 v{id="gw", id="a"}=1 v{channel="1", id="gw"}=2`},
		{"each in each", Rule{Each: "values", LabelKeys: id}, `[{"id":"a","values":[{"channel":1,"v":1}]},{"id":"b","values":[{"channel":1,"v":2}]}]`,
			`v{channel="1", id="a"}=1 v{channel="1", id="b"}=2`},
		{"each is one", Rule{Each: "data"}, `{"data":{"v":1}}`, "v=1"},
		{"each is none", Rule{Each: "data"}, `{"data":null,"v":1}`, "v=1 !null(1)"},
		{"objects in an array", Rule{}, `{"v":1,"of":[{"w":2},3,[{"x":4}]]}`, "v=1 of_1=3 !objects in an array(2)"},

		{"a regular expression", Rule{Regexp: `^T=(?P<T>[-0-9.,]+)C? H=(?P<H>\d+)`}, "T=-21,5C H=40 x", "T=-21.5 H=40"},
		{"a group without a name", Rule{Regexp: `([-0-9.]+) ?°C`}, `{"t":"21.5 °C","u":"21.5 F"}`, "t=21.5 u~21.5 F"},
		{"no group", Rule{Regexp: `[0-9]+`}, "abc 17 def", "=17"},
		{"a label and a time", Rule{Regexp: `(?P<id>\w+) (?P<at>\d+): (?P<v>.*)`, LabelKeys: id, TimeKey: "at"}, "abc 1800000000: 5", `v{id="abc"}=5@1800000000000`},
		{"no match", Rule{Regexp: `x([0-9])`}, "y1", "~y1"},

		{"Telegraf", Rule{}, `{"fields":{"usage_idle":98.1,"value":2,"ok":true,"s":"x"},"name":"cpu","tags":{"cpu":"cpu0"},"timestamp":1800000000}`,
			`cpu_usage_idle{cpu="cpu0"}=98.1@1800000000000 cpu{cpu="cpu0"}=2@1800000000000 cpu_ok{cpu="cpu0"}=1@1800000000000 cpu_s{cpu="cpu0"}~x@1800000000000`},
		{"Telegraf's batch", Rule{}, `{"metrics":[{"fields":{"a":1},"name":"m","tags":{},"timestamp":1800000000},{"fields":{"a":2},"name":"m","tags":{"h":"x"},"timestamp":1800000001}]}`,
			`m_a=1@1800000000000 m_a{h="x"}=2@1800000001000`},
		{"Telegraf's lines", Rule{}, `{"fields":{"a":1},"name":"m","tags":{},"timestamp":1800000000}` + "\n" + `{"fields":{"a":2},"name":"m","tags":{},"timestamp":1800000001}` + "\n",
			`m_a=1@1800000000000 m_a=2@1800000001000`},

		{"ThingsBoard", Rule{}, `{"ts":1800000000123,"values":{"t":1,"of":{"h":2}}}`, "t=1@1800000000123 of_h=2@1800000000123"},
		{"ThingsBoard's array", Rule{}, `[{"ts":1800000000123,"values":{"t":1}},{"ts":1800000000124,"values":{"t":2}}]`, "t=1@1800000000123 t=2@1800000000124"},
		{"ThingsBoard's gateway", Rule{}, `{"Device A":[{"ts":1800000000123,"values":{"t":1}},{"ts":1800000000124,"values":{"t":2}}],"B":[{"ts":1800000000123,"values":{"t":3}}]}`,
			`t{device="Device A"}=1@1800000000123 t{device="Device A"}=2@1800000000124 t{device="B"}=3@1800000000123`},
		{"a gateway's values without time", Rule{Format: "thingsboard"}, `{"A":[{"t":1}],"B":[{"t":2}]}`, `t{device="A"}=1 t{device="B"}=2`},
		{"KEPServerEX", Rule{}, `{"timestamp":1,"values":[{"id":"a","v":7,"q":true,"t":1800000000193}]}`, `v{id="a"}=7@1800000000193 q{id="a"}=1@1800000000193`},
		{"KEPServerEX as the rule says", Rule{Each: "values", LabelKeys: id, TimeKey: "t"}, `{"timestamp":1800000000224,"values":[{"id":"a","v":7,"q":true,"t":1800000000193}]}`,
			`timestamp=1.800000000224e+12 v{id="a"}=7@1800000000193 q{id="a"}=1@1800000000193`},
		{"JSON alone", Rule{Format: "json"}, `{"ts":1800000000123,"values":{"t":1}}`, "ts=1.800000000123e+12 values_t=1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.rule.check("rules", Version2); err != nil {
				t.Fatal(err)
			}
			if got := decoded(test.rule, "x", test.payload); got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
		})
	}
}

// Rules of the first version make what they always made.
func TestVersion1(t *testing.T) {
	k := run(t, Rules{Version: Version1}, func(_ *testing.T, d *Decoder, _ *keeper) {
		add(d, "a/Küche", `{"of":[{"id":"12","v":1},{"v":2}],"sn":"00158e33"}`)
		add(d, "b", `[{"v":1},{"v":2}]`)
		add(d, "c", "error code=5")
		add(d, "d", "m,a-b=1,a_b=2 v=3 946684800000000000")
		add(d, "e", `{"ts":1800000000,"values":{"v":1}}`)
		add(d, "f", `{"p-q":1}`)
		time.Sleep(time.Second)
		add(d, "f", `{"p_q":2}`)
	})
	want := strings.Join([]string{
		`of_0_id{topic="a/Küche"} 12 @ 946684800000`, `of_0_v{topic="a/Küche"} 1 @ 946684800000`, `of_1_v{topic="a/Küche"} 2 @ 946684800000`,
		`sn{topic="a/Küche"} 1.58e+35 @ 946684800000`, `b_0_v{topic="b"} 1 @ 946684800000`, `b_1_v{topic="b"} 2 @ 946684800000`,
		`error_code{topic="c"} 5 @ 946684800000`, `m_v{a_b="2", topic="d"} 3 @ 946684800000`,
		`ts{topic="e"} 1.8e+09 @ 946684800000`, `values_v{topic="e"} 1 @ 946684800000`,
		`p_q{topic="f"} 1 @ 946684800000`, `p_q{topic="f"} 2 @ 946684801000`,
	}, "\n")
	if got := strings.Join(k.samples, "\n"); got != want || len(k.report.Skipped) > 0 {
		t.Errorf("%s\nskipped %s\nwant %s", got, k.skipped(), want)
	}
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func TestGzip(t *testing.T) {
	for _, test := range []struct{ name, payload, want string }{
		{"JSON", string(zipped(t, []byte(`{"a":1}`))), "a=1"},
		{"cut off", string(zipped(t, []byte(`{"a":1}`))[:20]), "!not valid gzip(1)"},
		{"not gzip", "\x1f\x8b\x08\x00", "!not valid gzip(1)"},
		{"a bomb", string(zipped(t, make([]byte, MaxPayload+1))), "!larger than 1 MiB(1)"},
	} {
		if got := decoded(Rule{}, "x", test.payload); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestCBOR(t *testing.T) {
	pack := func(v any) string {
		b, err := cbor.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, test := range []struct{ name, payload, want string }{
		{"a map", pack(map[string]any{"b": 2.5, "a": 1, "c": map[int]any{1: true}, "s": "x"}), "a=1 b=2.5 c_1=1 s~x"},
		{"records", pack([]any{map[string]any{"id": "a", "v": 1}, map[string]any{"id": "b", "v": -2}}), `v{id="a"}=1 v{id="b"}=-2`},
		{"a sequence", pack(map[string]any{"a": 1}) + pack(map[string]any{"a": 2}), "a=1 a=2"},
		{"a tag", pack(cbor.Tag{Number: 55799, Content: map[string]any{"a": uint64(math.MaxUint64)}}), "a=1.8446744073709552e+19"},
		{"a time", pack(map[string]any{"t": cbor.Tag{Number: 1, Content: 1800000000}, "a": 1}), "a=1@1800000000000"},
		{"not finite", pack(map[string]any{"a": math.NaN(), "b": nil}), "!infinite or NaN(1) !null(1)"},
		{"bytes", pack(map[string]any{"a": []byte{1, 0xab}}), "a~01ab"},
		{"cut off", pack(map[string]any{"a": "long"})[:4], "!not valid CBOR(1)"},
	} {
		if got := decoded(Rule{Format: "cbor", LabelKeys: []string{"id"}, TimeKey: "t"}, "x", test.payload); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	if got := decoded(Rule{}, "x", pack(cbor.Tag{Number: 55799, Content: map[string]any{"a": 1}})); got != "a=1" {
		t.Errorf("CBOR that says so: %s", got)
	}
}

// metricOf writes a metric of Sparkplug. name and alias may be missing.
func metricOf(name string, alias int, kind uint64, field protowire.Number, v any) []byte {
	var m []byte
	if name != "" {
		m = protowire.AppendString(protowire.AppendTag(m, 1, protowire.BytesType), name)
	}
	if alias >= 0 {
		m = protowire.AppendVarint(protowire.AppendTag(m, 2, protowire.VarintType), uint64(alias))
	}
	if kind > 0 {
		m = protowire.AppendVarint(protowire.AppendTag(m, 4, protowire.VarintType), kind)
	}
	switch v := v.(type) {
	case float32:
		m = protowire.AppendFixed32(protowire.AppendTag(m, field, protowire.Fixed32Type), math.Float32bits(v))
	case float64:
		m = protowire.AppendFixed64(protowire.AppendTag(m, field, protowire.Fixed64Type), math.Float64bits(v))
	case uint64:
		m = protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), v)
	case string:
		m = protowire.AppendString(protowire.AppendTag(m, field, protowire.BytesType), v)
	}
	return m
}

func payloadOf(ms uint64, metrics ...[]byte) string {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), ms)
	for _, m := range metrics {
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), m)
	}
	return string(b)
}

func TestSparkplug(t *testing.T) {
	stale := fmt.Sprint(math.Float64frombits(promvalue.StaleNaN))
	k := run(t, Rules{}, func(_ *testing.T, d *Decoder, _ *keeper) {
		at := uint64(time.Now().UnixMilli())
		add(d, "spBv1.0/g/NDATA/n", payloadOf(at, metricOf("", 1, 0, fieldInt, uint64(7)))) // before any birth
		add(d, "spBv1.0/g/NBIRTH/n", payloadOf(at,
			metricOf("bdSeq", -1, 8, fieldLong, uint64(3)), metricOf("Node Control/Rebirth", 0, 11, fieldBool, uint64(0)), metricOf("temp", 1, 1, fieldInt, uint64(math.MaxUint32))))
		add(d, "spBv1.0/g/DBIRTH/n/d", payloadOf(at,
			metricOf("speed", 2, 9, fieldFloat, float32(1.5)), metricOf("state", 3, 12, fieldText, "idle"), metricOf("level", 4, 10, fieldDouble, nil)))
		add(d, "spBv1.0/g/NDATA/n", payloadOf(at+1, metricOf("", 1, 0, fieldInt, uint64(0xfffffffe))))
		add(d, "spBv1.0/g/DDATA/n/d", payloadOf(at+1, metricOf("", 2, 0, fieldFloat, float32(2.5)), metricOf("", 9, 0, fieldInt, uint64(1))))
		add(d, "spBv1.0/g/DCMD/n/d", payloadOf(at+1, metricOf("speed", -1, 9, fieldFloat, float32(9))))
		add(d, "spBv1.0/g/DDEATH/n/d", payloadOf(at-1000))
		add(d, "spBv1.0/g/NDEATH/n", payloadOf(at-1000, metricOf("bdSeq", -1, 8, fieldLong, uint64(3))))
	})
	want := []string{
		`bdSeq{group="g", node="n"} 3 @ 946684800000`,
		`Node_Control_Rebirth{group="g", node="n"} 0 @ 946684800000`,
		`temp{group="g", node="n"} -1 @ 946684800000`,
		`speed{device="d", group="g", node="n"} 1.5 @ 946684800000`,
		`temp{group="g", node="n"} -2 @ 946684800001`,
		`speed{device="d", group="g", node="n"} 2.5 @ 946684800001`,
		`speed{device="d", group="g", node="n"} ` + stale + ` @ 946684800000`,
	}
	if len(k.samples) != len(want)+4 {
		t.Fatalf("%d samples:\n%s", len(k.samples), strings.Join(k.samples, "\n"))
	}
	for i, w := range want {
		if k.samples[i] != w {
			t.Errorf("%s\nwant %s", k.samples[i], w)
		}
	}
	ended := strings.Join(k.samples[len(want):], "\n")
	for _, series := range []string{"bdSeq{", "Node_Control_Rebirth{", "temp{", "speed{"} {
		if !strings.Contains(ended, series) {
			t.Errorf("%s does not end with its node: %s", series, ended)
		}
	}
	if got := k.skipped(); got != "alias not known yet(2) left out(1) not a number(1) null(1)" {
		t.Errorf("skipped %s", got)
	}
}

// A death ends the series of a node whatever it has, also JSON.
func TestDeathInJSON(t *testing.T) {
	for topic, want := range map[string]string{
		"spBv1.0/g/NDEATH/n":   `ends{group="g", node="n"}`,
		"spBv1.0/g/DDEATH/n/d": `ends{device="d", group="g", node="n"}`,
	} {
		if got := decoded(Rule{}, topic, `{"timestamp":1800000000000,"metrics":[{"name":"bdSeq","value":1}]}`); got != want {
			t.Errorf("%s: %s, not %s", topic, got, want)
		}
	}
}
