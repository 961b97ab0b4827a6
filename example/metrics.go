package main

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/chargeingest"
	"example.com/chargeingest/prommetrics"
)

const readinessTimeout = 2 * time.Second

type metrics struct {
	*prommetrics.Metrics
	http.Handler

	registry *prometheus.Registry
}

func newMetrics() (*metrics, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m, err := prommetrics.New(registry)
	if err != nil {
		return nil, err
	}
	// Any client can read the metrics. The limit keeps CPU time for events.
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return &metrics{m, mux, registry}, nil
}

func (m *metrics) registerReadiness(ready func(context.Context) bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chargeingest_ready", Help: "Whether the server accepts events, as /readyz reports.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), readinessTimeout)
		defer cancel()
		if ready(ctx) {
			return 1
		}
		return 0
	}))
}

func (m *metrics) registerRelays(r *relays) error {
	if len(r.relays) == 0 {
		return nil
	}
	return m.RegisterRelays(r.journal, r.stats())
}

func (m *metrics) registerStore(s store) error {
	if reporter, ok := s.(chargeingest.StatsReporter); ok {
		return m.RegisterStore(reporter)
	}
	return nil
}
