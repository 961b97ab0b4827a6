package routers_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rs/cors"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

// Pages of https://shop.example send events with API keys of their users.
var crossOrigin = cors.Options{
	AllowedOrigins: []string{"https://shop.example"},
	AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost},
	AllowedHeaders: []string{
		"Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key",
		"X-Api-Key", "X-Platform-Id", "X-Request-Id",
	},
	ExposedHeaders: []string{
		"Accept-Encoding", "Accept-Post", "Allow", "Idempotency-Retryable", "Idempotent-Replayed",
		"Idempotent-Replayed-Count", "Retry-After", "WWW-Authenticate", "X-Request-Id",
	},
	MaxAge: 600, // seconds
}

// CORS with github.com/rs/cors, around the login: a preflight has no credentials.
func Example_cors() {
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret: "correct-horse-battery-staple", Subject: "shop", Platforms: []string{chargeingest.DefaultPlatform},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	})
	if err != nil {
		panic(err)
	}
	h, err := chargeingest.New(chargeingest.Config{Store: memstore.New(), Authorizer: keys, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}

	mux := http.NewServeMux()
	mux.Handle("/billing/", http.StripPrefix("/billing", h))
	srv := httptest.NewServer(cors.New(crossOrigin).Handler(mux))
	defer srv.Close()

	send := func(method string, headers map[string]string) {
		req, err := http.NewRequestWithContext(context.Background(), method, srv.URL+"/billing/v1/ingest/charge-data",
			strings.NewReader(event("order-42", "3")))
		if err != nil {
			panic(err)
		}
		req.Header.Set("Origin", "https://shop.example")
		for name, value := range headers {
			req.Header.Set(name, value)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			panic(err)
		}
		defer res.Body.Close()
		fmt.Println(method, res.Status)
		for _, name := range []string{"Allow-Origin", "Allow-Methods", "Allow-Headers", "Expose-Headers"} {
			if value := res.Header.Get("Access-Control-" + name); value != "" {
				fmt.Printf("  %s: %s\n", name, value)
			}
		}
	}
	send(http.MethodOptions, map[string]string{
		"Access-Control-Request-Method":  http.MethodPost,
		"Access-Control-Request-Headers": "content-type,idempotency-key,x-api-key",
	})
	send(http.MethodPost, map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": "order-42", "X-Api-Key": "correct-horse-battery-staple",
	})
	// Output:
	// OPTIONS 204 No Content
	//   Allow-Origin: https://shop.example
	//   Allow-Methods: POST
	//   Allow-Headers: content-type,idempotency-key,x-api-key
	// POST 201 Created
	//   Allow-Origin: https://shop.example
	//   Expose-Headers: Accept-Encoding, Accept-Post, Allow, Idempotency-Retryable, Idempotent-Replayed, Idempotent-Replayed-Count, Retry-After, Www-Authenticate, X-Request-Id
}
