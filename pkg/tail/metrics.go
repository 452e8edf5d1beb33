package tail

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	evaluations = promauto.NewCounter(prometheus.CounterOpts{
		Name: "continuum_tail_evaluations_total",
		Help: "Times that a tail read new rows from its source, for however many streams.",
	})
	failures = promauto.NewCounter(prometheus.CounterOpts{
		Name: "continuum_tail_failures_total",
		Help: "Times that a tail could not read its source.",
	})
	rowsSent = promauto.NewCounter(prometheus.CounterOpts{
		Name: "continuum_rows_sent_total",
		Help: "Rows sent to streams, repeats not counted.",
	})
	lag = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "continuum_tail_lag_seconds",
		Help:    "Time from a row's grid time until the row was published.",
		Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
	})
)
