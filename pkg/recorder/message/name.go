package message

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/naming"
)

// pattern says which levels of a topic become labels.
type pattern struct {
	separator string
	levels    []level
	rest      bool // the last level stands for all that follow
}

// level is one level of a pattern.
type level struct {
	text string // what the level must be, unless any
	any  bool
	name string // the label, "" for none
}

// parsePattern parses a pattern: + or * is any level, +name is any level and makes
// it the label name, # or > is any number of levels at the end. It returns nil for
// "".
func parsePattern(s, separator string) (*pattern, error) {
	if s == "" {
		return nil, nil
	}
	p := &pattern{separator: separator}
	parts := strings.Split(s, separator)
	for i, part := range parts {
		var l level
		switch {
		case strings.HasPrefix(part, "+"), strings.HasPrefix(part, "*"):
			l.any, l.name = true, part[1:]
		case strings.HasPrefix(part, "#"), part == ">":
			if i < len(parts)-1 {
				return nil, fmt.Errorf("%s stands for all levels that follow, so it must be the last", part)
			}
			l.any, l.name, p.rest = true, part[1:], true
		case strings.ContainsAny(part, "+#*>"):
			return nil, fmt.Errorf("%q: a level is either a text, or a wildcard such as +line", part)
		default:
			l.text = part
		}
		if l.name != "" {
			if err := checkLabel(l.name); err != nil {
				return nil, err
			}
			if slices.Contains(p.names(), l.name) {
				return nil, fmt.Errorf("the label %s is there twice", l.name)
			}
		}
		p.levels = append(p.levels, l)
	}
	return p, nil
}

// names returns the labels of p, none if p is nil.
func (p *pattern) names() []string {
	if p == nil {
		return nil
	}
	var names []string
	for _, l := range p.levels {
		if l.name != "" {
			names = append(names, l.name)
		}
	}
	return names
}

// whole reports whether different topics that fit p always have different labels.
func (p *pattern) whole() bool {
	return p != nil && !slices.ContainsFunc(p.levels, func(l level) bool { return l.any && l.name == "" })
}

// match returns the labels that p, which may be nil, gives to a topic, and the
// topic's last level that is not one of them. ok is false if the topic does not fit
// p.
func (p *pattern) match(topic, separator string) (found []labels.Label, last string, ok bool) {
	parts := strings.Split(topic, separator)
	if p == nil {
		for _, part := range slices.Backward(parts) {
			if part != "" {
				return nil, part, true
			}
		}
		return nil, "", true
	}
	fixed := len(p.levels)
	if p.rest {
		fixed--
	}
	if len(parts) < fixed || len(parts) > fixed && !p.rest {
		return nil, "", false
	}
	for i, l := range p.levels[:fixed] {
		switch {
		case !l.any && l.text != parts[i]:
			return nil, "", false
		case l.name != "":
			found = append(found, labels.Label{Name: l.name, Value: parts[i]})
		case parts[i] != "":
			last = parts[i]
		}
	}
	if p.rest {
		if name := p.levels[fixed].name; name != "" {
			found = append(found, labels.Label{Name: name, Value: strings.Join(parts[fixed:], separator)})
		} else {
			for _, part := range parts[fixed:] {
				if part != "" {
					last = part
				}
			}
		}
	}
	return found, last, true
}

// template is a parsed Rule.Metric: texts and variables in turn, the first one a
// text.
type template []string

func parseTemplate(s string) (template, error) {
	if s == "" {
		return nil, nil
	}
	var t template
	for {
		text, rest, found := strings.Cut(s, "{{")
		t = append(t, text)
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return nil, errors.New("{{ without }}")
		}
		if name = strings.TrimSpace(name); !labelName.MatchString(name) {
			return nil, fmt.Errorf("{{%s}} is neither {{field}}, {{level}} nor a label", name)
		}
		t = append(t, name)
		s = after
	}
	return t, nil
}

func (t template) render(value func(name string) string) string {
	var b strings.Builder
	for i, s := range t {
		if i%2 == 1 {
			s = value(s)
		}
		b.WriteString(s)
	}
	return b.String()
}

// variables returns the names between the braces.
func (t template) variables() []string {
	var names []string
	for i := 1; i < len(t); i += 2 {
		names = append(names, t[i])
	}
	return names
}

// namer names the series of one topic.
type namer struct {
	metric  template
	labels  []labels.Label // from the pattern, the topic and the rules, sorted
	last    string
	version int
}

func (n *namer) metricName(s string) string {
	if n.version == Version1 {
		return naming.ClassicMetric(s)
	}
	return naming.Metric(s)
}

// canonical returns "" for a field that stands for the whole message, such as value.
func (n *namer) canonical(field string) string {
	if n.metric == nil && (field == "value" || field == "val") {
		return ""
	}
	return field
}

// tags returns the labels of a record with valid names, or the reason why it can
// have none.
func (n *namer) tags(all []labels.Label) ([]labels.Label, string) {
	if n.version == Version1 {
		var named []labels.Label
		for _, t := range all {
			if name := naming.ClassicLabel(t.Name); name != "" {
				named = append(named, labels.Label{Name: name, Value: t.Value})
			}
		}
		return named, ""
	}
	// Labels of outer records come first; of two with the same name the inner one
	// counts.
	var own []labels.Label
	for i, t := range all {
		if !slices.ContainsFunc(all[i+1:], func(later labels.Label) bool { return later.Name == t.Name }) {
			own = append(own, t)
		}
	}
	named, err := naming.Labels(own)
	switch {
	case errors.Is(err, naming.ErrTwice):
		return nil, twoLabels
	case err != nil:
		return nil, noName
	}
	return named, ""
}

// series returns the labels of the series of a field, or the reason why it can have
// none. The field is "" if the message is only a value. of are the labels of the
// record; a label of the same name from the topic or the rules replaces them.
func (n *namer) series(field string, of []labels.Label) (labels.Labels, string) {
	tags, reason := n.tags(of)
	if reason != "" {
		return labels.EmptyLabels(), reason
	}
	if n.metric == nil {
		level := n.metricName(n.last)
		if level == "" {
			level = "value" // the label topic still distinguishes topics
		}
		switch {
		case n.canonical(field) == "":
			field = level
		case field[0] >= '0' && field[0] <= '9': // an index of an array is no name
			field = level + "_" + field
		}
	} else {
		field = strings.Trim(n.metric.render(func(name string) string {
			switch name {
			case "field":
				return field
			case "level":
				return n.last
			}
			for _, l := range slices.Concat(n.labels, tags) {
				if l.Name == name {
					return l.Value
				}
			}
			return ""
		}), "_")
	}
	name := n.metricName(field)
	if name == "" {
		return labels.EmptyLabels(), noName
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, t := range tags {
		b.Set(t.Name, t.Value)
	}
	for _, l := range n.labels {
		b.Set(l.Name, l.Value) // an empty value removes the label
	}
	b.Set(model.MetricNameLabel, name)
	return b.Labels(), ""
}
