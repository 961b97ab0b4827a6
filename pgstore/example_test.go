package pgstore_test

import (
	"context"
	"log"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest"
	"example.com/chargeingest/pgstore"
)

// A store on a primary with a synchronous standby.
func Example() {
	ctx := context.Background()
	keys, err := chargeingest.NewKeys()
	if err != nil {
		log.Fatal(err)
	}
	cfg, err := pgxpool.ParseConfig("postgres://charges@db1,db2/charges?target_session_attrs=read-write&connect_timeout=5")
	if err != nil {
		log.Fatal(err)
	}
	pgstore.WatchStandby(cfg) // if a 201 must survive the loss of the primary
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	store, err := pgstore.New(ctx, pool, pgstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/billing/", http.StripPrefix("/billing", h))
}
