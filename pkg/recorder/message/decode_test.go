package message

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/internal/memory"
)

// said writes what a message holds: field=value and its time, field~text, then
// !reason for what is skipped.
func (c *content) said() string {
	var parts []string
	for i := range c.values {
		v := &c.values[i]
		parts = append(parts, c.one(v.field, v.record, fmt.Sprintf("=%v", v.v)))
	}
	for i := range c.texts {
		t := &c.texts[i]
		parts = append(parts, c.one(t.field, t.record, "~"+string(c.span(t.text))))
	}
	for i := range c.records {
		if c.records[i].ends {
			parts = append(parts, "ends"+labels.New(parseLabels(c.span(c.records[i].labels))...).String())
		}
	}
	for _, s := range c.skips {
		parts = append(parts, fmt.Sprintf("!%s(%d)", s.reason, s.count))
	}
	return strings.Join(parts, " ")
}

func (c *content) one(field span, record int32, value string) string {
	r := &c.records[record]
	s := string(fieldName(c.span(field)))
	if r.labels.end > r.labels.begin {
		s += labels.New(parseLabels(c.span(r.labels))...).String()
	}
	s += value
	for ; !r.timed; r = &c.records[r.parent] {
		if r.parent < 0 {
			return s
		}
	}
	return s + fmt.Sprintf("@%d", r.t)
}

// decoded is what a message holds under a rule.
func decoded(r Rule, topic, payload string) string {
	var c content
	c.decode(r.ready("/", Version2), topic, []byte(payload))
	return c.said()
}

func TestDecode(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	for _, test := range []struct {
		name, format, payload, want string
	}{
		{"a number", "", "21.5", "=21.5"},
		{"spaces around it", "", " -7\r\n", "=-7"},
		{"an exponent", "", "1e3", "=1000"},
		{"a huge integer", "", "123456789012345678901234567890", "=1.2345678901234568e+29"},
		{"just over 2^53", "", "9007199254740993", "=9.007199254740992e+15"},
		{"too large for a float", "", "1e400", "!infinite or NaN(1)"},
		{"too small for a float", "", "1e-400", "=0"},
		{"NaN", "", "NaN", "!infinite or NaN(1)"},
		{"infinity", "", "-Infinity", "!infinite or NaN(1)"},
		{"hexadecimal", "", "0x10", "~0x10"},
		{"digits in groups", "", "1_000", "~1_000"},
		{"a decimal comma", "", "21,5", "~21,5"},
		{"a unit", "", "21.5 C", "~21.5 C"},
		{"on", "", "ON", "=1"},
		{"off", "", "off", "=0"},
		{"true", "", "true", "=1"},
		{"closed", "number", "Closed", "=0"},
		{"another word", "", "idle", "~idle"},
		{"a sentence", "", "the quick brown fox", "~the quick brown fox"},
		{"null", "", "null", "!null(1)"},
		{"nothing", "", "", "!empty message(1)"},
		{"only spaces", "", " \n", "!empty message(1)"},
		{"not UTF-8", "", "\xff\xfe\x00", "!binary(1)"},
		{"control characters", "", "\x08\x01", "!binary(1)"},
		{"a byte order mark", "", "\ufeff1", "=1"},
		{"a NUL at the end", "", "21.5\x00", "=21.5"},
		{"a NUL after JSON", "", "{\"a\":1}\x00\r\n", "a=1"},
		{"only NULs", "", "\x00\x00", "!empty message(1)"},
		{"not UTF-8 within JSON", "", "{\"a\":1,\"b\":\"K\xfcche\"}", "a=1 b~K\ufffdche"},
		{"no fields", "", "{}", "!empty message(1)"},
		{"an empty array", "", "[]", "!empty message(1)"},

		{"an object", "", `{"temperature":21.5,"humidity":40}`, "temperature=21.5 humidity=40"},
		{"nested", "", `{"a":{"b":[1,{"c":2}]},"d":3}`, "a_b_0=1 d=3 !objects in an array(1)"},
		{"an array", "", `[1,2.5,[3]]`, "0=1 1=2.5 2_0=3"},
		{"a string", "", `"21.5"`, "=21.5"},
		{"sparse and of many types", "", `{"on":true,"state":"OFF","n":"7","text":"idle","gone":null,"e":{},"l":[]}`,
			"on=1 state=0 n=7 text~idle !null(1)"},
		{"many of one reason", "", `{"a":null,"b":null,"c":1}`, "c=1 !null(2)"},
		{"numbers that are none", "", `{"a":1e400,"b":NaN,"c":1}`, "c=1 !infinite or NaN(2)"},
		{"as written", "", `{"a":0.1,"b":1.7976931348623157e308,"c":5e-324}`, "a=0.1 b=1.7976931348623157e+308 c=5e-324"},
		{"a key twice", "", `{"a":1,"a":2}`, "a=1 a=2"},
		{"an escaped key", "", `{"a\u0020b":1}`, "a b=1"},
		{"too deep", "", deep, "!nested too deep(1)"},
		{"much too deep", "", strings.Repeat("[", 5000), "!nested too deep(1)"},
		{"large and much too deep", "", strings.Repeat("[", 50000) + strings.Repeat("]", 50000), "!more than 10000 fields(1)"},
		{"a part too deep", "", `{"x":1,"y":` + deep + `}`, "x=1 !nested too deep(1)"},
		{"cut off", "", `{"a":1`, "!not valid JSON(1)"},
		{"more after it", "", `{"a":1} x`, "a=1 !not valid JSON(1)"},
		{"a long key", "", `{"` + strings.Repeat("k", 600) + `":1,"b":2}`, "b=2 !name too long(1)"},
		{"not the format", "number", `{"a":1}`, `~{"a":1}`},
		{"hexadecimal ids", "", `{"id":"12e4567","sn":"00158e33","uid":"1e5","v":"1.5e3","w":"1e-3","n":5e10}`,
			"v=1500 w=0.001 n=5e+10 id~12e4567 sn~00158e33 uid~1e5"},
		{"a hexadecimal id alone", "", "00158e33", "~00158e33"},
		{"several texts", "", "{\"a\":1}\n{\"a\":2}\r\n[3]", "a=1 a=2 0=3"},
		{"lines with a fault", "", "{\"a\":1}\n{\"b\"\n{\"c\":3}", "a=1 c=3 !not valid JSON(1)"},
		{"over several lines with a fault", "", "{\"inner\":\n{\"t\":1}\n,,}", "!not valid JSON(1)"},
		{"indented with a fault", "", "{\n\"a\": 1,\n\"b\":\n{\"t\": 1},\n\"c\"\n}", "!not valid JSON(1)"},
		{"one after another", "", `{"a":1}{"a":2} 3 "x"`, "a=1 a=2 =3 ~x"},
		{"a number as JSON", "json", `5`, "=5"},
		{"a word as JSON", "json", `on`, "!not valid JSON(1)"},

		{"lines", "", "cpu,host=a,x-y=b usage=1.5,n=3i,ok=t 1800000000123456789\nmem value=2",
			`cpu_usage{host="a", "x-y"="b"}=1.5@1800000000123 cpu_n{host="a", "x-y"="b"}=3@1800000000123 cpu_ok{host="a", "x-y"="b"}=1@1800000000123 mem=2`},
		{"a bad line", "influx", "cpu value=1\nnonsense\nmem s=\"text\",v=2", "cpu=1 mem_v=2 mem_s~text !not valid line protocol(1)"},
		{"like lines, but not", "", "it is = 5", "~it is = 5"},
		{"a log line", "", "error code=5", "~error code=5"},
		{"pairs", "", "pump=on speed=3", "~pump=on speed=3"},
		{"pairs with a semicolon", "", "t=21.6; h=41", "~t=21.6; h=41"},
		{"a level and a text", "", "level=info,msg=x code=5 1800000000", "~level=info,msg=x code=5 1800000000"},
		{"a colon", "", "info: code=5 1800000000", "~info: code=5 1800000000"},
		{"a line without tags", "", "weather temperature=82 1465839830100400200", "weather_temperature=82@1465839830100"},
		{"a line without tags and time", "influx", "weather temperature=82", "weather_temperature=82"},
		{"not lines", "influx", "5", "!not valid line protocol(1)"},

		{"too large", "", strings.Repeat(" ", MaxPayload) + "1", "!larger than 1 MiB(1)"},
		{"as large as may be", "", strings.Repeat(" ", MaxPayload-1) + "1", "=1"},
		{"too many fields", "", "[" + strings.Repeat("null,", 5) + strings.Repeat("on,", 0) + "1]", "5=1 !null(5)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := decoded(Rule{Format: test.format}, "x", test.payload); got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
		})
	}
}

// What a record has is not recorded without one of its labels, wherever that stands.
func TestLostLabels(t *testing.T) {
	long := strings.Repeat("x", maxLabel+1)
	for _, test := range []struct {
		name, payload string
		rule          Rule
		want          string
	}{
		{"before the value", `{"id":"` + long + `","v":1}`, Rule{LabelKeys: []string{"id"}}, "!name too long(1)"},
		{"after the value", "5 " + long, Rule{LabelKeys: []string{"id"}, Regexp: `(?P<v>\d+) (?P<id>\S+)`}, "!name too long(1)"},
		{"after a state", "on " + long, Rule{LabelKeys: []string{"id"}, Regexp: `(?P<v>\S+) (?P<id>\S+)`, States: []string{"v"}}, "!name too long(1)"},
		{"of one record of two", `[{"id":"a","v":1},{"id":"` + long + `","v":2}]`, Rule{LabelKeys: []string{"id"}}, `v{id="a"}=1 !name too long(1)`},
	} {
		if got := decoded(test.rule, "x", test.payload); got != test.want {
			t.Errorf("%s: %.200s, not %s", test.name, got, test.want)
		}
	}
	var payload strings.Builder
	fmt.Fprintf(&payload, `{"id":%q`, long[:maxLabel])
	for i := range 3000 {
		fmt.Fprintf(&payload, `,"a%d":{"id":"a","v":1}`, i)
	}
	got := decoded(Rule{LabelKeys: []string{"id"}}, "x", payload.String()+"}")
	if _, skipped, _ := strings.Cut(got, "!"); !strings.HasPrefix(skipped, tooManyNames) || strings.Contains(got, tooLong) {
		t.Errorf("skipped: %.200s", skipped)
	}
}

func TestManyFields(t *testing.T) {
	for n, want := range map[int]int{maxValues: maxValues, 2 * maxValues: maxValues, 2 * maxNodes: 0} {
		var c content
		for _, payload := range []string{"[" + strings.Repeat("1,", n-1) + "1]", "{" + strings.Repeat(`"a":1,`, n-1) + `"a":1}`} {
			c.decode(Rule{}.ready("/", 0), "x", []byte(payload))
			if len(c.values) != want || n > maxValues && (len(c.skips) != 1 || c.skips[0].reason != tooManyFields) {
				t.Errorf("%d values of %d in %.10s, skipped %.100v", len(c.values), n, payload, c.skips)
			}
		}
	}
}

// What is small on the way must not become large in memory: at most ten times the
// largest message.
func TestHostile(t *testing.T) {
	fill := func(first, part, last string) []byte {
		return []byte(first + strings.Repeat(part, (MaxPayload-len(first)-len(last))/len(part)) + last)
	}
	for name, payload := range map[string][]byte{
		"numbers":              fill("[", "1,", "1]"),
		"empty objects":        fill("[", "{},", "1]"),
		"empty arrays":         fill("[", "[],", "1]"),
		"fields without names": fill("{", `"":1,`, `"":1}`),
		"deep":                 fill("", "[", ""),
		"deep in turn":         fill("[", strings.Repeat("[", 30)+"1"+strings.Repeat("]", 30)+",", "1]"),
		"escaped":              fill(`["`, `\"`, `"]`),
		"long names":           fill(`{"`+strings.Repeat("x", 500)+`":{`, `"a":1,`, `"a":1}}`),
		"lines":                fill("", "a b=1\n", ""),
		"lines of fields":      fill("", "a "+strings.Repeat("b=1,", 1000)+"b=1\n", ""),
		"long tags":            fill("a,b="+strings.Repeat("x", 3000)+" b=1", ",b=1", ""),
		"many tags":            fill("a", ",b=c", " d=1"),
		"bad lines":            fill("a b=1\n", "a\n", ""),
		"quotation marks":      fill("a b=1\n", "\" w=\"\n", ""),
		"deep in a string":     []byte(`"` + strings.Repeat("[", maxNodes-1) + `"`),
		"deep in strings":      fill("", `"`+strings.Repeat("[", 400)+`" `, ""),
		"deep after a fault":   fill("{x\n", `{"a":`, ""),
		"deep lines":           fill("{}\nx\n", strings.Repeat("[", 16<<10-1)+"\n", ""),
		"short deep lines":     fill("{}\nx\n", strings.Repeat("[", 310)+"\n", ""),
		"lines with a word":    fill("{}\nx\n", strings.Repeat("[", 290)+"x"+strings.Repeat(" ", 15<<10)+"x\n", ""),
		"lines with faults":    fill("{}\nx\n", "{\n", ""),
		"lines with nothing":   fill("{}\nx\n", "\n", ""),
	} {
		t.Run(name, func(t *testing.T) {
			d := New(Rules{}, "/", &keeper{})
			used := memory.Peak(func() { d.Add("x", payload, time.Now(), false, nil) })
			t.Logf("%d MiB, %d samples, skipped %v", used>>20, len(d.pending.samples), d.pending.skipped)
			if used > 10*MaxPayload {
				t.Errorf("it took %d MiB", used>>20)
			}
		})
	}
}

func TestTimeKey(t *testing.T) {
	for _, test := range []struct {
		name    string
		rule    Rule
		payload string
		want    string
	}{
		{"seconds", Rule{}, `{"t":1800000000,"v":1}`, "v=1@1800000000000"},
		{"parts of a second", Rule{}, `{"t":1800000000.123,"v":1}`, "v=1@1800000000123"},
		{"milliseconds", Rule{}, `{"v":1,"t":1800000000123}`, "v=1@1800000000123"},
		{"microseconds", Rule{}, `{"t":1800000000123999,"v":1}`, "v=1@1800000000123"},
		{"nanoseconds", Rule{}, `{"t":1800000000123000000,"v":1}`, "v=1@1800000000123"},
		{"as text", Rule{}, `{"t":"1800000000123","v":1}`, "v=1@1800000000123"},
		{"with an exponent", Rule{}, `{"t":1.8e9,"v":1}`, "v=1@1800000000000"},
		{"RFC 3339", Rule{}, `{"t":"2027-01-15T08:00:00.123Z","v":1}`, "v=1@1800000000123"},
		{"with an offset", Rule{TimeUnit: "ms"}, `{"t":"2027-01-15 09:00:00.123456+01:00","v":1}`, "v=1@1800000000123"},
		{"without a colon", Rule{}, `{"t":"2027-01-15T09:00:00.123+0100","v":1}`, "v=1@1800000000123"},
		{"an offset of hours", Rule{}, `{"t":"2027-01-15 09:00:00 +01","v":1}`, "v=1@1800000000000"},
		{"minutes", Rule{}, `{"t":"2027-01-15T08:00Z","v":1}`, "v=1@1800000000000"},
		{"a comma", Rule{}, `{"t":"2027-01-15T08:00:00,123Z","v":1}`, "v=1@1800000000123"},
		{"basic ISO 8601", Rule{}, `{"t":"20270115T080000Z","v":1}`, "v=1@1800000000000"},
		{"a zone as a word", Rule{}, `{"t":"2027-01-15 08:00:00 UTC","v":1}`, "v=1@1800000000000"},
		{"no zone", Rule{}, `{"t":"2027-01-15T08:00:00.5","v":1}`, "v=1@1800000000500"},
		{"in a zone", Rule{TimeZone: "Europe/Berlin"}, `{"t":"2027-01-15 09:00:00","v":1}`, "v=1@1800000000000"},
		{"in a zone in summer", Rule{TimeZone: "Europe/Berlin"}, `{"t":"2026-07-15T10:00","v":1}`, "v=1@1784102400000"},
		{"its own zone", Rule{TimeZone: "Europe/Berlin"}, `{"t":"2027-01-15T08:00:00Z","v":1}`, "v=1@1800000000000"},
		{"RFC 1123", Rule{}, `{"t":"Fri, 15 Jan 2027 08:00:00 GMT","v":1}`, "v=1@1800000000000"},
		{"RFC 1123 with an offset", Rule{}, `{"t":"Fri, 15 Jan 2027 09:00:00 +0100","v":1}`, "v=1@1800000000000"},
		{"a zone that is a name", Rule{}, `{"t":"2027-01-15 09:00:00 CET","v":1}`, "v=1"},
		{"a layout", Rule{TimeLayout: "2006-01-02-15:04:05"}, `{"t":"2027-01-15-08:00:00","v":1}`, "v=1@1800000000000"},
		{"a layout in a zone", Rule{TimeLayout: "02.01.2006 15:04", TimeZone: "Asia/Tokyo"}, `{"t":"15.01.2027 17:00","v":1}`, "v=1@1800000000000"},
		{"a layout of digits", Rule{TimeLayout: "20060102150405"}, `{"t":20270115080000,"v":1}`, "v=1@1800000000000"},
		{"not the layout", Rule{TimeLayout: "2006-01-02-15:04:05"}, `{"t":"2027-01-15 08:00:00","v":1}`, "v=1"},
		{"a unit that is set", Rule{TimeUnit: "ms"}, `{"t":5000,"v":1}`, "v=1@5000"},
		{"in another unit", Rule{TimeUnit: "ms"}, `{"t":1800000000123000000,"v":1}`, "v=1"},
		{"missing", Rule{}, `{"v":1}`, "v=1"},
		{"null", Rule{}, `{"t":null,"v":1}`, "v=1 !null(1)"},
		{"nonsense", Rule{}, `{"t":"yesterday","v":1}`, "v=1"},
		{"negative", Rule{}, `{"t":-1,"v":1}`, "v=1"},
		{"so negative that it overflows", Rule{}, `{"t":-9223372036854775808,"v":1}`, "v=1"},
		{"beyond all", Rule{}, `{"t":1e300,"v":1}`, "v=1"},
		{"beyond all seconds", Rule{TimeUnit: "s"}, `{"t":9223372036854775807,"v":1}`, "v=1"},
		{"nested", Rule{TimeKey: "meta_at_0"}, `{"meta":{"at":[1800000000]},"v":1}`, "v=1@1800000000000"},
		{"with dots", Rule{TimeKey: "meta.at"}, `{"meta":{"at":1800000000},"v":1}`, "v=1@1800000000000"},
		{"a key with a dot", Rule{TimeKey: "meta.at"}, `{"meta.at":1800000000,"v":1}`, "v=1@1800000000000"},
		{"of each record", Rule{}, `[{"t":1800000000,"v":1},{"t":1800000001,"v":2}]`, "v=1@1800000000000 v=2@1800000001000"},
		{"the hour 24 when clocks change", Rule{TimeZone: "Europe/Berlin"}, `{"t":"2026-03-29T24:00:00","v":1}`, "v=1@1774821600000"},
		{"of what records are in", Rule{Each: "of"}, `{"t":1800000000,"of":[{"v":1},{"t":1800000001,"v":2}]}`, "v=1@1800000000000 v=2@1800000001000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.rule.TimeKey == "" {
				test.rule.TimeKey = "t"
			}
			if err := test.rule.check("rules", 0); err != nil {
				t.Fatal(err)
			}
			if got := decoded(test.rule, "x", test.payload); got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
		})
	}
}

// What decimal reads is what ParseFloat reads.
func FuzzDecimal(f *testing.F) {
	for _, text := range []string{
		"", "-", ".", "-.", "0", "-0", "-0.0", "21.57", "-40.2", ".5", "5.", "1.2.3", "007", "+1", "1e3", "0x1", "1_000", "--1", "1-",
		"0.1", "0.30000000000000004", "123456789012345", "1234567890123456", "9007199254740993", "0.0000000000001", "99999999.999999", "-12345678.123456",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, ok := decimal([]byte(text))
		want, err := strconv.ParseFloat(text, 64)
		if ok && (err != nil || math.Float64bits(v) != math.Float64bits(want)) {
			t.Errorf("%q is %v, and not %v, %v", text, v, want, err)
		}
	})
}

// What flat reads is what the parser reads.
func FuzzFlat(f *testing.F) {
	for _, text := range []string{
		`{}`, `{ }`, `{`, `{}x`, `{"a":1}`, ` {"a":1}`, `{"a":1} `, "{\r\n\t\"a\" :\n1 , \"b\": -2.5}", `{"a":1,}`, `{,}`, `{"a":1,,"b":2}`, `{"a":1"b":2}`, `{"a" 1}`, `{"a":}`, `{a:1}`,
		`{"a":"21.5"}`, `{"a":" 1 "}`, `{"a":"on","b":true,"c":false,"d":null}`, `{"a":truex}`, `{"a":tru`, `{"a":nullnull}`, `{"a":"`, `{"a`, `{"a":"x\"y"}`, `{"a\u0062":1}`, `{"":1}`, `{"a.b":1}`,
		`{"a":1e5}`, `{"a":1.5E-3}`, `{"a":+1}`, `{"a":01}`, `{"a":.5}`, `{"a":5.}`, `{"a":-}`, `{"a":1.2.3}`, `{"a":1-2}`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":12345678901234567890}`,
		`{"a":1,"a":2}`, `{"t":1800000000,"a":1}`, `{"t":"2027-01-15T08:00:00Z","a":1}`, `{"t":"then","a":1}`, `{"a":"admin_off"}`, `{"mode":"auto","on":"yes"}`, `{"ä":1,"b":"é"}`, "{\"a\":\"\x01\"}", `{"a":1}{`,
	} {
		f.Add([]byte(text))
	}
	rules := []Rule{{}, {TimeKey: "t"}, {States: []string{"*"}}, {States: []string{"mode"}, Words: map[string]float64{"auto": 7}, Ends: []string{"true", "bye"}}, {Regexp: `(?P<a>[0-9.]+)`}, {Format: "json"}, {Each: "*"}, {Each: "a.*"}, {Format: "thingsboard"}}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 || text[0] != '{' || !utf8.Valid(text) || len(text) > 16<<10 {
			return
		}
		for i, r := range rules {
			for _, version := range []int{Version1, Version3, Version4} {
				rule := r.ready("/", version)
				var flat, parsed content
				flat.reset(rule, "topic")
				if !flat.flat(text) {
					continue
				}
				parsed.reset(rule, "topic")
				parsed.parsed(text, true)
				if flat.said() != parsed.said() || flat.departed != parsed.departed || len(flat.path) != len(parsed.path) {
					t.Errorf("rule %d, version %d: flat reads\n%s\nand the parser\n%s", i, version, flat.said(), parsed.said())
				}
			}
		}
	})
}

// FuzzDecode: whatever comes under whatever rule, values are finite and have their
// record, what is not recorded has a reason, and the payload stays as it is.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "1", "on", "1e400", "NaN", "\xff", `{"a":{"b":[1,"x",null,true]},"t":1800000000}`, `{"t":"2027-01-15T08:00:00Z","v":1}`,
		"[[[[[[[[", `"\ud800"`, `{"a":1`, "cpu,host=a value=1i 1800000000000000000", "cpu value=1\nmem value=2", `{"\"":0}`, "{\"a\":\"\\u00", "- 1",
		`[{"id":"a","tags":{"x":1},"v":1},{"id":true,"v":2}] {}`, `{"metrics":[{"name":"a","tags":{"b":"c"},"fields":{"d":1},"timestamp":1}]}`,
		`{"D":[{"ts":1,"values":{"a":1}}]}`, `{"timestamp":1,"values":[{"id":"a","v":1,"q":true,"t":1}]}`, "\xd9\xd9\xf7\xa1aa\x01", "\x1f\x8b\x08",
		"\x08\x01\x12\x0b\x0a\x04temp\x20\x09\x18\x05", "21,5 °C",
	} {
		for i := range len(formats) {
			f.Add(i, []byte(seed), "spBv1.0/g/DDATA/n/d", "t", "id", "tags.*", "data", `(?P<a>[0-9,]+)`)
		}
		f.Add(0, []byte(seed), "x", "", "", "", "", "")
	}
	f.Fuzz(func(t *testing.T, kind int, payload []byte, topic, timeKey, label, labels, each, re string) {
		names := slices.Sorted(maps.Keys(formats))
		r := Rule{Format: names[uint(kind)%uint(len(names))], TimeKey: timeKey, Each: each, Regexp: re}
		for _, key := range []string{label, labels} {
			if key != "" {
				r.LabelKeys = append(r.LabelKeys, key)
			}
		}
		if r.Format == "influx" || r.Format == "number" {
			r.TimeKey = ""
		}
		if r.check("rules", 0) != nil {
			return
		}
		var c content
		before := string(payload)
		c.decode(r.ready("/", 0), topic, payload)
		if string(payload) != before {
			t.Fatal("the payload was changed")
		}
		for i := range c.values {
			v := &c.values[i]
			if math.IsNaN(v.v) || math.IsInf(v.v, 0) {
				t.Errorf("%s is %v", c.span(v.field), v.v)
			}
			if !c.records[v.record].filled {
				t.Errorf("%s is in a record without numbers", c.span(v.field))
			}
		}
		for i, r := range c.records {
			if int(r.parent) >= i {
				t.Errorf("record %d is in %d", i, r.parent)
			}
			if r.timed && (r.t < minTime || r.t > maxTime) && !c.keyless {
				t.Errorf("the time is %d", r.t)
			}
		}
		for _, s := range c.skips {
			if s.reason == "" || s.count == 0 {
				t.Errorf("skipped: %+v", s)
			}
		}
		// Again into what is used already: the same.
		if !isSparkplug(topic) {
			said := c.said()
			if c.decode(r.ready("/", 0), topic, payload); c.said() != said {
				t.Errorf("%s\nthen %s", said, c.said())
			}
		}
	})
}
