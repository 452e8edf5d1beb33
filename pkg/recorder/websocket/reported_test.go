package websocket

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
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
		"w03-two-step-login": func(t *testing.T) { t.Skip("not yet: a second text is sent after an answer") },
		"w04-send-lines":     func(t *testing.T) { t.Skip("not yet: several texts are sent") },
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
