// Package naming makes the names of metrics and labels out of what senders call
// things. All inputs use it, so that one thing has one name however it comes in.
//
// Letters and digits of any script stay as they are: Prometheus 3 has names in
// UTF-8. Everything else becomes an underscore, because names that need no quotes
// are easier to type. Two names may become one that way; whoever makes series must
// look out for it.
package naming

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
)

// Metric returns s as the name of a metric, and "" if s has neither a letter nor a
// digit.
func Metric(s string) string { return fold(s, keeps) }

// Label returns s as the name of a label, and "" if s has neither a letter nor a
// digit. It never begins with two underscores, which Prometheus keeps for itself.
func Label(s string) string { return ordinary(Metric(s)) }

// ClassicMetric is Metric with the letters a to z and the digits 0 to 9 alone.
func ClassicMetric(s string) string { return fold(s, classic) }

// ClassicLabel is Label with the letters a to z and the digits 0 to 9 alone.
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

// keeps includes marks: scripts of India and others write vowels with them.
func keeps(r rune) bool {
	return classic(r) || r >= utf8.RuneSelf && r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))
}

func fold(s string, keeps func(rune) bool) string {
	var b strings.Builder
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

// Why tags cannot be labels.
var (
	ErrNoName = errors.New("no letter and no digit in the name")
	ErrTwice  = errors.New("two tags, one name")
)

// Labels gives tags the names of labels. It returns an error if a name has no letter
// and no digit, and if two tags would have one name, as a-b and a_b do: none of their
// values is better than the other.
func Labels(tags []labels.Label) ([]labels.Label, error) {
	named := make([]labels.Label, len(tags))
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
		named[i] = labels.Label{Name: name, Value: t.Value}
	}
	return named, nil
}
