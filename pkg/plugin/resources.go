package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
	"github.com/grafana/grafana-plugin-sdk-go/backend/resource/httpadapter"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/push"
	"github.com/continuum-live/continuum-datasource/pkg/source/promql"
)

// CallResource answers what the front end has to know for its editors, and takes
// what is pushed. The first three are for all sources of PromQL, the next is for
// metrics APIs, the others are for the recorder:
//
//	GET metrics              names with type, unit and help
//	GET labels               names of labels
//	GET labels/<name>/values values of a label
//	GET names                names of metrics, from a metrics API
//	GET status               how the recorder's store is
//	POST push/<path>         stores samples: see push.Handler
//	POST inputs/preview      what messages become under rules
//	GET inputs/<name>/topics the topics of an input, with their last messages
//	POST backup              copies what was recorded into a new folder
//	POST import              stores history, see importHistory
//	GET series               how many series DELETE series deletes samples of
//	DELETE series            deletes samples
//	DELETE store             deletes all that was recorded
//
// The first three and those of series take from and to (Unix ms, the last hour if
// absent), limit and match, a series selector such as up{job="a"}. The first three
// also take search, words that a name must have in it, in any order and case. Those of
// series need from, to and match. What writes or deletes is for editors and admins, a backup
// and an import for admins alone.
func (in *instance) CallResource(ctx context.Context, req *backend.CallResourceRequest, sender backend.CallResourceResponseSender) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", in.browse(metricNames))
	mux.HandleFunc("GET /labels", in.browse(labelNames))
	mux.HandleFunc("GET /labels/{name}/values", in.browse(labelValues))
	mux.HandleFunc("GET /names", in.names)
	mux.HandleFunc("GET /status", in.resource(anyone, (*instance).status))
	mux.HandleFunc("/push/{path...}", in.push)
	mux.HandleFunc("POST /inputs/preview", preview)
	mux.HandleFunc("GET /inputs/{name}/topics", in.resource(editors, (*instance).topics))
	mux.HandleFunc("POST /backup", in.resource(admins, (*instance).backup))
	mux.HandleFunc("POST /import", in.resource(admins, (*instance).importHistory))
	mux.HandleFunc("GET /series", in.resource(editors, (*instance).countSeries))
	mux.HandleFunc("DELETE /series", in.resource(editors, (*instance).deleteSeries))
	mux.HandleFunc("DELETE /store", in.deleteStore)
	return httpadapter.New(mux).CallResource(ctx, req, sender)
}

// resource returns a handler that answers with get's result as JSON, or with its
// error. Whoever may not
// ask is refused before anything is opened.
func (in *instance) resource(may access, get func(*instance, *recorder.Store, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := any(nil), may(backend.PluginConfigFromContext(r.Context()))
		var store *recorder.Store
		if err == nil {
			store, err = in.opened(r.Context())
		}
		if err == nil {
			body, err = get(in, store, r)
		}
		respond(w, body, err)
	}
}

// access returns why somebody may not do something, nil if they may.
type access func(backend.PluginContext) error

func anyone(backend.PluginContext) error { return nil }

func editors(pc backend.PluginContext) error {
	if !mayEdit(pc) {
		return errRole
	}
	return nil
}

func admins(pc backend.PluginContext) error {
	if pc.User == nil || pc.User.Role != "Admin" {
		return errAdmin
	}
	return nil
}

// browse is resource for what a source of PromQL knows about its series.
func (in *instance) browse(get func(promql.Browser, scope, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := any(nil)
		browser, err := in.browser()
		if err == nil {
			var s scope
			if s, err = scopeOf(r); err == nil {
				body, err = get(browser, s, r)
			}
		}
		respond(w, body, err)
	}
}

func (in *instance) browser() (promql.Browser, error) {
	if in.broken != nil {
		return nil, invalid{in.broken}
	}
	s, ok := in.source.(promql.Source)
	if !ok {
		return nil, invalid{fmt.Errorf("the source %q knows no PromQL", in.settings.Source)}
	}
	return s.Browser, nil
}

func respond(w http.ResponseWriter, body any, err error) {
	status := http.StatusOK
	if err != nil {
		status = http.StatusBadGateway
		switch {
		case errors.As(err, new(invalid)):
			status = http.StatusBadRequest
		case errors.Is(err, errRole), errors.Is(err, errAdmin), errors.Is(err, errNoPush):
			status = http.StatusForbidden
		}
		body = map[string]string{"error": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // fails only if the client is gone
}

func (in *instance) opened(ctx context.Context) (*recorder.Store, error) {
	if err := in.records(); err != nil {
		return nil, err
	}
	return in.recorder.Store(ctx, in.storeKey())
}

// records returns an error if the data source has no recorder.
func (in *instance) records() error {
	switch {
	case in.broken != nil:
		return invalid{in.broken}
	case in.settings.Source != sourceRecorder:
		return invalid{fmt.Errorf("the source %q has no recorder", in.settings.Source)}
	}
	return nil
}

// scope says which part of a store is asked for.
type scope struct {
	from, to int64
	limit    int
	words    []string // of the search
	matchers []*labels.Matcher
}

// searched returns the matchers, and one for each word of the search, which a value of
// the label must have in it.
func (s scope) searched(label string) []*labels.Matcher {
	matchers := slices.Clone(s.matchers)
	for _, word := range s.words {
		matchers = append(matchers, labels.MustNewMatcher(labels.MatchRegexp, label, "(?i).*"+regexp.QuoteMeta(word)+".*"))
	}
	return matchers
}

// defaultLimit is how many names are listed where the request does not say.
const defaultLimit = 1000

func scopeOf(r *http.Request) (scope, error) {
	now := time.Now()
	s := scope{from: now.Add(-time.Hour).UnixMilli(), to: now.UnixMilli(), limit: defaultLimit}
	limit := int64(defaultLimit)
	for name, field := range map[string]*int64{"from": &s.from, "to": &s.to, "limit": &limit} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return s, invalid{fmt.Errorf("%s %q is not a whole number", name, text)}
		}
		*field = n
	}
	if s.from > s.to {
		return s, invalid{errors.New("the time range ends before it begins")}
	}
	if limit < 1 || limit > limits.Listed.Most {
		return s, invalid{fmt.Errorf("limit %d is out of range: use 1 to %d", limit, limits.Listed.Most)}
	}
	s.limit = int(limit)
	search := r.URL.Query().Get("search")
	if err := limits.Text.Check(int64(len(search))); err != nil {
		return s, invalid{fmt.Errorf("search: %w", err)}
	}
	s.words = strings.Fields(search)
	if match := r.URL.Query().Get("match"); match != "" {
		if err := limits.PromQL(match); err != nil {
			return s, invalid{fmt.Errorf("match: %w", err)}
		}
		var err error
		if s.matchers, err = parser.NewParser(parser.Options{}).ParseMetricSelector(match); err != nil {
			return s, invalid{fmt.Errorf("match: %w", err)}
		}
	}
	return s, nil
}

// metric is a metric with its description, if it has one.
type metric struct {
	Name string `json:"name"`
	recorder.Metadata
}

func metricNames(browser promql.Browser, s scope, r *http.Request) (any, error) {
	names, err := browser.LabelValues(r.Context(), s.from, s.to, s.limit, model.MetricNameLabel, s.searched(model.MetricNameLabel)...)
	if err != nil {
		return nil, err
	}
	// Not every server has descriptions, so the names are returned without them.
	meta, err := browser.Metadata(r.Context())
	if err != nil {
		backend.Logger.FromContext(r.Context()).Debug("Metrics without descriptions", "error", err)
	}
	metrics := make([]metric, len(names))
	for i, name := range names {
		metrics[i] = metric{name, meta[name]}
	}
	return metrics, nil
}

func labelNames(browser promql.Browser, s scope, r *http.Request) (any, error) {
	limit := s.limit
	if len(s.words) > 0 {
		limit = int(limits.Listed.Most) // no server searches names of labels, so they are searched here
	}
	names, err := browser.LabelNames(r.Context(), s.from, s.to, limit, s.matchers...)
	names = slices.DeleteFunc(listed(names), func(name string) bool {
		return slices.ContainsFunc(s.words, func(word string) bool {
			return !strings.Contains(strings.ToLower(name), strings.ToLower(word))
		})
	})
	return names[:min(len(names), s.limit)], err
}

func labelValues(browser promql.Browser, s scope, r *http.Request) (any, error) {
	name := r.PathValue("name")
	values, err := browser.LabelValues(r.Context(), s.from, s.to, s.limit, name, s.searched(name)...)
	return listed(values), err
}

// listed returns a copy of names that is [] in JSON when it is empty, not null.
func listed(names []string) []string {
	return append([]string{}, names...)
}

// status returns the status of the store. Viewers do not get what could have
// addresses or messages.
func (in *instance) status(store *recorder.Store, r *http.Request) (any, error) {
	s := store.Status()
	if mayEdit(backend.PluginConfigFromContext(r.Context())) {
		return s, nil
	}
	for i := range s.Rules {
		if s.Rules[i].LastError != "" {
			s.Rules[i].LastError = "has failed: editors and admins see why"
		}
	}
	s.Fleeting = "" // it names a folder of the server
	for i := range s.Inputs {
		input := &s.Inputs[i]
		input.Last, input.LastError, input.RefusedFirst = nil, "", nil
		if input.Trouble != "" {
			input.Trouble = "has trouble: editors and admins see which"
		}
		for reason, skipped := range input.Skipped {
			input.Skipped[reason] = recorder.Skipped{Count: skipped.Count}
		}
	}
	return s, nil
}

// push passes a request on to the push input.
func (in *instance) push(w http.ResponseWriter, r *http.Request) {
	if !mayEdit(backend.PluginConfigFromContext(r.Context())) {
		respond(w, nil, errRole)
		return
	}
	store, err := in.opened(r.Context())
	if err != nil && !errors.As(err, new(invalid)) {
		// Senders keep their samples and try again.
		w.Header().Set("Retry-After", "10")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if err != nil {
		respond(w, nil, err)
		return
	}
	name := pushed(in.settings.Recorder.Inputs)
	if name == "" {
		respond(w, nil, errNoPush)
		return
	}
	push.Handler(store.Sink(name), r.PathValue("path")).ServeHTTP(w, r)
}

var (
	errRole   = errors.New("only editors and admins may change what is recorded: use a service account with the role Editor")
	errAdmin  = errors.New("only admins may back up what was recorded, or import: use a service account with the role Admin")
	errNoPush = errors.New("nothing may be pushed to this data source: add the input Push in its settings")
)

func mayEdit(pc backend.PluginContext) bool {
	return pc.User != nil && (pc.User.Role == "Editor" || pc.User.Role == "Admin")
}

func (in *instance) backup(_ *recorder.Store, r *http.Request) (any, error) {
	folder, err := in.recorder.Backup(r.Context(), in.storeKey())
	if err != nil {
		return nil, err
	}
	logger, user := loggerOf(r)
	logger.Info("The store was backed up", "user", user, "folder", folder)
	return map[string]string{"folder": folder}, nil
}

// loggerOf returns the logger for a request and who made it.
func loggerOf(r *http.Request) (log.Logger, string) {
	return backend.Logger.FromContext(r.Context()), userOf(backend.PluginConfigFromContext(r.Context()))
}

// deleteStore needs no open store: what was recorded may be why it cannot be opened.
func (in *instance) deleteStore(w http.ResponseWriter, r *http.Request) {
	err := editors(backend.PluginConfigFromContext(r.Context()))
	if err == nil {
		err = in.records()
	}
	if err == nil {
		logger, user := loggerOf(r)
		logger.Info("The store is deleted", "user", user)
		err = in.recorder.Delete(r.Context(), in.storeKey())
	}
	respond(w, struct{}{}, err)
}

// chosenSeries returns which samples of which series are to be deleted.
func chosenSeries(r *http.Request) (scope, error) {
	for _, name := range []string{"from", "to", "match"} {
		if !r.URL.Query().Has(name) {
			return scope{}, invalid{fmt.Errorf("%s is missing: say what is to be deleted", name)}
		}
	}
	return scopeOf(r)
}

func (in *instance) countSeries(store *recorder.Store, r *http.Request) (any, error) {
	s, err := chosenSeries(r)
	if err != nil {
		return nil, err
	}
	n, err := store.CountSeries(r.Context(), s.from, s.to, s.matchers...)
	return map[string]uint64{"series": n}, err
}

func (in *instance) deleteSeries(store *recorder.Store, r *http.Request) (any, error) {
	s, err := chosenSeries(r)
	if err != nil {
		return nil, err
	}
	logger, user := loggerOf(r)
	logger.Info("Samples are deleted", "user", user, "match", brief(r.URL.Query().Get("match")), "from", s.from, "to", s.to)
	return struct{}{}, store.Delete(r.Context(), s.from, s.to, s.matchers...)
}
