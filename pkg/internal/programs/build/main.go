// Command build builds the programs that the tests start, so that they find them
// in Go's build cache, and prints the paths of the binaries. It builds those that
// its arguments name, or all.
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

var all = map[string]*programs.Program{
	"metrics-api": programs.MetricsAPI,
	"plugin":      programs.Plugin,
	"prometheus":  programs.Prometheus,
}

func main() {
	names := os.Args[1:]
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(all))
	}
	for _, name := range names {
		p, ok := all[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "there is no program %s\n", name)
			os.Exit(1)
		}
		binary, err := p.Build()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(binary)
	}
}
