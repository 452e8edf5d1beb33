package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/continuum-live/continuum-datasource/pkg/internal/broker"
)

// service is a server in a process of its own.
type service struct {
	name, address string
	program       string
	args          []string
	end           syscall.Signal
	log           io.Writer
	// resent has the messages that a broker sends again, nil if its log does not say.
	// Then inFlight is how many that may be at an interruption.
	resent   *resent
	inFlight int
	cmd      *exec.Cmd

	faulty sync.Mutex // held while the server is ended and started again
}

// again returns when messages that are stamped on arrival were sent again.
func (s *service) again() []time.Time {
	if s.resent == nil {
		return nil
	}
	s.resent.mu.Lock()
	defer s.resent.mu.Unlock()
	return slices.Clone(s.resent.times)
}

// resent passes on the log of mosquitto, and notes when the broker sends a message again
// that is stamped on arrival.
type resent struct {
	to io.Writer

	mu    sync.Mutex
	line  []byte // the begin of a line
	times []time.Time
}

// sentAgain matches the line of a message with the flag DUP.
var sentAgain = regexp.MustCompile(`Sending PUBLISH to \S+ \(d1, q1, r\d, m\d+, '` + arrivalTopic + `/`)

func (r *resent) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line = append(r.line, b...)
	for {
		line, rest, whole := bytes.Cut(r.line, []byte("\n"))
		if !whole {
			return r.to.Write(b)
		}
		if sentAgain.Match(line) {
			r.times = append(r.times, time.Now())
		}
		r.line = append(r.line[:0], rest...)
	}
}

// start starts the server and waits until it listens.
func (s *service) start() error {
	s.cmd = exec.Command(s.program, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	for deadline := time.Now().Add(begins); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			s.stop()
			return fmt.Errorf("%s does not listen: %w", s.name, err)
		}
	}
}

// stop ends the server and waits until it has ended.
func (s *service) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(s.end) // it may have ended
	stuck := time.AfterFunc(begins, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait() // it was killed
	stuck.Stop()
	s.cmd = nil
}

// free returns an address where nothing listens.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// newMQTT returns mosquitto. Without mosquitto it returns mochi and errNoMosquitto:
// mochi loses its sessions and messages when it ends.
func newMQTT(dir string, log io.Writer) (*service, error) {
	address, err := free()
	if err != nil {
		return nil, err
	}
	command, err := broker.MosquittoCommand(address, dir, "max_inflight_messages 5", "log_type all")
	if errors.Is(err, broker.ErrNoMosquitto) {
		s, failed := newSelf("mochi", address, log)
		if failed != nil {
			return nil, failed
		}
		s.inFlight = int(mochi.NewDefaultServerCapabilities().MaximumInflight)
		return s, err
	}
	if err != nil {
		return nil, err
	}
	// Mosquitto saves its state when it ends. After SIGKILL it would have lost
	// messages that it has acknowledged, which is not the plugin's fault.
	again := &resent{to: log}
	return &service{name: "mosquitto", address: address, program: command[0], args: command[1:], end: syscall.SIGTERM, log: again, resent: again}, nil
}

func newNATS(dir string, log io.Writer) (*service, error) {
	address, err := free()
	if err != nil {
		return nil, err
	}
	return newSelf("nats", address, log, dir)
}

// newSelf returns a server that is this program with serve as its first argument.
func newSelf(name, address string, log io.Writer, more ...string) (*service, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return &service{name: name, address: address, program: program, args: append([]string{serve, name, address}, more...), end: syscall.SIGKILL, log: log}, nil
}

// serve is the first argument that makes this program a server.
const serve = "serve"

func runServer(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("which server?")
	}
	// End with the process that started this server.
	parent := os.Getppid()
	ended := func() bool { return ctx.Err() != nil || os.Getppid() != parent }
	host, port, err := net.SplitHostPort(args[1])
	if err != nil {
		return err
	}
	switch args[0] {
	case "nats":
		number, err := strconv.Atoi(port)
		if err != nil || len(args) < 3 {
			return fmt.Errorf("nats needs an address and a folder: %w", err)
		}
		s, err := server.NewServer(&server.Options{Host: host, Port: number, JetStream: true, StoreDir: args[2], NoSigs: true, NoLog: true})
		if err != nil {
			return err
		}
		s.Start()
		defer s.Shutdown()
	case "mochi":
		s, err := broker.ServeMochi(args[1])
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
	default:
		return fmt.Errorf("there is no server %s", args[0])
	}
	for !ended() {
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}
