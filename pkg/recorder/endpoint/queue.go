package endpoint

import (
	"context"
	"sync"
)

// Queue holds received items until they are decoded, so that a slow store or decoder
// does not hold up the connection. It is bounded in items and bytes.
type Queue[T any] struct {
	maxItems, maxBytes int

	mu           sync.Mutex
	items, spare []T
	bytes        int
	some, room   chan struct{}
}

// NewQueue returns a queue with room for this many items and bytes.
func NewQueue[T any](maxItems, maxBytes int) *Queue[T] {
	return &Queue[T]{maxItems: maxItems, maxBytes: maxBytes, some: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// Offer adds an item of this many bytes. It returns false if there is no room. It
// never blocks.
func (q *Queue[T]) Offer(item T, bytes int) bool { return q.add(item, bytes, 1) }

// Put adds an item that must not be dropped, because its sender waits for an
// acknowledgement. Such items have twice the room. If that is used up, too, Put
// waits; it returns false if ctx ends first.
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

// Some returns a channel that gets a value when there are items to take.
func (q *Queue[T]) Some() <-chan struct{} { return q.some }

// Take removes and returns all items. They are valid until the next call of Take.
// Only one goroutine may call it.
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

// spareItems is the largest capacity that a queue keeps for its next items.
const spareItems = 200

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
