package message

import (
	"bytes"
	"errors"
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

// topic is what a decoder knows about a topic.
type topic struct {
	namer
	rule *rule
	// of is whose share of the series table it uses: the topic's or, with Sparkplug,
	// the device's.
	of     string
	fields map[string]*series.Series // by field and labels
	states map[string]*series.StateSet
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

// add makes samples from a message and adds them to d.pending.
func (d *Decoder) add(from string, payload []byte, received time.Time, own bool) {
	t := d.topics[from]
	if t == nil {
		var reason string
		if t, reason = d.newTopic(from); t == nil {
			d.seen.of(from, received).note(payload, received)
			d.skip(reason, 1, from, "", example(payload))
			return
		}
	}
	placed := t.seen != nil && !t.seen.gone
	switch {
	case placed && !t.seen.isDue(received):
		t.seen.messages++
	case placed, d.seen.hasRoom(received):
		t.seen = d.seen.of(from, received)
		t.seen.note(payload, received)
	}
	c := &d.content
	c.decode(t.rule, from, payload)
	for _, s := range c.skips {
		d.skip(s.reason, s.count, from, s.field, s.text)
	}
	states := false
	for i := range c.texts {
		states = states || c.texts[i].reason == ""
		d.text(from, &c.texts[i])
	}
	if len(c.values) == 0 && !states && !c.departed && !c.records[0].ends {
		return
	}
	c.records[0].filled = c.records[0].filled || c.departed
	d.stamp(from, received, own)
	begin := len(d.pending.samples)
	d.zeros = 0
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
				d.sameName(from, v, s)
			} else {
				untold = append(untold, &s.Series)
			}
			continue
		}
		s.Message, s.Record = r.number, v.record
		s.Used = received
		d.pending.samples = append(d.pending.samples, recorder.Sample{Series: &s.Series, T: r.at, V: v.v, Arrived: r.arrived})
		if s.States != nil && d.affords(from) {
			d.write(s.States.Clear(d.table, s, t.of, received), r)
		}
	}
	for i := range c.texts {
		x := &c.texts[i]
		if r := &c.records[x.record]; x.reason == "" && !r.bad {
			untold = append(untold, d.state(t, from, x, r, received)...)
		}
	}
	if len(untold) > 0 {
		d.untold(from, begin, untold)
	}
	if c.records[0].ends {
		d.end(t.of, "", c.records[0], received)
	}
	if c.departed {
		if last := strings.LastIndex(from, d.separator); last > 0 {
			d.end(from[:last], t.of, c.records[0], received)
		}
	}
}

// sameName counts a value of a series that another field of the record has written to.
func (d *Decoder) sameName(from string, v *value, s *series.Series) {
	var field, text string
	if _, ok := d.examples[sameName]; !ok { // there may be very many
		field, text = string(fieldName(d.content.span(v.field))), "is "+recorder.Text(s.Labels)
	}
	d.skip(sameName, 1, from, field, text)
}

// write adds what a text or a number makes of the series of states.
func (d *Decoder) write(values []series.Value, r *record) {
	d.zeros += len(values)
	for _, v := range values {
		d.pending.samples = append(d.pending.samples, recorder.Sample{Series: &v.Series.Series, T: r.at, V: v.V, Arrived: r.arrived})
	}
}

// affords reports whether a message may write to the series of one more thing that has
// states: a text of few bytes becomes as many samples as there are states.
func (d *Decoder) affords(from string) bool {
	if d.zeros < maxValues {
		return true
	}
	d.skip(tooManyFields, 1, from, "", "")
	return false
}

// state records a text. It returns the series that several records of the message
// would have to share.
func (d *Decoder) state(t *topic, from string, x *text, r *record, received time.Time) (shared []*recorder.Series) {
	c := &d.content
	if !d.affords(from) {
		return nil
	}
	set := d.findStates(t, from, x, r, received)
	if set == nil {
		return nil
	}
	if set.Wrote(r.number) {
		if set.Message != r.number || set.Record == x.record {
			d.skip(sameName, 1, from, string(fieldName(c.span(x.field))), "")
			return nil
		}
		for s := range set.All() {
			shared = append(shared, &s.Series)
		}
		return shared
	}
	set.Message, set.Record = r.number, x.record
	values, err := set.Set(d.table, t.of, string(c.span(x.text)), received)
	d.write(values, r)
	switch {
	case errors.Is(err, series.ErrFull):
		d.noRoom(from, c.span(x.field), "has another state")
	case err != nil:
		d.skip(tooManyTexts, 1, from, string(fieldName(c.span(x.field))), string(c.span(x.text))+" (within an hour: it is counted, and all others are 0)")
	}
	return nil
}

// text counts a text that is not recorded.
func (d *Decoder) text(from string, t *text) {
	if t.reason == "" {
		return
	}
	var field, s string
	if _, ok := d.examples[t.reason]; !ok { // there may be very many
		field, s = string(fieldName(d.content.span(t.field))), string(d.content.span(t.text))
		if t.reason == notANumber && len(field) > 0 {
			s = example([]byte(s)) + " (name the key under states to record it)"
		}
	}
	d.skip(t.reason, 1, from, field, s)
}

// stamp sets the times of the records, and the numbers by which add finds two values
// for one series. A record without a time has that of the record it is in.
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
			r.at, r.arrived = arrived+r.shift, r.shift == 0
			if !r.arrived {
				r.number = base + n + uint64(i)
				d.timed = true
				d.own.Add(r.at, received)
			}
		}
	}
	if stamped {
		d.timed = true
		d.own.Add(received.UnixMilli(), received)
	}
}

// untimed counts a record without a valid time. Its example has the stamp or, if
// there is none, the keys that there are.
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

// untold removes the samples of series that several records of one message share:
// nothing says which record is which.
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
	d.skip(notTold, uint64(len(shared)+also), from, "", recorder.Text(shared[0].Labels)+" (a label key or a time key can)")
}

// end ends the series of a device, and of what belongs to it, but for those of one
// topic.
func (d *Decoder) end(of, but string, r record, received time.Time) {
	if r.bad {
		r.at, r.arrived = d.arrival.at(d.believed(received)), true
	}
	stale := math.Float64frombits(promvalue.StaleNaN)
	for s := range d.table.Under(of, d.separator) {
		if s.From() == but {
			continue
		}
		s.Used = received
		d.pending.samples = append(d.pending.samples, recorder.Sample{Series: &s.Series, T: r.at, V: stale, Arrived: true})
	}
}

// watermark returns the time (Unix ms) up to which all samples were added.
func (d *Decoder) watermark() int64 {
	if !d.timed {
		return d.arrival.at(d.believed(time.Now())) - 1
	}
	return d.own.Time()
}

// believed returns a time of arrival by the recorder's clock, which differs from
// this machine's clock while that is in doubt. It asks the sink at most once per
// interval.
func (d *Decoder) believed(received time.Time) time.Time {
	wall := received.Round(0)
	if since := wall.Sub(d.looked); since < 0 || since > interval {
		d.looked, d.off = wall, d.sink.Now().Sub(time.Now().Round(0)).Round(time.Second)
	}
	return received.Add(d.off)
}

// newTopic returns the topic from, or the reason why none of its messages is
// recorded.
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
		namer: namer{metric: r.metric, last: last, version: r.version},
		rule:  r, of: of, fields: make(map[string]*series.Series), states: make(map[string]*series.StateSet),
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.labels = append(t.labels, labels.Label{Name: name, Value: all[name]})
	}
	return t, ""
}

// ruleFor returns the rule for a topic and its index, nil if none fits.
func (d *Decoder) ruleFor(topic string) (int, *rule) {
	for i, r := range d.rules {
		if _, _, ok := r.pattern.match(topic, d.separator); ok {
			return i, r
		}
	}
	return 0, nil
}

// find returns the series of a value, nil if it cannot be recorded; it counts why.
func (d *Decoder) find(t *topic, from string, v *value, r *record, now time.Time) *series.Series {
	key := d.keyOf(v.field, r)
	if s := t.fields[string(key)]; s != nil && !s.Gone() {
		return s
	}
	field := d.content.span(v.field)
	lbls, ok := d.labelsOf(t, from, field, key, r)
	if !ok {
		return nil
	}
	s := d.table.Find(t.of, lbls, now)
	if s == nil {
		d.noRoom(from, field, "is "+recorder.Text(lbls))
		return nil
	}
	if t.rule.mayBeState(field) {
		d.table.Recall(s, d.sink.States)
	}
	if !d.claim(t, from, field, &s.Use, lbls, now) || s.States != nil && !d.claim(t, from, field, &s.States.Use, lbls, now) {
		return nil
	}
	d.remember(t, from)
	t.fields[string(key)] = s
	return s
}

// findStates returns the states of a text, nil if there can be none.
func (d *Decoder) findStates(t *topic, from string, x *text, r *record, now time.Time) *series.StateSet {
	key := d.keyOf(x.field, r)
	if s := t.states[string(key)]; s != nil && !s.Gone() && s.Known() {
		return s
	}
	field := d.content.span(x.field)
	lbls, ok := d.labelsOf(t, from, field, key, r)
	if !ok {
		return nil
	}
	s, err := d.table.StateSet(lbls, d.sink.States)
	if err != nil {
		d.skip(twoLabels, 1, from, string(fieldName(field)), "the state would be the label "+lbls.Get(model.MetricNameLabel)+" of "+recorder.Text(lbls))
		return nil
	}
	if number := s.Number(); !d.claim(t, from, field, &s.Use, lbls, now) || number != nil && !d.claim(t, from, field, &number.Use, lbls, now) {
		return nil
	}
	if t.states[string(key)] != s {
		d.remember(t, from)
		t.states[string(key)] = s
	}
	return s
}

// keyOf returns what tells the fields of a topic apart, until it is called again.
func (d *Decoder) keyOf(field span, r *record) []byte {
	c := &d.content
	if r.labels.end == r.labels.begin {
		return c.span(field)
	}
	d.key = append(append(append(d.key[:0], c.span(field)...), pairEnd), c.span(r.labels)...)
	return d.key
}

// labelsOf returns the labels of the series of a field.
func (d *Decoder) labelsOf(t *topic, from string, field, key []byte, r *record) (labels.Labels, bool) {
	if len(key) > maxKey {
		d.skip(tooLong, 1, from, string(fieldName(field)), "")
		return labels.EmptyLabels(), false
	}
	of := d.content.span(r.labels)
	lbls, reason := t.series(string(fieldName(field)), parseLabels(of))
	if reason != "" {
		d.skip(reason, 1, from, string(fieldName(field)), string(bytes.ToValidUTF8(of, []byte(" "))))
	}
	return lbls, reason == ""
}

// noRoom counts a field that there is no room for, and says what would be written.
func (d *Decoder) noRoom(from string, field []byte, what string) {
	d.skip(tooMany, 1, from, string(fieldName(field)), fmt.Sprintf("%s (the input may write to %d)", what, d.table.Max()))
}

// claim reports whether a field of a topic may write to what others have written to.
func (d *Decoder) claim(t *topic, from string, field []byte, use *series.Use, lbls labels.Labels, now time.Time) bool {
	if t.version == Version1 {
		return true
	}
	other, ok := use.Claim(t.of, t.canonical(string(field)), now)
	if !ok {
		d.skip(twoFields, 1, from, string(fieldName(field)), "and "+string(fieldName([]byte(other)))+" are both "+recorder.Text(lbls))
	}
	return ok
}

// remember makes sure that the topic of a field that was found is known. Many topics
// may lead to one series: what is remembered of them must not grow for ever.
func (d *Decoder) remember(t *topic, from string) {
	if d.aliases >= 2*d.table.Max()+1000 {
		d.topics, d.aliases = make(map[string]*topic), 0
		clear(t.fields)
		clear(t.states)
	}
	if len(t.fields)+len(t.states) == 0 {
		d.topics[strings.Clone(from)] = t
	}
	d.aliases++
}

// parseLabels parses what content.label wrote. If a name is there twice, the later
// one is that of the inner record.
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
