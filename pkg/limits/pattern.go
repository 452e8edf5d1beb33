package limits

import (
	"regexp/syntax"
)

// Pattern returns the steps of a regular expression, as [Patterns] bounds them,
// before it is compiled: `.{1000}` is short and makes a program of a thousand steps,
// all of which may be looked at for each byte of each text. One that is wrong, or a
// list of plain texts, has none.
func Pattern(text string) int64 {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil || plain(re) {
		return 0
	}
	return steps(re)
}

// plain says whether a regular expression repeats nothing and has no wildcard, so
// that few of its steps matter at a time.
func plain(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return false
	}
	for _, sub := range re.Sub {
		if !plain(sub) {
			return false
		}
	}
	return true
}

func steps(re *syntax.Regexp) int64 {
	n := int64(1)
	if re.Op == syntax.OpLiteral {
		n = int64(len(re.Rune))
	}
	for _, sub := range re.Sub {
		n = min(n+steps(sub), 1<<40)
	}
	if re.Op == syntax.OpRepeat {
		n *= int64(max(1, re.Min, re.Max))
	}
	return min(n, 1<<40)
}
