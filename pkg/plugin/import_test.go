package plugin

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// post sends a body to a resource.
func (r *fed) post(t *testing.T, url, body string) *backend.CallResourceResponse {
	t.Helper()
	path, _, _ := strings.Cut(url, "?")
	var got *backend.CallResourceResponse
	err := r.CallResource(backend.WithPluginContext(t.Context(), r.pc), &backend.CallResourceRequest{PluginContext: r.pc, Method: "POST", Path: path, URL: url, Body: []byte(body)},
		backend.CallResourceResponseSenderFunc(func(rsp *backend.CallResourceResponse) error { got = rsp; return nil }))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// History that an admin imports and what is recorded are one line, and a panel that
// streams has it as soon as it is there.
func TestImportHistory(t *testing.T) {
	onRecorder(t, func(t *testing.T, r *fed) {
		now := time.Now().UnixMilli() / 60_000 * 60_000
		var live []recorder.Sample
		for at := now - 30*60_000; at <= now; at += 60_000 {
			live = append(live, r.sample("a", at))
		}
		if err := r.sink.Commit(t.Context(), live, now); err != nil {
			t.Fatal(err)
		}
		const query = `{"expr":"m_bytes"}`
		if rsp := r.post(t, "import?format=csv", ""); rsp.Status != 403 || !strings.Contains(string(rsp.Body), "only admins") {
			t.Errorf("a viewer: %d %s", rsp.Status, rsp.Body)
		}
		r.pc.User = &backend.User{Login: "admin", Role: "Admin"}
		for url, want := range map[string]string{
			"import?format=xml":                `the format \"xml\" is none of influx, csv, openmetrics, tsdb`,
			"import?format=csv":                "the first line must name the columns",
			"import?format=influx&precision=x": "the precision",
			"import?format=tsdb":               "blocks are a folder",
			"import?format=csv&file=../x":      "is not the name of a file",
			"import?format=csv&file=":          "is not the name of a file",
			"import?format=csv&file=none.csv":  "no such file",
		} {
			if rsp := r.post(t, url, ""); rsp.Status != 400 || !strings.Contains(string(rsp.Body), want) {
				t.Errorf("%s: %d %s", url, rsp.Status, rsp.Body)
			}
		}
		if rsp := r.post(t, "import?format=csv&precision=s", "time,m\n1,1\n"); rsp.Status != 400 || !strings.Contains(string(rsp.Body), "Line 2: older than the retention") {
			t.Errorf("too old: %d %s", rsp.Status, rsp.Body)
		}

		v := &viewer{resync: make(chan struct{}, 1)}
		stop := v.watch(t, r, query, 12*time.Hour)
		var b strings.Builder
		b.WriteString("time,metric,machine,value\n")
		for at := now - 11*3_600_000; at < now-2*3_600_000; at += 60_000 {
			fmt.Fprintf(&b, "%d,m_bytes,a,%v\n", at, r.sample("a", at).V)
		}
		b.WriteString("0,m_bytes,a,1\nx,m_bytes,a,1\n" + fmt.Sprint(now) + ",m_bytes,a,running\n")
		rsp := r.post(t, "import?format=csv&precision=ms", b.String())
		if rsp.Status != 200 || !strings.Contains(string(rsp.Body), `"samples":540,"series":1,"from":"`) || !strings.Contains(string(rsp.Body), `"refused":{"no time":1,"not a number":1,"older than the retention":1}`) ||
			!strings.Contains(string(rsp.Body), `"notice":"Texts that were not imported: 1. `) {
			t.Errorf("%d %s", rsp.Status, rsp.Body)
		}
		time.Sleep(11 * time.Second) // viewers are told no more often
		synctest.Wait()
		stop()
		if v.asked.Load() < 2 {
			t.Error("a panel that streams was not told")
		}
		fresh := r.ask(t, query[:len(query)-1]+`,"live":true}`, 12*time.Hour)
		same(t, "after the import", v, fresh)
		rows := 0
		for i := range fresh.Rows() {
			at := fresh.Fields[0].At(i).(time.Time).UnixMilli()
			value := fresh.Fields[1].At(i).(*float64)
			switch {
			case at%60_000 != 0 || at < now-11*3_600_000 || at >= now-2*3_600_000 && at < now-30*60_000 || at > now:
			case value == nil || *value != r.sample("a", at).V:
				t.Fatalf("at %v there is %v", time.UnixMilli(at), value)
			default:
				rows++
			}
		}
		if rows != 9*60+31 {
			t.Errorf("there are %d rows", rows)
		}
	})
}
