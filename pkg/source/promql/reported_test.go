package promql

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/reported"
)

// What servers answer besides rows, and what becomes of it.
func TestReported(t *testing.T) {
	const (
		one  = `"data":{"resultType":"matrix","result":[{"metric":{"__name__":"x"},"values":[[2,"7"]]}]}`
		none = `"data":{"resultType":"matrix","result":[]}`
	)
	type input struct{ answer, want string }
	reported.Run(t, map[string]input{
		"r01-promql-warning": {`"warnings":["PromQL warning: quantile value should be between 0 and 1"],"infos":["PromQL info: metric might not be a counter"],` + one,
			"1 series, warning: PromQL warning: quantile value should be between 0 and 1, info: PromQL info: metric might not be a counter, <nil>"},
		"r02-thanos-no-store": {`"warnings":["No StoreAPIs matched for this query"],` + none,
			"0 series, warning: No StoreAPIs matched for this query, <nil>"},
		"r03-thanos-partial": {`"warnings":["receive series from Addr: 10.0.0.1:10901: rpc error"],` + one,
			"receive series from Addr: 10.0.0.1:10901: rpc error"},
		"r04-native-histogram": {`"data":{"resultType":"matrix","result":[{"metric":{"__name__":"x"},"histograms":[[2,{"count":"2","sum":"3","buckets":[[0,"1","2","2"]]}]]}]}`,
			"histogram_quantile"},
		"r07-null-result": {`"data":{"resultType":"matrix","result":null}`, "0 series, <nil>"},
		"r08-vm-partial":  {`"isPartial":true,` + one, "answers with a part of what it has"},
	}, func(t *testing.T, in input) {
		s := script{says(200, "", `{"status":"success",`+in.answer+`}`)}
		r := remoteOf(t, RemoteConfig{URL: "http://server", Client: &http.Client{Transport: &s}})
		r.probed, r.settled = time.Now(), 20_000_000
		rows, err := (&fixture{Source: Source{Engine: r, Interval: time.Second}}).bind(t, "x", 1000).Rows(t.Context(), 1000, 3000)
		var got string
		if err == nil {
			got = fmt.Sprintf("%d series, ", len(rows.Series))
			for _, n := range rows.Notices {
				got += n.Severity.String() + ": " + n.Text + ", "
			}
		}
		if got += fmt.Sprint(err); !strings.Contains(got, in.want) {
			t.Errorf("got %s, not %s", got, in.want)
		}
	})
}
