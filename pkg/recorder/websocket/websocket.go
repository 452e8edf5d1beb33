// Package websocket is the recorder's input from a WebSocket server.
//
// It connects, sends the messages that the settings have, such as a login and a
// subscription, and records what comes,
// text and binary alike. A server keeps nothing for a client that is away, so
// messages are lost while there is no connection. The input never blocks the store
// or its own keep-alive: messages that come faster than they can be stored are
// dropped and counted.
package websocket

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http/httpguts"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/endpoint"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

// Config has the settings of the input.
type Config struct {
	Name string `json:"name"`
	// URL has the scheme ws or wss.
	URL string `json:"url"`
	// Send is sent as a text message after connecting, unless it is empty. If it has
	// several objects or arrays of JSON, each is a message, sent when the server has
	// answered the one before, or has said nothing for a second. {{token}} stands for
	// the secret token.
	Send string `json:"send,omitempty"`
	// PingInterval is how often the connection is tested, in milliseconds, 0 for 30
	// seconds.
	PingInterval int64 `json:"pingInterval,omitempty"`
	// MaxBytes is the largest message in bytes, 0 for 1 MiB, the maximum.
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
	name    string
	version string // of the settings
	url     string
	peer    endpoint.Peer
	header  http.Header
	// protocols are the subprotocols to offer, see RFC 6455, 1.9.
	protocols []string
	send      []string // one message after another
	ping      time.Duration
	maxBytes  int64
	tls       *tls.Config
	rules     message.Rules
}

// Secrets returns the names of the secrets that the input may have. headers is a JSON
// object of names and values, token is part of what is sent.
func (Config) Secrets() []string { return endpoint.Secrets("headers", "token") }

// Sensitive reports whether the settings themselves may hold a secret: Send may be a
// login.
func (c Config) Sensitive() bool { return c.Send != "" || endpoint.MayHoldSecret(c.URL) }

// New returns the input, or an error that names the setting that is wrong. secret
// returns the secrets of the input by name, empty if not set.
func New(c Config, secret func(key string) string) (recorder.Input, error) {
	u, err := form.Parse(c.URL)
	if err != nil {
		return nil, err
	}
	in := &Input{name: c.Name, url: u.String(), maxBytes: c.MaxBytes, rules: c.Rules, header: make(http.Header)}
	if strings.Contains(c.Send, "{{token}}") && secret("token") == "" {
		return nil, errors.New("send: it has {{token}}, so enter the token")
	}
	for _, text := range messages(c.Send) {
		token := secret("token")
		if json.Valid([]byte(text)) { // then the token is within quotation marks
			quoted, _ := json.Marshal(token) // a string never fails
			token = string(quoted[1 : len(quoted)-1])
		}
		in.send = append(in.send, strings.ReplaceAll(text, "{{token}}", token))
	}
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
	if c.Rules.Pattern != "" || len(c.Rules.Topics) > 0 {
		return nil, errors.New("rules.pattern, rules.topics: what a WebSocket sends has no topic, so leave them empty")
	}
	if err := c.Rules.Check(); err != nil {
		return nil, err
	}
	// The input's name serves as topic, but only for names of metrics, not as a
	// label.
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
	in.version = endpoint.Version(c, secret, c.Secrets())
	in.peer = endpoint.Peer{Kind: "a WebSocket server", Host: u.Host, Patience: patience, ClientCert: secret("clientCert") != ""}
	return in, nil
}

// messages returns the messages in a text: the objects and arrays of JSON that it has,
// if it has nothing else and more than one of them, else the text itself.
func messages(text string) []string {
	if text == "" {
		return nil
	}
	var all []string
	for from := json.NewDecoder(strings.NewReader(text)); ; {
		var one json.RawMessage
		err := from.Decode(&one)
		if errors.Is(err, io.EOF) && len(all) > 1 {
			return all
		}
		if err != nil || one[0] != '{' && one[0] != '[' {
			return []string{text}
		}
		all = append(all, string(one))
	}
}

// Name implements recorder.Input.
func (in *Input) Name() string { return in.name }

// Version implements recorder.Input.
func (in *Input) Version() string { return in.version }

var form = endpoint.Form{
	Ports:       map[string]string{"ws": "80", "wss": "443"},
	Schemes:     "ws:// or wss://",
	Example:     "wss://server.example/live",
	Credentials: "put an Authorization header into headers, where it is kept secret",
}

// headers parses the secret headers. Its errors never have a value.
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
		if http.CanonicalHeaderKey(name) == "Sec-Websocket-Protocol" {
			// It belongs to the handshake: the library must know the protocols to
			// accept the server's choice.
			for protocol := range strings.SplitSeq(value, ",") {
				in.protocols = append(in.protocols, strings.TrimSpace(protocol))
			}
			continue
		}
		in.header.Set(name, value)
	}
	return nil
}

func (in *Input) certificates(c Config, u *url.URL, secret func(string) string) error {
	trust := endpoint.Trust{SkipVerify: c.SkipVerify, Secret: secret}
	if u.Scheme == "ws" {
		if trust.IsSet() {
			return endpoint.Unencrypted("ws", "wss://")
		}
		return nil
	}
	var err error
	in.tls, err = trust.Config()
	return err
}

const (
	// patience is how long the server may take to answer.
	patience = 10 * time.Second
	// unanswered is how long a message that is sent on connect waits for an answer to
	// the one before: not every server answers.
	unanswered = time.Second
	// waiting is how many messages may wait to be decoded, and waitingBytes how many
	// bytes they may have. More are dropped.
	waiting      = 10_000
	waitingBytes = 64 << 20
)

// Reasons why messages are not recorded, besides those of package message.
const (
	tooFast  = "came faster than it could be stored"
	tooLarge = "larger than the input takes"
)

// run is a running input.
type run struct {
	*Input
	sink    *recorder.Sink
	decoder *message.Decoder
	queue   *endpoint.Queue[received]
	group   *panics.Group
}

type received struct {
	payload []byte
	at      time.Time
}

// Run implements recorder.Input.
func (in *Input) Run(ctx context.Context, sink *recorder.Sink) {
	group, ctx := panics.NewGroup(ctx)
	r := &run{Input: in, sink: sink, decoder: message.New(in.rules, "/", sink), queue: endpoint.NewQueue[received](waiting, waitingBytes), group: group}
	group.Go(func() { r.decoder.Run(ctx) })
	group.Go(func() { r.add(ctx) })
	group.Do(func() { endpoint.Reconnect(ctx, sink, r.connection, r.why) })
	group.Wait()
}

// add decodes received messages.
func (r *run) add(ctx context.Context) {
	for {
		select {
		case <-r.queue.Some():
		case <-ctx.Done():
			return
		}
		for _, m := range r.queue.Take() {
			r.decoder.Add(r.name, m.payload, m.at, false, nil)
		}
	}
}

// connection records the messages of one connection, until it is lost.
func (r *run) connection(ctx context.Context) (connected bool, err error) {
	transport := &http.Transport{TLSClientConfig: r.tls}
	defer transport.CloseIdleConnections()
	dialing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, rsp, err := websocket.Dial(dialing, r.url, &websocket.DialOptions{
		HTTPHeader:   r.header,
		Subprotocols: r.protocols,
		HTTPClient: &http.Client{
			Transport: transport,
			// No redirects: the headers must not go to another server.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		CompressionMode: websocket.CompressionContextTakeover,
	})
	if rsp != nil && rsp.Body != nil {
		defer rsp.Body.Close()
	}
	if err != nil {
		if rsp != nil && rsp.StatusCode != http.StatusSwitchingProtocols {
			return false, refused(rsp.StatusCode)
		}
		return false, err
	}
	defer func() { _ = c.CloseNow() }() // the connection is lost, or the input stops
	c.SetReadLimit(-1)                  // read skips messages that are too large
	r.sink.Trouble("")

	reading, stop := context.WithCancelCause(ctx)
	heard := make(chan struct{}, 1) // gets a value when something came
	ended := make(chan struct{})
	defer func() { <-ended }()
	defer stop(nil)
	r.group.Go(func() {
		defer close(ended)
		if err := r.introduce(reading, c, heard); err != nil {
			stop(err)
			return
		}
		r.keepAlive(reading, c, stop)
	})
	for {
		if err := r.read(reading, c); err != nil {
			if cause := context.Cause(reading); cause != nil {
				return true, cause
			}
			return true, err
		}
		select {
		case heard <- struct{}{}:
		default:
		}
	}
}

// introduce sends the messages that the settings have, one after another: a server may
// have to accept a login before it knows what a subscription is.
func (r *run) introduce(ctx context.Context, c *websocket.Conn, heard <-chan struct{}) error {
	for i, text := range r.send {
		if i > 0 {
			select {
			case <-heard:
			case <-time.After(unanswered):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case <-heard: // it came before, so it is no answer to this one
		default:
		}
		writing, cancel := context.WithTimeout(ctx, patience)
		err := c.Write(writing, websocket.MessageText, []byte(text))
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

var errSilent = errors.New("the server does not answer any more")

// keepAlive tests the connection at each interval. If the connection is dead, it
// calls stop.
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

// read receives a message. It skips one that is too large, so that the connection
// stays.
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
	if !r.queue.Offer(received{payload, time.Now()}, len(payload)) {
		r.decoder.Skip(r.name, payload, tooFast, nil)
	}
	return nil
}

// refused is the status of an HTTP answer that is not a WebSocket.
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

// why returns a sentence for people that says what is wrong and what to do.
func (r *run) why(f endpoint.Failure) (string, endpoint.Cause) {
	var (
		status refused
		closed websocket.CloseError
	)
	switch {
	case errors.As(f.Err, &status):
		cause := endpoint.Unreachable
		if status == http.StatusUnauthorized || status == http.StatusForbidden {
			cause = endpoint.Refused
		}
		return fmt.Sprintf("the server %s %v", r.peer.Host, status), cause
	case errors.As(f.Err, &closed):
		return fmt.Sprintf("the server %s closed the connection: %v %.200s", r.peer.Host, closed.Code, closed.Reason), endpoint.Unreachable
	case errors.Is(f.Err, errSilent):
		return fmt.Sprintf("the server %s does not answer any more", r.peer.Host), endpoint.Unreachable
	}
	return r.peer.Explain(f.Err, f.Connected), endpoint.Unreachable
}
