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

// unavailable says in h that what was sent should be sent again, whatever it is, and
// returns why.
func unavailable(h http.Header, err error) error {
	if errors.Is(err, recorder.ErrNotReady) {
		h.Set("Retry-After", "5") // it takes a while
		return err
	}
	h.Set("Retry-After", "1")
	return fmt.Errorf("%w: %w", recorder.ErrNotReady, err)
}

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
	from := bufio.NewReader(cmp.Or[io.Reader](req.Body, http.NoBody))
	if allowed == "snappy" {
		encoding = allowed // the standard has no other, and some do not say so
	} else if magic, _ := from.Peek(3); bytes.Equal(magic, []byte{0x1f, 0x8b, 0x08}) {
		encoding = "gzip" // a proxy may have taken the header away
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
	from string // its format
	// payload shows what it was.
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
	// faults are the first parts that can never be stored, of faulty in all.
	// refused is how many of the samples are among these, and ancient how many of
	// them have a date of 1970.
	faults           []fault
	faulty           int
	refused, ancient int
}

func (r *run) newRequest(ctx context.Context, from string) *request {
	return &request{run: r, ctx: ctx, now: r.sink.Now(), from: from, meta: make(map[string]recorder.Metadata)}
}

// fault is why a part of a request was not stored.
type fault struct {
	line int // 0 if it has none
	text string
}

const (
	// batch is how many samples are committed at once: the store's lock is held
	// that long.
	batch = 5000
	// maxFaults is how many faults are told.
	maxFaults = 20
	// maxShown is how many samples the status shows.
	maxShown = 10
	// maxGrowth is how many times as large as the largest request the labels of all
	// of its series may be: formats have short ways to write them.
	maxGrowth = 8
	// maxDescribed is how many descriptions of metrics are taken of a request.
	maxDescribed = 10_000
	// ancient is before any date that was meant, in Unix milliseconds.
	ancient = 365 * 24 * 3600 * 1000
)

// Why something was not recorded.
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

// shown writes labels only if somebody is to read them.
type shown labels.Labels

func (s shown) String() string { return recorder.Text(labels.Labels(s)) }

// skip counts what is not recorded, and is no fault.
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

// find returns the series of labels, nil if there can be none, which it notes.
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

// grow notes that labels are about to be made. It returns an error if those of the
// request are too large together.
func (q *request) grow(bytes int) error {
	if q.size += bytes; int64(q.size) > maxGrowth*q.config.MaxBytes {
		return fmt.Errorf("the labels of all series together have more than %d bytes: send fewer series at once", maxGrowth*q.config.MaxBytes)
	}
	return nil
}

// add adds a sample.
func (q *request) add(sample recorder.Sample, line int) {
	if q.err != nil {
		return
	}
	q.newest.Add(sample.T, q.now)
	q.all++
	q.samples, q.lines = append(q.samples, sample), append(q.lines, line)
	if len(q.samples) == batch {
		q.commit(math.MinInt64) // more may come
	}
}

// commit commits the samples that wait. Those that are refused become faults.
func (q *request) commit(watermark int64) {
	if q.err != nil {
		return
	}
	// What is stored already when there is an error will come again, which does no
	// harm.
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

// finish stores what is left of the request.
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

// told is what was wrong, for people. Telegraf knows by the first two words that
// there is no use in trying again.
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
