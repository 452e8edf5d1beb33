package metricsapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/internal/remote"
)

// checkTime is the longest time for a check.
const checkTime = 15 * time.Second

// Check implements source.Source. It asks each endpoint once. Its error begins with
// the step that failed, see remote.Checked.
func (s *Source) Check(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	said, err := s.check(ctx)
	if err != nil {
		return "", remote.Checked(err)
	}
	return said, nil
}

func (s *Source) check(ctx context.Context) (string, error) {
	c := s.client
	// Some services answer with a word. A web page, however, comes from a server
	// that answers every path.
	if err := c.get(ctx, 1, "/health", nil, func(header http.Header, _ io.Reader) error {
		if remote.IsPage(header) {
			return remote.ErrPage
		}
		return nil
	}); err != nil {
		return "", err
	}
	names, err := c.names(ctx, 1)
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "The metrics API answers. It names no metrics, so no point was asked for.", s.checkUnnamed(ctx)
	}
	var at int64
	params := func() url.Values { return url.Values{"metric": {names[0].Name}} }
	empty := false
	err = c.get(ctx, 1, "/latest", params(), func(_ http.Header, body io.Reader) (err error) {
		var ok bool
		at, ok, err = decodeLatest(body)
		empty = !ok
		return err
	})
	if err != nil {
		return "", err
	}
	if empty {
		return fmt.Sprintf("The metrics API answers, and names %d metrics. The first of them, %s, has no point yet.", len(names), names[0].Name), nil
	}
	ms := floorMs(at)
	p, done, err := c.points(ctx, params(), ms-60_000, ms)
	defer done()
	switch {
	case err != nil:
		return "", err
	case len(p.points) == 0:
		return "", c.Fail(remote.Answer, "/latest has a point of %q at %s, but /query has none in the minute up to it", names[0].Name, written(at))
	}
	return fmt.Sprintf("The metrics API answers, and names %d metrics. The newest point of the first of them, %s, is at %s.", len(names), names[0].Name, written(at)), nil
}

// checkUnnamed asks for a metric that hardly exists. If the service says so in the
// form of the contract, the endpoints are there and the key is right.
func (s *Source) checkUnnamed(ctx context.Context) error {
	now := time.Now().UnixMilli()
	for _, ask := range []func(url.Values) error{
		func(p url.Values) error {
			return s.client.get(ctx, 1, "/latest", p, func(_ http.Header, body io.Reader) error {
				_, _, err := decodeLatest(body)
				return err
			})
		},
		func(p url.Values) error {
			_, done, err := s.client.points(ctx, p, now-1000, now)
			done()
			return err
		},
	} {
		err := ask(url.Values{"metric": {"continuum-check"}})
		var f *remote.Failure
		if errors.As(err, &f) && f.Known && (f.Status == http.StatusNotFound || f.Status == http.StatusBadRequest) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Metric is a metric that the service lists.
type Metric struct {
	Name string `json:"name"`
	// Unit is a Grafana unit id, empty for none.
	Unit        string `json:"unit,omitempty"`
	Description string `json:"description,omitempty"`
}

// Names returns the metrics that the service lists, for completion. The list is
// empty if it does not list any.
func (s *Source) Names(ctx context.Context) ([]Metric, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.client.names(ctx, remote.Tries)
}
