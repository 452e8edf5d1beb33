package limits

import (
	"regexp/syntax"
)

// Pattern returns the size of a regular expression in steps, for [Patterns]. It does
// so before the expression is compiled: `.{1000}` is short, but makes a program of a
// thousand steps, all of which may run for each byte of each text. An invalid
// expression and a list of plain texts have size 0.
func Pattern(text string) int64 {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil || plain(re) {
		return 0
	}
	return steps(re)
}

// plain reports whether a regular expression has neither repetitions nor wildcards.
// Then few of its steps are active at a time.
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
