package main

import (
	"bytes"
	"runtime/pprof"
	"testing"
)

func TestMemStat(t *testing.T) {
	var b bytes.Buffer
	if err := pprof.Lookup("heap").WriteTo(&b, 1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"HeapAlloc", "Stack"} {
		if n := memStat(b.Bytes(), name); n < 10_000 {
			t.Errorf("%s is %v", name, n)
		}
	}
	if n := memStat(b.Bytes(), "None"); n != 0 {
		t.Errorf("what is not there is %v", n)
	}
}
