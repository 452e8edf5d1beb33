// Package limits owns the limits of queries: how long a query may be, how much it may
// read and answer, and how much memory and time all queries together may take of the
// process. The same limits apply to queries, subscriptions and tails.
//
// Each limit is checked before the memory or the time is spent. A refusal is an
// [Error], which names the limit and says what to do. The package knows neither
// Grafana nor sources.
package limits

import "fmt"

// Limit is one limit.
type Limit struct {
	// Name and Unit are those in docs/limits.md.
	Name, Unit string
	Most       int64
	// Advice says what to do after a refusal.
	Advice string
}

const narrow = "narrow the query down, or aggregate"

// The limits of one query.
var (
	// Text is the JSON of a query.
	Text = Limit{"Text of a query", "bytes", 64 << 10, "shorten the query"}
	// Nesting is the depth of brackets in an expression, or in a server's JSON.
	// Parsers are recursive.
	Nesting = Limit{"Nesting", "levels", 200, "write the query with fewer brackets"}
	// Operators is how many operators an expression has, without those in matchers.
	// Each is a level of the syntax tree, which the engine walks more than once.
	Operators = Limit{"Operators of a query", "operators", 1000, "use a regular expression, or an aggregation such as sum, instead"}
	// Matchers is how many matchers a selector has, such as a="b". Each is looked up,
	// and what it finds is held against what all the others do.
	Matchers = Limit{"Matchers of a selector", "matchers", 100, "use fewer, or one regular expression for several"}
	// StreamData is the subscription data of a stream. Grafana sends them to every
	// viewer.
	StreamData = Limit{"Subscription data of a stream", "bytes", 48 << 10, "ask for fewer series"}
	// Overlap is how many values the overlap of a stream has.
	Overlap = Limit{"Overlap of a stream", "values", 200_000, "ask for fewer series, or a larger minimum interval"}
	// Series and Cells (rows times series) limit an answer.
	Series = Limit{"Series of an answer", "series", 1000, narrow}
	Cells  = Limit{"Cells of an answer", "rows × series", 2_000_000, "choose a shorter time range or a larger minimum interval, or aggregate"}
	// Steps is how often the parts of an expression are evaluated, each part for
	// itself.
	Steps = Limit{"Steps of a query with its subqueries", "steps", 1_000_000, "choose a shorter range or a larger step for the subquery, or a shorter time range"}
	// Reads is how many samples all parts of an expression read together; where
	// ranges overlap, a sample counts once for each. Values is how many values all
	// parts calculate.
	Reads  = Limit{"Samples read by a query", "samples", 5_000_000_000, "choose a shorter range in the brackets, a shorter time range, or a larger minimum interval"}
	Values = Limit{"Values of an evaluation", "values", 50_000_000, narrow + ", or choose a shorter time range or a larger minimum interval"}
	// Samples is how many samples an evaluation holds in memory at once.
	Samples = Limit{"Samples of an evaluation", "samples", 5_000_000, narrow + ", or choose a shorter range in the brackets"}
	// Label is the length of a label that an expression makes, or of a name in a
	// legend.
	Label = Limit{"Label or legend of a series", "bytes", 64 << 10, "shorten the legend, or the texts of label_replace and label_join"}
	// Patterns is the size of all regular expressions in steps, see [Pattern]. Lists
	// of plain texts do not count.
	Patterns = Limit{"Regular expressions of a query", "steps", 5000, "use shorter ones, or lists of plain texts such as a|b|c"}
	// Request is what all answers to one request take, as [Bytes] counts it.
	Request = Limit{"Answers to one request", "bytes", 96<<20 - reserve, "ask for fewer series, choose a shorter time range, or shorten labels and legends"}
	// Listed is how many names a list for an editor has.
	Listed = Limit{"Names of a list", "names", 10_000, "ask for fewer names"}
	// Body is the size of a server's answer, Names that of an answer with a list of
	// names.
	Body  = Limit{"Answer of a server", "bytes", 64 << 20, "choose a shorter time range, or narrow the query down"}
	Names = Limit{"List of names from a server", "bytes", 8 << 20, "ask for fewer names"}
	// Header is the size of the header of a server's answer.
	Header = Limit{"Header of an answer", "bytes", 1 << 20, "check what the server, or a proxy in front of it, adds to its answers"}
	// Token is one text or number in the JSON of a server, or the space around it.
	Token = Limit{"Text in an answer of a server", "bytes", 64 << 10, "shorten the labels on the server"}
	// Elements is how many values there are in the JSON of a server.
	Elements = Limit{"Values in an answer of a server", "values", 5_000_000, "choose a shorter time range, or narrow the query down"}
	// Points is how many points an answer of a metrics API has.
	Points = Limit{"Points of a metrics API", "points", 1_000_000, "choose a shorter time range, or narrow the query down"}
)

// The limits of the process.
var (
	// Evaluations is how many expressions are evaluated at once, and Heavy how many
	// of these may take long or need much memory. Others wait.
	Evaluations = Limit{"Evaluations at once", "evaluations", 4, "wait a moment"}
	Heavy       = Limit{"Heavy evaluations at once", "evaluations", 2, "wait a moment"}
	// Bytes is the size of all answers that are being made or have not been sent
	// yet.
	Bytes = Limit{"Answers being made", "bytes", 96 << 20, "wait a moment, ask for fewer series, or choose a shorter time range"}
)

// All has all limits, in the order of docs/limits.md.
var All = []Limit{Text, Nesting, Operators, Matchers, StreamData, Overlap, Series, Cells, Steps, Reads, Values, Samples, Label, Patterns, Request, Listed, Body, Names, Header, Token, Elements, Points, Evaluations, Heavy, Bytes}

// Check returns an *[Error] if n is more than the limit.
func (l Limit) Check(n int64) error {
	if n <= l.Most {
		return nil
	}
	return &Error{Limit: l, Got: n}
}

// Error says that a value is above a limit.
type Error struct {
	Limit Limit
	Got   int64
}

// Passes reports whether the same query may succeed a moment later, when other
// queries have freed memory of the process.
func (e *Error) Passes() bool { return e.Limit == Bytes }

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %d %s are more than the limit of %d: %s", e.Limit.Name, e.Got, e.Limit.Unit, e.Limit.Most, e.Limit.Advice)
}
