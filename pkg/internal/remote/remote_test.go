package remote

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// roundTrip is a server in memory.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func asking(t *testing.T, c Config, h http.HandlerFunc) *Client {
	t.Helper()
	var err error
	if c.Base, err = url.Parse("http://server/api/"); err != nil {
		t.Fatal(err)
	}
	c.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		h(w, r)
		rsp := w.Result()
		rsp.Request = r
		return rsp, nil
	})}
	c.Name, c.Setting, c.Endpoint = "the server", "URL", "check the URL"
	c.Explain = func(_ http.Header, body []byte) Said { return Said{Text: string(body)} }
	return New(c)
}

func (c *Client) ask(t *testing.T, path string) error {
	t.Helper()
	return c.Do(t.Context(), Request{URL: c.Base.JoinPath(path), Tries: 1, Limit: limits.Names, Read: func(_ http.Header, r io.Reader) error {
		_, err := io.ReadAll(r)
		return err
	}})
}

func TestRedact(t *testing.T) {
	const odd = `pa"ss/wö rd&+`
	asJSON, _ := json.Marshal(odd)
	for _, tc := range []struct {
		name    string
		secrets []string
		text    string
		want    string
	}{
		{"none", nil, "text", "text"},
		{"empty", []string{"", " "}, "te xt", "te xt"},
		{"one", []string{"geheim"}, "a geheim b geheim", "a [secret] b [secret]"},
		{"one that begins another", []string{"abcd", "abcdefgh"}, "x abcdefgh abcd", "x [secret] [secret]"},
		{"one that ends another", []string{"efgh", "abcdefgh"}, "abcdefgh", "[secret]"},
		{"two that overlap", []string{"abcdef", "defghi"}, "abcdefghi", "[secret]"},
		{"one that overlaps itself", []string{"abab"}, "ababab", "[secret]"},
		{"with spaces around it", []string{" geheim\n"}, "=geheim=", "=[secret]="},
		{"in JSON", []string{odd}, string(asJSON), `"[secret]"`},
		{"in JSON of PHP", []string{odd}, `"pa\"ss\/w\u00f6 rd&+"`, `"[secret]"`},
		{"quoted", []string{odd}, fmt.Sprintf("%q %+q", odd, odd), `"[secret]" "[secret]"`},
		{"in a query", []string{odd}, "?k=" + url.QueryEscape(odd), "?k=[secret]"},
		{"in a path, in small letters", []string{odd}, "/pa%22ss%2fw%c3%b6%20rd&+", "/[secret]"},
		{"in HTML", []string{odd}, "pa&#34;ss/wö rd&amp;+", "[secret]"},
		{"in basic auth", []string{"me:" + odd}, "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+odd)), "Basic [secret]"},
		{"a short one tears no words apart", []string{"a", "42"}, "a catalog of 42 (or 142), a, a", "[secret] catalog of [secret] (or 142), [secret], [secret]"},
	} {
		if got := newRedactor(tc.secrets).redact(tc.text); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("abcd", "abcdefgh", "x abcdefgh y")
	f.Add("päss wörd", `"\"`, "päss\nwörd")
	f.Fuzz(func(t *testing.T, a, b, text string) {
		c := New(Config{HTTP: http.DefaultClient, Secrets: []string{a}, Private: []string{b}})
		got := c.Text(text + a + text + b)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00\u2028") || utf8.RuneCountInString(got) > maxSaid+1 {
			t.Errorf("%q is no line", got)
		}
		for _, secret := range []string{a, b} {
			// The marks themselves may spell it.
			if rest := strings.ReplaceAll(got, redacted, "\x00"); len(strings.TrimSpace(secret)) >= minForm && strings.Contains(rest, strings.TrimSpace(secret)) {
				t.Errorf("%q is in %q", secret, got)
			}
		}
	})
}

// Whatever a server answers, a failure is a line that Grafana takes.
func TestFailuresAreLines(t *testing.T) {
	const bad = "\xff\xfe\r\nlevel=error msg=\"all is lost\"\u2028\u202e\x1b[31m"
	for name, handler := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/login%ff%0a%e2%80%ae")
			w.WriteHeader(http.StatusFound)
		},
		"a redirect to another host": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://%ff%80.invalid/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"a message": func(w http.ResponseWriter, r *http.Request) { http.Error(w, bad, http.StatusBadRequest) },
		"a long message": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, strings.Repeat(bad, 1000), http.StatusForbidden)
		},
		"a strange status": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(599) },
	} {
		c := asking(t, Config{}, handler)
		err := c.Do(t.Context(), Request{URL: c.Base.JoinPath("\xffquery"), Post: true, Tries: 1, Limit: limits.Names, Read: func(http.Header, io.Reader) error { return errors.New(bad) }})
		if err == nil || !errors.Is(err, source.ErrDownstream) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if text := err.Error(); !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n\u2028\u202e\x1b") || len(text) > 4*maxText {
			t.Errorf("%s: got %q", name, text)
		}
	}
	c := asking(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	err := c.Do(t.Context(), Request{URL: c.Base.JoinPath("query"), Tries: 1, Limit: limits.Names, Read: func(http.Header, io.Reader) error { return errors.New("is wrong: " + bad) }})
	if want := "the answer of the server to /query is wrong: \ufffd level=error msg=\"all is lost\" [31m"; err == nil || err.Error() != want {
		t.Errorf("got %q", err)
	}
}

// A tenant's name is kept out of errors, and may be in data.
func TestPrivate(t *testing.T) {
	c := asking(t, Config{Secrets: []string{"geheim"}, Private: []string{"acme"}}, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "geheim of acme is wrong", http.StatusUnauthorized)
	})
	want := "the server answers 401 Unauthorized to /x: [secret] of [secret] is wrong: check the credentials and headers in the data source settings"
	if err := c.ask(t, "x"); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if got := c.Redact("geheim of acme"); got != "[secret] of acme" {
		t.Errorf("got %s", got)
	}
}

// Who has not asked before waits too, and a shorter wish does not end a longer
// one.
func TestRetryAfterHoldsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		both := make(chan struct{})
		c := asking(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			n := asked.Add(1)
			if n > 2 {
				return
			}
			if n == 2 {
				close(both)
			}
			<-both // so that neither knows of the other
			time.Sleep(time.Duration(n) * time.Second)
			w.Header().Set("Retry-After", []string{"60", "5"}[n-1])
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		go func() { _ = c.ask(t, "a") }()
		synctest.Wait()
		if err := c.ask(t, "b"); err == nil {
			t.Error("it is not refused")
		}
		time.Sleep(30 * time.Second)
		if err := c.ask(t, "c"); err == nil || !strings.Contains(err.Error(), "503 Service Unavailable") || asked.Load() != 2 {
			t.Errorf("after 30 s: %v, asked %d times", err, asked.Load())
		}
		time.Sleep(30 * time.Second)
		if err := c.ask(t, "d"); err != nil || asked.Load() != 3 {
			t.Errorf("after a minute: %v, asked %d times", err, asked.Load())
		}
	})
}

func TestRedirectsStayOnTheServer(t *testing.T) {
	for location, want := range map[string]string{
		"/api/there":                "",
		"http://SERVER:80/there":    "",
		"https://server/there":      "",
		"http://server:8080/there":  "not followed",
		"http://other/there":        "not followed",
		"http://server.evil/there":  "not followed",
		"http://me@other/there":     "not followed",
		"http://server@other/there": "not followed",
	} {
		c := asking(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/there") {
				http.Redirect(w, r, location, http.StatusTemporaryRedirect)
			}
		})
		if err := c.ask(t, "x"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", location, err)
		}
	}
}

// What an answer could fill the memory with is refused, and the limit named.
func TestLargeAnswers(t *testing.T) {
	for name, tc := range map[string]struct{ answer, want string }{
		"many bytes":  {strings.Repeat("[] ", 3<<20), "is too large: List of names from a server: "},
		"a long text": {`"` + strings.Repeat("x", 1<<20), "is too large: Text in an answer of a server"},
		"deep":        {strings.Repeat("[", 1000), "is too large: Nesting: 201 levels are more than the limit of 200"},
	} {
		c := asking(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tc.answer) })
		if err := c.ask(t, "x"); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
