package endpoint

import (
	"context"
	"sync"
)

// Queue holds what was received until it is decoded, so that neither the store nor
// the decoder holds up a connection. It is bounded in items and bytes.
type Queue[T any] struct {
	maxItems, maxBytes int

	mu           sync.Mutex
	items, spare []T
	bytes        int
	some, room   chan struct{}
}

// NewQueue returns a queue with room for so many items and bytes.
func NewQueue[T any](maxItems, maxBytes int) *Queue[T] {
	return &Queue[T]{maxItems: maxItems, maxBytes: maxBytes, some: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// Offer adds an item that holds so many bytes. It returns false if there is no
// room for it. It never blocks.
func (q *Queue[T]) Offer(item T, bytes int) bool { return q.add(item, bytes, 1) }

// Put adds an item that must not be dropped, because its sender keeps count of what
// was not acknowledged. There is twice the room for such items; if that is used up
// too, Put waits, and returns false if ctx ends before.
func (q *Queue[T]) Put(ctx context.Context, item T, bytes int) bool {
	for !q.add(item, bytes, 2) {
		select {
		case <-q.room:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (q *Queue[T]) add(item T, bytes, times int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.items); n > 0 && (n >= times*q.maxItems || q.bytes+bytes > times*q.maxBytes) {
		return false
	}
	q.bytes += bytes
	if q.items = append(q.items, item); len(q.items) == 1 {
		wake(q.some)
	}
	return true
}

// Some is sent to when there are items to take.
func (q *Queue[T]) Some() <-chan struct{} { return q.some }

// Take returns all items. They are valid until the next call, which only one
// goroutine may make.
func (q *Queue[T]) Take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.spare)
	if cap(q.spare) > spareItems { // after a burst
		q.spare = nil
	}
	items := q.items
	q.items, q.spare, q.bytes = q.spare[:0], items, 0
	wake(q.room)
	return items
}

// spareItems is for how many items a queue keeps the room when they were taken.
const spareItems = 200

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
