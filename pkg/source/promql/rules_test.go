package promql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	upstream "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/source/sourcetest"
)

var testRules = Rules{Interval: time.Second, Lookback: 5 * time.Minute, Retention: 12 * time.Hour, RulesRetention: 26 * time.Hour}

func TestParseRules(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"none":      {"", ""},
		"no groups": {"groups: []", ""},
		"group": {`
groups:
- name: minutes
  interval: 30s
  query_offset: 5s
  limit: 10
  labels: {site: north, line: "1"}
  rules:
  - record: temp:avg30s
    expr: avg_over_time(temp[30s])
    labels: {line: "2"}
  - record: temp:avg
    expr: avg by (room) (temp:avg30s)
- name: hours
  rules:
  - {record: Wärme, expr: 'max_over_time({"temp:avg"}[1h:1m] offset -1m)'}`, `temp:avg30s{line="2", site="north"} 30s; temp:avg{line="1", site="north"} 30s; {"Wärme"} 1m0s`},
		"order":            {rulesText("a: b + 1", "", "b: c * 2", "", "c: raw", "d: 1"), "c 1m0s; b 1m0s; a 1m0s; d 1m0s"},
		"same name":        {"groups: [{name: g, rules: [{record: a, expr: b, labels: {x: '1'}}, {record: a, expr: c, labels: {x: '2'}}]}]", `a{x="1"} 1m0s; a{x="2"} 1m0s`},
		"list":             {"- record: a\n  expr: b", "!line 1: cannot unmarshal !!seq into rules, which begin with groups:"},
		"not YAML":         {"groups:\n\t- a", "!line 2"},
		"unknown field":    {"groups:\n- name: g\n  rules:\n  - record: a\n    expr: b\n    labls: {}", "!line 6: field labls not found in a rule"},
		"two documents":    {"groups: []\n---\ngroups: []", "!several YAML documents"},
		"alert rule":       {"groups: [{name: g, rules: [{alert: a, expr: b > 1}]}]", "!alert rules are made in Grafana"},
		"no name":          {"groups: [{name: g, rules: [{expr: b}]}]", "!one of 'record' or 'alert' must be set"},
		"no expression":    {"groups: [{name: g, rules: [{record: a}]}]", "!field 'expr' must be set"},
		"wrong expression": {"groups:\n- name: g\n  rules:\n  - record: a\n    expr: sum(b", `!5:11: group "g", rule 1, "a": could not parse expression`},
		"range vector":     {rulesText("a: b[1m]"), "!gives a range vector"},
		"macro":            {rulesText("a: rate(b[$__rate_interval])"), "!macros such as $__interval belong to panels"},
		"nested":           {rulesText("a: " + strings.Repeat("(", 300) + "b" + strings.Repeat(")", 300)), "!Nesting"},
		"group twice":      {"groups: [{name: g, rules: []}, {name: g, rules: []}]", `!"g" is repeated`},
		"braces":           {rulesText(`"a{b}": c`), "!braces present"},
		"own name":         {rulesText("continuum_x: c"), "!the recorder's own"},
		"fraction":         {"groups: [{name: g, interval: 1500ms, rules: [{record: a, expr: b}]}]", "!whole number of seconds"},
		"long interval":    {"groups: [{name: g, interval: 2d, rules: [{record: a, expr: b}]}]", "!up to a day"},
		"negative limit":   {"groups: [{name: g, limit: -1, rules: [{record: a, expr: b}]}]", "!the limit is -1"},
		"at":               {rulesText("a: b @ 100"), "!leave @ out"},
		"at the end":       {rulesText("a: b @ end()"), "!leave @ out"},
		"twice":            {rulesText("a: b", "", "a: c"), "!two rules record a"},
		"label of one":     {"groups: [{name: g, rules: [{record: a, expr: b, labels: {x: '1'}}, {record: a, expr: c}]}]", "!two rules record a"},
		"itself":           {rulesText("a: a + 1"), "!reads what it records"},
		"itself by regexp": {rulesText(`"a:x": 'count({__name__=~"a.*"})'`), "!reads what it records"},
		"any":              {rulesText(`a: 'count({job="x"})'`), "!reads what it records"},
		"any but itself":   {rulesText(`a: 'count({job="x", __name__!="a"})'`), "a 1m0s"},
		"later":            {rulesText("a: b", "b: c"), "!which a later rule of its group records"},
		"circle":           {rulesText("a: b", "", "b: a"), "!in a circle: a, b"},
		"too far back":     {rulesText("a: avg_over_time(b[13h])"), "!reads 13h0m0s back, and samples are kept for 12h0m0s"},
		"far back":         {rulesText("a: avg_over_time(b[13h])", "", "b: c"), "b 1m0s; a 1m0s"},
		"too many":         {rulesText(strings.Split(strings.Repeat("a: b,", 501), ",")[:501]...), "!501 recording rules"},
		"too long":         {strings.Repeat("#", maxRulesText+1), "!262145 bytes"},
		"too heavy":        {rulesText("a: max_over_time(b[10h:1ms])"), "!Steps"},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := testRules.Parse(c.text)
			if wrong, ok := strings.CutPrefix(c.want, "!"); ok {
				if err == nil || !strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), "rulefmt") {
					t.Errorf("%v", err)
				}
				return
			}
			var got []string
			for _, r := range all {
				got = append(got, fmt.Sprint(r, " ", r.Interval))
			}
			if text := strings.Join(got, "; "); err != nil || text != c.want {
				t.Errorf("%s, %v", text, err)
			}
		})
	}
}

// rulesText writes rules, with an empty one between groups.
func rulesText(rules ...string) string {
	var b strings.Builder
	b.WriteString("groups:\n- name: g0\n  rules:\n")
	for i, r := range rules {
		if r == "" {
			fmt.Fprintf(&b, "- name: g%d\n  rules:\n", i)
			continue
		}
		name, expr, _ := strings.Cut(r, ": ")
		fmt.Fprintf(&b, "  - record: %s\n    expr: %s\n", name, expr)
	}
	return b.String()
}

// ruled is a source on a store with recording rules.
type ruled struct {
	*fixture
	*recorder.Recorder
	root     string
	settings Rules
	rules    []recorder.Rule
	text     string
	// evaluate is instead of settings.Evaluate if it is not nil.
	evaluate recorder.Evaluate
}

func (f *ruled) config(t testing.TB, text string, in recorder.Input) recorder.Config {
	t.Helper()
	var err error
	if f.rules, err = f.settings.Parse(text); err != nil {
		t.Fatal(err)
	}
	f.text = text
	evaluate := f.settings.Evaluate
	if f.evaluate != nil {
		evaluate = f.evaluate
	}
	return recorder.Config{Retention: f.settings.Retention, OutOfOrder: f.settings.Retention, MaxWait: 2 * time.Second, Inputs: []recorder.Input{in},
		Rules: f.rules, RulesRetention: f.settings.RulesRetention, Evaluate: evaluate}
}

var ruledKey = recorder.Key{Org: 1, UID: "uid"}

func (f *ruled) open(t testing.TB, text string) {
	t.Helper()
	f.Recorder = recorder.New(f.root, slog.New(slog.DiscardHandler))
	in := make(manual, 1)
	if err := f.Configure(ruledKey, f.config(t, text, in)); err != nil {
		t.Fatal(err)
	}
	s, err := f.Store(context.Background(), ruledKey)
	if err != nil {
		t.Fatal(err)
	}
	if f.fixture == nil {
		f.fixture = &fixture{series: make(map[string]*recorder.Series)}
	}
	f.Source = Source{Engine: Embedded{func(context.Context) (*recorder.Store, error) { return s, nil }, time.Second}, Interval: time.Second, Lookback: f.settings.Lookback}
	f.Sink, f.store = <-in, s
}

// configure has other rules from now on.
func (f *ruled) configure(t testing.TB, text string) {
	t.Helper()
	in := make(manual, 1) // of the same name and version, so the one that runs stays
	if err := f.Configure(ruledKey, f.config(t, text, in)); err != nil {
		t.Fatal(err)
	}
}

// crash goes on with what is on the disk, as after a process was killed.
func (f *ruled) crash(t testing.TB) {
	t.Helper()
	left := filepath.Join(t.TempDir(), "killed")
	synctest.Wait()
	if err := os.CopyFS(left, os.DirFS(f.root)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.root = left
	f.open(t, f.text)
}

// check compares what rules have recorded from a time on with what they give now, and
// returns how many values these are. Rules that read other rules read what these have
// recorded.
func (f *ruled) check(t testing.TB, when string, from int64) (values int) {
	t.Helper()
	settled := f.store.Settled()
	for _, r := range f.rules {
		step := r.Interval.Milliseconds()
		first := from - from%step + step
		through, err := f.store.SettledOf(r.Record)
		if err != nil {
			t.Fatal(err)
		}
		if settled-through > 1000 {
			t.Errorf("%s: %s is settled to %v before all else", when, r.Record, settled-through)
		}
		last := through - through%step
		want := f.values(t, r.Expr, first, last, step)
		got := f.values(t, "{"+fmt.Sprintf("%q", r.Record)+"}", first, last, step)
		if len(want) == 0 {
			t.Errorf("%s: %s has no values", when, r.Record)
		}
		wrong := 0
		both := maps.Clone(want)
		maps.Copy(both, got)
		for key := range both {
			if got[key] != want[key] {
				if wrong++; wrong < 4 {
					t.Errorf("%s: %s %s: recorded is %q, and it is %q", when, r.Record, key, got[key], want[key])
				}
			}
		}
		if wrong > 3 {
			t.Errorf("%s: %s: %d of %d values", when, r.Record, wrong, len(want))
		}
		values += len(want)
	}
	return values
}

// values returns the values of an expression by time and labels without the name.
func (f *ruled) values(t testing.TB, expr string, first, last, step int64) map[string]string {
	t.Helper()
	answer, err := f.Engine.Range(t.Context(), expr, f.Lookback, first, last, step)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, s := range answer.Series {
		b := labels.NewBuilder(s.Labels)
		b.Del("__name__")
		for i, v := range s.Values {
			if !math.IsNaN(v) {
				all[fmt.Sprint(b.Labels(), " ", time.UnixMilli(first+int64(i)*step).UTC().Format(time.TimeOnly))] = fmt.Sprintf("%x", math.Float64bits(v))
			}
		}
	}
	return all
}

// send commits samples of some machines, one per second in (after, through].
func (f *ruled) send(t testing.TB, after, through int64, of ...int64) {
	t.Helper()
	var samples []recorder.Sample
	for at := after - after%1000 + 1000; at <= through; at += 1000 {
		for _, i := range of {
			samples = append(samples, f.sample(at, level(i, at), "level_bytes", "machine", fmt.Sprint("m", i)))
		}
	}
	if err := f.Commit(t.Context(), samples, through); err != nil {
		t.Fatal(err)
	}
}

// minutes sends samples of some machines each minute, n times.
func (f *ruled) minutes(t testing.TB, n int, of ...int64) {
	t.Helper()
	for range n {
		sent := time.Now().UnixMilli()
		time.Sleep(time.Minute)
		f.send(t, sent, time.Now().UnixMilli(), of...)
	}
}

func ruledBubble(t *testing.T, text string, do func(t *testing.T, f *ruled)) {
	t.Helper()
	(&ruled{settings: testRules}).bubble(t, text, do)
}

// bubble runs do in virtual time, with these rules on an empty store.
func (f *ruled) bubble(t *testing.T, text string, do func(t *testing.T, f *ruled)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 24 * time.Hour)
		f.root = t.TempDir()
		f.open(t, text)
		defer func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}()
		do(t, f)
	})
}

var minutes = rulesText("level:avg1m: avg_over_time(level_bytes[1m])", "level:sum: sum(level:avg1m)", "", "level:max5m: max_over_time(level:sum[5m])", "level:high: level_bytes > 1000")

// What rules record is what their expressions give, to the last bit: whatever comes
// late, also while the process is down, and whenever it is killed.
func TestRulesAreExact(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			ruledBubble(t, minutes, func(t *testing.T, f *ruled) {
				random := rand.New(rand.NewPCG(seed, 12))
				begin := time.Now().UnixMilli()
				sent := begin
				for range 40 {
					time.Sleep(time.Duration(random.IntN(200_000)) * time.Millisecond)
					now := time.Now().UnixMilli()
					switch random.IntN(8) {
					case 0: // nothing comes
					case 1: // one machine is late
						f.send(t, sent, now, 1, 2)
						time.Sleep(time.Duration(random.IntN(30_000)) * time.Millisecond)
						f.send(t, sent, now, 0)
					case 2: // something comes very late
						at := begin + random.Int64N(now-begin+1)
						f.send(t, at-1500, at, random.Int64N(6)+3)
						f.send(t, sent, now, 0, 1, 2)
					case 3:
						f.send(t, sent, now, 0, 1, 2)
						f.crash(t)
					case 4: // what was late is not evaluated again yet
						at := begin + random.Int64N(now-begin+1)
						f.send(t, at-1500, at, random.Int64N(6)+3)
						f.crash(t)
					case 5: // the process is down for some time
						if err := f.Close(); err != nil {
							t.Fatal(err)
						}
						time.Sleep(time.Duration(random.IntN(20)) * time.Minute)
						f.open(t, f.text)
					default:
						f.send(t, sent, now, 0, 1, 2)
					}
					sent = now
				}
				time.Sleep(2 * time.Minute)
				t.Logf("%d values are right", f.check(t, "at the end", begin))
				for _, r := range f.store.Status().Rules {
					t.Logf("%+v", r)
				}
			})
		})
	}
}

// A new rule is evaluated for the past, too, and one that was removed keeps what it has
// recorded.
func TestRulesChange(t *testing.T) {
	ruledBubble(t, rulesText("old: sum(level_bytes)"), func(t *testing.T, f *ruled) {
		begin := time.Now().UnixMilli()
		sent := begin
		more := func(d time.Duration) {
			time.Sleep(d)
			now := time.Now().UnixMilli()
			f.send(t, sent, now, 0, 1, 2)
			sent = now
		}
		for range 60 {
			more(time.Minute)
		}
		f.configure(t, minutes)
		time.Sleep(time.Second)
		if settled, err := f.store.SettledOf("level:max5m"); err != nil || settled < sent {
			t.Errorf("a new rule is settled to %d, %v", settled, err)
		}
		more(time.Minute)
		time.Sleep(30 * time.Second)
		f.check(t, "new rules", begin+5*60_000)
		old := f.values(t, "old", begin+60_000, sent, 60_000)
		if len(old) < 60 {
			t.Errorf("a removed rule has %d values", len(old))
		}
		f.crash(t)
		f.configure(t, strings.ReplaceAll(minutes, "avg_over_time", "min_over_time"))
		changed := time.Now().UnixMilli()
		before := f.values(t, "level:avg1m", begin+60_000, changed-60_000, 60_000)
		more(time.Minute)
		more(time.Minute)
		time.Sleep(30 * time.Second)
		f.check(t, "another expression", changed)
		after := f.values(t, "level:avg1m", begin+60_000, changed-60_000, 60_000)
		if len(before) == 0 || !slices.Equal(keys(before), keys(after)) {
			t.Errorf("there were %d values, and are %d", len(before), len(after))
		}
		for k := range before {
			if before[k] != after[k] {
				t.Errorf("%s was %s and is %s", k, before[k], after[k])
				break
			}
		}
	})
}

func keys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// What rules record stays longer than the samples that it is made of, and is not made
// again of what is left of these.
func TestRulesOutliveSamples(t *testing.T) {
	// The recorder looks each second, so virtual hours take real seconds.
	settings := testRules
	settings.Retention, settings.RulesRetention = 4*time.Hour, 8*time.Hour
	(&ruled{settings: settings}).bubble(t, minutes, func(t *testing.T, f *ruled) {
		begin := time.Now().UnixMilli()
		f.minutes(t, 30, 0, 1, 2)
		sent := time.Now().UnixMilli()
		time.Sleep(time.Minute)
		want := f.values(t, "level:avg1m", begin+60_000, sent, 60_000)
		for range 30 {
			time.Sleep(10 * time.Minute)
			f.send(t, sent, time.Now().UnixMilli(), 0)
			sent = time.Now().UnixMilli()
			if past := sent - begin - settings.Retention.Milliseconds(); past > -300_000 && past < 900_000 {
				f.send(t, begin+14*60_000+500, begin+14*60_000+3500, 7) // late, and partly gone
			}
		}
		f.crash(t)
		time.Sleep(2 * time.Minute)
		if raw := f.values(t, "level_bytes", begin, begin+30*60_000, 60_000); len(raw) > 0 {
			t.Errorf("the store still has %d values", len(raw))
		}
		got := f.values(t, "level:avg1m", begin+60_000, begin+30*60_000, 60_000)
		for k := range want {
			if !strings.Contains(k, "m7") && got[k] != want[k] {
				t.Errorf("%s was %s and is %s", k, want[k], got[k])
			}
		}
		whole := f.values(t, "sum(count_over_time(level:avg1m[20h]))", sent, sent, 60_000)
		t.Logf("%d values, and now %v", len(want), whole)

		time.Sleep(settings.RulesRetention)
		if got := f.values(t, "level:avg1m", begin+60_000, begin+30*60_000, 60_000); len(got) > 0 {
			t.Errorf("after the retention of rules %d values are left", len(got))
		}
	})
}

// A query of recorded series is a source like any other.
func TestRecordedSeriesConform(t *testing.T) {
	ruledBubble(t, minutes, func(t *testing.T, f *ruled) {
		for range 30 {
			now := time.Now().UnixMilli()
			time.Sleep(20 * time.Second)
			f.send(t, now, time.Now().UnixMilli(), 0, 1, 2)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		defer func() { cancel(); <-ended }()
		go func() {
			defer close(ended)
			for ctx.Err() == nil {
				now := time.Now().UnixMilli()
				time.Sleep(time.Second)
				_ = f.Commit(ctx, []recorder.Sample{f.sample(now+1000, level(1, now), "level_bytes", "machine", "m1")}, now+1000)
			}
		}()
		for _, expr := range []string{"level:avg1m", "sum(level:avg1m) + level:sum", `sum(avg_over_time({__name__=~"level:avg.*"}[2m]))`} {
			raw, _ := json.Marshal(map[string]string{"expr": expr})
			if err := sourcetest.Verify(t.Context(), sourcetest.Subject{Source: f.Source, Query: raw, Steps: []int64{1000, 30_000}, Rows: 4}); err != nil {
				t.Errorf("%s: %v", expr, err)
			}
		}
	})
}

// An input cannot write what a rule records, and a rule cannot record what inputs have
// written.
func TestNamesOfRules(t *testing.T) {
	ruledBubble(t, rulesText("level:avg1m: avg_over_time(level_bytes[1m])"), func(t *testing.T, f *ruled) {
		now := time.Now().UnixMilli()
		var why error
		err := f.CommitEach(t.Context(), []recorder.Sample{f.sample(now, 1, "level:avg1m"), f.sample(now, 1, "other")}, now, func(_ int, err error) { why = err })
		if err != nil || !errors.Is(why, recorder.ErrRecorded) {
			t.Errorf("%v, %v", why, err)
		}
		if in := f.store.Status().Inputs[0]; in.Refused.Recorded != 1 || !strings.HasPrefix(in.RefusedFirst["recorded"], "level:avg1m 1") {
			t.Errorf("%+v", in)
		}
		got, err := f.store.Import(t.Context(), func(i *recorder.Import) error {
			return i.Add(recorder.Past{Labels: labels.FromStrings("__name__", "level:avg1m"), T: now, V: 1})
		})
		if err != nil || got.Samples != 0 || got.Refused[recorder.ErrRecorded.Error()] != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		f.configure(t, rulesText("other: sum(level_bytes)"))
		time.Sleep(2 * time.Minute)
		if r := f.store.Status().Rules[0]; !strings.Contains(r.Waiting, "inputs have recorded samples of this name") || r.Through != 0 {
			t.Errorf("%+v", r)
		}
		if settled, err := f.store.SettledOf("other"); err != nil || settled != f.store.Settled() {
			t.Errorf("%d, %v", settled, err)
		}
		if err := f.store.Delete(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "other")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if r := f.store.Status().Rules[0]; r.Waiting != "" || r.Through == 0 {
			t.Errorf("%+v", r)
		}
	})
}

// A rule that fails at a time has no value there, says why, and goes on.
func TestRuleFails(t *testing.T) {
	ruledBubble(t, rulesText(`bad: label_replace(level_bytes, "machine", "", "", "")`, "good: sum(level_bytes)"), func(t *testing.T, f *ruled) {
		begin := time.Now().UnixMilli()
		f.send(t, begin, begin+30_000, 0)
		time.Sleep(70 * time.Second)
		f.send(t, begin+30_000, begin+70_000, 0, 1) // now two series have the same labels
		time.Sleep(10 * time.Minute)
		st := f.store.Status().Rules
		if st[0].Failures == 0 || !strings.Contains(st[0].LastError, "same labelset") || st[0].Through < begin+10*60_000 {
			t.Errorf("%+v", st[0])
		}
		if st[1].Failures != 0 || st[1].Series != 0 {
			t.Errorf("%+v", st[1])
		}
		failed := f.values(t, `sum_over_time(continuum_rule_failed{rule="bad"}[20m])`, time.Now().UnixMilli(), time.Now().UnixMilli(), 1000)
		if len(failed) != 1 {
			t.Errorf("%v", failed)
		}
		f.crash(t)
	})
}

// With another interval a rule is corrected on its new grid, whatever the old one was.
func TestRuleChangesInterval(t *testing.T) {
	text := func(interval string) string {
		return "groups: [{name: g, interval: " + interval + ", rules: [{record: level:max, expr: 'max_over_time(level_bytes[1m])'}]}]"
	}
	metric := labels.MustNewMatcher(labels.MatchEqual, "__name__", "level:max")
	for name, change := range map[string]func(t *testing.T, f *ruled, begin, now int64){
		"delete": func(t *testing.T, f *ruled, begin, now int64) {
			if err := f.store.Delete(t.Context(), begin, now, metric); err != nil {
				t.Fatal(err)
			}
		},
		"late": func(t *testing.T, f *ruled, begin, _ int64) {
			f.send(t, begin+1_160_000, begin+1_240_000, 7)
			f.send(t, begin+70*60_000, begin+70*60_000+80_000, 7)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ruledBubble(t, text("1m"), func(t *testing.T, f *ruled) {
				const coarse = 20 * time.Minute
				time.Sleep(7*time.Minute + coarse - time.Duration(time.Now().UnixNano())%coarse)
				begin := time.Now().UnixMilli()
				for range 40 {
					now := time.Now().UnixMilli()
					time.Sleep(2 * time.Minute)
					f.send(t, now, time.Now().UnixMilli(), 0)
				}
				time.Sleep(time.Minute)
				recorded := func() []string {
					now := time.Now().UnixMilli()
					return keys(f.values(t, "present_over_time(level:max[1s])", begin-begin%coarse.Milliseconds(), now-now%60_000, 60_000))
				}
				before := recorded()
				f.configure(t, text("20m"))
				time.Sleep(time.Second)
				change(t, f, begin, time.Now().UnixMilli())
				time.Sleep(2 * coarse)
				f.check(t, "on the new grid", begin)
				for _, key := range recorded() {
					if !slices.Contains(before, key) && !strings.HasSuffix(key, ":00:00") && !strings.HasSuffix(key, ":20:00") && !strings.HasSuffix(key, ":40:00") {
						t.Errorf("recorded was %s", key)
					}
				}
				f.configure(t, text("1m"))
				changed := time.Now().UnixMilli()
				time.Sleep(5 * time.Minute)
				f.send(t, changed, time.Now().UnixMilli(), 0)
				time.Sleep(2 * time.Minute)
				f.check(t, "on the old grid again", changed)
			})
		})
	}
}

// What is always late has its times corrected less and less often, and none is dropped.
func TestRuleCorrectedOften(t *testing.T) {
	ruledBubble(t, "groups: [{name: g, interval: 5m, rules: [{record: n, expr: 'count_over_time(level_bytes[3h])'}]}]", func(t *testing.T, f *ruled) {
		begin := time.Now().UnixMilli()
		for range 225 * 6 {
			time.Sleep(10 * time.Second)
			now := time.Now().UnixMilli()
			if err := f.Commit(t.Context(), []recorder.Sample{f.sample(now-100*60_000, 1, "level_bytes"), f.sample(now, 1, "level_bytes", "machine", "m1")}, now); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Minute)
		f.check(t, "at the end", begin+2*3_600_000) // before that, what it reads is partly gone
		if st := f.store.Status().Rules[0]; st.Dropped != 0 || st.Corrected < 1000 {
			t.Errorf("%+v", st)
		}
	})
}

// When the samples cannot be read for one rule, the others go on but those that read
// what it records. Afterwards no time is left out.
func TestRuleTrouble(t *testing.T) {
	for name, trouble := range map[string]error{
		"disk":     errors.New("input/output error"),
		"index":    syscall.EIO,
		"chunk":    syscall.EIO,
		"reopened": fmt.Errorf("%w: it is reopened", recorder.ErrNotReady),
		"timeout":  upstream.ErrQueryTimeout("expression evaluation"),
		"canceled": upstream.ErrQueryCanceled("expression evaluation"),
	} {
		t.Run(name, func(t *testing.T) {
			broken := atomic.Bool{}
			f := &ruled{settings: testRules}
			f.evaluate = func(ctx context.Context, from recorder.Samples, expr string, first, last, step int64) ([]recorder.Evaluated, error) {
				if broken.Load() && strings.HasPrefix(expr, "max") {
					if name == "disk" {
						return nil, trouble
					}
					from = unreadable{from, name, trouble}
				}
				return testRules.Evaluate(ctx, from, expr, first, last, step)
			}
			f.bubble(t, rulesText("a: max_over_time(level_bytes[1m])", "b: sum(a)", "c: min_over_time(level_bytes[1m])"), func(t *testing.T, f *ruled) {
				begin := time.Now().UnixMilli()
				more := func() {
					f.minutes(t, 10, 0, 1)
					time.Sleep(10 * time.Second)
				}
				more()
				broken.Store(true)
				more()
				f.send(t, begin+100_000, begin+200_000, 2) // late
				time.Sleep(20 * time.Second)
				now := time.Now().UnixMilli()
				st := f.store.Status().Rules
				if !strings.Contains(st[0].Waiting, trouble.Error()) || st[0].Failures > 0 || now-st[0].Through < 8*60_000 {
					t.Errorf("%+v", st[0])
				}
				if st[1].Through > st[0].Through || !strings.Contains(st[1].Waiting, "it reads a") {
					t.Errorf("%+v", st[1])
				}
				if st[2].Waiting != "" || now-st[2].Through > 100_000 {
					t.Errorf("%+v", st[2])
				}
				if got := f.values(t, `c{machine="m2"}`, begin+180_000, begin+180_000, 1000); len(got) != 1 {
					t.Errorf("late samples gave %v", got)
				}
				broken.Store(false)
				more()
				f.check(t, "after the trouble", begin)
				for _, st := range f.store.Status().Rules {
					if st.Waiting != "" || st.Failures > 0 {
						t.Errorf("%+v", st)
					}
				}
			})
		})
	}
}

// unreadable are samples that cannot be read: their index, their chunks, or all else.
type unreadable struct {
	recorder.Samples
	what string
	why  error
}

func (u unreadable) Querier(mint, maxt int64) (storage.Querier, error) {
	if u.what != "index" && u.what != "chunk" {
		return nil, u.why
	}
	q, err := u.Samples.Querier(mint, maxt)
	return unreadableQuerier{q, u}, err
}

type unreadableQuerier struct {
	storage.Querier
	unreadable
}

func (q unreadableQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	if q.what == "index" {
		return storage.ErrSeriesSet(q.why)
	}
	return unreadableSet{q.Querier.Select(ctx, sorted, hints, matchers...), q.why}
}

type unreadableSet struct {
	storage.SeriesSet
	why error
}

func (s unreadableSet) At() storage.Series {
	return &storage.SeriesEntry{Lset: s.SeriesSet.At().Labels(), SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator {
		return unreadableChunk{chunkenc.NewNopIterator(), s.why}
	}}
}

type unreadableChunk struct {
	chunkenc.Iterator
	why error
}

func (c unreadableChunk) Err() error { return c.why }

// What is late for a rule that waits is not forgotten.
func TestWaitingRuleIsCorrected(t *testing.T) {
	ruledBubble(t, rulesText("n: count_over_time(level_bytes[1m])"), func(t *testing.T, f *ruled) {
		begin := time.Now().UnixMilli()
		f.minutes(t, 10, 0)
		time.Sleep(10 * time.Second)
		f.configure(t, "")
		time.Sleep(2 * time.Second)
		now := time.Now().UnixMilli()
		if err := f.Commit(t.Context(), []recorder.Sample{f.sample(now, 1, "n", "machine", "other")}, now); err != nil {
			t.Fatal(err)
		}
		f.configure(t, rulesText("n: count_over_time(level_bytes[1m])"))
		time.Sleep(2 * time.Second)
		f.send(t, begin+100_000, begin+200_000, 2) // late
		time.Sleep(time.Hour)
		if st := f.store.Status().Rules[0]; st.Waiting == "" {
			t.Errorf("%+v", st)
		}
		f.crash(t)
		if err := f.store.Delete(t.Context(), now-1, now+1, labels.MustNewMatcher(labels.MatchEqual, "machine", "other")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		if got := f.values(t, `n{machine="m2"}`, begin+180_000, begin+180_000, 1000); len(got) != 1 {
			t.Errorf("late samples gave %v, %+v", got, f.store.Status().Rules)
		}
	})
}

// Deleting acts on what rules have recorded as well, and what is deleted of the samples
// that a rule reads is gone from its values.
func TestDeleteWithRules(t *testing.T) {
	ruledBubble(t, minutes, func(t *testing.T, f *ruled) {
		begin := time.Now().UnixMilli()
		f.minutes(t, 20, 0, 1, 2)
		time.Sleep(time.Minute)
		is := labels.MustNewMatcher(labels.MatchEqual, "machine", "m1")
		metric := func(name string) *labels.Matcher {
			return labels.MustNewMatcher(labels.MatchEqual, "__name__", name)
		}
		if n, err := f.store.CountSeries(t.Context(), begin, begin+20*60_000, metric("level:avg1m"), is); err != nil || n != 1 {
			t.Errorf("%d series, %v", n, err)
		}
		if err := f.store.Delete(t.Context(), begin+5*60_000, begin+7*60_000, metric("level_bytes"), is); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		f.check(t, "after samples were deleted", begin+60_000)
		// What a rule still records comes back, as the rule is now.
		f.configure(t, strings.ReplaceAll(minutes, "avg_over_time", "min_over_time"))
		time.Sleep(time.Second)
		if err := f.store.Delete(t.Context(), 0, begin+10*60_000, metric("level:avg1m"), is); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		first, last := begin+2*60_000, begin+9*60_000
		if got, want := f.values(t, "level:avg1m", first, last, 60_000), f.values(t, "min_over_time(level_bytes[1m])", first, last, 60_000); !maps.Equal(got, want) {
			t.Errorf("of a changed rule there is %v, not %v", got, want)
		}
		f.configure(t, "")
		time.Sleep(time.Second)
		if err := f.store.Delete(t.Context(), 0, begin+10*60_000, metric("level:avg1m"), is); err != nil {
			t.Fatal(err)
		}
		f.crash(t)
		if got := f.values(t, `level:avg1m{machine="m1"}`, begin, begin+10*60_000, 60_000); len(got) != 0 {
			t.Errorf("there still is %v", got)
		}
		if got := f.values(t, `level:avg1m{machine="m1"}`, begin+11*60_000, begin+20*60_000, 60_000); len(got) != 10 {
			t.Errorf("left are %v", got)
		}
		names, err := f.store.LabelValues(t.Context(), begin, time.Now().UnixMilli(), 100, "__name__")
		if err != nil || !slices.Contains(names, "level:avg1m") || !slices.Contains(names, "level_bytes") || !slices.IsSorted(names) {
			t.Errorf("%v, %v", names, err)
		}
	})
}

// A backup has what rules have recorded, and a series that both inputs and a rule have
// recorded is one.
func TestBackupWithRules(t *testing.T) {
	ruledBubble(t, minutes, func(t *testing.T, f *ruled) {
		begin := time.Now().UnixMilli()
		f.minutes(t, 10, 0, 1, 2)
		time.Sleep(time.Minute)
		folder, err := f.Backup(t.Context(), ruledKey)
		if err != nil {
			t.Fatal(err)
		}
		want := f.values(t, "level:avg1m", begin+60_000, begin+10*60_000, 60_000)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		store := filepath.Join(f.root, "1", "uid")
		if err := errors.Join(os.RemoveAll(store), os.Rename(filepath.Join(f.root, folder), store)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		f.open(t, "")
		if got := f.values(t, "level:avg1m", begin+60_000, begin+10*60_000, 60_000); len(want) == 0 || !maps.Equal(got, want) {
			t.Errorf("restored are %d values, and there were %d", len(got), len(want))
		}
		// The rule is gone, so an input may go on with its series.
		now := time.Now().UnixMilli()
		if err := f.Commit(t.Context(), []recorder.Sample{f.sample(now, 7, "level:avg1m", "machine", "m1")}, now); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		got := f.values(t, `count_over_time(level:avg1m{machine="m1"}[1h])`, now, now, 1000)
		if n := fmt.Sprintf("%x", math.Float64bits(11)); len(got) != 1 || !slices.Contains(slices.Collect(maps.Values(got)), n) {
			t.Errorf("%v, not one series with 11 samples", got)
		}
	})
}
