package prommetrics_test

import (
	"context"
	"log"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chargeingest"
	"example.com/chargeingest/prommetrics"
	"example.com/chargeingest/sqlitestore"
)

func Example_setup() {
	ctx := context.Background()
	registry := prometheus.NewRegistry()
	keys, err := chargeingest.NewKeys()
	if err != nil {
		log.Fatal(err)
	}
	m, err := prommetrics.New(registry)
	if err != nil {
		log.Fatal(err)
	}
	store, err := sqlitestore.OpenWith(ctx, "charges.db", sqlitestore.Options{Observer: m.ObserveCommit})
	if err != nil {
		log.Fatal(err)
	}
	if err := m.RegisterStore(store); err != nil {
		log.Fatal(err)
	}
	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys, Observer: m.ObserveRequest})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/billing/", http.StripPrefix("/billing", h))
}
