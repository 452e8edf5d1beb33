package push

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
)

// Handler answers the requests of a format, Influx or Prometheus, for the running
// input that sink belongs to. sink may be nil if there is none.
func Handler(sink *recorder.Sink, format string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		found, _ := running.Load(sink)
		r, _ := found.(*run)
		switch {
		case req.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			fail(w, http.StatusMethodNotAllowed, "what is pushed must be sent with POST")
		case r == nil:
			w.Header().Set("Retry-After", "1")
			fail(w, http.StatusServiceUnavailable, "the data source takes nothing now: its recorder is not running, or has no input of the type push")
		case !r.takes(format):
			fail(w, http.StatusNotFound, "the input does not take "+format+": it is not among its formats")
		default:
			// One request after another, so that they take bounded memory.
			select {
			case r.turn <- struct{}{}:
				defer func() { <-r.turn }()
			case <-req.Context().Done():
				return
			}
			if format == Influx {
				r.influx(w, req)
			} else {
				r.prometheus(w, req)
			}
		}
	})
}

// answer is what clients of InfluxDB 1 (error) and 2 (code, message) read.
type answer struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Error   string `json:"error"`
	// Lines are the lines that were not stored, as far as they can be told.
	Lines []line `json:"lines,omitempty"`
}

// line is a line of a request that was not stored.
type line struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// codes are InfluxDB's.
var codes = map[int]string{
	http.StatusBadRequest:            "invalid",
	http.StatusNotFound:              "not found",
	http.StatusMethodNotAllowed:      "method not allowed",
	http.StatusRequestEntityTooLarge: "request too large",
	http.StatusUnsupportedMediaType:  "invalid",
	http.StatusTooManyRequests:       "too many requests",
	http.StatusServiceUnavailable:    "unavailable",
}

func fail(w http.ResponseWriter, status int, message string, lines ...line) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer{codes[status], message, message, lines}) // whoever asked is gone
}

// seconds is what Retry-After takes.
func seconds(d time.Duration) string { return strconv.Itoa(max(1, int(math.Ceil(d.Seconds())))) }

func (r *run) tooFast() error {
	return fmt.Errorf("there are more than %d samples per second: send less, or raise samplesPerSecond of the input", r.config.SamplesPerSecond)
}

func cannotStore(err error) error { return fmt.Errorf("nothing can be stored now: %w", err) }

var errTooLarge = errors.New("too large")

// body returns the request's body without its compression, which may be one of
// those allowed. If it cannot, it has answered.
func (r *run) body(w http.ResponseWriter, req *http.Request, allowed string) ([]byte, bool) {
	encoding := strings.ToLower(strings.TrimSpace(req.Header.Get("Content-Encoding")))
	if encoding == "identity" {
		encoding = ""
	}
	if encoding != "" && encoding != allowed {
		fail(w, http.StatusUnsupportedMediaType, fmt.Sprintf("the content encoding %q is not known here: use %s, or none", encoding, allowed))
		return nil, false
	}
	if allowed == "snappy" {
		encoding = allowed // the standard has no other, and some do not say so
	}
	b, err := r.read(req.Body, encoding)
	switch {
	case errors.Is(err, errTooLarge):
		fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf(
			"the request has more than %d bytes: send smaller batches, or raise maxBytes of the input", r.config.MaxBytes))
	case err != nil:
		fail(w, http.StatusBadRequest, fmt.Sprintf("the request cannot be read: %v", err))
	}
	return b, err == nil
}

func (r *run) read(from io.Reader, encoding string) ([]byte, error) {
	if from == nil {
		from = http.NoBody
	}
	if encoding == "gzip" {
		z, err := gzip.NewReader(io.LimitReader(from, r.config.MaxBytes+1))
		if err != nil {
			return nil, err
		}
		from = z
	}
	b, err := io.ReadAll(io.LimitReader(from, r.config.MaxBytes+1))
	if int64(len(b)) > r.config.MaxBytes {
		return nil, errTooLarge
	}
	if err != nil || encoding != "snappy" {
		return b, err
	}
	n, err := snappy.DecodedLen(b)
	if err != nil {
		return nil, err
	}
	if int64(n) > r.config.MaxBytes {
		return nil, errTooLarge
	}
	return snappy.Decode(nil, b)
}

// request is what a request holds.
type request struct {
	samples []recorder.Sample
	lines   []int // of the samples, in line protocol
	skipped map[string]recorder.Skipped
	meta    map[string]recorder.Metadata
	from    string
	payload string
	// faults are the first parts that can never be stored, of faulty in all.
	// refused is how many of the samples are among these.
	faults  []fault
	faulty  int
	refused int
}

// fault is why a part of a request was not stored.
type fault struct {
	line int // 0 if it has none
	text string
}

// maxFaults is how many are told.
const maxFaults = 20

// Why something was not recorded.
const (
	notLines      = "not valid line protocol"
	notANumber    = "not a number"
	noName        = "no usable name"
	tooManySeries = "too many series"
	badLabels     = "labels that are not valid"
	histograms    = "native histogram"
	exemplars     = "exemplar"
)

// skip counts what is not recorded, and is no fault.
func (q *request) skip(reason string, n int, example string) {
	if n == 0 {
		return
	}
	if q.skipped == nil {
		q.skipped = make(map[string]recorder.Skipped)
	}
	s := q.skipped[reason]
	if s.Count == 0 {
		s.Example = example
	}
	s.Count += uint64(n)
	q.skipped[reason] = s
}

// fault notes a part that can never be stored.
func (q *request) fault(line int, format string, args ...any) {
	if q.faulty++; len(q.faults) < maxFaults {
		q.faults = append(q.faults, fault{line, fmt.Sprintf(format, args...)})
	}
}

// maxLabels is how large the labels of a series may be, in bytes.
const maxLabels = 16 << 10

// check says why there can be no series of the given labels.
func check(lbls labels.Labels) error {
	switch name, twice := lbls.HasDuplicateLabelNames(); {
	case !lbls.Has(model.MetricNameLabel):
		return errors.New("the name of the metric is missing")
	case twice:
		return fmt.Errorf("the label %s is there twice", name)
	case !lbls.IsValid(model.UTF8Validation):
		return errors.New("labels are not valid UTF-8, or have no name")
	case lbls.ByteSize() > maxLabels:
		return fmt.Errorf("labels have more than %d bytes", maxLabels)
	}
	return nil
}

// batch is how many samples are committed at once: the store's lock is held that
// long.
const batch = 5000

// store stores the samples of q. Those that are refused become faults.
func (r *run) store(ctx context.Context, q *request, now time.Time) error {
	all := len(q.samples)
	for i := range q.samples {
		r.newest.add(q.samples[i].T, now)
	}
	watermark := r.newest.watermark()
	describe := make(map[string]recorder.Metadata)
	for name, m := range q.meta {
		if old, ok := r.described[name]; old != m && (ok || len(r.described) < r.config.MaxSeries) {
			r.described[name], describe[name] = m, m
		}
	}
	if len(describe) > 0 {
		r.sink.Describe(describe)
	}
	for begin := 0; begin < all || begin == 0; begin += batch {
		end := min(begin+batch, all)
		up := int64(math.MinInt64) // not before all is there
		if end == all {
			up = watermark
		}
		if err := r.sink.CommitEach(ctx, q.samples[begin:end], up, func(i int, why error) {
			q.refuse(begin+i, why)
		}); err != nil {
			return err // what is stored already will come again, which does no harm
		}
	}
	report := recorder.Report{Messages: 1, Skipped: q.skipped, Last: &recorder.Message{From: q.from, Payload: q.payload}}
	for _, s := range q.samples[:min(all, 10)] {
		report.Last.Samples = append(report.Last.Samples, say(s))
	}
	r.sink.Report(report)
	return nil
}

func (q *request) refuse(i int, why error) {
	line := 0
	if q.lines != nil {
		line = q.lines[i]
	}
	q.fault(line, "%v: %s", why, say(q.samples[i]))
	q.refused++
}

// say writes a sample for people.
func say(s recorder.Sample) string {
	v := strconv.FormatFloat(s.V, 'g', -1, 64)
	if value.IsStaleNaN(s.V) {
		v = "stale"
	}
	return fmt.Sprintf("%s %s @ %s", text(s.Series.Labels), v, time.UnixMilli(s.T).UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// text writes labels as in PromQL.
func text(lbls labels.Labels) string {
	b := labels.NewBuilder(lbls)
	b.Del(model.MetricNameLabel)
	rest := b.Labels()
	if rest.IsEmpty() {
		return lbls.Get(model.MetricNameLabel)
	}
	return lbls.Get(model.MetricNameLabel) + rest.String()
}

// told is what was wrong, for people. Telegraf knows by the first two words that
// there is no use in trying again.
func (q *request) told() string {
	var b strings.Builder
	fmt.Fprintf(&b, "partial write: %d samples are stored", len(q.samples)-q.refused)
	for i, f := range q.faults {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		if f.line > 0 {
			fmt.Fprintf(&b, "line %d: ", f.line)
		}
		b.WriteString(f.text)
	}
	if more := q.faulty - len(q.faults); more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}
