package channel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
)

const digest = "00112233445566778899aabbccddeeff"

var digestBytes = Digest{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}

func TestRoundTrip(t *testing.T) {
	for _, tc := range []struct {
		path Path
		want string
	}{
		{Path{Step: 1000, Window: 320_000, Digest: digestBytes}, "stream/1000/320000/" + digest},
		{Path{Step: 1000, Window: 320_000, Digest: digestBytes, Nonce: 1}, "stream/1000/320000/" + digest + "/1"},
		{Path{Step: 1, Window: 1, Digest: Digest{}, Nonce: MaxNonce}, "stream/1/1/" + strings.Repeat("0", 32) + "/999999999"},
		{Path{Step: MaxTime, Window: MaxTime, Digest: digestBytes}, "stream/999999999999999/999999999999999/" + digest},
	} {
		t.Run(tc.want, func(t *testing.T) {
			if got := tc.path.String(); got != tc.want {
				t.Errorf("String: got %s", got)
			}
			got, err := ParsePath(tc.want)
			if err != nil || got != tc.path {
				t.Errorf("ParsePath: got %+v, %v", got, err)
			}
		})
	}
}

// Two texts must never name the same rows: Grafana would run two streams, and
// browsers would keep two buffers.
func TestParsePathRefuses(t *testing.T) {
	for _, tc := range []struct{ name, path string }{
		{"nothing", ""},
		{"slashes", "////"},
		{"another word", "tail/1000/320000/" + digest},
		{"another case", "Stream/1000/320000/" + digest},
		{"a leading slash", "/stream/1000/320000/" + digest},
		{"a trailing slash", "stream/1000/320000/" + digest + "/"},
		{"a trailing slash after the nonce", "stream/1000/320000/" + digest + "/1/"},
		{"an empty part", "stream//1000/320000/" + digest},
		{"too few parts", "stream/1000/" + digest},
		{"too many parts", "stream/1000/320000/" + digest + "/1/1"},
		{"the whole channel", "ds/uid/stream/1000/320000/" + digest},
		{"a leading zero in the step", "stream/01000/320000/" + digest},
		{"a leading zero in the window", "stream/1000/0320000/" + digest},
		{"a leading zero in the nonce", "stream/1000/320000/" + digest + "/01"},
		{"a plus sign in the step", "stream/+1000/320000/" + digest},
		{"a plus sign in the nonce", "stream/1000/320000/" + digest + "/+1"},
		{"a negative step", "stream/-1000/320000/" + digest},
		{"a negative window", "stream/1000/-320000/" + digest},
		{"a negative nonce", "stream/1000/320000/" + digest + "/-1"},
		{"a step of 0", "stream/0/320000/" + digest},
		{"a step of -0", "stream/-0/320000/" + digest},
		{"a window of 0", "stream/1000/0/" + digest},
		{"nonce 0", "stream/1000/320000/" + digest + "/0"},
		{"a nonce too large", "stream/1000/320000/" + digest + "/1000000000"},
		{"a step too large", "stream/1000000000000000/1000000000000000/" + digest},
		{"a window too large", "stream/1/" + strconv.FormatInt(grid.Window(MaxTime+1, 1), 10) + "/" + digest},
		{"more than an int64", "stream/1000/9223372036854775808/" + digest},
		{"far more than an int64", "stream/1000/" + strings.Repeat("9", 60) + "/" + digest},
		{"a nonce that overflows", "stream/1000/320000/" + digest + "/18446744073709551617"},
		{"a fraction", "stream/1000.0/320000/" + digest},
		{"an exponent", "stream/1e3/320000/" + digest},
		{"hexadecimal", "stream/0x3e8/320000/" + digest},
		{"an underscore", "stream/1_000/320000/" + digest},
		{"NaN", "stream/NaN/NaN/" + digest},
		{"infinity", "stream/1000/Inf/" + digest},
		{"a space", "stream/ 1000/320000/" + digest},
		{"a line end", "stream/1000/320000/" + digest + "\n"},
		{"digits of another script", "stream/١٠٠٠/320000/" + digest},
		{"a window that is no multiple of the step", "stream/1000/320500/" + digest},
		{"a window that is not rounded up", "stream/1000/300000/" + digest},
		{"a window shorter than the step", "stream/1000/500/" + digest},
		{"a digest in upper case", "stream/1000/320000/" + strings.ToUpper(digest)},
		{"a digest too short", "stream/1000/320000/" + digest[2:]},
		{"a digest too long", "stream/1000/320000/" + digest + "00"},
		{"a digest that is not hexadecimal", "stream/1000/320000/g" + digest[1:]},
		{"no digest", "stream/1000/320000/"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if p, err := ParsePath(tc.path); !errors.Is(err, ErrPath) || p != (Path{}) {
				t.Errorf("%q: got %+v, %v", tc.path, p, err)
			}
		})
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("stream/1000/320000/" + digest)
	f.Add("stream/1000/320000/" + digest + "/17")
	f.Add("stream/+1/01/" + strings.ToUpper(digest) + "/0")
	f.Add("stream/1/999999999999999/" + digest)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Errorf("%q was accepted as %q", s, p)
		}
		if p.Step < 1 || p.Window < p.Step || p.Window%p.Step != 0 || p.Nonce < 0 || p.Nonce > MaxNonce {
			t.Errorf("%q was accepted", s)
		}
	})
}

// Every path that can be made from a legal window is accepted.
func FuzzMadePath(f *testing.F) {
	f.Add(int64(1000), int64(300_000), int64(0), []byte("digest"))
	f.Add(int64(MaxTime), int64(1), int64(MaxNonce), []byte{})
	f.Fuzz(func(t *testing.T, step, length, nonce int64, sum []byte) {
		if step < 1 || step > MaxTime || length > MaxTime || nonce < 0 || nonce > MaxNonce {
			t.Skip()
		}
		p := Path{Step: step, Window: grid.Window(length, step), Nonce: nonce}
		copy(p.Digest[:], sum)
		if p.Window > MaxTime {
			t.Skip()
		}
		if got, err := ParsePath(p.String()); err != nil || got != p {
			t.Errorf("%s: got %+v, %v", p, got, err)
		}
	})
}

// Grafana accepts channels of at most 160 characters of this alphabet; of others
// it says nothing and stays silent.
func TestChannelFitsIntoGrafanasLimits(t *testing.T) {
	uid := strings.Repeat("Aa0_-zZ9", 5) // Grafana's longest: 40 characters
	for _, p := range []Path{
		{Step: 10, Window: 10},
		// The longest of all: both times have fifteen digits, the nonce nine.
		{Step: MaxTime, Window: MaxTime, Digest: digestBytes, Nonce: MaxNonce},
	} {
		ch := p.Channel(uid)
		if len(ch) > 160 || !regexp.MustCompile(`^[A-Za-z0-9_\-/=.]+$`).MatchString(ch) {
			t.Errorf("%d characters: %s", len(ch), ch)
		}
		if want := "ds/" + uid + "/"; !strings.HasPrefix(ch, want) || ch[len(want):] != p.String() {
			t.Errorf("got %s", ch)
		}
		if _, err := ParsePath(p.String()); err != nil {
			t.Errorf("%s is not legal", p)
		}
		t.Logf("%d characters: %s", len(ch), ch)
	}
}

func sample() Data {
	return Data{Query: json.RawMessage(`{"shape":"walk"}`), Legend: "{{shape}}", Fields: []string{"signal"}, Revision: "1"}
}

// pathOf encodes data and returns it with its path.
func pathOf(t testing.TB, d Data) (string, Path) {
	t.Helper()
	encoded, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return encoded, Path{Step: 1000, Window: 320_000, Digest: DigestOf(encoded)}
}

// quote returns s as a JSON string, as the front end sends it.
func quote(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return b
}

// escaped is the same JSON string with every UTF-16 unit as an escape.
func escaped(s string) json.RawMessage {
	var b strings.Builder
	for _, r := range s {
		if r >= 0x10000 {
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04X`, 0xd800+r>>10, 0xdc00+r&0x3ff)
			continue
		}
		fmt.Fprintf(&b, `\u%04x`, r)
	}
	return json.RawMessage(`"` + b.String() + `"`)
}

// The digest is part of the path, and open channels outlive an update of the
// plugin: the encoding must not change by accident.
func TestEncode(t *testing.T) {
	for _, tc := range []struct {
		name string
		data Data
		want string
	}{
		{"usual", sample(), `{"query":{"shape":"walk"},"legend":"{{shape}}","fields":["signal"],"revision":"1"}`},
		{"white space in the query", Data{Query: json.RawMessage(" { \"a\" : 1 }\n")}, `{"query":{"a":1},"legend":"","fields":null,"revision":""}`},
		{"no query", Data{Fields: []string{}}, `{"query":null,"legend":"","fields":[],"revision":""}`},
		{"HTML", Data{Query: json.RawMessage(`"<&>"`), Legend: "<&>"}, `{"query":"<&>","legend":"<&>","fields":null,"revision":""}`},
		{"line separators", Data{Query: json.RawMessage("\"\u2028\""), Legend: "\u2028"}, "{\"query\":\"\u2028\",\"legend\":\"\\u2028\",\"fields\":null,\"revision\":\"\"}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := tc.data.Encode(); err != nil || got != tc.want {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	if s, err := (Data{Query: json.RawMessage(`{`)}).Encode(); err == nil {
		t.Errorf("a query that is not JSON was encoded as %s", s)
	}
	if got, want := fmt.Sprintf("%x", DigestOf("abc")), "ba7816bf8f01cfea414140de5dae2223"; got != want {
		t.Errorf("the digest of abc is %s, not the first half of its SHA-256, %s", got, want)
	}
}

// However the one JSON string is encoded on the way, by a browser's parse and
// stringify or by a proxy in between, the data is the same.
func TestCarriesWhateverTheEncoding(t *testing.T) {
	for _, tc := range []struct {
		name string
		data Data
	}{
		{"usual", sample()},
		{"empty", Data{}},
		{"HTML", Data{Query: json.RawMessage(`{"a":"<b>&amp;</b>"}`), Legend: "</script>&"}},
		{"line separators", Data{Query: json.RawMessage("{\"a\":\"\u2028\u2029\"}"), Legend: "\u2028\u2029", Fields: []string{"\u2028"}}},
		{"quotes and backslashes", Data{Query: json.RawMessage(`{"a":"\"\\"}`), Legend: `"\`, Fields: []string{`"`, `\`}}},
		{"control characters", Data{Legend: "\x00\t\n\x1f\x7f"}},
		{"beyond 16 bits", Data{Query: json.RawMessage(`{"a":"𝄞"}`), Legend: "𝄞 é 日本"}},
		{"escapes in the query", Data{Query: json.RawMessage(`{"a":"\u00e9\ud834\udd1e"}`)}},
		{"numbers that float64 would change", Data{Query: json.RawMessage(`{"a":1.0,"b":1e2,"c":12345678901234567890}`)}},
		{"replacement characters", Data{Legend: "\uFFFD", Fields: []string{"\uFFFD"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			encoded, p := pathOf(t, tc.data)
			var plain bytes.Buffer
			enc := json.NewEncoder(&plain)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(encoded); err != nil {
				t.Fatal(err)
			}
			for name, raw := range map[string]json.RawMessage{
				"with HTML escaped": quote(encoded),
				"plain":             json.RawMessage(plain.Bytes()),
				"all escaped":       escaped(encoded),
				"with white space":  json.RawMessage(" " + string(quote(encoded)) + "\n"),
			} {
				got, err := p.Carries(raw)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if again, _ := got.Encode(); again != encoded {
					t.Errorf("%s: got %s, want %s", name, again, encoded)
				}
				if got.Legend != tc.data.Legend || !slices.Equal(got.Fields, tc.data.Fields) {
					t.Errorf("%s: got %+v", name, got)
				}
			}
		})
	}
}

func TestCarriesRefuses(t *testing.T) {
	encoded, _ := pathOf(t, sample())
	large := Data{Legend: strings.Repeat("x", MaxData)}
	largeText, _ := pathOf(t, large)
	for _, tc := range []struct {
		name string
		text string // what the path was made for
		raw  json.RawMessage
	}{
		{"nothing", encoded, nil},
		{"null", encoded, json.RawMessage(`null`)},
		{"an empty string", encoded, json.RawMessage(`""`)},
		{"the data as an object", encoded, json.RawMessage(encoded)},
		{"a number", encoded, json.RawMessage(`1`)},
		{"not JSON", encoded, json.RawMessage(`"`)},
		{"two values", encoded, append(quote(encoded), `""`...)},
		{"other data", encoded, quote(strings.Replace(encoded, "walk", "sine", 1))},
		{"white space around", encoded, quote(encoded + "\n")},
		{"another digest", encoded + " ", quote(encoded)},
		{"too large", largeText, quote(largeText)},
		{"far too large", encoded, json.RawMessage(`"` + strings.Repeat(`A`, 6*MaxData+2) + `"`)},
		// The digest is right, but the text is not what Encode makes: no one but
		// the back end makes it, so whoever sends this made it up.
		{"not JSON inside", `{`, quote(`{`)},
		{"null inside", `null`, quote(`null`)},
		{"white space inside", `{ }`, quote(`{ }`)},
		{"an unknown field", encoded[:len(encoded)-1] + `,"x":1}`, quote(encoded[:len(encoded)-1] + `,"x":1}`)},
		{"a field twice", encoded[:len(encoded)-1] + `,"revision":"1"}`, quote(encoded[:len(encoded)-1] + `,"revision":"1"}`)},
		{"a field in another case", strings.Replace(encoded, "legend", "Legend", 1), quote(strings.Replace(encoded, "legend", "Legend", 1))},
		{"a wrong type", strings.Replace(encoded, `"1"`, `1`, 1), quote(strings.Replace(encoded, `"1"`, `1`, 1))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := Path{Step: 1000, Window: 320_000, Digest: DigestOf(tc.text)}
			if d, err := p.Carries(tc.raw); !errors.Is(err, ErrData) || !equal(d, Data{}) {
				t.Errorf("got %+v, %v", d, err)
			}
		})
	}
}

func equal(a, b Data) bool {
	return string(a.Query) == string(b.Query) && a.Legend == b.Legend && slices.Equal(a.Fields, b.Fields) && a.Revision == b.Revision
}

// The largest data is accepted even when every character comes as an escape.
func TestCarriesLargest(t *testing.T) {
	empty, _ := pathOf(t, Data{})
	for _, fill := range []string{"x", "<", `"`, "\u2028"} {
		for _, more := range []int{0, 1} {
			one, _ := pathOf(t, Data{Legend: fill})
			n := (MaxData - len(empty)) / (len(one) - len(empty))
			pad := (MaxData - len(empty)) % (len(one) - len(empty))
			d := Data{Legend: strings.Repeat(fill, n) + strings.Repeat("x", pad+more)}
			encoded, p := pathOf(t, d)
			if len(encoded) != MaxData+more {
				t.Fatalf("%d bytes", len(encoded))
			}
			for _, raw := range []json.RawMessage{quote(encoded), escaped(encoded)} {
				if _, err := p.Carries(raw); (err == nil) != (more == 0) {
					t.Errorf("%d bytes of %q as %d: %v", len(encoded), fill, len(raw), err)
				}
			}
		}
	}
}

func FuzzCarries(f *testing.F) {
	encoded, _ := pathOf(f, sample())
	f.Add(encoded, true)
	f.Add(string(quote(encoded)), false)
	f.Add(`{"query":null,"legend":"","fields":null,"revision":""}`, true)
	f.Add(`{"query":"`+"\u2028\xff"+`","legend":"","fields":null,"revision":""}`, true)
	f.Fuzz(func(t *testing.T, s string, quoted bool) {
		raw := json.RawMessage(s)
		if quoted {
			raw = quote(s)
		}
		var text string
		_ = json.Unmarshal(raw, &text)
		p := Path{Step: 1000, Window: 320_000, Digest: DigestOf(text)}
		d, err := p.Carries(raw)
		if err != nil {
			return
		}
		if again, err := d.Encode(); err != nil || again != text || len(text) > MaxData {
			t.Errorf("%q was accepted, its data is %q, %v", text, again, err)
		}
		p.Digest[15] ^= 1
		if _, err := p.Carries(raw); err == nil {
			t.Errorf("%q was accepted for another digest", text)
		}
	})
}

// Whatever the back end encodes it believes when it comes back: all of its text
// comes out of JSON, and so is UTF-8.
func FuzzEncode(f *testing.F) {
	f.Add("{}", "legend", "field", "revision")
	f.Add("{\"a\":\"<\u2028>\"}", "\"<\u2028>\\", "\x00", "\uFFFD")
	f.Add(" [1.0, 1e2 ] ", "", "", "")
	f.Fuzz(func(t *testing.T, query, legend, field, revision string) {
		valid := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
		if !json.Valid([]byte(query)) {
			query = string(quote(query))
		}
		d := Data{Query: json.RawMessage(valid(query)), Legend: valid(legend), Fields: []string{valid(field)}, Revision: valid(revision)}
		encoded, p := pathOf(t, d)
		got, err := p.Carries(quote(encoded))
		if len(encoded) > MaxData {
			t.Skip()
		}
		if err != nil || got.Legend != d.Legend || got.Fields[0] != d.Fields[0] || got.Revision != d.Revision {
			t.Errorf("%s: got %+v, %v", encoded, got, err)
		}
	})
}

// What decides the rows decides the path.
func TestDigestTellsApart(t *testing.T) {
	seen := map[Digest]string{}
	for _, d := range []Data{
		sample(),
		{Query: sample().Query, Legend: "other", Fields: sample().Fields, Revision: "1"},
		{Query: sample().Query, Legend: "{{shape}}", Fields: []string{"signal", "b"}, Revision: "1"},
		{Query: sample().Query, Legend: "{{shape}}", Fields: []string{"b", "signal"}, Revision: "1"},
		{Query: sample().Query, Legend: "{{shape}}", Fields: sample().Fields, Revision: "2"},
		{Query: json.RawMessage(`{"shape":"sine"}`), Legend: "{{shape}}", Fields: sample().Fields, Revision: "1"},
	} {
		encoded, p := pathOf(t, d)
		if other, ok := seen[p.Digest]; ok {
			t.Errorf("%s and %s have one digest", encoded, other)
		}
		seen[p.Digest] = encoded
	}
}

func BenchmarkParsePath(b *testing.B) {
	s := Path{Step: 1000, Window: 320_000, Digest: digestBytes, Nonce: 123_456_789}.String()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePath(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCarries(b *testing.B) {
	encoded, p := pathOf(b, sample())
	raw := quote(encoded)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Carries(raw); err != nil {
			b.Fatal(err)
		}
	}
}
