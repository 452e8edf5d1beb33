package mqtt

import (
	"fmt"
	"strings"
	"testing"

	"github.com/continuum-live/continuum-datasource/pkg/internal/broker"
	"github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

var versions = []string{"5", "3.1.1"}

func none(string) string { return "" }

func newInput(t testing.TB, c Config, secret func(string) string) recorder.Input {
	t.Helper()
	if c.Name == "" {
		c.Name = "plant"
	}
	in, err := New(c, secret)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestConformance(t *testing.T) {
	for name, start := range map[string]func(testing.TB) broker.Broker{
		"mosquitto": func(t testing.TB) broker.Broker { return broker.StartMosquitto(t) },
		"mochi":     func(t testing.TB) broker.Broker { return broker.StartMochi(t) },
	} {
		for _, version := range versions {
			t.Run(name+" "+version, func(t *testing.T) {
				c := Config{Version: version, Topics: []string{"plant/#"}, Rules: message.Rules{Rule: message.Rule{TimeKey: "t"}}}
				if name == "mochi" {
					// Its lists of what is under way with QoS 1 can lock one another out.
					c.QoS = new(int)
				}
				inputtest.Run(t, inputtest.Suite{
					Server: start(t),
					Input: func(t testing.TB, address string) recorder.Input {
						c := c
						c.URL = "tcp://" + address
						return newInput(t, c, none)
					},
					Refused: func(t testing.TB, address string) (recorder.Input, string) {
						c := c
						c.URL, c.User = "tcp://"+address, "nobody"
						return newInput(t, c, func(key string) string {
							return map[string]string{"password": "correct horse"}[key]
						}), "correct horse"
					},
					Holds: name == "mosquitto", Persists: name == "mosquitto",
				})
			})
		}
	}
}

func TestNew(t *testing.T) {
	good := Config{Name: "plant", URL: "tcp://localhost", Topics: []string{"#"}}
	two := 2
	five := 5
	for _, test := range []struct {
		name    string
		change  func(*Config)
		secrets map[string]string
		want    string // part of the error
	}{
		{"good", func(*Config) {}, nil, ""},
		{"all", func(c *Config) {
			c.URL, c.Version, c.QoS, c.User, c.ServerName = "wss://broker.example/path", "3.1.1", &two, "u", "other.example"
		}, map[string]string{"password": "p"}, ""},
		{"no URL", func(c *Config) { c.URL = "" }, nil, "url: is missing"},
		{"no scheme", func(c *Config) { c.URL = "localhost:1883" }, nil, "url: must begin with"},
		{"no host", func(c *Config) { c.URL = "tcp://:1883" }, nil, "url: has no host"},
		{"another scheme", func(c *Config) { c.URL = "http://localhost" }, nil, "url: must begin with tcp://"},
		{"a password in the URL", func(c *Config) { c.URL = "tcp://u:geheim@localhost" }, nil, "the fields user and password"},
		{"a broken URL", func(c *Config) { c.URL = "tcp://u:geheim@local host" }, nil, "url: is no URL"},
		{"version", func(c *Config) { c.Version = "4" }, nil, `version: "4"`},
		{"QoS", func(c *Config) { c.QoS = &five }, nil, "qos: must be 0, 1 or 2, not 5"},
		{"no topics", func(c *Config) { c.Topics = nil }, nil, "topics: give at least one"},
		{"a bad topic", func(c *Config) { c.Topics = []string{"a", "b/#/c"} }, nil, "topics: \"b/#/c\""},
		{"rules", func(c *Config) { c.Rules.Format = "xml" }, nil, "rules.format"},
		{"a password without a user", func(c *Config) { c.Version = "3.1.1" }, map[string]string{"password": "geheim"}, "user: "},
		{"certificates without TLS", func(*Config) {}, map[string]string{"caCert": "geheim"}, "url: tcp:// does not encrypt"},
		{"no CA certificate", func(c *Config) { c.URL = "ssl://localhost" }, map[string]string{"caCert": "geheim"}, "caCert: has no certificate"},
		{"no key", func(c *Config) { c.URL = "ssl://localhost" }, map[string]string{"clientCert": "geheim"}, "one needs the other"},
		{"no certificate", func(c *Config) { c.URL = "ssl://localhost" }, map[string]string{"clientCert": "geheim", "clientKey": "geheim"}, "clientCert and clientKey"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := good
			test.change(&c)
			_, err := New(c, func(key string) string { return test.secrets[key] })
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\nwant %s", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Error("the error gives a secret away")
			}
		})
	}
}

func TestVersionChanges(t *testing.T) {
	c := Config{Name: "plant", URL: "tcp://localhost", Topics: []string{"#"}}
	version := func(c Config, password string) string {
		return newInput(t, c, func(key string) string { return map[string]string{"password": password}[key] }).Version()
	}
	same := version(c, "")
	if version(c, "") != same {
		t.Error("the version changes by itself")
	}
	if version(c, "geheim") == same || strings.Contains(version(c, "geheim"), "geheim") {
		t.Error("the password is not part of the version, or readable in it")
	}
	c.Rules.Metric = "x"
	if version(c, "") == same {
		t.Error("the rules are not part of the version")
	}
}

func TestTopics(t *testing.T) {
	for filter, ok := range map[string]bool{
		"a": true, "a/b": true, "/": true, "//a": true, "#": true, "+": true, "+/+/#": true, "a/+/b": true, "$SYS/#": true, "a b/é": true,
		"": false, "a/#/b": false, "#/a": false, "a#": false, "a/b+": false, "+a": false, "a\x00": false, "\xff": false, "$share/g/a": false,
		strings.Repeat("a", 65536): false,
	} {
		if err := checkFilter(filter); (err == nil) != ok {
			t.Errorf("%.20q: %v", filter, err)
		}
	}
	for _, test := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"a/b", "a", false}, {"a", "a/b", false},
		{"a/+", "a/b", true}, {"a/+", "a/", true}, {"a/+", "a", false}, {"a/+", "a/b/c", false}, {"+/+", "/", true}, {"+", "/", false},
		{"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "b", false}, {"#", "a/b", true}, {"#", "/", true},
		{"#", "$SYS/x", false}, {"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true},
		// one filter and another
		{"a/#", "a/+", true}, {"a/+", "a/#", false}, {"+/b", "a/+", false}, {"#", "+/#", true}, {"a/#", "a/#", true}, {"a", "+", false},
	} {
		if got := matches(test.filter, test.topic); got != test.want {
			t.Errorf("%s covers %s: %v", test.filter, test.topic, got)
		}
	}
	if got := fmt.Sprint(reduce([]string{"b", "a/#", "a/b", "a/+", "b", "+/c", "a/+/c"})); got != "[+/c a/# b]" {
		t.Errorf("reduced: %s", got)
	}
	if got := fmt.Sprint(candidates("a/b", []string{"a/#"})); got != "[# a/b a/b/# a/+ a/+/# +/# +/b +/b/# +/+ +/+/#]" {
		t.Errorf("candidates: %s", got)
	}
	for _, filter := range candidates("a/b/c", nil) {
		if checkFilter(filter) != nil || !matches(filter, "a/b/c") {
			t.Errorf("the candidate %s is none", filter)
		}
	}
	if n := len(candidates(strings.Repeat("a/", 30_000), nil)); n > maxCandidates {
		t.Errorf("%d candidates", n)
	}
}

// FuzzTopics: a filter that is good matches some topics and no others, without a
// panic, and covers itself.
func FuzzTopics(f *testing.F) {
	f.Add("a/+/#", "a/b/c")
	f.Add("#", "$SYS/a")
	f.Add("//", "/")
	f.Fuzz(func(t *testing.T, filter, topic string) {
		if checkFilter(filter) != nil {
			return
		}
		if !strings.HasPrefix(filter, "$") && !matches(filter, filter) {
			t.Errorf("%q does not cover itself", filter)
		}
		if topic == "" || strings.ContainsAny(topic, "+#") || !matches(filter, topic) {
			return
		}
		for _, part := range reduce([]string{filter, topic}) {
			if part == topic && filter != topic {
				t.Errorf("%q is kept beside %q", topic, filter)
			}
		}
	})
}
