package prommetrics_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/chargeingest"
	"example.com/chargeingest/prommetrics"
	"example.com/chargeingest/sqlitestore"
)

// Metrics of an endpoint and its store on your registry.
func Example() {
	dir, err := os.MkdirTemp("", "chargeingest")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	registry := prometheus.NewRegistry()
	m, err := prommetrics.New(registry)
	if err != nil {
		panic(err)
	}
	store, err := sqlitestore.OpenWith(context.Background(), filepath.Join(dir, "charges.db"), sqlitestore.Options{Observer: m.ObserveCommit})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	if err := m.RegisterStore(store); err != nil {
		panic(err)
	}
	h, err := chargeingest.New(chargeingest.Config{
		Store:    store,
		Observer: m.ObserveRequest,
		Authorizer: chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
			return chargeingest.Principal{Platforms: []string{chargeingest.DefaultPlatform}}, nil
		}),
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/billing/", http.StripPrefix("/billing", h))
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	r := httptest.NewRequest(http.MethodPost, "/billing/v1/ingest/charge-data", strings.NewReader(event("order-42")))
	r.Header.Set("Content-Type", "application/json")
	mux.ServeHTTP(httptest.NewRecorder(), r)

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "chargeingest_requests_total") || strings.HasPrefix(line, "chargeingest_events_accepted_total") {
			fmt.Print(line)
		}
	}
	// Output:
	// chargeingest_events_accepted_total 1
	// chargeingest_requests_total{code="201",error="",route="charge-data"} 1
	// chargeingest_requests_total{code="500",error="INTERNAL_ERROR",route="charge-data"} 0
	// chargeingest_requests_total{code="500",error="INTERNAL_ERROR",route="charge-datas"} 0
}
