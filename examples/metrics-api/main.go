// Command metrics-api is an example of a service that Continuum's metrics API
// source can ask: docs/metrics-api.md is the contract, openapi.yaml its form.
//
// It has the temperatures of two rooms and the orders of a shop, one point a
// second for as long as anyone likes to look back. A real service would read them
// from its database; here they are computed from their time, so that nothing is
// lost when the service is restarted.
package main

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"
)

// metric is one series of numbers.
type metric struct {
	unit   string // one of Grafana's, or any text
	labels map[string]string
	value  func(second float64) float64
}

// wave goes up and down once in the given number of seconds.
func wave(second, period float64) float64 { return math.Sin(2 * math.Pi * second / period) }

var metrics = map[string]metric{
	"temperature_hall": {"celsius", map[string]string{"room": "hall"}, func(s float64) float64 {
		return 21 + 2*wave(s, 3600) + 0.5*wave(s, 47)
	}},
	"temperature_store": {"celsius", map[string]string{"room": "store"}, func(s float64) float64 {
		return 6 + wave(s, 600) + 0.2*wave(s, 13)
	}},
	"orders": {"short", nil, func(s float64) float64 {
		return math.Floor(5 + 5*wave(s, 300))
	}},
}

// Limits of one answer: an honest error is better than half an answer.
const maxPoints = 200_000

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "`host:port` to listen on")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("http://" + listener.Addr().String())
	server := &http.Server{Handler: handler(os.Getenv("METRICS_API_KEY")), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.Serve(listener))
}

// handler answers those who send the key, or everyone if there is none.
func handler(key string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /names", func(w http.ResponseWriter, _ *http.Request) {
		var names []string
		for name := range metrics {
			names = append(names, name)
		}
		slices.Sort(names)
		answer(w, http.StatusOK, names)
	})
	mux.HandleFunc("GET /latest", latest)
	mux.HandleFunc("GET /query", query)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if key != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+key)) != 1 {
			refuse(w, http.StatusUnauthorized, "the key is missing or wrong")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func latest(w http.ResponseWriter, r *http.Request) {
	m, ok := metrics[r.FormValue("metric")]
	if !ok {
		refuse(w, http.StatusNotFound, "there is no metric %q", r.FormValue("metric"))
		return
	}
	now := time.Now().Unix()
	answer(w, http.StatusOK, map[string]any{"timestamp": now * 1000, "value": m.value(float64(now))})
}

func query(w http.ResponseWriter, r *http.Request) {
	m, ok := metrics[r.FormValue("metric")]
	if !ok {
		refuse(w, http.StatusNotFound, "there is no metric %q", r.FormValue("metric"))
		return
	}
	from, err1 := strconv.ParseInt(r.FormValue("from"), 10, 64)
	to, err2 := strconv.ParseInt(r.FormValue("to"), 10, 64)
	if err := cmp.Or(err1, err2); err != nil {
		refuse(w, http.StatusBadRequest, "from and to must be Unix milliseconds: %v", err)
		return
	}
	first := int64(math.Ceil(float64(from) / 1000))
	last := min(int64(math.Floor(float64(to)/1000)), time.Now().Unix())
	if last-first >= maxPoints {
		refuse(w, http.StatusBadRequest, "the range has more than %d points: ask for less", maxPoints)
		return
	}
	timestamps, values := []int64{}, []float64{}
	for second := first; second <= last; second++ {
		timestamps = append(timestamps, second*1000)
		values = append(values, m.value(float64(second)))
	}
	answer(w, http.StatusOK, map[string]any{"timestamps": timestamps, "values": values, "labels": m.labels, "unit": m.unit})
}

func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	answer(w, status, map[string]string{"error": fmt.Sprintf(format, args...)})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever asked may be gone
}
