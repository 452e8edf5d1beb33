// Package prometheus runs a real Prometheus server for tests. A package that uses it
// needs a TestMain that builds the server, see programs.Main.
package prometheus

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

// Options are the options of a server.
type Options struct {
	// Dir is the directory of the TSDB, empty for a new one.
	Dir string
	// Config is the configuration in YAML.
	Config string
	// Flags are added after the flags that this package sets.
	Flags []string
}

// Server is a Prometheus server. Only the test's own goroutine may call its methods.
type Server struct {
	// URL is the server's address, http and a loopback address. Restart keeps it.
	URL string

	t       testing.TB
	binary  string
	args    []string
	address string // host:port, for the next start
	cmd     *exec.Cmd
	exited  chan struct{} // closed when cmd has ended
	log     log
}

// patience is how long a server may take to be ready, or to end.
const patience = time.Minute

// Start starts a server and waits until it is ready. The server ends with the test.
// If the test fails, its log is printed.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(config, []byte(o.Config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, binary: programs.Prometheus.Path(t), address: "127.0.0.1:0", args: append([]string{"--config.file=" + config, "--storage.tsdb.path=" + o.Dir}, o.Flags...)}
	t.Cleanup(func() {
		s.stop(os.Interrupt)
		if t.Failed() {
			t.Logf("the log of Prometheus:\n%s", s.log.String())
		}
	})
	s.start()
	return s
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	s.t.Helper()
	s.stop(os.Kill)
}

// Restart kills the server, if it still runs, starts it again at the same
// address, and waits until it is ready.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.start()
}

// start starts the server and returns when it is ready.
func (s *Server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.binary, append(s.args, "--web.listen-address="+s.address)...)
	s.cmd.Stdout = &s.log
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan struct{})
	listening := make(chan string, 1)
	go func(cmd *exec.Cmd, exited chan struct{}) {
		defer close(exited)
		lines := bufio.NewScanner(io.TeeReader(stderr, &s.log))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			before, address, _ := strings.Cut(lines.Text(), " address=")
			if strings.Contains(before, `msg="Listening on"`) {
				listening <- address
			}
		}
		_ = cmd.Wait() // how it ended is in its log
	}(s.cmd, s.exited)

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case s.address = <-listening:
		s.URL = "http://" + s.address
	case <-s.exited:
		s.t.Fatal("Prometheus ended before it listened")
	case <-ctx.Done():
		s.t.Fatalf("Prometheus did not listen within %v", patience)
	}
	for !s.ready(ctx) {
		select {
		case <-s.exited:
			s.t.Fatal("Prometheus ended before it was ready")
		case <-ctx.Done():
			s.t.Fatalf("Prometheus was not ready within %v", patience)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) ready(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/-/ready", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	rsp, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, rsp.Body)
	return err == nil && rsp.Body.Close() == nil && rsp.StatusCode == http.StatusOK
}

// stop sends a signal and waits until the server has ended. After patience it kills
// the server.
func (s *Server) stop(signal os.Signal) {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	// Errors only say that it has ended already.
	_ = s.cmd.Process.Signal(signal)
	select {
	case <-s.exited:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.exited
		s.t.Errorf("Prometheus did not end within %v", patience)
	}
	s.cmd = nil
	http.DefaultClient.CloseIdleConnections()
}

// log is a buffer that the server writes and the test reads.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
