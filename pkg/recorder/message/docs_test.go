package message

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the examples in docs become")

// block is a fenced block of a page, with what it is.
var block = regexp.MustCompile("(?ms)^```(?:json|text|hex) (rules|message|series)( [^\n]*)?\n(.*?)^```$")

// The examples in docs become what the pages say: rules, messages, and the series.
func TestDocs(t *testing.T) {
	paths, err := filepath.Glob("../../../docs/messages/*.md")
	if err != nil || len(paths) < 11 {
		t.Fatal(len(paths), "pages", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			page, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var rules Rules
			var messages []Incoming
			examples := 0
			made := block.ReplaceAllFunc(page, func(b []byte) []byte {
				found := block.FindSubmatch(b)
				text := string(found[3])
				switch string(found[1]) {
				case "rules":
					rules, messages = Rules{Version: Version1}, nil
					if err := json.Unmarshal([]byte(text), &rules); err != nil {
						t.Error(err)
					}
					if err := rules.Check(); err != nil {
						t.Error(err)
					}
				case "message":
					payload := []byte(strings.TrimSuffix(text, "\n"))
					if strings.HasPrefix(string(b), "```hex") {
						if payload, err = hex.DecodeString(string(payload)); err != nil {
							t.Error(err)
						}
					}
					messages = append(messages, Incoming{strings.TrimSpace(string(found[2])), payload})
				case "series":
					examples++
					want := become(rules, messages)
					if text != want && !*update {
						t.Errorf("%s\nbecome\n%s", text, want)
					}
					return []byte("```text series\n" + want + "```")
				}
				return b
			})
			if examples == 0 {
				t.Error("there is no example")
			}
			if *update {
				if err := os.WriteFile(path, made, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func become(rules Rules, messages []Incoming) string {
	var b strings.Builder
	for _, s := range rules.Preview("/", messages, time.UnixMilli(1800000000000)).Samples {
		b.WriteString(s.Text())
		if !s.Arrived {
			fmt.Fprintf(&b, " @ %s", time.UnixMilli(s.Time).UTC().Format("2006-01-02T15:04:05.000Z07:00"))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
