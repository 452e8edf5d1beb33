package promql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	upstream "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"go.yaml.in/yaml/v3"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Rules are how recording rules are read and evaluated.
type Rules struct {
	// Interval and Lookback are those of Source.
	Interval, Lookback time.Duration
	// Retention is how long the samples of inputs are kept, and RulesRetention how long
	// those that rules record.
	Retention, RulesRetention time.Duration
}

const (
	// ruleInterval is the interval of a group that has none, as in Prometheus.
	ruleInterval = time.Minute
	// ownPrefix is how the names of metrics begin that the recorder records itself.
	ownPrefix = "continuum_"
	// maxRules is how many rules there may be, and maxRulesText how long their text, in
	// bytes.
	maxRules     = 500
	maxRulesText = 256 << 10
)

// Parse reads groups of recording rules in the form of Prometheus' rule files. It
// returns them in an order in which a rule only reads what those before it record.
func (r Rules) Parse(text string) ([]recorder.Rule, error) {
	if len(text) > maxRulesText {
		return nil, fmt.Errorf("the text of the recording rules has %d bytes, and %d are allowed", len(text), maxRulesText)
	}
	if err := oneDocument(text); err != nil {
		return nil, err
	}
	// The engine's parser is recursive, so check each expression before it parses it.
	groups, errs := rulefmt.Parse([]byte(text), false, model.UTF8Validation, limited{}, slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		return nil, plain(errs)
	}
	var all []recorder.Rule
	for _, g := range groups.Groups {
		for i, of := range g.Rules {
			rule, err := r.rule(g, of)
			if err != nil {
				return nil, fmt.Errorf("group %q, rule %d, %q: %w", g.Name, i+1, of.Record+of.Alert, err)
			}
			all = append(all, rule)
		}
	}
	if len(all) > maxRules {
		return nil, fmt.Errorf("there are %d recording rules, and %d are allowed", len(all), maxRules)
	}
	if err := apart(all); err != nil {
		return nil, err
	}
	if err := r.reach(all); err != nil {
		return nil, err
	}
	return inOrder(all)
}

// limited is a parser.Parser that only takes expressions within the limits.
type limited struct{ parser.Parser }

// ParseExpr implements parser.Parser.
func (limited) ParseExpr(expr string) (parser.Expr, error) {
	if strings.Contains(expr, "$_") {
		return nil, errors.New("macros such as $__interval belong to panels: write the time, such as 1m")
	}
	return parse(expr)
}

// oneDocument refuses more YAML documents than one, of which all but the first would be
// ignored.
func oneDocument(text string) error {
	d := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	for n := 0; ; n++ {
		var document yaml.Node
		if err := d.Decode(&document); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("the recording rules are no YAML: %w", plain([]error{err}))
		}
		if n > 0 {
			return fmt.Errorf("line %d: the recording rules are several YAML documents: write all groups below one groups:", document.Line)
		}
	}
}

// plain returns the errors of the parser of rules in lines of their own, without the
// names of its types.
func plain(errs []error) error {
	var lines []string
	for _, err := range errs {
		text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  ")
		lines = append(lines, strings.Split(typeNames.Replace(text), "\n  ")...)
	}
	return errors.New(strings.Join(slices.Compact(lines), "\n"))
}

var typeNames = strings.NewReplacer(
	"type rulefmt.RuleGroups", "rules, which begin with groups:", "type rulefmt.RuleGroup", "a group", "type rulefmt.Rule", "a rule",
	"rulefmt.RuleGroups", "rules, which begin with groups:", "rulefmt.ruleGroups", "rules, which begin with groups:",
	"rulefmt.RuleGroup", "a group", "rulefmt.Rule", "a rule")

// rule returns a rule of a group.
func (r Rules) rule(g rulefmt.RuleGroup, of rulefmt.Rule) (rule recorder.Rule, err error) {
	rule = recorder.Rule{Group: g.Name, Record: of.Record, Expr: of.Expr, Interval: time.Duration(g.Interval), Limit: g.Limit}
	if rule.Interval == 0 {
		rule.Interval = ruleInterval
	}
	if g.QueryOffset != nil {
		rule.Offset = time.Duration(*g.QueryOffset)
	}
	b := labels.NewScratchBuilder(0)
	for name, value := range g.Labels {
		if _, own := of.Labels[name]; !own {
			b.Add(name, value)
		}
	}
	for name, value := range of.Labels {
		b.Add(name, value)
	}
	b.Sort()
	rule.Labels = b.Labels()
	switch {
	case of.Alert != "":
		return rule, errors.New("alert rules are made in Grafana, where they run on the same samples: only rules with record belong here")
	case strings.HasPrefix(of.Record, ownPrefix):
		return rule, fmt.Errorf("names that begin with %s are the recorder's own: choose another one", ownPrefix)
	case rule.Interval < time.Second || rule.Interval%time.Second != 0 || rule.Interval > 24*time.Hour:
		return rule, fmt.Errorf("the interval is %v: choose a whole number of seconds up to a day", rule.Interval)
	case rule.Offset < 0 || rule.Offset > 24*time.Hour:
		return rule, fmt.Errorf("the query_offset is %v: choose a time up to a day", rule.Offset)
	case rule.Limit < 0:
		return rule, fmt.Errorf("the limit is %d: choose the most series that a rule may have, or leave it out", rule.Limit)
	}
	parsed, err := parse(rule.Expr)
	if err != nil {
		return rule, err
	}
	if t := parsed.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return rule, fmt.Errorf("the expression gives a %s: make it an instant vector or a scalar, for example with avg_over_time()", parser.DocumentedType(t))
	}
	what := reader{lookback: r.Lookback}
	what.visit(parsed, instants{})
	for i, read := range what.reads {
		if read.Fixed || what.unsplit != nil {
			return rule, errors.New("leave @ out: a rule reads the times before that of its value")
		}
		next := recorder.RuleRead{After: read.After, Through: read.Through}
		for _, m := range what.selectors[i].LabelMatchers {
			if m.Name == model.MetricNameLabel {
				next.Names = append(next.Names, m)
			}
		}
		rule.Reads = append(rule.Reads, next)
	}
	if what.unsplit != nil {
		return rule, errors.New("leave @ out: a rule reads the times before that of its value")
	}
	return rule, affordable(parsed, span{0, rule.Interval.Milliseconds(), rule.Interval.Milliseconds()}, r.Interval)
}

// apart refuses rules of the same name whose series could not be told apart.
func apart(all []recorder.Rule) error {
	for i, a := range all {
		for _, b := range all[:i] {
			if a.Record != b.Record {
				continue
			}
			differ := false
			a.Labels.Range(func(l labels.Label) { differ = differ || b.Labels.Has(l.Name) && b.Labels.Get(l.Name) != l.Value })
			if !differ {
				return fmt.Errorf("two rules record %s, in the groups %q and %q: give each another name, or the same label with a value of its own", a.Record, b.Group, a.Group)
			}
		}
	}
	return nil
}

// reach refuses rules that read further back than samples are kept.
func (r Rules) reach(all []recorder.Rule) error {
	for _, a := range all {
		for _, read := range a.Reads {
			kept := r.Retention
			if slices.ContainsFunc(all, func(b recorder.Rule) bool { return read.Of(b.Record) }) {
				kept = r.RulesRetention
			}
			if back := time.Duration(-read.After) * time.Millisecond; back > kept {
				return fmt.Errorf("the rule %s reads %v back, and samples are kept for %v: choose a shorter time, or record in steps, a rule from another one", a.Record, back, kept)
			}
		}
	}
	return nil
}

// inOrder returns the rules so that each comes after those that it reads from.
func inOrder(all []recorder.Rule) ([]recorder.Rule, error) {
	from := func(a, b recorder.Rule) bool {
		return slices.ContainsFunc(a.Reads, func(r recorder.RuleRead) bool { return r.Of(b.Record) })
	}
	for i, a := range all {
		for _, b := range all[i:] {
			if a.Group == b.Group && from(a, b) {
				if a.Record == b.Record {
					return nil, fmt.Errorf("the rule %s reads what it records: leave that out of its selectors, as with {__name__!=%q}", a.Record, a.Record)
				}
				return nil, fmt.Errorf("the rule %s reads %s, which a later rule of its group records: write that one before it", a.Record, b.Record)
			}
		}
	}
	var done []recorder.Rule
	left := slices.Clone(all)
	for len(left) > 0 {
		next := slices.IndexFunc(left, func(a recorder.Rule) bool {
			return !slices.ContainsFunc(left, func(b recorder.Rule) bool { return from(a, b) })
		})
		if next < 0 {
			var names []string
			for _, a := range left {
				names = append(names, a.Record)
			}
			return nil, fmt.Errorf("these rules read from each other in a circle: %.300s", strings.Join(names, ", "))
		}
		done = append(done, left[next])
		left = slices.Delete(left, next, next+1)
	}
	return done, nil
}

// Evaluate is a recorder.Evaluate.
func (r Rules) Evaluate(ctx context.Context, from recorder.Samples, expr string, first, last, step int64) ([]recorder.Evaluated, error) {
	answer, err := Embedded{Interval: r.Interval}.rangeOf(ctx, marked{from}, expr, r.Lookback, span{first, last, step})
	if err != nil {
		if ctx.Err() != nil || passing(err) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", recorder.ErrRule, explained(err))
	}
	all := make([]recorder.Evaluated, len(answer.Series))
	for i, s := range answer.Series {
		all[i] = recorder.Evaluated(s)
	}
	return all, nil
}

// passing reports whether an evaluation failed because of the state of the store or the
// load of the process, so that it may succeed later.
func passing(err error) bool {
	return errors.Is(err, recorder.ErrNotReady) || errors.Is(err, recorder.ErrClosed) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, new(upstream.ErrStorage)) || errors.As(err, new(upstream.ErrQueryTimeout)) || errors.As(err, new(upstream.ErrQueryCanceled)) ||
		errors.As(err, new(unevaluated)) || errors.As(err, new(unread))
}

// marked are samples of which each error says that they could not be read, so that it is
// not taken for one of the expression.
type marked struct{ recorder.Samples }

type unread struct{ error }

func (u unread) Unwrap() error { return u.error }

func markedError(err error) error {
	if err == nil {
		return nil
	}
	return unread{err}
}

func (m marked) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := m.Samples.Querier(mint, maxt)
	return markedQuerier{q}, markedError(err)
}

func (m marked) MostSeries() (uint64, error) {
	n, err := m.Samples.MostSeries()
	return n, markedError(err)
}

func (m marked) CountSeries(ctx context.Context, mint, maxt int64, matchers ...*labels.Matcher) (uint64, error) {
	n, err := m.Samples.CountSeries(ctx, mint, maxt, matchers...)
	return n, markedError(err)
}

type markedQuerier struct{ storage.Querier }

func (q markedQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	return markedSet{q.Querier.Select(ctx, sorted, hints, matchers...)}
}

type markedSet struct{ storage.SeriesSet }

func (s markedSet) At() storage.Series { return markedSeries{s.SeriesSet.At()} }
func (s markedSet) Err() error         { return markedError(s.SeriesSet.Err()) }

type markedSeries struct{ storage.Series }

func (s markedSeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	m, ok := it.(*markedIterator)
	if !ok {
		m = &markedIterator{}
	}
	m.Iterator = s.Series.Iterator(m.Iterator)
	return m
}

type markedIterator struct{ chunkenc.Iterator }

func (i *markedIterator) Err() error { return markedError(i.Iterator.Err()) }
