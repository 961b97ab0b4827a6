package relay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/relay"
)

const httpPlatform = chargeingest.DefaultPlatform

func httpEvents(t *testing.T, references ...string) []chargeingest.StoredEvent {
	t.Helper()
	events := make([]chargeingest.StoredEvent, len(references))
	for i, reference := range references {
		ev := chargetest.Sample(reference)
		if reference == "" {
			ev.Reference = nil
		}
		ev.Timestamp = new("2026-01-01T00:00:00Z")
		text, err := ev.MarshalJSON()
		require.NoError(t, err)
		events[i] = chargeingest.StoredEvent{ID: "chda_" + strings.Repeat("0", 25) + strconv.Itoa(i), Content: string(text)}
	}
	return events
}

func newHTTP(t *testing.T, srv *chargetest.Server, set ...func(*relay.HTTPConfig)) *relay.HTTP {
	t.Helper()
	cfg := relay.HTTPConfig{URL: "https://api.vendor.example", APIKey: srv.APIKey(), HTTPClient: srv.Client()}
	for _, f := range set {
		f(&cfg)
	}
	h, err := relay.NewHTTP(cfg)
	require.NoError(t, err)
	return h
}

func outcomesOf(results []relay.Result) (list []relay.Outcome) {
	for _, r := range results {
		list = append(list, r.Outcome)
	}
	return list
}

const (
	unsent    = relay.Unsent
	delivered = relay.Delivered
	repeated  = relay.Repeated
	rejected  = relay.Rejected
)

func TestHTTPDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		h := newHTTP(t, srv)
		send := func(references ...string) []relay.Outcome {
			results, err := h.Send(t.Context(), httpPlatform, httpEvents(t, references...))
			require.NoError(t, err)
			return outcomesOf(results)
		}
		require.Empty(t, send())
		require.Equal(t, []relay.Outcome{delivered, delivered}, send("r-1", "r-2"))
		require.Equal(t, []relay.Outcome{repeated, repeated}, send("r-1", "r-2"))
		require.Equal(t, []relay.Outcome{repeated, delivered, delivered}, send("r-3", "r-1", "r-4"), "only their number is known")
		require.Equal(t, []relay.Outcome{delivered}, send("r-5"))
		require.Equal(t, []relay.Outcome{repeated}, send("r-5"))
		requests := srv.Requests()
		require.Len(t, requests, 5)
		require.Equal(t, chargeingest.RouteBatch, requests[0].Route)
		require.Equal(t, chargeingest.RouteSingle, requests[3].Route)
		for _, r := range requests {
			require.Equal(t, httpPlatform, r.Header.Get("X-Platform-Id"))
			require.Empty(t, r.Header.Get("Idempotency-Key"))
		}
		srv.AssertNoRejections(t)
		for i, want := range httpEvents(t, "r-1", "r-2", "r-3") {
			require.JSONEq(t, want.Content, withoutID(t, srv.Events()[i].ChargeEvent))
		}
	})
}

func withoutID(t *testing.T, ev chargeingest.ChargeEvent) string {
	t.Helper()
	ev.ID = ""
	text, err := ev.MarshalJSON()
	require.NoError(t, err)
	return string(text)
}

func TestHTTPMissingReferences(t *testing.T) {
	for _, c := range []struct {
		name, content, want string
	}{
		{"null", `{"a":1,"reference":null,"b":2}`, `{"a":1,"reference":"ID","b":2}`},
		{"empty", `{"reference" : "" }`, `{"reference" : "ID" }`},
		{"absent", `{"value":{"reference":"x"},"b":1e2}`, `{"reference":"ID","value":{"reference":"x"},"b":1e2}`},
		{"after an object with one", `{"value":{"reference":null},"reference":null}`, `{"value":{"reference":null},"reference":"ID"}`},
		{"present", `{"value":{"reference":null},"reference":"r","c":"\u0041"}`, `{"value":{"reference":null},"reference":"r","c":"\u0041"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var body string
			h := newHTTPOf(t, func(r *http.Request, text string) (*http.Response, error) {
				body = text
				return httpResponse(r, 400, "")
			})
			_, err := h.Send(t.Context(), "p", []chargeingest.StoredEvent{{ID: "ID", Content: c.content}})
			require.Error(t, err)
			require.Equal(t, c.want, body)
		})
	}
	t.Run("sent twice", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := chargetest.New(t)
			events := httpEvents(t, "", "r-1", "")
			for range 2 {
				_, err := newHTTP(t, srv).Send(t.Context(), httpPlatform, events)
				require.NoError(t, err)
			}
			srv.AssertCount(t, 3)
			require.Equal(t, events[2].ID, *srv.Events()[2].Reference)
		})
	})
}

func TestHTTPKeepsMissingReferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		h := newHTTP(t, srv, func(cfg *relay.HTTPConfig) { cfg.KeepMissingReferences = true })
		events := httpEvents(t, "r-1", "r-2", "", "", "r-3")
		for _, outcome := range []relay.Outcome{delivered, repeated} {
			rest := events
			for _, n := range []int{2, 1, 1, 1} {
				results, err := h.Send(t.Context(), httpPlatform, rest)
				require.NoError(t, err)
				for i, r := range results {
					require.Equal(t, i < n, r.Outcome == outcome)
					require.Equal(t, i >= n, r.Outcome == unsent)
				}
				rest = rest[n:]
			}
			require.Empty(t, rest)
		}
		srv.AssertCount(t, 5)
		require.Nil(t, srv.Events()[2].Reference)
		require.Equal(t, events[3].ID, srv.Requests()[2].Header.Get("Idempotency-Key"))

		changed := httpEvents(t, "", "", "", "")[3:]
		changed[0].Content = strings.Replace(changed[0].Content, "EUR", "USD", 1)
		require.NotEqual(t, events[3].Content, changed[0].Content)
		results, err := h.Send(t.Context(), httpPlatform, changed)
		require.NoError(t, err)
		require.Equal(t, rejected, results[0].Outcome)
		require.Equal(t, "IDEMPOTENCY_CHECK_FAILED", results[0].Reason.Code)

		srv.FailNext(1, chargetest.Reset().AfterCommit())
		lost := httpEvents(t, "", "", "", "", "", "")[5:]
		_, err = h.Send(t.Context(), httpPlatform, lost)
		require.Error(t, err)
		results, err = h.Send(t.Context(), httpPlatform, lost)
		require.NoError(t, err)
		require.Equal(t, []relay.Outcome{repeated}, outcomesOf(results))
		srv.AssertCount(t, 6)
	})
}

func TestHTTPPlatforms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.NewWith(t, chargetest.Options{Keys: []chargeingest.Key{{
			Secret: "k", Subject: "s", Permissions: []chargeingest.Permission{chargeingest.PermissionIngest}, Platforms: []string{"a", "b"},
		}}})
		own := newHTTP(t, srv, func(cfg *relay.HTTPConfig) { cfg.APIKey = "k" })
		for _, p := range []string{"a", "b", "a"} {
			_, err := own.Send(t.Context(), p, httpEvents(t, "r"))
			require.NoError(t, err)
		}
		srv.AssertCount(t, 2)
		one := newHTTP(t, srv, func(cfg *relay.HTTPConfig) { cfg.APIKey, cfg.Platform = "k", "b" })
		results, err := one.Send(t.Context(), "x", httpEvents(t, "r"))
		require.NoError(t, err)
		require.Equal(t, []relay.Outcome{repeated}, outcomesOf(results))
		sent := len(srv.Requests())
		_, err = one.Send(t.Context(), "y", httpEvents(t, "r"))
		require.ErrorContains(t, err, `events of "x" and "y"`)
		requireHTTPDown(t, err)
		_, err = own.Send(t.Context(), " a", httpEvents(t, "r"))
		requireHTTPDown(t, err)
		require.Len(t, srv.Requests(), sent)
	})
}

func TestHTTPDamagedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		h := newHTTP(t, srv)
		for _, content := range []string{``, `[]`, `{"a":,}`, `{"reference":1}`} {
			events := httpEvents(t, "r-1", "r-2", "r-3")
			events[1].Content = content
			results, err := h.Send(t.Context(), httpPlatform, events)
			require.NoError(t, err)
			require.Equal(t, unsent, results[1].Outcome)
			require.Equal(t, unsent, results[2].Outcome)
			results, err = h.Send(t.Context(), httpPlatform, events[1:])
			require.NoError(t, err)
			require.Equal(t, []relay.Outcome{rejected, unsent}, outcomesOf(results))
			require.Contains(t, results[0].Reason.Message, "damaged")
		}
		srv.AssertCount(t, 1)
	})
}

func TestHTTPHidesCredentials(t *testing.T) {
	const secret = "topsecret"
	_, err := relay.NewHTTP(relay.HTTPConfig{URL: "http://user:" + secret + "@host", APIKey: secret})
	require.ErrorContains(t, err, "Config.URL")
	require.NotContains(t, err.Error(), secret)
	h := newHTTPOf(t, func(r *http.Request, _ string) (*http.Response, error) {
		text, err := json.Marshal(map[string]string{"code": secret, "field": "charge_datas.0." + secret, "message": "the key " + secret})
		require.NoError(t, err)
		return httpResponse(r, 400, string(text))
	}, func(cfg *relay.HTTPConfig) { cfg.APIKey = secret })
	for _, n := range []string{"a", "ab"} {
		results, err := h.Send(t.Context(), "p", httpEvents(t, strings.Split(n, "")...))
		require.NoError(t, err)
		text, err := json.Marshal(results)
		require.NoError(t, err)
		require.Contains(t, string(text), "[credential]")
		require.NotContains(t, string(text), secret)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		require.NotContains(t, fmt.Sprintf(verb, h), secret)
	}
}

func TestHTTPContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		srv.FailNext(1, chargetest.Delay(time.Hour).AfterCommit())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := newHTTP(t, srv).Send(ctx, httpPlatform, httpEvents(t, "r-1"))
		requireHTTPDown(t, err)
		require.Equal(t, time.Minute, time.Since(start))
	})
}
