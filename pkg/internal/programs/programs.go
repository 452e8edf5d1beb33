// Package programs builds the programs that tests and benchmarks start: the plugin,
// the example of a metrics API, and Prometheus in exactly the version of the library
// that this module uses.
//
// Go's build cache keeps the binaries. The first build of Prometheus on a machine
// takes minutes, so it must not happen while a test waits for something: TestMain
// calls Main, which builds before any test begins.
package programs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// Program is a program that can be built from its module. It is safe for
// concurrent use.
type Program struct {
	name, module, dir, tags string // dir is relative to the module's

	mu     sync.Mutex
	binary string
}

const ours = "github.com/continuum-live/continuum-datasource"

// All programs. Each is built in the folder of its own module, so that the
// dependencies of Prometheus do not become dependencies of this module.
var (
	Plugin     = &Program{name: "the plugin", module: ours, dir: "./pkg", tags: "arrow_json_stdlib"}
	MetricsAPI = &Program{name: "the example of a metrics API", module: ours, dir: "./examples/metrics-api", tags: "arrow_json_stdlib"}
	// EmptyPlugin only has streams that send one row a second.
	EmptyPlugin = &Program{name: "the empty plugin", module: ours, dir: "./pkg/bench/empty", tags: "arrow_json_stdlib"}
	Prometheus  = &Program{name: "Prometheus", module: "github.com/prometheus/prometheus", dir: "./cmd/prometheus", tags: "remove_all_sd"}
)

// Main builds the programs that the tests of a package start, and then runs the
// tests. It returns the exit code for TestMain.
func Main(m *testing.M, start ...*Program) int {
	for _, p := range start {
		if _, err := p.Build(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// Build builds the program, unless the cache has it, and returns the path of its
// binary.
func (p *Program) Build() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.binary != "" {
		return p.binary, nil
	}
	dir, err := output("", "list", "-m", "-f", "{{.Dir}}", p.module)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", p.name, err)
	}
	// The result of go run stays in the cache, and -exec=echo prints its path. The
	// first call prints a temporary path, so a second one is needed.
	for range 2 {
		binary, err := output(dir, "run", "-buildvcs=false", "-tags="+p.tags, "-exec=echo", p.dir)
		if err != nil {
			return "", fmt.Errorf("build %s: %w", p.name, err)
		}
		if _, err := os.Stat(binary); err == nil {
			p.binary = binary
			return binary, nil
		}
	}
	return "", errors.New("go run has not kept " + p.name + " in the build cache")
}

// Path returns the path of the binary that Main has built.
func (p *Program) Path(t testing.TB) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.binary == "" {
		t.Fatalf("%s is not built: name it in programs.Main, called by TestMain, so that no test waits for the build", p.name)
	}
	return p.binary
}

// output returns what the go command prints. If dir is set, it runs there, without
// the environment's settings for this module.
func output(dir string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	if dir != "" {
		cmd.Env = append(os.Environ(), "PWD="+dir, "GOFLAGS=", "GOWORK=off")
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%v: %w: %s", cmd, err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}
