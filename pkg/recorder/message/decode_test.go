package message

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/internal/memory"
)

// say writes what a message holds: field=value, then !reason for what is skipped.
func (c *content) say() string {
	var parts []string
	for i := range c.values {
		v := &c.values[i]
		field := string(c.field(v))
		if v.line {
			var tags []labels.Label
			if field, tags = lineParts(field); len(tags) > 0 {
				field += labels.New(tags...).String()
			}
		}
		text := fmt.Sprintf("%s=%v", field, v.v)
		if v.timed {
			text += fmt.Sprintf("@%d", v.t)
		}
		parts = append(parts, text)
	}
	if c.timed {
		parts = append(parts, fmt.Sprintf("@%d", c.t))
	}
	for _, s := range c.skips {
		parts = append(parts, fmt.Sprintf("!%s(%d)", s.reason, s.count))
	}
	return strings.Join(parts, " ")
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
		{"hexadecimal", "", "0x10", "!not a number(1)"},
		{"digits in groups", "", "1_000", "!not a number(1)"},
		{"a decimal comma", "", "21,5", "!not a number(1)"},
		{"a unit", "", "21.5 C", "!not a number(1)"},
		{"on", "", "ON", "=1"},
		{"off", "", "off", "=0"},
		{"true", "", "true", "=1"},
		{"closed", "number", "Closed", "=0"},
		{"another word", "", "idle", "!not a number(1)"},
		{"a sentence", "", "the quick brown fox", "!not a number(1)"},
		{"null", "", "null", "!null(1)"},
		{"nothing", "", "", "!empty message(1)"},
		{"only spaces", "", " \n", "!empty message(1)"},
		{"not UTF-8", "", "\xff\xfe\x00", "!not valid UTF-8(1)"},
		{"a byte order mark", "", "\ufeff1", "!not a number(1)"},

		{"an object", "", `{"temperature":21.5,"humidity":40}`, "temperature=21.5 humidity=40"},
		{"nested", "", `{"a":{"b":[1,{"c":2}]},"d":3}`, "a_b_0=1 a_b_1_c=2 d=3"},
		{"an array", "", `[1,2.5,[3]]`, "0=1 1=2.5 2_0=3"},
		{"a string", "", `"21.5"`, "=21.5"},
		{"sparse and of many types", "", `{"on":true,"state":"OFF","n":"7","text":"idle","gone":null,"e":{},"l":[]}`,
			"on=1 state=0 n=7 !not a number(1) !null(1)"},
		{"many of one reason", "", `{"a":null,"b":null,"c":1}`, "c=1 !null(2)"},
		{"numbers that are none", "", `{"a":1e400,"b":NaN,"c":1}`, "c=1 !infinite or NaN(2)"},
		{"as written", "", `{"a":0.1,"b":1.7976931348623157e308,"c":5e-324}`, "a=0.1 b=1.7976931348623157e+308 c=5e-324"},
		{"a key twice", "", `{"a":1,"a":2}`, "a=1 a=2"},
		{"an escaped key", "", `{"a\u0020b":1}`, "a b=1"},
		{"too deep", "", deep, "!nested too deep(1)"},
		{"much too deep", "", strings.Repeat("[", 5000), "!nested too deep(1)"},
		{"large and much too deep", "", strings.Repeat("[", 50000) + strings.Repeat("]", 50000), "!not valid JSON(1)"},
		{"a part too deep", "", `{"x":1,"y":` + deep + `}`, "x=1 !nested too deep(1)"},
		{"cut off", "", `{"a":1`, "!not valid JSON(1)"},
		{"more after it", "", `{"a":1} x`, "!not valid JSON(1)"},
		{"a long key", "", `{"` + strings.Repeat("k", 600) + `":1,"b":2}`, "b=2 !name too long(1)"},
		{"not the format", "number", `{"a":1}`, "!not a number(1)"},
		{"a number as JSON", "json", `5`, "=5"},
		{"a word as JSON", "json", `on`, "!not valid JSON(1)"},

		{"lines", "", "cpu,host=a,x-y=b usage=1.5,n=3i,ok=t 1800000000123456789\nmem value=2",
			`cpu_usage{host="a", x_y="b"}=1.5@1800000000123 cpu_n{host="a", x_y="b"}=3@1800000000123 cpu_ok{host="a", x_y="b"}=1@1800000000123 mem=2`},
		{"a bad line", "influx", "cpu value=1\nnonsense\nmem s=\"text\",v=2", "cpu=1 mem_v=2 !not a number(1) !not valid line protocol(1)"},
		{"like lines, but not", "", "it is = 5", "!not a number(1)"},
		{"not lines", "influx", "5", "!not valid line protocol(1)"},

		{"too large", "", strings.Repeat(" ", MaxPayload) + "1", "!larger than 1 MiB(1)"},
		{"as large as may be", "", strings.Repeat(" ", MaxPayload-1) + "1", "=1"},
		{"too many fields", "", "[" + strings.Repeat("null,", 5) + strings.Repeat("on,", 0) + "1]", "5=1 !null(5)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c content
			c.decode(formats[test.format], []byte(test.payload))
			if got := c.say(); got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
		})
	}
}

func TestManyFields(t *testing.T) {
	for n, want := range map[int]int{maxValues: maxValues, 2 * maxValues: maxValues, 2 * maxNodes: 0} {
		var c content
		c.decode(formatAuto, []byte("["+strings.Repeat("1,", n-1)+"1]"))
		if len(c.values) != want || n > maxValues && (len(c.skips) != 1 || c.skips[0].reason != tooManyFields) {
			t.Errorf("%d values of %d, skipped %.100v", len(c.values), n, c.skips)
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
		name, unit, payload, want string
	}{
		{"seconds", "", `{"t":1800000000,"v":1}`, "v=1 @1800000000000"},
		{"parts of a second", "", `{"t":1800000000.123,"v":1}`, "v=1 @1800000000123"},
		{"milliseconds", "", `{"v":1,"t":1800000000123}`, "v=1 @1800000000123"},
		{"microseconds", "", `{"t":1800000000123999,"v":1}`, "v=1 @1800000000123"},
		{"nanoseconds", "", `{"t":1800000000123000000,"v":1}`, "v=1 @1800000000123"},
		{"as text", "", `{"t":"1800000000123","v":1}`, "v=1 @1800000000123"},
		{"with an exponent", "", `{"t":1.8e9,"v":1}`, "v=1 @1800000000000"},
		{"RFC 3339", "", `{"t":"2027-01-15T08:00:00.123Z","v":1}`, "v=1 @1800000000123"},
		{"RFC 3339 with an offset", "ms", `{"t":"2027-01-15 09:00:00.123456+01:00","v":1}`, "v=1 @1800000000123"},
		{"a unit that is set", "ms", `{"t":5000,"v":1}`, "v=1 @5000"},
		{"in another unit", "ms", `{"t":1800000000123000000,"v":1}`, "!no valid time stamp(1)"},
		{"missing", "", `{"v":1}`, "!no valid time stamp(1)"},
		{"null", "", `{"t":null,"v":1}`, "!null(1) !no valid time stamp(1)"},
		{"nonsense", "", `{"t":"yesterday","v":1}`, "!no valid time stamp(1)"},
		{"negative", "", `{"t":-1,"v":1}`, "!no valid time stamp(1)"},
		{"beyond all", "", `{"t":1e300,"v":1}`, "!no valid time stamp(1)"},
		{"beyond all seconds", "s", `{"t":9223372036854775807,"v":1}`, "!no valid time stamp(1)"},
		{"not JSON", "", `5`, "!no valid time stamp(1)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := content{timeKey: "t", timeUnit: units[test.unit]}
			c.decode(formatAuto, []byte(test.payload))
			if got := c.say(); got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
		})
	}
	nested := content{timeKey: "meta_at_0"}
	nested.decode(formatJSON, []byte(`{"meta":{"at":[1800000000]},"v":1}`))
	if got := nested.say(); got != "v=1 @1800000000000" {
		t.Errorf("a nested key: %s", got)
	}
}

// FuzzDecode: whatever comes, values are finite and have their field, and what
// is not recorded has a reason.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "1", "on", "1e400", "NaN", "\xff", `{"a":{"b":[1,"x",null,true]},"t":1800000000}`, `{"t":"2027-01-15T08:00:00Z","v":1}`,
		"[[[[[[[[", `"\ud800"`, `{"a":1`, "cpu,host=a value=1i 1800000000000000000", "cpu value=1\nmem value=2", `{"\"":0}`, "{\"a\":\"\\u00", "- 1",
	} {
		for i := range len(formats) {
			f.Add(i, []byte(seed), "t", int64(0))
		}
		f.Add(0, []byte(seed), "", int64(1e6))
	}
	f.Fuzz(func(t *testing.T, kind int, payload []byte, timeKey string, unit int64) {
		switch unit {
		case 0, 1, 1e3, 1e6, 1e9:
		default:
			unit = 0
		}
		c := content{timeKey: timeKey, timeUnit: unit}
		before := string(payload)
		c.decode(format(uint(kind)%4), payload)
		if string(payload) != before {
			t.Fatal("the payload was changed")
		}
		for i := range c.values {
			v := &c.values[i]
			if math.IsNaN(v.v) || math.IsInf(v.v, 0) {
				t.Errorf("%s is %v", c.field(v), v.v)
			}
		}
		for _, s := range c.skips {
			if s.reason == "" || s.count == 0 {
				t.Errorf("skipped: %+v", s)
			}
		}
		if c.timed && (c.t < minTime || c.t > maxTime) {
			t.Errorf("the time is %d", c.t)
		}
		// Again into what is used already: the same.
		again := c
		again.decode(format(uint(kind)%4), payload)
		if a, b := c.say(), again.say(); a != b {
			t.Errorf("%s\nthen %s", a, b)
		}
	})
}
