package limits

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func refused(t *testing.T, name string, err error, limit Limit) {
	t.Helper()
	var e *Error
	if limit == (Limit{}) {
		if err != nil {
			t.Errorf("%s: got %v", name, err)
		}
		return
	}
	if !errors.As(err, &e) || e.Limit != limit {
		t.Errorf("%s: got %v, not a refusal by %q", name, err, limit.Name)
	}
}

func TestPromQL(t *testing.T) {
	many := strings.Repeat
	for _, tc := range []struct {
		name, expr string
		limit      Limit
	}{
		{"a plain one", `sum by (a) (rate(x{a="b"}[5m])) / 2`, Limit{}},
		{"as deep as is allowed", many("(", 200) + "x" + many(")", 200), Limit{}},
		{"one deeper", many("(", 201) + "x" + many(")", 201), Nesting},
		{"brackets that are never closed", many("(", 60_000), Nesting},
		{"functions", many("abs(", 300) + "x" + many(")", 300), Nesting},
		{"braces", many("{", 300), Nesting},
		{"brackets of all kinds", many("([{", 100), Nesting},
		{"subqueries of subqueries", "x" + many("[1m:1m]", 3000), Operators},
		{"brackets in a string", `x{a="` + many("(", 1000) + `"}`, Limit{}},
		{"in a string with quotes in it", `x{a="\"` + many("(", 1000) + `"}`, Limit{}},
		{"in a string of another kind", "x{a='\"" + many("(", 1000) + "'}", Limit{}},
		{"in a raw string", "x{a=`\\" + many("(", 1000) + "`}", Limit{}},
		{"after a raw string that ends with a backslash", "x{a=`\\`} + " + many("(", 1000), Nesting},
		{"after a string", `x{a="b\\"} + ` + many("(", 1000), Nesting},
		{"in a comment", "x # " + many("(", 1000) + "\n + 1", Limit{}},
		{"after a comment", "x # \"\n + " + many("(", 1000), Nesting},
		{"side by side", many("(x) + ", 400) + "x", Limit{}},
		{"matchers, which are no operators", many(`x{a="b",c!="d",e!~"f"} + `, 900) + "x", Limit{}},
		{"as many matchers as are allowed", "x{" + many(`a!~"b",`, 100) + "} + " + many(`x{a!="b",c=~"d"} + `, 200) + "x", Limit{}},
		{"one more", "x{" + many(`a="b",`, 101) + "}", Matchers},
		{"more of other kinds", "x{" + many(`a!="b",`, 51) + many(`a!~"b",`, 50) + "}", Matchers},
		{"signs in the texts of matchers", `x{a="` + many("=!", 200) + `"}`, Limit{}},
		{"signs after matchers", `x{a="b"}` + many(" - x", 2000), Operators},
		{"signs", many("-", 2000) + "x", Operators},
		{"signs with spaces", many("- ", 2000) + "x", Operators},
		{"a sum", many("a+", 2000) + "a", Operators},
		{"words", many("a Or ", 2000) + "a", Operators},
		{"names that begin with words", many("offset_a, ", 2000), Limit{}},
		{"offsets", "x" + many(" offset 1m", 2000), Operators},
		{"a text that is too long", many("x", 64<<10+1), Text},
		{"a list of plain texts", `x{a=~"` + many(`a\\.b|`, 10_000) + `c"}`, Limit{}},
		{"a regular expression that makes a large program", `x{a=~"` + many(".{1000}", 6) + `"}`, Patterns},
		{"one that is written otherwise", `x{a=~"` + many(`\x2e{1000}`, 6) + `"}`, Patterns},
		{"several", many(`x{a!~'(.*a){400}'} + `, 10) + "x", Patterns},
		{"a text like one", `x{a="` + many(".{1000}", 6) + `"}`, Limit{}},
		{"a string that is never closed", `"` + many(`\`, 1001), Limit{}},
	} {
		refused(t, tc.name, PromQL(tc.expr), tc.limit)
	}
}

func TestJSON(t *testing.T) {
	many := strings.Repeat
	for _, tc := range []struct {
		name, text string
		limit      Limit
	}{
		{"plain", `{"a":[1,"x",{"b":null}]}`, Limit{}},
		{"deep", many("[", 201), Nesting},
		{"as deep as is allowed", many("[", 200) + many("]", 200), Limit{}},
		{"brackets in a text", `"` + many(`[\"`, 1000) + `"`, Limit{}},
		{"brackets after a text", `"\\"` + many("[", 1000), Nesting},
		{"a long text", `"` + many("x", 64<<10+1) + `"`, Token},
		{"a long number", many("1", 64<<10+1), Token},
		{"a long word", "[" + many("tru", 64<<10), Token},
		{"a long gap", "[" + many(" \n", 32<<10+1), Token},
		{"gaps", many("["+many(" ", 1000)+`"x"`+many("\t", 1000)+",", 190), Limit{}},
		{"many values", "[" + many("0,", 5_000_001) + "0]", Elements},
		{"many fields", "{" + many(`"a":0,`, 5_000_001) + `"a":0}`, Elements},
		{"commas in a text", "[" + many(`"`+many(",", 60_000)+`",`, 90) + "0]", Limit{}},
		{"long, but of many", "[" + many(`"xxxx", 1234 ,`, 64<<10) + "1]", Limit{}},
	} {
		readers := []io.Reader{strings.NewReader(tc.text)}
		if len(tc.text) < 1<<20 { // byte by byte the counts of longer ones take long
			readers = append(readers, iotest.OneByteReader(strings.NewReader(tc.text)))
		}
		for _, r := range readers {
			b, err := io.ReadAll(JSON(r))
			refused(t, tc.name, err, tc.limit)
			if err == nil && string(b) != tc.text {
				t.Errorf("%s: it is changed", tc.name)
			}
		}
	}
	var v any
	refused(t, "through a decoder", json.NewDecoder(JSON(strings.NewReader(many("[", 1000)))).Decode(&v), Nesting)
}

func TestEvaluationsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		began := time.Now()
		for range 2 * Evaluations.Most {
			all.Go(func() {
				done, err := Evaluate(t.Context(), false)
				if err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				done()
				done() // twice is once
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := Evaluate(ctx, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		all.Wait()
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAnswers(t *testing.T) {
	fill := func(ctx context.Context, rows, series int) error {
		a := NewAnswer(ctx, rows)
		for range series {
			if err := a.Add(0); err != nil {
				return err
			}
		}
		return nil
	}
	refused(t, "as much as is allowed", fill(t.Context(), 1000, 1000), Limit{})
	refused(t, "too many series", fill(t.Context(), 1, 1001), Series)
	// A panel over a day, in steps of a minute, has up to 1,536 rows.
	refused(t, "as many series as are allowed, over a day", fill(t.Context(), 1536, 1000), Limit{})
	refused(t, "too many cells", fill(t.Context(), 50_000, 41), Cells)

	one, end := Begin(t.Context())
	refused(t, "one answer of many to a request", fill(one, 1500, 1000), Limit{})
	refused(t, "too many to one request", fill(one, 1500, 1000), Request)
	end()

	// Parts of a request count for it until they end.
	one, end = Begin(t.Context())
	part, endPart := Begin(one)
	refused(t, "a part", fill(part, 1500, 1000), Limit{})
	refused(t, "too many beside it", fill(one, 1500, 1000), Request)
	endPart()
	endPart() // twice is once
	refused(t, "what goes on after the end of a part", fill(part, 1500, 1000), Limit{})
	part, endPart = Begin(one)
	refused(t, "another part instead", fill(part, 500, 1000), Limit{})
	end()
	endPart()
	refused(t, "a part of what has ended", fill(part, 1500, 1000), Limit{})
	if n := inFlight.Load(); n != 0 {
		t.Errorf("%d bytes are not given back", n)
	}

	// The answers of the process share what there is.
	one, end = Begin(t.Context())
	refused(t, "the first", fill(one, 1000, 1000), Limit{})
	two, endTwo := Begin(t.Context())
	refused(t, "the second", fill(two, 1000, 1000), Limit{})
	three, endThree := Begin(t.Context())
	refused(t, "the third", fill(three, 1000, 1000), Bytes)
	var smallOnes []func()
	for range 20 {
		few, endFew := Begin(t.Context())
		smallOnes = append(smallOnes, endFew)
		refused(t, "a small one meanwhile", fill(few, 10, 50), Limit{})
	}
	for _, end := range smallOnes {
		end()
	}
	endThree()
	end()
	three, endThree = Begin(t.Context())
	refused(t, "the third, later", fill(three, 1000, 1000), Limit{})
	endThree()
	endTwo()
	refused(t, "what goes on after its end", fill(two, 1000, 1000), Limit{})
	if n := inFlight.Load(); n != 0 {
		t.Errorf("%d bytes are never given back", n)
	}
}

// The documentation has each limit, with its value.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| ([^|]+) \| ([0-9,]+) ([^|]+) \|`)
	rows := row.FindAllStringSubmatch(string(doc), -1)
	if len(rows) != len(All) {
		t.Fatalf("there are %d rows for %d limits", len(rows), len(All))
	}
	for i, l := range All {
		n, _ := strconv.ParseInt(strings.ReplaceAll(rows[i][2], ",", ""), 10, 64)
		if got := rows[i]; got[1] != l.Name || n != l.Most || got[3] != l.Unit {
			t.Errorf("row %d is %q, not %s: %d %s", i, got[0], l.Name, l.Most, l.Unit)
		}
	}
}
