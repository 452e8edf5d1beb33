package tail

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// Pool keeps one tail per (query, step, window if the rows depend on it, schema)
// for as long as somebody follows it. Its zero value is ready.
type Pool struct {
	// ReadTime is the longest time for one read of the source, 0 for 30 seconds.
	ReadTime time.Duration

	mu    sync.Mutex
	tails map[key]*shared
}

type key struct {
	query        string
	step, window int64
	schema       [sha256.Size]byte
}

type shared struct {
	*Tail
	followers int
	stop      context.CancelFunc
}

func keyOf(b source.Bound, schema grid.Schema) key {
	t := b.Traits()
	return key{string(b.Query().JSON()), t.Step, t.Window, digest(schema)}
}

// digest is over the length of each list, and each name with its length before it, so
// that no two schemas are the same text.
func digest(schema grid.Schema) [sha256.Size]byte {
	var text []byte
	for _, names := range [][]string{schema.Fields, schema.States} {
		text = binary.AppendUvarint(text, uint64(len(names)))
		for _, name := range names {
			text = binary.AppendUvarint(text, uint64(len(name)))
			text = append(text, name...)
		}
	}
	return sha256.Sum256(text)
}

// Follow returns the tail of b under the given schema, which runs until every
// follower has called the function that comes with it.
func (p *Pool) Follow(b source.Bound, schema grid.Schema) (*Tail, func()) {
	k := keyOf(b, schema)
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.tails[k]
	if s == nil || s.ended() {
		ctx, stop := context.WithCancel(context.Background())
		s = &shared{Tail: newTail(b, schema), stop: stop}
		if p.ReadTime > 0 {
			s.readTime = p.ReadTime
		}
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
			if p.tails[k] == s { // not if a newer one has replaced it
				delete(p.tails, k)
			}
		}
	})
}

// overlapWait is how long Overlap waits for a source. A viewer who joins must not
// wait longer, and gets the same rows a moment later anyway.
const overlapWait = 250 * time.Millisecond

// Overlap returns the newest rows of b as a packet for a viewer who joins now,
// from the running tail if there is one. It returns ErrFields if the rows have a
// series or a state beside those of the schema.
func (p *Pool) Overlap(ctx context.Context, b source.Bound, schema grid.Schema) ([]byte, error) {
	p.mu.Lock()
	s := p.tails[keyOf(b, schema)]
	p.mu.Unlock()
	if s != nil && !s.ended() {
		if pk, err := s.overlapPacket(); err == nil && pk.exists() {
			return pk.json, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, overlapWait)
	defer cancel()
	ctx, end := limits.Begin(ctx)
	defer end()
	rows, err := newest(ctx, b)
	if err != nil {
		return nil, err
	}
	rows, ok := rows.Onto(schema)
	if !ok {
		return nil, ErrFields
	}
	pk, _, err := encodeOverlap(rows, mostRows(len(schema.Fields)))
	return pk.json, err
}

// newest returns the newest settled rows of b, as many as an overlap has.
func newest(ctx context.Context, b source.Bound) (grid.Rows, error) {
	settled, err := b.Settled(ctx)
	if err != nil {
		return grid.Rows{}, fmt.Errorf("settled time: %w", err)
	}
	step := b.Traits().Step
	through := grid.Floor(settled, step)
	return b.Rows(ctx, through-OverlapLen(step)*step, through)
}
