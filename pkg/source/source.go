// Package source is the contract between the tail and whatever has numbers.
//
// A query is first bound to a step and to the length of a window. Then a source
// answers two questions: the rows at the grid times of a range, and up to which
// time they are settled. It knows nothing of Grafana, of streams or of other
// sources, and must not import pkg/tail, pkg/plugin or the SDK's backend package.
//
// Every source promises, and package sourcetest checks:
//
//   - Bound: what a bound query says of itself holds;
//   - Ordered, Unique, Dense, OnGrid: one row for each time asked for, in order,
//     whether there is a value or not;
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

// Query is one valid query, at no particular step.
type Query interface {
	// JSON returns the canonical form: the same query always has the same
	// bytes, and Source.Query accepts them. It has what the user wrote, macros
	// included.
	JSON() json.RawMessage
	// String says in one line what is asked, for the query inspector.
	String() string
	// MinStep returns the smallest step in milliseconds at which the query makes
	// sense.
	MinStep() int64
	// Bind returns the query at a step, for windows of a length that is at least
	// one step. Both are in milliseconds. Every error is the asker's to mend.
	Bind(step, window int64) (Bound, error)
}

// Bound is a query at one step and for one length of window. All that can be
// said of its rows is derived from this form, in which macros have their values.
// Times are Unix milliseconds.
type Bound interface {
	// Query returns the query that was bound.
	Query() Query
	// Traits says what kind of query it is.
	Traits() Traits
	// Settled returns the time up to which rows are final. It never goes back.
	Settled(ctx context.Context) (int64, error)
	// Watch returns a mark, which is another one once there is something in Since, and
	// a channel that is closed when that may be or the settled time was moved. Time
	// alone may move it too, without notice.
	Watch() (mark string, changed <-chan struct{})
	// Since returns why rows after a time that were read at a mark must be read
	// again: ErrLate or ErrHealth, nil if they need not.
	Since(mark string, after int64) error
	// Rows returns the rows in (after, through], which is a whole number of steps:
	// all of them grid times, or those of a calendar's rows of the same length. An
	// empty range gives the fields without rows. A range
	// beyond the settled time is answered with ErrNotSettled. The slice of
	// series belongs to the caller, who may name them anew.
	Rows(ctx context.Context, after, through int64) (grid.Rows, error)
}

// Hinter is a Bound that may know why it has no series.
type Hinter interface {
	// Hint returns a sentence for who asked for rows in (after, through] and got
	// no series, empty if there is nothing to say.
	Hint(ctx context.Context, after, through int64) string
}

// Traits say what kind of query a bound query is.
type Traits struct {
	// Step is the step in milliseconds.
	Step int64
	// Window is the length of the window in milliseconds, 0 if the rows do not
	// depend on it.
	Window int64
	// Reads are the samples that rows are made of. There are none if no sample
	// that comes can change a row.
	Reads []Read
	// Unsplit is why rows that are asked for in parts may differ from those
	// asked for at once, nil if they never do. Such a query cannot be streamed.
	Unsplit error
	// Drawn is why the rows are to be drawn and nothing is to be calculated from them:
	// their values stand for texts. It is nil for numbers.
	Drawn error
	// Lookback is how long the newest row stands for the present, in milliseconds,
	// when the settled time stays where it is. It is 0 where the settled time goes
	// on with a clock.
	Lookback int64
	// Revised says that settled rows may change without notice, as they do on a
	// server that takes late samples. Then the newest rows are read again
	// whenever there are more.
	Revised bool
}

// Read is a range of samples that every row is made of: those of a metric at the
// times in (After, Through], in milliseconds.
type Read struct {
	// Metric is the name of the metric, empty if it may be any.
	Metric string
	// Fixed says that the times are Unix milliseconds, the same for every row.
	// Else they count from the row's own time.
	Fixed          bool
	After, Through int64
}

// Why rows must be read again.
var (
	// ErrLate says that samples which came late, or were deleted, may have changed
	// rows that were settled.
	ErrLate = errors.New("settled samples have changed")
	// ErrHealth says that the rows come with other notices now.
	ErrHealth = errors.New("an input of the source went down or is back")
)

// Unwatched is the part of a Bound that a source has which gives no sign of changes:
// it is embedded.
type Unwatched struct{}

// Watch implements Bound.
func (Unwatched) Watch() (string, <-chan struct{}) { return "", nil }

// Since implements Bound.
func (Unwatched) Since(string, int64) error { return nil }

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
