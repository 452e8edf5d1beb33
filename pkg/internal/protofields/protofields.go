// Package protofields reads protobuf messages field by field, without generated
// types: a hostile message takes no more memory than its bytes.
package protofields

import "google.golang.org/protobuf/encoding/protowire"

// Each calls each for every field of a message, in order. n is the value of a
// numeric field as bits, and b the bytes of any other field, which are part of
// message. Each returns the first error of each, or an error if the message is not
// valid.
func Each(message []byte, each func(field protowire.Number, kind protowire.Type, n uint64, b []byte) error) error {
	for len(message) > 0 {
		field, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return protowire.ParseError(size)
		}
		message = message[size:]
		var (
			n uint64
			b []byte
		)
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(message)
		case protowire.Fixed32Type:
			var v uint32
			v, size = protowire.ConsumeFixed32(message)
			n = uint64(v)
		case protowire.Fixed64Type:
			n, size = protowire.ConsumeFixed64(message)
		case protowire.BytesType:
			b, size = protowire.ConsumeBytes(message)
		default:
			size = protowire.ConsumeFieldValue(field, kind, message)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		message = message[size:]
		if err := each(field, kind, n, b); err != nil {
			return err
		}
	}
	return nil
}
