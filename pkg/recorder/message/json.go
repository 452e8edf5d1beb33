package message

import (
	"bytes"
	"strings"

	"github.com/valyala/fastjson"
)

// json reads JSON texts, one after another.
//
// Objects within objects are flattened: {"a":{"b":[1,2]}} has the fields a_b_0 and
// a_b_1. An object with label keys is a record of its own. So is each object of an
// array, if the array is the whole message or the rule names it in Each. Objects in
// other arrays are not recorded, because a position does not say what an object is.
func (c *content) json(text []byte) {
	scanner := &c.scanner
	if len(text) > 16<<10 {
		// A scanner keeps the memory that its largest text took, so a large one gets
		// its own.
		scanner = &fastjson.Scanner{}
		switch n, ok := nodes(text); {
		case n > maxNodes:
			c.skip(tooManyFields, nil, text)
			return
		case !ok:
			c.skip(notJSON, nil, text)
			return
		}
	}
	scanner.InitBytes(text)
	shaped := c.rule.format != formatAuto || bytes.Contains(text, []byte(`"values"`)) || bytes.Contains(text, []byte(`"fields"`))
	for unit := int32(0); scanner.Next(); unit++ {
		if unit > 0 && !c.begin(-1, unit) {
			return
		}
		c.path, c.start, c.base = c.path[:0], 0, 0
		c.root(scanner.Value(), shaped)
	}
	if err := scanner.Error(); err != nil {
		if strings.Contains(err.Error(), "too big depth") {
			c.skip(tooDeep, nil, text)
		} else {
			c.skip(notJSON, nil, text)
		}
	}
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
	if shaped && !c.rule.version1 && c.known(v) {
		return
	}
	if v.Type() == fastjson.TypeArray && !c.rule.version1 {
		if a := v.GetArray(); len(a) > 0 && a[0].Type() == fastjson.TypeObject {
			c.each(a, 0)
			return
		}
	}
	c.walk(v, 0)
}

// each reads the objects of an array as records. all may be a single object.
func (c *content) each(all []*fastjson.Value, depth int) {
	parent, path, start, base := c.rec, len(c.path), c.start, c.base
	c.start, c.base = path, path
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
	c.rec, c.path, c.start, c.base = parent, c.path[:path], start, base
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
	isTime := c.rule.timeKey != "" && c.atKey(c.rule.timeKey)
	switch v.Type() {
	case fastjson.TypeObject:
		if c.rule.each != "" && c.atKey(c.rule.each) {
			c.each([]*fastjson.Value{v}, depth)
			return
		}
		c.object(v, depth)
	case fastjson.TypeArray:
		c.array(v.GetArray(), depth)
	case fastjson.TypeNumber:
		// Parse the number as it is written: fastjson does not round floats
		// correctly.
		c.raw = v.MarshalTo(c.raw[:0])
		if isTime {
			c.stamp(c.raw)
		} else {
			c.text(c.field(), c.raw, false)
		}
	case fastjson.TypeString:
		s := v.GetStringBytes()
		if isTime {
			c.stamp(s)
		} else {
			c.text(c.field(), bytes.TrimSpace(s), true)
		}
	case fastjson.TypeTrue:
		c.departed = c.departed || c.rule.ends["true"]
		c.add(c.field(), 1)
	case fastjson.TypeFalse:
		c.departed = c.departed || c.rule.ends["false"]
		c.add(c.field(), 0)
	case fastjson.TypeNull:
		c.skip(isNull, c.field(), nil)
	}
}

func (c *content) array(a []*fastjson.Value, depth int) {
	if c.rule.each != "" && c.atKey(c.rule.each) {
		c.each(a, depth)
		return
	}
	before := len(c.path)
	objects := 0
	for i, v := range a {
		if v.Type() == fastjson.TypeObject && !c.rule.version1 {
			objects++
			continue
		}
		c.path = c.path[:before]
		c.underIndex(i)
		c.walk(v, depth+1)
	}
	c.path = c.path[:before]
	if objects > 0 {
		c.skips = skipped(c.skips, inArray, uint64(objects), c.field(), nil)
	}
}

func (c *content) object(v *fastjson.Value, depth int) {
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
		c.under(key)
		c.walk(v, depth+1)
	})
	c.path, c.rec, c.base = c.path[:before], outer, base
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
	for _, k := range c.rule.labelKeys {
		if at := v.Get(k.path...); at != nil && (k.all && at.Type() == fastjson.TypeObject || !k.all && isLabel(at)) {
			return true
		}
	}
	return false
}

// labels moves the label keys of an object to the labels of the record.
func (c *content) labels(v *fastjson.Value) {
	for _, k := range c.rule.labelKeys {
		last := len(k.path) - 1
		in, at := v.Get(k.path[:last]...), v.Get(k.path...)
		switch {
		case at == nil:
		case !k.all:
			if isLabel(at) {
				c.labelOf([]byte(k.name), at)
				in.Del(k.path[last])
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
