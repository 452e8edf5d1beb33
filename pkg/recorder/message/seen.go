package message

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Topic is a topic with the messages that came last for it.
type Topic struct {
	Name string `json:"name"`
	// Messages is how many came.
	Messages uint64 `json:"messages"`
	// Last are payloads, the newest first. They are a second apart at least, and cut.
	Last []Payload `json:"last"`
}

// Payload is what a message held.
type Payload struct {
	Data []byte `json:"data"`
	// Time is when it came, in Unix milliseconds.
	Time int64 `json:"time"`
}

const (
	maxSeen     = 500 // topics
	maxSeenLast = 3   // messages of a topic
	maxSeenSize = 4096
	seenEvery   = time.Second
)

// seen remembers the topics that were seen lately, for whoever makes rules. It is
// bounded: a topic that is new takes the place of the one that was silent longest.
type seen map[string]*seenTopic

type seenTopic struct {
	messages uint64
	last     []Payload
	at       time.Time // of the last that was kept, and
	used     time.Time // of the last that came
	gone     bool      // it was forgotten
}

// of returns what is remembered of a topic.
func (s seen) of(topic string) *seenTopic {
	t := s[topic]
	if t == nil {
		if len(s) >= maxSeen {
			s.forget()
		}
		t = &seenTopic{}
		s[strings.Clone(topic)] = t
	}
	return t
}

func (t *seenTopic) note(payload []byte, now time.Time) {
	t.messages++
	t.used = now
	if now.Sub(t.at) < seenEvery && len(t.last) > 0 {
		return
	}
	t.at = now
	if len(t.last) == maxSeenLast {
		t.last = t.last[:maxSeenLast-1]
	}
	t.last = slices.Insert(t.last, 0, Payload{slices.Clone(payload[:min(len(payload), maxSeenSize)]), now.UnixMilli()})
}

func (s seen) forget() {
	oldest := ""
	for name, t := range s {
		if oldest == "" || t.used.Before(s[oldest].used) {
			oldest = name
		}
	}
	s[oldest].gone = true
	delete(s, oldest)
}

// decoders has the decoder of each sink whose input runs.
var decoders sync.Map

// Topics returns the topics that the decoder of a sink has seen lately, by name.
func Topics(sink Sink) []Topic {
	found, _ := decoders.Load(sink)
	d, _ := found.(*Decoder)
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Topic, 0, len(d.seen))
	for name, t := range d.seen {
		all = append(all, Topic{name, t.messages, slices.Clone(t.last)})
	}
	slices.SortFunc(all, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return all
}
