package message

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // not every machine has a zone database
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/valyala/fastjson"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/naming"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// Versions of the rules, which decide how names and records are made. An input keeps
// its version, and thereby its series, until somebody changes it.
const (
	// Version1 makes names of Latin letters and digits only, and names fields in
	// arrays of objects by their position.
	Version1 = 1
	// Version2 records no text unless States or Words say so.
	Version2 = 2
	// Version3 takes Each for the key of one array or object, whatever it is, and a label
	// key with dots for a key within objects. It knows no SenML, no gateway of
	// ThingsBoard by its topic, and neither Telegraf's JSON without tags or time nor
	// KEPServerEX' without quality. A string that has JSON is a text.
	Version3 = 3
	// Version4 is the newest. Each also leads through arrays within arrays and, with *,
	// to the objects in an object. Keys may have dots where label keys have them. What
	// Version3 does not know is known.
	Version4 = 4
)

// Rules say what becomes of the messages of an input. The zero value suits most
// inputs.
type Rules struct {
	// Version is one of the versions above, 0 for the newest.
	Version int `json:"version,omitempty"`
	// MaxSeries is how many series the input may write to within an hour, 0 for
	// DefaultMaxSeries.
	MaxSeries int `json:"maxSeries,omitempty"`
	// Units are the units of metrics, by name, as people write them: °C, kWh. They say
	// how values are shown, and change none.
	Units map[string]string `json:"units,omitempty"`
	// Rule applies to the topics that fit none of Topics.
	Rule
	// Topics are rules for the topics that fit their Pattern. The first one that
	// fits applies.
	Topics []Rule `json:"topics,omitempty"`
}

// Rule says what becomes of the messages of some topics.
type Rule struct {
	// LeaveOut means that the messages are only counted.
	LeaveOut bool `json:"leaveOut,omitempty"`
	// Format is one of auto (or empty), number, json, influx, telegraf, thingsboard,
	// sparkplug, cbor.
	Format string `json:"format,omitempty"`
	// Pattern makes labels from levels of the topic, as plant/+line/+sensor does.
	// Messages of topics that do not fit are not recorded.
	Pattern string `json:"pattern,omitempty"`
	// Metric is the name of the metric. It may have {{field}}, {{level}} (the last
	// level that is not a label) and names of labels, as in {{line}}_{{field}}.
	Metric string `json:"metric,omitempty"`
	// LabelKeys are keys whose values become labels of all numbers in the same
	// object: id or, for keys within another object, device.id or tags.*.
	LabelKeys []string `json:"labelKeys,omitempty"`
	// Each is the key of an array whose objects become records of their own, such as
	// data.values, also within the objects of another array, as in lines.machines. With
	// .* at its end, as in devices.*, it is the key of an object whose objects become
	// records; their keys become a label, devices, or key for * alone.
	Each string `json:"each,omitempty"`
	// States are keys whose texts are recorded as states, pump.mode or, for all
	// texts, *. A message that is one word is a state without that.
	States []string `json:"states,omitempty"`
	// Words are texts that stand for a number, in any case.
	Words map[string]float64 `json:"words,omitempty"`
	// Ends are texts, in any case, that say that a device has gone: the series of the
	// topic one level up, and of all below it but the topic's own, end.
	Ends []string `json:"ends,omitempty"`
	// Regexp finds numbers in texts. Its named groups become fields; a group without
	// a name has the text's own field.
	Regexp string `json:"regexp,omitempty"`
	// TimeKey is the key of the time stamp, such as time or meta.time. If empty,
	// messages are stamped on arrival.
	TimeKey string `json:"timeKey,omitempty"`
	// TimeUnit is the unit of numbers at TimeKey and of time stamps in line
	// protocol: "s", "ms", "us" or "ns", or "auto" (or empty), by the size of the
	// number.
	TimeUnit string `json:"timeUnit,omitempty"`
	// TimeLayout is the layout of texts at TimeKey, in the notation of Go's package
	// time: 2006-01-02 15:04:05. If empty, ISO 8601 and RFC 1123 are tried.
	TimeLayout string `json:"timeLayout,omitempty"`
	// TimeZone is the zone of texts at TimeKey that have none, such as
	// Europe/Berlin. If empty, it is UTC.
	TimeZone string `json:"timezone,omitempty"`
	// Labels are added to every series. An empty value removes the label of that
	// name.
	Labels map[string]string `json:"labels,omitempty"`
}

const (
	// DefaultMaxSeries is the value of Rules.MaxSeries if that is 0.
	DefaultMaxSeries = 10_000
	limitOfMaxSeries = 1_000_000
	maxRules         = 100
	maxLabelKeys     = 20
	maxStateKeys     = 100
	maxWords         = 1000
	maxUnits         = 1000
	maxUnit          = 20 // bytes
)

// allMembers is the part of Each that stands for all members of an object.
const allMembers = "*"

// allStates is the key that stands for all texts.
const allStates = "*"

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func checkLabel(name string) error {
	if !labelName.MatchString(name) || strings.HasPrefix(name, "__") {
		return fmt.Errorf("%q cannot be the name of a label: use letters, digits and _, not beginning with a digit or __", name)
	}
	return nil
}

// separatorOf guesses the separator of a pattern's levels, as Check does not know
// it.
func separatorOf(pattern string) string {
	if strings.Contains(pattern, "/") {
		return "/"
	}
	return "."
}

// Check returns what is wrong with the rules. The errors name the setting, for
// people.
func (r Rules) Check() error {
	var errs []error
	if r.Version < 0 || r.Version > Version4 {
		errs = append(errs, fmt.Errorf("rules.version: %d is not known here: this is an older version of the plugin", r.Version))
	}
	if r.MaxSeries < 0 || r.MaxSeries > limitOfMaxSeries {
		errs = append(errs, fmt.Errorf("rules.maxSeries: must be from 1 to %d, or 0 for %d", limitOfMaxSeries, DefaultMaxSeries))
	}
	if len(r.Units) > maxUnits {
		errs = append(errs, fmt.Errorf("rules.units: there are more than %d", maxUnits))
	}
	for _, metric := range slices.Sorted(maps.Keys(r.Units)) {
		if u := r.Units[metric]; u == "" || len(u) > maxUnit || !utf8.ValidString(u) {
			errs = append(errs, fmt.Errorf("rules.units: the unit of %.40q must have from 1 to %d bytes, as °C or kWh", metric, maxUnit))
		}
	}
	errs = append(errs, r.Rule.check("rules", r.Version))
	if len(r.Topics) > maxRules {
		errs = append(errs, fmt.Errorf("rules.topics: there are more than %d", maxRules))
	}
	for i, one := range r.Topics {
		where := fmt.Sprintf("rules.topics[%d]", i)
		if one.Pattern == "" {
			errs = append(errs, fmt.Errorf("%s.pattern: say for which topics the rule is, as in zigbee2mqtt/bridge/#", where))
		}
		errs = append(errs, one.check(where, r.Version))
	}
	return errors.Join(errs...)
}

func (r Rule) check(where string, version int) error {
	version = cmp.Or(version, Version4)
	var errs []error
	fail := func(field, text string, args ...any) {
		errs = append(errs, fmt.Errorf(where+"."+field+": "+text, args...))
	}
	if _, ok := formats[r.Format]; !ok {
		fail("format", "%q is none of auto, number, json, influx, telegraf, thingsboard, sparkplug, cbor", r.Format)
	}
	if _, ok := units[r.TimeUnit]; !ok {
		fail("timeUnit", "%q is none of auto, s, ms, us, ns", r.TimeUnit)
	}
	keyless := r.Format == "influx" || r.Format == "number" && r.Regexp == ""
	if r.TimeKey != "" && keyless {
		fail("timeKey", "only JSON has keys, so leave it empty for the format %q", r.Format)
	}
	if _, err := time.LoadLocation(r.TimeZone); err != nil || r.TimeZone == "Local" {
		fail("timezone", "%q is no zone of the IANA database, such as Europe/Berlin", r.TimeZone)
	}
	if err := checkLayout(r.TimeLayout); err != nil {
		fail("timeLayout", "%w", err)
	}
	if _, err := regexp.Compile(r.Regexp); err != nil {
		fail("regexp", "%w", err)
	}
	if len(r.LabelKeys) > maxLabelKeys {
		fail("labelKeys", "there are more than %d", maxLabelKeys)
	}
	for _, key := range r.LabelKeys {
		if _, err := parseLabelKey(key); err != nil {
			fail("labelKeys", "%w", err)
		}
	}
	if _, err := parseEach(r.Each, version); err != nil {
		fail("each", "%w", err)
	}
	if len(r.States) > maxStateKeys {
		fail("states", "there are more than %d", maxStateKeys)
	}
	if slices.Contains(r.States, "") {
		fail("states", "a key is empty: write mode, pump.mode or, for all texts, *")
	}
	if len(r.Words) > maxWords {
		fail("words", "there are more than %d", maxWords)
	}
	spelt := make(map[string]string)
	for _, word := range slices.Sorted(maps.Keys(r.Words)) {
		folded := folded(word)
		if other, twice := spelt[folded]; twice {
			fail("words", "%q and %q are one word: case does not matter", other, word)
		}
		spelt[folded] = word
		if folded == "" || len(folded) > series.MaxText {
			fail("words", "%.20q must have from 1 to %d bytes", word, series.MaxText)
		}
		if v := r.Words[word]; math.IsNaN(v) || math.IsInf(v, 0) {
			fail("words", "%.20q must stand for a number", word)
		}
	}
	if len(r.Ends) > maxStateKeys {
		fail("ends", "there are more than %d", maxStateKeys)
	}
	for _, text := range r.Ends {
		if folded := folded(text); folded == "" || len(folded) > series.MaxText {
			fail("ends", "%.20q must have from 1 to %d bytes", text, series.MaxText)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
		if err := checkLabel(name); err != nil {
			fail("labels", "%w", err)
		}
		if !model.LabelValue(r.Labels[name]).IsValid() {
			fail("labels", "the value of %s is not valid UTF-8", name)
		}
	}
	p, err := parsePattern(r.Pattern, separatorOf(r.Pattern))
	if err != nil {
		fail("pattern", "%w", err)
	}
	for _, name := range p.names() {
		if _, ok := r.Labels[name]; ok {
			fail("labels", "%s is a label of the pattern already", name)
		}
	}
	if t, err := parseTemplate(r.Metric); err != nil {
		fail("metric", "%w", err)
	} else if name := r.unknown(t, p, version); name != "" && version != Version1 {
		fail("metric", "{{%s}} is neither {{field}}, {{level}} nor a label: the pattern, labelKeys and labels give labels", name)
	}
	return errors.Join(errs...)
}

// unknown returns a variable of t that no label or field can stand for, "" if there
// is none. With formats that have tags any name may stand for a label.
func (r Rule) unknown(t template, p *pattern, version int) string {
	known := append(p.names(), "field", "level", "topic", "subject")
	for _, key := range r.LabelKeys {
		k, _ := parseLabelKey(key)
		if k.all {
			return ""
		}
		known = append(known, k.name)
	}
	if e, _ := parseEach(r.Each, version); e != nil && e.members {
		known = append(known, e.label)
	}
	switch formats[r.Format] {
	case formatInflux, formatTelegraf:
		return ""
	case formatSparkplug:
		known = append(known, "group", "node", "device")
	case formatThingsBoard:
		known = append(known, "device")
	}
	for _, name := range t.variables() {
		if _, ok := r.Labels[name]; !ok && !slices.Contains(known, name) {
			return name
		}
	}
	return ""
}

// folded is a text as words and ends are compared.
func folded(text string) string { return strings.ToLower(strings.TrimSpace(text)) }

// rule is a Rule that was parsed.
type rule struct {
	format    format
	version   int
	leaveOut  bool
	pattern   *pattern
	metric    template
	labels    map[string]string
	labelKeys []labelKey
	each      *eachKey // nil for none
	states    []string // flattened
	allStates bool
	words     map[string]float64 // by the folded text
	ends      map[string]bool    // by the folded text
	regexp    *regexp.Regexp
	timeKey   string // flattened
	times     times
}

// ready parses a rule, which must have passed its check.
func (r Rule) ready(separator string, version int) *rule {
	made := &rule{
		format: formats[r.Format], version: cmp.Or(version, Version4), leaveOut: r.LeaveOut, labels: maps.Clone(r.Labels), timeKey: flat(r.TimeKey),
		times: times{unit: units[r.TimeUnit], layout: r.TimeLayout, zone: time.UTC, assumed: r.TimeZone == ""},
	}
	made.pattern, _ = parsePattern(r.Pattern, separator)
	made.each, _ = parseEach(r.Each, made.version)
	made.metric, _ = parseTemplate(r.Metric)
	if zone, err := time.LoadLocation(cmp.Or(r.TimeZone, "UTC")); err == nil {
		made.times.zone = zone
	}
	if r.Regexp != "" {
		made.regexp, _ = regexp.Compile(r.Regexp)
	}
	for _, key := range r.LabelKeys {
		k, _ := parseLabelKey(key)
		if made.version < Version4 {
			k.paths = k.paths[:1]
		}
		made.labelKeys = append(made.labelKeys, k)
	}
	for _, key := range r.States {
		made.states = append(made.states, flat(key))
	}
	made.allStates = slices.Contains(r.States, allStates)
	if len(r.Words) > 0 {
		made.words = make(map[string]float64, len(r.Words))
	}
	for word, v := range r.Words {
		made.words[folded(word)] = v
	}
	if len(r.Ends) > 0 {
		made.ends = make(map[string]bool, len(r.Ends))
	}
	for _, text := range r.Ends {
		made.ends[folded(text)] = true
	}
	return made
}

// mayBeState reports whether the texts of a field are states, those of the message
// itself if they are one word.
func (r *rule) mayBeState(field []byte) bool {
	return r.allStates || len(field) == 0 && r.version >= Version3 || r.names(field)
}

// names reports whether a field is one of the keys that are states.
func (r *rule) names(field []byte) bool {
	if len(r.states) == 0 || len(field) == 0 {
		return false
	}
	name := fieldName(field)
	_, own, grouped := bytes.Cut(field, []byte{partEnd})
	return slices.ContainsFunc(r.states, func(key string) bool {
		return isKey(name, key) || grouped && isKey(own, key)
	})
}

// labelKey is a key whose value becomes a label.
type labelKey struct {
	// paths are the ways from the object that gets the label to the value: keys in JSON
	// may have dots, so host.name is name in host or, by itself, host.name.
	paths [][]string
	all   bool   // all keys of the object that the paths lead to become labels
	name  string // the label, unless all
}

// maxJoined is how many parts a label key may have to be found in all ways.
const maxJoined = 6

func parseLabelKey(s string) (labelKey, error) {
	var k labelKey
	parts := strings.Split(s, ".")
	if last := len(parts) - 1; last > 0 && parts[last] == "*" {
		parts, k.all = parts[:last], true
	}
	for _, part := range parts {
		if part == "" || part == "*" {
			return k, fmt.Errorf("%q is no key: write id, device.id, or tags.* for all keys of tags", s)
		}
	}
	k.paths = [][]string{parts}
	if len(parts) <= maxJoined {
		k.paths = ways(parts)
	}
	k.name = naming.Label(strings.Join(parts, "_"))
	if k.name == "" {
		return k, fmt.Errorf("%q has no letter and no digit for the name of a label", s)
	}
	return k, nil
}

// ways returns all ways to join neighbours of parts with dots, all apart first.
func ways(parts []string) [][]string {
	if len(parts) == 0 {
		return [][]string{nil}
	}
	var all [][]string
	for n := 1; n <= len(parts); n++ {
		for _, rest := range ways(parts[n:]) {
			all = append(all, append([]string{strings.Join(parts[:n], ".")}, rest...))
		}
	}
	return all
}

// find returns the value that a label key has in an object, the way there, and nil if it
// has none.
func (k *labelKey) find(v *fastjson.Value) ([]string, *fastjson.Value) {
	for _, path := range k.paths {
		if at := v.Get(path...); at != nil {
			return path, at
		}
	}
	return nil, nil
}

// eachKey says which objects become records.
type eachKey struct {
	// keys has at [from][to] the flattened key of the parts from and to but to. An
	// array may be at the end of any part.
	keys    [][]string
	parts   int
	members bool   // the members of an object, too
	label   string // the label that the members' keys become
}

func parseEach(s string, version int) (*eachKey, error) {
	switch {
	case s == "":
		return nil, nil
	case version < Version4:
		return &eachKey{keys: [][]string{{"", flat(s)}}, parts: 1}, nil
	}
	e := &eachKey{}
	parts := strings.Split(s, ".")
	if last := len(parts) - 1; parts[last] == allMembers {
		parts, e.members, e.label = parts[:last], true, "key"
		if last > 0 {
			e.label = naming.Label(parts[last-1])
		}
		if e.label == "" {
			return nil, fmt.Errorf("%q has no letter and no digit for the name of a label", s)
		}
	}
	for _, part := range parts {
		if part == "" || part == "*" || len(parts) > maxDepth {
			return nil, fmt.Errorf("%q is no key: write values, data.values, or devices.* for the objects in devices", s)
		}
	}
	e.parts = len(parts)
	for from := range parts {
		e.keys = append(e.keys, make([]string, len(parts)+1))
		for to := from + 1; to <= len(parts); to++ {
			e.keys[from][to] = strings.Join(parts[from:to], "_")
		}
	}
	return e, nil
}

// has reports whether a flattened key leads to objects that e names, or to an array on
// the way there. e may be nil.
func (e *eachKey) has(key string) bool {
	return e != nil && slices.ContainsFunc(e.keys, func(from []string) bool { return key != "" && slices.Contains(from, key) })
}

// flat returns a key as it is written in field names.
func flat(key string) string { return strings.ReplaceAll(key, ".", "_") }

// isKey reports whether the path of a field is this flattened key. A dot in the path
// equals an underscore in the key, because keys in JSON may have dots.
func isKey(path []byte, key string) bool {
	if len(path) != len(key) || key == "" {
		return false
	}
	for i := range key {
		if path[i] != key[i] && (path[i] != '.' || key[i] != '_') {
			return false
		}
	}
	return true
}
