package message

import (
	"bytes"
	"math"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder/lineprotocol"
)

// looksLikeLines tells line protocol from other text, cheaply: there is a field
// set.
func looksLikeLines(text []byte) bool {
	i := bytes.IndexByte(text, ' ')
	return i > 0 && bytes.IndexByte(text[i:], '=') > 0
}

// What separates the parts of a line's key. Neither is in valid text.
const (
	partEnd = 0xFF
	nameEnd = 0xFE
)

// maxKey is the longest such key, in bytes.
const maxKey = 4096

// lines reads line protocol. The field of such a value is a key of which
// lineParts makes its name and tags, once for each series.
func (c *content) lines(text []byte) {
	errs := lineprotocol.Decode(text, time.Duration(c.timeUnit), func(p lineprotocol.Point) {
		if p.Strings > 0 {
			c.skips = skipped(c.skips, notANumber, uint64(p.Strings), p.Measurement, p.Text)
		}
		for _, f := range p.Fields {
			if math.IsNaN(f.Value) || math.IsInf(f.Value, 0) {
				c.skip(notFinite, f.Name, nil)
				continue
			}
			c.path = append(append(append(c.path[:0], p.Measurement...), partEnd), f.Name...)
			for _, tag := range p.Tags {
				c.path = append(append(append(append(c.path, partEnd), tag.Name...), nameEnd), tag.Value...)
			}
			if len(c.path) > maxKey {
				c.skip(tooLong, p.Measurement, nil)
				continue
			}
			before := len(c.values)
			c.add(c.path, f.Value)
			if len(c.values) > before {
				v := &c.values[before]
				v.line, v.t, v.timed = true, p.T, p.Timed
			}
		}
	})
	for _, err := range errs {
		c.skips = skipped(c.skips, notLines, uint64(err.Lines), nil, []byte(err.Error()))
	}
}

func lineParts(key string) (field string, tags []labels.Label) {
	measurement, rest, _ := strings.Cut(key, string([]byte{partEnd}))
	field, rest, more := strings.Cut(rest, string([]byte{partEnd}))
	for more {
		var tag string
		tag, rest, more = strings.Cut(rest, string([]byte{partEnd}))
		name, value, _ := strings.Cut(tag, string([]byte{nameEnd}))
		if name = lineprotocol.LabelName([]byte(name)); name != "" {
			tags = append(tags, labels.Label{Name: name, Value: value})
		}
	}
	return lineprotocol.MetricName([]byte(measurement), []byte(field)), tags
}
