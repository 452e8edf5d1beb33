package tail

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// Pool keeps one tail per (query, step, fields) for as long as somebody follows
// it. Its zero value is ready.
type Pool struct {
	mu    sync.Mutex
	tails map[key]*shared
}

type key struct {
	query  string
	step   int64
	fields string
}

type shared struct {
	*Tail
	followers int
	stop      context.CancelFunc
}

func keyOf(q source.Query, step int64, fields []string) key {
	return key{query: string(q.JSON()), step: step, fields: strings.Join(fields, "\x00")}
}

// Follow returns the tail of q at step under the given fields, which runs until
// every follower has called the function that comes with it.
func (p *Pool) Follow(q source.Query, step int64, fields []string) (*Tail, func()) {
	k := keyOf(q, step, fields)
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.tails[k]
	if s == nil || s.ended() {
		ctx, stop := context.WithCancel(context.Background())
		s = &shared{Tail: newTail(q, step, fields), stop: stop}
		if p.tails == nil {
			p.tails = make(map[key]*shared)
		}
		p.tails[k] = s
		go s.run(ctx)
	}
	s.followers++
	return s.Tail, sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if s.followers--; s.followers == 0 {
			s.stop()
			if p.tails[k] == s { // and not a newer one
				delete(p.tails, k)
			}
		}
	})
}

// overlapWait bounds how long Overlap waits for a source: a viewer who joins
// must not wait on it, and gets the same rows a moment later anyway.
const overlapWait = 250 * time.Millisecond

// Overlap returns the newest rows of q as a packet for a viewer who joins now,
// from the running tail if there is one. It returns ErrFields if the rows have a
// series beside the fields.
func (p *Pool) Overlap(ctx context.Context, q source.Query, step int64, fields []string) ([]byte, error) {
	p.mu.Lock()
	s := p.tails[keyOf(q, step, fields)]
	p.mu.Unlock()
	if s != nil && !s.ended() {
		if pk, err := s.overlapPacket(); err == nil && pk.json != nil {
			return pk.json, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, overlapWait)
	defer cancel()
	rows, err := Newest(ctx, q, step, OverlapLen(step))
	if err != nil {
		return nil, err
	}
	rows, ok := rows.Onto(fields)
	if !ok {
		return nil, ErrFields
	}
	pk, _, err := encodeOverlap(rows, mostRows(len(fields)))
	return pk.json, err
}

// Newest returns the n newest settled rows of q.
func Newest(ctx context.Context, q source.Query, step, n int64) (grid.Rows, error) {
	settled, err := q.Settled(ctx)
	if err != nil {
		return grid.Rows{}, fmt.Errorf("settled time: %w", err)
	}
	through := grid.Floor(settled, step)
	return q.Rows(ctx, step, through-n*step, through)
}
