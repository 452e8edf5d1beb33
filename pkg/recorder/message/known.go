package message

import (
	"bytes"

	"github.com/valyala/fastjson"
)

// known reads a JSON text in a shape that only one kind of sender has, or that the
// rule names. It returns false if the text has none of these shapes.
func (c *content) known(v *fastjson.Value) bool {
	switch c.rule.format {
	case formatJSON:
		return false
	case formatTelegraf:
		return c.telegraf(v)
	case formatThingsBoard:
		return c.thingsBoard(v)
	case formatAuto:
	}
	if c.rule.each != "" || len(c.rule.labelKeys) > 0 {
		return false // the rule says how to read it
	}
	return c.telegraf(v) || c.thingsBoard(v) || c.kepServer(v)
}

// objects returns the objects of an array, or v itself if it is an object; nil if v
// is or has anything else.
func objects(v *fastjson.Value) []*fastjson.Value {
	if v == nil {
		return nil
	}
	all := []*fastjson.Value{v}
	if v.Type() == fastjson.TypeArray {
		all = v.GetArray()
	}
	for _, o := range all {
		if o.Type() != fastjson.TypeObject {
			return nil
		}
	}
	return all
}

// every reports whether all is not empty and is returns true for each of them.
func every(all []*fastjson.Value, is func(*fastjson.Value) bool) bool {
	for _, v := range all {
		if !is(v) {
			return false
		}
	}
	return len(all) > 0
}

func hasType(v *fastjson.Value, t fastjson.Type) bool { return v != nil && v.Type() == t }

// size returns how many members an object has, 0 if v is not an object.
func size(v *fastjson.Value) int {
	if v.Type() != fastjson.TypeObject {
		return 0
	}
	return v.GetObject().Len()
}

func isTelegraf(v *fastjson.Value) bool {
	return size(v) == 4 && hasType(v.Get("name"), fastjson.TypeString) && hasType(v.Get("fields"), fastjson.TypeObject) &&
		hasType(v.Get("tags"), fastjson.TypeObject) && v.Exists("timestamp")
}

// telegraf reads Telegraf's JSON, one metric or a batch. The names are the same as
// those of the same metric in line protocol.
func (c *content) telegraf(v *fastjson.Value) bool {
	var all []*fastjson.Value
	switch size(v) {
	case 1:
		all = v.GetArray("metrics")
	case 4:
		all = []*fastjson.Value{v}
	}
	if !every(all, isTelegraf) {
		return false
	}
	outer := c.rec
	defer func() { c.rec = outer }()
	for _, m := range all {
		if !c.begin(outer, c.records[outer].unit) {
			break
		}
		c.stampOf(m.Get("timestamp"))
		m.GetObject("tags").Visit(func(key []byte, v *fastjson.Value) {
			if isLabel(v) {
				c.labelOf(key, v)
			}
		})
		name := m.GetStringBytes("name")
		m.GetObject("fields").Visit(func(key []byte, v *fastjson.Value) {
			c.path = grouped(c.path[:0], name, key)
			c.start, c.base = 0, 0
			c.walk(v, 1)
		})
	}
	return true
}

// stampOf sets the time of the record from a JSON value.
func (c *content) stampOf(v *fastjson.Value) {
	if v == nil {
		return
	}
	if v.Type() == fastjson.TypeString {
		c.stamp(v.GetStringBytes())
		return
	}
	c.raw = v.MarshalTo(c.raw[:0])
	c.stamp(c.raw)
}

func isThingsBoard(v *fastjson.Value) bool {
	return size(v) == 2 && hasType(v.Get("ts"), fastjson.TypeNumber) && hasType(v.Get("values"), fastjson.TypeObject)
}

// thingsBoard reads telemetry of ThingsBoard's devices and gateways: values with
// their time, one or several, either of one device or of several by name.
func (c *content) thingsBoard(v *fastjson.Value) bool {
	if v.Type() == fastjson.TypeArray || isThingsBoard(v) {
		all := objects(v)
		is := every(all, isThingsBoard)
		if is {
			c.telemetry(all, nil)
		}
		return is
	}
	if size(v) == 0 {
		return false
	}
	is := true
	v.GetObject().Visit(func(_ []byte, v *fastjson.Value) {
		if is = is && v.Type() == fastjson.TypeArray; is {
			all := objects(v)
			is = len(all) > 0 && (c.rule.format == formatThingsBoard || every(all, isThingsBoard))
		}
	})
	if is {
		v.GetObject().Visit(func(device []byte, v *fastjson.Value) { c.telemetry(objects(v), bytes.Clone(device)) })
	}
	return is
}

func (c *content) telemetry(all []*fastjson.Value, device []byte) {
	outer := c.rec
	defer func() { c.rec = outer }()
	for _, v := range all {
		if !c.begin(outer, c.records[outer].unit) {
			return
		}
		if device != nil {
			c.label([]byte("device"), device)
		}
		if isThingsBoard(v) {
			c.stampOf(v.Get("ts"))
			v = v.Get("values")
		}
		c.path, c.start, c.base = c.path[:0], 0, 0
		c.walk(v, 1)
	}
}

// kepServer reads messages of KEPServerEX's IoT gateway. They have the id, value,
// quality and time of each tag.
func (c *content) kepServer(v *fastjson.Value) bool {
	if size(v) != 2 || !v.Exists("timestamp") {
		return false
	}
	all := objects(v.Get("values"))
	if !every(all, func(v *fastjson.Value) bool {
		return size(v) == 4 && hasType(v.Get("id"), fastjson.TypeString) && v.Exists("v") && v.Exists("q") && hasType(v.Get("t"), fastjson.TypeNumber)
	}) {
		return false
	}
	outer := c.rec
	defer func() { c.rec = outer }()
	for _, one := range all {
		if !c.begin(outer, c.records[outer].unit) {
			break
		}
		c.label([]byte("id"), one.GetStringBytes("id"))
		c.stampOf(one.Get("t"))
		for _, key := range []string{"v", "q"} {
			c.path, c.start, c.base = append(c.path[:0], key...), 0, 0
			c.walk(one.Get(key), 1)
		}
	}
	return true
}
