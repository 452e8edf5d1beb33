package message

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The first suggestions lead from nothing to the right series.
func TestSuggestions(t *testing.T) {
	now := time.UnixMilli(1800000000000)
	for _, test := range []struct {
		name     string
		messages []Incoming
		want     []string
	}{
		{"rtl_433", []Incoming{
			{"rtl_433/host/events", []byte(`{"time":"2027-01-15 08:00:00","model":"Prologue","id":5,"channel":1,"temperature_C":15.1}`)},
			{"rtl_433/host/events", []byte(`{"time":"2027-01-15 08:00:02","model":"Prologue","id":5,"channel":3,"temperature_C":2.1}`)},
		}, []string{
			`temperature_C{channel="1", id="5", model="Prologue", topic="rtl_433/host/events"} 15.1@0`,
			`temperature_C{channel="3", id="5", model="Prologue", topic="rtl_433/host/events"} 2.1@2000`,
		}},
		{"meters", []Incoming{{"meters", []byte(`{"meters":[{"meter":"a","E":1},{"meter":"b","E":2}],"date":"2027-01-15T08:00:01Z"}`)}}, []string{
			`E{meter="a", topic="meters"} 1@1000`, `E{meter="b", topic="meters"} 2@1000`,
		}},
		{"a stream of trades", []Incoming{{"ws", []byte(`{"e":"trade","E":1800000000001,"s":"BTCUSDT","p":"0.5","T":1800000000000}`)}}, []string{
			`E{s="BTCUSDT", topic="ws"} 1.800000000001e+12@0`, `p{s="BTCUSDT", topic="ws"} 0.5@0`, `e{e="trade", s="BTCUSDT", topic="ws"} 1@0`,
		}},
		{"nothing to say", []Incoming{{"plant/1", []byte(`{"temperature":21.5}`)}, {"plant/2", []byte(`21.5`)}}, []string{
			`temperature{topic="plant/1"} 21.5@0`, `_2{topic="plant/2"} 21.5@0`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r Rules
			for clicks := 0; ; clicks++ {
				p := r.Preview("/", test.messages, now)
				if len(p.Suggestions) == 0 || clicks > 5 {
					var got []string
					for _, s := range p.Samples {
						got = append(got, fmt.Sprintf("%s@%d", s.Text(), s.Time-now.UnixMilli()))
					}
					if !slices.Equal(got, test.want) {
						t.Errorf("after %d clicks, %s\nwant %s\nskipped %v", clicks, strings.Join(got, "\n"), strings.Join(test.want, "\n"), p.Skipped)
					}
					return
				}
				change, err := json.Marshal(p.Suggestions[0].Change)
				if err == nil {
					err = json.Unmarshal(change, &r.Rule)
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("click: %s", p.Suggestions[0].Text)
			}
		})
	}
}

// A zone is suggested where stamps have none, and nowhere else.
func TestZoneSuggestions(t *testing.T) {
	r := Rules{Rule: Rule{TimeKey: "time"}, Topics: []Rule{
		{Pattern: "with/#", TimeKey: "time"}, {Pattern: "without/#", TimeKey: "time"}, {Pattern: "both/#", TimeKey: "time"},
	}}
	p := r.Preview("/", []Incoming{
		{"with/1", []byte(`{"time":"2027-01-15T08:00:00+01:00","v":1}`)},
		{"without/1", []byte(`{"time":"2027-01-15 08:00:00","v":1}`)},
		{"both/1", []byte(`{"time":"2027-01-15 08:00:00","v":1}`)},
		{"both/1", []byte(`{"time":"2027-01-15 08:00:01Z","v":1}`)},
		{"both/2", []byte(`{"time":"2027-01-15 08:00:01Z","v":1}`)},
		{"other", []byte(`{"time":1800000000,"v":1}`)},
	}, time.UnixMilli(1800000000000))
	var rules []int
	for _, s := range p.Suggestions {
		if s.Change["timezone"] == "UTC" {
			rules = append(rules, s.Rule)
		} else {
			t.Errorf("also %q", s.Text)
		}
	}
	if !slices.Equal(rules, []int{1, 2}) {
		t.Errorf("a zone is suggested for the rules %v", rules)
	}
}

// The first rule whose pattern a topic fits is for it.
func TestRulesPerTopic(t *testing.T) {
	r := Rules{Rule: Rule{Metric: "rest_{{field}}"}, Topics: []Rule{
		{Pattern: "zigbee2mqtt/bridge/#", LeaveOut: true},
		{Pattern: "zigbee2mqtt/+device", TimeKey: "last_seen"},
		{Pattern: "tele/+device/SENSOR", Metric: "tasmota_{{field}}"},
	}}
	k := run(t, r, func(_ *testing.T, d *Decoder, _ *keeper) {
		add(d, "zigbee2mqtt/bridge/state", `{"state":"online"}`)
		add(d, "zigbee2mqtt/lamp", `{"brightness":7,"last_seen":"2000-01-01T00:00:01Z"}`)
		add(d, "tele/plug/SENSOR", `{"Power":12}`)
		add(d, "other", `{"a":1}`)
	})
	want := `brightness{device="lamp"} 7 @ 946684801000, tasmota_Power{device="plug"} 12 @ 946684800000, rest_a{topic="other"} 1 @ 946684800000`
	if got := strings.Join(k.samples, ", "); got != want || k.skipped() != "left out(1)" {
		t.Errorf("%s, skipped %s\nwant %s", got, k.skipped(), want)
	}
	err := Rules{Topics: []Rule{{LeaveOut: true}, {Pattern: "a", TimeZone: "Mars"}}}.Check()
	for _, want := range []string{"rules.topics[0].pattern", "rules.topics[1].timezone"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}

func TestTopics(t *testing.T) {
	k := &keeper{}
	d := New(Rules{Rule: Rule{Pattern: "a/+b"}}, "/", k)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { d.Run(ctx) })
	now := time.Now()
	for i := range 5 {
		d.Add("a/1", fmt.Append(nil, i), now.Add(time.Duration(i)*time.Second), false, nil)
		d.Add("a/1", []byte("within a second"), now.Add(time.Duration(i)*time.Second), false, nil)
	}
	d.Add("not/in/pattern", []byte("x"), now, false, nil)
	var got []Topic
	for len(got) == 0 { // until it runs
		got = Topics(k)
	}
	if len(got) != 2 || got[0].Name != "a/1" || got[0].Messages != 10 || len(got[0].Last) != maxSeenLast || string(got[0].Last[0].Data) != "4" ||
		got[1].Name != "not/in/pattern" {
		t.Errorf("%+v", got)
	}
	// One that is new replaces the one that was silent longest, but not each time.
	at := now.Add(time.Minute)
	for i := range 2 * maxSeen {
		d.Add(fmt.Sprint("b/", i), []byte("1"), at, false, nil)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(Topics(k), func(t Topic) bool { return t.Name == name })
	}
	if n := len(Topics(k)); n != maxSeen || has("a/1") || !has("not/in/pattern") || has(fmt.Sprint("b/", 2*maxSeen-1)) {
		t.Errorf("%d topics", n)
	}
	d.Add("c", []byte("1"), at.Add(seenEvery/maxSeen), false, nil)
	if n := len(Topics(k)); n != maxSeen || has("not/in/pattern") || !has("c") {
		t.Errorf("%d topics, and not what is new", n)
	}
	cancel()
	wg.Wait()
	if Topics(k) != nil {
		t.Error("there are topics of a decoder that has ended")
	}
}
