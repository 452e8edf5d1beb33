// Package source is the contract between the tail and whatever has numbers.
//
// A source answers two questions: the rows of a query at the grid times of a
// range, and up to which time the query is settled. It knows nothing of
// Grafana, of streams or of other sources, and must not import pkg/tail,
// pkg/plugin or the SDK's backend package.
//
// Every source promises, and package sourcetest checks:
//
//   - Ordered, Unique, Dense, OnGrid: one row for each grid time asked for, in
//     order, whether there is a value or not;
//   - SplitInvariant: a range asked for at once and in parts gives the same rows;
//   - Settled: rows at or before the settled time are the same when asked again;
//   - Honest: what cannot be answered is an error, never a silent hole.
package source

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
)

// Source is one place that numbers come from.
type Source interface {
	// Query returns the query that raw describes. Every error is the asker's
	// to mend: it names the field and says what to do.
	Query(raw json.RawMessage) (Query, error)
	// Check reports whether the source can answer: in one sentence for people
	// if so, else as an error that says what to do.
	Check(ctx context.Context) (string, error)
}

// Query is one valid query of a source. Times and steps are Unix milliseconds.
type Query interface {
	// JSON returns the canonical form: the same query always has the same
	// bytes, and Source.Query accepts them.
	JSON() json.RawMessage
	// String says in one line what is asked, for the query inspector.
	String() string
	// MinStep returns the smallest step at which the query makes sense.
	MinStep() int64
	// Settled returns the time up to which rows are final. It never goes back.
	Settled(ctx context.Context) (int64, error)
	// Rows returns the rows at the grid times in (after, through], both of
	// them grid times. An empty range gives the fields without rows. A range
	// beyond the settled time is answered with ErrNotSettled. The slice of
	// series belongs to the caller, who may name them anew.
	Rows(ctx context.Context, step, after, through int64) (grid.Rows, error)
}

// ErrDownstream is what errors.Is finds in an error that is not this plugin's own:
// the server that a source asks is away, refuses or answers nonsense, or the query
// cannot be evaluated on the data that there are.
var ErrDownstream = errors.New("not an error of this plugin")

// Downstream returns err as an error that is not this plugin's own.
func Downstream(err error) error { return downstream{err} }

type downstream struct{ error }

func (d downstream) Unwrap() error { return d.error }

func (downstream) Is(target error) bool { return target == ErrDownstream }

// ErrNotSettled says that rows were asked for that may still change.
var ErrNotSettled = errors.New("the range goes beyond the settled time")

// What only some queries have to say. A query that says nothing depends on no
// window, can be streamed, and has settled rows that never change.

// Windowed is a query whose rows depend on the length of the window that is
// shown, as PromQL's $__range does.
type Windowed interface {
	Query
	// Within returns the query for windows of the given length in milliseconds.
	// Its JSON says the length if, and only if, the rows depend on it.
	Within(window int64) Query
}

// Unsplit is a query that may give other rows in parts than at once.
type Unsplit interface {
	Query
	// Unsplit returns why the query cannot be streamed, nil if it can.
	Unsplit() error
}

// Watched is a query of a source that can say when something happens.
type Watched interface {
	Query
	// Watch returns how many samples came at or before the settled time until
	// now, each of which may have changed rows, and a channel that is closed
	// when there are more or the settled time was moved. Time alone may move
	// it too, without a word.
	Watch() (late uint64, changed <-chan struct{})
}

// Revised is a query of a source that cannot promise that settled rows stay as
// they are, such as a server that takes late samples and says nothing of them.
type Revised interface {
	Query
	// Revised says whether that is so. Then the newest rows are read again
	// whenever there are more.
	Revised() bool
}
