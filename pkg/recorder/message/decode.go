package message

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode"
	"unicode/utf8"
)

type format int

const (
	formatAuto format = iota
	formatNumber
	formatJSON
	formatInflux
	formatTelegraf
	formatThingsBoard
	formatSparkplug
	formatCBOR
)

var formats = map[string]format{
	"": formatAuto, "auto": formatAuto, "number": formatNumber, "json": formatJSON, "influx": formatInflux,
	"telegraf": formatTelegraf, "thingsboard": formatThingsBoard, "sparkplug": formatSparkplug, "cbor": formatCBOR,
}

var (
	gzipMagic     = []byte{0x1f, 0x8b, 0x08}
	cborMagic     = []byte{0xd9, 0xd9, 0xf7}
	byteOrderMark = []byte{0xef, 0xbb, 0xbf}
)

// decode reads a message of a topic by a rule. It copies what it keeps of payload.
func (c *content) decode(r *rule, from string, payload []byte) {
	c.reset(r, from)
	if len(payload) > MaxPayload {
		c.skip(tooLarge, nil, payload)
		return
	}
	if bytes.HasPrefix(payload, gzipMagic) {
		var reason string
		if payload, reason = c.unzip(payload); reason != "" {
			c.skip(reason, nil, binary(payload))
			return
		}
	}
	switch {
	case r.speaksSparkplug(from):
		c.sparkplug(payload)
	case r.format == formatCBOR, r.format == formatAuto && bytes.HasPrefix(payload, cborMagic):
		c.cbor(payload)
	default:
		c.readable(r.format, payload)
	}
	c.dropLost()
	if len(c.values) == 0 && len(c.texts) == 0 && len(c.skips) == 0 && !c.records[0].ends {
		c.skip(isEmpty, nil, nil)
	}
}

// unzip returns the decompressed payload or, if that fails, payload itself and the
// reason.
func (c *content) unzip(payload []byte) ([]byte, string) {
	z, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		return payload, notGzip
	}
	switch plain, err := bounded(z); {
	case errors.Is(err, errTooLarge):
		return payload, tooLarge
	case err != nil:
		return payload, notGzip
	default:
		return plain, ""
	}
}

var errTooLarge = errors.New(tooLarge)

// bounded reads what is decompressed, up to MaxPayload.
func bounded(from io.Reader) ([]byte, error) {
	var plain bytes.Buffer
	plain.Grow(512)
	n, err := io.Copy(&plain, io.LimitReader(from, MaxPayload+1))
	if n > MaxPayload {
		return nil, errTooLarge
	}
	return plain.Bytes(), err
}

// readable reads a payload that should be text.
func (c *content) readable(f format, payload []byte) {
	// Some senders put a byte order mark before a text, a NUL after it, or a separator
	// before or after it.
	text := bytes.TrimPrefix(payload, byteOrderMark)
	if len(text) > 0 && (!isGraphic(text[0]) || !isGraphic(text[len(text)-1])) {
		text = bytes.TrimFunc(text, func(r rune) bool { return r == 0 || r == recordSeparator || unicode.IsSpace(r) })
	}
	if len(text) == 0 {
		return
	}
	if f == formatAuto {
		f = c.guess(text)
	}
	if !utf8.Valid(text) {
		if f == formatNumber {
			c.skip(isBinary, nil, binary(payload))
			return
		}
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	switch f {
	case formatJSON, formatTelegraf, formatThingsBoard:
		c.json(text)
	case formatInflux:
		c.lines(text)
	default:
		if slices.ContainsFunc(text, isControl) {
			c.skip(isBinary, nil, binary(payload))
			return
		}
		c.raw = append(c.raw[:0], text...)
		c.text(nil, c.raw, false)
	}
}

// isControl reports whether no text has this byte. Logs have colours, which begin with
// an escape.
func isControl(b byte) bool { return b < ' ' && b != '\t' && b != '\n' && b != '\r' && b != '\x1b' }

// isGraphic reports whether a byte is a visible character of ASCII.
func isGraphic(b byte) bool { return b > ' ' && b < utf8.RuneSelf }

// guess returns the format of a text, which must not be empty.
func (c *content) guess(text []byte) format {
	switch text[0] {
	case '{', '[', '"':
		return formatJSON
	}
	if _, reason := number(text, bare); reason == notANumber && c.looksLikeLines(text) {
		return formatInflux
	}
	return formatNumber
}

// binary returns the first bytes of a binary payload in hexadecimal.
func binary(payload []byte) []byte {
	const most = 24
	if len(payload) <= most {
		return fmt.Appendf(nil, "% x", payload)
	}
	return fmt.Appendf(nil, "% x … (%d bytes)", payload[:most], len(payload))
}
