package plugin

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

func TestInputs(t *testing.T) {
	for _, c := range []struct {
		name, settings string
		secrets        map[string]string
		inputs, kept   string
		err            string
	}{
		{name: "the host alone", settings: `{}`, inputs: "host"},
		{name: "none", settings: `{"noHost":true}`},
		{name: "one without secrets is remembered",
			settings: `{"inputs":[{"type":"mqtt","name":"plant","url":"tcp://127.0.0.1:1","topics":["a/#"]}]}`, inputs: "host plant", kept: "plant"},
		{name: "one with a secret is not",
			settings: `{"inputs":[{"type":"mqtt","name":"plant","url":"tcp://127.0.0.1:1","topics":["a/#"]},{"type":"mqtt","name":"plant2","url":"tcp://127.0.0.1:1","topics":["a/#"]}]}`,
			secrets:  map[string]string{"input.plant.password": "secret"}, inputs: "host plant plant2", kept: "plant2"},
		{name: "nor one whose address could hold a secret",
			settings: `{"inputs":[{"type":"mqtt","name":"plant","url":"ws://127.0.0.1:1/?token=secret","topics":["a/#"]},{"type":"mqtt","name":"p","url":"tcp://user:secret@127.0.0.1:1","topics":["a/#"]},{"type":"mqtt","name":"q","url":"user:secret@broker:1883","topics":["a/#"]},{"type":"websocket","name":"r","url":"ws://127.0.0.1:1/","send":"login secret"}]}`,
			inputs:   "host plant p q r"},
		{name: "nor a user, which may be a token",
			settings: `{"inputs":[{"type":"mqtt","name":"plant","url":"tcp://127.0.0.1:1","topics":["a/#"],"user":"secret"},{"type":"nats","name":"n","url":"nats://127.0.0.1:1","subjects":[">"],"user":"secret"}]}`,
			inputs:   "host plant n"},
		{name: "nor what the type does not know",
			settings: `{"inputs":[{"type":"mqtt","name":"plant","url":"tcp://127.0.0.1:1","topics":["a/#"],"password":"secret"},{"type":"push","name":"p","token":"secret"}]}`,
			inputs:   "host plant p", kept: "plant p"},
		{name: "a bad one stops no other", settings: `{"inputs":[{"type":"mqtt","name":"bad","url":"nothing"},{"type":"other","name":"strange"}]}`,
			inputs: "host bad strange"},
		{name: "a bad name", settings: `{"inputs":[{"type":"mqtt","name":"a.b"}]}`, err: `input 1 is called "a.b"`},
		{name: "a name twice", settings: `{"inputs":[{"name":"a"},{"name":"a"}]}`, err: `two inputs are called "a"`},
		{name: "the host's name", settings: `{"inputs":[{"name":"host"}]}`, err: `two inputs are called "host"`},
		{name: "push twice", settings: `{"inputs":[{"type":"push","name":"a"},{"type":"push","name":"b"}]}`, err: "inputs a and b are both"},
		{name: "too many", settings: `{"inputs":[` + strings.Repeat("1,", 100) + `1]}`, err: "there are 101 inputs, and a data source can have 100"},
		{name: "no input at all", settings: `{"inputs":[1]}`, err: "input 1 of the data source settings cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := parseSettings(json.RawMessage(`{"recorder":` + c.settings + `}`))
			if err != nil {
				t.Fatal(err)
			}
			config, err := s.Recorder.config(c.secrets)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("the error is %v", err)
			}
			if err != nil {
				return
			}
			if names := namesOf(config); names != c.inputs {
				t.Errorf("the inputs are %s", names)
			}
			if strings.Contains(string(config.Remember), "secret") {
				t.Errorf("a secret is remembered: %s", config.Remember)
			}
			again, err := parseSettings(config.Remember)
			if err != nil {
				t.Fatal(err)
			}
			remembered, err := again.Recorder.config(nil)
			if err != nil {
				t.Fatal(err)
			}
			host := ""
			if !s.Recorder.NoHost {
				host = "host "
			}
			if names := namesOf(remembered); strings.TrimSpace(names) != strings.TrimSpace(host+c.kept) {
				t.Errorf("the remembered inputs are %s", names)
			}
			for _, r := range remembered.Inputs {
				for _, in := range config.Inputs {
					if in.Name() == r.Name() && in.Version() != r.Version() {
						t.Errorf("input %s does not go on through the first request", in.Name())
					}
				}
			}
		})
	}
}

func namesOf(c recorder.Config) string {
	var names []string
	for _, in := range c.Inputs {
		names = append(names, in.Name())
	}
	return strings.Join(names, " ")
}

// The SDK makes an instance also for a request that comes with older settings.
func TestOlderSettingsComeLate(t *testing.T) {
	rec := recorder.New(t.TempDir(), slog.New(slog.DiscardHandler))
	defer func() { _ = rec.Close() }()
	build := NewFactory(rec)
	pc := backend.PluginContext{OrgID: 1}
	for _, step := range []struct {
		updated int64
		source  string
		sink    bool
	}{{1, `{"recorder":{"hostInterval":2000}}`, true}, {3, `{"recorder":{"noHost":true}}`, false}, {2, `{"recorder":{"hostInterval":3000}}`, false}, {4, `{}`, true}} {
		if _, err := build(backend.WithPluginContext(t.Context(), pc), backend.DataSourceInstanceSettings{UID: "uid", Updated: time.Unix(step.updated, 0), JSONData: []byte(step.source)}); err != nil {
			t.Fatal(err)
		}
		store, err := rec.Store(t.Context(), recorder.Key{Org: 1, UID: "uid"})
		if err != nil {
			t.Fatal(err)
		}
		if got := store.Sink("host") != nil; got != step.sink {
			t.Errorf("after the settings of %d the host is recorded: %v", step.updated, got)
		}
	}
}
