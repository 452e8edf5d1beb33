package recorder

import (
	"context"
	"log/slog"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// compactor writes the TSDB's blocks.
//
// When a TSDB is opened, it leaves out what its write-ahead log has from before the
// end of the last block that is not marked as out of order. A block of late samples
// ends with its two hours. Merged with an unmarked one that ends within these, it
// loses its mark, and what was recorded between the two ends would be left out. So
// blocks that end within two hours are marked as well: toBlocks writes them, and
// leaves no log.
type compactor struct{ *tsdb.LeveledCompactor }

// Write implements tsdb.Compactor.
func (c compactor) Write(dir string, b tsdb.BlockReader, mint, maxt int64, base *tsdb.BlockMeta) ([]ulid.ULID, error) {
	if base == nil && maxt%tsdb.DefaultBlockDuration != 0 {
		base = outOfOrder()
	}
	return c.LeveledCompactor.Write(dir, b, mint, maxt, base)
}

// outOfOrder returns what a new block takes the mark of being out of order from.
func outOfOrder() *tsdb.BlockMeta {
	m := &tsdb.BlockMeta{}
	m.Compaction.SetOutOfOrder()
	return m
}

// newCompactor is a tsdb.NewCompactorFunc.
func newCompactor(ctx context.Context, r prometheus.Registerer, l *slog.Logger, ranges []int64, pool chunkenc.Pool, opts *tsdb.Options) (tsdb.Compactor, error) {
	c, err := tsdb.NewLeveledCompactorWithOptions(ctx, r, l, ranges, pool, tsdb.LeveledCompactorOptions{
		MaxBlockChunkSegmentSize:    opts.MaxBlockChunkSegmentSize,
		EnableOverlappingCompaction: opts.EnableOverlappingCompaction,
		FloatChunkEncoding:          func() chunkenc.Encoding { return opts.FloatChunkEncoding },
	})
	if err != nil {
		return nil, err
	}
	return compactor{c}, nil
}
