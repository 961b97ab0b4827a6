package relay_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/relay"
)

type httpTransport func(r *http.Request, body string) (*http.Response, error)

func (f httpTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return f(r, string(body))
}

func httpResponse(r *http.Request, status int, body string, headers ...string) (*http.Response, error) {
	res := &http.Response{Request: r, StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body))}
	res.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		res.Header.Set(name, value)
	}
	return res, nil
}

func newHTTPOf(t *testing.T, f httpTransport, set ...func(*relay.HTTPConfig)) *relay.HTTP {
	t.Helper()
	cfg := relay.HTTPConfig{URL: "http://127.0.0.1:1", APIKey: "key", HTTPClient: &http.Client{Transport: f}}
	for _, s := range set {
		s(&cfg)
	}
	h, err := relay.NewHTTP(cfg)
	require.NoError(t, err)
	return h
}

func requireHTTPDown(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	var batch *relay.BatchError
	require.NotErrorAs(t, err, &batch)
}

func retryAfterOf(err error) time.Duration {
	var batch *relay.BatchError
	var timed interface{ RetryAfter() time.Duration }
	switch {
	case errors.As(err, &batch):
		return batch.RetryAfter
	case errors.As(err, &timed):
		return timed.RetryAfter()
	}
	return 0
}

func TestHTTPStatuses(t *testing.T) {
	const html, none = "Content-Type: text/html", ""
	code := func(code string) string { return `{"code":"` + code + `","message":"m"}` }
	const (
		down      = "down"
		notNow    = "not now"
		permanent = "permanent"
		dead      = "dead"
	)
	for _, c := range []struct {
		name       string
		status     int
		body, head string
		one, many  string
	}{
		{"redirect", 307, "", "Location: http://other.example/", down, down},
		{"another success", 200, `{}`, none, down, down},
		{"a page with the right status", 201, `<html>`, html, down, down},
		{"other events", 201, `{"charge_datas":[]}`, none, down, down},
		{"damaged JSON", 201, `{`, none, down, down},
		{"bad request", 400, code("BAD_REQUEST"), none, dead, permanent},
		{"bad request of a proxy", 400, `<html>`, html, notNow, notNow},
		{"unsupported version", 400, code("UNSUPPORTED_VERSION"), none, down, down},
		{"no version", 400, code("MISSING_VERSION"), none, down, down},
		{"unauthorized", 401, code("UNAUTHORISED"), none, down, down},
		{"unauthorized by a proxy", 401, `<html>`, html, down, down},
		{"payment required", 402, code("PAYMENT_REQUIRED"), none, notNow, notNow},
		{"forbidden", 403, code("USER_NOT_ALLOWED"), none, down, down},
		{"forbidden by a firewall", 403, `<html>`, html, notNow, notNow},
		{"no such page", 404, `<html>`, html, down, down},
		{"no such route", 404, code("RESOURCE_NOT_FOUND"), none, down, down},
		{"unknown resources", 404, code("RESOURCES_NOT_FOUND"), none, dead, permanent},
		{"wrong method", 405, code("INVALID_OPERATION"), none, down, down},
		{"proxy authorization", 407, ``, html, down, down},
		{"request timeout", 408, ``, html, notNow, notNow},
		{"conflict", 409, code("RESOURCE_ALREADY_EXISTS"), none, dead, permanent},
		{"idempotency key", 409, code("IDEMPOTENCY_CHECK_FAILED"), none, dead, permanent},
		{"conflict in a proxy", 409, ``, html, notNow, notNow},
		{"too large", 413, code("BAD_REQUEST"), none, dead, permanent},
		{"too large for a proxy", 413, `<html>`, html, dead, permanent},
		{"wrong type", 415, code("UNSUPPORTED_MEDIA_TYPE"), none, down, down},
		{"unprocessable", 422, code("INVALID_FIELD"), none, dead, permanent},
		{"too early", 425, ``, none, notNow, notNow},
		{"too many requests", 429, code("TOO_MANY_REQUESTS"), none, notNow, notNow},
		{"internal error", 500, code("INTERNAL_ERROR"), "Idempotency-Retryable: false", notNow, notNow},
		{"bad gateway", 502, `<html>`, html, notNow, notNow},
		{"unavailable", 503, code("INTERNAL_ERROR"), "Idempotency-Retryable: true", notNow, notNow},
		{"gateway timeout", 504, ``, html, notNow, notNow},
	} {
		for n, want := range map[int]string{1: c.one, 2: c.many} {
			t.Run(fmt.Sprint(c.name, "/", n), func(t *testing.T) {
				requests := 0
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests++
					w.Header().Set("Content-Type", "application/json")
					w.Header().Set("Retry-After", "7")
					if name, value, ok := strings.Cut(c.head, ": "); ok {
						w.Header().Set(name, value)
					}
					w.WriteHeader(c.status)
					io.WriteString(w, c.body)
				}))
				defer srv.Close()
				h, err := relay.NewHTTP(relay.HTTPConfig{URL: srv.URL, Token: "key", HTTPClient: srv.Client()})
				require.NoError(t, err)
				results, err := h.Send(t.Context(), "p", httpEvents(t, []string{"r-1", "r-2"}[:n]...))
				require.Equal(t, 1, requests)
				if want == dead {
					require.NoError(t, err)
					require.Equal(t, []relay.Outcome{rejected}, outcomesOf(results))
					require.Equal(t, c.status, results[0].Reason.Status)
					require.Equal(t, c.head == html, results[0].Reason.Code == "")
					return
				}
				require.Nil(t, results)
				if c.status >= 400 {
					require.Equal(t, 7*time.Second, retryAfterOf(err))
				}
				if want == down {
					requireHTTPDown(t, err)
					return
				}
				var batch *relay.BatchError
				require.ErrorAs(t, err, &batch)
				require.Equal(t, want == permanent, batch.Permanent)
				require.Equal(t, c.status, batch.Reason.Status)
			})
		}
	}
}

func TestHTTPNamedEvents(t *testing.T) {
	violation := func(field string) string {
		return `{"code":"INVALID_FIELD","field":"` + field + `","message":"` + field + ` is wrong"}`
	}
	body := func(fields ...string) string {
		var errors []string
		for _, f := range fields {
			errors = append(errors, violation(f))
		}
		return strings.TrimSuffix(violation(fields[0]), "}") + `,"errors":[` + strings.Join(errors, ",") + `]}`
	}
	for _, c := range []struct {
		name, body string
		status     int
		want       []relay.Outcome // nil: permanent
		reason     string          // of the last rejected event
	}{
		{"one", body("charge_datas.1.value.number"), 400, []relay.Outcome{unsent, rejected, unsent},
			"status 400: INVALID_FIELD: value.number: value.number is wrong"},
		{"without a list", violation("charge_datas.2.reference"), 409, []relay.Outcome{unsent, unsent, rejected},
			"status 409: INVALID_FIELD: reference: reference is wrong"},
		{"several, one twice", body("charge_datas.0.a", "charge_datas.2.b", "charge_datas.2.c"), 422,
			[]relay.Outcome{rejected, unsent, rejected}, "status 422: INVALID_FIELD: b: b is wrong"},
		{"all", body("charge_datas.0.a", "charge_datas.1.a", "charge_datas.2.a"), 400, []relay.Outcome{rejected, rejected, rejected},
			"status 400: INVALID_FIELD: a: a is wrong"},
		{"an event as a whole", body("charge_datas.1"), 400, []relay.Outcome{unsent, rejected, unsent},
			"status 400: INVALID_FIELD: charge_datas.1 is wrong"},
		{"with another status", body("charge_datas.0.customer_id"), 402, []relay.Outcome{rejected, unsent, unsent},
			"status 402: INVALID_FIELD: customer_id: customer_id is wrong"},
		{"too large", body("charge_datas.0.value"), 413, []relay.Outcome{rejected, unsent, unsent},
			"status 413: INVALID_FIELD: value: value is wrong"},
		{"unknown resources", strings.ReplaceAll(body("charge_datas.0.customer_id"), "INVALID_FIELD", "RESOURCES_NOT_FOUND"), 404,
			[]relay.Outcome{rejected, unsent, unsent}, "status 404: RESOURCES_NOT_FOUND: customer_id: customer_id is wrong"},
		{"too many events", body("charge_datas"), 400, nil, ""},
		{"an event that was not sent", body("charge_datas.3.a", "charge_datas.-1.a", "charge_datas.x"), 400, nil, ""},
		{"a field of no event", body("value.number"), 400, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHTTPOf(t, func(r *http.Request, _ string) (*http.Response, error) { return httpResponse(r, c.status, c.body) })
			results, err := h.Send(t.Context(), "p", httpEvents(t, "a", "b", "c"))
			if c.want == nil {
				var batch *relay.BatchError
				require.ErrorAs(t, err, &batch)
				require.True(t, batch.Permanent)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, outcomesOf(results))
			last := ""
			for _, r := range results {
				if r.Outcome == rejected {
					last = r.Reason.String()
				}
			}
			require.Equal(t, c.reason, last)
		})
	}
	t.Run("alone", func(t *testing.T) {
		h := newHTTPOf(t, func(r *http.Request, _ string) (*http.Response, error) {
			return httpResponse(r, 400, body("value.number"))
		})
		results, err := h.Send(t.Context(), "p", httpEvents(t, "a"))
		require.NoError(t, err)
		require.Equal(t, "status 400: INVALID_FIELD: value.number: value.number is wrong", results[0].Reason.String())
	})
}

func TestHTTPLongReasons(t *testing.T) {
	long := strings.Repeat("é", 10_000)
	h := newHTTPOf(t, func(r *http.Request, _ string) (*http.Response, error) {
		return httpResponse(r, 400, `{"code":"`+long+`","field":"`+long+`","message":"`+long+`"}`, "Retry-After: 4294967295")
	})
	results, err := h.Send(t.Context(), "p", httpEvents(t, "a"))
	require.NoError(t, err)
	require.Less(t, len(results[0].Reason.String()), 3100)
	_, err = h.Send(t.Context(), "p", httpEvents(t, "a", "b"))
	require.Equal(t, time.Hour, retryAfterOf(err))
}

func TestHTTPFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault     chargetest.Fault
		down      bool
		committed bool
	}{
		"connection reset":        {chargetest.Reset(), true, false},
		"lost response":           {chargetest.Reset().AfterCommit(), true, true},
		"truncated response":      {chargetest.Truncated(), true, true},
		"malformed response":      {chargetest.Malformed(), true, true},
		"timeout":                 {chargetest.Delay(time.Hour), true, false},
		"store error":             {chargetest.StoreError(errors.New("disk")), false, false},
		"error after the commit":  {chargetest.Status(503).AfterCommit(), false, true},
		"unauthorized":            {chargetest.Status(401), true, false},
		"forbidden":               {chargetest.Status(403), true, false},
		"too many requests":       {chargetest.Status(429), false, false},
		"a conflict of the batch": {chargetest.Status(409), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := chargetest.New(t)
				srv.FailNext(1, c.fault)
				h := newHTTP(t, srv)
				events := httpEvents(t, "r-1", "")
				_, err := h.Send(t.Context(), httpPlatform, events)
				require.Error(t, err)
				var batch *relay.BatchError
				require.Equal(t, !c.down, errors.As(err, &batch), err)
				require.Len(t, srv.Requests(), 1)
				if c.committed {
					srv.AssertCount(t, 2)
				} else {
					srv.AssertCount(t, 0)
				}
				results, err := h.Send(t.Context(), httpPlatform, events)
				require.NoError(t, err)
				require.Equal(t, c.committed, results[0].Outcome == repeated)
				srv.AssertCount(t, 2)
			})
		})
	}
	t.Run("no server", func(t *testing.T) {
		h := newHTTPOf(t, nil, func(cfg *relay.HTTPConfig) { cfg.HTTPClient = nil })
		_, err := h.Send(t.Context(), "p", httpEvents(t, "a"))
		requireHTTPDown(t, err)
	})
	t.Run("an untrusted certificate", func(t *testing.T) {
		srv := httptest.NewUnstartedServer(nil)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		defer srv.Close()
		h, err := relay.NewHTTP(relay.HTTPConfig{URL: srv.URL, APIKey: "key"})
		require.NoError(t, err)
		_, err = h.Send(t.Context(), "p", httpEvents(t, "a"))
		requireHTTPDown(t, err)
	})
}
