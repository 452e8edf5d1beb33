package message

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"
)

// senMLKeys are the keys that records of SenML have, with the type of their values
// (RFC 8428, 4).
var senMLKeys = map[string]fastjson.Type{
	"bn": fastjson.TypeString, "bt": fastjson.TypeNumber, "bu": fastjson.TypeString, "bv": fastjson.TypeNumber,
	"bs": fastjson.TypeNumber, "bver": fastjson.TypeNumber,
	"n": fastjson.TypeString, "u": fastjson.TypeString, "t": fastjson.TypeNumber, "ut": fastjson.TypeNumber, "s": fastjson.TypeNumber,
	"v": fastjson.TypeNumber, "vs": fastjson.TypeString, "vb": fastjson.TypeTrue, "vd": fastjson.TypeString,
}

// relative is the time in seconds below which a time of SenML is counted from now.
const relative = 1 << 28

// senML reads a pack of SenML: values with their names and times, which may be counted
// from base values of this record or one before. The base name becomes the label
// device. Units are passed over.
func (c *content) senML(v *fastjson.Value) bool {
	if c.rule.version < Version4 || v.Type() != fastjson.TypeArray {
		return false
	}
	all, named := v.GetArray(), true
	if !every(all, func(v *fastjson.Value) bool {
		is := size(v) > 0
		if !is {
			return false
		}
		v.GetObject().Visit(func(key []byte, v *fastjson.Value) {
			kind, known := senMLKeys[string(key)]
			is = is && known && (v.Type() == kind || kind == fastjson.TypeTrue && v.Type() == fastjson.TypeFalse)
		})
		named = named && (v != all[0] || v.Exists("n") || v.Exists("bn"))
		return is
	}) || !named {
		return false
	}
	outer := c.rec
	defer func() { c.rec = outer }()
	var base struct {
		name             string
		time, value, sum float64
		valued           bool
	}
	for _, r := range all {
		if r.Exists("bn") {
			base.name = string(r.GetStringBytes("bn"))
		}
		if r.Exists("bt") {
			base.time = c.float(r, "bt")
		}
		if r.Exists("bv") {
			base.value, base.valued = c.float(r, "bv"), true
		}
		if r.Exists("bs") {
			base.sum = c.float(r, "bs")
		}
		t := base.time + c.float(r, "t")
		if !(math.Abs(t) <= maxTime/1000) { // nor if it is NaN
			c.skip(noTime, r.GetStringBytes("n"), r.MarshalTo(nil))
			continue
		}
		if !c.begin(outer, c.records[outer].unit) {
			break
		}
		if device := strings.TrimRight(base.name, ":/"); device != "" {
			c.label([]byte("device"), []byte(device))
		}
		if t >= relative {
			c.stamped(int64(math.Round(t * 1000)))
		} else {
			c.records[c.rec].shift = int64(math.Round(t * 1000))
		}
		field := r.GetStringBytes("n")
		plain := r.Exists("vs") || r.Exists("vb") || r.Exists("vd") || r.Exists("s")
		switch {
		case r.Exists("v") || base.valued && !plain:
			c.finite(field, base.value+c.float(r, "v"))
		case r.Exists("vb"):
			c.path = append(c.path[:0], field...)
			c.walk(r.Get("vb"), 1)
		case r.Exists("vs"):
			c.word(field, r.GetStringBytes("vs"))
		case r.Exists("vd"):
			c.say(field, r.GetStringBytes("vd"))
		}
		if r.Exists("s") {
			c.finite(append(bytes.Clone(field), "_sum"...), base.sum+c.float(r, "s"))
		}
	}
	return true
}

// float returns a number in an object, 0 if it has none. The parser of JSON does not
// round numbers correctly.
func (c *content) float(in *fastjson.Value, key string) float64 {
	v := in.Get(key)
	if v == nil {
		return 0
	}
	c.raw = v.MarshalTo(c.raw[:0])
	f, err := strconv.ParseFloat(string(c.raw), 64)
	if err != nil {
		return math.NaN()
	}
	return f
}
