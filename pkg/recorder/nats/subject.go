package nats

import (
	"fmt"
	"slices"
	"strings"
)

// checkSubject returns what is wrong with a subject, which may have wildcards.
func checkSubject(s string) error {
	tokens := strings.Split(s, ".")
	for i, token := range tokens {
		switch {
		case token == "":
			return fmt.Errorf("%q has an empty part: parts are separated by single points", s)
		case strings.ContainsAny(token, " \t\r\n\x00"):
			return fmt.Errorf("%q has a space: subjects have none", s)
		case token == ">" && i < len(tokens)-1:
			return fmt.Errorf("%q: > stands for all parts that follow, so it must be the last", s)
		}
	}
	return nil
}

// covers reports whether a matches every subject that b matches. b may be a subject
// without wildcards.
func covers(a, b string) bool {
	for {
		at, aRest, aMore := strings.Cut(a, ".")
		bt, bRest, bMore := strings.Cut(b, ".")
		switch {
		case at == ">":
			return true
		case bt == ">", at != "*" && at != bt:
			return false
		case !aMore || !bMore:
			return aMore == bMore
		}
		a, b = aRest, bRest
	}
}

// reduce leaves out subjects that another one covers.
func reduce(subjects []string) []string {
	var kept []string
	for _, s := range subjects {
		if slices.ContainsFunc(kept, func(k string) bool { return covers(k, s) }) {
			continue
		}
		kept = append(slices.DeleteFunc(kept, func(k string) bool { return covers(s, k) }), s)
	}
	return kept
}
