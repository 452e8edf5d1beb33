package message

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Topic is a topic with its last messages.
type Topic struct {
	Name string `json:"name"`
	// Messages is how many messages came.
	Messages uint64 `json:"messages"`
	// Last are payloads, the newest first. They are at least a second apart, and
	// long ones are cut.
	Last []Payload `json:"last"`
}

// Payload is the payload of a message.
type Payload struct {
	Data []byte `json:"data"`
	// Time is when the message came, in Unix milliseconds.
	Time int64 `json:"time"`
}

const (
	maxSeen     = 500 // topics
	maxSeenLast = 3   // messages of a topic
	maxSeenSize = 4096
	seenEvery   = time.Second
)

// seen remembers recent topics, for people who make rules. It is bounded: a new
// topic replaces the one without a message for longest. All
// places together change hands once in seenEvery at most, so that many topics that
// take turns do not cost more than few.
type seen struct {
	*simplelru.LRU[string, *seenTopic]
	replaced time.Time // when a topic last took another's place
}

type seenTopic struct {
	messages uint64
	last     []Payload
	at       time.Time // when the last payload was kept
	gone     bool      // another topic took its place
}

func newSeen() seen {
	lru, err := simplelru.NewLRU(maxSeen, func(_ string, t *seenTopic) { t.gone = true })
	if err != nil {
		panic(err) // only if the size is not positive
	}
	return seen{LRU: lru}
}

// hasRoom reports whether a topic without a place can have one now.
func (s *seen) hasRoom(now time.Time) bool {
	since := now.Sub(s.replaced)
	return s.Len() < maxSeen || since < 0 || since >= seenEvery/maxSeen
}

// of returns what is remembered of a topic, and marks it as used last. It returns nil
// if there is no place for it now.
func (s *seen) of(topic string, now time.Time) *seenTopic {
	if t, ok := s.Get(topic); ok {
		return t
	}
	if !s.hasRoom(now) {
		return nil
	}
	if s.Len() >= maxSeen {
		s.replaced = now
	}
	t := &seenTopic{}
	s.Add(strings.Clone(topic), t)
	return t
}

// isDue reports whether the next payload is kept. Messages in between are only
// counted.
func (t *seenTopic) isDue(now time.Time) bool { return len(t.last) == 0 || now.Sub(t.at) >= seenEvery }

// note counts a message of a topic that has a place, and keeps it if it is due.
func (t *seenTopic) note(payload []byte, now time.Time) {
	if t == nil {
		return
	}
	if t.messages++; !t.isDue(now) {
		return
	}
	t.at = now
	if len(t.last) == maxSeenLast {
		t.last = t.last[:maxSeenLast-1]
	}
	t.last = slices.Insert(t.last, 0, Payload{slices.Clone(payload[:min(len(payload), maxSeenSize)]), now.UnixMilli()})
}

// decoders has the decoders by their sink, while Run runs.
var decoders sync.Map

// Topics returns the topics that the decoder of a sink has seen lately, sorted by
// name. It returns nil if no decoder runs with that sink.
func Topics(sink Sink) []Topic {
	found, _ := decoders.Load(sink)
	d, _ := found.(*Decoder)
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Topic, 0, d.seen.Len())
	for _, name := range d.seen.Keys() {
		t, _ := d.seen.Peek(name)
		all = append(all, Topic{name, t.messages, slices.Clone(t.last)})
	}
	slices.SortFunc(all, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return all
}
