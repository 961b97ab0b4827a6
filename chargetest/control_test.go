package chargetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
)

func TestControlAuthorization(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{
		Keys: []chargeingest.Key{{
			Secret: "only-reads-0123456789", Subject: "reader", Platforms: []string{"a"},
			Permissions: []chargeingest.Permission{chargeingest.PermissionView},
		}},
		Configure: func(c *chargeingest.Config) {
			keys := c.Authorizer
			c.Authorizer = chargeingest.AuthorizerFunc(func(r *http.Request, p chargeingest.Permission) (chargeingest.Principal, error) {
				require.LessOrEqual(t, len(r.Header.Get("X-API-KEY")), 16<<10, "a key is too long for an authorizer")
				if r.Header.Get("X-API-KEY") == "outage" {
					return chargeingest.Principal{}, errors.New("key server down")
				}
				return keys.Authorize(r, p)
			})
		},
	})
	for _, c := range []struct {
		header string
		status int
		code   string
	}{
		{"X-API-KEY: wrong", 401, "UNAUTHORISED"},
		{"X-API-KEY: ", 401, "UNAUTHORISED"},
		{"X-API-KEY: " + strings.Repeat("k", 20<<10), 401, "UNAUTHORISED"},
		{"X-API-KEY: only-reads-0123456789", 403, "USER_NOT_ALLOWED"},
		{"X-API-KEY: outage", 503, "INTERNAL_ERROR"},
	} {
		for path, methods := range chargetest.ControlOperations(srv) {
			for _, method := range methods {
				w := serveControl(t, srv, method, "/"+path, "{", c.header)
				require.Equal(t, c.status, w.Code, path)
				require.Contains(t, w.Body.String(), c.code)
				require.NotContains(t, w.Body.String(), "key server")
				require.Equal(t, map[int]string{401: "Bearer"}[c.status], w.Header().Get("WWW-Authenticate"))
				require.Equal(t, c.status == 503, w.Header().Get("Retry-After") != "")
			}
		}
	}
	w := serveControl(t, srv, http.MethodGet, "/state", "", "X-API-KEY: ", "Authorization: bearer "+srv.APIKey())
	require.Equal(t, 200, w.Code)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
	require.Equal(t, 200, serveControl(t, srv, http.MethodGet, "/openapi.yaml", "", "X-API-KEY: ").Code)
}

func TestControlRejectsCall(t *testing.T) {
	srv := chargetest.New(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		message            string
	}{
		{"GET", "/", "", 404, "openapi.yaml lists all"},
		{"GET", "/faults/1/2", "", 405, "does not support GET"},
		{"PUT", "/faults", "{}", 405, "does not support PUT"},
		{"OPTIONS", "/faults", "", 405, "does not support OPTIONS"},
		{"POST", "/openapi.yaml", "{}", 404, ""},
		{"DELETE", "/faults/x", "", 404, "no such fault"},
		{"GET", "/state?x=1", "", 400, "x is unknown: there is none here"},
		{"POST", "/reset?x=1", "{}", 400, "x is unknown"},
		{"POST", "/reset", `{"x":1}`, 400, "x is unknown: there is none here"},
		{"GET", "/events?limit=1&limit=2", "", 400, "limit must be given once"},
		{"GET", "/events?limit=%zz", "", 400, "query must be"},
		{"GET", "/events?limit=0", "", 400, "limit must be a whole number from 1 to 1000"},
		{"GET", "/requests?rejected=yes", "", 400, "rejected must be true or false"},
		{"GET", "/requests?after=-1", "", 400, "after must be a whole number of 0 or more"},
		{"POST", "/clock", ``, 400, "advance is required, or set, one at a time"},
		{"POST", "/clock", `[]`, 400, "the body must be a JSON object"},
		{"POST", "/clock", `null`, 400, "the body must be a JSON object"},
		{"POST", "/clock", `{"advance":"1h"} {}`, 400, "after top-level value"},
		{"POST", "/clock", `{"advance":"1h","advance":"2h"}`, 400, `the name "advance" occurs twice`},
		{"POST", "/events", `{"charge_datas":[{"a":1,"a":2}]}`, 400, `the name "a" occurs twice`},
		{"POST", "/clock", "{\"advance\":\"\xff\"}", 400, "invalid UTF-8"},
		{"POST", "/clock", strings.Repeat("[", 1<<20), 400, "the body must be"},
		{"POST", "/clock", strings.Repeat(" ", 4<<20+1), 413, "larger than 4194304 bytes"},
		{"POST", "/clock", `{"advance":"1h","set":"2027-01-01T00:00:00Z"}`, 400, "one at a time"},
		{"POST", "/clock", `{"advance":"-1h"}`, 400, "advance must be a duration of 0 or more"},
		{"POST", "/clock", `{"set":"2025-12-31T23:59:59Z"}`, 400, "the clock cannot go back"},
		{"POST", "/clock", `{"set":"2500-01-01T00:00:00Z"}`, 400, "292 years"},
		{"POST", "/clock", `{"set":"tomorrow"}`, 400, "set must be a time such as"},
		{"GET", "/wait?timeout=11m", "", 400, "timeout must be a duration from 0s to 10m0s"},
		{"GET", "/wait?count=0", "", 400, "count must be a whole number of 1 or more"},
		{"GET", "/wait?requests=1&reference=a", "", 400, "requests does not apply together with"},
		{"POST", "/assert", `{}`, 400, "count is required, or event or no_rejections"},
		{"POST", "/assert", `{"count":1,"no_rejections":true}`, 400, "one at a time"},
		{"POST", "/assert", `{"no_rejections":false}`, 400, "no_rejections must be true"},
		{"POST", "/assert", `{"no_rejections":true,"customer":"c"}`, 400, "does not apply together with"},
		{"POST", "/assert", `{"event":{}}`, 400, "event.reference is required"},
		{"POST", "/assert", `{"event":[]}`, 400, "event must be a charge event"},
		{"POST", "/assert", `{"event":{"value":{"number":1}}}`, 400, "event.product_item_id is missing; it must be"},
		{"POST", "/events", `{"samples":1001}`, 400, "samples must be a whole number from 1 to 1000"},
		{"POST", "/events", `{}`, 400, "charge_datas is required, or samples"},
		{"POST", "/events", `{"samples":1,"charge_datas":[{}]}`, 400, "samples does not apply together"},
		{"POST", "/events", `{"charge_datas":[]}`, 400, "charge_datas must be a list of 1 to 1000 events"},
		{"POST", "/events", `{"samples":1,"platform":""}`, 400, "platform must not be empty"},
		{"POST", "/events", `{"charge_datas":[{"product_item_id":"p"}]}`, 400, "charge_datas.0.pricing_id must be a string"},
		{"POST", "/events", `{"charge_datas":[{"product_item_id":1}]}`, 400, "charge_datas.0.product_item_id must be a string"},
		{"PATCH", "/profile", `{"max_batch_events":-1}`, 400, "max_batch_events must be a whole number of 0 or more"},
		{"PATCH", "/profile", `{"min_reference_length":257}`, 400, "min_reference_length must be a whole number from 0 to 256"},
		{"PATCH", "/profile", `{"rate_limit":{"requests":0,"window":"1s"}}`, 400, "rate_limit.requests must be a whole number of 1 or more"},
		{"PATCH", "/profile", `{"rate_limit":{"requests":1}}`, 400, "rate_limit.window is required"},
		{"PATCH", "/profile", `{"profile":null}`, 400, "profile is unknown"},
		{"PUT", "/catalogue", `{"customers":"a"}`, 400, "customers must be a list of strings"},
		{"PUT", "/catalogue", `{"customers":[""]}`, 400, "strings that are not empty"},
	} {
		before := mustCall(t, srv, http.MethodGet, "/state", "")
		status, response := call(t, srv, c.method, c.path, c.body)
		name := c.method + " " + c.path + " " + c.body[:min(len(c.body), 100)]
		require.Equal(t, c.status, status, name)
		require.Contains(t, response["message"], c.message, name)
		require.Equal(t, before, mustCall(t, srv, http.MethodGet, "/state", ""), name)
	}
	many := `{"charge_datas":[` + strings.Repeat(`{"`+strings.Repeat("x", 1000)+`":1},`, 500) + `{}]}`
	require.Less(t, serveControl(t, srv, http.MethodPost, "/events", many).Body.Len(), 64<<10)
	w := serveControl(t, srv, http.MethodPatch, "/faults", "{}")
	require.Equal(t, "DELETE, GET, POST", w.Header().Get("Allow"))
	for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded"} {
		w := serveControl(t, srv, http.MethodPost, "/reset", "", "Content-Type: "+media)
		require.Equal(t, 415, w.Code)
		require.Equal(t, "application/json", w.Header().Get("Accept-Post"))
	}
}

func TestControlClock(t *testing.T) {
	srv := chargetest.New(t)
	require.Equal(t, object{"now": "2026-01-01T01:30:00Z"}, mustCall(t, srv, http.MethodPost, "/clock", `{"advance":"1h30m"}`))
	require.Equal(t, object{"now": "2026-02-01T00:00:00.5Z"}, mustCall(t, srv, http.MethodPost, "/clock", `{"set":"2026-02-01T01:00:00.5+01:00"}`))
	require.Equal(t, time.Date(2026, 2, 1, 0, 0, 0, 5e8, time.UTC), srv.Now())
	mustCall(t, srv, http.MethodPost, "/reset", "")
	require.Equal(t, object{"now": "2026-01-01T00:00:00Z"}, mustCall(t, srv, http.MethodGet, "/clock", ""))
}

func TestControlWait(t *testing.T) {
	t.Run("for an event", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := chargetest.New(t)
			go func() {
				time.Sleep(9 * time.Second)
				srv.Seed(t, chargetest.Sample("a"))
			}()
			result := mustCall(t, srv, http.MethodGet, "/wait?reference=a", "")
			require.Equal(t, "a", result["events"].([]any)[0].(object)["reference"])
			require.Equal(t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), srv.Now(), "the clock stands still")
		})
	})
	t.Run("until the timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := chargetest.New(t)
			srv.Seed(t, chargetest.Sample("order-42"))
			for query, want := range map[string]time.Duration{"count=2": 10 * time.Second, "reference=order_42&timeout=2m": 2 * time.Minute, "requests=1&timeout=0s": 0} {
				start := time.Now()
				status, response := call(t, srv, http.MethodGet, "/wait?"+query, "")
				require.Equal(t, []any{422, "ASSERTION_FAILED"}, []any{status, response["code"]})
				require.Equal(t, want, time.Since(start))
				if want == 2*time.Minute {
					require.Contains(t, response["message"], `reference "order_42": 0 stored, waited for 1`)
					require.Contains(t, response["message"], "a similar reference is stored: default chda_")
				}
			}
		})
	})
	t.Run("until the caller or the server has gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := chargetest.New(t)
			ctx, cancel := context.WithCancel(t.Context())
			waits := make(chan int, 2)
			for _, ctx := range []context.Context{ctx, t.Context()} {
				go func() {
					r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/wait", nil)
					r.Header.Set("X-API-KEY", srv.APIKey())
					w := httptest.NewRecorder()
					srv.Control().ServeHTTP(w, r)
					waits <- w.Code
				}()
			}
			synctest.Wait()
			start := time.Now()
			cancel()
			<-waits
			srv.Close()
			require.Equal(t, 503, <-waits)
			require.Zero(t, time.Since(start))
			require.Equal(t, 503, first(call(t, srv, http.MethodGet, "/state", "")))
		})
	})
	t.Run("for requests", func(t *testing.T) {
		srv := chargetest.New(t)
		requireStatus(t, 201)(inMemory(srv).charge(t, "a"))
		require.Equal(t, object{"events": []any{}, "count": 0.0, "more": false, "requests": 1.0}, mustCall(t, srv, http.MethodGet, "/wait?requests=1", ""))
	})
}

func TestControlOutsideBubble(t *testing.T) {
	srv := chargetest.New(t)
	synctest.Test(t, func(t *testing.T) {
		status, response := call(t, srv, http.MethodGet, "/state", "")
		require.Equal(t, 500, status)
		require.Contains(t, response["message"], "outside of this synctest bubble")
	})
}

func TestControlAssert(t *testing.T) {
	srv := chargetest.New(t)
	srv.Seed(t, chargetest.Sample("order-42"))
	srv.SeedOn(t, "acme", chargetest.Sample(""))
	sent, err := json.Marshal(chargetest.Sample("order-42"))
	require.NoError(t, err)
	for body, want := range map[string]string{
		`{"count":2}`: "",
		`{"count":1,"reference":"order-42","customer":"customer-sample"}`:           "",
		`{"count":1,"platform":"acme"}`:                                             "",
		`{"no_rejections":true}`:                                                    "",
		`{"event":` + string(sent) + `}`:                                            "",
		`{"count":1}`:                                                               "events: 2 stored, want 1",
		`{"count":1,"reference":"order_42"}`:                                        "a similar reference is stored",
		`{"count":2,"platform":"acme"}`:                                             `platform "acme": 1 stored, want 2`,
		`{"event":` + strings.ReplaceAll(string(sent), "order-42", "order-4") + `}`: `reference "order-4": 0 stored, want 1`,
		`{"event":` + strings.ReplaceAll(string(sent), "12.50", "12.5") + `}`:       "  - value.amount.quantity: \"12.5\"\n  + value.amount.quantity: \"12.50\"",
	} {
		status, response := call(t, srv, http.MethodPost, "/assert", body)
		if want == "" {
			require.Equal(t, 204, status, body)
			continue
		}
		require.Equal(t, []any{422, "ASSERTION_FAILED", "INVALID_REQUEST"}, []any{status, response["code"], response["type"]}, body)
		require.Contains(t, response["message"], want)
	}
	requireStatus(t, 404)(inMemory(srv).do(t.Context(), http.MethodPost, "/charge-data", nil))
	status, response := call(t, srv, http.MethodPost, "/assert", `{"no_rejections":true}`)
	require.Equal(t, 422, status)
	require.Contains(t, response["message"], "rejected requests: 1\n  request 1: POST /charge-data: 404")
	require.Contains(t, response["message"], "did you mean /v1/ingest/charge-data?")
}

func TestControlEvents(t *testing.T) {
	srv := chargetest.New(t)
	mustCall(t, srv, http.MethodPost, "/events", `{"samples":3,"platform":"acme"}`)
	again := mustCall(t, srv, http.MethodPost, "/events", `{"samples":1}`)["charge_datas"].([]any)
	require.NotContains(t, again[0], "platform")
	require.Len(t, srv.Events(), 4, "each sample is new")
	page := mustCall(t, srv, http.MethodGet, "/events?limit=2&platform=acme", "")
	require.Equal(t, []any{3.0, true}, []any{page["count"], page["more"]})
	last := page["events"].([]any)[1].(object)
	require.Equal(t, []any{"acme", "CHARGE_DATA"}, []any{last["platform"], last["object_type"]})
	page = mustCall(t, srv, http.MethodGet, fmt.Sprintf("/events?limit=2&platform=acme&after=%s", last["id"]), "")
	require.Len(t, page["events"], 1)
	require.Equal(t, []any{3.0, false}, []any{page["count"], page["more"]})

	status, response := call(t, srv, http.MethodPost, "/events", fmt.Sprintf(`{"charge_datas":[{"product_item_id":"p","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p","reference":%q}]}`, again[0].(object)["reference"]))
	require.Equal(t, []any{409, "RESOURCE_ALREADY_EXISTS", again[0].(object)["id"]}, []any{status, response["code"], response["resource_id"]})
}

func TestControlRequests(t *testing.T) {
	srv := chargetest.New(t)
	sender := inMemory(srv)
	srv.FailNext(1, chargetest.Status(503), chargetest.Reference("a"))
	requireStatus(t, 503)(sender.charge(t, "a", "Authorization: Bearer s3cret", "Cookie: session=s3cret", "X-My-Token: s3cret"))
	requireStatus(t, 404)(sender.do(t.Context(), http.MethodPost, "/v1/charge-data", []byte(strings.Repeat("ä", 50<<10)), "Proxy-Authorization: s3cret"))
	requireStatus(t, 201)(sender.charge(t, "b"))
	w := serveControl(t, srv, http.MethodGet, "/requests", "")
	require.NotContains(t, w.Body.String(), "s3cret")
	require.NotContains(t, w.Body.String(), srv.APIKey())
	page := mustCall(t, srv, http.MethodGet, "/requests", "")
	require.Equal(t, []any{3.0, false}, []any{page["count"], page["more"]})
	faulted, rejected := page["requests"].([]any)[0].(object), page["requests"].([]any)[1].(object)
	require.Equal(t, []any{"•••"}, faulted["header"].(object)["X-Api-Key"])
	require.Equal(t, []any{503.0, "FailNext(1, Status(503)) for reference \"a\"", false}, []any{faulted["status"], faulted["fault"], faulted["rejected"]})
	require.Equal(t, []any{true, "RESOURCE_NOT_FOUND", "did you mean /v1/ingest/charge-data?"}, []any{rejected["rejected"], rejected["code"], rejected["hint"]})
	require.Equal(t, []any{strings.Repeat("ä", 32<<10), 100.0 * 1024, true}, []any{rejected["body"], rejected["body_bytes"], rejected["body_truncated"]})

	for query, want := range map[string][]float64{
		"?rejected=true": {2}, "?rejected=false": {1, 3}, "?reference=b": {3}, "?after=1": {2, 3}, "?after=1&limit=1": {2}, "?after=9": {},
	} {
		numbers := []float64{}
		for _, r := range mustCall(t, srv, http.MethodGet, "/requests"+query, "")["requests"].([]any) {
			numbers = append(numbers, r.(object)["number"].(float64))
		}
		require.Equal(t, want, numbers, query)
	}
	require.Equal(t, true, mustCall(t, srv, http.MethodGet, "/requests?limit=2", "")["more"])
}

func TestControlPageBytes(t *testing.T) {
	srv := chargetest.New(t)
	for range 30 {
		r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(strings.Repeat("\x01", 64<<10))) // six bytes each in JSON
		srv.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	w := serveControl(t, srv, http.MethodGet, "/requests?limit=1000", "")
	require.Less(t, w.Body.Len(), 9<<20)
	var page object
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &page))
	require.Equal(t, []any{30.0, true}, []any{page["count"], page["more"]})
	require.NotEmpty(t, page["requests"])
}

func TestControlProfile(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{Quirks: chargetest.VendorQuirks()})
	vendor := mustCall(t, srv, http.MethodGet, "/profile", "")
	require.Equal(t, object{
		"min_reference_length": 10.0, "max_future_skew": "30m", "whole_seconds": true, "max_batch_events": 50.0,
		"return_original": true, "catalogue": true, "rate_limit": object{"requests": 100.0, "window": "1s"},
	}, vendor)
	off := mustCall(t, srv, http.MethodPatch, "/profile", `{"min_reference_length":null,"max_future_skew":0,"whole_seconds":null,"max_batch_events":0,"return_original":false,"catalogue":null,"rate_limit":null}`)
	require.Equal(t, chargetest.Quirks{}, srv.Quirks())
	require.Equal(t, []any{"0s", nil}, []any{off["max_future_skew"], off["rate_limit"]})
	text, err := json.Marshal(vendor)
	require.NoError(t, err)
	require.Equal(t, vendor, mustCall(t, srv, http.MethodPatch, "/profile", string(text)))
	require.Equal(t, chargetest.VendorQuirks(), srv.Quirks())

	mustCall(t, srv, http.MethodPut, "/catalogue", `{"customers":["b","a"],"products":["p"]}`)
	require.Equal(t, object{"customers": []any{"a", "b"}, "subscriptions": []any{}, "products": []any{"p"}}, mustCall(t, srv, http.MethodGet, "/catalogue", ""))
}

func TestControlRestartReachesCaller(t *testing.T) {
	srv := chargetest.New(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/", srv.Handler())
	mux.Handle("/sandbox/", http.StripPrefix("/sandbox", srv.Control()))
	err = srv.ServeOn(listener, mux)
	require.NoError(t, err)
	srv.FailNext(1, chargetest.Delay(time.Hour))
	failed := make(chan error)
	go func() {
		_, err := overSocket(srv).charge(t, "a")
		failed <- err
	}()
	srv.WaitRequests(t, 1)
	caller := client{&http.Client{Transport: new(http.Transport)}, srv.URL(), srv.APIKey()}
	for range 2 {
		res := requireStatus(t, 204)(caller.do(t.Context(), http.MethodPost, "/sandbox/restart", nil))
		require.True(t, res.Close, "this connection is closed, too")
	}
	require.Error(t, <-failed)
	requireStatus(t, 201)(overSocket(srv).charge(t, "a"))
}

func TestControlResetKeepsDatabase(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{KeepEvents: true})
	srv.Seed(t, chargetest.Sample("a"))
	status, response := call(t, srv, http.MethodPost, "/reset", "")
	require.Equal(t, []any{409, "INVALID_OPERATION"}, []any{status, response["code"]})
	require.Len(t, srv.Events(), 1)
}
