package main

import (
	"sync"
	"time"
)

// state is what became of a message as its sender knows it.
type state int

const (
	// unknown: the connection was lost before there was an answer.
	unknown state = iota
	// acknowledged: the plugin answered 2xx, or the broker has it.
	acknowledged
	// refused: the answer was that it can never be stored.
	refused
)

// message is one number that a sender sent.
type message struct {
	sender string
	n      int
	series string
	t      int64     // its stamp in Unix ms, 0 if it is stamped when it arrives
	sent   time.Time // first
	tried  time.Time // last
	acked  time.Time
	state  state
}

// ledger is what was sent, and what became of it. Its methods may be called from
// any goroutine.
type ledger struct {
	mu       sync.Mutex
	messages map[string][]message // by sender; number n is at n-1
}

func newLedger() *ledger { return &ledger{messages: make(map[string][]message)} }

// next notes that a sender is about to send its next number, and returns it.
func (l *ledger) next(sender, series string, t int64) message {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	m := message{sender: sender, n: len(l.messages[sender]) + 1, series: series, t: t, sent: now, tried: now}
	l.messages[sender] = append(l.messages[sender], m)
	return m
}

// count returns how many numbers a sender has sent.
func (l *ledger) count(sender string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.messages[sender])
}

// trying notes that messages are sent, maybe again.
func (l *ledger) trying(messages ...message) {
	now := time.Now()
	l.each(messages, func(m *message) { m.tried = now })
}

// settle notes what became of messages.
func (l *ledger) settle(s state, messages ...message) {
	now := time.Now()
	l.each(messages, func(m *message) { m.state, m.acked = s, now })
}

// kept notes that a stream has message n of a sender, with the stream's stamp.
func (l *ledger) kept(sender string, n int, t int64) {
	l.each([]message{{sender: sender, n: n}}, func(m *message) {
		m.t = t
		if m.state != acknowledged {
			m.state, m.acked = acknowledged, m.tried
		}
	})
}

func (l *ledger) each(messages []message, do func(*message)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range messages {
		if of := l.messages[m.sender]; m.n >= 1 && m.n <= len(of) {
			do(&of[m.n-1])
		}
	}
}

// all returns a copy of what a sender sent.
func (l *ledger) all(sender string) []message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]message(nil), l.messages[sender]...)
}
