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
	"sync"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/eventid"
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
		Platforms:   []string{chargeingest.SinglePlatform},
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
		name, tenant string
		mayBill      bool
	}
	login := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u := user{name: "ada", tenant: "acme", mayBill: true} // from a session, say
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, u)))
		})
	}
	authorizer := chargeingest.AuthorizerFunc(
		func(r *http.Request, _ chargeingest.Permission) (chargeingest.Principal, error) {
			u, ok := r.Context().Value(userKey{}).(user)
			if !ok {
				return chargeingest.Principal{}, chargeingest.ErrNoCredential
			}
			if !u.mayBill {
				return chargeingest.Principal{}, chargeingest.ErrForbidden
			}
			return chargeingest.Principal{Subject: u.name, Platforms: []string{u.tenant}}, nil
		})

	srv := httptest.NewServer(login(newHandler(authorizer)))
	defer srv.Close()

	fmt.Println(post(srv.URL+"/v1/ingest/charge-data", ""))
	// Output: 201 Created
}

// sliceStore is a store of the host's own: here a slice behind a lock, which
// makes its one "transaction". chargeingest.Decide settles what is new.
type sliceStore struct {
	mu       sync.Mutex
	ids      *eventid.Generator
	events   []storedEvent
	requests map[[2]string]*chargeingest.BoundRequest
}

type storedEvent struct {
	platform, reference string
	chargeingest.StoredEvent
}

var _ chargeingest.EventStore = (*sliceStore)(nil)

func (s *sliceStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	decision, err := chargeingest.Decide(ctx, b, s)
	if err != nil {
		return chargeingest.Receipt{}, err
	}
	was := len(s.events)
	receipt, err := decision.Apply(func(i int) (string, error) {
		e := &b.Events[i]
		id, err := s.ids.Next(e.ReceivedAt)
		s.events = append(s.events, storedEvent{b.Platform, e.Reference, chargeingest.StoredEvent{
			ID: id, Content: e.Content, TimestampAssigned: e.TimestampAssigned, Digest: e.Digest,
		}})
		return id, err
	})
	if err != nil {
		s.events = s.events[:was] // all or nothing
		return chargeingest.Receipt{}, errors.Join(chargeingest.ErrNotStored, err)
	}
	if decision.BindsKey() {
		bound := &chargeingest.BoundRequest{Route: b.Route, Digest: b.Digest}
		for _, o := range receipt.Outcomes {
			bound.Events = append(bound.Events, o.StoredEvent)
		}
		s.requests[[2]string{b.Platform, b.IdempotencyKey}] = bound
	}
	return receipt, nil
}

// BoundRequest implements [chargeingest.Lookup].
func (s *sliceStore) BoundRequest(_ context.Context, platform, key string) (*chargeingest.BoundRequest, error) {
	return s.requests[[2]string{platform, key}], nil
}

// EventByReference implements [chargeingest.Lookup].
func (s *sliceStore) EventByReference(_ context.Context, platform, reference string) (*chargeingest.StoredEvent, error) {
	for i := range s.events {
		if e := &s.events[i]; e.platform == platform && e.reference == reference {
			return &e.StoredEvent, nil
		}
	}
	return nil, nil
}

// A store of the host's own. Package storetest checks one against the contract.
func ExampleEventStore() {
	ids, err := eventid.NewGenerator(strings.NewReader(strings.Repeat("not random at all", 100)), "")
	if err != nil {
		panic(err)
	}
	store := &sliceStore{ids: ids, requests: make(map[[2]string]*chargeingest.BoundRequest)}
	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: allowAll})
	if err != nil {
		panic(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()

	fmt.Println(post(srv.URL+"/v1/ingest/charge-data", ""))
	fmt.Println(post(srv.URL+"/v1/ingest/charge-data", ""))
	fmt.Println(len(store.events), "event")
	// Output:
	// 201 Created
	// 201 Created
	// 1 event
}

// Events that are in the process already, by the same rules and without HTTP.
func ExampleHandler_Ingest() {
	h := newHandler(allowAll)
	result, err := h.Ingest(context.Background(), chargeingest.IngestRequest{
		Platform: chargeingest.SinglePlatform,
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
		Platform: chargeingest.SinglePlatform,
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
		return chargeingest.Principal{Platforms: []string{chargeingest.SinglePlatform}}, nil
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
