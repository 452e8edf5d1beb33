package message

import (
	"bytes"
	"slices"
	"strings"

	"github.com/valyala/fastjson"
)

// json reads JSON texts, one after another.
//
// Objects within objects are flattened: {"a":{"b":[1,2]}} has the fields a_b_0 and
// a_b_1. An object with label keys is a record of its own. So is each object of an
// array, if the array is the whole message or the rule names it in Each. Objects in
// other arrays are not recorded, because a position does not say what an object is.
//
// A line with a fault costs no other line, if each line is an object. Commas before a
// closing bracket are passed over, and Infinity is like NaN: senders that make JSON by
// hand, or in Python, write them.
func (c *content) json(text []byte) {
	nested := text[0] != '{' || bytes.IndexByte(text[1:], '{') >= 0 || bytes.IndexByte(text, '[') >= 0
	if !nested && len(c.rule.labelKeys) == 0 && len(text) <= smallText {
		if c.flat(text) {
			return
		}
		c.restart()
	}
	c.parsed(text, nested)
}

// parsed reads JSON texts with a parser. nested says that they may have objects within
// objects or arrays.
func (c *content) parsed(text []byte, nested bool) {
	shaped := c.rule.format != formatAuto || nested && c.mayBeKnown(text)
	_, reason := c.units(text, 0, shaped)
	if reason != notJSON {
		if reason != "" {
			c.skip(reason, nil, text)
		}
		return
	}
	c.restart() // for all that was read before the fault
	text = bytes.TrimSpace(repaired(text))
	lines := slices.Values([][]byte{text})
	// Lines of a text that is written over several lines are not read by themselves:
	// what they say would get other names.
	if first, _, several := bytes.Cut(text, []byte("\n")); several && isObject(first) {
		lines = bytes.SplitSeq(text, []byte("\n"))
	}
	unit := int32(0)
	for line := range lines {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		reason := notJSON
		if c.wasted <= maxWasted {
			unit, reason = c.units(line, unit, shaped)
		}
		if reason != "" {
			c.skip(reason, nil, line)
		}
	}
}

// smallText is the length in bytes up to which a JSON text is read without counting
// first what it has.
const smallText = 16 << 10

// maxWasted is how many bytes of the parser's errors one message may cost. Each level
// of JSON makes a new error from that of the level within it.
const maxWasted = 64 << 20

// waste counts what an error of the parser has cost.
func (c *content) waste(err error) {
	c.wasted += len(err.Error()) * (1 + strings.Count(err.Error(), "cannot parse"))
}

// units reads JSON texts as the units from first on. It returns the next one, and the
// reason why the rest of the texts cannot be read.
func (c *content) units(text []byte, first int32, shaped bool) (next int32, reason string) {
	scanner := &c.scanner
	if len(text) > smallText {
		// A scanner keeps the memory that its largest text took, so a large one gets
		// its own.
		scanner = &fastjson.Scanner{}
		switch n, ok := nodes(text); {
		case n > maxNodes:
			return first, tooManyFields
		case !ok:
			return first, notJSON
		}
	}
	scanner.InitBytes(text)
	unit := first
	for ; scanner.Next(); unit++ {
		if unit > 0 && !c.begin(-1, unit) {
			return unit, ""
		}
		c.path, c.start, c.base = c.path[:0], 0, 0
		c.root(scanner.Value(), shaped)
	}
	err := scanner.Error()
	if err == nil {
		return unit, ""
	}
	c.waste(err)
	if strings.Contains(err.Error(), "too big depth") {
		return unit, tooDeep
	}
	return unit, notJSON
}

// isObject reports whether a text is one JSON object.
func isObject(text []byte) bool {
	if len(text) == 0 || text[0] != '{' {
		return false
	}
	if n, ok := nodes(text); !ok || n > maxNodes {
		return false
	}
	_, err := fastjson.ParseBytes(text)
	return err == nil
}

// repaired returns a text with what JSON does not allow, but whose meaning is clear, as
// JSON has it: without commas before a closing bracket, with inf for Infinity, and with
// line breaks for the separators of RFC 7464.
func repaired(text []byte) []byte {
	made := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			end := i + 1
			for end < len(text) && text[end] != '"' {
				if text[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end, len(text)-1)
			made = append(made, text[i:end+1]...)
			i = end
		case c == recordSeparator:
			made = append(made, '\n')
		case c == ']' || c == '}':
			if kept := bytes.TrimRight(made, " \t\r\n"); len(kept) > 0 && kept[len(kept)-1] == ',' {
				made = kept[:len(kept)-1]
			}
			made = append(made, c)
		case len(text)-i >= len(infinity) && bytes.EqualFold(text[i:i+len(infinity)], infinity):
			made = append(made, "inf"...)
			i += len(infinity) - 1
		default:
			made = append(made, c)
		}
	}
	return made
}

// recordSeparator separates JSON texts in RFC 7464 and in SignalR.
const recordSeparator = 0x1E

var infinity = []byte("infinity")

// mayBeKnown reports whether a JSON text may have one of the shapes of known.
func (c *content) mayBeKnown(text []byte) bool {
	return bytes.Contains(text, []byte(`"values"`)) || bytes.Contains(text, []byte(`"fields"`)) || isGateway(c.from)
}

// nodes returns the least number of values, objects and arrays that a JSON text has.
// ok is false if there is a word that JSON does not know: the parser's error would
// repeat all the text after it, once per level.
func nodes(text []byte) (n int, ok bool) {
	n = 1
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case c == ',' || c == '[' || c == '{':
			n++
		case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
			end := i
			for end < len(text) && (text[end]|0x20 >= 'a' && text[end]|0x20 <= 'z') {
				end++
			}
			switch word := string(text[i:end]); {
			case len(word) > len("infinity"):
				return n, false
			case word == "true", word == "false", word == "null", word == "e", word == "E":
			case strings.EqualFold(word, "nan"), strings.EqualFold(word, "inf"), strings.EqualFold(word, "infinity"):
			default:
				return n, false
			}
			i = end - 1
		}
	}
	return n, true
}

// root reads a whole JSON text. shaped says that it may have one of the shapes of
// known.
func (c *content) root(v *fastjson.Value, shaped bool) {
	if c.rule.version == Version1 {
		c.walk(v, 0)
		return
	}
	objects := v.Type() == fastjson.TypeArray && len(v.GetArray()) > 0 && v.GetArray()[0].Type() == fastjson.TypeObject
	switch {
	case (shaped || objects && c.rule.version >= Version4) && c.known(v):
		c.shaped = true
	case objects:
		c.each(v.GetArray(), 0, c.eachOn)
	default:
		if inner := c.within(v); inner != nil {
			c.root(inner, true)
			return
		}
		c.walk(v, 0)
	}
}

// within returns the JSON in a string that somebody made JSON of once more, nil if v is
// anything else.
func (c *content) within(v *fastjson.Value) *fastjson.Value {
	if c.rule.version < Version4 || v.Type() != fastjson.TypeString || c.wasted > maxWasted {
		return nil
	}
	s := bytes.TrimSpace(v.GetStringBytes())
	if len(s) == 0 || s[0] != '{' && s[0] != '[' {
		return nil
	}
	if n, ok := nodes(s); !ok || n > maxNodes {
		return nil
	}
	inner, err := fastjson.ParseBytes(s)
	if err != nil {
		c.waste(err)
		return nil
	}
	return inner
}

// each reads the objects of an array as records. all may be a single object. on is how
// many parts of the rule's each have led to them.
func (c *content) each(all []*fastjson.Value, depth, on int) {
	parent, path, start, base, before := c.rec, len(c.path), c.start, c.base, c.eachOn
	c.start, c.base, c.eachOn = path, path, on
	unit := c.records[parent].unit
	for i, v := range all {
		c.path = c.path[:path]
		if v.Type() != fastjson.TypeObject {
			c.rec = parent
			c.underIndex(i)
		} else if !c.begin(parent, unit) {
			break
		}
		c.walk(v, depth+1)
	}
	c.rec, c.path, c.start, c.base, c.eachOn = parent, c.path[:path], start, base, before
}

// reaches reports whether path leads to what the rule's each names, or to an array on
// the way there, and how many parts have led there.
func (c *content) reaches() (on int, ok bool) {
	e := c.rule.each
	for to := e.parts; to > c.eachOn; to-- {
		if c.atKey(e.keys[c.eachOn][to]) {
			return to, true
		}
	}
	return 0, e.parts == 0 && c.eachOn == 0 && len(c.field()) == 0
}

func (c *content) walk(v *fastjson.Value, depth int) {
	if depth > maxDepth {
		c.skip(tooDeep, c.field(), nil)
		return
	}
	if len(c.field()) > maxName {
		c.skip(tooLong, c.field(), nil)
		return
	}
	switch v.Type() {
	case fastjson.TypeObject:
		members := false
		if e := c.rule.each; e != nil {
			switch on, ok := c.reaches(); {
			case !ok || on < e.parts:
			case e.members:
				members = true
			default:
				c.each([]*fastjson.Value{v}, depth, 0)
				return
			}
		}
		c.object(v, depth, members)
	case fastjson.TypeArray:
		c.array(v.GetArray(), depth)
	case fastjson.TypeNumber:
		// As it is written: fastjson does not round floats correctly.
		c.raw = v.MarshalTo(c.raw[:0])
		c.leaf(fastjson.TypeNumber, c.raw)
	default:
		c.leaf(v.Type(), v.GetStringBytes())
	}
}

// leaf adds the value at path, which is no object and no array. s is a number as it is
// written, or a text.
func (c *content) leaf(t fastjson.Type, s []byte) {
	field := c.field()
	if len(field) > maxName {
		c.skip(tooLong, field, nil)
		return
	}
	isTime := c.rule.timeKey != "" && c.atKey(c.rule.timeKey)
	switch t {
	case fastjson.TypeNumber, fastjson.TypeString:
		switch {
		case isTime:
			c.stamp(s)
		case t == fastjson.TypeNumber:
			c.text(field, s, false)
		default:
			c.text(field, bytes.TrimSpace(s), true)
		}
	case fastjson.TypeTrue:
		c.departed = c.departed || c.rule.ends["true"]
		c.add(field, 1)
	case fastjson.TypeFalse:
		c.departed = c.departed || c.rule.ends["false"]
		c.add(field, 0)
	case fastjson.TypeNull:
		c.skip(isNull, field, nil)
	}
}

func (c *content) array(a []*fastjson.Value, depth int) {
	if e := c.rule.each; e != nil {
		if on, ok := c.reaches(); ok {
			switch {
			case on == e.parts && e.members:
				on = e.parts + 1
			case on == e.parts:
				on = 0
			}
			c.each(a, depth, on)
			return
		}
	}
	before := len(c.path)
	objects := 0
	for i, v := range a {
		c.path = c.path[:before]
		c.underIndex(i)
		if v.Type() == fastjson.TypeObject && c.rule.version != Version1 && !c.leads() {
			objects++
			continue
		}
		c.walk(v, depth+1)
	}
	c.path = c.path[:before]
	if objects > 0 {
		c.skips = skipped(c.skips, inArray, uint64(objects), c.field(), nil)
	}
}

// leads reports whether path leads to what the rule's each names.
func (c *content) leads() bool {
	if c.rule.each == nil || c.rule.version < Version4 {
		return false
	}
	_, ok := c.reaches()
	return ok
}

// object reads the members of an object. With members, objects in it are records.
func (c *content) object(v *fastjson.Value, depth int, members bool) {
	o := v.GetObject()
	outer, base := c.rec, c.base
	if len(c.rule.labelKeys) > 0 && c.hasLabels(v) {
		if len(c.path) > base && !c.begin(outer, c.records[outer].unit) {
			return
		}
		if len(c.path) > base {
			c.base = len(c.path)
		}
		c.labels(v)
	}
	before := len(c.path)
	o.Visit(func(key []byte, v *fastjson.Value) {
		c.path = c.path[:before]
		if members && v.Type() == fastjson.TypeObject {
			c.member(key, v, depth)
			return
		}
		c.under(key)
		c.walk(v, depth+1)
	})
	c.path, c.rec, c.base = c.path[:before], outer, base
}

// member reads an object in an object as a record, whose label is its key.
func (c *content) member(key []byte, v *fastjson.Value, depth int) {
	parent, start, base, before := c.rec, c.start, c.base, c.eachOn
	if !c.begin(parent, c.records[parent].unit) {
		return
	}
	c.label([]byte(c.rule.each.label), key)
	c.start, c.base, c.eachOn = len(c.path), len(c.path), c.rule.each.parts+1
	c.walk(v, depth+1)
	c.rec, c.start, c.base, c.eachOn = parent, start, base, before
}

// isLabel reports whether a value can be a label's.
func isLabel(v *fastjson.Value) bool {
	switch v.Type() {
	case fastjson.TypeObject, fastjson.TypeArray, fastjson.TypeNull:
		return false
	}
	return true
}

// hasLabels reports whether an object has one of the label keys.
func (c *content) hasLabels(v *fastjson.Value) bool {
	for i := range c.rule.labelKeys {
		k := &c.rule.labelKeys[i]
		if _, at := k.find(v); at != nil && (k.all && at.Type() == fastjson.TypeObject || !k.all && isLabel(at)) {
			return true
		}
	}
	return false
}

// labels moves the label keys of an object to the labels of the record.
func (c *content) labels(v *fastjson.Value) {
	for i := range c.rule.labelKeys {
		k := &c.rule.labelKeys[i]
		path, at := k.find(v)
		switch {
		case at == nil:
		case !k.all:
			if isLabel(at) {
				c.labelOf([]byte(k.name), at)
				last := len(path) - 1
				v.Get(path[:last]...).Del(path[last])
			}
		case at.Type() == fastjson.TypeObject:
			var taken []string
			at.GetObject().Visit(func(key []byte, v *fastjson.Value) {
				if isLabel(v) {
					c.labelOf(key, v)
					taken = append(taken, string(key))
				}
			})
			for _, key := range taken {
				at.Del(key)
			}
		}
	}
}

func (c *content) labelOf(name []byte, v *fastjson.Value) {
	if v.Type() == fastjson.TypeString {
		c.label(name, v.GetStringBytes())
		return
	}
	c.raw = v.MarshalTo(c.raw[:0])
	c.label(name, c.raw)
}
