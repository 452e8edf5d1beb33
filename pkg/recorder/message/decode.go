package message

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/valyala/fastjson"
)

// Why something was not recorded.
const (
	notANumber    = "not a number"
	isNull        = "null"
	notFinite     = "infinite or NaN"
	notUTF8       = "not valid UTF-8"
	notJSON       = "not valid JSON"
	notLines      = "not valid line protocol"
	isEmpty       = "empty message"
	tooLarge      = "larger than 1 MiB"
	tooDeep       = "nested too deep"
	tooManyFields = "more than 10000 fields"
	tooLong       = "name too long"
	noName        = "no usable name"
	noTime        = "no valid time stamp"
	notInPattern  = "does not fit the pattern"
	tooMany       = "too many series"
	sameName      = "same series twice in a message"
)

// MaxPayload is how large a message may be to be recorded, in bytes.
const MaxPayload = 1 << 20

const (
	maxDepth  = 32      // of JSON
	maxName   = 512     // bytes of a flattened field
	maxValues = 10_000  // of one message
	maxNames  = 2 << 20 // bytes of all fields of one message, with their tags
	// maxNodes is how many values, objects and arrays a JSON text may have. Each
	// takes a hundred bytes, where two can be enough for one in the text.
	maxNodes = 40_000
)

type format int

const (
	formatAuto format = iota
	formatNumber
	formatJSON
	formatInflux
)

var formats = map[string]format{
	"": formatAuto, "auto": formatAuto, "number": formatNumber, "json": formatJSON, "influx": formatInflux,
}

// units are nanoseconds, 0 for by magnitude.
var units = map[string]int64{
	"": 0, "auto": 0, "s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1,
}

// words stand for 1 and 0, in any case.
var words = map[string]float64{
	"on": 1, "true": 1, "yes": 1, "open": 1, "online": 1,
	"off": 0, "false": 0, "no": 0, "closed": 0, "offline": 0,
}

// longestWord bounds what is looked up in words.
const longestWord = 7

// content is what a message holds. It is used again for the next one.
type content struct {
	values []value
	names  []byte // the fields of values, one after another
	skips  []skip
	t      int64 // ms, if timed
	timed  bool

	timeKey  string
	timeUnit int64

	parser fastjson.Parser
	path   []byte
	raw    []byte
}

// value is one number of a message.
type value struct {
	begin, end int // of the field in names
	v          float64

	// of line protocol
	line  bool
	t     int64 // ms, if timed
	timed bool
}

// skip is what of a message is not recorded for one reason.
type skip struct {
	reason      string
	count       uint64
	field, text string // of the first
}

func (c *content) field(v *value) []byte { return c.names[v.begin:v.end] }

func (c *content) add(field []byte, v float64) {
	if len(c.values) >= maxValues || len(c.names)+len(field) > maxNames {
		c.skip(tooManyFields, field, nil)
		return
	}
	begin := len(c.names)
	c.names = append(c.names, field...)
	c.values = append(c.values, value{begin: begin, end: len(c.names), v: v})
}

// skip notes a part that is not recorded.
func (c *content) skip(reason string, field, text []byte) {
	c.skips = skipped(c.skips, reason, 1, field, text)
}

func skipped(skips []skip, reason string, count uint64, field, text []byte) []skip {
	for i := range skips {
		if skips[i].reason == reason {
			skips[i].count += count
			return skips
		}
	}
	return append(skips, skip{reason, count, example(field), example(text)})
}

func example(b []byte) string { return string(b[:min(len(b), 1000)]) }

// decode reads a message. It keeps nothing of payload.
func (c *content) decode(f format, payload []byte) {
	c.values, c.names, c.skips, c.timed = c.values[:0], c.names[:0], c.skips[:0], false
	switch {
	case len(payload) > MaxPayload:
		c.skip(tooLarge, nil, payload)
		return
	case !utf8.Valid(payload):
		c.skip(notUTF8, nil, payload)
		return
	}
	text := bytes.TrimSpace(payload)
	if len(text) == 0 {
		c.skip(isEmpty, nil, nil)
		return
	}
	guessed := f == formatAuto
	if guessed {
		f = guess(text)
	}
	switch f {
	case formatJSON:
		c.json(text)
	case formatInflux:
		c.lines(text)
		if guessed && len(c.values) == 0 {
			c.skips = c.skips[:0]
			c.skip(notANumber, nil, text)
		}
	default:
		c.text(nil, text)
	}
	if c.timeKey != "" && !c.timed && f != formatInflux && len(c.values) > 0 {
		c.values = c.values[:0]
		c.skip(noTime, []byte(c.timeKey), text)
	}
}

// guess tells the format of a text that is not empty.
func guess(text []byte) format {
	switch text[0] {
	case '{', '[', '"':
		return formatJSON
	}
	if _, reason := number(text); reason == notANumber && looksLikeLines(text) {
		return formatInflux
	}
	return formatNumber
}

func (c *content) text(field, text []byte) {
	switch v, reason := number(text); {
	case reason == "":
		c.add(field, v)
	case string(text) == "null":
		c.skip(isNull, field, nil)
	default:
		c.skip(reason, field, text)
	}
}

// number reads a number or a word, or says why not.
func number(text []byte) (float64, string) {
	if len(text) == 0 {
		return 0, notANumber
	}
	for _, c := range text {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return word(text) // not all that ParseFloat takes is a number here
		}
	}
	v, err := strconv.ParseFloat(string(text), 64)
	switch {
	case math.IsInf(v, 0):
		return 0, notFinite
	case err != nil:
		return 0, notANumber
	}
	return v, ""
}

func word(text []byte) (float64, string) {
	if len(text) > longestWord+2 {
		return 0, notANumber
	}
	lower := strings.ToLower(string(text))
	if v, ok := words[lower]; ok {
		return v, ""
	}
	switch strings.TrimLeft(lower, "+-") {
	case "nan", "inf", "infinity":
		return 0, notFinite
	}
	return 0, notANumber
}

// json reads a JSON text.
func (c *content) json(text []byte) {
	parser := &c.parser
	if len(text) > 16<<10 {
		// The parser keeps memory for the largest it has seen, and its errors
		// repeat what follows at each level.
		parser = &fastjson.Parser{}
		switch {
		case !json.Valid(text):
			c.skip(notJSON, nil, text)
			return
		case nodes(text) > maxNodes:
			c.skip(tooManyFields, nil, text)
			return
		}
	}
	v, err := parser.ParseBytes(text)
	if err != nil {
		if strings.Contains(err.Error(), "too big depth") {
			c.skip(tooDeep, nil, text)
		} else {
			c.skip(notJSON, nil, text)
		}
		return
	}
	c.path = c.path[:0]
	c.flatten(v, 0)
}

// nodes returns at least how many values, objects and arrays there are in a valid
// JSON text.
func nodes(text []byte) int {
	n, quoted := 1, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++ // only within a string
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == '[' || c == '{'):
			n++
		}
	}
	return n
}

func (c *content) flatten(v *fastjson.Value, depth int) {
	if depth > maxDepth {
		c.skip(tooDeep, c.path, nil)
		return
	}
	if len(c.path) > maxName {
		c.skip(tooLong, c.path, nil)
		return
	}
	isTime := c.timeKey != "" && string(c.path) == c.timeKey
	switch v.Type() {
	case fastjson.TypeObject:
		o, _ := v.Object() // of the type it is
		before := len(c.path)
		o.Visit(func(key []byte, v *fastjson.Value) {
			c.path = c.path[:before]
			if depth > 0 {
				c.path = append(c.path, '_')
			}
			c.path = append(c.path, key...)
			c.flatten(v, depth+1)
		})
		c.path = c.path[:before]
	case fastjson.TypeArray:
		a, _ := v.Array()
		before := len(c.path)
		for i, v := range a {
			c.path = c.path[:before]
			if depth > 0 {
				c.path = append(c.path, '_')
			}
			c.path = strconv.AppendInt(c.path, int64(i), 10)
			c.flatten(v, depth+1)
		}
		c.path = c.path[:before]
	case fastjson.TypeNumber:
		// The number as it is written: the parser's own floats are not rounded
		// as the standard wants it.
		c.raw = v.MarshalTo(c.raw[:0])
		if isTime {
			c.stamp(c.raw)
		} else {
			c.text(c.path, c.raw)
		}
	case fastjson.TypeString:
		s, _ := v.StringBytes()
		switch {
		case isTime:
			c.stamp(s)
		default:
			c.text(c.path, bytes.TrimSpace(s))
		}
	case fastjson.TypeTrue:
		c.add(c.path, 1)
	case fastjson.TypeFalse:
		c.add(c.path, 0)
	case fastjson.TypeNull:
		c.skip(isNull, c.path, nil)
	}
}

func (c *content) stamp(text []byte) {
	if t, ok := timestamp(text, c.timeUnit); ok {
		c.t, c.timed = t, true
	}
}

// The years that a time stamp may be in, as Unix milliseconds. Others are in
// another unit than was thought, or nonsense.
const (
	minTime = 0             // 1970
	maxTime = 7258118400000 // 2200
)

// timestamp reads a time stamp and returns Unix milliseconds.
func timestamp(text []byte, unit int64) (int64, bool) {
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		// Nanoseconds do not fit into a float64.
		if unit == 0 {
			unit = magnitude(float64(n))
		}
		if unit == 1e9 {
			if n > maxTime/1000 {
				return 0, false
			}
			n *= 1000
		} else {
			n /= 1e6 / unit
		}
		return n, n >= minTime && n <= maxTime
	}
	if v, reason := number(text); reason == "" {
		if unit == 0 {
			unit = magnitude(v)
		}
		ms := math.Round(v * float64(unit) / 1e6)
		return int64(ms), ms >= minTime && ms <= maxTime
	}
	t, err := time.Parse(time.RFC3339Nano, strings.Replace(string(text), " ", "T", 1))
	if err != nil {
		return 0, false
	}
	ms := t.UnixMilli()
	return ms, ms >= minTime && ms <= maxTime
}

// magnitude guesses the unit of a time stamp: seconds up to the year 5138,
// milliseconds from 1973 on, and so on.
func magnitude(v float64) int64 {
	switch {
	case v < 1e11:
		return 1e9
	case v < 1e14:
		return 1e6
	case v < 1e17:
		return 1e3
	}
	return 1
}
