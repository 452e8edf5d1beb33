package recorder

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Status is the state of a store. It has no addresses and no secrets.
type Status struct {
	Inputs []InputStatus `json:"inputs"`
	// Series is the number of series in the head, the newest two to three hours of
	// the store.
	Series uint64 `json:"series"`
	// Bytes is how much of the disk the store takes.
	Bytes int64 `json:"bytes"`
	// Oldest is the time of the oldest sample, 0 if there is none, and Settled the
	// settled time, both in Unix milliseconds.
	Oldest  int64 `json:"oldest"`
	Settled int64 `json:"settled"`
	// Used is when samples were last asked for, and Stops when recording stops
	// unless somebody asks again, 0 for never. Both are in Unix milliseconds.
	Used  int64 `json:"used"`
	Stops int64 `json:"stops"`
	// NotReady is why nothing can be stored now, empty if samples can be stored.
	// DiskFree is the number of free bytes on the store's disk, 0 if unknown.
	NotReady string `json:"notReady,omitempty"`
	DiskFree int64  `json:"diskFree"`
	// Fleeting is why what is recorded may not be there after the next start, empty if
	// nothing is known.
	Fleeting string `json:"fleeting,omitempty"`
	// Removed are the samples deleted last because they were ahead of the clock.
	Removed *Removed `json:"removed,omitempty"`
	// Rules are the recording rules in the order in which they are evaluated.
	Rules []RuleStatus `json:"rules,omitempty"`
}

// InputStatus is the state of an input, with its counters since the input started.
type InputStatus struct {
	Name string `json:"name"`
	// State has been this since Since, in Unix milliseconds.
	State State `json:"state"`
	Since int64 `json:"since"`
	// Silent are the topics or subjects from which nothing has come yet.
	Silent []string `json:"silent,omitempty"`
	// Samples is how many were stored, and Late how many of these at or before the
	// settled time. Repeated is how many the store had already, as after a
	// redelivery.
	Samples  uint64  `json:"samples"`
	Late     uint64  `json:"late"`
	Repeated uint64  `json:"repeated"`
	Refused  Refused `json:"refused"`
	// RefusedFirst are the first samples that were, by the reason's name in Refused.
	RefusedFirst map[string]string `json:"refusedFirst,omitempty"`
	// Stored is when a sample was stored last, in Unix milliseconds, 0 for never.
	Stored int64 `json:"stored"`
	// Rate is in samples per second, over the last ten seconds.
	Rate float64 `json:"rate"`
	// Trouble is what is wrong now. NextTry is when the input tries to connect
	// again, in Unix milliseconds, 0 if it does not. LastError is the last error of
	// a commit.
	Trouble   string `json:"trouble,omitempty"`
	NextTry   int64  `json:"nextTry,omitempty"`
	LastError string `json:"lastError,omitempty"`
	// Only inputs of messages report these.
	Messages uint64             `json:"messages"`
	Skipped  map[string]Skipped `json:"skipped,omitempty"`
	Last     *Message           `json:"last,omitempty"`
}

// State is the state of an input.
type State string

// The states of an input.
const (
	// StateConnecting: the input has not connected or failed yet.
	StateConnecting State = "connecting"
	// StateDown: the input has no connection.
	StateDown State = "down"
	// StateWaiting: the input is connected, and nothing has come yet.
	StateWaiting State = "waiting"
	// StateUnstored: messages come, but no samples are stored.
	StateUnstored State = "unstored"
	// StateRecording: the samples that come are stored.
	StateRecording State = "recording"
)

// Connected reports whether the input has a connection.
func (s State) Connected() bool { return s != StateConnecting && s != StateDown }

// up reports whether viewers can expect samples. While the state is not known, they
// can.
func (s State) up() bool { return s != StateDown && s != StateUnstored }

// Refused counts samples that were not stored, by reason.
type Refused struct {
	Future    uint64 `json:"future"`
	TooOld    uint64 `json:"tooOld"`
	Duplicate uint64 `json:"duplicate"`
	// Recorded have a name that a rule records.
	Recorded uint64 `json:"recorded"`
}

// refusedNames are the fields of Refused in JSON.
var refusedNames = map[error]string{ErrFuture: "future", ErrTooOld: "tooOld", ErrDuplicate: "duplicate", ErrRecorded: "recorded"}

func (r *Refused) add(o Refused) {
	r.Future += o.Future
	r.TooOld += o.TooOld
	r.Duplicate += o.Duplicate
	r.Recorded += o.Recorded
}

// Report is the result of processing messages.
type Report struct {
	// Messages is how many were received.
	Messages uint64
	// Skipped are the parts that could not be recorded, by reason. The reasons are a
	// few fixed texts.
	Skipped map[string]Skipped
	// Last is the last message, nil if there was none.
	Last *Message
}

// Skipped counts what could not be recorded for one reason.
type Skipped struct {
	Count uint64 `json:"count"`
	// Example is the first one.
	Example string `json:"example"`
}

// Message is a message and its samples.
type Message struct {
	// From is the topic or subject.
	From    string `json:"from"`
	Payload string `json:"payload"`
	// Samples are in Prometheus' text format.
	Samples []string `json:"samples"`
}

// Texts from outside are cut to this many runes.
const (
	maxExample = 200
	maxPayload = 1000
	maxLast    = 10 // samples
)

func cut(s string, runes int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	return string([]rune(s)[:runes]) + "…"
}

func (in *InputStatus) add(r Report) {
	in.Messages += r.Messages
	for reason, s := range r.Skipped {
		if in.Skipped == nil {
			in.Skipped = make(map[string]Skipped)
		}
		sum := in.Skipped[reason]
		if sum.Count == 0 {
			sum.Example = cut(s.Example, maxExample)
		}
		sum.Count += s.Count
		in.Skipped[reason] = sum
	}
	if r.Last != nil {
		last := Message{From: cut(r.Last.From, maxExample), Payload: cut(r.Last.Payload, maxPayload)}
		for _, s := range r.Last.Samples[:min(len(r.Last.Samples), maxLast)] {
			last.Samples = append(last.Samples, cut(s, maxExample))
		}
		in.Last = &last
	}
}

// Status returns the state of the store.
func (s *Store) Status() Status {
	st := Status{Inputs: s.inputs.status(), Settled: s.Settled(), Removed: s.future.last(), Fleeting: s.fleeting}
	st.Used, st.Stops = s.usage.times()
	_, st.DiskFree, _ = s.ready.disk()
	st.Rules, st.Bytes = s.rules.status()
	if err := s.ready.check(); err != nil {
		st.NotReady = err.Error()
	}
	db, err := s.database.acquire()
	if err != nil {
		st.NotReady = err.Error()
		return st
	}
	defer db.readers.Done()
	head := db.Head()
	st.Series = head.NumSeries()
	st.Bytes += db.size()
	if oldest, err := db.StartTime(); err == nil && (head.NumSeries() > 0 || len(db.Blocks()) > 0) {
		st.Oldest = oldest
	}
	return st
}

// rate counts samples by second, over the last ten seconds.
type rate struct {
	counts [10]uint64
	last   int64 // the second that was counted last
}

func (r *rate) roll(now time.Time) int {
	second, n := now.Unix(), int64(len(r.counts))
	for r.last = max(r.last, second-n); r.last < second; {
		r.last++
		r.counts[r.last%n] = 0
	}
	return int(r.last % n)
}

func (r *rate) add(now time.Time, n uint64) {
	r.counts[r.roll(now)] += n
}

func (r *rate) perSecond(now time.Time) float64 {
	r.roll(now)
	var sum uint64
	for _, n := range r.counts {
		sum += n
	}
	return float64(sum) / float64(len(r.counts))
}
