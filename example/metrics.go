package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/chargeingest"
	"example.com/chargeingest/prommetrics"
)

// metrics are what /metrics shows: those of the endpoint, its store, the process
// and the runtime.
type metrics struct {
	*prommetrics.Metrics
	http.Handler // serves /metrics and nothing else
}

func newMetrics() (*metrics, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m, err := prommetrics.New(registry)
	if err != nil {
		return nil, err
	}
	// Anybody may ask, as often as they like: those beyond get 503, and leave the
	// processors to the events.
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return &metrics{m, mux}, nil
}

// watch takes in what a store says of itself, where it does.
func (m *metrics) watch(s store) error {
	if reporter, ok := s.(chargeingest.StatsReporter); ok {
		return m.RegisterStore(reporter)
	}
	return nil
}
