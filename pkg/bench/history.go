package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/api"
	apiv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/continuum-live/continuum-datasource/pkg/internal/programs"
)

const (
	day  = 24 * time.Hour
	rows = 1000
)

// history measures how long a panel with a day of 1 Hz data takes, with the plugin
// and with Prometheus on a copy of the same store.
func history(ctx context.Context, dir string) (table, error) {
	t := table{
		Title: "A day of history",
		Text: "A panel that shows a day of samples taken every second in 1,000 rows, " +
			"from the question to the decoded answer. The plugin answers over gRPC with Arrow frames, Prometheus over HTTP with JSON; " +
			"both read copies of one TSDB block.",
		Columns: []string{"series", "Continuum", "Prometheus", "ratio"},
	}
	through := time.Now().Truncate(2 * time.Hour)
	store := filepath.Join(dir, "1", uid)
	copied := filepath.Join(dir, "copy")
	if err := writeDay(ctx, store, 1000, through); err != nil {
		return t, err
	}
	if err := os.CopyFS(copied, os.DirFS(store)); err != nil {
		return t, err
	}
	p, err := start(programs.Plugin, dir, `{"source":"recorder","recorder":{"noHost":true}}`)
	if err != nil {
		return t, err
	}
	defer p.Stop()
	peer, stop, err := startPrometheus(ctx, copied)
	if err != nil {
		return t, err
	}
	defer stop()

	const step = day / rows
	for _, c := range []struct{ series, turns int }{{1, 21}, {128, 7}, {1000, 5}} {
		selector := fmt.Sprintf(`gauge{below_%d="yes"}`, c.series)
		ours := func() (int, error) {
			rsp, err := p.query(ctx, fmt.Sprintf(`{"expr":%q}`, selector), step, day, through)
			if err != nil {
				return 0, err
			}
			return len(rsp.Frames[0].Fields) - 1, nil
		}
		theirs := func() (int, error) {
			v, _, _, err := peer.QueryRange(ctx, selector, apiv1.Range{Start: through.Add(-day + step), End: through, Step: step})
			if err != nil {
				return 0, err
			}
			return v.(model.Matrix).Len(), nil
		}
		var took [2][]float64
		var ratios []float64
		var failed error
	asking:
		for turn := range c.turns + 1 {
			var now [2]float64
			for i, ask := range []func() (int, error){ours, theirs} {
				began := time.Now()
				n, err := ask()
				if err != nil {
					failed = fmt.Errorf("%s: %w", []string{"Continuum", "Prometheus"}[i], err)
					break asking
				}
				if n != c.series {
					return t, fmt.Errorf("the answer has %d series, not %d", n, c.series)
				}
				now[i] = time.Since(began).Seconds() * 1000
			}
			if turn == 0 {
				continue // the first turn reads the files from the disk
			}
			took[0], took[1] = append(took[0], now[0]), append(took[1], now[1])
			ratios = append(ratios, now[0]/now[1])
		}
		if ctx.Err() != nil {
			return t, ctx.Err()
		}
		if failed != nil { // such as a timeout on a busy machine
			t.add(strconv.Itoa(c.series), failed.Error(), "", "")
			continue
		}
		t.row(fmt.Sprintf("a day, %d series: time", c.series), median(ratios),
			strconv.Itoa(c.series), fmt.Sprintf("%.1f ms", median(took[0])), fmt.Sprintf("%.1f ms", median(took[1])))
	}
	return t, nil
}

// writeDay writes a block with one sample per second and series for a day.
func writeDay(ctx context.Context, dir string, series int, through time.Time) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, day.Milliseconds())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	refs := make([]storage.SeriesRef, series)
	all := make([]labels.Labels, series)
	for i := range all {
		b := labels.NewScratchBuilder(5)
		b.Add("__name__", "gauge")
		for _, below := range []int{1, 128, 1000} {
			if i < below {
				b.Add(fmt.Sprint("below_", below), "yes")
			}
		}
		b.Add("n", strconv.Itoa(i))
		b.Sort()
		all[i] = b.Labels()
	}
	for at := through.Add(-day).UnixMilli() + 1000; at <= through.UnixMilli(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		app := w.Appender(ctx)
		for range 60 {
			for i := range refs {
				// A slow wave with a little noise and one decimal, as from a sensor.
				value := 20 + float64((at/1000*int64(i+7)*2654435761>>20)%50+at/60_000%200)/10
				if refs[i], err = app.Append(refs[i], all[i], at, value); err != nil {
					return err
				}
			}
			at += 1000
		}
		if err := app.Commit(); err != nil {
			return err
		}
	}
	_, err = w.Flush(ctx)
	return err
}

// startPrometheus starts a server on the store in dir.
func startPrometheus(ctx context.Context, dir string) (_ apiv1.API, stop func(), err error) {
	binary, err := programs.Prometheus.Build()
	if err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, nil, err
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "--config.file="+config, "--storage.tsdb.path="+dir, "--storage.tsdb.retention.time=15d",
		"--web.listen-address="+address, "--log.level=error")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	for began := time.Now(); ; {
		rsp, err := http.Get("http://" + address + "/-/ready")
		if err == nil {
			_, _ = io.Copy(io.Discard, rsp.Body)
			_ = rsp.Body.Close()
			if rsp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(began) > time.Minute {
			stop()
			return nil, nil, errors.New("Prometheus is not ready after a minute")
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			stop()
			return nil, nil, err
		}
	}
	client, err := api.NewClient(api.Config{Address: "http://" + address})
	if err != nil {
		stop()
		return nil, nil, err
	}
	return apiv1.NewAPI(client), stop, nil
}
