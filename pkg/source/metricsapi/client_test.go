package metricsapi

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/source/metricsapi/metricsapitest"
)

// What fails for a moment is asked again, after a wait that the service may
// choose, and what fails for good is not.
func TestAskedAgain(t *testing.T) {
	well := func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"timestamp":1,"value":1}`)) }
	status := func(code int, header ...string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(code)
			_, _ = w.Write([]byte("the\nreason"))
		}
	}
	broken := func(w http.ResponseWriter) {
		c, _, _ := w.(http.Hijacker).Hijack()
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"timestamp\":1,"))
		_ = c.Close()
	}
	gone := func(w http.ResponseWriter) {
		c, _, _ := w.(http.Hijacker).Hijack()
		_ = c.Close()
	}
	slow := func(http.ResponseWriter) { time.Sleep(time.Minute) }
	type answers = []func(http.ResponseWriter)
	const date, later = "Sat, 01 Jan 2000 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:04 GMT"
	for _, tc := range []struct {
		name        string
		answers     answers // the last one for all further questions
		least, most time.Duration
		asked       int64
		err         string
	}{
		{"well", answers{well}, 0, 0, 1, ""},
		{"500 once", answers{status(500), well}, 125 * time.Millisecond, 375 * time.Millisecond, 2, ""},
		{"500, 502, 504", answers{status(500), status(502), status(504), well}, 875 * time.Millisecond, 2625 * time.Millisecond, 4, ""},
		{"500 always", answers{status(500)}, 875 * time.Millisecond, 2625 * time.Millisecond, 4,
			"the metrics API answers 500 Internal Server Error to /latest: the reason"},
		{"400", answers{status(400)}, 0, 0, 1, "the metrics API answers 400 Bad Request to /latest: the reason"},
		{"503 with seconds", answers{status(503, "Retry-After", "7"), well}, 7 * time.Second, 7 * time.Second, 2, ""},
		{"429 with a date", answers{status(429, "Retry-After", later, "Date", date), well}, 4 * time.Second, 4 * time.Second, 2, ""},
		{"429 with a date of another clock", answers{status(429, "Retry-After", "Mon, 01 Jan 2035 00:00:04 GMT", "Date", "Mon, 01 Jan 2035 00:00:00 GMT"), well}, 4 * time.Second, 4 * time.Second, 2, ""},
		{"429 without", answers{status(429), well}, 125 * time.Millisecond, 375 * time.Millisecond, 2, ""},
		{"429 with nonsense", answers{status(429, "Retry-After", "soon"), well}, 125 * time.Millisecond, 375 * time.Millisecond, 2, ""},
		{"429 with a date that is past", answers{status(429, "Retry-After", date, "Date", later), well}, 125 * time.Millisecond, 375 * time.Millisecond, 2, ""},
		{"429 for longer than one waits", answers{status(429, "Retry-After", "60"), well}, 0, 0, 1,
			"the metrics API answers 429 Too Many Requests to /latest: the reason"},
		{"cut off", answers{gone, broken, well}, 375 * time.Millisecond, 1125 * time.Millisecond, 3, ""},
		{"cut off always", answers{broken}, 875 * time.Millisecond, 2625 * time.Millisecond, 4,
			"the connection to the metrics API broke: unexpected EOF"},
		{"slow once", answers{slow, well}, 5125 * time.Millisecond, 5375 * time.Millisecond, 2, ""},
		{"slow always", answers{slow}, 20875 * time.Millisecond, 22625 * time.Millisecond, 4,
			"the metrics API did not answer in time: ask for less, or raise the timeout in the data source settings"},
		{"a wrong answer", answers{func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{}`)) }}, 0, 0, 1,
			"the answer of the metrics API to /latest is wrong: it has no field timestamp"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				var network metricsapitest.Network
				s, _ := asking(t, Config{Client: network.Client(5 * time.Second)}, http.NotFoundHandler())
				network.Start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					tc.answers[min(asked.Add(1), int64(len(tc.answers)))-1](w)
				}))
				began := time.Now()
				_, err := bind(t, parse(t, s, `{"metricName":"m"}`), 1000).Settled(t.Context())
				if took := time.Since(began); took < tc.least || took > tc.most {
					t.Errorf("it took %v, not %v to %v", took, tc.least, tc.most)
				}
				if n := asked.Load(); n != tc.asked {
					t.Errorf("it was asked %d times, not %d", n, tc.asked)
				}
				if err == nil && tc.err != "" || err != nil && err.Error() != tc.err {
					t.Errorf("got %v", err)
				}
				network.Stop()
				time.Sleep(2 * time.Minute) // for handlers that sleep
			})
		})
	}
}

// Whoever asks next, for whatever, waits as long as the service wanted.
func TestRetryAfterHoldsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		service := &metricsapitest.Service{Period: time.Second}
		s, _ := asking(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == 1 {
				w.Header().Set("Retry-After", "90")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			service.ServeHTTP(w, r)
		}))
		began := time.Now()
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				q := parse(t, s, fmt.Sprintf(`{"metricName":"m","queryText":"%d"}`, i))
				for {
					_, err := bind(t, q, 1000).Settled(t.Context())
					if err == nil {
						break
					}
					time.Sleep(time.Second)
				}
				if took := time.Since(began); took < 90*time.Second || took > 95*time.Second {
					t.Errorf("asker %d waited %v", i, took)
				}
			})
		}
		all.Wait()
		if n := asked.Load(); n > 40 {
			t.Errorf("it was asked %d times", n)
		}
	})
}

// A service that is away is found again.
func TestServiceAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		service := &metricsapitest.Service{Period: time.Second}
		s, network := asking(t, Config{}, service)
		network.Stop()
		q := parse(t, s, `{"metricName":"m"}`)
		_, err := bind(t, q, 1000).Settled(t.Context())
		if want := "the metrics API cannot be reached: connection refused: check the endpoint, and whether the server is running"; err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
		go func() {
			time.Sleep(200 * time.Millisecond)
			network.Start(service)
		}()
		time.Sleep(maxAgeError)
		if _, err := bind(t, q, 1000).Settled(t.Context()); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnswerTooLarge(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.FormatInt(limits.Body.Most+1, 10))
		w.WriteHeader(http.StatusOK)
	}))
	defer srv.Close()
	s, err := New(Config{Endpoint: srv.URL, Client: srv.Client(), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bind(t, parse(t, s, `{"metricName":"m"}`), 1000).Settled(t.Context())
	if want := "the answer of the metrics API to /latest is too large: Answer of a server: 67108865 bytes are more than the limit of 67108864: choose a shorter time range, or narrow the query down"; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// Where a service sends the client to, the client's key goes too: so it goes
// nowhere but to the endpoint's own host.
func TestRedirects(t *testing.T) {
	var stolen atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Store(true) }))
	defer thief.Close()
	service := &metricsapitest.Service{Period: time.Second}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path, ok := strings.CutPrefix(r.URL.Path, "/moved"); ok {
			http.Redirect(w, r, path+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
			return
		}
		if path, ok := strings.CutPrefix(r.URL.Path, "/away"); ok {
			http.Redirect(w, r, thief.URL+path, http.StatusFound)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/round") {
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
			return
		}
		service.ServeHTTP(w, r)
	}))
	defer srv.Close()
	for path, want := range map[string]string{
		"/moved": "",
		"/away":  "Endpoint: the metrics API redirects to " + thief.URL + ", which is not followed because the credentials would go there too: enter that address as the endpoint if it is right",
		"/round": "Endpoint: the metrics API redirects to itself again and again: check the endpoint",
	} {
		s, err := New(Config{Endpoint: srv.URL + path, Client: srv.Client(), Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Check(t.Context()); err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if stolen.Load() {
		t.Error("the key went to another host")
	}
}

// A check names the step that fails.
func TestCheck(t *testing.T) {
	service := &metricsapitest.Service{Period: time.Second}
	answering := func(answers map[string]string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			answer, ok := answers[r.URL.Path]
			switch {
			case !ok:
				service.ServeHTTP(w, r)
			case len(answer) >= 3 && answer[0] >= '3' && answer[0] <= '5':
				var status int
				_, _ = fmt.Sscan(answer[:3], &status)
				w.WriteHeader(status)
				_, _ = w.Write([]byte(answer[3:]))
			default:
				_, _ = w.Write([]byte(answer))
			}
		}
	}
	plain := func(answers map[string]string) func(*testing.T) (string, *http.Client) {
		return func(t *testing.T) (string, *http.Client) {
			srv := httptest.NewServer(answering(answers))
			t.Cleanup(srv.Close)
			return srv.URL, srv.Client()
		}
	}
	secure := func(configure func(*httptest.Server)) func(*testing.T) (string, *http.Client) {
		return func(t *testing.T) (string, *http.Client) {
			srv := httptest.NewUnstartedServer(service)
			srv.Config.ErrorLog = silent
			srv.StartTLS()
			t.Cleanup(srv.Close)
			client := srv.Client()
			if configure != nil {
				configure(srv)
			}
			return srv.URL, client
		}
	}
	trust := func(srv *httptest.Server) *tls.Config {
		return srv.Client().Transport.(*http.Transport).TLSClientConfig
	}
	for _, tc := range []struct {
		name string
		make func(*testing.T) (string, *http.Client)
		want string // how it begins
	}{
		{"well", plain(nil), "The metrics API answers, and names 1 metrics. The newest point of the first of them, m, is at 20"},
		{"well over TLS", secure(nil), "The metrics API answers, and names 1 metrics."},
		{"well in a word", plain(map[string]string{"/health": "OK"}), "The metrics API answers, and names 1 metrics."},
		{"no names", plain(map[string]string{"/names": "404no"}), "The metrics API answers. It names no metrics, so no point was asked for."},
		{"no point yet", plain(map[string]string{"/latest": `{"timestamp":null,"value":null}`}), "The metrics API answers, and names 1 metrics. The first of them, m, has no point yet."},

		{"a host that DNS does not know", func(*testing.T) (string, *http.Client) {
			return "http://metrics.invalid", &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext}}
		}, "Address: the metrics API cannot be reached: "},
		{"nothing listens", func(t *testing.T) (string, *http.Client) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			_ = l.Close()
			return "http://" + l.Addr().String(), http.DefaultClient
		}, "Address: the metrics API cannot be reached: connection refused: check the endpoint, and whether the server is running"},
		{"nothing answers", func(*testing.T) (string, *http.Client) {
			return "http://a", &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Deadline: time.Unix(1, 0)}).DialContext}}
		}, "Address: the metrics API cannot be reached"},
		{"a certificate that nobody knows", secure(func(srv *httptest.Server) { trust(srv).RootCAs = x509.NewCertPool() }),
			"TLS: the certificate of the metrics API is not trusted: x509: certificate signed by unknown authority"},
		{"a certificate for another name", secure(func(srv *httptest.Server) { trust(srv).ServerName = "other.invalid" }),
			"TLS: the certificate of the metrics API is not trusted: x509: certificate is valid for example.com"},
		{"a certificate that has expired", secure(func(srv *httptest.Server) {
			trust(srv).Time = func() time.Time { return time.Now().Add(200 * 365 * 24 * time.Hour) }
		}), "TLS: the certificate of the metrics API is not trusted: x509: certificate has expired"},
		{"a client certificate is wanted", func(t *testing.T) (string, *http.Client) {
			srv := httptest.NewUnstartedServer(service)
			srv.Config.ErrorLog = silent
			srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
			srv.StartTLS()
			t.Cleanup(srv.Close)
			return srv.URL, srv.Client()
		}, "TLS: the metrics API refuses the TLS connection: "},
		{"a client certificate of nobody", func(t *testing.T) (string, *http.Client) {
			srv := httptest.NewUnstartedServer(service)
			srv.Config.ErrorLog = silent
			srv.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
			srv.StartTLS()
			t.Cleanup(srv.Close)
			client := srv.Client()
			client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{selfSigned(t)}
			return srv.URL, client
		}, "TLS: the metrics API refuses the TLS connection: "},
		{"https to a server of http", func(t *testing.T) (string, *http.Client) {
			srv := httptest.NewServer(service)
			t.Cleanup(srv.Close)
			return strings.Replace(srv.URL, "http", "https", 1), http.DefaultClient
		}, "TLS: the metrics API does not speak TLS: enter the endpoint with http:// instead of https://"},
		{"http to a server of https", func(t *testing.T) (string, *http.Client) {
			srv := httptest.NewUnstartedServer(service)
			srv.Config.ErrorLog = silent
			srv.StartTLS()
			t.Cleanup(srv.Close)
			return strings.Replace(srv.URL, "https", "http", 1), http.DefaultClient
		}, "TLS: the metrics API wants TLS: enter the endpoint with https:// instead of http://"},
		{"no key", plain(map[string]string{"/health": `401{"error":"no key"}`}), "Credentials: the metrics API answers 401 Unauthorized to /health: no key"},
		{"a key that is only looked at later", plain(map[string]string{"/names": `403{"Message":"not you"}`}), "Credentials: the metrics API answers 403 Forbidden to /names: not you"},
		{"a key that is looked at last", plain(map[string]string{"/names": "404", "/latest": `401{"detail":"who?"}`}), "Credentials: the metrics API answers 401 Unauthorized to /latest: who?"},
		{"a path that is not there", func(t *testing.T) (string, *http.Client) {
			url, client := plain(nil)(t)
			return url + "/api", client
		}, "Endpoint: the metrics API answers 404 Not Found to /health"},
		{"no /latest", plain(map[string]string{"/latest": "404page not found"}), "Endpoint: the metrics API answers 404 Not Found to /latest: page not found"},
		{"neither /names nor /latest", plain(map[string]string{"/names": "404", "/latest": `404{"detail":"Not Found"}`}), "Endpoint: the metrics API answers 404 Not Found to /latest: Not Found"},
		{"neither /names nor /query", plain(map[string]string{"/names": "404", "/query": `404`}), "Endpoint: the metrics API answers 404 Not Found to /query"},
		{"a web page", plain(map[string]string{"/health": "<!doctype html><title>Hello</title>"}), "Endpoint: the metrics API answers /health with a web page and not JSON: is the endpoint the metrics API's?"},
		{"not well", plain(map[string]string{"/health": `503{"error":"the database is down"}`}), "Server: the metrics API answers 503 Service Unavailable to /health: the database is down"},
		{"wrong names", plain(map[string]string{"/names": `{"metrics":[]}`}), "Answer: the answer of the metrics API to /names is wrong: it is an object and not a list"},
		{"a wrong latest", plain(map[string]string{"/latest": `{"timestamp":"today","value":1}`}), `Answer: the answer of the metrics API to /latest is wrong: timestamp is "today"`},
		{"a wrong query", plain(map[string]string{"/query": `{"timestamps":[1,2],"values":[1,2]}`}), "Answer: the answer of the metrics API to /query is wrong: timestamps[0] is 1970-01-01T00:00:00.001Z, which was not asked for"},
		{"no points where there must be one", plain(map[string]string{"/query": `{"timestamps":[],"values":[]}`}), `Answer: /latest has a point of "m" at 20`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, client := tc.make(t)
			s, err := New(Config{Endpoint: url, Client: client, Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Check(t.Context())
			if err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, tc.want) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// A check ends, whatever the service does.
func TestCheckOfASlowService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, network := asking(t, Config{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Hour) }))
		began := time.Now()
		_, err := s.Check(t.Context())
		if want := "Server: the metrics API did not answer in time: ask for less, or raise the timeout in the data source settings"; err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != checkTime {
			t.Errorf("it took %v", took)
		}
		network.Stop()
		time.Sleep(2 * time.Hour)
	})
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nobody"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// silent is for servers whose clients are meant to fail.
var silent = log.New(io.Discard, "", 0)

// A service that is slow is waited for as long as the settings allow.
func TestTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{30 * time.Second, 2 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			service := &metricsapitest.Service{Period: time.Second}
			s, network := asking(t, Config{Timeout: timeout}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(45 * time.Second)
				service.ServeHTTP(w, r)
			}))
			q, err := s.Query([]byte(`{"metricName":"m"}`))
			if err != nil {
				t.Fatal(err)
			}
			_, err = bind(t, q, 1000).Settled(t.Context())
			if slow := timeout < 45*time.Second; slow != (err != nil) {
				t.Errorf("within %v: %v", timeout, err)
			}
			network.Stop()
			time.Sleep(time.Hour)
		})
	}
}
