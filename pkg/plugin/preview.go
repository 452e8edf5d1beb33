package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

// previewRequest is the body of POST inputs/preview.
type previewRequest struct {
	// Type is the type of the input.
	Type  string        `json:"type"`
	Rules message.Rules `json:"rules"`
	// Messages are in the order of their arrival. Each has either Payload or Data.
	Messages []struct {
		Topic   string `json:"topic"`
		Payload string `json:"payload"`
		Data    []byte `json:"data"`
	} `json:"messages"`
}

const (
	maxPreviewMessages = 20
	maxPreviewBytes    = 2 << 20
)

// separators separate the levels of topics, by the type of the input.
var separators = map[string]string{"mqtt": "/", "nats": ".", "websocket": "/"}

// preview answers with what becomes of messages under rules. Nothing is stored.
func preview(w http.ResponseWriter, r *http.Request) {
	if !mayEdit(backend.PluginConfigFromContext(r.Context())) {
		respond(w, nil, errRole)
		return
	}
	var asked previewRequest
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPreviewBytes))
	if err == nil {
		asked.Rules.Version = message.Version1 // if the request has none, as in inputOf
		err = json.Unmarshal(b, &asked)
	}
	separator := separators[asked.Type]
	switch {
	case err != nil:
		err = fmt.Errorf("the request cannot be read: %w", err)
	case separator == "":
		err = fmt.Errorf("the type %q is none of mqtt, nats, websocket", asked.Type)
	case len(asked.Messages) == 0:
		err = errors.New("messages: give at least one")
	case len(asked.Messages) > maxPreviewMessages:
		err = fmt.Errorf("messages: there are more than %d", maxPreviewMessages)
	default:
		err = asked.Rules.Check()
	}
	if err != nil {
		respond(w, nil, invalid{err})
		return
	}
	messages := make([]message.Incoming, len(asked.Messages))
	for i, m := range asked.Messages {
		messages[i] = message.Incoming{Topic: m.Topic, Payload: m.Data}
		if m.Data == nil {
			messages[i].Payload = []byte(m.Payload)
		}
	}
	respond(w, asked.Rules.Preview(separator, messages, time.Now()), nil)
}

// topics returns the topics that an input has seen lately, with their last messages.
func (in *instance) topics(store *recorder.Store, r *http.Request) (any, error) {
	sink := store.Sink(r.PathValue("name"))
	if sink == nil {
		return nil, invalid{fmt.Errorf("there is no input %q that runs: save the settings first", r.PathValue("name"))}
	}
	return append([]message.Topic{}, message.Topics(sink)...), nil
}
