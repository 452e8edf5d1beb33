// Package naming makes names of metrics and labels from the names that senders use.
// All inputs use it, so that a name becomes the same whichever way it comes in.
//
// Letters and digits of any script stay as they are: Prometheus 3 allows names in
// UTF-8. Everything else becomes an underscore, because names that need no quotes
// are easier to type. Two different names may become one that way; callers that make
// series must check for it.
package naming

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
)

// Metric returns s as a metric name, "" if s has neither a letter nor a digit.
func Metric(s string) string { return fold(s, keeps) }

// Label returns s as a label name, "" if s has neither a letter nor a digit. The
// name never begins with two underscores: Prometheus reserves these.
func Label(s string) string { return ordinary(Metric(s)) }

// ClassicMetric is Metric, but keeps only the letters a to z and A to Z and the
// digits.
func ClassicMetric(s string) string { return fold(s, classic) }

// ClassicLabel is Label, but keeps only the letters a to z and A to Z and the
// digits.
func ClassicLabel(s string) string { return ordinary(ClassicMetric(s)) }

func ordinary(name string) string {
	for strings.HasPrefix(name, "__") {
		name = name[1:]
	}
	return name
}

func classic(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// keeps also allows marks, because scripts of India and others write vowels with
// them.
func keeps(r rune) bool {
	return classic(r) || r >= utf8.RuneSelf && r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))
}

func fold(s string, keeps func(rune) bool) string {
	if isName(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 1)
	usable := false
	for _, r := range s {
		if !keeps(r) {
			b.WriteByte('_')
			continue
		}
		if b.Len() == 0 && r >= '0' && r <= '9' {
			b.WriteByte('_')
		}
		usable = usable || !unicode.IsMark(r)
		b.WriteRune(r)
	}
	if !usable {
		return ""
	}
	return b.String()
}

// isName reports whether fold leaves a name in ASCII as it is.
func isName(s string) bool {
	usable := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' && i > 0:
			usable = true
		case c != '_':
			return false
		}
	}
	return usable
}

// The reasons why tags cannot become labels.
var (
	ErrNoName = errors.New("no letter and no digit in the name")
	ErrTwice  = errors.New("two tags, one name")
)

// Labels returns the tags with label names, in the same memory if all have such names
// already. It returns ErrNoName if a name has no
// letter and no digit, and ErrTwice if two tags would have the same name, as a-b and
// a_b do: there is no reason to prefer the value of one.
func Labels(tags []labels.Label) ([]labels.Label, error) {
	named := tags
	for i, t := range tags {
		name := Label(t.Name)
		if name == "" {
			return nil, fmt.Errorf("%w: %.100q", ErrNoName, t.Name)
		}
		for j, before := range named[:i] {
			if before.Name == name {
				return nil, fmt.Errorf("%w: %.100q and %.100q", ErrTwice, tags[j].Name, t.Name)
			}
		}
		if name != t.Name {
			if &named[0] == &tags[0] {
				named = slices.Clone(tags)
			}
			named[i].Name = name
		}
	}
	return named, nil
}
