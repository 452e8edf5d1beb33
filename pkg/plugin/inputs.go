package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/mqtt"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/nats"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/push"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/websocket"
)

// inputTypes make inputs of their settings and secrets.
var inputTypes = map[string]func(json.RawMessage, func(string) string) (recorder.Input, error){
	"mqtt":      inputOf(mqtt.New),
	"nats":      inputOf(nats.New),
	"push":      inputOf(push.New),
	"websocket": inputOf(websocket.New),
}

func inputOf[C any](build func(C, func(string) string) (recorder.Input, error)) func(json.RawMessage, func(string) string) (recorder.Input, error) {
	return func(raw json.RawMessage, secret func(string) string) (recorder.Input, error) {
		var c C
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, err
		}
		return build(c, secret)
	}
}

// common is what all inputs' settings have.
type common struct {
	Type string `json:"type"`
	Name string `json:"name"`
	URL  string `json:"url"`
	Send string `json:"send"` // may be a login
}

// inputNames become parts of secrets' keys and of names on servers.
var inputNames = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// inputs returns the inputs that the settings ask for, and those settings that
// have no secrets and need none. An input that cannot be made has that as its
// trouble, and stops no other.
func inputs(all []json.RawMessage, secrets map[string]string) (made []recorder.Input, keep []json.RawMessage, err error) {
	names := map[string]bool{"host": true}
	for i, raw := range all {
		var c common
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, nil, fmt.Errorf("input %d of the data source settings cannot be read: %w", i+1, err)
		}
		if !inputNames.MatchString(c.Name) {
			return nil, nil, fmt.Errorf("input %d is called %q: choose a name of at most 32 small letters, digits, - and _ in the data source settings", i+1, c.Name)
		}
		if names[c.Name] {
			return nil, nil, fmt.Errorf("two inputs are called %q: give one of them another name in the data source settings", c.Name)
		}
		if name := pushed(all[:i]); c.Type == "push" && name != "" {
			return nil, nil, fmt.Errorf("inputs %s and %s are both for what is pushed: remove one of them in the data source settings", name, c.Name)
		}
		names[c.Name] = true
		input, err := makeInput(c, raw, secrets)
		if err != nil {
			input = failed{c.Name, err.Error()}
		}
		made = append(made, input)
		if err == nil && !c.secret(secrets) {
			keep = append(keep, raw)
		}
	}
	return made, keep, nil
}

func makeInput(c common, raw json.RawMessage, secrets map[string]string) (recorder.Input, error) {
	build := inputTypes[c.Type]
	if build == nil {
		return nil, fmt.Errorf("the type %q of input %s is not known", c.Type, c.Name)
	}
	return build(raw, func(key string) string { return secrets[c.secretPrefix()+key] })
}

func (c common) secretPrefix() string { return "input." + c.Name + "." }

// secret reports whether an input has secrets, or an address that may hold some.
func (c common) secret(secrets map[string]string) bool {
	for key, value := range secrets {
		if strings.HasPrefix(key, c.secretPrefix()) && value != "" { // Grafana empties what was deleted
			return true
		}
	}
	for server := range strings.SplitSeq(c.URL, ",") {
		u, err := url.Parse(server)
		if err != nil || u.User != nil || u.Opaque != "" || u.RawQuery != "" || strings.Contains(server, "@") {
			return true
		}
	}
	return c.Send != ""
}

// pushed returns the name of the input that takes what is pushed, empty if there
// is none.
func pushed(all []json.RawMessage) string {
	for _, raw := range all {
		var c common
		if json.Unmarshal(raw, &c) == nil && c.Type == "push" {
			return c.Name
		}
	}
	return ""
}

// failed is an input that cannot be made.
type failed struct{ name, trouble string }

func (f failed) Name() string { return f.name }

func (f failed) Version() string { return f.trouble }

func (f failed) Run(ctx context.Context, sink *recorder.Sink) {
	sink.Trouble(f.trouble)
	<-ctx.Done()
}
