package push

import (
	"bufio"
	"bytes"
	"cmp"
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
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/series"
)

// paths are what Handler answers. Clients of InfluxDB add their own paths to the URL
// that they are given.
var paths = map[string]struct {
	format string // Influx or Prometheus
	answer func(*run, http.ResponseWriter, *http.Request)
}{
	"influx":                  {Influx, (*run).influx},
	"influx/write":            {Influx, (*run).influx},       // 1
	"influx/api/v2/write":     {Influx, (*run).influx},       // 2
	"influx/api/v3/write_lp":  {Influx, (*run).influxByTime}, // 3
	"influx/ping":             {Influx, (*run).ping},
	"influx/health":           {Influx, (*run).healthy},
	"influx/query":            {Influx, (*run).query},
	"prometheus":              {Prometheus, (*run).prometheus},
	"prometheus/api/v1/write": {Prometheus, (*run).prometheus},
}

// Handler answers requests for a path, which begins with the format, Influx or
// Prometheus. It stores what is written through sink. If sink is nil or its input does
// not run, it answers 503.
func Handler(sink *recorder.Sink, path string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		found, _ := running.Load(sink)
		r, _ := found.(*run)
		path, known := paths[strings.Trim(path, "/")]
		switch {
		case !known:
			fail(w, http.StatusNotFound, "nothing is pushed to this path: write line protocol to push/influx, and remote write to push/prometheus")
		case r == nil:
			w.Header().Set("Retry-After", "1")
			fail(w, http.StatusServiceUnavailable, "the data source takes nothing now: its recorder is not running, or has no input of the type push")
		case !r.takes(path.format):
			fail(w, http.StatusNotFound, "the input does not take "+path.format+": it is not among its formats")
		default:
			path.answer(r, w, req)
		}
	})
}

// writes reports whether a request may store something now, one at a time so that
// requests take bounded memory. If it returns false, it has answered the request. done
// lets the next one go on.
func (r *run) writes(w http.ResponseWriter, req *http.Request) (done func(), ok bool) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		fail(w, http.StatusMethodNotAllowed, "what is pushed must be sent with POST")
		return nil, false
	}
	select {
	case r.turn <- struct{}{}:
		return func() { <-r.turn }, true
	case <-req.Context().Done():
		return nil, false
	}
}

// answer is the body of errors: clients of InfluxDB 1 read error, those of 2 code
// and message.
type answer struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Error   string `json:"error"`
	// Lines are the lines that were not stored, at most maxFaults.
	Lines []line `json:"lines,omitempty"`
}

// line is a line of a request that was not stored.
type line struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// codes are the error codes of InfluxDB 2.
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
	_ = json.NewEncoder(w).Encode(answer{codes[status], message, message, lines}) // fails only if the client is gone
}

// seconds returns d in the format of Retry-After, at least 1.
func seconds(d time.Duration) string { return strconv.Itoa(max(1, int(math.Ceil(d.Seconds())))) }

func (r *run) tooFast() error {
	return fmt.Errorf("there are more than %d samples per second: send less, or raise samplesPerSecond of the input", r.config.SamplesPerSecond)
}

// unavailable sets Retry-After in h, so that the client sends the request again, and
// returns err as an ErrNotReady.
func unavailable(h http.Header, err error) error {
	if errors.Is(err, recorder.ErrNotReady) {
		h.Set("Retry-After", "5") // a full disk or a doubtful clock takes a while
		return err
	}
	h.Set("Retry-After", "1")
	return fmt.Errorf("%w: %w", recorder.ErrNotReady, err)
}

var errTooLarge = errors.New("too large")

// body returns the request's body after decompression. allowed is the only
// compression that it accepts. If it returns false, it has answered the request.
func (r *run) body(w http.ResponseWriter, req *http.Request, allowed string) ([]byte, bool) {
	encoding := strings.ToLower(strings.TrimSpace(req.Header.Get("Content-Encoding")))
	if encoding == "identity" {
		encoding = ""
	}
	if encoding != "" && encoding != allowed {
		fail(w, http.StatusUnsupportedMediaType, fmt.Sprintf("the content encoding %q is not known here: use %s, or none", encoding, allowed))
		return nil, false
	}
	from := bufio.NewReader(cmp.Or[io.Reader](req.Body, http.NoBody))
	if allowed == "snappy" {
		encoding = allowed // remote write always uses it, some clients without the header
	} else if magic, _ := from.Peek(3); bytes.Equal(magic, []byte{0x1f, 0x8b, 0x08}) {
		encoding = "gzip" // a proxy may have removed the header
	}
	b, err := r.read(from, encoding)
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

// request is a request that is being stored.
type request struct {
	*run
	ctx  context.Context //nolint:containedctx // it lives no longer than the request
	now  time.Time
	from string // the format, with its version
	// payload is the payload for the status.
	payload string

	// samples are not yet committed. lines are theirs, in line protocol.
	samples []recorder.Sample
	lines   []int
	all     int      // samples so far
	shown   []string // of the first of them those that were stored
	size    int      // bytes of all labels that were made
	err     error    // why nothing more can be stored

	skipped map[string]recorder.Skipped
	meta    map[string]recorder.Metadata
	// faults are the first parts that can never be stored, and faulty is the number
	// of all. refused counts refused samples, and ancient those of them with a date
	// of 1970.
	faults           []fault
	faulty           int
	refused, ancient int
}

func (r *run) newRequest(ctx context.Context, from string) *request {
	return &request{run: r, ctx: ctx, now: r.sink.Now(), from: from, meta: make(map[string]recorder.Metadata)}
}

// fault says why a part of a request was not stored.
type fault struct {
	line int // 0 if the format has no lines
	text string
}

const (
	// batch is how many samples one commit has, as a commit holds the store's lock.
	batch = 5000
	// maxFaults is how many faults an answer has.
	maxFaults = 20
	// maxShown is how many samples the status shows.
	maxShown = 10
	// maxGrowth limits the labels of all series of a request, as a multiple of
	// MaxBytes: formats can write labels in a short way, such as once for many
	// series.
	maxGrowth = 8
	// maxDescribed is how many descriptions of metrics are read from a request.
	maxDescribed = 10_000
	// ancient is a time (Unix ms) before any real date: an earlier one has the wrong
	// unit.
	ancient = 365 * 24 * 3600 * 1000
)

// Reasons why something was not recorded.
const (
	notLines      = "not valid line protocol"
	notANumber    = "not a number"
	noName        = "no usable name"
	twoTags       = "two tags, one name"
	twoFields     = "two fields, one name"
	tooManySeries = "too many series"
	badLabels     = "labels that are not valid"
	histograms    = "native histogram"
	exemplars     = "exemplar"
)

// tooLongText is why a string is not a state.
var tooLongText = fmt.Sprintf("text of more than %d bytes", series.MaxText)

// shown are labels that become text only when they are printed.
type shown labels.Labels

func (s shown) String() string { return recorder.Text(labels.Labels(s)) }

// skip counts parts that are not recorded. It does not make them faults.
func (q *request) skip(reason string, n int, example any) {
	if n == 0 {
		return
	}
	if q.skipped == nil {
		q.skipped = make(map[string]recorder.Skipped)
	}
	s := q.skipped[reason]
	if s.Count == 0 {
		s.Example = fmt.Sprintf("%.1000s", example)
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

// find returns the series with these labels. If there is no room, it notes a fault
// and returns nil.
func (q *request) find(lbls labels.Labels, line int) *series.Series {
	s := q.table.Find("", lbls, q.now)
	if s == nil {
		q.full(lbls, line)
	}
	return s
}

// full notes that there is no room for the series of labels.
func (q *request) full(lbls labels.Labels, line int) {
	q.skip(tooManySeries, 1, shown(lbls))
	q.fault(line, "the input has the %d series that it may write to within an hour: raise its maxSeries, or send fewer: %.200s", q.table.Max(), shown(lbls))
}

// grow notes the size of labels before they are made. It returns an error if those
// of the whole request are too large.
func (q *request) grow(bytes int) error {
	if q.size += bytes; int64(q.size) > maxGrowth*q.config.MaxBytes {
		return fmt.Errorf("the labels of all series together have more than %d bytes: send fewer series at once", maxGrowth*q.config.MaxBytes)
	}
	return nil
}

// add adds a sample, and commits when a batch is full.
func (q *request) add(sample recorder.Sample, line int) {
	if q.err != nil {
		return
	}
	q.newest.Add(sample.T, q.now)
	q.all++
	q.samples, q.lines = append(q.samples, sample), append(q.lines, line)
	if len(q.samples) == batch {
		q.commit(math.MinInt64) // no watermark, as more samples may come
	}
}

// commit commits the waiting samples. Refused ones become faults.
func (q *request) commit(watermark int64) {
	if q.err != nil {
		return
	}
	// After an error the client sends all again. Samples that are stored by then
	// count as repeated.
	show := max(0, min(len(q.samples), maxShown-(q.all-len(q.samples))))
	var refused [maxShown]bool
	q.err = q.sink.CommitEach(q.ctx, q.samples, watermark, func(i int, why error) {
		s := q.samples[i]
		if i < show {
			refused[i] = true
		}
		if q.refused++; s.T < ancient {
			q.ancient++
		}
		if len(q.faults) < maxFaults {
			q.fault(q.lines[i], "%v: %.500s", why, s)
		} else {
			q.faulty++
		}
	})
	for i := 0; i < show && q.err == nil; i++ {
		if !refused[i] {
			q.shown = append(q.shown, q.samples[i].String())
		}
	}
	q.samples, q.lines = q.samples[:0], q.lines[:0]
}

// finish commits the rest of the request and reports it to the sink.
func (q *request) finish() error {
	q.take(q.now, q.all)
	describe := make(map[string]recorder.Metadata)
	for name, m := range q.meta {
		if old, ok := q.described[name]; old != m && (ok || len(q.described) < q.config.MaxSeries) {
			q.described[name], describe[name] = m, m
		}
	}
	if len(describe) > 0 {
		q.sink.Describe(describe)
	}
	if q.commit(q.newest.Time()); q.err != nil {
		return q.err
	}
	q.sink.Report(recorder.Report{Messages: 1, Skipped: q.skipped,
		Last: &recorder.Message{From: q.from, Payload: q.payload, Samples: q.shown}})
	return nil
}

// told returns what was wrong, for people. Telegraf recognises the first two words,
// and does not send the request again.
func (q *request) told() string {
	var b strings.Builder
	fmt.Fprintf(&b, "partial write: %d samples are stored", q.all-q.refused)
	if q.ancient > 0 {
		fmt.Fprintf(&b, ", and %d have dates of 1970: ", q.ancient)
		if q.from == Influx {
			b.WriteString("say in which unit the time stamps are, as in ?precision=s at the end of the URL, or ms or us")
		} else {
			b.WriteString("the time stamps must be milliseconds")
		}
	}
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
