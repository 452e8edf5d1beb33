// Command build builds the programs that tests start, so that Go's build cache has
// them, and prints the paths of the binaries. Its arguments name programs; without
// any it builds all.
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
