package message

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// The reasons why a part of a message was not recorded.
const (
	notANumber     = "not a number"
	isNull         = "null"
	notFinite      = "infinite or NaN"
	notUTF8        = "not valid UTF-8"
	isBinary       = "binary"
	notJSON        = "not valid JSON"
	notLines       = "not valid line protocol"
	notGzip        = "not valid gzip"
	notCBOR        = "not valid CBOR"
	notSparkplug   = "not valid Sparkplug B"
	isEmpty        = "empty message"
	tooLarge       = "larger than 1 MiB"
	tooDeep        = "nested too deep"
	tooManyFields  = "more than 10000 fields"
	tooManyRecords = "more than 10000 records"
	tooLong        = "name too long"
	tooManyNames   = "more than 2 MiB of names"
	noName         = "no usable name"
	noTime         = "no valid time stamp"
	noZone         = "time without zone, taken as UTC"
	notInPattern   = "does not fit the pattern"
	leftOut        = "left out"
	tooMany        = "too many series"
	sameName       = "same series twice in a message"
	twoFields      = "two fields, one name"
	twoLabels      = "two labels, one name"
	notTold        = "records that nothing tells apart"
	inArray        = "objects in an array"
	unknownAlias   = "alias not known yet"
)

// Why a text is not a state.
var (
	tooLongText  = fmt.Sprintf("text of more than %d bytes", series.MaxText)
	tooManyTexts = series.ErrManyStates.Error()
)

// MaxPayload is the largest message that is recorded, in bytes, also after
// decompression.
const MaxPayload = 1 << 20

const (
	maxDepth   = 32      // of JSON
	maxName    = 512     // bytes of a flattened field
	maxLabel   = 1024    // bytes of a label's value
	maxKey     = 4096    // bytes of a field and its labels
	maxValues  = 10_000  // of one message
	maxRecords = 10_000  // of one message
	maxNames   = 2 << 20 // bytes of content.names for one message
	// maxNodes is how many values, objects and arrays a JSON text may have. Each
	// takes about a hundred bytes of memory, while two bytes of text can make one.
	maxNodes = 40_000
)

// These bytes separate the parts of a field and of labels. None is in valid UTF-8.
const (
	partEnd = 0xFF // between the name of a group of fields and the field's own
	nameEnd = 0xFE // between the name of a label and its value
	pairEnd = 0xFD // after a label
)

// content is a decoded message. It is reused for the next one.
type content struct {
	rule    *rule
	records []record
	values  []value
	texts   []text
	names   []byte // the bytes that all spans refer to
	skips   []skip

	scanner fastjson.Scanner
	path    []byte
	start   int   // where names of fields begin in path
	base    int   // where the keys of the record begin in path
	rec     int32 // the record that fields are added to
	eachOn  int   // how many parts of the rule's each have led to the record
	raw     []byte
	keyless bool // the format has no keys, so no time key either
	shaped  bool // it has a shape that only one kind of sender has
	wasted  int  // see maxWasted
	// departed: a text says that the device has gone, see Rule.Ends.
	departed bool

	// State of decoders that stays from one message to the next.
	from  string
	nodes edgeNodes
}

// span is a part of content.names.
type span struct{ begin, end int }

// record is the part of a message about one thing at one time. An object within it
// that has labels of its own is another record.
type record struct {
	parent int32 // -1 for none
	labels span  // the parents' labels come first
	// Records with the same unit differ only in their labels and times. If two of them
	// have neither, nothing tells them apart.
	unit  int32
	t     int64 // Unix ms, if timed
	timed bool
	stamp span  // the text at the time key
	local bool  // the stamp had no zone
	shift int64 // ms after the time of arrival, unless timed

	filled bool // it has something that is recorded
	lost   bool // it lacks a label, so that it could be taken for something else
	ends   bool // what the message is about has ended

	// Decoder.stamp sets these when it makes samples from the record.
	at      int64
	arrived bool
	bad     bool
	number  uint64
}

// value is one number of a record.
type value struct {
	field  span
	record int32
	v      float64
}

// text is one text of a record.
type text struct {
	field, text span
	record      int32
	// reason is why it is not recorded, empty if it is a state.
	reason string
}

// skip counts parts of a message that are not recorded, for one reason.
type skip struct {
	reason      string
	count       uint64
	field, text string // of the first part
}

func (c *content) span(s span) []byte { return c.names[s.begin:s.end] }

func (c *content) keep(b []byte) span {
	begin := len(c.names)
	c.names = append(c.names, b...)
	return span{begin, len(c.names)}
}

func (c *content) reset(r *rule, from string) {
	c.rule, c.from, c.keyless, c.shaped, c.departed, c.wasted = r, from, false, false, false, 0
	c.records, c.values, c.texts, c.names, c.skips = c.records[:0], c.values[:0], c.texts[:0], c.names[:0], c.skips[:0]
	if cap(c.names) > 64<<10 { // after a large message
		c.names, c.values, c.texts, c.records = nil, nil, nil, nil
	}
	c.path, c.start, c.base, c.eachOn = c.path[:0], 0, 0, 0
	c.begin(-1, 0)
}

// begin begins a record within parent (-1 for none). It returns false if there are
// too many.
func (c *content) begin(parent, unit int32) bool {
	if len(c.records) >= maxRecords {
		c.skip(tooManyRecords, c.path, nil)
		return false
	}
	r := record{parent: parent, unit: unit}
	if parent >= 0 {
		r.labels, r.lost = c.records[parent].labels, c.records[parent].lost
	}
	c.records, c.rec = append(c.records, r), int32(len(c.records))
	return true
}

// label adds a label to the current record.
func (c *content) label(name, value []byte) {
	r := &c.records[c.rec]
	switch {
	case len(value) > maxLabel:
		c.skip(tooLong, name, value)
		r.lost = true
		return
	case len(c.names)+r.labels.end-r.labels.begin > maxNames:
		c.skip(tooManyNames, name, value)
		r.lost = true
		return
	}
	if r.labels.end != len(c.names) || r.labels.begin == r.labels.end || r.parent >= 0 && r.labels == c.records[r.parent].labels {
		r.labels = c.keep(c.span(r.labels))
	}
	c.names = append(append(append(append(c.names, name...), nameEnd), value...), pairEnd)
	r.labels.end = len(c.names)
}

// add adds a number to the current record.
func (c *content) add(field []byte, v float64) {
	switch {
	case len(c.values) >= maxValues:
		c.skip(tooManyFields, field, nil)
		return
	case len(c.names)+len(field) > maxNames:
		c.skip(tooManyNames, field, nil)
		return
	}
	c.records[c.rec].filled = true
	c.values = append(c.values, value{c.keep(field), c.rec, v})
}

// dropLost removes what is in records that lack a label. A label can come after what it
// is of.
func (c *content) dropLost() {
	lost := false
	for i := range c.records {
		if r := &c.records[i]; r.lost {
			r.filled, lost = r.ends, true
		}
	}
	if !lost {
		return
	}
	c.values = slices.DeleteFunc(c.values, func(v value) bool { return c.records[v.record].lost })
	c.texts = slices.DeleteFunc(c.texts, func(t text) bool { return c.records[t.record].lost })
}

// finite adds a number to the current record, unless it is infinite or NaN.
func (c *content) finite(field []byte, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		c.skip(notFinite, field, nil)
		return
	}
	c.add(field, v)
}

// word adds a text of the record that is no number by itself.
func (c *content) word(field, s []byte) {
	if !c.means(field, s) {
		c.say(field, s)
	}
}

// means reports whether the rule says what number a text stands for, which it adds.
// It also notes a text that says that the device has gone.
func (c *content) means(field, s []byte) bool {
	if len(c.rule.ends) == 0 && len(c.rule.words) == 0 || len(s) > series.MaxText {
		return false
	}
	folded := folded(string(s))
	c.departed = c.departed || c.rule.ends[folded]
	v, ok := c.rule.words[folded]
	if ok {
		c.add(field, v)
	}
	return ok
}

// say adds a text to the current record.
func (c *content) say(field, s []byte) {
	switch {
	case len(c.texts) >= maxValues:
		c.skip(tooManyFields, field, nil)
		return
	case len(c.names)+len(field)+len(s) > maxNames:
		c.skip(tooManyNames, field, nil)
		return
	}
	s = bytes.TrimSpace(s)
	reason := c.noState(field, s)
	if reason == "" {
		c.records[c.rec].filled = true
	}
	c.texts = append(c.texts, text{c.keep(field), c.keep(s), c.rec, reason})
}

// noState returns why a text is not recorded as a state, empty if it is.
func (c *content) noState(field, s []byte) string {
	may := c.rule.mayBeState(field)
	named := c.rule.allStates || c.isNamed(field)
	switch {
	case len(s) == 0:
		return notANumber
	case named && len(s) > series.MaxText:
		return tooLongText
	case named, may && isWord(s):
		return ""
	}
	return notANumber
}

// isNamed reports whether a field is one of the keys that the rule names as states. Its
// on and off, open and closed are states, too.
func (c *content) isNamed(field []byte) bool {
	return len(c.rule.states) > 0 && (c.rule.names(field) || slices.ContainsFunc(c.rule.states, c.atKey))
}

// isWord reports whether a text is one word: it begins with a letter, and has nothing
// but letters, digits and what is within names. Pairs of keys and values, lists and log
// lines are none.
func isWord(s []byte) bool {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRune(s[i:])
		switch {
		case r == utf8.RuneError:
			return false
		case unicode.IsLetter(r):
		case i > 0 && (unicode.IsDigit(r) || unicode.IsMark(r) || strings.ContainsRune("_-./", r)):
		default:
			return false
		}
		i += size
	}
	return len(s) > 0 && len(s) <= series.MaxText
}

// stamped sets the time of the current record.
func (c *content) stamped(ms int64) {
	r := &c.records[c.rec]
	r.t, r.timed = ms, true
}

// stamp sets the time of the current record from a text. An invalid one stays noted.
func (c *content) stamp(s []byte) {
	r := &c.records[c.rec]
	r.stamp = c.keep(s)
	if t, assumed, ok := c.rule.times.read(s); ok {
		r.t, r.timed, r.local = t, true, assumed
	}
}

// skip counts a part of the message that is not recorded, and keeps the first as
// example.
func (c *content) skip(reason string, field, text []byte) {
	c.skips = skipped(c.skips, reason, 1, field, text)
}

func skipped(skips []skip, reason string, count uint64, field, text []byte) []skip {
	for i := range skips {
		if skips[i].reason == reason {
			skips[i].count += count
			return skips
		}
	}
	return append(skips, skip{reason, count, string(fieldName(field)), example(text)})
}

// example returns the beginning of a text as valid UTF-8.
func example(text []byte) string {
	const most = 160
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}

// fieldName returns the name of a field, measurement_field if it is in a group.
func fieldName(field []byte) []byte {
	group, own, found := strings.Cut(string(field), string([]byte{partEnd}))
	switch {
	case !found:
		return field
	case own == "value":
		return []byte(group)
	}
	return []byte(group + "_" + own)
}

// grouped appends the path of a field in a group, such as a measurement, to path.
func grouped(path, group, field []byte) []byte {
	return append(append(append(path, group...), partEnd), field...)
}

// field returns the name of the field at path.
func (c *content) field() []byte { return c.path[c.start:] }

// atKey reports whether path is the flattened key, counted either from the record or
// from where field names begin.
func (c *content) atKey(key string) bool {
	if key == "" || len(c.path) < len(key) {
		return false
	}
	if isKey(c.field(), key) {
		return true
	}
	own := c.path[c.base:]
	if c.base > c.start && len(own) > 0 {
		own = own[1:]
	}
	return isKey(own, key)
}

// under appends a key to path.
func (c *content) under(key []byte) {
	if len(c.path) > c.start {
		c.path = append(c.path, '_')
	}
	c.path = append(c.path, key...)
}

func (c *content) underIndex(i int) {
	if len(c.path) > c.start {
		c.path = append(c.path, '_')
	}
	c.path = strconv.AppendInt(c.path, int64(i), 10)
}
