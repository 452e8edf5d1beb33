// Command build builds every program that the tests start, so that they find them
// in Go's build cache.
package main

import (
	"fmt"
	"os"

	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

func main() {
	for _, p := range []*programs.Program{programs.Plugin, programs.MetricsAPI, programs.Prometheus} {
		binary, err := p.Build()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(binary)
	}
}
