package message

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/valyala/fastjson"
)

// cborMode limits how much memory a small message can take.
var cborMode, _ = cbor.DecOptions{
	MaxNestedLevels: maxDepth, MaxArrayElements: maxNodes, MaxMapPairs: maxNodes,
	DupMapKey: cbor.DupMapKeyQuiet, UTF8: cbor.UTF8DecodeInvalid, TimeTag: cbor.DecTagOptional,
}.DecMode()

// cbor reads a sequence of CBOR items as if they were JSON.
func (c *content) cbor(b []byte) {
	for unit := int32(0); len(b) > 0; unit++ {
		var v any
		rest, err := cborMode.UnmarshalFirst(b, &v)
		if err != nil {
			c.skip(notCBOR, nil, binary(b))
			return
		}
		b = rest
		if unit > 0 && !c.begin(-1, unit) {
			return
		}
		var a fastjson.Arena
		left := maxNodes
		c.path, c.start, c.base = c.path[:0], 0, 0
		if root := fromCBOR(&a, v, &left); root != nil {
			c.root(root, true)
		} else {
			c.skip(tooManyFields, nil, nil)
		}
	}
}

// fromCBOR returns an item as JSON, nil if it has more than left parts.
func fromCBOR(a *fastjson.Arena, v any, left *int) *fastjson.Value {
	if *left--; *left < 0 {
		return nil
	}
	switch v := v.(type) {
	case nil:
		return a.NewNull()
	case bool:
		if v {
			return a.NewTrue()
		}
		return a.NewFalse()
	case uint64:
		return a.NewNumberString(strconv.FormatUint(v, 10))
	case int64:
		return a.NewNumberString(strconv.FormatInt(v, 10))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return a.NewNumberString("NaN")
		}
		return a.NewNumberString(strconv.FormatFloat(v, 'g', -1, 64))
	case string:
		return a.NewString(v)
	case []byte:
		return a.NewString(hex.EncodeToString(v))
	case time.Time:
		return a.NewString(v.UTC().Format(time.RFC3339Nano))
	case big.Int:
		return a.NewNumberString(v.String())
	case cbor.Tag:
		return fromCBOR(a, v.Content, left)
	case []any:
		array := a.NewArray()
		for i, item := range v {
			made := fromCBOR(a, item, left)
			if made == nil {
				return nil
			}
			array.SetArrayItem(i, made)
		}
		return array
	case map[any]any:
		// Sorted, as Go's maps have no order.
		type member struct {
			key   string
			value any
		}
		members := make([]member, 0, len(v))
		for key, value := range v {
			members = append(members, member{fmt.Sprint(key), value})
		}
		slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.key, b.key) })
		object := a.NewObject()
		for _, m := range members {
			made := fromCBOR(a, m.value, left)
			if made == nil {
				return nil
			}
			object.Set(m.key, made)
		}
		return object
	}
	return a.NewString(fmt.Sprint(v)) // such as undefined
}
