package metricsapi

import (
	"strings"
	"testing"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/reported"
)

// What people's services answer and what is wrong with it, in words.
func TestReported(t *testing.T) {
	type input struct{ answer, says string }
	reported.Run(t, map[string]input{
		"a01-metricsapi": {`{"timestamps":[1525320002000,1525320001000,1525320001000],"values":[3,1,2]}`, "timestamps[1] is 2018-05-03T04:00:01Z, which is before 2018-05-03T04:00:02Z: points must come in the order of time"},
		"a02-metricsapi": {`{"timestamps":[1525320000000.25],"values":[1]}`, "timestamps[0] is 1525320000000.25, which is not a whole number of milliseconds"},
		"a04-metricsapi": {`{"timestamps":["2018-05-03T04:00:00"],"values":[1]}`, `timestamps[0] is "2018-05-03T04:00:00", which is not a time as in RFC 3339`},
		"a05-metricsapi": {`{"timestamps":["2018-05-03T04:00:00+0000"],"values":[1]}`, `timestamps[0] is "2018-05-03T04:00:00+0000", which is not a time as in RFC 3339`},
		"a06-metricsapi": {`{"timestamps":["1525320000"],"values":[1]}`, `timestamps[0] is "1525320000", which is not a time`},
		"a08-metricsapi": {`{"timestamps":[1525320000000],"values":[NaN]}`, "is not JSON"},
		"a09-metricsapi": {`{"data":{"timestamps":[1525320000000],"values":[1]}}`, "has no field timestamps"},
		"a10-metricsapi": {`[{"target":"a","datapoints":[[1,1525320000000]]}]`, "is a list and not an object"},
		"a12-metricsapi": {`{"timestamps":[1525320000000],"values":[1],"labels":{"room":1}}`, "label room is the number 1 and not a text"},
		"a13-metricsapi": {`{"timestamps":[1525320000000],"values":[true]}`, "values[0] is true: use a number, or null for none"},
	}, func(t *testing.T, in input) {
		from := time.Date(2018, 5, 3, 4, 0, 0, 0, time.UTC).UnixMilli()
		_, err := decodeSeries(t.Context(), strings.NewReader(in.answer), from, from+60_000)
		if err == nil || !strings.Contains(err.Error(), in.says) {
			t.Errorf("the error is %v, not %q", err, in.says)
		}
	})
}
