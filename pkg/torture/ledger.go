package main

import (
	"sync"
	"time"
)

// state is the outcome of a message as its sender knows it.
type state int

const (
	// unknown: the connection was lost before there was an answer.
	unknown state = iota
	// acknowledged: the plugin answered 2xx, or the broker acknowledged the message.
	acknowledged
	// refused: the answer said that the message can never be stored.
	refused
)

// message is one number of a sender.
type message struct {
	sender string
	n      int
	series string
	t      int64     // its stamp in Unix ms, 0 if it is stamped on arrival
	sent   time.Time // for the first time
	tried  time.Time // for the last time
	acked  time.Time
	state  state
}

// ledger has all sent messages and their outcome. Its methods may be called from any
// goroutine.
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

// trying notes that messages are being sent, perhaps again.
func (l *ledger) trying(messages ...message) {
	now := time.Now()
	l.each(messages, func(m *message) { m.tried = now })
}

// settle notes the outcome of messages.
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

// all returns a copy of a sender's messages.
func (l *ledger) all(sender string) []message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]message(nil), l.messages[sender]...)
}
