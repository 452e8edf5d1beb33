package websocket

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	. "github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/internal/reported"
)

// graphql is a server that speaks a subprotocol alone, and sends the given texts.
func graphql(t *testing.T, texts ...string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"graphql-transport-ws"}})
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		if c.Subprotocol() == "" {
			_ = c.Close(4406, "Subprotocol not acceptable")
			return
		}
		for _, text := range texts {
			_ = c.Write(r.Context(), websocket.MessageText, []byte(text))
		}
		_, _, _ = c.Read(context.Background())
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

// What people connect to.
func TestReported(t *testing.T) {
	reported.Run(t, map[string]func(t *testing.T){
		"w01-graphql-header": func(t *testing.T) {
			r := Record(t, t.TempDir(), newInput(t, Config{URL: graphql(t, `{"v":1}`)},
				headers(map[string]string{"sec-websocket-protocol": "graphql-ws, graphql-transport-ws"})))
			defer r.Close(t)
			r.Wait(t, 1)
		},
		"w02-graphql-without": func(t *testing.T) {
			r := Record(t, t.TempDir(), newInput(t, Config{URL: graphql(t)}, none))
			defer r.Close(t)
			if trouble := r.Troubled(t, "plant"); !strings.Contains(trouble, "Subprotocol not acceptable") {
				t.Error(trouble)
			}
		},
		"w03-two-step-login": func(t *testing.T) {
			// A login, its answer, then the subscription, as Home Assistant and graphql-transport-ws
			// have it.
			steps := make(chan string, 10)
			url := answering(t, func(text string) string {
				steps <- text
				if strings.Contains(text, "auth") {
					steps <- "accepted"
					return `{"type":"auth_ok"}`
				}
				return `{"v":1}`
			})
			r := Record(t, t.TempDir(), newInput(t, Config{URL: url,
				Send: `{"type": "auth", "access_token": "{{token}}"}` + "\n" + `{"id": 1, "type": "subscribe_events"}`},
				func(key string) string { return map[string]string{"token": `x"y`}[key] }))
			defer r.Close(t)
			r.Wait(t, 1)
			var got []string
			for range 3 {
				got = append(got, <-steps)
			}
			if want := []string{`{"type": "auth", "access_token": "x\"y"}`, "accepted", `{"id": 1, "type": "subscribe_events"}`}; !slices.Equal(got, want) {
				t.Errorf("the server gets %q", got)
			}
		},
		"w04-send-lines": func(t *testing.T) {
			// A server that does not answer.
			got := make(chan string, 10)
			url := answering(t, func(text string) string {
				got <- text
				return ""
			})
			r := Record(t, t.TempDir(), newInput(t, Config{URL: url, Send: "{\"subscribe\":\"a\"}\n{\"subscribe\":\"b\"}\n"}, none))
			defer r.Close(t)
			if a, b := <-got, <-got; a != `{"subscribe":"a"}` || b != `{"subscribe":"b"}` {
				t.Errorf("the server gets %q and %q", a, b)
			}
		},
		"w08-text": func(t *testing.T) {
			s := newServer(t)
			r := Record(t, t.TempDir(), newInput(t, Config{URL: "ws://" + s.address}, none))
			defer r.Close(t)
			s.send(t, websocket.MessageText, []byte("power 230"))
			s.send(t, websocket.MessageText, []byte("230.5"))
			Eventually(t, func() error {
				if in := r.Input("plant"); in.Samples != 1 || in.Skipped["not a number"].Count != 1 {
					return fmt.Errorf("%+v", in)
				}
				return nil
			})
		},
	}, func(t *testing.T, test func(t *testing.T)) { test(t) })
}

func TestSent(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"hello\nworld", []string{"hello\nworld"}},
		{"{\n \"a\": 1\n}\n", []string{"{\n \"a\": 1\n}\n"}},
		{`{"a":1} {"b":2}`, []string{`{"a":1}`, `{"b":2}`}},
		{`["a"]["b"]`, []string{`["a"]`, `["b"]`}},
		{`42["sub",{"a":1}]`, []string{`42["sub",{"a":1}]`}},
		{"CONNECT\naccept-version:1.2\n\n\x00", []string{"CONNECT\naccept-version:1.2\n\n\x00"}},
		{`{"a":1} {"b":`, []string{`{"a":1} {"b":`}},
	} {
		if got := messages(test.text); !slices.Equal(got, test.want) {
			t.Errorf("%q is sent as %q", test.text, got)
		}
	}
}

func TestTokenIsMissing(t *testing.T) {
	_, err := New(Config{URL: "ws://localhost/", Send: `{"auth":"{{token}}"}`}, func(string) string { return "" })
	if err == nil || !strings.Contains(err.Error(), "enter the token") {
		t.Errorf("without a token: %v", err)
	}
}

// answering starts a server that answers each message, unless the answer is empty, and
// returns its URL.
func answering(t *testing.T, answer func(text string) string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		for {
			_, text, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if a := answer(string(text)); a != "" {
				_ = c.Write(r.Context(), websocket.MessageText, []byte(a))
			}
		}
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}
