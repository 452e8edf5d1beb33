package message

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// words are the words that stand for 1 and 0, in upper or lower case.
var words = map[string]float64{
	"on": 1, "true": 1, "yes": 1, "open": 1, "online": 1,
	"off": 0, "false": 0, "no": 0, "closed": 0, "offline": 0,
}

// longestWord is the length of the longest of words.
const longestWord = 7

// text adds a value that the sender wrote as text: a number if it is one. quoted
// says that it was in quotation marks.
func (c *content) text(field, text []byte, quoted bool) {
	if c.means(field, text) {
		return
	}
	as := bare
	switch {
	case c.rule.version == Version1:
		as = lenient
	case quoted:
		as = inQuotes
	}
	switch v, reason := number(text, as); {
	case reason == "" && c.isNamed(field) && isWord(text):
		c.say(field, text)
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

// matched adds what the rule's regular expression finds in a text. It returns false
// if it does not match.
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
			// The group was made for a number, so a comma in it is a decimal comma.
			v, reason = number(bytes.Replace(bytes.TrimSpace(group), []byte(","), []byte("."), 1), bare)
		}
		switch {
		case reason == notANumber, reason == "" && c.isNamed(full) && isWord(group):
			c.say(full, group)
		case reason == "":
			c.add(full, v)
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

// spelling is how strictly a number is read: hexadecimal ids can look like numbers
// with an exponent, such as 00158e33, or 12e4567 in quotation marks.
type spelling int

const (
	lenient  spelling = iota
	bare              // no exponent after a leading 0
	inQuotes          // an exponent only with a sign or a point
)

// number parses a number or one of words, or returns the reason why it cannot.
func number(text []byte, as spelling) (float64, string) {
	if v, ok := decimal(text); ok {
		return v, ""
	}
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
			return word(text) // ParseFloat takes more, such as 0x1p-2
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

// tens are the powers of ten by which decimal divides.
var tens = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14}

// decimal parses what most numbers are: at most 15 digits and points, perhaps after a
// minus. Such digits and powers of ten are exact in a float64, so their quotient is the
// same as that of ParseFloat.
func decimal(text []byte) (v float64, ok bool) {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > len(tens) || digits[0] == '.' {
		return 0, false
	}
	n, point := int64(0), len(digits)-1
	for i, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			n = n*10 + int64(c-'0')
		case c == '.' && point == len(digits)-1 && i < point:
			point = i
		default:
			return 0, false
		}
	}
	if v = float64(n) / tens[len(digits)-1-point]; len(digits) < len(text) {
		v = -v
	}
	return v, true
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
