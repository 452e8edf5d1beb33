// Package websocket is the recorder's input from a WebSocket server.
//
// It connects, sends a message if it is told to, and records what comes, text and
// binary alike. A server keeps nothing for a client that is away: what it sends
// meanwhile is lost. The package never blocks the store, nor its own keep-alive:
// what comes faster than it can be stored is dropped and counted.
package websocket

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http/httpguts"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

// Config is the settings of the input.
type Config struct {
	Name string `json:"name"`
	// URL has the scheme ws or wss.
	URL string `json:"url"`
	// Send is sent as a text once there is a connection, if it is not empty.
	Send string `json:"send,omitempty"`
	// PingInterval is how often the connection is tried, in milliseconds, 0 for
	// 30 seconds.
	PingInterval int64 `json:"pingInterval,omitempty"`
	// MaxBytes is how large a message may be, 0 for 1 MiB, which is the most.
	MaxBytes int64 `json:"maxBytes,omitempty"`
	// SkipVerify trusts any certificate.
	SkipVerify bool          `json:"skipVerify,omitempty"`
	Rules      message.Rules `json:"rules"`
}

const (
	limitOfMaxBytes     = 1 << 20
	defaultPingInterval = 30_000
	minPingInterval     = 1000
	maxPingInterval     = 3600_000
)

// Input is the WebSocket input.
type Input struct {
	name     string
	version  string // of the settings
	url      string
	host     string // for people
	header   http.Header
	send     string
	ping     time.Duration
	maxBytes int64
	tls      *tls.Config
	rules    message.Rules
}

// New checks the settings. secret returns the secrets of the input, empty if not
// set: headers, a JSON object of names and values, and in PEM caCert, clientCert
// and clientKey.
func New(c Config, secret func(key string) string) (recorder.Input, error) {
	u, err := parseURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	in := &Input{name: c.Name, url: u.String(), host: u.Host, send: c.Send, maxBytes: c.MaxBytes, rules: c.Rules, header: make(http.Header)}
	if in.maxBytes == 0 {
		in.maxBytes = limitOfMaxBytes
	}
	if in.maxBytes < 1 || in.maxBytes > limitOfMaxBytes {
		return nil, fmt.Errorf("maxBytes: must be from 1 to %d, or 0 for the most", limitOfMaxBytes)
	}
	if c.PingInterval == 0 {
		c.PingInterval = defaultPingInterval
	}
	if c.PingInterval < minPingInterval || c.PingInterval > maxPingInterval {
		return nil, fmt.Errorf("pingInterval: must be from %d to %d ms, or 0 for %d", minPingInterval, maxPingInterval, defaultPingInterval)
	}
	in.ping = time.Duration(c.PingInterval) * time.Millisecond
	if c.Rules.Pattern != "" {
		return nil, errors.New("rules.pattern: what a WebSocket sends has no topic, so leave it empty")
	}
	if err := c.Rules.Check(); err != nil {
		return nil, err
	}
	// The name stands for the topic, in names of metrics alone.
	in.rules.Labels = maps.Clone(c.Rules.Labels)
	if in.rules.Labels == nil {
		in.rules.Labels = make(map[string]string)
	}
	if _, ok := in.rules.Labels["topic"]; !ok {
		in.rules.Labels["topic"] = ""
	}
	if err := in.headers(secret("headers")); err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	if err := in.certificates(c, u, secret); err != nil {
		return nil, err
	}
	digest := sha256.New()
	if err := json.NewEncoder(digest).Encode([]any{c, secret("headers"), secret("caCert"), secret("clientCert"), secret("clientKey")}); err != nil {
		return nil, err
	}
	in.version = hex.EncodeToString(digest.Sum(nil))
	return in, nil
}

// Name implements recorder.Input.
func (in *Input) Name() string { return in.name }

// Version implements recorder.Input.
func (in *Input) Version() string { return in.version }

var ports = map[string]string{"ws": "80", "wss": "443"}

// parseURL reads the URL. Its errors do not repeat it: it may have secrets.
func parseURL(text string) (*url.URL, error) {
	text = strings.TrimSpace(text)
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, errors.New("is missing: write it as in wss://server.example/live")
	case err != nil:
		return nil, errors.New("is no URL: write it as in wss://server.example/live")
	case ports[u.Scheme] == "":
		return nil, errors.New("must begin with ws:// or wss://")
	case u.User != nil:
		return nil, errors.New("must not have a user and password: put an Authorization header into headers, where it is kept secret")
	case u.Hostname() == "":
		return nil, errors.New("has no host: write it as in wss://server.example/live")
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), ports[u.Scheme])
	}
	return u, nil
}

// headers reads the secret headers, and repeats none of their values.
func (in *Input) headers(text string) error {
	if text == "" {
		return nil
	}
	var all map[string]string
	if json.Unmarshal([]byte(text), &all) != nil {
		return errors.New(`must be a JSON object of names and values, as in {"Authorization": "Bearer …"}`)
	}
	for name, value := range all {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("%q cannot be sent: a name has letters, digits and - alone, and a value no line breaks", name)
		}
		in.header.Set(name, value)
	}
	return nil
}

func (in *Input) certificates(c Config, u *url.URL, secret func(string) string) error {
	ca, cert, key := secret("caCert"), secret("clientCert"), secret("clientKey")
	if u.Scheme == "ws" {
		if ca != "" || cert != "" || key != "" || c.SkipVerify {
			return errors.New("url: ws:// does not encrypt, so it has no use for certificates: begin with wss://")
		}
		return nil
	}
	in.tls = &tls.Config{InsecureSkipVerify: c.SkipVerify, MinVersion: tls.VersionTLS12} //nolint:gosec // the user asks for it
	if ca != "" {
		in.tls.RootCAs = x509.NewCertPool()
		if !in.tls.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return errors.New("caCert: has no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")
		}
	}
	if (cert == "") != (key == "") {
		return errors.New("clientCert and clientKey: one needs the other")
	}
	if cert != "" {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			return fmt.Errorf("clientCert and clientKey: %w", err)
		}
		in.tls.Certificates = []tls.Certificate{pair}
	}
	return nil
}

const (
	// firstWait and longestWait are how long is waited before the first and the
	// later attempts to connect again, give or take a half.
	firstWait   = 500 * time.Millisecond
	longestWait = 30 * time.Second
	// steady is how long a connection must have lasted to count as a good one.
	steady = 10 * time.Second
	// patience is how long the server may take to answer.
	patience = 10 * time.Second
	// waiting is how many messages may wait to be decoded, and waitingBytes how
	// much they may hold. The rest is dropped.
	waiting      = 10_000
	waitingBytes = 64 << 20
)

// Why messages are not recorded, besides what package message has.
const (
	tooFast  = "came faster than it could be stored"
	tooLarge = "larger than the input takes"
)

// run is a running input.
type run struct {
	*Input
	sink    *recorder.Sink
	decoder *message.Decoder
	queue   chan received
	queued  atomic.Int64 // bytes
}

type received struct {
	payload []byte
	at      time.Time
}

// Run implements recorder.Input.
func (in *Input) Run(ctx context.Context, sink *recorder.Sink) {
	r := &run{Input: in, sink: sink, decoder: message.New(in.rules, "/", sink), queue: make(chan received, waiting)}
	decoded, added := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(decoded)
		r.decoder.Run(ctx)
	}()
	go func() {
		defer close(added)
		r.add(ctx)
	}()
	for attempt := 0; ctx.Err() == nil; attempt++ {
		begin := time.Now()
		err := r.connection(ctx)
		if ctx.Err() != nil {
			break
		}
		sink.Trouble(r.why(err))
		if time.Since(begin) > steady {
			attempt = 0
		}
		d := min(firstWait<<min(attempt, 10), longestWait)
		select {
		case <-time.After(d/2 + rand.N(d)):
		case <-ctx.Done():
		}
	}
	<-decoded
	<-added
}

// add decodes what is received.
func (r *run) add(ctx context.Context) {
	for {
		select {
		case m := <-r.queue:
			r.queued.Add(-int64(len(m.payload)))
			r.decoder.Add(r.name, m.payload, m.at, false, nil)
		case <-ctx.Done():
			return
		}
	}
}

// connection records what comes over one connection, until it is lost.
func (r *run) connection(ctx context.Context) error {
	transport := &http.Transport{TLSClientConfig: r.tls}
	defer transport.CloseIdleConnections()
	dialing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, rsp, err := websocket.Dial(dialing, r.url, &websocket.DialOptions{
		HTTPHeader: r.header,
		HTTPClient: &http.Client{
			Transport: transport,
			// Whoever the server names is not to get the headers.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		CompressionMode: websocket.CompressionContextTakeover,
	})
	if rsp != nil && rsp.Body != nil {
		defer rsp.Body.Close()
	}
	if err != nil {
		if rsp != nil && rsp.StatusCode != http.StatusSwitchingProtocols {
			return refused(rsp.StatusCode)
		}
		return err
	}
	defer func() { _ = c.CloseNow() }() // it is lost, or not wanted any more
	c.SetReadLimit(-1)                  // what is too large is read over, see read
	if r.send != "" {
		if err := c.Write(dialing, websocket.MessageText, []byte(r.send)); err != nil {
			return err
		}
	}
	r.sink.Trouble("")

	reading, stop := context.WithCancelCause(ctx)
	pinged := make(chan struct{})
	defer func() { <-pinged }()
	defer stop(nil)
	go func() {
		defer close(pinged)
		r.keepAlive(reading, c, stop)
	}()
	for {
		if err := r.read(reading, c); err != nil {
			if cause := context.Cause(reading); cause != nil {
				return cause
			}
			return err
		}
	}
}

var errSilent = errors.New("the server does not answer any more")

// keepAlive tries the connection now and then. If it is dead it stops it.
func (r *run) keepAlive(ctx context.Context, c *websocket.Conn, stop context.CancelCauseFunc) {
	tick := time.NewTicker(r.ping)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		pinging, cancel := context.WithTimeout(ctx, patience)
		err := c.Ping(pinging)
		cancel()
		if err != nil && ctx.Err() == nil {
			if errors.Is(err, context.DeadlineExceeded) {
				err = errSilent
			}
			stop(err)
			return
		}
	}
}

// read receives a message. One that is too large is read over, so that the
// connection goes on.
func (r *run) read(ctx context.Context, c *websocket.Conn) error {
	_, from, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	payload, err := io.ReadAll(io.LimitReader(from, r.maxBytes+1))
	if err != nil {
		return err
	}
	if int64(len(payload)) > r.maxBytes {
		if _, err := io.Copy(io.Discard, from); err != nil {
			return err
		}
		r.decoder.Skip(r.name, payload, tooLarge, nil)
		return nil
	}
	m := received{payload, time.Now()}
	if r.queued.Load()+int64(len(payload)) <= waitingBytes {
		select {
		case r.queue <- m:
			r.queued.Add(int64(len(payload)))
			return nil
		default:
		}
	}
	r.decoder.Skip(r.name, payload, tooFast, nil)
	return nil
}

// refused is an answer that is no WebSocket.
type refused int

func (r refused) Error() string {
	switch r {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("refuses the login (%d): check headers", int(r))
	case http.StatusNotFound:
		return "has no WebSocket at this path (404): check the URL"
	}
	if r >= 300 && r < 400 {
		return fmt.Sprintf("is somewhere else now (%d): set the URL that it leads to", int(r))
	}
	return fmt.Sprintf("answers %d %s, not as a WebSocket", int(r), http.StatusText(int(r)))
}

// why says what is wrong, and what to do.
func (r *run) why(err error) string {
	var (
		status    refused
		op        *net.OpError
		closed    websocket.CloseError
		unknownCA x509.UnknownAuthorityError
		hostname  x509.HostnameError
	)
	switch {
	case errors.As(err, &status):
		return fmt.Sprintf("the server %s %v", r.host, status)
	case errors.As(err, &closed):
		return fmt.Sprintf("the server %s closed the connection: %v %.200s", r.host, closed.Code, closed.Reason)
	case errors.As(err, &unknownCA):
		return fmt.Sprintf("the certificate of the server %s is signed by nobody who is trusted here: set caCert to that of its authority", r.host)
	case errors.As(err, &hostname):
		return fmt.Sprintf("the certificate of the server %s is for another name: %v", r.host, hostname)
	case errors.Is(err, errSilent), errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the server %s does not answer", r.host)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Sprintf("no connection to %s: %v", r.host, op.Err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return fmt.Sprintf("the connection to %s was lost", r.host)
	}
	// The library's errors name the URL, which may have a secret.
	text := strings.ReplaceAll(err.Error(), r.url, r.host)
	for u := err; u != nil; u = errors.Unwrap(u) {
		var inner *url.Error
		if errors.As(u, &inner) {
			text = inner.Err.Error()
		}
	}
	return fmt.Sprintf("no connection to %s: %.300s", r.host, text)
}
