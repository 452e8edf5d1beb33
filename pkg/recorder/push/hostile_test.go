package push

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/continuum-live/continuum-datasource/pkg/internal/memory"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// field writes a field of a message that holds bytes.
func field(n protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
}

// What is small on the way must not become large in memory, whoever made it: at
// most ten times the largest request, and what the store itself keeps of series.
func TestHostile(t *testing.T) {
	const limit = 2 << 20
	label := func(name, value string) []byte {
		return field(1, append(field(1, []byte(name)), field(2, []byte(value))...))
	}
	fill := func(prefix, part []byte) []byte {
		return append(prefix, bytes.Repeat(part, (limit-len(prefix)-100)/len(part))...)
	}
	named := label("__name__", "m")
	empty := func(n protowire.Number) []byte { return fill(bytes.Clone(named), field(n, nil)) }
	symbols := func(all ...string) (b []byte) {
		for _, s := range all {
			b = append(b, field(4, []byte(s))...)
		}
		return b
	}
	refs := func(n ...byte) []byte { return field(1, n) }
	now := time.Now().UnixMilli()
	sample := func() []byte {
		b := protowire.AppendTag(nil, 1, protowire.Fixed64Type)
		b = binary.LittleEndian.AppendUint64(b, 0x3ff0000000000000)
		return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(now))
	}()
	long := strings.Repeat("x", series.MaxLabels/2)
	for _, test := range []struct {
		name, format, kind string
		body               func() []byte
		want               int // 0 for either
	}{
		{"series without anything", Prometheus, "1.0", func() []byte { return fill(nil, field(1, nil)) }, 400},
		{"descriptions without anything", Prometheus, "1.0", func() []byte { return fill(nil, field(3, nil)) }, 400},
		{"labels without anything", Prometheus, "1.0", func() []byte { return field(1, fill(nil, field(1, nil))) }, 400},
		{"samples without anything", Prometheus, "1.0", func() []byte { return field(1, empty(2)) }, 0},
		{"exemplars without anything", Prometheus, "1.0", func() []byte { return field(1, empty(3)) }, 204},
		{"histograms without anything", Prometheus, "1.0", func() []byte { return field(1, empty(4)) }, 400},
		{"a large label", Prometheus, "1.0", func() []byte { return field(1, label("__name__", strings.Repeat("x", limit-100))) }, 400},
		{"nested in a label", Prometheus, "1.0", func() []byte { return field(1, fill(nil, field(1, field(1, field(1, nil))))) }, 400},
		{"samples of one time", Prometheus, "1.0", func() []byte { return field(1, fill(bytes.Clone(named), field(2, sample))) }, 204},
		{"large labels", Prometheus, "1.0", func() []byte { return fill(nil, field(1, append(label("__name__", long), field(3, nil)...))) }, 204},
		{"series without anything", Prometheus, "2.0", func() []byte { return fill(nil, field(5, nil)) }, 400},
		{"symbols without anything", Prometheus, "2.0", func() []byte { return fill(nil, field(4, nil)) }, 400},
		{"references without anything", Prometheus, "2.0", func() []byte { return field(5, field(1, fill(nil, []byte{0}))) }, 400},
		{"histograms without anything", Prometheus, "2.0", func() []byte {
			return append(symbols("", "__name__", "m"), field(5, fill(refs(1, 2), field(3, nil)))...)
		}, 400},
		{"exemplars without anything", Prometheus, "2.0", func() []byte {
			return append(symbols("", "__name__", "m"), field(5, fill(refs(1, 2), field(4, nil)))...)
		}, 204},
		{"a long symbol again and again", Prometheus, "2.0",
			func() []byte {
				return fill(symbols("", "__name__", long), field(5, append(refs(1, 2), field(2, sample)...)))
			}, 400},
		{"lines without anything", Influx, "", func() []byte { return fill(nil, []byte("\n")) }, 204},
		{"small lines", Influx, "", func() []byte { return fill(nil, []byte("a b=1\n")) }, 204},
		{"bad lines", Influx, "", func() []byte { return fill(nil, []byte("a\n")) }, 400},
		{"one line of fields", Influx, "", func() []byte { return fill([]byte("a b=1"), []byte(",b=1")) }, 400},
		{"one line of tags", Influx, "", func() []byte { return fill([]byte("a"), []byte(",b=c")) }, 400},
		{"lines of fields", Influx, "", func() []byte { return fill(nil, []byte("a "+strings.Repeat("b=1,", 9000)+"b=1\n")) }, 204},
		{"long tags for many fields", Influx, "", func() []byte {
			return fill(nil, []byte("a,b="+strings.Repeat("x", series.MaxLabels/4)+" "+strings.Repeat("b=1,", 9000)+"b=1\n"))
		}, 400},
		{"quotation marks", Influx, "", func() []byte { return fill(nil, []byte("\" w=\"\n")) }, 400},
		{"one text", Influx, "", func() []byte { return append(fill([]byte(`a b="`), []byte("x")), '"') }, 400},
	} {
		t.Run(strings.TrimSpace(test.format+" "+test.kind)+"/"+test.name, func(t *testing.T) {
			_, store := open(t, Config{MaxBytes: limit, SamplesPerSecond: limitOfSamplesPerSecond})
			sink := store.Sink("push")
			header := []string{"Content-Type", "application/x-protobuf"}
			if test.kind == "2.0" {
				header[1] += ";proto=io.prometheus.write.v2.Request"
			}
			body := test.body()
			size := len(body)
			if test.format == Prometheus {
				body = snappy.Encode(nil, body)
			} else {
				header, body = telegraf, []byte(zipped(string(body)))
			}
			var rsp answered
			begin := time.Now()
			used := memory.Peak(func() { rsp = post(sink, test.format, "", string(body), header...) })
			t.Logf("%d bytes, unpacked %d: %d MiB, %v: %d %.200s", len(body), size, used>>20, time.Since(begin), rsp.StatusCode, rsp.Body)
			if used > 10*limit {
				t.Errorf("it took %d MiB", used>>20)
			}
			if test.want != 0 && rsp.StatusCode != test.want {
				t.Errorf("it was answered with %d", rsp.StatusCode)
			}
			// The input goes on.
			if rsp := post(sink, Influx, "", "alive v=1"); rsp.StatusCode != http.StatusNoContent {
				t.Errorf("%s: %s", rsp.Status, rsp.Body)
			}
		})
	}
}

// Labels of more than 16 MiB make the library panic that holds them.
func TestHugeLabel(t *testing.T) {
	_, store := open(t, Config{MaxBytes: 64 << 20})
	sink := store.Sink("push")
	huge := bytes.Repeat([]byte("x"), 17<<20)
	symbols := append(append(field(4, []byte("__name__")), field(4, huge)...), field(5, append(field(1, []byte{0, 1}), field(2, nil)...))...)
	for _, rsp := range []answered{
		post(sink, Prometheus, "", string(snappy.Encode(nil, field(1, append(field(1, append(field(1, []byte("__name__")), field(2, huge)...)), field(2, nil)...)))), "Content-Type", "application/x-protobuf"),
		post(sink, Prometheus, "", string(snappy.Encode(nil, symbols)), "Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
		post(sink, Influx, "", "m,a="+string(huge)+" v=1"),
		post(sink, Influx, "", string(huge)+" v=1"),
	} {
		if rsp.StatusCode != http.StatusBadRequest || len(rsp.Body) > 5000 {
			t.Errorf("%s: %.1000s", rsp.Status, rsp.Body)
		}
	}
}

// Dates of 1970 are told as what they are: time stamps in another unit.
func TestAncient(t *testing.T) {
	q := request{from: Influx, run: &run{}}
	q.ancient, q.all, q.refused = 1, 1, 1
	q.fault(1, "%v", recorder.ErrTooOld)
	if told := q.told(); !strings.Contains(told, "precision=s") {
		t.Error(told)
	}
	_, store := open(t, Config{})
	now := time.Now()
	rsp := post(store.Sink("push"), Influx, "", fmt.Sprintf("m v=1 %d\nm v=2 %d", now.UnixNano(), now.Unix()))
	if rsp.StatusCode != http.StatusBadRequest || !strings.Contains(rsp.Body, "1 have dates of 1970") || !strings.Contains(rsp.Body, "precision=s") {
		t.Errorf("%s: %s", rsp.Status, rsp.Body)
	}
}
