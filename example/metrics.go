package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/chargeingest"
	"example.com/chargeingest/prommetrics"
)

type metrics struct {
	*prommetrics.Metrics
	http.Handler
	reloaded func(name string, err error)
}

func newMetrics() (*metrics, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m, err := prommetrics.New(registry)
	if err != nil {
		return nil, err
	}
	// Every client can read the metrics. The limit keeps the CPU free for events.
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return &metrics{m, mux, newReloadMetrics(registry)}, nil
}

func (m *metrics) registerStore(s store) error {
	if reporter, ok := s.(chargeingest.StatsReporter); ok {
		return m.RegisterStore(reporter)
	}
	return nil
}
