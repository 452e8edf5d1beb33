package message

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Incoming is a message with its topic.
type Incoming struct {
	Topic   string
	Payload []byte
}

// Preview shows what becomes of messages under rules.
type Preview struct {
	Samples []Previewed `json:"samples"`
	// Skipped are the parts that are not recorded, by reason.
	Skipped map[string]recorder.Skipped `json:"skipped,omitempty"`
	// Suggestions are changes of the rules that would suit the messages.
	Suggestions []Suggestion `json:"suggestions,omitempty"`
}

// Previewed is a sample of a preview.
type Previewed struct {
	Metric string            `json:"metric"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  float64           `json:"value"`
	// Time is in Unix milliseconds. Arrived says that it is the time of arrival.
	Time    int64 `json:"time"`
	Arrived bool  `json:"arrived,omitempty"`
}

// Suggestion is a suggested change of the rule that applies to a message.
type Suggestion struct {
	Text string `json:"text"`
	// Rule is the index of the rule in Rules.Topics, -1 for Rules.Rule.
	Rule int `json:"rule"`
	// Change has the new values of settings of the rule, by their JSON name.
	Change map[string]any `json:"change"`
}

const (
	// maxPreview is the largest number of samples in a preview.
	maxPreview = 200
	// maxSuggested is how many keys are suggested at once.
	maxSuggested = 20
)

// previewing is a sink that stores nothing.
type previewing struct{}

func (previewing) CommitEach(context.Context, []recorder.Sample, int64, func(int, error)) error {
	return nil
}
func (previewing) Report(recorder.Report)                               {}
func (previewing) SetUnits(map[string]string)                           {}
func (previewing) Now() time.Time                                       { return time.Now() }
func (previewing) States(labels.Labels, string) ([]string, bool, error) { return nil, false, nil }

// Preview returns what would become of messages that arrive at now, without storing
// anything. The rules must have passed Check.
func (r Rules) Preview(separator string, messages []Incoming, now time.Time) Preview {
	d := New(r, separator, previewing{})
	words := make(map[int][]string)   // the keys whose texts could be states, by rule
	zoneless := make(map[string]bool) // topics whose stamps have no zone
	shaped := make(map[string]bool)   // topics whose messages need no rule
	for _, m := range messages {
		before := d.pending.skipped[noZone]
		d.add(m.Topic, m.Payload, now, false)
		zoneless[m.Topic] = zoneless[m.Topic] || d.pending.skipped[noZone] > before
		shaped[m.Topic] = shaped[m.Topic] || d.content.shaped
		if index, found := d.ruleFor(m.Topic); found != nil && !found.leaveOut {
			words[index] = d.content.words(words[index])
		}
	}
	p := Preview{Samples: []Previewed{}, Skipped: make(map[string]recorder.Skipped)}
	for _, s := range d.pending.samples[:min(len(d.pending.samples), maxPreview)] {
		lbls := s.Series.Labels.Map()
		name := lbls[model.MetricNameLabel]
		delete(lbls, model.MetricNameLabel)
		v := s.V
		if v != v { // stale: JSON has no NaN
			continue
		}
		p.Samples = append(p.Samples, Previewed{name, lbls, v, s.T, s.Arrived})
	}
	for reason, n := range d.pending.skipped {
		p.Skipped[reason] = recorder.Skipped{Count: n, Example: d.examples[reason]}
	}
	if r.Version != Version1 {
		p.Suggestions = append(r.suggest(d, messages, zoneless, shaped), r.suggestStates(words)...)
	}
	return p
}

// words adds the keys of the message that was read last whose text is one word, and no
// state.
func (c *content) words(keys []string) []string {
	for i := range c.texts {
		t := &c.texts[i]
		key := cmp.Or(string(fieldName(c.span(t.field))), allStates)
		if t.reason == notANumber && isWord(c.span(t.text)) && !labelKeys.MatchString(key) && !slices.Contains(keys, key) && len(keys) < maxSuggested {
			keys = append(keys, key)
		}
	}
	return keys
}

// suggestStates suggests to record texts.
func (r Rules) suggestStates(words map[int][]string) []Suggestion {
	var all []Suggestion
	for _, index := range slices.Sorted(maps.Keys(words)) {
		keys, rule := words[index], r.Rule
		if len(keys) == 0 {
			continue
		}
		text := strings.Join(keys, ", ") + " can be recorded as a state"
		if slices.Contains(keys, allStates) {
			text, keys = "the message is a word: record it as a state", []string{allStates}
		}
		if index == len(r.Topics) {
			index = -1
		} else {
			rule = r.Topics[index]
		}
		all = append(all, Suggestion{text, index, map[string]any{"states": slices.Concat(rule.States, keys)}})
	}
	return all
}

// leaf is a value in JSON with its keys, counted from its record.
type leaf struct{ key, text string }

// shape is what suggestions need to know of a JSON message.
type shape struct {
	leaves []leaf
	each   string // the objects that the rule does not read yet, as Each names them, "" if none
}

var (
	// timeKeys are names that senders use for times, labelKeys names of ids and the
	// like.
	timeKeys  = regexp.MustCompile(`(?i)(^|[._])(ts|t|time|timestamp|datetime|date|last_?seen|at)$|_at$|Time$`)
	labelKeys = regexp.MustCompile(`(^|[._])(?i:id|uuid|mac|addr|address|device|sensor|channel|model|node|station|meter|symbol|tag|serial|sn|imei|eui|name|n|pair|product_id|s)$|(_id|Id|ID|_name|Name|EUI|Eui|eui|guid)$`)
	// messageKeys are names of ids that each message has another of.
	messageKeys = regexp.MustCompile(`(?i)(message|msg|trade|order|update|deduplication|request|event|correlation|transaction|trace|span|packet|seq|sequence)_?id$`)
)

// suggest looks for keys that the rules do not use yet. zoneless are the topics whose stamps
// have no zone, and shaped those whose messages are read by their shape.
func (r Rules) suggest(d *Decoder, messages []Incoming, zoneless, shaped map[string]bool) []Suggestion {
	type group struct {
		rule  int
		r     *rule
		topic string
		all   []shape
	}
	var groups []*group
	for _, m := range messages {
		index, found := d.ruleFor(m.Topic)
		var v any
		if found == nil || shaped[m.Topic] || json.Unmarshal(m.Payload, &v) != nil {
			continue
		}
		var s shape
		s.look(found, "", v, 0)
		at := slices.IndexFunc(groups, func(g *group) bool { return g.topic == m.Topic })
		if at < 0 {
			if index == len(r.Topics) {
				index = -1
			}
			at, groups = len(groups), append(groups, &group{index, found, m.Topic, nil})
		}
		groups[at].all = append(groups[at].all, s)
	}
	var all []Suggestion
	add := func(s Suggestion) {
		if !slices.ContainsFunc(all, func(o Suggestion) bool { return o.Text == s.Text && o.Rule == s.Rule }) {
			all = append(all, s)
		}
	}
	for _, g := range groups {
		if g.r.format != formatAuto && g.r.format != formatJSON {
			continue
		}
		first := g.all[0]
		if first.each != "" && g.r.each == nil {
			text := fmt.Sprintf("%s is an array of objects: record each of them", first.each)
			if key, members := strings.CutSuffix(first.each, allMembers); members {
				text = fmt.Sprintf("%s has an object for each thing: record each of them, with its key as a label", cmp.Or(strings.TrimSuffix(key, "."), "the message"))
			}
			add(Suggestion{text, g.rule, map[string]any{"each": first.each}})
		}
		if key := first.time(g.r); key != "" && g.r.timeKey == "" {
			add(Suggestion{fmt.Sprintf("%s looks like the time: use it as the time key", key), g.rule, map[string]any{"timeKey": key}})
		}
		if zoneless[g.topic] {
			add(Suggestion{"the time has no zone: it is UTC", g.rule, map[string]any{"timezone": "UTC"}})
		}
		if keys, several := tellsApart(g.all, g.r); len(keys) > 0 {
			text := "%s can tell senders apart: make a label of it"
			if several {
				text = "several senders share this topic: make labels of %s"
			} else if len(keys) > 1 {
				text = "%s can tell senders apart: make labels of them"
			}
			old := r.Rule.LabelKeys
			if g.rule >= 0 {
				old = r.Topics[g.rule].LabelKeys
			}
			add(Suggestion{fmt.Sprintf(text, strings.Join(keys, ", ")), g.rule, map[string]any{"labelKeys": slices.Concat(old, keys)}})
		}
	}
	return all
}

// look adds the values of a message to s. Of an array of records it only takes the
// first.
func (s *shape) look(r *rule, path string, v any, depth int) {
	const most = 200
	if depth > 4 || len(s.leaves) > most {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		if s.each == "" && r.each == nil && areAlike(v) {
			s.each = allMembers
			if path != "" {
				s.each = path + "." + allMembers
			}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			next := key
			if path != "" {
				next = path + "." + key
			}
			s.look(r, next, v[key], depth+1)
		}
	case []any:
		for _, item := range v {
			if _, is := item.(map[string]any); !is {
				return
			}
		}
		switch {
		case len(v) == 0:
		case path == "" || r.each.has(flat(path)):
			s.look(r, "", v[0], depth+1)
		case s.each == "" && r.each == nil:
			s.each = path
			s.look(r, "", v[0], depth+1)
		}
	case string:
		s.leaves = append(s.leaves, leaf{path, v})
	case float64:
		s.leaves = append(s.leaves, leaf{path, fmt.Sprintf("%.0f", v)})
	}
}

// areAlike reports whether an object has several objects with the same keys, and
// names that have a digit, as ids have.
func areAlike(v map[string]any) bool {
	var first map[string]any
	alike := 0
	for _, key := range slices.Sorted(maps.Keys(v)) {
		one, is := v[key].(map[string]any)
		if !is || !strings.ContainsAny(key, "0123456789") {
			continue
		}
		if first == nil {
			first = one
		}
		if len(one) == 0 || !maps.EqualFunc(one, first, func(_, _ any) bool { return true }) {
			return false
		}
		alike++
	}
	return alike > 1
}

// time returns a key that has a time's name and a time of this century, "" if none.
func (s *shape) time(r *rule) string {
	for _, l := range s.leaves {
		ms, _, ok := r.times.read([]byte(l.text))
		if ok && timeKeys.MatchString(l.key) && ms > 978307200000 && ms < 4102444800000 {
			return l.key
		}
	}
	return ""
}

// tellsApart returns the keys that look like ids of senders and that no rule uses
// yet. several reports whether their values differ between the messages.
func tellsApart(all []shape, r *rule) (keys []string, several bool) {
	for _, l := range all[0].leaves {
		if !labelKeys.MatchString(l.key) || messageKeys.MatchString(l.key) || flat(l.key) == r.timeKey || len(l.text) > 64 || strings.Count(l.key, ".") > 1 {
			continue
		}
		if slices.ContainsFunc(r.labelKeys, func(k labelKey) bool {
			path := k.paths[0]
			return k.all && path[0] == strings.Split(l.key, ".")[0] || strings.Join(path, ".") == l.key || len(path) == 1 && strings.HasSuffix(l.key, "."+path[0])
		}) {
			continue
		}
		keys = append(keys, l.key)
		for _, other := range all[1:] {
			for _, o := range other.leaves {
				several = several || o.key == l.key && o.text != l.text
			}
		}
	}
	return keys, several
}

// Text returns a sample in PromQL's notation, for tests and docs.
func (p Previewed) Text() string {
	b := labels.NewBuilder(labels.FromMap(p.Labels))
	return fmt.Sprintf("%s %v", recorder.Text(b.Set(model.MetricNameLabel, p.Metric).Labels()), p.Value)
}
