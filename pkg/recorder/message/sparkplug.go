package message

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/continuum-live/continuum-datasource/pkg/internal/protofields"
)

// edgeNodes are Sparkplug's edge nodes that have sent a message, by group/node.
type edgeNodes map[string]*edgeNode

// edgeNode has what the birth messages of a node and its devices said about metrics.
type edgeNode struct {
	aliases map[uint64]alias
	types   map[string]uint64 // data types by device/name, for senders without aliases
}

// alias is the metric that an alias number stands for.
type alias struct {
	name   string
	kind   uint64
	device string
}

const (
	maxEdgeNodes = 1000
	maxAliases   = 10_000 // of a node
)

// isSparkplug reports whether a topic has Sparkplug B messages. STATE topics of host
// applications have JSON instead.
func isSparkplug(topic string) bool {
	rest, is := strings.CutPrefix(topic, "spBv1.0/")
	return is && !strings.HasPrefix(rest, "STATE/") && strings.Count(rest, "/") >= 2
}

// speaksSparkplug reports whether the rule reads the messages of a topic as Sparkplug.
func (r *rule) speaksSparkplug(topic string) bool {
	return (r.format == formatAuto || r.format == formatSparkplug) && isSparkplug(topic)
}

// sparkplugTopic returns the parts of a Sparkplug topic.
func sparkplugTopic(topic string) (group, kind, node, device string) {
	parts := strings.SplitN(topic, "/", 5)
	if len(parts) > 4 {
		device = parts[4]
	}
	return parts[1], parts[2], parts[3], device
}

// sparkplugSource returns the node or device of a topic, without the message type,
// so that all message types of a device share its series.
func sparkplugSource(topic string) string {
	group, _, node, device := sparkplugTopic(topic)
	return strings.TrimSuffix(strings.Join([]string{"spBv1.0", group, node, device}, "/"), "/")
}

// address labels the record with the group, node and device of the topic.
func (c *content) address() {
	group, _, node, device := sparkplugTopic(c.from)
	c.label([]byte("group"), []byte(group))
	c.label([]byte("node"), []byte(node))
	if device != "" {
		c.label([]byte("device"), []byte(device))
	}
}

// restart forgets what was read of the payload.
func (c *content) restart() {
	c.reset(c.rule, c.from)
	if c.rule.speaksSparkplug(c.from) {
		c.address()
	}
}

// sparkplug reads a Sparkplug B payload.
func (c *content) sparkplug(b []byte) {
	group, kind, node, device := sparkplugTopic(c.from)
	c.keyless = true
	c.address()
	if kind == "NCMD" || kind == "DCMD" {
		c.skip(leftOut, nil, []byte("a command"))
		return
	}
	if kind == "NDEATH" || kind == "DDEATH" {
		// A death is the last will of the birth's connection, so its time is that of
		// the birth.
		c.records[c.rec].ends, c.records[c.rec].filled = true, true
		return
	}
	if len(b) > 0 && b[0] == '{' { // no message of Protobuf begins so
		c.keyless = false
		c.readable(formatJSON, b)
		return
	}
	key := group + "/" + node
	edge := c.nodes[key]
	if edge == nil && len(c.nodes) >= maxEdgeNodes || c.nodes == nil {
		c.nodes = make(edgeNodes)
	}
	if edge == nil || kind == "NBIRTH" {
		edge = &edgeNode{aliases: make(map[uint64]alias), types: make(map[string]uint64)}
		c.nodes[key] = edge
	}
	metrics, packed, err := c.metrics(b)
	if packed != nil && err == nil {
		var plain []byte
		if plain, err = unpacked(packed); err == nil {
			b = plain
			metrics, _, err = c.metrics(b)
		}
	}
	if err != nil {
		c.skip(notSparkplug, nil, binary(b))
		return
	}
	for _, b := range metrics {
		m, err := readMetric(b)
		if err != nil {
			c.skip(notSparkplug, []byte(m.name), binary(b))
			continue
		}
		if !c.identify(edge, &m, device, strings.HasSuffix(kind, "BIRTH")) {
			continue
		}
		c.metric(&m)
	}
}

// metrics returns the metrics of a payload or, if it only wraps another one that is
// compressed, that one. It sets the time of the record.
func (c *content) metrics(b []byte) (metrics [][]byte, packed []byte, err error) {
	var body []byte
	wraps := false
	err = protofields.Each(b, func(field protowire.Number, _ protowire.Type, n uint64, b []byte) error {
		switch {
		case field == 1 && n > 0 && n <= maxTime: // a clock that is not set says 0
			c.stamped(int64(n))
		case field == 2 && b != nil:
			metrics = append(metrics, b)
		case field == 4:
			wraps = string(b) == "SPBV1.0_COMPRESSED"
		case field == 5:
			body = b
		}
		return nil
	})
	if wraps {
		packed = body
	}
	return metrics, packed, err
}

// unpacked decompresses the payload in another one, by GZIP or DEFLATE.
func unpacked(b []byte) ([]byte, error) {
	if bytes.HasPrefix(b, gzipMagic) {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return bounded(z)
	}
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return bounded(z)
}

// identify completes the name and the data type of a metric from the birth message,
// and notes those of a birth message: other messages may have only the alias. It
// returns false if the alias is not known.
func (c *content) identify(edge *edgeNode, m *metric, device string, birth bool) bool {
	if birth && m.name != "" && len(edge.aliases)+len(edge.types) < maxAliases {
		if m.aliased {
			edge.aliases[m.alias] = alias{m.name, m.kind, device}
		}
		edge.types[device+"/"+m.name] = m.kind
	}
	if m.name == "" {
		known, ok := edge.aliases[m.alias]
		if !m.aliased || !ok || known.device != device {
			c.skip(unknownAlias, nil, []byte("has not been in a birth message since the recorder subscribed"))
			return false
		}
		m.name = known.name
		if m.kind == 0 {
			m.kind = known.kind
		}
	}
	if m.kind == 0 {
		m.kind = edge.types[device+"/"+m.name]
	}
	return true
}

// metric is a metric of a payload.
type metric struct {
	name    string
	alias   uint64
	aliased bool
	stamp   uint64
	kind    uint64
	null    bool
	set     bool // there is a value

	field   protowire.Number // the protobuf field that has the value
	integer uint64
	text    []byte
}

// Sparkplug's data types of signed integers, and the protobuf fields of values.
const (
	kindInt8, kindInt16, kindInt32, kindInt64 = 1, 2, 3, 4

	fieldInt, fieldLong, fieldFloat, fieldDouble, fieldBool, fieldText = 10, 11, 12, 13, 14, 15
)

func readMetric(b []byte) (m metric, err error) {
	err = protofields.Each(b, func(field protowire.Number, _ protowire.Type, n uint64, b []byte) error {
		switch field {
		case 1:
			m.name = string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
		case 2:
			m.alias, m.aliased = n, true
		case 3:
			m.stamp = n
		case 4:
			m.kind = n
		case 7:
			m.null = n != 0
		}
		if field >= fieldInt && field <= 19 {
			m.field, m.integer, m.text, m.set = field, n, b, true
		}
		return nil
	})
	return m, err
}

// metric adds the value of a metric, in a record of its own if its time is not the
// message's.
func (c *content) metric(m *metric) {
	field := []byte(m.name)
	if len(field) > maxName {
		c.skip(tooLong, field, nil)
		return
	}
	outer := c.rec
	defer func() { c.rec = outer }()
	if m.stamp > 0 && m.stamp <= maxTime && m.stamp != uint64(c.records[outer].t) {
		if !c.begin(outer, 0) {
			return
		}
		c.stamped(int64(m.stamp))
	}
	switch {
	case m.null || !m.set:
		c.skip(isNull, field, nil)
	case m.field == fieldText:
		c.word(field, bytes.ToValidUTF8(m.text, []byte("\uFFFD")))
	case m.field > fieldText:
		c.skip(notANumber, field, []byte("bytes, a data set or a template"))
	default:
		c.finite(field, m.number())
	}
}

func (m *metric) number() float64 {
	switch m.field {
	case fieldFloat:
		return float64(math.Float32frombits(uint32(m.integer)))
	case fieldDouble:
		return math.Float64frombits(m.integer)
	case fieldBool:
		if m.integer != 0 {
			return 1
		}
		return 0
	}
	switch m.kind {
	case kindInt8:
		return float64(int8(m.integer))
	case kindInt16:
		return float64(int16(m.integer))
	case kindInt32:
		return float64(int32(m.integer))
	case kindInt64:
		return float64(int64(m.integer))
	}
	return float64(m.integer)
}
