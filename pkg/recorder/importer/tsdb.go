package importer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// readBlocks reads a block, or all blocks in a folder, such as a snapshot of
// Prometheus. The blocks stay as they are.
func readBlocks(folder string, logger *slog.Logger, into Into) error {
	blocks := []string{folder}
	if is, err := files.Exists(filepath.Join(folder, "meta.json")); err != nil || !is {
		entries, err := files.ReadDir(folder)
		if err != nil {
			return &InputError{err}
		}
		blocks = nil
		for _, e := range entries {
			dir := filepath.Join(folder, e.Name())
			if is, err := files.Exists(filepath.Join(dir, "meta.json")); err == nil && is {
				blocks = append(blocks, dir)
			}
			if e.Name() == "wal" {
				into.Refuse(0, "not yet in blocks", "what is in the folder wal is not read: have Prometheus make a snapshot, and import that")
			}
		}
	}
	if len(blocks) == 0 {
		return unreadable("there are no blocks in the folder: a block is a folder with a file meta.json")
	}
	for _, dir := range blocks {
		if err := readBlock(dir, logger, into); err != nil {
			return err
		}
	}
	return nil
}

func readBlock(dir string, logger *slog.Logger, into Into) (err error) {
	damaged := func(err error) error { return unreadable("the block %s cannot be read: %w", filepath.Base(dir), err) }
	b, err := tsdb.OpenBlock(logger, dir, nil, nil)
	if err != nil {
		return damaged(err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	q, err := tsdb.NewBlockQuerier(b, math.MinInt64, math.MaxInt64)
	if err != nil {
		return damaged(err)
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".*"))
	var it chunkenc.Iterator
	for set.Next() {
		s := set.At()
		lbls := s.Labels()
		if err := series.Check(lbls); err != nil {
			into.Refuse(0, badLabels, fmt.Sprintf("%.200s: %v", lbls, err))
			continue
		}
		it = s.Iterator(it)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if kind != chunkenc.ValFloat {
				into.Refuse(0, "native histogram", shown(recorder.Text(lbls)))
				continue
			}
			t, v := it.At()
			if err := into.Add(recorder.Past{Labels: lbls, T: t, V: v}); err != nil {
				return err
			}
		}
		if err := it.Err(); err != nil {
			return damaged(err)
		}
	}
	if err := set.Err(); err != nil {
		return damaged(err)
	}
	return nil
}
