package recorder

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// stateMemory is how far back states of earlier runs are looked for.
const stateMemory = 24 * time.Hour

// States returns the values that a label has in the series of the last day that have
// the given labels and this one, and whether there is a series without it. It counts
// for nobody who asks for samples.
func (k *Sink) States(lbls labels.Labels, label string) (texts []string, number bool, err error) {
	g := k.of.ingester
	db, err := g.database.acquire()
	if err != nil {
		return nil, false, err
	}
	defer db.readers.Done()
	now := g.now()
	from, to := now.Add(-stateMemory).UnixMilli(), now.UnixMilli()+g.ahead()
	q, err := db.Querier(from, to)
	if err != nil {
		return nil, false, err
	}
	var matchers []*labels.Matcher
	lbls.Range(func(l labels.Label) {
		matchers = append(matchers, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
	})
	set := q.Select(context.Background(), false, &storage.SelectHints{Start: from, End: to, Func: "series", DisableTrimming: true}, matchers...)
	for set.Next() {
		switch found := set.At().Labels(); {
		case labels.Equal(found, lbls):
			number = true
		case found.Len() == lbls.Len()+1 && found.Has(label):
			texts = append(texts, found.Get(label))
		}
	}
	return texts, number, errors.Join(set.Err(), q.Close())
}
