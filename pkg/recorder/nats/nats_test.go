package nats

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	. "github.com/continuum-live/continuum-datasource/pkg/internal/inputtest"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/message"
)

func none(string) string { return "" }

func secrets(pairs ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == key {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func newInput(t testing.TB, c Config, secret func(string) string) recorder.Input {
	t.Helper()
	c.Name = "plant"
	in, err := New(c, secret)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// guests lets everybody in but those who log in as somebody else.
func guests(o *server.Options) {
	o.Users, o.NoAuthUser = []*server.User{{Username: "guest", Password: "guest"}}, "guest"
}

func TestConformance(t *testing.T) {
	for name, c := range map[string]Config{
		"subjects":  {Subjects: []string{"plant.>"}, Rules: message.Rules{Rule: message.Rule{TimeKey: "t"}}},
		"JetStream": {Stream: "PLANT"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(o *server.Options) {
				guests(o)
				o.JetStream = c.Stream != ""
			})
			purge := s.purge
			if c.Stream == "" {
				purge = nil // nothing is kept
			}
			Run(t, Suite{
				Server: s,
				Purge:  purge,
				Input: func(t testing.TB, address string) recorder.Input {
					c := c
					c.URL = "nats://" + address
					return newInput(t, c, none)
				},
				Refused: func(t testing.TB, address string) (recorder.Input, string) {
					c := c
					c.URL, c.User = "nats://"+address, "nobody"
					return newInput(t, c, secrets("password", "correct horse")), "correct horse"
				},
				Holds: c.Stream != "", Persists: c.Stream != "",
			})
		})
	}
}

// skipped waits until n are, for a reason.
func skipped(t testing.TB, r *Recording, reason string, n uint64) recorder.Skipped {
	t.Helper()
	var s recorder.Skipped
	Eventually(t, func() error {
		if s = r.Input("plant").Skipped[reason]; s.Count != n {
			return fmt.Errorf("%d are skipped because %q, not %d: %+v", s.Count, reason, n, r.Input("plant"))
		}
		return nil
	})
	return s
}

// What the stream has dropped while nobody read it is counted, and the rest is
// recorded.
func TestDropped(t *testing.T) {
	s := start(t, withJetStream)
	if err := s.js.DeleteStream(t.Context(), "PLANT"); err != nil {
		t.Fatal(err)
	}
	s.create(t, jetstream.StreamConfig{MaxMsgs: 15})
	dir := t.TempDir()
	c := Config{URL: "nats://" + s.Address(), Stream: "PLANT"}
	r := Record(t, dir, newInput(t, c, none))
	r.Connected(t, "plant")
	for n := range 10 {
		s.Publish(t, n+1, time.Now())
	}
	r.Wait(t, 10)
	r.Close(t)
	for n := range 20 {
		s.Publish(t, n+11, time.Now())
	}
	r = Record(t, dir, newInput(t, c, none))
	defer r.Close(t)
	if example := skipped(t, r, gone, 5).Example; example != "PLANT: numbers 11 to 15" {
		t.Error(example)
	}
	Eventually(t, func() error {
		if got := r.Samples(t); len(got) != 1 || len(got[`{__name__="number", subject="plant.number"}`]) != 25 {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
}

// A stream that is deleted is missed, and one of its name is recorded once it is
// there.
func TestRemade(t *testing.T) {
	s := start(t, withJetStream)
	// In memory: the server removes files of a deleted stream after its answer, and
	// fails to make the next one meanwhile.
	anew := jetstream.StreamConfig{Storage: jetstream.MemoryStorage}
	r := Record(t, t.TempDir(), newInput(t, Config{URL: "nats://" + s.Address(), Stream: "PLANT"}, none))
	defer r.Close(t)
	r.Connected(t, "plant")
	for n := range 5 {
		s.Publish(t, n+1, time.Now())
	}
	r.Wait(t, 5)
	if err := s.js.DeleteStream(t.Context(), "PLANT"); err != nil {
		t.Fatal(err)
	}
	Eventually(t, func() error {
		if trouble := r.Input("plant").Trouble; !strings.HasPrefix(trouble, "there is no stream PLANT") {
			return errors.New(trouble)
		}
		return nil
	})
	s.create(t, anew)
	for n := range 5 {
		s.Publish(t, n+6, time.Now())
	}
	r.Connected(t, "plant")
	r.Wait(t, 10)
	skipped(t, r, remade, 1)
	// The same between two looks.
	if err := s.js.DeleteStream(t.Context(), "PLANT"); err != nil {
		t.Fatal(err)
	}
	s.create(t, anew)
	s.Publish(t, 11, time.Now())
	r.Wait(t, 11)
	skipped(t, r, remade, 2)
}

// A consumer that somebody deletes is made anew, and nothing is lost or recorded
// twice.
func TestConsumerDeleted(t *testing.T) {
	s := start(t, withJetStream)
	r := Record(t, t.TempDir(), newInput(t, Config{URL: "nats://" + s.Address(), Stream: "PLANT"}, none))
	defer r.Close(t)
	r.Connected(t, "plant")
	for n := range 10 {
		s.Publish(t, n+1, time.Now())
	}
	r.Wait(t, 10)
	if err := s.js.DeleteConsumer(t.Context(), "PLANT", r.Sink("plant").Identity()); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		s.Publish(t, n+11, time.Now())
	}
	r.Wait(t, 20)
	Eventually(t, func() error {
		if in := r.Input("plant"); in.Samples != 20 || in.Refused != (recorder.Refused{}) {
			return fmt.Errorf("%+v", in)
		}
		return nil
	})
}

// An input that is removed leaves no consumer behind.
func TestLeave(t *testing.T) {
	s := start(t, withJetStream)
	r := Record(t, t.TempDir(), newInput(t, Config{URL: "nats://" + s.Address(), Stream: "PLANT"}, none))
	defer r.Close(t)
	r.Connected(t, "plant")
	identity := r.Sink("plant").Identity()
	if _, err := s.js.Consumer(t.Context(), "PLANT", identity); err != nil {
		t.Fatal(err)
	}
	r.Configure(t)
	Eventually(t, func() error {
		if _, err := s.js.Consumer(t.Context(), "PLANT", identity); !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("the consumer is still there: %v", err)
		}
		return nil
	})
}

// Other subjects of the same stream go on where the input was.
func TestOtherSubjects(t *testing.T) {
	s := start(t, withJetStream)
	for n := range 6 {
		if _, err := s.js.Publish(t.Context(), fmt.Sprint("plant.", []string{"a", "b", "c"}[n%3]), strconv.AppendInt(nil, int64(n+1), 10)); err != nil {
			t.Fatal(err)
		}
		nextMillisecond() // each has a time of its own
	}
	dir := t.TempDir()
	for _, test := range []struct {
		subjects []string
		series   int
	}{{[]string{"plant.a"}, 1}, {[]string{"plant.a", "plant.b"}, 2}, {nil, 3}} {
		r := Record(t, dir, newInput(t, Config{URL: "nats://" + s.Address(), Stream: "PLANT", Subjects: test.subjects}, none))
		Eventually(t, func() error {
			if got := r.Samples(t); len(got) != test.series {
				return fmt.Errorf("%v: %v", test.subjects, got)
			}
			return nil
		})
		r.Close(t)
	}
}

// What two subjects match comes once, and > and * do not hide anything.
func TestOverlapping(t *testing.T) {
	s := start(t, nil)
	r := Record(t, t.TempDir(), newInput(t, Config{URL: "nats://" + s.Address(), Subjects: []string{"a.b", "a.*", "*.b", "c.>"}}, none))
	defer r.Close(t)
	r.Connected(t, "plant")
	s.connect(t)
	Eventually(t, func() error { // until the subscriptions are there
		for _, subject := range []string{"a.b", "a.c", "x.b", "c.d.e", "none"} {
			if err := s.conn.Publish(subject, []byte("1")); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.conn.Flush(); err != nil {
			t.Fatal(err)
		}
		if got := r.Samples(t); len(got) != 4 {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	for series, samples := range r.Samples(t) {
		if in := r.Input("plant"); uint64(len(samples)) > in.Messages/4+1 {
			t.Errorf("%s has %d samples of %d messages", series, len(samples), in.Messages)
		}
	}
}

func TestSubjects(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a.b", "a", false}, {"a", "a.b", false}, {"*", "a", true}, {"*", "a.b", false}, {"a.*", "a.b", true},
		{"a.>", "a.b.c", true}, {"a.>", "a", false}, {">", "a.b", true}, {"a.*", "a.>", false}, {"a.>", "a.*", true}, {"*.b", "a.*", false}, {"a.*.c", "a.b.c", true},
		{"a.>", "a.b.>", true}, {"a.b.>", "a.>", false},
	} {
		if got := covers(test.a, test.b); got != test.want {
			t.Errorf("%s covers %s: %v", test.a, test.b, got)
		}
	}
	if got := reduce([]string{"a.b", "a.*", "c", "a.>", "a.x", "c"}); strings.Join(got, " ") != "c a.>" {
		t.Errorf("%v", got)
	}
}

// FuzzSubjects: what is kept covers what was there, and checks never fail.
func FuzzSubjects(f *testing.F) {
	f.Add("a.*.c", "a.>")
	f.Add("", "..")
	f.Fuzz(func(t *testing.T, a, b string) {
		if checkSubject(a) != nil || checkSubject(b) != nil {
			return
		}
		if covers(a, b) && covers(b, a) && a != b {
			t.Errorf("%q and %q cover one another", a, b)
		}
		kept := reduce([]string{a, b})
		for _, s := range []string{a, b} {
			ok := false
			for _, k := range kept {
				ok = ok || covers(k, s)
			}
			if !ok {
				t.Errorf("nothing of %q covers %q", kept, s)
			}
		}
	})
}

func TestNew(t *testing.T) {
	creds, _, _ := credentials(t)
	good := Config{URL: "nats://localhost", Subjects: []string{">"}}
	for _, test := range []struct {
		name    string
		change  func(*Config)
		secrets []string
		want    string
	}{
		{"good", func(*Config) {}, nil, ""},
		{"all", func(c *Config) {
			c.URL, c.Stream, c.ServerName = "tls://a.example, tls://b.example:5222", "S", "x"
		}, []string{"credentials", creds}, ""},
		{"token", func(*Config) {}, []string{"token", "geheim"}, ""},
		{"web sockets", func(c *Config) { c.URL = "wss://localhost" }, nil, ""},
		{"no URL", func(c *Config) { c.URL = "" }, nil, "url: is missing"},
		{"an empty one", func(c *Config) { c.URL = "nats://a," }, nil, "url: is missing"},
		{"another scheme", func(c *Config) { c.URL = "tcp://a" }, nil, "url: must begin with"},
		{"a password in the URL", func(c *Config) { c.URL = "nats://u:geheim@a" }, nil, "fields of their own"},
		{"both kinds", func(c *Config) { c.URL = "nats://a,wss://b" }, nil, "either all"},
		{"no subjects", func(c *Config) { c.Subjects = nil }, nil, "subjects: give at least one"},
		{"a bad subject", func(c *Config) { c.Subjects = []string{"a..b"} }, nil, "subjects: \"a..b\" has an empty part"},
		{"a bad wildcard", func(c *Config) { c.Subjects = []string{"a.>.b"} }, nil, "> stands for all"},
		{"a space", func(c *Config) { c.Subjects = []string{"a b"} }, nil, "has a space"},
		{"a subject for a stream", func(c *Config) { c.Stream = "plant.>" }, nil, "stream: the name"},
		{"rules", func(c *Config) { c.Rules.Format = "xml" }, nil, "rules.format"},
		{"two ways", func(c *Config) { c.User = "u" }, []string{"token", "geheim"}, "give only one"},
		{"no user", func(*Config) {}, []string{"password", "geheim"}, "user: a password"},
		{"no credentials", func(*Config) {}, []string{"credentials", "geheim"}, "credentials: must be"},
		{"half of them", func(*Config) {}, []string{"credentials", creds[:strings.Index(creds, "-----BEGIN USER")]}, "credentials: must be"},
		{"certificates without TLS", func(c *Config) { c.URL = "ws://a" }, []string{"caCert", "geheim"}, "url: ws:// does not encrypt"},
		{"no CA certificate", func(*Config) {}, []string{"caCert", "geheim"}, "caCert: has no certificate"},
		{"no key", func(*Config) {}, []string{"clientCert", "geheim"}, "one needs the other"},
		{"no certificate", func(*Config) {}, []string{"clientCert", "geheim", "clientKey", "geheim"}, "clientCert and clientKey"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := good
			test.change(&c)
			_, err := New(c, secrets(test.secrets...))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\nwant %s", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Error("the error gives a secret away")
			}
		})
	}
	a, _ := New(good, none)
	b, _ := New(good, secrets("token", "geheim"))
	if a.Version() == b.Version() || strings.Contains(b.Version(), "geheim") {
		t.Error("the token is not part of the version, or readable in it")
	}
}

// credentials returns those of a user, and what a server needs to know them.
func credentials(t testing.TB) (creds string, operator *jwt.OperatorClaims, resolver *server.MemAccResolver) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	op, err := nkeys.CreateOperator()
	must(err)
	account, err := nkeys.CreateAccount()
	must(err)
	user, err := nkeys.CreateUser()
	must(err)
	opKey, err := op.PublicKey()
	must(err)
	accountKey, err := account.PublicKey()
	must(err)
	userKey, err := user.PublicKey()
	must(err)
	accountJWT, err := jwt.NewAccountClaims(accountKey).Encode(op)
	must(err)
	userJWT, err := jwt.NewUserClaims(userKey).Encode(account)
	must(err)
	seed, err := user.Seed()
	must(err)
	text, err := jwt.FormatUserConfig(userJWT, seed)
	must(err)
	resolver = &server.MemAccResolver{}
	must(resolver.Store(accountKey, accountJWT))
	return string(text), jwt.NewOperatorClaims(opKey), resolver
}

func TestLogins(t *testing.T) {
	creds, operator, resolver := credentials(t)
	others, _, _ := credentials(t)
	for _, test := range []struct {
		name      string
		server    func(*server.Options)
		user      string
		good, bad []string
	}{
		{"user", func(o *server.Options) { o.Username, o.Password = "u", "geheim" }, "u", []string{"password", "geheim"}, []string{"password", "falsch"}},
		{"token", func(o *server.Options) { o.Authorization = "geheim" }, "", []string{"token", "geheim"}, []string{"token", "falsch"}},
		{"credentials", func(o *server.Options) {
			o.TrustedOperators, o.AccountResolver = []*jwt.OperatorClaims{operator}, resolver
		}, "", []string{"credentials", creds}, []string{"credentials", others}},
		{"nobody", func(o *server.Options) { o.Authorization = "geheim" }, "", []string{"token", "geheim"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, test.server)
			c := Config{URL: "nats://" + s.Address(), Subjects: []string{">"}, User: test.user}
			r := Record(t, t.TempDir(), newInput(t, c, secrets(test.good...)))
			defer r.Close(t)
			r.Connected(t, "plant")
			if test.bad == nil {
				c.User = ""
			}
			r.Configure(t, newInput(t, c, secrets(test.bad...)))
			if trouble := r.Troubled(t, "plant"); !strings.Contains(trouble, "refuses the login") || strings.Contains(trouble, "falsch") {
				t.Error(trouble)
			}
			r.Configure(t, newInput(t, Config{URL: c.URL, Subjects: c.Subjects, User: test.user}, secrets(test.good...)))
			r.Connected(t, "plant")
		})
	}
}

// A subject that the user must not have is said, and hinders no other.
func TestPermissions(t *testing.T) {
	s := start(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Allow: []string{"plant.>"}}}}}
	})
	r := Record(t, t.TempDir(), newInput(t, Config{URL: "nats://" + s.Address(), Subjects: []string{"secret.>", "plant.>"}, User: "u"}, secrets("password", "p")))
	defer r.Close(t)
	if trouble := r.Troubled(t, "plant"); !strings.Contains(trouble, `does not let this user do all that is needed`) || !strings.Contains(trouble, "secret.>") {
		t.Error(trouble)
	}
}

// certificate is one for localhost, with its key, signed by an authority.
func certificate(t testing.TB, authority *tls.Certificate) (certPEM, keyPEM string, cert tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: authority == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	parent, signer := c, any(key)
	if authority != nil {
		parent, signer = authority.Leaf, authority.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyPEM = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	if cert, err = tls.X509KeyPair([]byte(certPEM), []byte(keyPEM)); err != nil {
		t.Fatal(err)
	}
	return certPEM, keyPEM, cert
}

func TestTLS(t *testing.T) {
	ca, _, authority := certificate(t, nil)
	_, _, of := certificate(t, &authority)
	clientCert, clientKey, _ := certificate(t, &authority)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca))
	s := start(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{of}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
		o.Websocket = server.WebsocketOpts{Host: "127.0.0.1", Port: -1, TLSConfig: &tls.Config{Certificates: []tls.Certificate{of}, MinVersion: tls.VersionTLS12}}
	})
	webSocket := s.s.WebsocketURL()
	for _, test := range []struct {
		name    string
		url     string
		change  func(*Config)
		secrets []string
		want    string // "" for a connection
	}{
		{"all is well", "tls://" + s.Address(), nil, []string{"caCert", ca, "clientCert", clientCert, "clientKey", clientKey}, ""},
		{"the server asks for it", "nats://" + s.Address(), nil, []string{"caCert", ca, "clientCert", clientCert, "clientKey", clientKey}, ""},
		{"not verified", "tls://" + s.Address(), func(c *Config) { c.SkipVerify = true }, []string{"clientCert", clientCert, "clientKey", clientKey}, ""},
		{"web socket", webSocket, nil, []string{"caCert", ca}, ""},
		{"unknown authority", "tls://" + s.Address(), nil, []string{"clientCert", clientCert, "clientKey", clientKey}, "set caCert"},
		{"another name", "tls://" + s.Address(), func(c *Config) { c.ServerName = "other.example" }, []string{"caCert", ca, "clientCert", clientCert, "clientKey", clientKey}, "set serverName"},
		{"no client certificate", "tls://" + s.Address(), nil, []string{"caCert", ca}, "certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Config{URL: test.url, Subjects: []string{">"}}
			if test.change != nil {
				test.change(&c)
			}
			r := Record(t, t.TempDir(), newInput(t, c, secrets(test.secrets...)))
			defer r.Close(t)
			if test.want == "" {
				r.Connected(t, "plant")
			} else if trouble := r.Troubled(t, "plant"); !strings.Contains(trouble, test.want) {
				t.Error(trouble)
			}
		})
	}
	plain := start(t, nil)
	r := Record(t, t.TempDir(), newInput(t, Config{URL: "tls://" + plain.Address(), Subjects: []string{">"}}, none))
	defer r.Close(t)
	if trouble := r.Troubled(t, "plant"); !strings.Contains(trouble, "does not encrypt") {
		t.Error(trouble)
	}
}

// What is no NATS server, or one without JetStream, is said.
func TestOthers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("SSH-2.0-test\r\n"))
			_ = c.Close()
		}
	}()
	s := start(t, nil)
	for want, c := range map[string]Config{
		"is no NATS server":         {URL: "nats://" + l.Addr().String(), Subjects: []string{">"}},
		"JetStream does not answer": {URL: "nats://" + s.Address(), Stream: "PLANT"},
	} {
		r := Record(t, t.TempDir(), newInput(t, c, none))
		if trouble := r.Troubled(t, "plant"); !strings.Contains(trouble, want) {
			t.Error(trouble)
		}
		r.Close(t)
	}
}
