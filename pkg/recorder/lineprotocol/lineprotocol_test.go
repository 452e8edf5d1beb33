package lineprotocol

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prometheus/common/model"
)

// say writes what was read, one line a point.
func say(b string, precision time.Duration) string {
	var lines []string
	errs := Decode([]byte(b), precision, func(p Point) {
		var line []string
		for _, f := range p.Fields {
			if lbls, err := p.Labels(f.Name); err == nil {
				line = append(line, fmt.Sprintf("%s=%v", lbls, f.Value))
			} else {
				line = append(line, err.Error())
			}
		}
		for _, text := range p.Texts {
			line = append(line, fmt.Sprintf("%s~%q", text.Name, text.Value))
		}
		if p.Timed {
			line = append(line, fmt.Sprintf("@%d", p.T))
		}
		lines = append(lines, fmt.Sprintf("%d: %s", p.Line, strings.Join(line, " ")))
	})
	for _, err := range errs {
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n")
}

func TestDecode(t *testing.T) {
	for _, test := range []struct {
		name, text, want string
	}{
		{"nothing", "", ""},
		{"only comments", "# a=\"\n\n  \n#", ""},
		{"one", "cpu,host=a usage=1.5 1800000000123456789", `1: {__name__="cpu_usage", host="a"}=1.5 @1800000000123`},
		{"several fields of all kinds", "m a=1i,b=2u,c=t,d=false,e=-1e3", `1: {__name__="m_a"}=1 {__name__="m_b"}=2 {__name__="m_c"}=1 {__name__="m_d"}=0 {__name__="m_e"}=-1000`},
		{"value", "temperature value=1,raw=2", `1: {__name__="temperature"}=1 {__name__="temperature_raw"}=2`},
		{"strings", `m a="x",b=1,c="y"`, `1: {__name__="m_b"}=1 a~"x" c~"y"`},
		{"only strings", `m a="x"`, `1: a~"x"`},
		{"odd letters", `a-b.é,__name__=x,ключ=y,1st=z a\ b=1,温=2,1=3`, `1: {_1st="z", __name__="a_b_é_a_b", _name__="x", "ключ"="y"}=1 {_1st="z", __name__="a_b_é_温", _name__="x", "ключ"="y"}=2 {_1st="z", __name__="a_b_é_1", _name__="x", "ключ"="y"}=3`},
		{"nothing usable", `° %=1`, "1: no letter and no digit in the name"},
		{"a tag twice", `m,a=1,a=2 v=1`, `1: two tags, one name: "a" and "a"`},
		{"tags that fold together", `m,a-b=1,a_b=2 v=1`, `1: two tags, one name: "a-b" and "a_b"`},
		{"a tag without a name", `m,°=1 v=1`, `1: no letter and no digit in the name: "°"`},
		{"ends of lines", "m a=1\r\n\r\nm a=2\n m a=3", "1: {__name__=\"m_a\"}=1\n3: {__name__=\"m_a\"}=2\n4: {__name__=\"m_a\"}=3"},
		{"bad lines", "m a=1\nm a=\nm\nm a=2\nm,x a=1\nm a=NaN\nm a=3", `1: {__name__="m_a"}=1
4: {__name__="m_a"}=2
7: {__name__="m_a"}=3
line 2: field value has unrecognized type: m a=
line 3: expected tag key or field but found '\n' instead: m
line 5: expected '=' after tag key "x", but got ' ' instead: m,x a=1
line 6: field value has unrecognized type: m a=NaN`},
		{"string over two lines", "m s=\"a\nb\",v=1\nm v=2", "1: {__name__=\"m_v\"}=1 s~\"a\\nb\"\n3: {__name__=\"m_v\"}=2"},
		{"string with quotation marks", `m s="a\"b\\",v=1`, `1: {__name__="m_v"}=1 s~"a\"b\\"`},
		{"quotation marks elsewhere", "m\"=\",t=\" v=1\nm v=2", "1: {__name__=\"m____v\", t=\"\\\"\"}=1\n2: {__name__=\"m_v\"}=2"},
		{"string without end", "m v=1\nm s=\"a\nm v=2\nm v=3", `1: {__name__="m_v"}=1
3: {__name__="m_v"}=2
4: {__name__="m_v"}=3
line 2: expected closing quote for string field value, found end of input: m s="a`},
		{"string without end, and others", "m s=\"a\nm v=2,s=\"b\"\nm v=3", `2: {__name__="m_v"}=2 s~"b"
3: {__name__="m_v"}=3
line 1: expected closing quote for string field value, found end of input: m s="a`},
		{"not UTF-8", "m\xff v=1\nm v=2", "2: {__name__=\"m_v\"}=2\nline 1: invalid utf-8 sequence in token \"m\\xff\": m\uFFFD v=1"},
		{"huge numbers", "m v=1e400\nm v=9223372036854775808i\nm v=18446744073709551615u", `3: {__name__="m_v"}=1.8446744073709552e+19
line 1: cannot parse value for field key "v": line-protocol value out of range: m v=1e400
line 2: cannot parse value for field key "v": line-protocol value out of range: m v=9223372036854775808i`},
		{"time stamps", "m v=1 -1\nm v=1 9223372036854775808\nm v=1 x\nm v=1 1 1\nm v=1 0", `5: {__name__="m_v"}=1 @0
line 1: the time stamp -1 is not between 1970 and 2262: is its precision 1ns?: m v=1 -1
line 2: the time stamp 9223372036854775808 is not between 1970 and 2262: is its precision 1ns?: m v=1 9223372036854775808
line 3: invalid timestamp ("x"): m v=1 x
line 4: unexpected text after timestamp ("1"): m v=1 1 1`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := say(test.text, time.Nanosecond); got != test.want {
				t.Errorf("%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestPrecision(t *testing.T) {
	for _, test := range []struct {
		precision time.Duration
		stamp     string
		want      string
	}{
		{time.Second, "1800000000", "@1800000000000"},
		{time.Millisecond, "1800000000123", "@1800000000123"},
		{time.Microsecond, "1800000000123999", "@1800000000123"},
		{time.Nanosecond, "1800000000123999999", "@1800000000123"},
		{time.Second, "1800000000123", "line 1: the time stamp 1800000000123 is not between 1970 and 2262: is its precision 1s?"},
		{0, "1800000000", "@1800000000000"},
		{0, "1800000000123", "@1800000000123"},
		{0, "1800000000123456", "@1800000000123"},
		{0, "1800000000123456789", "@1800000000123"},
	} {
		if got := say("m v=1 "+test.stamp, test.precision); !strings.Contains(got, test.want) {
			t.Errorf("%s in %v: %s", test.stamp, test.precision, got)
		}
	}
}

// However bad the text is, what it takes to say so is bounded.
func TestManyBadLines(t *testing.T) {
	errs := Decode([]byte(strings.Repeat("x\n", 1000)+"m v=1\n"), 0, func(Point) {})
	if len(errs) != maxErrors+1 || errs[maxErrors].Lines != 900 {
		t.Errorf("%d errors, the last %v", len(errs), errs[len(errs)-1])
	}
	errs = Decode(bytes.Repeat([]byte("x"), 1<<20), 0, func(Point) {})
	if len(errs) != 1 || len(errs[0].Text) > maxText+3 {
		t.Errorf("%d errors", len(errs))
	}
	// Each line may begin a string or end one: no line may be read again and
	// again.
	begin := time.Now()
	Decode(bytes.Repeat([]byte("\" w=\"\n"), 1<<20/6), 0, func(Point) {})
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("a megabyte took %v", took)
	}
}

// FuzzDecode: every line is either a point or an error, whatever is around it,
// and names are valid.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"cpu,host=a usage=1.5 1800000000123456789\n", "m s=\"a\nb\",v=1\nm v=2", "m s=\"a\nm v=2\nm s=\"b", "# =\"\n\r\nm v=t\r\n",
		"m\\ \\,x,a\\=b=\\ c v=1i,w=2u -5", "\" w=\"\n\" w=\"\n", "\x00\n\xff v=1", "m v=\"\\\"\\\\\n",
	} {
		f.Add([]byte(seed), int64(0))
		f.Add([]byte(seed), int64(time.Millisecond))
	}
	f.Fuzz(func(t *testing.T, b []byte, precision int64) {
		if precision < 0 || precision > int64(time.Second) {
			return
		}
		last, points := 0, 0
		read := func(p Point) {
			if p.Line <= last {
				t.Fatalf("line %d after line %d", p.Line, last)
			}
			last = p.Line
			points++
			for _, field := range p.Fields {
				if lbls, err := p.Labels(field.Name); err == nil {
					if valid, bad := lbls.IsValid(model.UTF8Validation), lbls.String(); !valid {
						t.Fatal(bad)
					}
				}
			}
		}
		before := bytes.Clone(b)
		bad := 0
		for _, err := range Decode(b, time.Duration(precision), read) {
			bad += err.Lines
			if err.Line > bytes.Count(b, []byte("\n"))+1 {
				t.Fatalf("%v", err)
			}
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the text was changed")
		}
		// A good line before and after changes nothing.
		whole, first := points, bad
		last, points, bad = 0, 0, 0
		for _, err := range Decode(append([]byte("good v=1\n"), b...), time.Duration(precision), read) {
			bad += err.Lines
		}
		if points != whole+1 || bad != first {
			t.Fatalf("%d points and %d bad lines, alone %d and %d", points, bad, whole, first)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var text []byte
	for i := range 1000 {
		text = fmt.Appendf(text, "cpu,cpu=cpu%d,host=server usage_idle=%d.5,usage_user=1.25,usage_system=2i 1800000000%09d\n", i%8, i, i)
	}
	b.SetBytes(int64(len(text)))
	fields := 0
	for b.Loop() {
		if errs := Decode(text, time.Nanosecond, func(p Point) { fields += len(p.Fields) }); errs != nil {
			b.Fatal(errs)
		}
	}
	b.ReportMetric(float64(fields)/b.Elapsed().Seconds(), "fields/s")
}

// A stream is read as a text is, however it is cut, with little of it in memory.
func TestRead(t *testing.T) {
	var b strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&b, "m,i=%d v=1,s=\"a\nb\" %d\n", i%10, 1_700_000_000+i)
		if i%50_000 == 0 {
			b.WriteString("bad\n")
		}
	}
	text := b.String()
	type found struct {
		line int
		t    int64
	}
	var want, got []found
	wantErrs := Decode([]byte(text), time.Second, func(p Point) { want = append(want, found{p.Line, p.T}) })
	errs, err := Read(iotest.HalfReader(strings.NewReader(text)), time.Second, func(p Point) error {
		got = append(got, found{p.Line, p.T})
		return nil
	})
	if err != nil || len(got) != 300_000 || !slices.Equal(got, want) || len(errs) != 6 || fmt.Sprint(errs) != fmt.Sprint(wantErrs) {
		t.Errorf("%d points, %v, %v; want %d points, %v", len(got), errs, err, len(want), wantErrs)
	}

	long := "a v=1 1\nb,x=" + strings.Repeat("x", 3*buffer) + " v=1 2\nc v=1 3\n"
	got = nil
	errs, err = Read(strings.NewReader(long), time.Second, func(p Point) error {
		got = append(got, found{p.Line, p.T})
		return nil
	})
	if err != nil || !slices.Equal(got, []found{{1, 1000}, {3, 3000}}) || len(errs) != 1 || errs[0].Line != 2 {
		t.Errorf("a long line: %v, %v, %v", got, errs, err)
	}

	open := "a v=1 1\nb s=\"open,v=1 2\n" + strings.Repeat("c v=1 3\n", 600_000)
	n := 0
	errs, err = Read(strings.NewReader(open), time.Second, func(Point) error { n++; return nil })
	if err != nil || n != 600_001 || len(errs) != 1 || errs[0].Line != 2 {
		t.Errorf("an open quotation mark: %d, %v, %v", n, errs, err)
	}

	stop := errors.New("stop")
	if _, err := Read(strings.NewReader(text), time.Second, func(Point) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if _, err := Read(iotest.ErrReader(stop), time.Second, func(Point) error { return nil }); !errors.Is(err, stop) {
		t.Error(err)
	}
}
