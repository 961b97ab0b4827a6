package chargeingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/sqlitestore"
)

// The handler below a prefix of a server that runs already.
func Example() {
	dir, err := os.MkdirTemp("", "chargeingest")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	store, err := sqlitestore.Open(context.Background(), filepath.Join(dir, "charges.db"))
	if err != nil {
		panic(err)
	}
	defer store.Close()

	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret:      "correct horse battery staple",
		Subject:     "checkout",
		Platforms:   []string{chargeingest.DefaultPlatform},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	})
	if err != nil {
		panic(err)
	}

	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys})
	if err != nil {
		panic(err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	mux.Handle("/billing/", http.StripPrefix("/billing", h))

	srv := httptest.NewServer(mux)
	defer srv.Close()

	fmt.Println(post(srv.URL+"/billing/v1/ingest/charge-data", "correct horse battery staple"))
	// Output: 201 Created
}

// The four endpoints on paths of the host's own. A {version} in the pattern
// is checked; without one it is 1.
func ExampleHandler_IngestEvent() {
	h := newHandler(allowAll)

	mux := http.NewServeMux()
	mux.Handle("POST /api/{version}/charges", h.IngestEvent())
	mux.Handle("POST /api/{version}/charges/batch", h.IngestEvents())
	mux.Handle("GET /api/{version}/charges", h.ListEvents())
	mux.Handle("GET /charges/{id}", h.GetEvent())

	srv := httptest.NewServer(mux)
	defer srv.Close()

	fmt.Println(post(srv.URL+"/api/v1/charges", ""))
	fmt.Println(post(srv.URL+"/api/v2/charges", ""))
	// Output:
	// 201 Created
	// 400 Bad Request
}

type userKey struct{}

// An Authorizer of the host's own, that reads what the host's middleware has
// found out about the caller.
func ExampleAuthorizerFunc() {
	type user struct {
		name, tenant      string
		mayBill, mayAudit bool
	}
	login := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u := user{name: "ada", tenant: "acme", mayBill: true} // from a session, say
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, u)))
		})
	}
	authorizer := chargeingest.AuthorizerFunc(
		func(r *http.Request, perm chargeingest.Permission) (chargeingest.Principal, error) {
			u, ok := r.Context().Value(userKey{}).(user)
			if !ok {
				return chargeingest.Principal{}, chargeingest.ErrNoCredential // 401
			}
			allowed := u.mayBill
			if perm == chargeingest.PermissionView {
				allowed = u.mayBill || u.mayAudit
			}
			if !allowed {
				return chargeingest.Principal{Subject: u.name}, chargeingest.ErrForbidden // 403, with the name in the log
			}
			return chargeingest.Principal{Subject: u.name, Platforms: []string{u.tenant}}, nil
		})

	srv := httptest.NewServer(login(newHandler(authorizer)))
	defer srv.Close()

	fmt.Println(post(srv.URL+"/v1/ingest/charge-data", ""))
	// Output: 201 Created
}

// Events that are in the process already, by the same rules and without HTTP.
func ExampleHandler_Ingest() {
	h := newHandler(allowAll)
	result, err := h.Ingest(context.Background(), chargeingest.IngestRequest{
		Platform: chargeingest.DefaultPlatform,
		Events: []chargeingest.ChargeEvent{{
			ProductItemID: "proi_1", PricingID: "pric_1", PricingItemID: "prii_1", PricingItemConfigID: "pico_1",
			CustomerReference: new("acme"),
			Reference:         new("order-42"),
			Value:             &chargeingest.Value{Amount: &chargeingest.Amount{Quantity: "12.50", Currency: "EUR"}},
		}},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(result.Events[0].Value.Amount.Quantity, *result.Events[0].Timestamp)

	_, err = h.Ingest(context.Background(), chargeingest.IngestRequest{
		Platform: chargeingest.DefaultPlatform,
		Events:   []chargeingest.ChargeEvent{{ProductItemID: "proi_1", PricingID: "pric_1", PricingItemID: "prii_1"}},
	})
	var refused *chargeingest.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Status, refused.Code, refused.Field)
	}
	// Output:
	// 12.50 2026-09-01T12:00:00Z
	// 400 INVALID_FIELD charge_datas.0.pricing_item_config_id
}

var allowAll = chargeingest.AuthorizerFunc(
	func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{Platforms: []string{chargeingest.DefaultPlatform}}, nil
	})

func newHandler(a chargeingest.Authorizer) *chargeingest.Handler {
	h, err := chargeingest.New(chargeingest.Config{
		Store: memstore.New(), Authorizer: a,
		Now: func() time.Time { return time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		panic(err)
	}
	return h
}

// post sends one charge event and returns the status.
func post(url, key string) string {
	const event = `{"product_item_id":"proi_1","pricing_id":"pric_1","pricing_item_id":"prii_1",
		"pricing_item_config_id":"pico_1","reference":"order-42","value":{"number":"3"}}`
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(event))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("X-API-KEY", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		panic(err)
	}
	return res.Status
}
