package message

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// became is what messages, written as topic and payload, become: samples without their
// times, and what is not recorded.
func became(t *testing.T, r Rules, messages ...string) []string {
	t.Helper()
	k := run(t, r, func(_ *testing.T, d *Decoder, _ *keeper) {
		for _, m := range messages {
			topic, payload, _ := strings.Cut(m, " ")
			add(d, topic, payload)
			time.Sleep(time.Second)
		}
	})
	var got []string
	for _, s := range k.samples {
		s, _, _ = strings.Cut(s, " @")
		got = append(got, strings.ReplaceAll(s, "NaN", "stale"))
	}
	if skipped := k.skipped(); skipped != "" {
		got = append(got, "! "+skipped)
	}
	return got
}

func TestStates(t *testing.T) {
	for _, test := range []struct {
		name     string
		rules    Rules
		messages []string
		want     []string
	}{
		{"a message that is a word", Rules{}, []string{"a/pump running", "a/pump idle", "a/pump running"}, []string{
			`pump{pump="running", topic="a/pump"} 1`,
			`pump{pump="idle", topic="a/pump"} 1`, `pump{pump="running", topic="a/pump"} 0`,
			`pump{pump="running", topic="a/pump"} 1`, `pump{pump="idle", topic="a/pump"} 0`,
		}},
		{"also in quotes and with spaces around it", Rules{}, []string{`a/pump "running"`, "a/pump  running\r\n"}, []string{
			`pump{pump="running", topic="a/pump"} 1`, `pump{pump="running", topic="a/pump"} 1`,
		}},
		{"words of any script, and names", Rules{}, []string{"a/x открыто", "a/x auto-off_2", "a/x n/a"}, []string{
			`x{topic="a/x", x="открыто"} 1`,
			`x{topic="a/x", x="auto-off_2"} 1`, `x{topic="a/x", x="открыто"} 0`,
			`x{topic="a/x", x="n/a"} 1`, `x{topic="a/x", x="открыто"} 0`, `x{topic="a/x", x="auto-off_2"} 0`,
		}},
		{"words that are numbers stay numbers", Rules{}, []string{"a/x ON", "a/x closed", "a/x true"}, []string{
			`x{topic="a/x"} 1`, `x{topic="a/x"} 0`, `x{topic="a/x"} 1`,
		}},
		{"what is no word", Rules{}, []string{"a/x two words", "a/x 21,5", "a/x t=21.5,h=40", "a/x 00158e33", "a/x -", "a/x http://x", "a/x " + strings.Repeat("x", 129)},
			[]string{"! not a number(7)"}},
		{"a key that is not named", Rules{}, []string{`a/x {"mode":"auto","v":1}`}, []string{`v{topic="a/x"} 1`, "! not a number(1)"}},
		{"a key that is named", Rules{Rule: Rule{States: []string{"mode", "pump.state"}}},
			[]string{`a/x {"mode":"two words","pump":{"state":"idle","mode":"no"},"other":"text"}`}, []string{
				`pump_mode{topic="a/x"} 0`, `mode{mode="two words", topic="a/x"} 1`, `pump_state{pump_state="idle", topic="a/x"} 1`, "! not a number(1)",
			}},
		{"within records", Rules{Rule: Rule{States: []string{"mode"}, Each: "all", LabelKeys: []string{"id"}}},
			[]string{`a/x {"all":[{"id":1,"mode":"auto"},{"id":2,"mode":"off-line"}]}`}, []string{
				`mode{id="1", mode="auto", topic="a/x"} 1`, `mode{id="2", mode="off-line", topic="a/x"} 1`,
			}},
		{"all keys", Rules{Rule: Rule{States: []string{"*"}}}, []string{`a/x {"a":"b c","d":"e"}`, "a/y two words", "a/z  "}, []string{
			`a{a="b c", topic="a/x"} 1`, `d{d="e", topic="a/x"} 1`, `y{topic="a/y", y="two words"} 1`, "! empty message(1)",
		}},
		{"line protocol", Rules{Rule: Rule{States: []string{"pump_mode", "text"}, Labels: map[string]string{"topic": ""}}},
			[]string{`a/x pump,id=7 mode="auto",text="a b",other="x",v=1 1800000000000000000`}, []string{
				`pump_v{id="7"} 1`, `pump_mode{id="7", pump_mode="auto"} 1`, `pump_text{id="7", pump_text="a b"} 1`, "! not a number(1)",
			}},
		{"line protocol without a number", Rules{Rule: Rule{States: []string{"mode"}, Labels: map[string]string{"topic": ""}}}, []string{`a/x pump,id=7 mode="auto"`},
			[]string{`pump_mode{id="7", pump_mode="auto"} 1`}},
		{"telegraf", Rules{Rule: Rule{States: []string{"*"}, Labels: map[string]string{"topic": ""}}},
			[]string{`a/x {"name":"pump","tags":{"id":"7"},"fields":{"mode":"auto"},"timestamp":1800000000}`}, []string{`pump_mode{id="7", pump_mode="auto"} 1`}},
		{"a number that becomes a text and a number again", Rules{}, []string{"a/t 21.5", "a/t unavailable", "a/t unknown", "a/t 22"}, []string{
			`t{topic="a/t"} 21.5`,
			`t{t="unavailable", topic="a/t"} 1`, `t{topic="a/t"} stale`,
			`t{t="unknown", topic="a/t"} 1`, `t{t="unavailable", topic="a/t"} 0`,
			`t{topic="a/t"} 22`, `t{t="unavailable", topic="a/t"} 0`, `t{t="unknown", topic="a/t"} 0`,
		}},
		{"words for 1 and 0, of a key that is named", Rules{Rule: Rule{States: []string{"state"}}},
			[]string{`a/c {"state":"open","x":"open"}`, `a/c {"state":"opening"}`, `a/c {"state":"closed"}`, `a/c {"state":1}`}, []string{
				`x{topic="a/c"} 1`, `state{state="open", topic="a/c"} 1`,
				`state{state="opening", topic="a/c"} 1`, `state{state="open", topic="a/c"} 0`,
				`state{state="closed", topic="a/c"} 1`, `state{state="open", topic="a/c"} 0`, `state{state="opening", topic="a/c"} 0`,
				`state{topic="a/c"} 1`, `state{state="open", topic="a/c"} 0`, `state{state="opening", topic="a/c"} 0`, `state{state="closed", topic="a/c"} 0`,
			}},
		{"words for numbers", Rules{Rule: Rule{Words: map[string]float64{"Locked": 1, "unlocked": 0, "on": 7}}},
			[]string{"a/l locked", "a/l UNLOCKED", `a/l {"lock":"Locked","x":"on","y":"off"}`, "a/l jammed"}, []string{
				`l{topic="a/l"} 1`, `l{topic="a/l"} 0`, `lock{topic="a/l"} 1`, `x{topic="a/l"} 7`, `y{topic="a/l"} 0`,
				`l{l="jammed", topic="a/l"} 1`, `l{topic="a/l"} stale`,
			}},
		{"rules that were made before", Rules{Version: Version2}, []string{"a/x running", `a/x {"mode":"auto"}`}, []string{"! not a number(2)"}},
		{"the same, with a key that is named since", Rules{Version: Version2, Rule: Rule{States: []string{"mode"}}}, []string{"a/x running", `a/x {"mode":"auto"}`},
			[]string{`mode{mode="auto", topic="a/x"} 1`, "! not a number(1)"}},
		{"a label that is taken", Rules{Rule: Rule{Pattern: "+x/x"}}, []string{"a/x running"}, []string{"! two labels, one name(1)"}},
		{"two keys, one name", Rules{Rule: Rule{States: []string{"*"}}}, []string{`a/x {"a-b":"x","a_b":"y"}`}, []string{`a_b{a_b="x", topic="a/x"} 1`, "! two fields, one name(1)"}},
		{"a number and a text, one name", Rules{Rule: Rule{States: []string{"*"}}}, []string{`a/x {"a-b":1,"a_b":"y"}`}, []string{`a_b{topic="a/x"} 1`, "! two fields, one name(1)"}},
		{"one key twice", Rules{Rule: Rule{States: []string{"*"}}}, []string{`a/x {"a":"x","a":"y"}`, `a/x {"a":1,"a":"y"}`}, []string{
			`a{a="x", topic="a/x"} 1`, `a{topic="a/x"} 1`, `a{a="x", topic="a/x"} 0`, "! same series twice in a message(2)",
		}},
		{"records that nothing tells apart", Rules{Rule: Rule{States: []string{"*"}}}, []string{`a/x [{"a":"x"},{"a":"y"}]`}, []string{"! records that nothing tells apart(2)"}},
		{"a text that is too long", Rules{Rule: Rule{States: []string{"*"}}}, []string{`a/x {"a":"` + strings.Repeat("ä", 65) + `"}`}, []string{"! text of more than 128 bytes(1)"}},
		{"too many series", Rules{MaxSeries: 2}, []string{"a/x one", "a/x two", "a/x three"}, []string{
			`x{topic="a/x", x="one"} 1`, `x{topic="a/x", x="two"} 1`, `x{topic="a/x", x="one"} 0`,
			`x{topic="a/x", x="one"} 0`, `x{topic="a/x", x="two"} 0`, "! too many series(1)",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := became(t, test.rules, test.messages...); !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// A topic that says something new each time fills nothing. What it says is counted, and
// that none of the texts before holds is recorded. A text that did not come for an hour
// makes room.
func TestManyTexts(t *testing.T) {
	k := run(t, Rules{}, func(_ *testing.T, d *Decoder, _ *keeper) {
		for i := range series.MaxStates + 3 {
			add(d, "a/x", fmt.Sprint("t", i))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		add(d, "a/x", "late")
	})
	if got := k.skipped(); got != "more than 20 texts(3)" {
		t.Error(got)
	}
	ones := 0
	for _, s := range k.samples {
		if strings.Contains(s, "} 1 @") {
			ones++
		}
	}
	last := strings.Join(k.samples[len(k.samples)-series.MaxStates-1:], "\n")
	if ones != series.MaxStates+1 || !strings.HasPrefix(last, `x{topic="a/x", x="late"} 1`) || strings.Count(last, "} 0 @") != series.MaxStates {
		t.Errorf("%d texts became 1; at last\n%s", ones, last)
	}
	for name := range strings.SplitSeq(last, "\n") {
		if strings.Contains(name, `x="t20"`) {
			t.Errorf("%s was never recorded", name)
		}
	}
}

// What a text makes of states is bounded for a message.
func TestAmplification(t *testing.T) {
	k := run(t, Rules{MaxSeries: 100_000, Rule: Rule{States: []string{"*"}}}, func(_ *testing.T, d *Decoder, k *keeper) {
		samples := func() int {
			k.reached()
			k.mu.Lock()
			defer k.mu.Unlock()
			return len(k.samples)
		}
		for text := range series.MaxStates {
			fields := make(map[string]string)
			for i := range 2000 {
				fields[fmt.Sprint("f", i)] = fmt.Sprint("t", text)
			}
			payload, err := json.Marshal(fields)
			if err != nil {
				t.Error(err)
			}
			before := samples()
			add(d, "a/x", string(payload))
			time.Sleep(time.Second)
			if n := samples() - before; n > maxValues+series.MaxStates+2 {
				t.Errorf("a message becomes %d samples", n)
			}
		}
	})
	if !strings.Contains(k.skipped(), tooManyFields) {
		t.Errorf("nothing is skipped: %s", k.skipped())
	}
}

// A text that says that a device has gone ends what the device wrote, and nothing of
// others.
func TestEnds(t *testing.T) {
	for _, test := range []struct {
		name     string
		rule     Rule
		messages []string
		want     []string
	}{
		{"an availability topic", Rule{Pattern: "z/+/availability", Ends: []string{"offline"}}, []string{
			`z/lamp {"v":1}`, "z/lamp/mode running", `z/lamp2 {"v":2}`, `z/lamp/availability {"state":"offline"}`,
		}, []string{
			`v{topic="z/lamp"} 1`, `mode{mode="running", topic="z/lamp/mode"} 1`, `v{topic="z/lamp2"} 2`,
			`state{topic="z/lamp/availability"} 0`, `v{topic="z/lamp"} stale`, `mode{mode="running", topic="z/lamp/mode"} stale`,
		}},
		{"a last will", Rule{Pattern: "z/+/LWT", Ends: []string{"Connection Lost"}}, []string{"z/a/s 1", "z/a/LWT Online", "z/a/LWT connection lost"}, []string{
			`s{topic="z/a/s"} 1`, `LWT{topic="z/a/LWT"} 1`, `s{topic="z/a/s"} stale`, "! not a number(1)",
		}},
		{"a boolean", Rule{Pattern: "z/+/on", Ends: []string{"false"}}, []string{"z/a/s 1", `z/a/on {"x":false}`}, []string{
			`s{topic="z/a/s"} 1`, `x{topic="z/a/on"} 0`, `s{topic="z/a/s"} stale`,
		}},
		{"a number", Rule{Pattern: "z/+/on", Ends: []string{"0"}}, []string{"z/a/s 1", "z/a/on 0"}, []string{
			`s{topic="z/a/s"} 1`, `on{topic="z/a/on"} 0`, `s{topic="z/a/s"} stale`,
		}},
		{"one that has no time although it should", Rule{Pattern: "z/+/LWT", TimeKey: "t", Ends: []string{"gone"}}, []string{"z/a/s 1", "z/a/LWT gone"}, []string{
			`s{topic="z/a/s"} 1`, `s{topic="z/a/s"} stale`, "! no valid time stamp(1)",
		}},
		{"a topic without a device", Rule{Ends: []string{"offline"}}, []string{"z 1", "offline offline"}, []string{`z{topic="z"} 1`, `offline{topic="offline"} 0`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Rules{Topics: []Rule{test.rule}}
			if test.rule.Pattern == "" {
				r = Rules{Rule: test.rule}
			}
			got := became(t, r, test.messages...)
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// Words that are no numbers can be states: one click.
func TestSuggestStates(t *testing.T) {
	r := Rules{Topics: []Rule{{Pattern: "a/x"}}}
	p := r.Preview("/", []Incoming{
		{"a/x", []byte(`{"mode":"auto","serial":"AB12","text":"two words","on":"on"}`)},
		{"b", []byte(`pump,id=7 mode="auto",v=1 1800000000000000000`)},
	}, time.UnixMilli(1800000000000))
	var got []string
	for _, s := range p.Suggestions {
		if s.Change["states"] != nil {
			got = append(got, fmt.Sprint(s.Rule, " ", s.Change, " ", s.Text))
		}
	}
	want := []string{"0 map[states:[mode]] mode can be recorded as a state", "-1 map[states:[pump_mode]] pump_mode can be recorded as a state"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	old := Rules{Version: Version2}.Preview("/", []Incoming{{"a", []byte("running")}}, time.Now())
	if len(old.Suggestions) != 1 || fmt.Sprint(old.Suggestions[0].Change) != "map[states:[*]]" {
		t.Errorf("%v", old.Suggestions)
	}
}

// After a restart the text that was 1 becomes 0, and a number that was before it ends.
func TestStatesAfterARestart(t *testing.T) {
	dir := t.TempDir()
	begin := time.Now().Add(-time.Minute).Truncate(time.Second)
	process := func(begin time.Time, messages ...string) map[string][]string {
		in := input{make(chan *recorder.Sink, 1)}
		r := recorder.New(dir, slog.New(slog.DiscardHandler))
		defer func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}()
		key := recorder.Key{Org: 1, UID: "uid"}
		if err := r.Configure(key, recorder.Config{Retention: 24 * time.Hour, OutOfOrder: time.Hour, MaxWait: 2 * time.Second, Inputs: []recorder.Input{in}}); err != nil {
			t.Fatal(err)
		}
		s, err := r.Store(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		d := New(Rules{}, "/", <-in.sinks)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { d.Run(ctx) })
		for i, m := range messages {
			topic, payload, _ := strings.Cut(m, " ")
			d.Add(topic, []byte(payload), begin.Add(time.Duration(i)*time.Second), true, nil)
		}
		cancel()
		wg.Wait()
		q, err := s.Querier(0, time.Now().Add(time.Hour).UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		all := make(map[string][]string)
		set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, "pump|t"))
		for set.Next() {
			it := set.At().Iterator(nil)
			for it.Next() == chunkenc.ValFloat {
				_, v := it.At()
				text := fmt.Sprint(v)
				if promvalue.IsStaleNaN(v) {
					text = "stale"
				}
				name := recorder.Text(set.At().Labels())
				all[name] = append(all[name], text)
			}
		}
		return all
	}
	process(begin, "a/pump running", "a/t 21.5", "b/t unknown", "c/pump running", "c/pump idle")
	got := process(begin.Add(10*time.Second), "a/pump idle", "a/t unavailable", "b/t 22", "c/pump idle")
	want := map[string]string{
		`pump{pump="running", topic="a/pump"}`: "1 0", `pump{pump="idle", topic="a/pump"}`: "1",
		`t{topic="a/t"}`: "21.5 stale", `t{t="unavailable", topic="a/t"}`: "1",
		`t{topic="b/t"}`: "22", `t{t="unknown", topic="b/t"}`: "1 0",
		`pump{pump="running", topic="c/pump"}`: "1 0 0", `pump{pump="idle", topic="c/pump"}`: "1 1",
	}
	for name, values := range want {
		if strings.Join(got[name], " ") != values {
			t.Errorf("%s: %v, want %s", name, got[name], values)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %v", got)
	}
}

func TestCheckStates(t *testing.T) {
	for _, test := range []struct {
		rule Rule
		want string
	}{
		{Rule{States: []string{"*", "a.b"}, Words: map[string]float64{"locked": 1}, Ends: []string{"offline"}}, ""},
		{Rule{States: []string{""}}, "rules.states: a key is empty"},
		{Rule{Words: map[string]float64{" ": 1}}, "rules.words: \" \" must have"},
		{Rule{Words: map[string]float64{"On": 1, "on": 2}}, "are one word"},
		{Rule{Ends: []string{strings.Repeat("x", 129)}}, "rules.ends: "},
	} {
		err := Rules{Rule: test.rule}.Check()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: %v", test.rule, err)
		}
	}
	if err := (Rules{Version: Version4 + 1}).Check(); err == nil {
		t.Error("a version of the future is taken")
	}
}

// Pumps that say how they are, once a second each.
func BenchmarkStates(b *testing.B) {
	d := New(Rules{}, "/", &keeper{})
	texts := [][]byte{[]byte("running"), []byte("idle"), []byte("failed"), []byte("cleaning")}
	at := time.Now()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		at = at.Add(time.Millisecond)
		d.Add("plant/line/pump", texts[n%len(texts)], at, true, nil)
		d.pending.samples = d.pending.samples[:0]
	}
}
