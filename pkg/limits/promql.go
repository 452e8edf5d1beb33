package limits

import (
	"strings"

	"github.com/prometheus/prometheus/util/strutil"
)

// PromQL refuses an expression that would keep the parser, or the code that walks
// its result, busy for long. It reads each byte once, and recognises strings and
// comments. It does not check whether the expression is valid; the parser does.
func PromQL(expr string) error {
	if err := Text.Check(int64(len(expr))); err != nil {
		return err
	}
	var depth, deepest, operators, matchers, patterns int64
	matches := false // the next string is a regular expression
	braces := false  // inside braces, where operators belong to matchers
	for i := 0; i < len(expr); i++ {
		switch c := expr[i]; c {
		case '"', '\'', '`':
			begin := i
			for i++; i < len(expr) && expr[i] != c; i++ {
				if expr[i] == '\\' && c != '`' {
					i++
				}
			}
			if matches && i < len(expr) {
				if text, err := strutil.Unquote(expr[begin : i+1]); err == nil {
					if patterns += Pattern(text); patterns > Patterns.Most {
						return Patterns.Check(patterns)
					}
				}
			}
			matches = false
		case '~':
			matches = true
		case '#':
			for i < len(expr) && expr[i] != '\n' {
				i++
			}
		case '(', '[', '{':
			depth++
			deepest = max(deepest, depth)
			braces, matchers = c == '{', 0
		case ')', ']', '}':
			depth = max(0, depth-1)
			braces = false
			if c == ']' { // a[1m:][1m:] is nested too
				operators++
			}
		case '+', '-', '*', '/', '%', '^', '<', '>', '=', '!', '@':
			if !braces {
				operators++
			} else if c == '!' || c == '=' && expr[i-1] != '!' { // = != =~ !~
				if matchers++; matchers > Matchers.Most {
					return Matchers.Check(matchers)
				}
			}
		default:
			if !letter(c) {
				continue
			}
			begin := i
			for i+1 < len(expr) && (letter(expr[i+1]) || expr[i+1] >= '0' && expr[i+1] <= '9') {
				i++
			}
			switch strings.ToLower(expr[begin : i+1]) {
			case "and", "or", "unless", "atan2", "offset":
				operators++
			}
		}
	}
	if err := Nesting.Check(deepest); err != nil {
		return err
	}
	return Operators.Check(operators)
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == ':'
}
