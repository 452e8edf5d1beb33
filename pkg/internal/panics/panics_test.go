package panics

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestFullDisk(t *testing.T) {
	err := Catch("test", func() error { panic(fmt.Errorf("preallocate: %w", syscall.ENOSPC)) })
	if want := "preallocate: no space left on device"; err.Error() != want {
		t.Errorf("the error is %q, not %q: nobody should report that", err, want)
	}
}

func TestCatch(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		name   string
		do     func() error
		want   string
		is     error
		panics bool
	}{
		{name: "nothing", do: func() error { return nil }},
		{name: "an error", do: func() error { return cause }, want: "cause", is: cause},
		{name: "a text", do: func() error { panic("text") }, want: "text", panics: true},
		{name: "an error that panics", do: func() error { panic(cause) }, want: "cause", is: cause, panics: true},
		{name: "a nil map", do: func() error { write(nil); return nil }, want: "nil map", panics: true},
		{name: "nil", do: func() error { panic(nil) }, want: "nil", panics: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := testutil.ToFloat64(caught.WithLabelValues("test"))
			err := Catch("test", c.do)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("the error is %v", err)
			}
			n := testutil.ToFloat64(caught.WithLabelValues("test")) - before
			attrs := Attrs(fmt.Errorf("wrapped: %w", err))
			if got := errors.As(err, new(*Error)); got != c.panics || (n == 1) != c.panics || (attrs != nil) != c.panics {
				t.Errorf("%T, counted %v times, logged with %v", err, n, attrs)
			}
			if c.panics && !strings.Contains(attrs[1].(string), "panics_test.go") {
				t.Errorf("the log has no stack: %s", attrs)
			}
		})
	}
}

// A panic of one goroutine ends the others of its group, and is that of whoever
// waits for them, with the stack of where it was.
func TestGroup(t *testing.T) {
	before := testutil.ToFloat64(caught.WithLabelValues("test"))
	run := func(own, callback func()) error {
		return Catch("test", func() error {
			g, ctx := NewGroup(t.Context())
			g.Go(func() { <-ctx.Done() })
			g.Go(own)
			called := make(chan struct{})
			go func() { // as a library does
				defer close(called)
				g.Do(callback)
			}()
			<-called
			g.Wait()
			return ctx.Err()
		})
	}
	nothing := func() {}
	faulty := func() { panic("fault") }
	for name, err := range map[string]error{"own": run(faulty, nothing), "a callback": run(nothing, faulty), "both": run(faulty, faulty)} {
		if err == nil || !strings.Contains(err.Error(), "fault") || !strings.Contains(fmt.Sprint(Attrs(err)...), "panics_test.go") {
			t.Errorf("%s: %v, logged with %v", name, err, Attrs(err))
		}
	}
	if n := testutil.ToFloat64(caught.WithLabelValues("test")) - before; n != 3 {
		t.Errorf("3 panics were counted as %v", n)
	}
	g, ctx := NewGroup(t.Context())
	g.Go(nothing)
	g.Wait() // does not panic
	if ctx.Err() == nil {
		t.Error("the context goes on")
	}
}

func write(m map[string]int) { m["a"] = 1 }
