package push

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// reported is an input from a public report: see testdata/cases.
type reported struct {
	Name, Format, Query, Body, Expect string

	Headers map[string]string
	Series  []struct {
		Order   []string
		Labels  map[string]string
		Samples [][2]float64 // ms from now, value
	}
	Gzip bool
}

// request returns what is sent now.
func (r reported) request(t *testing.T, now time.Time) string {
	t.Helper()
	body := strings.NewReplacer("%NS%", strconv.FormatInt(now.UnixNano(), 10), "%S%", strconv.FormatInt(now.Unix(), 10),
		"%S+60%", strconv.FormatInt(now.Unix()+60, 10)).Replace(r.Body)
	if len(r.Series) > 0 {
		var w prompb.WriteRequest
		for _, s := range r.Series {
			var ts prompb.TimeSeries
			for _, name := range s.Order {
				ts.Labels = append(ts.Labels, prompb.Label{Name: name, Value: s.Labels[name]})
			}
			for _, p := range s.Samples {
				ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: now.UnixMilli() + int64(p[0]), Value: p[1]})
			}
			w.Timeseries = append(w.Timeseries, ts)
		}
		b, err := w.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		body = string(snappy.Encode(nil, b))
	}
	if r.Gzip {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		body = z.String()
	}
	return body
}

// Cases are requests from public reports, each of a kind of its own. want has the
// status, what the answer says, and what is stored.
func TestReported(t *testing.T) {
	want := map[string]struct {
		status int
		says   string
		stored string
	}{
		"p01-crlf":              {204, "", `dt_metric{entity="S1"} 56167.75, dt_metric{entity="S2"} 2`},
		"p02-newline-in-string": {204, "", `cpu_v{host="a"} 2, logs_n{host="a"} 1`},
		"p04-leading-zeros":     {204, "", `energy_l1_export{meter="main"} 0, energy_l1_import{meter="main"} 0.254`},
		"p05-unquoted":          {400, "line 2: field value", `build_duration{b="x"} 132, build_id{b="x"} 56919`},
		"p07-empty":             {204, "", ""},
		"p08-wrong-precision":   {400, "precision", ""},
		"p08-wrong-precision-2": {400, "precision", ""},
		"p09-precision-name":    {204, "", "m_v 1"},
		"p10-empty-tag":         {400, `line 1: expected tag value`, `cpu_v{host="a"} 2`},
		"p11-twice-tag":         {400, `two tags, one name: \"host\" and \"host\"`, ""},
		"p14-int":               {400, "line 2: ", "i_a 9.223372036854776e+18, i_b 1.8446744073709552e+19"},
		"p15-non-latin":         {204, "", `{"датчик_температура", "комната"="зал"} 20, {"温度_值"} 21.5`},
		"p16-curl-d":            {400, "line 1: invalid timestamp", ""},
		"p17-json":              {400, "is JSON", ""},
		"p18-gzip-lost":         {204, "", "cpu_v 1"},
		"p19-json":              {415, "application/json", ""},
		"p20-gzip-rw":           {415, "gzip", ""},
		"p23-future":            {204, "", "m_v 1"}, // a minute ahead is within what is taken now
		"p27-unsorted":          {204, "", `up{instance="i", job="a"} 1, up{instance="i", job="a"} 2`},
		"p28-empty-label":       {204, "", `up{job="a"} 1`},
		"p31-no-time":           {204, "", `temp_v{room="a"} 1, temp_v{room="a"} 2`}, // both, in their order
		"p32-bool-string":       {204, "", "b_a 1, b_b 1, b_c 1, b_d 1, b_e 1, b_f 0, b_g 0"},
		"p33-value-field":       {400, "two fields, one name", "disk_io_time 1, load 3"},
		"e03-old-first":         {400, "precision", ""},
		"e04-influx-paths":      {204, "", "a_v 1"},
	}
	paths, err := filepath.Glob("testdata/cases/*.json")
	if err != nil || len(paths) != len(want) {
		t.Fatal(len(paths), "cases", err)
	}
	for _, path := range paths {
		var r reported
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Name == "e03-old-first" { // described in words
			r.Format, r.Body = "influx", "a v=1 %S%"
		}
		if r.Name == "e04-influx-paths" { // described in words, too: see TestInfluxClients
			r.Format, r.Query, r.Body = "influx/api/v2/write/", "?org=o&bucket=b", "a v=1"
		}
		t.Run(r.Name, func(t *testing.T) {
			_, store := open(t, Config{})
			var header []string
			for name, value := range r.Headers {
				header = append(header, name, value)
			}
			got := post(store.Sink("push"), r.Format, r.Query, r.request(t, time.Now()), header...)
			var stored []string
			all := samples(t, store)
			for _, at := range slices.Sorted(maps.Keys(all)) {
				name, _, _ := strings.Cut(at, "@")
				stored = append(stored, fmt.Sprintf("%s %v", name, all[at]))
			}
			w := want[r.Name]
			if got.StatusCode != w.status || !strings.Contains(got.Body, w.says) || strings.Join(stored, ", ") != w.stored {
				t.Errorf("%s\n%d %s\nstored %s", r.Expect, got.StatusCode, got.Body, strings.Join(stored, ", "))
			}
		})
	}
}
