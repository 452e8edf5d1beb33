// Package inputtest checks the promises of every input of the recorder, with its real
// server and a real recorder:
//
//   - Starts: it records, the status shows what it receives, and its watermark moves;
//   - Reconnects: it connects again by itself after the server was stopped;
//   - Keeps: messages that the server keeps are recorded once, whatever was cut or
//     stopped;
//   - NeverBlocks: a silent server holds up neither the store nor other inputs;
//   - Stops: it ends within a second, whatever it is doing;
//   - SaysWhy: it says why there is no connection, in the same words for all inputs
//     and without secrets, and when it tries again;
//   - and it leaks no goroutines.
package inputtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Suite has an input and its server.
type Suite struct {
	// Server must run when the suite begins. It runs when the suite ends.
	Server Server
	// Input returns an input that connects to address (host:port) and records
	// what Server publishes.
	Input func(t testing.TB, address string) recorder.Input
	// Refused returns an input like Input, but one that the server refuses. secret
	// must not appear in its trouble. Nil if the server refuses nobody.
	Refused func(t testing.TB, address string) (in recorder.Input, secret string)
	// Holds says that the server keeps messages while the input is not connected,
	// and Persists that it keeps them through its own restart, too.
	Holds, Persists bool
	// Purge deletes what the server keeps. It is called before each test, which has a
	// recorder of its own and must not get the messages of another test. Nil if a new
	// client gets nothing that was published before it first connected.
	Purge func(t testing.TB)
}

// Server is a server for tests of an input.
type Server interface {
	// Address is host:port, the same after a restart.
	Address() string
	// Stop ends the server and all its connections, and returns once its port is free.
	// Start starts it again.
	Stop(t testing.TB)
	Start(t testing.TB)
	// Publish publishes a message that becomes a sample with the value n, with the
	// time at if the server or the payload can carry one. It returns once the server
	// has the message.
	Publish(t testing.TB, n int, at time.Time)
}

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Suite)
		when bool
	}{
		{"Starts", starts, true},
		{"Reconnects", reconnects, true},
		{"KeepsWhenStopped", keepsWhenStopped, s.Holds},
		{"KeepsWhenServerStopped", keepsWhenServerStopped, s.Persists},
		{"KeepsWhenCut", keepsWhenCut, s.Holds},
		{"NeverBlocks", neverBlocks, true},
		{"Stops", stops, true},
		{"SaysWhy", saysWhy, true},
		{"Panics", faults, true},
	} {
		if !test.when {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			// Servers in this process have goroutines of their own.
			s.Server.Stop(t)
			before := goleak.IgnoreCurrent()
			s.Server.Start(t)
			if s.Purge != nil {
				s.Purge(t)
			}
			test.run(t, s)
			s.Server.Stop(t)
			if !t.Failed() {
				goleak.VerifyNone(t, before)
			}
			s.Server.Start(t)
		})
	}
}

// publisher publishes ascending numbers. No two of them have the same millisecond.
type publisher struct {
	server Server
	n      int
	at     time.Time
}

func newPublisher(s Server) *publisher { return &publisher{server: s, at: time.Now()} }

func (p *publisher) publish(t testing.TB, count int) {
	t.Helper()
	for range count {
		if wait := time.Until(p.at.Add(time.Millisecond)); wait > 0 {
			time.Sleep(wait) // no number may be ahead of the clock
		}
		p.n, p.at = p.n+1, time.Now()
		p.server.Publish(t, p.n, p.at)
	}
}

func starts(t *testing.T, s Suite) {
	in := s.Input(t, s.Server.Address())
	r := Record(t, t.TempDir(), in)
	defer r.Close(t)
	r.Connected(t, in.Name())
	p := newPublisher(s.Server)
	p.publish(t, 20)
	r.Wait(t, 20)
	Eventually(t, func() error {
		if st := r.Input(in.Name()); st.Samples < 20 || st.Messages < 20 || st.Last == nil || st.Last.Payload == "" || len(st.Last.Samples) == 0 {
			return fmt.Errorf("the status does not say what was received: a message.Decoder reports it, other inputs call Sink.Report. It is %+v", st)
		}
		return nil
	})
	// All messages are settled soon, and the settled time goes on.
	for range 2 {
		after := max(p.at.UnixMilli(), r.Settled()+1)
		Eventually(t, func() error {
			if got := r.Settled(); got < after {
				return fmt.Errorf("the settled time is %d ms behind: a message.Decoder moves it while its Run runs, other inputs commit with a newer watermark at least once a second", after-got)
			}
			return nil
		})
	}
	if st := r.Input(in.Name()); st.Refused != (recorder.Refused{}) || len(st.Skipped) != 0 {
		t.Errorf("not all was recorded: Refused and Skipped say how much and why: %+v", st)
	}
}

func reconnects(t *testing.T, s Suite) {
	in := s.Input(t, s.Server.Address())
	r := Record(t, t.TempDir(), in)
	defer r.Close(t)
	p := newPublisher(s.Server)
	for range 2 {
		r.Connected(t, in.Name())
		p.publish(t, 10)
		r.Wait(t, p.n)
		s.Server.Stop(t)
		t.Log(r.Troubled(t, in.Name()))
		s.Server.Start(t)
	}
	r.Connected(t, in.Name())
	p.publish(t, 10)
	r.Wait(t, p.n)
}

func keepsWhenStopped(t *testing.T, s Suite) {
	dir := t.TempDir()
	p := newPublisher(s.Server)
	for range 3 {
		in := s.Input(t, s.Server.Address())
		r := Record(t, dir, in)
		r.Connected(t, in.Name())
		p.publish(t, 50)
		r.Close(t) // perhaps before it has recorded all
		p.publish(t, 50)
	}
	r := Record(t, dir, s.Input(t, s.Server.Address()))
	defer r.Close(t)
	r.Wait(t, p.n)
}

func keepsWhenServerStopped(t *testing.T, s Suite) {
	dir := t.TempDir()
	p := newPublisher(s.Server)
	in := s.Input(t, s.Server.Address())
	r := Record(t, dir, in)
	r.Connected(t, in.Name())
	p.publish(t, 50)
	r.Wait(t, p.n)
	r.Close(t)
	p.publish(t, 50)
	s.Server.Stop(t)
	s.Server.Start(t)
	r = Record(t, dir, s.Input(t, s.Server.Address()))
	defer r.Close(t)
	r.Wait(t, p.n)
}

func keepsWhenCut(t *testing.T, s Suite) {
	proxy := NewProxy(t, s.Server.Address())
	defer proxy.Close()
	in := s.Input(t, proxy.Address())
	r := Record(t, t.TempDir(), in)
	defer r.Close(t)
	p := newPublisher(s.Server)
	for range 4 {
		r.Connected(t, in.Name())
		p.publish(t, 100)
		proxy.Cut()
		p.publish(t, 100)
		proxy.Accepted()
	}
	r.Wait(t, p.n)
}

func neverBlocks(t *testing.T, s Suite) {
	proxy := NewProxy(t, s.Server.Address())
	defer proxy.Close()
	other := other{make(chan *recorder.Sink, 1)}
	in := s.Input(t, proxy.Address())
	r := Record(t, t.TempDir(), in, other)
	defer r.Close(t)
	sink := <-other.sinks
	r.Connected(t, in.Name())
	proxy.Hang()
	series := &recorder.Series{Labels: labels.FromStrings(model.MetricNameLabel, "other")}
	for range 50 {
		begin := time.Now()
		now := begin.UnixMilli()
		if err := sink.Commit(context.Background(), []recorder.Sample{{Series: series, T: now, V: 1}}, now); err != nil {
			t.Fatal(err)
		}
		_ = r.Status()
		if behind := time.Now().UnixMilli() - r.Settled(); behind > r.config.MaxWait.Milliseconds()+1000 {
			t.Errorf("the settled time is %d ms behind while the server is silent: the input must not hold a commit up", behind)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the store was held up for %v", took)
		}
		time.Sleep(5 * time.Millisecond) // while it hangs
	}
}

// other is an input for which a test makes the commits.
type other struct{ sinks chan *recorder.Sink }

func (other) Name() string    { return "other" }
func (other) Version() string { return "" }
func (o other) Run(ctx context.Context, sink *recorder.Sink) {
	o.sinks <- sink
	<-ctx.Done()
}

func stops(t *testing.T, s Suite) {
	connected := func(t *testing.T, r *Recording, in recorder.Input, _ *Proxy) { r.Connected(t, in.Name()) }
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, p *Proxy)
		wait    func(t *testing.T, r *Recording, in recorder.Input, p *Proxy)
	}{
		{"connected", nil, connected},
		{"at once", nil, func(*testing.T, *Recording, recorder.Input, *Proxy) {}},
		{"while it receives", nil, func(t *testing.T, r *Recording, in recorder.Input, p *Proxy) {
			connected(t, r, in, p)
			newPublisher(s.Server).publish(t, 200)
		}},
		{"without a server", func(_ *testing.T, p *Proxy) { p.Close() }, func(t *testing.T, r *Recording, in recorder.Input, _ *Proxy) {
			r.Troubled(t, in.Name())
		}},
		{"silent server", func(_ *testing.T, p *Proxy) { p.Hang() }, func(_ *testing.T, _ *Recording, _ recorder.Input, p *Proxy) {
			p.Accepted()
		}},
		{"server fell silent", nil, func(t *testing.T, r *Recording, in recorder.Input, p *Proxy) {
			connected(t, r, in, p)
			p.Hang()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := NewProxy(t, s.Server.Address())
			defer proxy.Close()
			if test.prepare != nil {
				test.prepare(t, proxy)
			}
			in := s.Input(t, proxy.Address())
			r := Record(t, t.TempDir(), in)
			defer r.Close(t)
			test.wait(t, r, in, proxy)
			if took := r.Configure(t); took > time.Second {
				t.Errorf("Run took %v to return after its context had ended, and may take a second: whatever it waits for must end with the context", took)
			}
		})
	}
}

// faults runs an input on a sink that panics whenever one of the input's goroutines
// uses it. Then Run must panic, and all goroutines must end.
func faults(t *testing.T, s Suite) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := panics.Catch("test", func() error {
		s.Input(t, s.Server.Address()).Run(ctx, new(recorder.Sink))
		return nil
	})
	if !errors.As(err, new(*panics.Error)) || ctx.Err() != nil {
		t.Errorf("Run ended with %v and not with the panic of one of its goroutines: start them with a panics.Group, and end Run with its Wait", err)
	}
}

func saysWhy(t *testing.T, s Suite) {
	for _, test := range []struct{ name, address, want string }{
		{"no server", Nobody(t), "nothing listens at "},
		{"no host", "nobody.invalid:1", "the host nobody.invalid is not known"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := s.Input(t, test.address)
			r := Record(t, t.TempDir(), in)
			defer r.Close(t)
			trouble := r.Troubled(t, in.Name())
			t.Log(trouble)
			if !strings.HasPrefix(trouble, test.want) || !strings.Contains(trouble, strings.Split(test.address, ":")[0]) {
				t.Errorf("the trouble %q must begin with %q and name the host, as that of endpoint.Peer.Explain does", trouble, test.want)
			}
			retries(t, r, in, 5*time.Second)
		})
	}
	t.Run("refused", func(t *testing.T) {
		if s.Refused == nil {
			t.Skip("this server refuses nobody")
		}
		in, secret := s.Refused(t, s.Server.Address())
		r := Record(t, t.TempDir(), in)
		defer r.Close(t)
		trouble := r.Troubled(t, in.Name())
		t.Log(trouble)
		if secret != "" && strings.Contains(trouble, secret) {
			t.Errorf("the trouble %q has the secret", trouble)
		}
		retries(t, r, in, time.Minute)
	})
}

// retries checks that the status says when the input tries again, within patience.
func retries(t *testing.T, r *Recording, in recorder.Input, patience time.Duration) {
	t.Helper()
	Eventually(t, func() error {
		next := r.Input(in.Name()).NextTry
		if next == 0 {
			return errors.New("the status does not say when the input tries again: report failures with Sink.Retry, as endpoint.Reconnect does")
		}
		if wait := time.Until(time.UnixMilli(next)); wait > patience {
			t.Errorf("it tries again in %v, and may wait for %v", wait, patience)
		}
		return nil
	})
}
