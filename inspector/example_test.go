package inspector_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
	"example.com/chargeingest/memstore"
)

func Example() {
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret:      "correct horse battery staple",
		Subject:     "checkout",
		Platforms:   []string{chargeingest.DefaultPlatform},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	})
	if err != nil {
		panic(err)
	}
	store := memstore.New()
	handler, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys})
	if err != nil {
		panic(err)
	}

	page, err := inspector.New(inspector.Config{Reader: store, Authorizer: keys})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/billing/", http.StripPrefix("/billing", page.Middleware(handler)))
	mux.Handle("/inspector/", http.StripPrefix("/inspector", page))

	response := httptest.NewRecorder()
	mux.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/inspector/", nil))
	fmt.Println(response.Code, response.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}

func ExampleConfig_relay() {
	keys, err := chargeingest.NewKeys()
	if err != nil {
		panic(err)
	}
	store := memstore.New()
	page, err := inspector.New(inspector.Config{Reader: store, Authorizer: keys, Relay: store.Journal()})
	if err != nil {
		panic(err)
	}
	http.Handle("/inspector/", http.StripPrefix("/inspector", page))
}
