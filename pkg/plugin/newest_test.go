package plugin

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Back end and front end make the same tables: src/newest.test.ts reads the same
// cases.
func TestTableOfNow(t *testing.T) {
	type column struct {
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
		Unit        string `json:"unit"`
		Values      []any  `json:"values"`
	}
	raw, err := os.ReadFile("testdata/newest.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, Legend string
		Times        []int64
		Series       []struct {
			Name   string
			Labels data.Labels
			Unit   string
			Values []*float64
		}
		Columns []column
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		rows := grid.Rows{Step: 1000, Through: int64(len(c.Times)) * 1000}
		for _, s := range c.Series {
			series := grid.Series{Name: s.Name, Labels: s.Labels, Unit: s.Unit}
			for _, v := range s.Values {
				if v == nil {
					v = new(math.NaN())
				}
				series.Values = append(series.Values, *v)
			}
			rows.Series = append(rows.Series, series)
		}
		columns := []column{}
		for _, f := range rows.Table(valueName(c.Legend)).Fields {
			got := column{Name: f.Name, Values: []any{}}
			if f.Config != nil {
				got.DisplayName, got.Unit = f.Config.DisplayNameFromDS, f.Config.Unit
			}
			for i := range f.Len() {
				v := f.At(i)
				if at, ok := v.(time.Time); ok {
					v = float64(at.UnixMilli())
				}
				got.Values = append(got.Values, v)
			}
			columns = append(columns, got)
		}
		if !reflect.DeepEqual(columns, c.Columns) {
			t.Errorf("%s: the columns are %+v", c.Name, columns)
		}
	}
}

// A table is what a plain query gets, whoever computes gets numbers, and the guard
// rows, of which the front end makes the table.
func TestNewestPerSeries(t *testing.T) {
	onRecorder(t, func(t *testing.T, r *fed) {
		now := time.Now().UnixMilli()
		var samples []recorder.Sample
		for i := range int64(60) {
			samples = append(samples, r.sample("a", now-60_000+i*1000))
			if i < 50 {
				samples = append(samples, r.sample("bb", now-60_000+i*1000))
			}
		}
		if err := r.sink.Commit(t.Context(), samples, now); err != nil {
			t.Fatal(err)
		}
		const raw = `{"expr":"last_over_time(m_bytes[2s])","format":"newest"}`
		table := r.ask(t, raw, 30*time.Second)
		if table.Meta.Type != data.FrameTypeTable || table.Rows() != 2 || len(table.Fields) != 4 || table.Fields[2].At(1) != "bb" {
			t.Errorf("the table is %s", jsonOf(t, table))
		}
		if late := table.Fields[0].At(0).(time.Time).Sub(table.Fields[0].At(1).(time.Time)); late != 10*time.Second {
			t.Errorf("the series that has ended is %v late", late)
		}
		live := r.ask(t, `{"expr":"m_bytes","format":"newest","live":true}`, 30*time.Second)
		if live.Meta.Channel == "" || live.Meta.Type != data.FrameTypeTimeSeriesWide {
			t.Errorf("what the guard gets is %+v", live.Meta)
		}
		for expr, want := range map[string]int{"m_bytes": 2, `m_bytes{machine="none"}`: 0} {
			a := ask(t, r.instance, &backend.QueryDataRequest{
				PluginContext: r.pc, Headers: map[string]string{backend.FromAlertHeaderName: "true"},
				Queries: []backend.DataQuery{queryFor("A", fmt.Sprintf(`{"expr":%q,"format":"newest"}`, expr), 30*time.Second, time.Second)},
			})["A"]
			if a.Error != nil || a.Frames[0].Meta.Type != data.FrameTypeNumericMulti || a.Frames[0].Meta.TypeVersion != (data.FrameTypeVersion{0, 1}) {
				t.Fatalf("%s: %v, %+v", expr, a.Error, a.Frames)
			}
			got := 0
			for _, f := range a.Frames {
				for _, field := range f.Fields {
					if got++; field.Type() != data.FieldTypeFloat64 || field.Len() != 1 || field.Labels["machine"] == "" {
						t.Errorf("%s: a number is %s", expr, jsonOf(t, f))
					}
				}
			}
			if got != want {
				t.Errorf("%s: an alert rule gets %d numbers, want %d", expr, got, want)
			}
		}
	})
}

func TestUnknownFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, pc := newInstance(t, `{}`)
		a := askOne(t, in, pc, queryFor("A", `{"format":"table"}`, time.Minute, time.Second))
		if a.Error == nil || a.Status != backend.StatusBadRequest || a.Error.Error() != `the format "table" is not known: use "newest", "states", or none for a time series` {
			t.Errorf("%v", a.Error)
		}
	})
}
