package message

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// maxFrom is the longest topic that becomes a label, in bytes.
const maxFrom = 1024

// topic is what is known about one topic.
type topic struct {
	namer
	rule *rule
	// of is what shares room for series: the topic or, of Sparkplug, what it is about.
	of     string
	fields map[string]*series.Series // by field and labels
	seen   *seenTopic
}

func (d *Decoder) skip(reason string, count uint64, from, field, text string) {
	d.pending.skipped[reason] += count
	if _, ok := d.examples[reason]; ok {
		return
	}
	parts := slices.DeleteFunc([]string{from, field, text}, func(s string) bool { return s == "" })
	d.examples[reason] = example([]byte(strings.Join(parts, " ")))
}

// add makes samples of a message.
func (d *Decoder) add(from string, payload []byte, received time.Time, own bool) {
	t := d.topics[from]
	if t == nil {
		var reason string
		if t, reason = d.newTopic(from); t == nil {
			d.seen.of(from).note(payload, received)
			d.skip(reason, 1, from, "", example(payload))
			return
		}
	}
	if t.seen == nil || t.seen.gone || t.seen.isDue(received) {
		t.seen = d.seen.of(from)
	}
	t.seen.note(payload, received)
	c := &d.content
	c.decode(t.rule, from, payload)
	for _, s := range c.skips {
		d.skip(s.reason, s.count, from, s.field, s.text)
	}
	for i := range c.texts {
		d.text(from, &c.texts[i])
	}
	if len(c.values) == 0 && !c.records[0].ends {
		return
	}
	d.stamp(from, received, own)
	begin := len(d.pending.samples)
	var untold []*recorder.Series
	for i := range c.values {
		v := &c.values[i]
		r := &c.records[v.record]
		if r.bad {
			continue
		}
		s := d.find(t, from, v, r, received)
		if s == nil {
			continue
		}
		if s.Message == r.number {
			if v.record == s.Record {
				d.skip(sameName, 1, from, s.Labels.Get(model.MetricNameLabel), "")
			} else {
				untold = append(untold, &s.Series)
			}
			continue
		}
		s.Message, s.Record = r.number, v.record
		s.Used = received
		d.pending.samples = append(d.pending.samples, recorder.Sample{Series: &s.Series, T: r.at, V: v.v, Arrived: r.arrived})
	}
	if len(untold) > 0 {
		d.untold(from, begin, untold)
	}
	if c.records[0].ends {
		d.end(t.of, c.records[0].at, received)
	}
}

// text counts a text, for now: numbers alone are recorded.
func (d *Decoder) text(from string, t *text) {
	var field, s string
	if _, ok := d.examples[notANumber]; !ok { // there may be very many
		field, s = string(fieldName(d.content.span(t.field))), string(d.content.span(t.text))
	}
	d.skip(notANumber, 1, from, field, s)
}

// stamp decides when records are and what tells them apart. A record without a time
// has that of the one it is in.
func (d *Decoder) stamp(from string, received time.Time, own bool) {
	c := &d.content
	arrived, stamped := int64(math.MinInt64), false
	base, n := d.number+1, uint64(len(c.records))
	d.number += 2 * n
	for i := range c.records {
		r := &c.records[i]
		if !r.filled {
			continue
		}
		of := i
		for !c.records[of].timed && c.records[of].parent >= 0 {
			of = int(c.records[of].parent)
		}
		at := &c.records[of]
		r.number = base + uint64(r.unit)
		switch {
		case at.timed:
			r.at, r.number = at.t, base+n+uint64(of)
			if at.local {
				d.skip(noZone, 1, from, c.rule.timeKey, string(c.span(at.stamp)))
			}
			d.timed = true
			d.own.Add(r.at, received)
		case at.stamp != span{}, c.rule.timeKey != "" && !c.keyless:
			r.bad = true
			d.untimed(from, int32(i), at)
		case own:
			r.at, stamped = received.UnixMilli(), true
		default:
			if arrived == math.MinInt64 {
				arrived = d.arrival.at(d.believed(received))
			}
			r.at, r.arrived = arrived, true
		}
	}
	if stamped {
		d.timed = true
		d.own.Add(received.UnixMilli(), received)
	}
}

// untimed counts a record without a valid time, and shows the stamp, or what keys
// there are.
func (d *Decoder) untimed(from string, index int32, at *record) {
	c := &d.content
	if _, ok := d.examples[noTime]; ok {
		d.skip(noTime, 1, "", "", "")
		return
	}
	if (at.stamp != span{}) {
		d.skip(noTime, 1, from, c.rule.timeKey, string(c.span(at.stamp)))
		return
	}
	const most = 8
	var keys []string
	for i := range c.values {
		if v := &c.values[i]; v.record == index && v.field.end > v.field.begin && len(keys) < most {
			keys = append(keys, string(fieldName(c.span(v.field))))
		}
	}
	for i := range c.texts {
		if t := &c.texts[i]; t.record == index && len(keys) < most {
			keys = append(keys, string(fieldName(c.span(t.field))))
		}
	}
	d.skip(noTime, 1, from, "", fmt.Sprintf("(there is no key %s, there are %s)", c.rule.timeKey, strings.Join(keys, ", ")))
}

// untold takes back what was added of series that several records of one message
// would have to share: which of them is which nobody knows.
func (d *Decoder) untold(from string, begin int, shared []*recorder.Series) {
	p := d.pending
	also := 0
	kept := slices.DeleteFunc(p.samples[begin:], func(s recorder.Sample) bool {
		is := slices.Contains(shared, s.Series)
		if is {
			also++
		}
		return is
	})
	p.samples = p.samples[:begin+len(kept)]
	d.skip(notTold, uint64(len(shared)+also), from, "", series.Text(shared[0].Labels)+" (a label key or a time key can)")
}

// end ends the series of a device, and of what belongs to it.
func (d *Decoder) end(of string, at int64, received time.Time) {
	stale := math.Float64frombits(promvalue.StaleNaN)
	for s := range d.table.Under(of) {
		s.Used = received
		d.pending.samples = append(d.pending.samples, recorder.Sample{Series: &s.Series, T: at, V: stale, Arrived: true})
	}
}

// watermark is up to where all has been added.
func (d *Decoder) watermark() int64 {
	if !d.timed {
		return d.arrival.at(d.believed(time.Now())) - 1
	}
	return d.own.Time()
}

// believed returns the time of an arrival by the clock that is believed: this
// machine's may have been set forward. Most messages do without another look.
func (d *Decoder) believed(received time.Time) time.Time {
	wall := received.Round(0)
	if since := wall.Sub(d.looked); since < 0 || since > interval {
		d.looked, d.off = wall, d.sink.Now().Sub(time.Now().Round(0)).Round(time.Second)
	}
	return received.Add(d.off)
}

// newTopic returns what from stands for, or why nothing of it is recorded.
func (d *Decoder) newTopic(from string) (*topic, string) {
	switch {
	case len(from) > maxFrom:
		return nil, tooLong
	case !model.LabelValue(from).IsValid():
		return nil, notUTF8
	}
	_, r := d.ruleFor(from)
	switch {
	case r == nil:
		return nil, notInPattern
	case r.leaveOut:
		return nil, leftOut
	}
	found, last, _ := r.pattern.match(from, d.separator)
	all := make(map[string]string, len(found)+len(r.labels)+1)
	of := from
	if r.speaksSparkplug(from) && r.pattern == nil {
		of = sparkplugSource(from)
	} else if !r.pattern.whole() {
		name := "topic"
		if d.separator == "." {
			name = "subject"
		}
		all[name] = from
	}
	for _, l := range found {
		all[l.Name] = l.Value
	}
	maps.Copy(all, r.labels)
	t := &topic{
		namer: namer{metric: r.metric, last: last, version1: r.version1},
		rule:  r, of: of, fields: make(map[string]*series.Series),
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.labels = append(t.labels, labels.Label{Name: name, Value: all[name]})
	}
	return t, ""
}

// ruleFor returns the rule for a topic with its number, nil if it has none.
func (d *Decoder) ruleFor(topic string) (int, *rule) {
	for i, r := range d.rules {
		if _, _, ok := r.pattern.match(topic, d.separator); ok {
			return i, r
		}
	}
	return 0, nil
}

// find returns the series of a value, nil if there can be none.
func (d *Decoder) find(t *topic, from string, v *value, r *record, now time.Time) *series.Series {
	c := &d.content
	key := c.span(v.field)
	if r.labels.end > r.labels.begin {
		d.key = append(append(append(d.key[:0], key...), pairEnd), c.span(r.labels)...)
		key = d.key
	}
	if s := t.fields[string(key)]; s != nil && !s.Gone() {
		return s
	}
	field := string(c.span(v.field))
	if len(key) > maxKey {
		d.skip(tooLong, 1, from, string(fieldName([]byte(field))), "")
		return nil
	}
	lbls, reason := t.series(string(fieldName([]byte(field))), parseLabels(c.span(r.labels)))
	if reason != "" {
		d.skip(reason, 1, from, string(fieldName([]byte(field))), string(bytes.ToValidUTF8(c.span(r.labels), []byte(" "))))
		return nil
	}
	s := d.table.Find(t.of, lbls, now)
	if s == nil {
		d.skip(tooMany, 1, from, string(fieldName([]byte(field))), fmt.Sprintf("(the input may write to %d)", d.table.Max()))
		return nil
	}
	if !t.version1 {
		if other, ok := s.Claim(t.of, t.canonical(field), now); !ok {
			d.skip(twoFields, 1, from, string(fieldName([]byte(field))), "and "+string(fieldName([]byte(other)))+" are both "+series.Text(lbls))
			return nil
		}
	}
	// Many topics may lead to one series. What is remembered of them must not
	// grow for ever.
	if d.aliases >= 2*d.table.Max()+1000 {
		d.topics, d.aliases = make(map[string]*topic), 0
		t.fields = make(map[string]*series.Series)
	}
	if len(t.fields) == 0 {
		d.topics[strings.Clone(from)] = t
	}
	t.fields[string(key)] = s
	d.aliases++
	return s
}

// parseLabels reads what content.label wrote. Of two with one name the inner one
// stands, which is the last.
func parseLabels(b []byte) []labels.Label {
	var all []labels.Label
	for len(b) > 0 {
		pair, rest, _ := bytes.Cut(b, []byte{pairEnd})
		name, value, _ := bytes.Cut(pair, []byte{nameEnd})
		all = append(all, labels.Label{Name: string(name), Value: string(value)})
		b = rest
	}
	return all
}
