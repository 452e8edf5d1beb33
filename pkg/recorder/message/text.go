package message

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// words stand for 1 and 0, in any case.
var words = map[string]float64{
	"on": 1, "true": 1, "yes": 1, "open": 1, "online": 1,
	"off": 0, "false": 0, "no": 0, "closed": 0, "offline": 0,
}

// longestWord bounds what is looked up in words.
const longestWord = 7

// text adds a number that is written as text, or a text that is none. quoted says
// that its sender wrote it as a text.
func (c *content) text(field, text []byte, quoted bool) {
	if c.means(field, text) {
		return
	}
	as := bare
	switch {
	case c.rule.version1:
		as = lenient
	case quoted:
		as = inQuotes
	}
	switch v, reason := number(text, as); {
	case reason == "":
		c.add(field, v)
	case string(text) == "null":
		c.skip(isNull, field, nil)
	case reason == notANumber:
		if c.rule.regexp == nil || !c.matched(field, text) {
			c.say(field, text)
		}
	default:
		c.skip(reason, field, text)
	}
}

// matched adds what the regular expression of the rule finds in a text, and returns
// false if it does not match.
func (c *content) matched(field, text []byte) bool {
	re := c.rule.regexp
	at := re.FindSubmatchIndex(text)
	if at == nil {
		return false
	}
	for i, name := range re.SubexpNames() {
		if i == 0 && re.NumSubexp() > 0 || at[2*i] < 0 {
			continue
		}
		group := text[at[2*i]:at[2*i+1]]
		if name != "" && name == c.rule.timeKey {
			c.stamp(group)
			continue
		}
		if name != "" && c.isLabelName(name) {
			c.label([]byte(name), group)
			continue
		}
		full := field
		if name != "" {
			full = bytes.Clone(field)
			if len(full) > 0 {
				full = append(full, '_')
			}
			full = append(full, name...)
		}
		if c.means(full, group) {
			continue
		}
		v, reason := number(bytes.TrimSpace(group), bare)
		if reason == notANumber {
			// In a group that was made for a number a comma is what some countries
			// write for the point.
			v, reason = number(bytes.Replace(bytes.TrimSpace(group), []byte(","), []byte("."), 1), bare)
		}
		switch reason {
		case "":
			c.add(full, v)
		case notANumber:
			c.say(full, group)
		default:
			c.skip(reason, full, group)
		}
	}
	return true
}

func (c *content) isLabelName(name string) bool {
	for _, k := range c.rule.labelKeys {
		if !k.all && k.name == name {
			return true
		}
	}
	return false
}

// spelling says how strictly a number is read. Hexadecimal ids look like numbers with
// an exponent: 00158e33, and 12e4567 or 1e5 where somebody wrote a text.
type spelling int

const (
	lenient  spelling = iota
	bare              // no exponent after a 0 in front
	inQuotes          // no exponent without a sign or a point
)

// number reads a number or a word, or says why not.
func number(text []byte, as spelling) (float64, string) {
	if len(text) == 0 {
		return 0, notANumber
	}
	exponent, plain := -1, true
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9':
		case c == '.' || c == '-' || c == '+':
			plain = false
		case c == 'e' || c == 'E':
			exponent = i
		default:
			return word(text) // not all that ParseFloat takes is a number here
		}
	}
	if exponent > 0 && plain && (as == inQuotes || as == bare && exponent > 1 && text[0] == '0') {
		return 0, notANumber
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
