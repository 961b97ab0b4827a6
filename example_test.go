package chargeingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/sqlitestore"
)

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

// The four endpoints on your own paths, optionally with a {version}.
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

// A user from the context, where your middleware puts it.
func ExampleAuthorizerFunc() {
	type user struct {
		name, tenant string
		mayBill      bool // in addition to reading
	}
	login := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u := user{name: "ada", tenant: "acme"} // usually from a session
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, u)))
		})
	}
	authorizer := chargeingest.AuthorizerFunc(
		func(r *http.Request, perm chargeingest.Permission) (chargeingest.Principal, error) {
			u, ok := r.Context().Value(userKey{}).(user)
			if !ok {
				return chargeingest.Principal{}, chargeingest.ErrNoCredential // 401
			}
			p := chargeingest.Principal{Subject: u.name, Platforms: []string{u.tenant}}
			if perm == chargeingest.PermissionIngest && !u.mayBill {
				return p, chargeingest.ErrForbidden // 403; the log names the subject
			}
			return p, nil
		})

	srv := httptest.NewServer(login(newHandler(authorizer)))
	defer srv.Close()

	fmt.Println(post(srv.URL+"/v1/ingest/charge-data", ""))
	// Output: 403 Forbidden
}

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
	var rejected *chargeingest.Error
	if errors.As(err, &rejected) {
		fmt.Println(rejected.Status, rejected.Code, rejected.Field)
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

type app struct{ url, key string }

func newApp(url, key string) app { return app{url, key} }

func (a app) Charge(reference string) error {
	body, err := json.Marshal(chargetest.Sample(reference))
	if err != nil {
		return err
	}
	for range 3 {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, a.url+"/v1/ingest/charge-data", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-API-KEY", a.key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		res.Body.Close()
		if res.StatusCode == http.StatusCreated {
			return nil
		}
	}
	return errors.New("not charged")
}

func serve(ctx context.Context, srv *http.Server, store io.Closer) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- srv.ListenAndServe() }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		stop()
		timeout, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err = srv.Shutdown(timeout)
	}
	return errors.Join(err, store.Close())
}

func TestGracefulShutdown(t *testing.T) {
	store, err := sqlitestore.Open(t.Context(), filepath.Join(t.TempDir(), "charges.db"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: allowAll})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := serve(ctx, &http.Server{Addr: "127.0.0.1:0", Handler: h}, store); err != nil {
		t.Fatal(err)
	}
	if err := h.Ready(t.Context()); !errors.Is(err, chargeingest.ErrClosed) {
		t.Fatal(err)
	}
}

func TestLostResponse(t *testing.T) {
	srv := chargetest.New(t)
	app := newApp(srv.URL(), srv.APIKey())

	srv.FailNext(1, chargetest.Reset().AfterCommit()) // stored, but the response is lost
	if err := app.Charge("order-42"); err != nil {
		t.Fatal(err)
	}
	srv.AssertCount(t, 1) // a client that sends no reference stores two events
}
