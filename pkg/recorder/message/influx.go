package message

import (
	"bytes"
	"slices"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/lineprotocol"
)

// looksLikeLines reports whether a text looks like line protocol. It looks only at the
// first line that is no comment. Log lines and pairs of keys and values are often valid
// line protocol by accident. So a measurement must have none of = : ; and the line must
// have tags or a time stamp.
func (c *content) looksLikeLines(text []byte) bool {
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	for line[0] == '#' && len(rest) > 0 {
		line, rest, _ = bytes.Cut(bytes.TrimLeft(rest, " \r\n"), []byte("\n"))
		if len(line) == 0 {
			return false
		}
	}
	space := unescaped(line, " ")
	if space <= 0 || bytes.IndexByte(line[space:], '=') < 0 {
		return false
	}
	if c.rule.version == Version1 {
		return true
	}
	comma := unescaped(line[:space], ",")
	measurement := line[:space]
	if comma > 0 {
		measurement = line[:comma]
	}
	if bytes.ContainsAny(measurement, "=:;") {
		return false
	}
	return comma > 0 || isStamp(line[bytes.LastIndexByte(line, ' ')+1:])
}

// unescaped returns the index of the first of chars that has no backslash before it,
// -1 if there is none.
func unescaped(b []byte, chars string) int {
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\\':
			i++
		case bytes.IndexByte([]byte(chars), b[i]) >= 0:
			return i
		}
	}
	return -1
}

// isStamp reports whether a text can be the time stamp of a line: only digits, and
// as many as seconds since 1970 have today, or more.
func isStamp(text []byte) bool {
	text = bytes.TrimSpace(text)
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) >= len("1000000000")
}

// lines reads line protocol. Each line is a record, and its measurement a group of
// fields.
func (c *content) lines(text []byte) {
	c.keyless = true
	guessed := c.rule.format == formatAuto
	first := true
	errs := lineprotocol.Decode(text, time.Duration(c.rule.times.unit), func(p lineprotocol.Point) {
		if !first && !c.begin(-1, c.rec+1) {
			return
		}
		first = false
		if p.Timed {
			c.stamped(p.T)
		}
		for _, tag := range p.Tags {
			c.label(tag.Name, tag.Value)
		}
		for _, text := range p.Texts {
			c.path = grouped(c.path[:0], p.Measurement, text.Name)
			c.word(c.path, text.Value)
		}
		for _, f := range p.Fields {
			c.path = grouped(c.path[:0], p.Measurement, f.Name)
			c.finite(c.path, f.Value)
		}
	})
	if guessed && !slices.ContainsFunc(c.records, func(r record) bool { return r.filled }) {
		c.skips, c.texts = c.skips[:0], c.texts[:0]
		c.say(nil, text)
		return
	}
	for _, err := range errs {
		c.skips = skipped(c.skips, notLines, uint64(err.Lines), nil, []byte(err.Error()))
	}
}
