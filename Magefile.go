//go:build mage

// Package main holds the build targets. `go tool mage -l` lists them.
package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/build"
	"github.com/magefile/mage/mg"
	"github.com/magefile/mage/sh"
	"github.com/magefile/mage/target"

	// The SDK's own targets, such as sdk:build:linux.
	// mage:import sdk
	_ "github.com/grafana/grafana-plugin-sdk-go/build"
)

const (
	pluginID   = "continuum-live-datasource"
	executable = "gpx_continuum"

	// Run by version. As a tool in go.mod it would add its 200 dependencies there.
	golangci = "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0"

	// Tests talk to real servers, and races in these show on a busy machine. So a
	// test that fails is run once more, and the report names it. More than three
	// failures are no accident: then nothing is run again.
	goTest = "go run gotest.tools/gotestsum@v1.13.0 --format pkgname --rerun-fails=1 --rerun-fails-max-failures=3 --packages=./... -- -timeout=20m "
)

// race are the flags of the race detector. It slows code five to ten times, and without
// them the tests spend most of their time in the libraries below: PromQL, labels, chunks
// and compression. These calculate; goroutines meet elsewhere, most of all in the rest of
// the TSDB, which it watches like all else. go test -race alone watches these, too.
var race = func() string {
	flags := "-race"
	const prometheus = "github.com/prometheus/prometheus/"
	for _, packages := range []string{prometheus + "promql/...", prometheus + "model/...", prometheus + "util/...", prometheus + "tsdb/chunkenc",
		prometheus + "tsdb/encoding", prometheus + "tsdb/record", "github.com/klauspost/compress/..."} {
		flags += " -gcflags=" + packages + "=-race=false"
	}
	return flags
}()

// platform is the system and processor of an executable, which its name ends
// with.
type platform struct{ os, arch string }

func (p platform) String() string {
	if p.os == "windows" {
		return p.os + "_" + p.arch + ".exe"
	}
	return p.os + "_" + p.arch
}

var (
	// platforms are those of the SDK's BuildAll.
	platforms = []platform{{"linux", "amd64"}, {"linux", "arm"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}}
	// tested are those that Test builds for: one of each system and one of 32 bits
	// is enough to find what does not compile, in half the time.
	tested = []platform{{"linux", "amd64"}, {"linux", "arm"}, {"darwin", "arm64"}, {"windows", "amd64"}}
)

// Every go command below, and those that tests start, gets the build tag that
// plugins are built with. A stamp of the git state is left out: making it fails
// in a clone that belongs to someone else, as clones in containers often do.
func init() {
	flags := os.Getenv("GOFLAGS") + " -tags=arrow_json_stdlib -buildvcs=false"
	if err := os.Setenv("GOFLAGS", strings.TrimSpace(flags)); err != nil {
		panic(err)
	}
}

// Test runs every check: linters, Go tests with the race detector, front end
// tests, builds for every system and the package made of them, and a minute of
// torture.
func Test(ctx context.Context) error {
	absent, err := missingServers()
	if err != nil {
		return err
	}
	fmt.Print(absent)
	// The tests wait a lot, for servers and for time to pass. All else is done
	// meanwhile: it keeps one core busy for about as long.
	err = sideBySide(ctx,
		func(ctx context.Context) error {
			// Everything is compiled before the first test begins, so that none waits for
			// a build. go list -export compiles; with an empty -f it prints nothing.
			return inTurn(ctx, "go run ./pkg/internal/programs/build", "go list "+race+` -test -deps -export -f {{""}} ./...`, goTest+race)
		},
		func(ctx context.Context) error {
			if err := NodeModules(ctx); err != nil {
				return err
			}
			// The front end comes first: then the linter of Go finds in the cache what the
			// other side has compiled.
			if err := inTurn(ctx, "npm run typecheck", "npm run lint", "npm run test:ci", "go run "+golangci+" run ./..."); err != nil {
				return err
			}
			return pack(ctx, tested)
		})
	if err != nil {
		return err
	}
	// Alone, and last, so that it is seen what of it was left out. The same faults each
	// time, unless others are asked for: what fails here fails again.
	if os.Getenv("TORTURE_SEED") == "" {
		if err := os.Setenv("TORTURE_SEED", "31"); err != nil {
			return err
		}
	}
	if err := Torture(ctx); err != nil {
		return err
	}
	fmt.Print(absent) // again, where it is seen
	return nil
}

// missingServers says which servers that tests talk to are not installed, and so
// what is not tested. In continuous integration, where CI is set, a missing one
// is an error.
func missingServers() (string, error) {
	var lines, packages []string
	for _, server := range []struct{ program, elsewhere, pkg, tests string }{
		{"mosquitto", "/usr/sbin/mosquitto", "mosquitto", "the MQTT input with mosquitto"},
		{"victoria-metrics", "", "victoria-metrics", "the source prometheus with VictoriaMetrics"},
	} {
		if _, err := exec.LookPath(server.program); err == nil {
			continue
		}
		if _, err := os.Stat(server.elsewhere); err == nil {
			continue
		}
		lines = append(lines, fmt.Sprintf("== NOT TESTED: %s, because %s is not installed", server.tests, server.program))
		packages = append(packages, server.pkg)
	}
	if len(packages) == 0 {
		return "", nil
	}
	lines = append(lines, "   To test it: apt-get install "+strings.Join(packages, " ")+", or bash .ci/run", "")
	text := strings.Join(lines, "\n")
	if os.Getenv("CI") != "" {
		return "", errors.New(text)
	}
	return text, nil
}

// Lint runs the linters of back end and front end alone.
func Lint(ctx context.Context) error {
	if err := NodeModules(ctx); err != nil {
		return err
	}
	return inTurn(ctx, "go run "+golangci+" run ./...", "npm run typecheck", "npm run lint")
}

// Bench measures the plugin beside its peers and writes docs/performance.md, then
// runs the benchmarks of the front end.
func Bench(ctx context.Context) error {
	if err := sh.RunV("go", "run", "./pkg/bench"); err != nil {
		return err
	}
	if err := NodeModules(ctx); err != nil {
		return err
	}
	return inTurn(ctx, "npm run bench --if-present")
}

// Demo shows history running into a live tail in the terminal. It needs Go
// alone. DEMO_SECONDS ends it after so many seconds; DEMO_MQTT and DEMO_TOPIC
// follow a broker instead of this machine. What it records is kept in build/demo.
func Demo() error {
	if err := (build.Build{}).Backend(); err != nil {
		return err
	}
	dir, err := filepath.Abs("build/demo")
	if err != nil {
		return err
	}
	return sh.RunWithV(map[string]string{"GF_PLUGIN_RECORDER_DIR": dir}, "go", "run", "./pkg/demo", executablePath())
}

// Torture records with the real binary while it is killed, its disk is filled,
// its servers end and its clock is stepped, and checks that nothing was lost.
// TORTURE_MINUTES is the length of the run (1), TORTURE_SEED decides which
// faults come when (any). Filling a disk needs the right to mount one.
func Torture(ctx context.Context) error {
	command, err := buildTorture(ctx)
	if err != nil {
		return err
	}
	return sh.RunV(command[0], command[1:]...)
}

// buildTorture builds what Torture runs. The plugin in it is not the shipped one:
// its clock can be stepped.
func buildTorture(ctx context.Context) (command []string, err error) {
	program, plugin := filepath.Join("build", "torture", "torture"), filepath.Join("build", "torture", executable)
	return []string{program, plugin}, inTurn(ctx, "go build -o "+program+" ./pkg/torture", "go build -tags=arrow_json_stdlib,torture -o "+plugin+" ./pkg")
}

// NodeModules installs the front end's dependencies, if package-lock.json is
// newer than what is installed.
func NodeModules(ctx context.Context) error {
	stale, err := target.Path("node_modules/.package-lock.json", "package-lock.json")
	if err != nil || !stale {
		return err
	}
	return inTurn(ctx, "npm ci --no-audit --no-fund")
}

// FrontEnd builds the front end into dist.
func FrontEnd(ctx context.Context) error {
	if err := NodeModules(ctx); err != nil {
		return err
	}
	return inTurn(ctx, "npm run build")
}

// Package builds everything afresh, for every platform, and writes the zip that
// Grafana installs.
func Package(ctx context.Context) error { return pack(ctx, platforms) }

func pack(ctx context.Context, platforms []platform) error {
	// Nothing left over from earlier may be shipped.
	if err := os.RemoveAll("dist"); err != nil {
		return err
	}
	start := time.Now()
	err := sideBySide(ctx, FrontEnd, func(context.Context) error {
		for _, p := range platforms {
			if err := (build.Build{}).Custom(p.os, p.arch); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
		}
		return build.Build{}.GenerateManifestFile()
	})
	if err != nil {
		return err
	}
	took := time.Since(start)

	var manifest struct{ Version string }
	if err := readJSON(os.DirFS("."), "package.json", &manifest); err != nil {
		return err
	}
	name := filepath.Join("build", pluginID+"-"+manifest.Version+".zip")
	if err := os.MkdirAll("build", 0o755); err != nil {
		return err
	}
	if err := writeZip(name); err != nil {
		return err
	}
	if err := checkZip(name, manifest.Version, platforms); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	sum := sha1.Sum(content)
	fmt.Printf("%s\n  sha1 %s\n", name, hex.EncodeToString(sum[:]))
	atOnce, onDemand, err := scriptSizes("dist")
	if err != nil {
		return err
	}
	fmt.Printf("== costs: build for %d platforms %.0f s, zip %.1f MB, a dashboard loads %.1f KB gzip (editors and settings %.1f KB more)\n",
		len(platforms), took.Seconds(), float64(len(content))/1e6, float64(atOnce)/1e3, float64(onDemand)/1e3)
	return nil
}

// scriptSizes returns how many bytes of the plugin's scripts, compressed with
// gzip, a browser loads with every dashboard, and how many when they are needed.
func scriptSizes(dist string) (atOnce, onDemand int64, err error) {
	err = filepath.WalkDir(dist, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".js" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(content); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		// Grafana loads module.js; webpack loads the others on demand.
		if filepath.Base(path) == "module.js" {
			atOnce += int64(b.Len())
		} else {
			onDemand += int64(b.Len())
		}
		return nil
	})
	return atOnce, onDemand, err
}

// writeZip packs dist under one root folder that is named by the plugin's id.
func writeZip(name string) (err error) {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := zip.NewWriter(file)
	err = filepath.WalkDir("dist", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		header, err := zip.FileInfoHeader(info)
		if err != nil {
			return err
		}
		inside, err := filepath.Rel("dist", path)
		if err != nil {
			return err
		}
		header.Name = pluginID + "/" + filepath.ToSlash(inside)
		header.Method = zip.Deflate
		header.SetMode(0o644)
		if strings.HasPrefix(entry.Name(), executable) {
			header.SetMode(0o755) // also when packed on Windows
		}
		out, err := w.CreateHeader(header)
		if err != nil {
			return err
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		_, err = io.Copy(out, in)
		return err
	})
	return errors.Join(err, w.Close())
}

// checkZip reads the zip as its users will, and says what is missing.
func checkZip(name, version string, platforms []platform) error {
	z, err := zip.OpenReader(name)
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }()
	modes := map[string]fs.FileMode{}
	for _, f := range z.File {
		inside, ok := strings.CutPrefix(f.Name, pluginID+"/")
		if !ok {
			return fmt.Errorf("%s is outside of the root folder %s", f.Name, pluginID)
		}
		modes[inside] = f.Mode()
	}
	var plugin struct {
		ID, Executable string
		Info           struct {
			Version     string
			Logos       map[string]string
			Screenshots []struct{ Path string }
		}
		Includes []struct{ Path string }
	}
	root, err := fs.Sub(z, pluginID)
	if err != nil {
		return err
	}
	if err := readJSON(root, "plugin.json", &plugin); err != nil {
		return err
	}
	if plugin.ID != pluginID || plugin.Executable != executable || plugin.Info.Version != version {
		return fmt.Errorf("plugin.json is of %s %s (%s), want %s %s (%s)",
			plugin.ID, plugin.Info.Version, plugin.Executable, pluginID, version, executable)
	}
	want := []string{"module.js", "README.md", "CHANGELOG.md", "LICENSE", "go_plugin_build_manifest"}
	for _, logo := range plugin.Info.Logos {
		want = append(want, logo)
	}
	for _, picture := range plugin.Info.Screenshots {
		want = append(want, picture.Path)
	}
	for _, dashboard := range plugin.Includes {
		want = append(want, dashboard.Path)
	}
	for _, platform := range platforms {
		binary := executable + "_" + platform.String()
		want = append(want, binary)
		if mode, ok := modes[binary]; ok && mode.Perm() != 0o755 {
			return fmt.Errorf("%s has the mode %v and cannot be started", binary, mode)
		}
	}
	for _, file := range want {
		if _, ok := modes[file]; !ok {
			return fmt.Errorf("%s is missing", file)
		}
	}
	return nil
}

// Run starts a Grafana that is installed on this machine, on loopback alone,
// with the plugin as it is in this folder. GRAFANA_HOME says where Grafana is,
// PORT where it listens (3000, or the next port that is free), GRAFANA_DATA where
// it keeps its data (a temporary folder). Ctrl-C ends it.
func Run(ctx context.Context) error {
	var address string
	if port := os.Getenv("PORT"); port != "" {
		address = net.JoinHostPort("127.0.0.1", port)
		if err := listensNot(address); err != nil {
			return fmt.Errorf("%w: set PORT to a port that is free", err)
		}
	} else {
		var err error
		if address, err = freeAddress(3000); err != nil {
			return err
		}
	}
	return withGrafana(ctx, address, func(ctx context.Context, _ []string) error {
		fmt.Printf("\n  Continuum is at http://%s/d/continuum-live\n", address)
		fmt.Print("  No login is needed: everyone on this machine is an admin. Ctrl-C ends it.\n\n")
		<-ctx.Done()
		return nil
	})
}

// withGrafana starts the servers that the provisioned data sources read and a
// Grafana that listens on address, and ends all of them after use has returned.
// The context of use ends earlier if Grafana ends or this process is told to
// stop. env has the addresses of the servers.
func withGrafana(ctx context.Context, address string, use func(ctx context.Context, env []string) error) error {
	home, binary, err := findGrafana()
	if err != nil {
		return err
	}
	mg.CtxDeps(ctx, build.Build.Backend, FrontEnd)

	data := os.Getenv("GRAFANA_DATA")
	if data == "" {
		if data, err = os.MkdirTemp("", "continuum-grafana-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(data) }()
	}
	if data, err = filepath.Abs(data); err != nil {
		return err
	}
	if err := linkPlugin(filepath.Join(data, "plugins")); err != nil {
		return err
	}
	settings, err := grafanaEnv(address, data)
	if err != nil {
		return err
	}

	ctx, stop := untilToldToStop(ctx)
	defer stop()
	examples, wait, err := startExamples(ctx)
	if err != nil {
		return err
	}
	defer wait()
	defer stop() // ends what wait waits for
	// A configuration file of our own: a custom.ini of this machine might name its
	// real database.
	config, err := filepath.Abs("provisioning/grafana.ini")
	if err != nil {
		return err
	}
	grafana := exec.CommandContext(ctx, binary, "server", "--homepath", home, "--config", config)
	grafana.Env = slices.Concat(os.Environ(), settings, examples)
	grafana.Stdout, grafana.Stderr = os.Stdout, os.Stderr
	// When Grafana is told to end, it ends its plugins too; if it were killed,
	// they would stay. It runs in our process group, so that Ctrl-C reaches it
	// even if this target is no longer there to pass it on.
	grafana.Cancel = func() error { return tellToEnd(grafana.Process) }
	grafana.WaitDelay = 30 * time.Second
	fmt.Println("Starting", binary)
	if err := grafana.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		err := grafana.Wait()
		if err != nil && ctx.Err() == nil { // nobody told it to
			err = fmt.Errorf("Grafana ended: %w", err)
		} else {
			err = nil
		}
		stop()
		ended <- err
	}()
	if answers(ctx, "http://"+address) {
		err = use(ctx, examples)
	}
	stop()
	return errors.Join(<-ended, err)
}

// E2E drives a browser through the plugin, from the settings of each kind of data
// source to a panel that is compared with a fresh query. It starts a Grafana as Run
// does; without GRAFANA_HOME it uses the one at GRAFANA_URL instead, if that is
// set. CHROMIUM is the path of the browser, by default an installed one.
func E2E(ctx context.Context) error { return inBrowser(ctx, "e2e") }

// Screenshots takes the pictures of the docs that e2e/screenshots.json lists. The
// Grafana and the browser are those of E2E.
func Screenshots(ctx context.Context) error { return inBrowser(ctx, "screenshots") }

// inBrowser runs one of the projects in e2e/playwright.config.ts.
func inBrowser(ctx context.Context, project string) error {
	elsewhere := os.Getenv("GRAFANA_URL") != "" && os.Getenv("GRAFANA_HOME") == ""
	if _, _, err := findGrafana(); err != nil && !elsewhere {
		return fmt.Errorf("%w, or set GRAFANA_URL to the address of one that has the plugin", err)
	}
	chromium, err := findChromium()
	if err != nil {
		return err
	}
	if err := NodeModules(ctx); err != nil {
		return err
	}
	playwright := func(ctx context.Context, env ...string) error {
		cmd := exec.CommandContext(ctx, "npx", "playwright", "test", "--config=e2e", "--project="+project)
		cmd.Env = slices.Concat(os.Environ(), env, []string{"CHROMIUM=" + chromium})
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Cancel = func() error { return tellToEnd(cmd.Process) }
		return cmd.Run()
	}
	if elsewhere {
		return playwright(ctx)
	}
	prometheus, err := sh.Output("go", "run", "./pkg/internal/programs/build", "prometheus")
	if err != nil {
		return err
	}
	address, err := freeAddress(13000)
	if err != nil {
		return err
	}
	return withGrafana(ctx, address, func(ctx context.Context, env []string) error {
		dir, err := os.MkdirTemp("", "continuum-prometheus-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		var running sync.WaitGroup
		defer running.Wait()
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		url, err := startPrometheus(ctx, &running, prometheus, dir)
		if err != nil {
			return err
		}
		return playwright(ctx, append(env, "GRAFANA_URL=http://"+address, "CONTINUUM_PROMETHEUS="+url)...)
	})
}

// findChromium returns the path of a browser that Playwright can drive.
func findChromium() (string, error) {
	if set := os.Getenv("CHROMIUM"); set != "" {
		path, err := exec.LookPath(set)
		if err != nil {
			return "", fmt.Errorf("CHROMIUM must be the path of a browser: %w", err)
		}
		return path, nil
	}
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "chrome",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
		`C:\Program Files\Google\Chrome\Application\chrome.exe`,
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium found: install one (apt-get install chromium), or set CHROMIUM to its path")
}

// startPrometheus starts a Prometheus that scrapes itself every second until ctx
// ends, and returns its address. It keeps its data in dir.
func startPrometheus(ctx context.Context, running *sync.WaitGroup, binary, dir string) (url string, err error) {
	address, err := freeAddress(19090)
	if err != nil {
		return "", err
	}
	config := filepath.Join(dir, "prometheus.yml")
	scrape := fmt.Sprintf("scrape_configs: [{job_name: prometheus, scrape_interval: 1s, static_configs: [{targets: [%q]}]}]", address)
	if err := os.WriteFile(config, []byte(scrape), 0o600); err != nil {
		return "", err
	}
	return "http://" + address, startProcess(ctx, running, binary,
		"--config.file="+config, "--storage.tsdb.path="+dir, "--web.listen-address="+address, "--log.level=error")
}

func tellToEnd(p *os.Process) error {
	if runtime.GOOS == "windows" {
		return p.Kill()
	}
	return p.Signal(syscall.SIGTERM)
}

// startExamples starts the servers that the provisioned data sources read. They
// run until ctx ends. It returns environment variables with their addresses,
// and a function that waits until they have ended.
func startExamples(ctx context.Context) (env []string, wait func(), err error) {
	var running sync.WaitGroup
	for _, example := range []struct {
		name, variable, scheme string
		port                   int
	}{
		{"plant", "CONTINUUM_MQTT", "tcp", 18830},
		{"metrics-api", "CONTINUUM_METRICS_API", "http", 18090},
	} {
		address, err := freeAddress(example.port)
		if err != nil {
			return nil, nil, err
		}
		binary := filepath.Join("build", "examples", example.name)
		if err := sh.Run("go", "build", "-o", binary, "./examples/"+example.name); err != nil {
			return nil, nil, err
		}
		if err := startProcess(ctx, &running, binary, "-listen", address); err != nil {
			return nil, nil, err
		}
		env = append(env, example.variable+"="+example.scheme+"://"+address)
	}
	return env, running.Wait, nil
}

// startProcess starts a program that ends with ctx. running waits for it.
func startProcess(ctx context.Context, running *sync.WaitGroup, binary string, args ...string) error {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return tellToEnd(cmd.Process) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	running.Go(func() {
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "%s ended: %v\n", filepath.Base(binary), err)
		}
	})
	return nil
}

// freeAddress returns the first address on loopback, from a port on, that nothing
// listens on.
func freeAddress(port int) (string, error) {
	var err error
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if err = listensNot(address); err == nil {
			return address, nil
		}
		port++
	}
	return "", err
}

// listensNot returns an error if something listens on the address.
func listensNot(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

// findGrafana returns the home folder and the executable of an installed Grafana.
func findGrafana() (home, binary string, err error) {
	homes := []string{
		"/usr/share/grafana",                      // Debian and RPM packages
		"/opt/homebrew/opt/grafana/share/grafana", // Homebrew
		"/usr/local/opt/grafana/share/grafana",    // Homebrew on Intel
		`C:\Program Files\GrafanaLabs\grafana`,    // Windows installer
	}
	if set := os.Getenv("GRAFANA_HOME"); set != "" {
		homes = []string{set}
	}
	for _, home := range homes {
		if home, err = filepath.Abs(home); err != nil {
			return "", "", err
		}
		if _, err := os.Stat(filepath.Join(home, "conf", "defaults.ini")); err != nil {
			continue
		}
		for _, bin := range []string{"bin", "../../bin"} { // the latter is Homebrew's
			if binary, err := exec.LookPath(filepath.Join(home, bin, "grafana")); err == nil {
				return home, binary, nil
			}
		}
	}
	return "", "", fmt.Errorf("no Grafana found in %s: install one (12.0 or newer), or set GRAFANA_HOME to the folder "+
		"that has its bin, conf and public, or use docker compose up --build", strings.Join(homes, ", "))
}

// linkPlugin makes a folder of plugins in which dist is the only one.
func linkPlugin(plugins string) error {
	dist, err := filepath.Abs("dist")
	if err != nil {
		return err
	}
	link := filepath.Join(plugins, pluginID)
	if err := os.RemoveAll(link); err != nil { // of an earlier run on the same data
		return err
	}
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return err
	}
	return os.Symlink(dist, link)
}

// grafanaEnv returns the settings of the Grafana that withGrafana starts.
func grafanaEnv(address, data string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	shared, err := os.Open("provisioning/grafana.env")
	if err != nil {
		return nil, err
	}
	defer func() { _ = shared.Close() }()
	var env []string
	lines := bufio.NewScanner(shared)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
			env = append(env, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	provisioning, err := filepath.Abs("provisioning")
	if err != nil {
		return nil, err
	}
	if os.Getenv("GF_LOG_LEVEL") == "" {
		env = append(env, "GF_LOG_LEVEL=error") // so that the address stays in sight
	}
	return append(env,
		"GF_SERVER_PROTOCOL=http",
		"GF_SERVER_HTTP_ADDR="+host,
		"GF_SERVER_HTTP_PORT="+port,
		"GF_SERVER_DOMAIN="+host,
		"GF_DATABASE_TYPE=sqlite3",
		"GF_LOG_MODE=console",
		"GF_PATHS_DATA="+data,
		"GF_PATHS_LOGS="+filepath.Join(data, "log"),
		"GF_PATHS_PLUGINS="+filepath.Join(data, "plugins"),
		"GF_PATHS_PROVISIONING="+provisioning,
	), nil
}

// answers waits until Grafana and the plugin in it answer. It returns false if
// the context ends before.
func answers(ctx context.Context, url string) bool {
	for {
		// Grafana starts the plugin before it serves, and the check asks the
		// plugin: an answer means that all is up.
		if status, answer, err := get(ctx, url+"/api/datasources/uid/continuum-signal/health"); err == nil {
			if status != http.StatusOK {
				fmt.Println("  The data source is not well:", answer)
			}
			// A recorder begins to record with its first request. This one makes sure
			// that a dashboard has a history when it is opened.
			for _, recorder := range []string{"continuum-machine", "continuum-plant"} {
				go func() { _, _, _ = get(ctx, url+"/api/datasources/uid/"+recorder+"/health") }()
			}
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func get(ctx context.Context, url string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, string(answer), err
}

// untilToldToStop returns a context that also ends on SIGTERM and SIGHUP. Mage
// itself does not pass these on: it dies and leaves this process behind. So a
// new parent process counts as such a signal.
func untilToldToStop(ctx context.Context) (context.Context, func()) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP)
	parent := os.Getppid()
	go func() {
		for ctx.Err() == nil && os.Getppid() == parent {
			time.Sleep(250 * time.Millisecond)
		}
		stop()
	}()
	return ctx, stop
}

// executablePath is the back end as built for this machine.
func executablePath() string {
	name := executable + "_" + runtime.GOOS + "_" + runtime.GOARCH
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join("dist", name)
}

func readJSON(root fs.FS, name string, into any) error {
	content, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// sideBySide runs all functions at once. After an error no further command
// begins. Running commands may finish, because a killed one would leave its
// children behind.
func sideBySide(ctx context.Context, all ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wait sync.WaitGroup
	for _, one := range all {
		wait.Go(func() {
			if err := one(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}

// printing lets one command at a time print.
var printing sync.Mutex

// inTurn runs commands one after the other. The output of each comes in one
// piece when it has ended, so that commands side by side can be told apart.
func inTurn(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		words := strings.Fields(command)
		start := time.Now()
		output, err := exec.Command(words[0], words[1:]...).CombinedOutput()
		printing.Lock()
		fmt.Printf("== %s: %v\n%s", command, time.Since(start).Round(time.Second/10), output)
		printing.Unlock()
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
	return nil
}
