package importer

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// notes writes down what it is given.
type notes struct {
	lines []string
	stop  error
}

func (n *notes) Add(p recorder.Past) error {
	n.lines = append(n.lines, fmt.Sprintf("%d: %s %v @%d", p.Line, p.Labels, p.V, p.T))
	return n.stop
}

func (n *notes) Refuse(line int, reason, text string) {
	n.lines = append(n.lines, fmt.Sprintf("%d: refused, %s: %s", line, reason, text))
}

func (n *notes) Describe(metric string, m recorder.Metadata) {
	n.lines = append(n.lines, fmt.Sprintf("%s is a %s, %q, %q", metric, m.Type, m.Unit, m.Help))
}

func TestRead(t *testing.T) {
	for _, test := range []struct {
		name, format, precision, text string
		want                          []string
		err                           string
	}{
		{"line protocol", Influx, "s", "# a comment\nm,host=a v=1,w=2i 10\nm v=true\nbad\nm,a-b=1,a_b=2 v=1 11\nm v=1,s=\"x\" 12\n", []string{
			`2: {__name__="m_v", host="a"} 1 @10000`, `2: {__name__="m_w", host="a"} 2 @10000`,
			"3: refused, no time: m_v",
			`5: refused, labels that are not valid: m_v: two tags, one name: "a-b" and "a_b"`,
			`6: refused, not a number: s="x"`, `6: {__name__="m_v"} 1 @12000`,
			"4: refused, the line cannot be read: expected tag key or field but found '\\n' instead: bad"}, ""},
		{"OpenMetrics", OpenMetrics, "", "# TYPE a counter\n# UNIT a_seconds seconds\n# HELP a It \\n counts.\n\na_total{x=\"1\"} 2 10.5\na_total 3\nbad{\n{\"länge.m\"} 4 11 # {} 1\n# EOF\n", []string{
			`a is a counter, "", ""`, `a_total is a counter, "", ""`, `a_seconds is a , "seconds", ""`, `a is a counter, "", "It \n counts."`, `a_total is a counter, "", "It \n counts."`,
			`5: {__name__="a_total", x="1"} 2 @10500`, "6: refused, no time: a_total 3",
			`7: refused, the line cannot be read: bad{: expected label name, got "\n" ("INVALID") while parsing: "bad{\n"`,
			`8: {__name__="länge.m"} 4 @11000`}, ""},
		{"OpenMetrics that was cut", OpenMetrics, "", "a 1 2\n", []string{`1: {__name__="a"} 1 @2000`}, "does not end with # EOF"},
		{"a wide table", CSV, "", "\uFEFFTime,outside temperature,\"power{phase=\"\"1\"\"}\"\r\n1970-01-01T00:00:10Z,1.5,\r\n1970-01-01T01:00:11.5+01:00,x,2\r\n12,1,1\r\n1,2\r\n", []string{
			`2: {__name__="outside_temperature"} 1.5 @10000`,
			`3: refused, not a number: "x" in the column "outside temperature"`, `3: {__name__="power", phase="1"} 2 @11500`,
			`4: refused, no time: "12" is a number: say its unit with precision=s, ms, us or ns`,
			"5: refused, the line cannot be read: wrong number of fields"}, ""},
		{"a long table", CSV, "s", "metric,room,time,value,a floor\nt emp,kitchen,10.25,1,\n,x,11,1,\nt,x,12,,\nt,\"a,b\",13,NaN,2\n", []string{
			`2: {__name__="t_emp", room="kitchen"} 1 @10250`,
			`3: refused, labels that are not valid: "": no letter and no digit in the name`,
			`4: refused, not a number: "" in the column "value"`,
			`5: {__name__="t", a_floor="2", room="a,b"} NaN @13000`}, ""},
		{"milliseconds", CSV, "ms", "timestamp,a\n1500,1\n", []string{`2: {__name__="a"} 1 @1500`}, ""},
		{"no columns", CSV, "", "", nil, "the first line must name the columns"},
		{"no time", CSV, "", "a,b\n1,2\n", nil, "there is no column time"},
		{"time alone", CSV, "", "time\n1\n", nil, "a column time alone"},
		{"two times", CSV, "", "time,a,Timestamp\n", nil, `the columns "time" and "Timestamp" would be the same`},
		{"two of a name", CSV, "", "time,a b,a-b\n", nil, `the columns "a b" and "a-b" would be the same`},
		{"no name", CSV, "", "time,-\n", nil, "no letter and no digit"},
		{"half long", CSV, "", "time,value\n", nil, "of the columns metric and value one is missing"},
		{"labels in one", CSV, "", "time,metric,value,labels\n", nil, "give each label a column"},
		{"not a series", CSV, "", "time,a{b\n", nil, `column 2, "a{b"`},
		{"semicolons", CSV, "", "time;a;b\n1;2;3\n", nil, "separated by commas"},
		{"an open quotation mark", CSV, "s", "time,a\n1,\"2\n" + strings.Repeat("1,2\n", 600_000), nil, "is a quotation mark missing?"},
		{"blocks", TSDB, "", "", nil, "blocks are a folder"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := New(test.format, test.precision)
			if err != nil {
				t.Fatal(err)
			}
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			if _, err := z.Write([]byte(test.text)); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{test.text, packed.String()} {
				n := &notes{}
				err := r.Read(strings.NewReader(text), n)
				if (err == nil) != (test.err == "") || err != nil && (!strings.Contains(err.Error(), test.err) || !errors.As(err, new(*InputError))) {
					t.Errorf("%v", err)
				}
				if !slices.Equal(n.lines, test.want) {
					t.Errorf("%s\nwant\n%s", strings.Join(n.lines, "\n"), strings.Join(test.want, "\n"))
				}
			}
		})
	}
	if _, err := New("xml", ""); err == nil {
		t.Error("xml is a format")
	}
	if _, err := New(CSV, "days"); err == nil {
		t.Error("days are a unit")
	}
}

// What takes the samples ends the reading.
func TestStop(t *testing.T) {
	stop := errors.New("stop")
	for format, text := range map[string]string{Influx: "a v=1 1\na v=1 2\n", CSV: "time,a,b\n1,1,1\n", OpenMetrics: "a 1 1\na 1 2\n# EOF\n"} {
		r, _ := New(format, "s")
		n := &notes{stop: stop}
		if err := r.Read(strings.NewReader(text), n); !errors.Is(err, stop) || len(n.lines) != 1 {
			t.Errorf("%s: %v, %v", format, n.lines, err)
		}
	}
}

// Blocks are read one by one or all of a folder, and stay as they are.
func TestBlocks(t *testing.T) {
	dir := t.TempDir()
	w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, tsdb.DefaultBlockDuration)
	if err != nil {
		t.Fatal(err)
	}
	app := w.Appender(t.Context())
	for i := range int64(3) {
		if _, err := app.Append(0, labels.FromStrings("__name__", "m", "a", "b"), 1000*i, float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := app.AppendHistogram(0, labels.FromStrings("__name__", "h"), 1000, &histogram.Histogram{}, nil); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	id, err := w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, _ := New(TSDB, "")
	want := []string{"0: refused, native histogram: h",
		`0: {__name__="m", a="b"} 0 @0`, `0: {__name__="m", a="b"} 1 @1000`, `0: {__name__="m", a="b"} 2 @2000`}
	for _, path := range []string{dir, filepath.Join(dir, id.String())} {
		n := &notes{}
		if err := r.Path(path, slog.New(slog.DiscardHandler), n); err != nil || !slices.Equal(n.lines, want) {
			t.Errorf("%v, %v", n.lines, err)
		}
	}

	if err := os.Mkdir(filepath.Join(dir, "wal"), 0o777); err != nil {
		t.Fatal(err)
	}
	n := &notes{}
	if err := r.Path(dir, slog.New(slog.DiscardHandler), n); err != nil || !strings.Contains(n.lines[0], "make a snapshot") {
		t.Errorf("%v, %v", n.lines, err)
	}

	// A block that is damaged is refused.
	chunks := filepath.Join(dir, id.String(), "chunks", "000001")
	b, err := os.ReadFile(chunks)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-6] ^= 0xff
	if err := os.WriteFile(chunks, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var bad *InputError
	if err := r.Path(dir, slog.New(slog.DiscardHandler), &notes{}); !errors.As(err, &bad) || !strings.Contains(err.Error(), id.String()) {
		t.Errorf("a damaged block: %v", err)
	}
	if err := r.Path(t.TempDir(), slog.New(slog.DiscardHandler), &notes{}); err == nil || !strings.Contains(err.Error(), "no blocks") {
		t.Errorf("no blocks: %v", err)
	}
	if err := r.Path(filepath.Join(dir, "none"), slog.New(slog.DiscardHandler), &notes{}); !errors.As(err, &bad) {
		t.Errorf("nothing: %v", err)
	}
}

// FuzzRead: no text makes a reader fail, or give a sample without a name.
func FuzzRead(f *testing.F) {
	f.Add(CSV, "s", "time,a\n1,2\n")
	f.Add(CSV, "", "time,metric,value,x\n1970-01-01T00:00:10Z,2,3,4\n")
	f.Add(OpenMetrics, "", "# TYPE a counter\na_total 1 1\n# EOF\n")
	f.Add(Influx, "auto", "a,b=c v=1 1\n")
	f.Fuzz(func(t *testing.T, format, precision, text string) {
		r, err := New(format, precision)
		if err != nil || format == TSDB {
			return
		}
		if err := r.Read(strings.NewReader(text), named{t}); err != nil && !errors.As(err, new(*InputError)) && format != Influx {
			t.Error(err)
		}
	})
}

type named struct{ t *testing.T }

func (n named) Add(p recorder.Past) error {
	if p.Labels.Get("__name__") == "" {
		n.t.Errorf("%s has no name", p.Labels)
	}
	return nil
}

func (named) Refuse(int, string, string)         {}
func (named) Describe(string, recorder.Metadata) {}
