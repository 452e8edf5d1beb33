package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/continuum-live/continuum-datasource/pkg/internal/clock"
	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// Rule is a recording rule: what its expression gives at each multiple of Interval
// since 1970 is recorded under another name.
type Rule struct {
	Group string
	// Record is the name of the recorded series, and Labels are set on each of them.
	// No other rule has the same name and labels, and of two rules with the same name
	// one label has a value for each, so that it is known which rule a series is from.
	Record string
	Labels labels.Labels
	Expr   string
	// Interval is a number of whole seconds.
	Interval time.Duration
	// Offset is how long after its time a value is recorded at the earliest.
	Offset time.Duration
	// Limit is how many series the rule may have at one time, 0 for any number.
	Limit int
	// Reads are the samples that a value is made of. They are none that this rule or
	// one after it in Config.Rules records.
	Reads []RuleRead
}

// String returns the name and the labels of the rule as PromQL writes them.
func (r Rule) String() string {
	b := labels.NewBuilder(r.Labels)
	b.Set(model.MetricNameLabel, r.Record)
	return Text(b.Labels())
}

// RuleRead are the samples of the metrics whose names match, in (After, Through]
// counted from the time of the value, in milliseconds. Without matchers they are those
// of all metrics.
type RuleRead struct {
	Names          []*labels.Matcher
	After, Through int64
}

// Of reports whether samples of a metric are read; an empty metric stands for any.
func (r RuleRead) Of(metric string) bool {
	return metric == "" || !slices.ContainsFunc(r.Names, func(m *labels.Matcher) bool { return !m.Matches(metric) })
}

// Samples are the samples of a store.
type Samples interface {
	storage.Queryable
	// MostSeries and CountSeries are those of Store.
	MostSeries() (uint64, error)
	CountSeries(ctx context.Context, mint, maxt int64, matchers ...*labels.Matcher) (uint64, error)
}

// Evaluated is a series of the result of an expression. It has one value per time; NaN
// means none.
type Evaluated struct {
	Labels labels.Labels
	Values []float64
}

// Evaluate evaluates an expression at first, first + step and so on up to last (Unix
// ms). The values at a time must not depend on first and last. After an ErrRule the
// time has no values; after another error it is evaluated again.
type Evaluate func(ctx context.Context, from Samples, expr string, first, last, step int64) ([]Evaluated, error)

var (
	// ErrRule means that an expression cannot be evaluated on the samples that there
	// are, however often it is tried.
	ErrRule = errors.New("the rule cannot be evaluated")
	// ErrRecorded is why a sample of an input is refused.
	ErrRecorded = errors.New("a recording rule has this name: give the metric or the rule another one")
)

// rulesDir is in the folder of the store.
const rulesDir = "rules"

// rules evaluates the recording rules of a store, and has what they record in a TSDB of
// its own, which keeps it for longer than the store keeps samples of inputs.
//
// A rule is evaluated at a grid time once all that it reads there is settled. What it
// has been evaluated for is a range of grid times. That range grows at its end with
// the settled time, also over times at which the process was down, and at its begin as
// far back as the samples of inputs reach. The range is not kept apart from the
// results: with each evaluation one sample of seriesMetric is stored, in the same
// commit, so that a crash leaves both or none.
//
// When samples change that a rule has read, it is evaluated again for the times that
// they reach: see lateness. A TSDB cannot overwrite a sample, so the new value of a
// grid time is stored some milliseconds after it, and readers take the last one: see
// onGrid. It follows that evaluating a time once more does no harm.
//
// A series that has no value any more gets a stale marker at the first grid time
// without one, so that its last value does not stay for the lookback.
type rules struct {
	dir      string // of the store
	logger   *slog.Logger
	clock    *clock.Clock
	ready    *readiness
	horizon  *horizon
	inputs   *database // of what inputs bring
	from     Samples   // what expressions read
	lateness lateness
	wake     chan struct{} // gets a value when there may be something to do

	// working is held while the TSDB is opened, closed or written to.
	working   sync.Mutex
	broken    bool      // it has to be opened anew
	corrected time.Time // when rules were last evaluated again

	mu        sync.Mutex
	config    Config // of the TSDB
	evaluate  Evaluate
	retention int64           // ms
	next      []Rule          // those of the settings, until adopt
	all       []*rule         // in the order of Config.Rules
	names     map[string]bool // of the metrics in the TSDB
	recorded  *database       // nil if there never was a rule
	// stop ends the pass that runs, and is nil before the first one.
	stop    context.CancelFunc
	trouble error // why the TSDB cannot be opened
	// version counts the changes of all, and is 0 while there are no rules.
	version atomic.Uint64
}

// rule is a rule of a store. It is changed by who holds rules.working, under rules.mu
// as well; one of them is enough to read it.
type rule struct {
	id string
	Rule
	matchers []*labels.Matcher // of the recorded series

	// The rule was evaluated at all grid times from since through through, at none if
	// since is after through. Before known is true that is not known yet.
	known          bool
	since, through int64
	status         RuleStatus
	trouble        error // why it cannot be evaluated now

	// Only who holds rules.working uses these.
	dirty   spans     // grid times that have to be evaluated again
	late    spans     // those that come after dirty, and not before again
	again   time.Time // see pause
	chunk   int64     // how many grid times are evaluated at once
	checked time.Time // when it was looked whether inputs have its name
	looked  time.Time // when it was looked for first
	first   int64     // the grid time at which there may be a first value
}

// RuleStatus is the state of a recording rule.
type RuleStatus struct {
	// Rule is the name and the labels that it sets.
	Rule  string `json:"rule"`
	Group string `json:"group"`
	// From and Through are the first and the last time for which it was evaluated, in
	// Unix milliseconds, 0 before that.
	From    int64 `json:"from"`
	Through int64 `json:"through"`
	// Evaluated is when it was evaluated last, in Unix milliseconds, Seconds how long
	// that took, and Series how many series it had at the newest time.
	Evaluated int64   `json:"evaluated"`
	Seconds   float64 `json:"seconds"`
	Series    int     `json:"series"`
	// Corrected is how many values have been replaced since the store was opened
	// because what the rule reads has changed.
	Corrected uint64 `json:"corrected"`
	// Dropped is how often a value could not be replaced because that was done too
	// often.
	Dropped uint64 `json:"dropped,omitempty"`
	// Failures is at how many times it could not be evaluated since the store was
	// opened, and LastError why not at the last of them.
	Failures  uint64 `json:"failures"`
	LastError string `json:"lastError,omitempty"`
	// Waiting is why it is not evaluated now, empty if it is.
	Waiting string `json:"waiting,omitempty"`
}

func newRules(dir string, logger *slog.Logger, c *clock.Clock, ready *readiness, h *horizon, inputs *database) *rules {
	return &rules{dir: dir, logger: logger, clock: c, ready: ready, horizon: h, inputs: inputs, wake: make(chan struct{}, 1),
		names: make(map[string]bool), lateness: lateness{file: filepath.Join(dir, lateFile)}}
}

// start opens the TSDB if there is one, so that nobody reads the store without it.
func (r *rules) start(c Config) {
	r.configure(c)
	r.adopt()
	if err := r.lateness.resume(); err != nil {
		r.logger.Warn("It is not known which late samples recording rules have to be evaluated again for", "error", err)
	}
	there, err := files.DirExists(filepath.Join(r.dir, rulesDir))
	if err == nil && !there && len(c.Rules) == 0 {
		return
	}
	r.working.Lock()
	defer r.working.Unlock()
	full, _, err := r.ready.disk()
	if full == levelCritical {
		r.broken = true // a pass opens it once there is room
	} else {
		err = r.open()
	}
	r.note(err)
	for _, u := range r.all {
		if err != nil {
			return
		}
		err = r.resume(context.Background(), u)
	}
}

// configure sets the rules for the next pass.
func (r *rules) configure(c Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.config = Config{Retention: c.RulesRetention, MaxBytes: c.MaxBytes,
		// As far back as a rule may be evaluated.
		OutOfOrder: c.RulesRetention}
	r.retention, r.evaluate, r.next = c.RulesRetention.Milliseconds(), c.Evaluate, slices.Clone(c.Rules)
	if r.next == nil {
		r.next = []Rule{}
	}
	if r.recorded != nil {
		if err := r.recorded.configure(r.config); err != nil {
			r.logger.Error("What recording rules record keeps its former limits", "error", err)
		}
	}
	r.rouse()
}

// rouse has the next pass begin at once.
func (r *rules) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// adopt has the rules of the settings from now on, and returns them. A rule that stays
// goes on from where it is, also with another expression or interval. While samples
// change it keeps those before, and returns false: a new rule might read such a sample
// before it is there, and was not there when it was announced. It needs r.working.
func (r *rules) adopt() (all []*rule, adopted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		return r.all, true
	}
	if !r.lateness.changing.TryLock() {
		return r.all, false
	}
	defer r.lateness.changing.Unlock()
	before := make(map[string]*rule)
	for _, u := range r.all {
		before[u.id] = u
	}
	r.all = nil
	for _, next := range r.next {
		u := before[next.String()]
		if u == nil {
			u = &rule{id: next.String(), chunk: firstChunk}
		}
		u.define(next)
		r.all = append(r.all, u)
	}
	r.next = nil
	if r.version.Load() > 0 || len(r.all) > 0 {
		r.version.Add(1)
	}
	return r.all, true
}

func (u *rule) define(as Rule) {
	before := u.step()
	u.Rule = as
	u.looked = time.Time{}
	u.dirty, u.late = u.dirty.onto(before, u.step()), u.late.onto(before, u.step())
	u.matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, as.Record)}
	as.Labels.Range(func(l labels.Label) {
		u.matchers = append(u.matchers, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
	})
	u.status.Rule, u.status.Group = u.id, as.Group
}

func (u *rule) step() int64 { return u.Interval.Milliseconds() }

// settled returns the time up to which what the rule records is final.
func (u *rule) settled() int64 { return u.through - u.through%u.step() + u.step() - 1 }

// reach returns from after which time through which time, counted from that of a value,
// the rule reads.
func (r Rule) reach() (after, through int64) {
	for _, read := range r.Reads {
		after, through = min(after, read.After), max(through, read.Through)
	}
	return after, through
}

// settled returns the time up to which the samples of all these metrics are final,
// apart from late ones; an empty metric stands for all.
func (r *rules) settled(metrics []string) (int64, error) {
	_, settled := r.horizon.times()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.all {
		if !slices.ContainsFunc(metrics, func(m string) bool { return m == "" || m == u.Record }) {
			continue
		}
		if r.trouble != nil {
			return 0, r.trouble
		}
		if u.known && u.status.Waiting == "" {
			settled = min(settled, u.settled())
		}
	}
	return settled, nil
}

// own reports whether a rule records the metric of a series that an input writes to.
func (r *rules) own(s *Series) bool {
	version := r.version.Load()
	if s.rules == version {
		return s.owned
	}
	s.rules, s.owned = version, r.records(s.Labels.Get(model.MetricNameLabel))
	return s.owned
}

// records reports whether a rule records a metric.
func (r *rules) records(metric string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.all, func(u *rule) bool { return u.Record == metric })
}

// announce is called before samples of some metrics change, for the times in settled,
// if rules may have been evaluated there. The caller calls done when they have changed.
func (r *rules) announce(changes map[string]span) (done func(), err error) {
	if len(changes) == 0 {
		return func() {}, nil
	}
	r.lateness.changing.RLock()
	done = r.lateness.changing.RUnlock
	if r.version.Load() == 0 {
		return done, nil
	}
	relevant := make(map[string]span)
	r.mu.Lock()
	for metric, s := range changes {
		if slices.ContainsFunc(r.all, func(u *rule) bool { return len(u.affected(metric)) > 0 }) {
			relevant[metric] = s
		}
	}
	r.mu.Unlock()
	if len(relevant) == 0 {
		return done, nil
	}
	if err := r.lateness.announce(relevant); err != nil {
		done()
		return nil, err
	}
	return done, nil
}

func (u *rule) reads(metric string) bool {
	return slices.ContainsFunc(u.Reads, func(read RuleRead) bool { return read.Of(metric) })
}

// status returns the state of all rules, and how many bytes of the disk the results
// take.
func (r *rules) status() (all []RuleStatus, bytes int64) {
	r.mu.Lock()
	for _, u := range r.all {
		st := u.status
		if u.trouble != nil {
			st.Waiting = u.trouble.Error()
		}
		if u.known && u.since <= u.through {
			st.From, st.Through = u.since, u.through
		}
		if r.trouble != nil {
			st.Waiting = r.trouble.Error()
		}
		all = append(all, st)
	}
	d := r.recorded
	r.mu.Unlock() // those who record samples need it, and acquire may wait
	if d == nil {
		return all, 0
	}
	db, err := d.acquire()
	if err != nil {
		return all, 0
	}
	defer db.readers.Done()
	return all, db.size()
}

// open opens the TSDB. It needs r.working.
func (r *rules) open() (err error) {
	r.mu.Lock()
	d, c := r.recorded, r.config
	r.mu.Unlock()
	if d == nil {
		d, err = newDatabase(filepath.Join(r.dir, rulesDir), c, r.clock.Now, r.logger)
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.recorded = d
		r.mu.Unlock()
	}
	if d.isOpen() && !r.broken {
		return nil
	}
	// It closes the former TSDB first, which may be retired only.
	if err := d.reopen(errReopening); err != nil {
		return err
	}
	r.broken = false
	return r.learn(d)
}

// note notes whether the TSDB is open.
func (r *rules) note(err error) {
	if err != nil {
		err = fmt.Errorf("%w: what recording rules record: %w", ErrNotReady, err)
		r.logger.Error("What recording rules record cannot be opened", "error", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = err
}

// fail has the next pass open the TSDB anew, because err came of writing to it. After
// a panic locks may be held, so until then nobody may begin to read it. It needs
// r.working.
func (r *rules) fail(err error) {
	r.broken = true
	if errors.As(err, new(*panics.Error)) {
		r.recorded.retire(errReopening, false)
		r.logger.Error("What recording rules record could not be written: it is opened anew", append(panics.Attrs(err), "error", err)...)
	}
}

// retire takes the TSDB away from new readers, as database.retire does, and has a pass
// that runs end soon.
func (r *rules) retire(why error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recorded == nil || !r.recorded.retire(why, false) {
		return false
	}
	if r.stop != nil {
		r.stop()
	}
	r.rouse()
	return true
}

// results returns the TSDB, nil if there never was a rule.
func (r *rules) results() *database {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.recorded
}

// shut closes the TSDB, as Store.shut does.
func (r *rules) shut(why error) error {
	r.working.Lock()
	defer r.working.Unlock()
	if d := r.results(); d != nil {
		return d.close(why)
	}
	return nil
}

// close closes the TSDB for good. It is called when run has ended.
func (r *rules) close() error {
	err := r.shut(ErrClosed)
	if d := r.results(); d != nil {
		err = errors.Join(err, d.release())
	}
	return err
}

// run evaluates the rules until the store is closed.
func (r *rules) run(ended <-chan struct{}) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case <-ended:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	}()
	for {
		wait := time.Second
		one, stop := context.WithCancel(ctx)
		r.mu.Lock()
		r.stop = stop
		r.mu.Unlock()
		err := panics.Catch("store", func() (err error) {
			wait, err = r.pass(one)
			return err
		})
		if err != nil && one.Err() == nil && !errors.Is(err, ErrNotReady) {
			r.logger.Error("Recording rules could not be evaluated and are tried again", append(panics.Attrs(err), "error", err)...)
			wait = retryOpen
		}
		stop()
		select {
		case <-ended:
			return
		case <-r.wake:
		case <-time.After(wait):
		}
	}
}
