package plugin

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	openStreams = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "continuum_streams",
		Help: "Streams that Grafana runs now.",
	})
	resyncs = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "continuum_resyncs_total",
		Help: "Times that a viewer asked afresh because it was in doubt, by reason.",
	}, []string{"reason"})
)
