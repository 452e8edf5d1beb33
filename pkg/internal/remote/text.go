package remote

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns text as one line of valid UTF-8 with at most n runes. Grafana refuses
// a whole response if one message is not UTF-8, and a server's text must not add
// lines to a log.
func Line(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) { // controls, line separators, marks that turn the direction of writing
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) > n {
		text = string([]rune(text)[:n]) + "…"
	}
	return text
}

// redactor removes secrets from texts. The zero value has none.
type redactor struct {
	forms []string
	// short are secrets that may occur within ordinary words. Redacting them there
	// would break the words and give the secret away, so they are only found as
	// whole words.
	short []*regexp.Regexp
}

const (
	redacted = "[secret]"
	minForm  = 4 // bytes
)

func newRedactor(secrets []string) redactor {
	var r redactor
	for _, s := range secrets {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		if len(s) < minForm {
			r.short = append(r.short, regexp.MustCompile(`(^|[^\pL\pN])`+regexp.QuoteMeta(s)+`($|[^\pL\pN])`))
			continue
		}
		r.forms = append(r.forms, forms(s)...)
	}
	slices.Sort(r.forms)
	r.forms = slices.Compact(r.forms)
	return r
}

// forms returns a secret in all the ways in which servers may write it.
func forms(s string) []string {
	asJSON, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string
	}
	inQuotes := func(s string) string { return s[1 : len(s)-1] }
	all := []string{
		s, inQuotes(strconv.Quote(s)), inQuotes(strconv.QuoteToASCII(s)), inQuotes(string(asJSON)), html.EscapeString(s),
		strings.ReplaceAll(inQuotes(strconv.QuoteToASCII(s)), "/", `\/`), // as PHP writes JSON
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		all = append(all, e.EncodeToString([]byte(s)))
	}
	for _, escaped := range []string{url.QueryEscape(s), url.PathEscape(s)} {
		all = append(all, escaped, hex.ReplaceAllStringFunc(escaped, strings.ToLower))
	}
	return all
}

var hex = regexp.MustCompile(`%[0-9A-F]{2}`)

// redact replaces each run of bytes that belong to secrets. Secrets may overlap or
// contain one another, and nothing of any may be left.
func (r redactor) redact(text string) string {
	var secret []bool // by byte of text
	for _, form := range r.forms {
		for from := 0; ; {
			i := strings.Index(text[from:], form)
			if i < 0 {
				break
			}
			if secret == nil {
				secret = make([]bool, len(text))
			}
			from += i
			for j := range len(form) {
				secret[from+j] = true
			}
			from++
		}
	}
	if secret != nil {
		var b strings.Builder
		for i := range len(text) {
			switch {
			case !secret[i]:
				b.WriteByte(text[i])
			case i == 0 || !secret[i-1]:
				b.WriteString(redacted)
			}
		}
		text = b.String()
	}
	for _, short := range r.short {
		text = short.ReplaceAllString(text, "${1}"+redacted+"${2}")
	}
	return text
}
