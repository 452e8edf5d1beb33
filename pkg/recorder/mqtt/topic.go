package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// checkFilter returns what is wrong with a topic filter.
func checkFilter(filter string) error {
	switch {
	case filter == "":
		return errors.New("a topic is empty")
	case len(filter) > 65535:
		return errors.New("a topic is longer than 65535 bytes")
	case !utf8.ValidString(filter) || strings.ContainsRune(filter, 0):
		return fmt.Errorf("%q is not valid text", filter)
	case strings.HasPrefix(filter, "$share/"):
		return fmt.Errorf("%q: a shared subscription brings only a part of the messages, so it is not supported: write the topic alone", filter)
	}
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		switch {
		case level == "#" && i < len(levels)-1:
			return fmt.Errorf("%q: # stands for all levels that follow, so it must be the last", filter)
		case len(level) > 1 && strings.ContainsAny(level, "+#"):
			return fmt.Errorf("%q: + and # stand for whole levels, so nothing may be beside them between two slashes", filter)
		}
	}
	return nil
}

// matches reports whether a filter covers a topic. topic may also be a filter, whose
// wildcards then count as ordinary levels.
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (filter[0] == '+' || filter[0] == '#') {
		return false // wildcards do not match topics such as $SYS
	}
	for {
		f, frest, fmore := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, trest, tmore := strings.Cut(topic, "/")
		if f != "+" && f != t || f == "+" && t == "#" {
			return false
		}
		switch {
		case !fmore && !tmore:
			return true
		case !tmore:
			return frest == "#" // a/# covers a
		case !fmore:
			return false
		}
		filter, topic = frest, trest
	}
}

// reduce leaves out filters that another one covers, because brokers may send a
// message once for each filter that matches.
func reduce(filters []string) []string {
	filters = slices.Compact(slices.Sorted(slices.Values(filters)))
	var kept []string
	for i, f := range filters {
		if !slices.ContainsFunc(filters, func(other string) bool { return other != filters[i] && matches(other, f) }) {
			kept = append(kept, f)
		}
	}
	return kept
}

// maxCandidates limits how many filters are unsubscribed because of one unwanted
// topic.
const maxCandidates = 500

// candidates returns the filters for which a broker may have sent a topic, except
// the wanted ones.
func candidates(topic string, wanted []string) []string {
	levels := strings.Split(topic, "/")
	all := []string{""}
	var found []string
	for i, level := range levels {
		if len(found) >= maxCandidates+len(wanted) {
			break // a topic may have thousands of levels
		}
		var next []string
		for _, begin := range all {
			found = append(found, begin+"#")
			for _, l := range []string{level, "+"} {
				if i == len(levels)-1 {
					found = append(found, begin+l, begin+l+"/#")
				} else if len(next) < maxCandidates {
					next = append(next, begin+l+"/")
				}
			}
		}
		all = next
	}
	found = slices.DeleteFunc(found, func(f string) bool { return slices.Contains(wanted, f) })
	return found[:min(len(found), maxCandidates)]
}
