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
	if c.rule.each != nil || len(c.rule.labelKeys) > 0 {
		return false // the rule says how to read it
	}
	return c.telegraf(v) || c.thingsBoard(v) || c.kepServer(v) || c.senML(v)
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

// isTelegraf reports whether v is a metric in Telegraf's JSON. Scripts that write the
// same leave out tags or the time.
func (c *content) isTelegraf(v *fastjson.Value) bool {
	members := 2
	if tags := v.Get("tags"); hasType(tags, fastjson.TypeObject) {
		members++
	}
	if v.Exists("timestamp") {
		members++
	}
	return size(v) == members && (members == 4 || c.rule.version >= Version4) &&
		hasType(v.Get("name"), fastjson.TypeString) && hasType(v.Get("fields"), fastjson.TypeObject)
}

// telegraf reads Telegraf's JSON, one metric or a batch. The names are the same as
// those of the same metric in line protocol.
func (c *content) telegraf(v *fastjson.Value) bool {
	var all []*fastjson.Value
	if size(v) == 1 {
		all = v.GetArray("metrics")
	} else {
		all = []*fastjson.Value{v}
	}
	if !every(all, c.isTelegraf) {
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
	gateway := c.rule.version >= Version4 && isGateway(c.from)
	if !gateway && v.Type() == fastjson.TypeArray || isThingsBoard(v) {
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
		if is = is && (gateway || v.Type() == fastjson.TypeArray); is {
			all := objects(v)
			is = len(all) > 0 && (gateway || c.rule.format == formatThingsBoard || every(all, isThingsBoard))
		}
	})
	if is {
		v.GetObject().Visit(func(device []byte, v *fastjson.Value) { c.telemetry(objects(v), bytes.Clone(device)) })
	}
	return is
}

// isGateway reports whether a topic is one to which a gateway sends telemetry or
// attributes of devices, by their name.
func isGateway(topic string) bool {
	return topic == "v1/gateway/telemetry" || topic == "v1/gateway/attributes"
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
		members := 3
		if v.Exists("q") { // the quality can be left out
			members++
		}
		return size(v) == members && (members == 4 || c.rule.version >= Version4) &&
			hasType(v.Get("id"), fastjson.TypeString) && v.Exists("v") && hasType(v.Get("t"), fastjson.TypeNumber)
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
			if v := one.Get(key); v != nil {
				c.path, c.start, c.base = append(c.path[:0], key...), 0, 0
				c.walk(v, 1)
			}
		}
	}
	return true
}
