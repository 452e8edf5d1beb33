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

// Source is one place from which numbers come.
type Source interface {
	// Query parses a query. Every error is one that the user can fix: it names the
	// field and says what to do.
	Query(raw json.RawMessage) (Query, error)
	// Check reports whether the source can answer. It returns a sentence for people
	// if it can, and an error that says what to do if not.
	Check(ctx context.Context) (string, error)
}

// Query is a valid query, without a step.
type Query interface {
	// JSON returns the canonical form: equal queries have the same bytes, and
	// Source.Query accepts them. It has the text that the user wrote, macros
	// included.
	JSON() json.RawMessage
	// String returns the query in one line, for the query inspector.
	String() string
	// MinStep returns the smallest step in milliseconds at which the query makes
	// sense.
	MinStep() int64
	// Bind returns the query at a step, for windows of this length, which is at
	// least one step. Both are in milliseconds. Every error is one that the user can
	// fix.
	Bind(step, window int64) (Bound, error)
}

// Bound is a query at one step and for one length of window, in which macros have
// their values. All statements about its rows follow from this form. Times are Unix
// milliseconds.
type Bound interface {
	// Query returns the query that was bound.
	Query() Query
	// Traits returns what kind of query it is.
	Traits() Traits
	// Settled returns the time up to which rows are final. It goes back only if the
	// source's clock is set back.
	Settled(ctx context.Context) (int64, error)
	// Watch returns a mark and a channel. The mark changes when Since has something
	// to report. The channel is closed when the mark or the settled time may have
	// changed; the settled time may also move with the clock, without notice.
	Watch() (mark string, changed <-chan struct{})
	// Since returns why rows after a time must be read again that were read at this
	// mark: ErrLate or ErrHealth, nil if they need not.
	Since(mark string, after int64) error
	// Rows returns the rows in (after, through], which is a whole number of steps:
	// all of them grid times, or those of a calendar's rows of the same length. An
	// empty range gives the fields without rows. A range
	// beyond the settled time is answered with ErrNotSettled. The slice of
	// series belongs to the caller, who may name them anew.
	Rows(ctx context.Context, after, through int64) (grid.Rows, error)
	// Hint returns a sentence that says why the query has no series in (after,
	// through], empty if nothing is known.
	Hint(ctx context.Context, after, through int64) string
}

// Traits are the properties of a bound query.
type Traits struct {
	// Step is the step in milliseconds.
	Step int64
	// Window is the length of the window in milliseconds, 0 if the rows do not
	// depend on it.
	Window int64
	// Reads are the samples that rows are made of, none if no new sample can change
	// a row.
	Reads []Read
	// Unsplit is why rows may differ between answers to a whole range and to its
	// parts, nil if they never do. Such a query cannot be streamed.
	Unsplit error
	// Drawn is why the rows are to be drawn and nothing is to be calculated from them:
	// their values stand for texts. It is nil for numbers.
	Drawn error
	// Lookback is how long the newest row counts as the present value, in
	// milliseconds, if the settled time does not move. It is 0 if the settled time
	// moves with a clock.
	Lookback int64
	// Revised says that settled rows may change without notice, as on a server that
	// accepts late samples. Then the newest rows are read again with each new row.
	Revised bool
}

// Read is a range of samples that every row is made of: those of a metric in (After,
// Through], in milliseconds.
type Read struct {
	// Metric is the name of the metric, empty if it may be any.
	Metric string
	// Fixed says that the times are Unix milliseconds, the same for all rows.
	// Otherwise they count from the row's own time.
	Fixed          bool
	After, Through int64
}

// The reasons why rows must be read again.
var (
	// ErrLate means that late or deleted samples may have changed settled rows.
	ErrLate = errors.New("settled samples have changed")
	// ErrHealth means that rows have other notices now.
	ErrHealth = errors.New("an input of the source went down or is back")
)

// Plain implements Watch, Since and Hint of a Bound for sources that report no changes
// and know nothing of series that are missing. It is meant to be embedded.
type Plain struct{}

// Watch implements Bound.
func (Plain) Watch() (string, <-chan struct{}) { return "", nil }

// Since implements Bound.
func (Plain) Since(string, int64) error { return nil }

// Hint implements Bound.
func (Plain) Hint(context.Context, int64, int64) string { return "" }

// ErrDownstream marks errors that are not this plugin's own, for errors.Is: the
// source's server is not reachable, refuses or answers nonsense, or the query cannot
// be evaluated on the samples that there are.
var ErrDownstream = errors.New("not an error of this plugin")

// Downstream marks err as an ErrDownstream.
func Downstream(err error) error { return downstream{err} }

type downstream struct{ error }

func (d downstream) Unwrap() error { return d.error }

func (downstream) Is(target error) bool { return target == ErrDownstream }

// ErrNotSettled means that some of the requested rows may still change.
var ErrNotSettled = errors.New("the range goes beyond the settled time")
