// Package victoria runs a real VictoriaMetrics server for tests, from Debian's
// package victoria-metrics.
package victoria

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// Server is a VictoriaMetrics server. Only the test's own goroutine may call its
// methods.
type Server struct {
	// URL is the server's address, http and a loopback address. Restart keeps it.
	URL string

	t      testing.TB
	args   []string
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
	log    log
}

// patience is how long a server may take to be ready, or to end.
const patience = time.Minute

// Start starts a server with these flags and waits until it is ready. The server
// ends with the test. Without the package the test is skipped, but it fails in
// continuous integration.
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("victoria-metrics"); err != nil {
		if os.Getenv("CI") == "" {
			t.Skip("VictoriaMetrics is missing: install Debian's package victoria-metrics")
		}
		t.Fatal(err)
	}
	// The server does not tell its port, so it cannot choose one itself.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, URL: "http://" + address,
		args: append([]string{"-httpListenAddr=" + address, "-storageDataPath=" + t.TempDir(), "-memory.allowedBytes=256MB"}, flags...)}
	t.Cleanup(func() {
		s.stop(os.Interrupt)
		if t.Failed() {
			t.Logf("the log of VictoriaMetrics:\n%s", s.log.String())
		}
	})
	s.start()
	return s
}

// Flush makes the server write its samples to the disk. Without it, Kill loses up to
// ten seconds of samples that queries have already returned.
func (s *Server) Flush() {
	s.t.Helper()
	rsp, err := http.Get(s.URL + "/snapshot/create")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := rsp.Body.Close(); err != nil || rsp.StatusCode != http.StatusOK {
		s.t.Fatal(rsp.Status, err)
	}
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

func (s *Server) start() {
	s.t.Helper()
	s.cmd = exec.Command("victoria-metrics", s.args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		defer close(exited)
		_ = cmd.Wait() // how it ended is in its log
	}(s.cmd, s.exited)
	deadline := time.After(patience)
	for !s.ready() {
		select {
		case <-s.exited:
			s.t.Fatal("VictoriaMetrics ended before it was ready")
		case <-deadline:
			s.t.Fatalf("VictoriaMetrics was not ready within %v", patience)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) ready() bool {
	rsp, err := http.Get(s.URL + "/health")
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
		s.t.Errorf("VictoriaMetrics did not end within %v", patience)
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
