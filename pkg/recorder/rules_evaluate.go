package recorder

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

const (
	// firstChunk and maxChunk are for how many grid times a rule is evaluated at once.
	firstChunk, maxChunk = 32, 512
	// quick and slow are how long that should take: between them the number stays.
	quick, slow = 200 * time.Millisecond, time.Second
	// maxSamples is how many values may come of that.
	maxSamples = 50_000
	// checkEvery is how often it is looked whether inputs have recorded the name of a
	// rule that has to wait because of that.
	checkEvery = time.Minute
)

// correctEvery is how often at most rules are evaluated again because samples have
// changed. Tests set it shorter.
var correctEvery = 10 * time.Second

// What is recorded of each evaluation, with the label ruleLabel.
const (
	seriesMetric = "continuum_rule_series"
	failedMetric = "continuum_rule_failed"
	ruleLabel    = "rule"
)

// ruleMetrics describes these.
var ruleMetrics = map[string]Metadata{
	seriesMetric: {Type: model.MetricTypeGauge, Help: "Series that a recording rule had."},
	failedMetric: {Type: model.MetricTypeGauge, Help: "Whether a recording rule could not be evaluated."},
}

// errConflict means that inputs have recorded the name of a rule.
var errConflict = errors.New("inputs have recorded samples of this name: give the rule another one, or delete these series")

// errSmaller means that the next evaluation is of fewer times.
var errSmaller = errors.New("too many times at once")

// pass does some of what there is to do, and returns how long the next pass can wait.
// What is newest comes first, then what has changed, then what is past.
func (r *rules) pass(ctx context.Context) (time.Duration, error) {
	r.working.Lock()
	defer r.working.Unlock()
	all, adopted := r.adopt()
	idle := time.Minute
	if !adopted {
		idle = time.Second
	}
	if d := r.results(); len(all) == 0 && !r.broken && (d == nil || d.isOpen()) {
		return idle, nil
	}
	if err := r.ready.check(); err != nil {
		return time.Second, nil // the status of the store shows it
	}
	if err := r.open(); err != nil {
		r.note(err)
		return retryOpen, nil
	}
	r.note(nil)
	if len(all) == 0 { // what former rules have recorded can be read again
		return idle, nil
	}
	wait := time.Second
	failed, err := r.each(ctx, all, nil, func(u *rule) (enough bool, err error) {
		if err := r.resume(ctx, u); err != nil {
			return false, err
		}
		next, err := r.forward(ctx, u)
		if err == nil {
			wait = min(wait, next)
		}
		return false, err
	})
	switch {
	case ctx.Err() != nil, r.broken:
		return time.Second, err
	case wait == 0:
		return 0, err
	}
	r.spread(all)
	begun := time.Now()
	did := false
	_, past := r.each(ctx, all, failed, func(u *rule) (enough bool, err error) {
		did, err = r.backward(ctx, u)
		return did && err == nil, err
	})
	switch err = errors.Join(err, past); {
	case err != nil:
		return time.Second, err
	case did:
		// Half of the time is for others.
		return min(wait, time.Since(begun)), nil
	}
	return wait, r.lateness.done(pending(all))
}

// each does something for each rule, until that is enough. The status of a rule shows
// its error. Rules that read from one that failed, now or before, are left out, and the
// others go on. It returns which rules failed or were left out.
func (r *rules) each(ctx context.Context, all, failed []*rule, do func(*rule) (enough bool, err error)) ([]*rule, error) {
	var errs []error
	for _, u := range all {
		if ctx.Err() != nil || r.broken || slices.Contains(failed, u) {
			continue
		}
		if i := slices.IndexFunc(failed, func(f *rule) bool { return u.reads(f.Record) }); i >= 0 {
			r.fails(u, fmt.Errorf("it reads %s, which cannot be evaluated now", failed[i].id))
			failed = append(failed, u)
			continue
		}
		enough, err := do(u)
		r.fails(u, err)
		if err != nil {
			failed = append(failed, u)
			errs = append(errs, fmt.Errorf("%s: %w", u.id, err))
		}
		if enough {
			break
		}
	}
	return failed, errors.Join(errs...)
}

// fails notes why a rule cannot be evaluated now, nil if it can.
func (r *rules) fails(u *rule, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u.trouble = why
}

// resume finds out for which times a rule was evaluated before. A rule that never was
// begins now.
func (r *rules) resume(ctx context.Context, u *rule) error {
	if u.known {
		return nil
	}
	oldest, settled := r.horizon.times()
	last := settled - settled%u.step()
	since, through := last, last-u.step()
	is := labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, seriesMetric)
	of := labels.MustNewMatcher(labels.MatchEqual, ruleLabel, u.id)
	// Most often the newest sample is not old, so look at the newest times first.
	for _, back := range []int64{3 * 3_600_000, settled - oldest, settled} {
		begin, end, ok, err := r.extent(ctx, settled-back, is, of)
		if err != nil {
			return err
		}
		if ok {
			through, since = end, begin
			break
		}
	}
	if through >= since && since > oldest {
		begin, _, ok, err := r.extent(ctx, oldest, is, of)
		if err != nil {
			return err
		}
		if ok {
			since = begin
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	u.since, u.through, u.known = since, through, true
	return nil
}

// extent returns the times of the first and the last recorded sample from a time on.
func (r *rules) extent(ctx context.Context, from int64, matchers ...*labels.Matcher) (first, last int64, ok bool, err error) {
	err = r.recorded.read(ctx, from, math.MaxInt64, func(_ labels.Labels, it chunkenc.Iterator) error {
		for it.Next() == chunkenc.ValFloat {
			if last = it.AtT(); !ok {
				first, ok = last, true
			}
		}
		return it.Err()
	}, matchers...)
	return first, last, ok, err
}

// forward evaluates a rule at the next times, if what it reads there is settled. It
// returns how long to wait for the next one, 0 if there are more.
func (r *rules) forward(ctx context.Context, u *rule) (time.Duration, error) {
	if err := r.conflict(ctx, u); err != nil {
		return checkEvery, r.waiting(u, err)
	}
	_, reach := u.reach()
	settled := r.readable(u) - reach - u.Offset.Milliseconds()
	next := u.settled() + 1
	if next > settled {
		return min(time.Second, max(50*time.Millisecond, time.Duration(next-settled)*time.Millisecond)), nil
	}
	// What was missed is evaluated as far back as all that it reads is still there.
	next = max(next, min(r.whole(u), settled-settled%u.step()))
	last := min(settled-settled%u.step(), next+(u.chunk-1)*u.step())
	before := u.through
	if err := notSmaller(r.bring(ctx, u, next, last)); err != nil || u.through == before {
		return 0, err
	}
	if last+u.step() <= settled {
		return 0, nil
	}
	return 50 * time.Millisecond, nil
}

// waiting notes why a rule is not evaluated, and returns all errors but errConflict.
func (r *rules) waiting(u *rule, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !errors.Is(err, errConflict) {
		return err
	}
	u.status.Waiting = err.Error()
	return nil
}

// conflict returns an errConflict if inputs have recorded the name of a rule.
func (r *rules) conflict(ctx context.Context, u *rule) error {
	r.mu.Lock()
	waiting := u.status.Waiting != ""
	r.mu.Unlock()
	if !u.checked.IsZero() && (!waiting || time.Since(u.checked) < checkEvery) {
		if waiting {
			return errConflict
		}
		return nil
	}
	oldest, _ := r.horizon.times()
	found := false
	err := r.inputs.read(ctx, oldest, math.MaxInt64, func(_ labels.Labels, it chunkenc.Iterator) error {
		found = found || it.Next() != chunkenc.ValNone
		return it.Err()
	}, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, u.Record))
	if err != nil {
		return err
	}
	u.checked = time.Now()
	if found {
		return errConflict
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	u.status.Waiting = ""
	return nil
}

// readable returns the time up to which all that a rule reads is final: what inputs
// bring, and what other rules record.
func (r *rules) readable(u *rule) int64 {
	_, settled := r.horizon.times()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.all {
		if other != u && other.known && other.status.Waiting == "" && u.reads(other.Record) {
			settled = min(settled, other.settled())
		}
	}
	return settled
}

// whole returns the first grid time for which all samples that a rule reads are kept.
func (r *rules) whole(u *rule) int64 {
	oldest := int64(math.MinInt64)
	for _, read := range u.Reads {
		oldest = max(oldest, r.kept(read)-read.After)
	}
	return ceil(oldest, u.step())
}

// kept returns since when all samples of a read are kept.
func (r *rules) kept(read RuleRead) int64 {
	oldest, settled := r.horizon.times()
	d := r.source(read)
	if d == r.recorded {
		r.mu.Lock()
		oldest = settled - r.retention
		r.mu.Unlock()
	}
	db, err := d.acquire()
	if err != nil {
		return oldest
	}
	defer db.readers.Done()
	d.mu.Lock()
	most := d.config.MaxBytes
	d.mu.Unlock()
	// The oldest samples may be gone although they are within the retention.
	if most > 0 && db.size() > most/2 {
		oldest = max(oldest, db.oldest())
	}
	return oldest
}

// source returns the TSDB that has the samples of a read.
func (r *rules) source(read RuleRead) *database {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(read.Names) == 1 && read.Names[0].Type == labels.MatchEqual && r.has(read.Names[0].Value) {
		return r.recorded
	}
	return r.inputs
}

// begin returns the first grid time at which a rule may have a value, math.MaxInt64 if
// there is none before those at which it was evaluated. It looks only now and then.
func (r *rules) begin(ctx context.Context, u *rule) (int64, error) {
	if time.Since(u.looked) < checkEvery {
		return u.first, nil
	}
	whole := r.whole(u)
	first := int64(math.MaxInt64)
	for _, read := range u.Reads {
		t, err := r.begins(ctx, read, whole+read.After, u.since+read.Through)
		if err != nil {
			return 0, err
		}
		if t != math.MaxInt64 {
			first = min(first, max(whole, ceil(t-read.Through, u.step())))
		}
	}
	u.first, u.looked = first, time.Now()
	return first, nil
}

// begins returns the time of the first sample of a read in (after, through],
// math.MaxInt64 if there is none.
func (r *rules) begins(ctx context.Context, read RuleRead, after, through int64) (int64, error) {
	first := int64(math.MaxInt64)
	matchers := read.Names
	if len(matchers) == 0 {
		matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".*")}
	}
	err := r.source(read).read(ctx, after+1, through, func(_ labels.Labels, it chunkenc.Iterator) error {
		if it.Next() != chunkenc.ValNone {
			first = min(first, it.AtT())
		}
		return it.Err()
	}, matchers...)
	return first, err
}

// ceil returns the first multiple of step that is not before t.
func ceil(t, step int64) int64 {
	t = max(t, longAgo)
	rest := (t%step + step) % step
	if rest == 0 {
		return t
	}
	return t - rest + step
}

// spread has the rules evaluated again that read what has changed.
func (r *rules) spread(all []*rule) {
	if time.Since(r.corrected) < correctEvery {
		return
	}
	for what, changes := range r.lateness.take() {
		r.corrected = time.Now()
		for _, u := range all {
			for _, read := range u.affected(what) {
				for _, s := range changes {
					// A sample is read at the times from t - Through up to t - After. At the
					// grid time after these a stale marker may be needed, or no more.
					u.late = u.late.with(span{ceil(s.from-read.Through, u.step()), ceil(s.to-read.After, u.step())}, u.step())
				}
			}
		}
	}
}

// affected returns how a rule reads what was announced.
func (u *rule) affected(what string) []RuleRead {
	var all []RuleRead
	if metric, deleted := strings.CutPrefix(what, deletedMark); deleted {
		if metric == "" || metric == u.Record {
			all = append(all, RuleRead{})
		}
		return all
	}
	for _, read := range u.Reads {
		if read.Of(what) {
			all = append(all, read)
		}
	}
	return all
}

// backward evaluates a rule at some times before the newest one: those for which what
// it reads has changed, and those for which it was never evaluated. It reports whether
// there were any.
func (r *rules) backward(ctx context.Context, u *rule) (bool, error) {
	if !u.known || u.since > u.through || u.status.Waiting != "" {
		return false, nil
	}
	if len(u.dirty) == 0 && !time.Now().Before(u.again) {
		u.dirty, u.late = u.late, nil
	}
	for n := len(u.dirty); n > 0; n = len(u.dirty) {
		s := &u.dirty[n-1]
		// With another interval it was evaluated before at times that are none of its grid.
		from := ceil(max(s.from, u.since, r.whole(u)), u.step())
		to := min(s.to, u.through-u.through%u.step())
		if from > to {
			u.dirty = u.dirty[:n-1]
			continue
		}
		from = max(from, to-(u.chunk-1)*u.step())
		err := r.bring(ctx, u, from, to)
		if err == nil {
			s.to = from - u.step()
		}
		return true, notSmaller(err)
	}
	first, err := r.begin(ctx, u)
	last := ceil(u.since, u.step()) - u.step()
	if err != nil || last < first {
		return false, err
	}
	if done, err := r.finished(ctx, u); err != nil || !done {
		return false, err
	}
	return true, notSmaller(r.bring(ctx, u, max(first, last-(u.chunk-1)*u.step()), last))
}

// notSmaller returns all errors but errSmaller: the next pass is of fewer times.
func notSmaller(err error) error {
	if errors.Is(err, errSmaller) {
		return nil
	}
	return err
}

// finished reports whether the rules that a rule reads from were evaluated as far back
// as they can be.
func (r *rules) finished(ctx context.Context, u *rule) (bool, error) {
	for _, other := range r.all {
		if other == u {
			break // those after it are not read
		}
		if !u.reads(other.Record) {
			continue
		}
		if first, err := r.begin(ctx, other); err != nil || first < other.since {
			return false, err
		}
	}
	return true, nil
}

// bring evaluates a rule at the grid times from first through last, and stores what is
// not stored yet.
func (r *rules) bring(ctx context.Context, u *rule, first, last int64) error {
	begun := time.Now()
	// The time before shows which series have no value any more.
	want := &evaluation{rule: u, first: first - u.step(), n: int((last-first)/u.step()) + 2, series: make(map[string]*Evaluated), failed: make(map[int64]error)}
	r.mu.Lock()
	evaluate := r.evaluate
	r.mu.Unlock()
	err := want.run(ctx, evaluate, r.from, want.first, last)
	if err != nil {
		u.chunk = 1 // it may have been too much for the time that there is
		return err
	}
	have := make(map[string]stored)
	err = r.recorded.read(ctx, first, last+precision-1, func(l labels.Labels, it chunkenc.Iterator) error {
		key := string(l.Bytes(nil))
		if want.series[key] == nil {
			want.series[key] = &Evaluated{l, none(want.n)}
		}
		have[key], err = readStored(it)
		return err
	}, u.matchers...)
	if err != nil {
		return err
	}
	w := writing{changed: noSpan, counts: make([]int, want.n)}
	for key, s := range want.series {
		for i := 1; i < want.n; i++ {
			t := want.first + int64(i)*u.step()
			if !math.IsNaN(s.Values[i]) {
				w.counts[i]++
			}
			w.compare(s.Labels, t, wanted(s.Values[i-1], s.Values[i]), have[key])
		}
	}
	if err := r.store(ctx, u, want, first, last, &w); err != nil {
		return err
	}
	if again := time.Now().Add(r.pause(u, w.often)); again.After(u.again) {
		u.again = again
	}
	took := time.Since(begun)
	switch {
	case took > slow, len(w.samples) > maxSamples:
		u.chunk = max(u.chunk/2, 1)
	case took < quick:
		u.chunk = min(2*u.chunk, maxChunk)
	}
	r.evaluated(u, want, first, last, took, w)
	return nil
}

// pause returns how long corrections of a rule wait after some value has had n of them.
// It grows with n, so that precision of them take 1.5 times as long as samples can come
// late that the rule reads.
func (r *rules) pause(u *rule, n int64) time.Duration {
	oldest, settled := r.horizon.times()
	after, _ := u.reach()
	return time.Duration(3*n*(settled-oldest-after)/(precision*precision)) * time.Millisecond
}

// evaluated notes what has been evaluated and stored, and tells readers.
func (r *rules) evaluated(u *rule, want *evaluation, first, last int64, took time.Duration, w writing) {
	r.mu.Lock()
	before := u.settled()
	if u.since > u.through {
		u.since = first
	}
	if last > u.through {
		u.status.Series = w.counts[want.n-1]
	}
	u.since, u.through = min(u.since, first), max(u.through, last)
	u.status.Evaluated, u.status.Seconds = r.clock.Now().UnixMilli(), took.Seconds()
	u.status.Corrected += w.replaced
	if u.status.Dropped += w.dropped; w.dropped > 0 {
		u.status.LastError = fmt.Sprintf("%d corrections were dropped, because a value can be corrected %d times", u.status.Dropped, precision-1)
	}
	for t, err := range want.failed {
		if t >= first {
			u.status.Failures++
			u.status.LastError = fmt.Sprintf("at %s: %s", time.UnixMilli(t).UTC().Format(time.RFC3339), cut(err.Error(), maxPayload))
		}
	}
	r.names[u.Record], r.names[seriesMetric], r.names[failedMetric] = true, true, true
	r.mu.Unlock()
	if w.changed.from > before || w.changed.from > w.changed.to {
		r.horizon.wake()
		return
	}
	r.horizon.changed(u.Record, w.changed.from, w.changed.to)
}

// evaluation is what a rule has at n grid times from first on, by the labels of the
// recorded series, and why it could not be evaluated at some of them.
type evaluation struct {
	rule   *rule
	first  int64
	n      int
	series map[string]*Evaluated
	failed map[int64]error
}

// run evaluates the rule at the times from first through last.
func (e *evaluation) run(ctx context.Context, evaluate Evaluate, from Samples, first, last int64) error {
	step := e.rule.step()
	all, err := evaluate(ctx, from, e.rule.Expr, first, last, step)
	if err == nil {
		if err = e.add(all, first); err == nil {
			return nil
		}
	}
	switch {
	case !errors.Is(err, ErrRule):
		return err
	case first == last:
		e.failed[first] = err
		return nil
	case e.rule.chunk > 1:
		return errSmaller
	}
	for t := first; t <= last; t += step {
		if err := e.run(ctx, evaluate, from, t, t); err != nil {
			return err
		}
	}
	return nil
}

// add adds values from a time on. After an error it has added none.
func (e *evaluation) add(all []Evaluated, first int64) error {
	at := int((first - e.first) / e.rule.step())
	next := make(map[string]*Evaluated)
	counts := make([]int, e.n)
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, s := range all {
		b.Reset(s.Labels)
		b.Set(model.MetricNameLabel, e.rule.Record)
		e.rule.Labels.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
		l := b.Labels()
		key := string(l.Bytes(nil))
		of := next[key]
		if of == nil {
			of = &Evaluated{l, none(e.n)}
			next[key] = of
		}
		for j, v := range s.Values {
			if math.IsNaN(v) {
				continue
			}
			if !math.IsNaN(of.Values[at+j]) {
				return fmt.Errorf("%w: two series have the labels %.300s", ErrRule, l)
			}
			of.Values[at+j] = v
			if counts[at+j]++; e.rule.Limit > 0 && counts[at+j] > e.rule.Limit {
				return fmt.Errorf("%w: it has more series than the limit of its group, %d", ErrRule, e.rule.Limit)
			}
		}
	}
	for key, of := range next {
		into := e.series[key]
		if into == nil {
			e.series[key] = of
			continue
		}
		for j, v := range of.Values {
			if !math.IsNaN(v) {
				into.Values[j] = v
			}
		}
	}
	return nil
}

// none returns n values that are all missing.
func none(n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = math.NaN()
	}
	return values
}

// wanted returns what is to be recorded of a value, if the one before it is known: NaN
// is nothing, and a stale marker follows the last value.
func wanted(before, v float64) float64 {
	if math.IsNaN(v) && !math.IsNaN(before) {
		return math.Float64frombits(value.StaleNaN)
	}
	return v
}

// stored is what the TSDB has of a series, by grid time: the last value, and the time
// of that.
type stored map[int64]struct {
	v float64
	t int64
}

func readStored(it chunkenc.Iterator) (stored, error) {
	s := make(stored)
	for it.Next() == chunkenc.ValFloat {
		t, v := it.At()
		s[t-t%precision] = struct {
			v float64
			t int64
		}{v, t}
	}
	return s, it.Err()
}

// writing is what has to be stored of a rule.
type writing struct {
	samples  []Past
	changed  span // of the grid times
	counts   []int
	replaced uint64
	dropped  uint64 // values that cannot be replaced any more
	often    int64  // how often the value was replaced that was most often
}

// compare adds what is missing at a grid time.
func (w *writing) compare(l labels.Labels, t int64, want float64, have stored) {
	is, found := have[t]
	gone := !found || value.IsStaleNaN(is.v)
	switch {
	case math.IsNaN(want) && !value.IsStaleNaN(want) && gone, found && math.Float64bits(is.v) == math.Float64bits(want):
		return
	case math.IsNaN(want):
		want = math.Float64frombits(value.StaleNaN)
	}
	at := t
	if found {
		at = is.t + 1
		if w.often = max(w.often, at-t); at-t >= precision {
			w.dropped++
			return
		}
		w.replaced++
	}
	w.samples = append(w.samples, Past{Labels: l, T: at, V: want})
	w.changed = w.changed.with(t)
}

// store stores what an evaluation has brought. For times at which the rule was
// evaluated for the first time it stores that, too, after all else.
func (r *rules) store(ctx context.Context, u *rule, want *evaluation, first, last int64, w *writing) error {
	if u.since <= u.through && first >= u.since && last <= u.through && len(w.samples) == 0 {
		return nil
	}
	// Rules that read these values will have to be evaluated again.
	done := func() {}
	if w.changed.from <= u.through && w.changed.from <= w.changed.to {
		var err error
		if done, err = r.announce(map[string]span{u.Record: w.changed}); err != nil {
			return err
		}
	}
	defer done()
	db, err := r.recorded.acquire()
	if err != nil {
		return err
	}
	defer db.readers.Done()
	if err := r.ready.check(); err != nil {
		return err
	}
	before := db.failures.failedWrites()
	committing := false
	err = panics.Catch("store", func() (err error) {
		committing, err = u.append(db.Appender(ctx), want, w)
		return err
	})
	if err == nil && db.failures.failedWrites() > before {
		err = errors.New("a log of the TSDB could not be written")
	}
	if err != nil && (committing || errors.As(err, new(*panics.Error))) {
		r.fail(err)
		err = fmt.Errorf("%w: %w", errWrite, err)
	}
	return err
}

// append adds what store stores and commits it. committing is true once an error can
// only come from writing.
func (u *rule) append(app storage.Appender, want *evaluation, w *writing) (committing bool, err error) {
	for _, p := range w.samples {
		if _, err := app.Append(0, p.Labels, p.T, p.V); err != nil {
			return false, errors.Join(err, app.Rollback())
		}
	}
	for i := 1; i < want.n; i++ {
		t := want.first + int64(i)*u.step()
		if u.since <= u.through && t >= u.since && t <= u.through {
			continue
		}
		failed := 0.0
		if want.failed[t] != nil {
			failed = 1
		}
		for _, m := range []struct {
			name string
			v    float64
		}{{failedMetric, failed}, {seriesMetric, float64(w.counts[i])}} {
			_, err := app.Append(0, labels.FromStrings(model.MetricNameLabel, m.name, ruleLabel, u.id), t, m.v)
			if err != nil && !errors.Is(err, storage.ErrDuplicateSampleForTimestamp) {
				return false, errors.Join(err, app.Rollback())
			}
		}
	}
	return true, app.Commit()
}
