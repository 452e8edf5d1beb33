package message

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// reported is an input from a public report: see testdata/cases.
type reported struct {
	Name, Source, About, Kind, Separator, Expect, Verdict string

	Rules    Rules
	Messages []struct {
		Topic, Payload, Hex string
		AfterMS             int64 `json:"after_ms"`
	}
	Seen []string
}

// outcome is what the messages of a case become.
func (r reported) outcome(t *testing.T) []string {
	t.Helper()
	k := run(t, r.Rules, func(t *testing.T, d *Decoder, _ *keeper) {
		for _, m := range r.Messages {
			payload := []byte(m.Payload)
			if m.Hex != "" {
				var err error
				if payload, err = hex.DecodeString(m.Hex); err != nil {
					t.Fatal(err)
				}
			}
			d.Add(m.Topic, payload, time.Now(), false, nil)
			time.Sleep(time.Duration(m.AfterMS) * time.Millisecond)
		}
	})
	lines := k.samples
	for _, reason := range slices.Sorted(maps.Keys(k.report.Skipped)) {
		s := k.report.Skipped[reason]
		lines = append(lines, fmt.Sprintf("! %s (%d): %.100s", reason, s.Count, s.Example))
	}
	return lines
}

func readCase(t *testing.T, path string) reported {
	t.Helper()
	var r reported
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mended is what the cases become that were wrong or unclear, or are told more
// clearly. The others become what was seen.
var mended = map[string]struct {
	// change sets what the case asks for beyond its rules: "at least a setting".
	change func(*Rules)
	want   []string
}{
	"m02-raw-words": {nil, []string{
		`status{topic="house/hotwater/status"} 1 @ 946684800000`,
		`status{topic="house/hotwater/status"} 0 @ 946684801000`,
		`status{status="admin_off", topic="house/hotwater/status"} 1 @ 946684802000`,
		`status{topic="house/hotwater/status"} NaN @ 946684802000`,
	}},
	"m06-tasmota-time": {nil, []string{
		`ENERGY_Total{topic="tele/plug1/SENSOR"} 0.052 @ 946684800000`,
		`ENERGY_Power{topic="tele/plug1/SENSOR"} 12 @ 946684800000`,
		`ENERGY_Factor{topic="tele/plug1/SENSOR"} 0.9 @ 946684800000`,
		`ENERGY_Voltage{topic="tele/plug1/SENSOR"} 207 @ 946684800000`,
		`ENERGY_Current{topic="tele/plug1/SENSOR"} 0.1 @ 946684800000`,
		`! not a number (1): tele/plug1/SENSOR ENERGY_TotalStartTime 1999-12-01T19:53:40 (name the key under states to record it)`,
		`! time without zone, taken as UTC (1): tele/plug1/SENSOR Time 2000-01-01T00:00:00`,
	}},
	"m09-kepware": {nil, []string{
		`v{id="Line.Tank1", topic="plc"} 7 @ 946684800193`,
		`q{id="Line.Tank1", topic="plc"} 1 @ 946684800193`,
		`v{id="Line.Tank2", topic="plc"} 900 @ 946684800193`,
		`q{id="Line.Tank2", topic="plc"} 1 @ 946684800193`,
		`v{id="Line.Tank2", topic="plc"} 901 @ 946684801193`,
		`q{id="Line.Tank2", topic="plc"} 1 @ 946684801193`,
	}},
	"m10-rtl433": {func(r *Rules) { r.LabelKeys, r.TimeKey, r.TimeZone = []string{"model", "id", "channel"}, "time", "UTC" }, []string{
		`battery_ok{channel="1", id="5", model="Prologue", topic="rtl_433/host/events"} 1 @ 946684800000`,
		`temperature_C{channel="1", id="5", model="Prologue", topic="rtl_433/host/events"} 15.1 @ 946684800000`,
		`battery_ok{channel="3", id="5", model="Prologue", topic="rtl_433/host/events"} 1 @ 946684802000`,
		`temperature_C{channel="3", id="5", model="Prologue", topic="rtl_433/host/events"} 2.1 @ 946684802000`,
		`battery_ok{channel="A", id="77", model="Acurite", topic="rtl_433/host/events"} 1 @ 946684803000`,
		`temperature_C{channel="A", id="77", model="Acurite", topic="rtl_433/host/events"} 21 @ 946684803000`,
	}},
	"m13-ttn": {nil, []string{
		`uplink_message_f_port{app="app@ttn", device="dev1"} 1 @ 946684800123`,
		`uplink_message_f_cnt{app="app@ttn", device="dev1"} 33 @ 946684800123`,
		`uplink_message_decoded_payload_temperature{app="app@ttn", device="dev1"} 24.7 @ 946684800123`,
		`uplink_message_decoded_payload_luminosity{app="app@ttn", device="dev1"} 81 @ 946684800123`,
		`uplink_message_decoded_payload_alarm{app="app@ttn", device="dev1"} 1 @ 946684800123`,
		`uplink_message_settings_data_rate_lora_bandwidth{app="app@ttn", device="dev1"} 125000 @ 946684800123`,
		`uplink_message_settings_data_rate_lora_spreading_factor{app="app@ttn", device="dev1"} 7 @ 946684800123`,
		`uplink_message_settings_frequency{app="app@ttn", device="dev1"} 8.683e+08 @ 946684800123`,
		`! not a number (5): v3/app@ttn/devices/dev1/up end_device_ids_device_id dev1 (name the key under states to record it)`,
		`! objects in an array (2): v3/app@ttn/devices/dev1/up uplink_message_rx_metadata`,
	}},
	"m14-ha-unavailable": {nil, []string{
		`state{topic="homeassistant/sensor/x/state"} 21.5 @ 946684800000`,
		`state{state="unavailable", topic="homeassistant/sensor/x/state"} 1 @ 946684801000`,
		`state{topic="homeassistant/sensor/x/state"} NaN @ 946684801000`,
		`state{state="unknown", topic="homeassistant/sensor/x/state"} 1 @ 946684802000`,
		`state{state="unavailable", topic="homeassistant/sensor/x/state"} 0 @ 946684802000`,
		`state{state="None", topic="homeassistant/sensor/x/state"} 1 @ 946684803000`,
		`state{state="unavailable", topic="homeassistant/sensor/x/state"} 0 @ 946684803000`,
		`state{state="unknown", topic="homeassistant/sensor/x/state"} 0 @ 946684803000`,
	}},
	"m16-nan-in-json-large": {nil, []string{
		`a{topic="t"} 1 @ 946684800000`, `b{topic="t"} 2 @ 946684800000`,
		`! infinite or NaN (1): t c NaN`, `! not a number (1): t pad ` + strings.Repeat("x", 94),
	}},
	"m18-bom":         {nil, []string{`a{topic="t"} 1 @ 946684800000`}},
	"m19-nul":         {nil, []string{`t{topic="t"} 21.5 @ 946684800000`, `a{topic="t"} 1 @ 946684801000`}},
	"m24-two-objects": {nil, []string{`a{topic="ws"} 1 @ 946684800000`, `a{topic="ws"} 2 @ 946684800000`}},
	"m26-non-latin": {nil, []string{
		`{"温度", topic="工厂/1"} 21.5 @ 946684800000`, `{"湿度", topic="工厂/1"} 40 @ 946684800000`, `{"температура", topic="д/1"} 20.1 @ 946684801000`,
	}},
	"m28-batch": {nil, []string{
		`temp{topic="dev"} 1 @ 946684800000`, `temp{topic="dev"} 2 @ 946684801000`, `temp{topic="dev"} 3 @ 946684802000`,
	}},
	"m28-batch-nokey": {nil, []string{`! records that nothing tells apart (6): dev ts{topic="dev"} (a label key or a time key can)`}},
	"m32-offset":      {nil, []string{`v{topic="t"} 1 @ 946684800369`}},
	"m33-nozone": {nil, []string{
		`v{topic="t"} 1 @ 946684800000`, `! time without zone, taken as UTC (1): t ts 2000-01-01 00:00:00`,
	}},
	"m43-sparkplug": {nil, []string{
		`temperature{device="d", group="g", node="n"} 21.5 @ 1356599350336`,
		`online{topic="spBv1.0/STATE/host"} 1 @ 946684802000`,
		`timestamp{topic="spBv1.0/STATE/host"} 9.466848e+11 @ 946684802000`,
		`! not valid Sparkplug B (1): spBv1.0/g/DDATA/n/d 08 01 12 0b 0a 04 74 65 6d 70 20 09 18 05`,
	}},
	"m49-log":        {nil, []string{`! not a number (4): log error code=5`}},
	"m57-dotted-key": {nil, []string{`v{topic="t"} 1 @ 946684800000`}},
	"m58-hex-id":     {nil, []string{`v{topic="t"} 1 @ 946684800000`, `! not a number (2): t id 12e4567 (name the key under states to record it)`}},
	"m68-telegraf6141": {
		func(r *Rules) {
			r.Each, r.LabelKeys, r.TimeKey, r.TimeLayout, r.TimeZone = "meters", []string{"meter"}, "date", "2006-01-02-15:04:05", "UTC"
		},
		[]string{`E{meter="PPAC3_1In", topic="meters/DB1"} 144.1158 @ 1563548274000`},
	},
	"m72-key-value-2": {nil, []string{`! not a number (4): lora/1 t=21.5,h=40`}},
}

// Cases are inputs from public reports, each of a kind of its own. Those that were
// right stay so, but for examples of what cannot be recorded.
func TestReported(t *testing.T) {
	paths, err := filepath.Glob("testdata/cases/*.json")
	if err != nil || len(paths) != 38 {
		t.Fatal(len(paths), "cases", err)
	}
	for _, path := range paths {
		r := readCase(t, path)
		t.Run(r.Name, func(t *testing.T) {
			m, is := mended[r.Name]
			if !is && r.Verdict != "right" {
				t.Fatal("nobody says what is right")
			}
			if m.change != nil {
				m.change(&r.Rules)
			}
			got, want := r.outcome(t), m.want
			if !is {
				want = r.Seen
				for _, lines := range [][]string{got, want} {
					for i, line := range lines {
						if strings.HasPrefix(line, "! ") {
							lines[i], _, _ = strings.Cut(line, ":")
						}
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s\n%s\nwant\n%s", r.Expect, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
