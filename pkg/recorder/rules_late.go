package recorder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
)

// lateFile is in the folder of the store.
const lateFile = "rules-late.json"

// deletedMark is before the name of a metric of which recorded samples were deleted. A
// rule that still records it is evaluated again, as far back as that can be done.
const deletedMark = "\x00"

const (
	// lateGrain is how long, in ms, the times in the file are at least: a device that
	// is always late does not have it written with each message.
	lateGrain = 10 * 60_000
	// forgetEvery is how often at most the file is written to have less in it.
	forgetEvery = 10 * time.Minute
	// maxKept is of how many metrics the file has the times apart. What becomes late
	// after these stands for all metrics there: when a device with many metrics is
	// late, the file is not written for each of them.
	maxKept = 16
	// maxSpans is how many separate spans are kept of a metric or a rule.
	maxSpans = 16
)

// spans are times, as separate spans in ascending order.
type spans []span

// with returns the spans with one more, and joins those that are no further apart than
// gap. If there are too many, the two that are nearest to each other become one.
func (all spans) with(more span, gap int64) spans {
	var next spans
	for _, s := range all {
		switch {
		case s.to+gap < more.from:
			next = append(next, s)
		case more.to+gap < s.from:
			next = append(next, more)
			more = s
		default:
			more = span{min(s.from, more.from), max(s.to, more.to)}
		}
	}
	next = append(next, more)
	if len(next) <= maxSpans {
		return next
	}
	nearest := 1
	for i := range next {
		if i > 0 && next[i].from-next[i-1].to < next[nearest].from-next[nearest-1].to {
			nearest = i
		}
	}
	next[nearest-1].to = next[nearest].to
	return slices.Delete(next, nearest, nearest+1)
}

// onto returns spans of a grid on another one, which have all times that a change may
// reach that reaches those of the first one.
func (all spans) onto(before, step int64) spans {
	if before == step {
		return all
	}
	var next spans
	for _, s := range all {
		next = next.with(span{ceil(s.from-before+1, step), ceil(s.to, step)}, step)
	}
	return next
}

// cover reports whether one of the spans has all of s.
func (all spans) cover(s span) bool {
	return slices.ContainsFunc(all, func(o span) bool { return o.from <= s.from && s.to <= o.to })
}

// lateness knows which samples have changed since rules read them. It writes that to
// the disk before they change, so that a process that is killed in between leaves no
// rule as if nothing had come. What the file has may be more than that: to evaluate a
// rule again where nothing has changed changes nothing.
type lateness struct {
	file string

	// changing is locked for reading while samples change.
	changing sync.RWMutex

	mu     sync.Mutex
	noted  map[string]spans // by metric, until take
	kept   map[string]spans // in the file, with what was taken and is not done
	forgot time.Time        // when the file was last written to have less in it
}

// resume reads the file.
func (l *lateness) resume() error {
	text, err := files.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var kept map[string][][2]int64
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noted, l.kept = make(map[string]spans), make(map[string]spans)
	for metric, all := range kept {
		for _, s := range all {
			l.noted[metric] = l.noted[metric].with(span{s[0], s[1]}, 0)
		}
		l.kept[metric] = l.noted[metric]
	}
	return err
}

// announce notes that samples are about to change. It needs l.changing for reading.
func (l *lateness) announce(changes map[string]span) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.noted == nil {
		l.noted = make(map[string]spans)
	}
	if l.kept == nil {
		l.kept = make(map[string]spans)
	}
	more := false
	for metric, s := range changes {
		// Far enough from the limits of int64 for what is added to it.
		s = span{max(s.from, longAgo), min(s.to, -longAgo)}
		if _, known := l.noted[metric]; !known && len(l.noted) >= maxNotedMetrics {
			metric = others(metric)
		}
		l.noted[metric] = l.noted[metric].with(s, 0)
		if l.keep(metric, s) {
			more = true
		}
	}
	if more {
		if err := l.write(); err != nil {
			return fmt.Errorf("%w: %w", errWrite, err)
		}
	}
	return nil
}

// others returns what stands for all metrics, with the mark if metric has it.
func others(metric string) string {
	if strings.HasPrefix(metric, deletedMark) {
		return deletedMark
	}
	return ""
}

// keep adds a span to what the file has to have, and reports whether that is more than
// before. It needs l.mu.
func (l *lateness) keep(metric string, s span) (more bool) {
	s = coarse(s)
	if _, known := l.kept[metric]; l.kept[others(metric)].cover(s) || !known && len(l.kept) >= maxKept {
		metric = others(metric)
	}
	if l.kept[metric].cover(s) {
		return false
	}
	l.kept[metric] = l.kept[metric].with(s, 0)
	return true
}

func coarse(s span) span {
	return span{ceil(s.from+1, lateGrain) - lateGrain, ceil(s.to, lateGrain)}
}

// take returns what was noted, and forgets it, unless samples are changing: who reads
// the samples after this call finds what has changed.
func (l *lateness) take() map[string]spans {
	if !l.changing.TryLock() {
		return nil
	}
	defer l.changing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	noted := l.noted
	l.noted = nil
	return noted
}

// done notes that the rules were evaluated again for all that was taken but what is
// pending.
func (l *lateness) done(pending map[string]spans) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) == 0 || time.Since(l.forgot) < forgetEvery {
		return nil
	}
	return l.forget(pending)
}

// forget has only what is pending, and what was noted since take, in the file. It needs
// l.mu.
func (l *lateness) forget(pending map[string]spans) error {
	l.kept = make(map[string]spans)
	for _, some := range []map[string]spans{pending, l.noted} {
		for metric, all := range some {
			for _, s := range all {
				l.keep(metric, s)
			}
		}
	}
	l.forgot = time.Now()
	return l.write()
}

// pending returns the grid times at which rules still have to be evaluated again, as if
// what they have recorded there were deleted.
func pending(all []*rule) map[string]spans {
	some := make(map[string]spans)
	for _, u := range all {
		for _, s := range slices.Concat(u.dirty, u.late) {
			some[deletedMark+u.Record] = some[deletedMark+u.Record].with(s, 0)
		}
	}
	return some
}

// write needs l.mu.
func (l *lateness) write() error {
	kept := make(map[string][][2]int64)
	for metric, all := range l.kept {
		for _, s := range all {
			kept[metric] = append(kept[metric], [2]int64{s.from, s.to})
		}
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if err := write(l.file, bytes.NewReader(text)); err != nil {
		return fmt.Errorf("note late samples for recording rules: %w", err)
	}
	return nil
}
