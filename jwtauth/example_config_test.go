package jwtauth_test

import (
	"context"
	"log"
	"net/http"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
	"example.com/chargeingest/memstore"
)

// Tokens of a login server, and API keys for other clients.
func ExampleConfig() {
	ctx := context.Background()
	store := memstore.New()
	keys, err := chargeingest.NewKeys()
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := jwtauth.New(ctx, jwtauth.Config{
		JWKSURL:   "https://login.example/.well-known/jwks.json",
		Issuer:    "https://login.example/",
		Audiences: []string{"https://charges.example"}, // required
	})
	if err != nil {
		log.Fatal(err)
	}
	h, err := chargeingest.New(chargeingest.Config{
		Store:      store,
		Authorizer: chargeingest.FirstOf(tokens, keys), // in this order
	})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/billing/", http.StripPrefix("/billing", h))
}
