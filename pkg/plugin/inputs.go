package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/mqtt"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/nats"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/push"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/websocket"
)

// inputSettings are the settings of an input of one type, without its secrets.
type inputSettings interface {
	// Secrets returns the names of the secrets that such an input may have.
	Secrets() []string
	// Sensitive reports whether the settings themselves may hold a secret.
	Sensitive() bool
}

// inputType makes an input from its settings and secrets. It also returns the parsed
// settings.
type inputType func(raw json.RawMessage, secret func(string) string) (recorder.Input, inputSettings, error)

var inputTypes = map[string]inputType{
	"mqtt":      inputOf(mqtt.New),
	"nats":      inputOf(nats.New),
	"push":      inputOf(push.New),
	"websocket": inputOf(websocket.New),
}

func inputOf[C inputSettings](build func(C, func(string) string) (recorder.Input, error)) inputType {
	return func(raw json.RawMessage, secret func(string) string) (recorder.Input, inputSettings, error) {
		var c C
		// Rules that were saved without a version are of version 1.
		if err := json.Unmarshal(fmt.Appendf(nil, `{"rules":{"version":%d}}`, message.Version1), &c); err != nil {
			return nil, nil, err
		}
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, nil, err
		}
		declared := c.Secrets()
		in, err := build(c, func(key string) string {
			if !slices.Contains(declared, key) {
				return "" // an input only gets the secrets that it declares
			}
			return secret(key)
		})
		return in, c, err
	}
}

// common are the settings that all inputs have.
type common struct {
	Type string `json:"type"`
	Name string `json:"name"`
}

// maxInputs is how many inputs a store may have. Each takes some of the processor and of
// the memory also when nothing comes.
const maxInputs = 100

// inputNames restricts names, because they become parts of the keys of secrets and
// of names on servers.
var inputNames = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// inputs makes the inputs of the settings. keep are the settings of inputs that
// neither have nor need secrets. An input that cannot be made shows the reason as
// its trouble, and does not keep the others from running.
func inputs(all []json.RawMessage, secrets map[string]string) (made []recorder.Input, keep []json.RawMessage, err error) {
	if len(all) > maxInputs {
		return nil, nil, fmt.Errorf("there are %d inputs, and a data source can have %d: remove some in the data source settings, or move them to another data source", len(all), maxInputs)
	}
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
		input, public, err := makeInput(c, raw, secrets)
		if err != nil {
			input = failed{c.Name, err.Error()}
		}
		made = append(made, input)
		if err == nil && public != nil {
			keep = append(keep, public)
		}
	}
	return made, keep, nil
}

// makeInput makes an input. public are those of its settings that its type knows,
// nil if the input has secrets.
func makeInput(c common, raw json.RawMessage, secrets map[string]string) (in recorder.Input, public json.RawMessage, err error) {
	build := inputTypes[c.Type]
	if build == nil {
		return nil, nil, fmt.Errorf("the type %q of input %s is not known", c.Type, c.Name)
	}
	secret := func(key string) string { return secrets["input."+c.Name+"."+key] }
	in, settings, err := build(raw, secret)
	if err != nil || settings.Sensitive() || slices.ContainsFunc(settings.Secrets(), func(key string) bool { return secret(key) != "" }) {
		return in, nil, err
	}
	// Only the fields that the type knows: others in the settings may be secrets.
	public, err = json.Marshal(settings)
	if err != nil {
		return in, nil, err
	}
	kind, err := json.Marshal(c.Type)
	return in, slices.Concat([]byte(`{"type":`), kind, []byte(","), public[1:]), err
}

// pushed returns the name of the push input, empty if there is none.
func pushed(all []json.RawMessage) string {
	for _, raw := range all {
		var c common
		if json.Unmarshal(raw, &c) == nil && c.Type == "push" {
			return c.Name
		}
	}
	return ""
}

// failed stands for an input that could not be made, and shows why.
type failed struct{ name, trouble string }

func (f failed) Name() string { return f.name }

func (f failed) Version() string { return f.trouble }

func (f failed) Run(ctx context.Context, sink *recorder.Sink) {
	sink.Trouble(f.trouble)
	<-ctx.Done()
}
