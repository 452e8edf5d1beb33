package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var form = Form{
	Ports:   map[string]string{"tcp": "1883", "ssl": "8883"},
	Schemes: "tcp:// or ssl://", Example: "tcp://broker.example:1883", Credentials: "they have fields of their own",
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		" tcp://a ":        "a:1883",
		"ssl://[::1]":      "[::1]:8883",
		"tcp://a:1/x?y=z":  "a:1",
		"":                 "url: is missing",
		"a:1883":           "url: must begin with",
		"http://a":         "url: must begin with",
		"tcp://":           "url: has no host",
		"tcp://u:geheim@a": "url: must not have a user and password: they have",
		"tcp://geheim a":   "url: is no URL",
	} {
		u, err := form.Parse(text)
		switch {
		case err != nil && (!strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "geheim")):
			t.Errorf("%q: %v", text, err)
		case err == nil && u.Host != want:
			t.Errorf("%q: %s", text, u.Host)
		}
	}
}

func TestMayHoldSecret(t *testing.T) {
	for urls, want := range map[string]bool{
		"": false, "tcp://a": false, "tcp://a:1,tcp://b:2/path": false,
		"ws://a/?token=x": true, "ws://a/#x": true, "tcp://u:p@a": true, "u:p@a:1": true, "tcp://a, tcp://u:p@b": true,
	} {
		if MayHoldSecret(urls) != want {
			t.Errorf("%q: %v", urls, !want)
		}
	}
}

// A server that is away is tried within five seconds, one that refuses within a
// minute.
func TestBackoff(t *testing.T) {
	for cause, most := range map[Cause]time.Duration{Unreachable: 5 * time.Second, Refused: time.Minute} {
		var b Backoff
		first := b.Next(cause)
		var last time.Duration
		for range 20 {
			if last = b.Next(cause); last > most {
				t.Errorf("%v for %v", last, cause)
			}
		}
		if last < most/2 || first > most/4 {
			t.Errorf("from %v to %v for %v", first, last, cause)
		}
		if b.Next(1-cause) > 3*time.Second {
			t.Error("another cause does not begin anew")
		}
	}
}

type sink struct {
	texts []string
	waits []time.Duration
}

func (s *sink) Retry(trouble string, next time.Time) {
	s.texts, s.waits = append(s.texts, trouble), append(s.waits, time.Until(next))
}

func TestReconnect(t *testing.T) {
	for _, test := range []struct {
		name      string
		connected bool
		lasts     time.Duration
		cause     Cause
		atLeast   time.Duration // the last of ten waits
		atMost    time.Duration
		conflict  bool
	}{
		{"away", false, 0, Unreachable, 3 * time.Second, 5 * time.Second, false},
		{"refused", false, 0, Refused, 36 * time.Second, time.Minute, false},
		{"lost now and then", true, time.Hour, Unreachable, 0, time.Second, false},
		{"cut off by another client", true, time.Second, Unreachable, 36 * time.Second, time.Minute, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				s := &sink{}
				n := 0
				Reconnect(ctx, s, func(ctx context.Context) (bool, error) {
					if n++; n > 10 {
						cancel()
					}
					time.Sleep(test.lasts)
					return test.connected, errors.New("away")
				}, func(f Failure) (string, Cause) { return fmt.Sprint(f.Conflict()), test.cause })
				if len(s.waits) != 10 {
					t.Fatalf("%d waits", len(s.waits))
				}
				if last := s.waits[9]; last < test.atLeast || last > test.atMost {
					t.Errorf("it waits for %v", last)
				}
				if s.texts[9] != fmt.Sprint(test.conflict) {
					t.Error("it does not see whether another client is in the way")
				}
			})
		})
	}
}

func TestExplain(t *testing.T) {
	p := Peer{Kind: "a broker", Host: "a:1", Patience: time.Second}
	inURL := func(err error) error {
		return fmt.Errorf("dial: %w", &url.Error{Op: "Get", URL: "http://a:1/?token=geheim", Err: err})
	}
	for _, test := range []struct {
		err       error
		connected bool
		want      string
	}{
		{&net.DNSError{Name: "a", IsNotFound: true}, false, "the host a is not known: check the URL"},
		{inURL(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), false, "nothing listens at a:1: is a broker running there"},
		{inURL(context.DeadlineExceeded), false, "a:1 does not answer within 1s: is it a broker"},
		{context.DeadlineExceeded, true, "a:1 does not answer any more"},
		{inURL(errors.New("strange")), false, "no connection to a:1: strange"},
		{inURL(errors.New("strange")), true, "the connection to a:1 is lost: strange"},
		{nil, true, "a:1 has closed the connection"},
		{syscall.ECONNRESET, false, "a:1 closes the connection at once: is it a broker?"},
	} {
		if got := p.Explain(test.err, test.connected); !strings.HasPrefix(got, test.want) || strings.Contains(got, "geheim") {
			t.Errorf("%v: %s\nwant %s", test.err, got, test.want)
		}
	}
}

func TestQueue(t *testing.T) {
	q := NewQueue[int](100, 1000)
	for i := range 200 {
		if got := q.Offer(i, 1); got != (i < 100) {
			t.Fatalf("item %d: %v", i, got)
		}
	}
	<-q.Some()
	if items := q.Take(); len(items) != 100 || items[99] != 99 {
		t.Errorf("%d items", len(items))
	}
	for i, want := range []bool{true, true, false} {
		if q.Offer(i, 400) != want {
			t.Errorf("bytes of item %d", i)
		}
	}
	<-q.Some()
	// What must not be dropped has more room, and waits.
	ctx, cancel := context.WithCancel(t.Context())
	for range 3 {
		if !q.Put(ctx, 1, 400) {
			t.Error("there is no room for what must not be dropped")
		}
	}
	put := make(chan bool)
	go func() { put <- q.Put(ctx, 1, 400) }()
	if items := q.Take(); len(items) != 5 || !<-put {
		t.Errorf("%d items", len(items))
	}
	if !q.Put(ctx, 1, 1500) {
		t.Error("no room")
	}
	go func() { put <- q.Put(ctx, 1, 1000) }()
	cancel()
	if <-put {
		t.Error("it was put although nobody wants it any more")
	}
	if !NewQueue[int](1, 1).Offer(1, 100) {
		t.Error("what is too large by itself can never be taken")
	}
}
