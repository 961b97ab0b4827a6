package chargeclient_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/chargetest"
)

func rawSamples(t *testing.T, references ...string) chargeclient.RawRequest {
	t.Helper()
	r := chargeclient.RawRequest{References: references}
	for _, reference := range references {
		text, err := chargetest.Sample(reference).MarshalJSON()
		require.NoError(t, err)
		r.Events = append(r.Events, text)
	}
	return r
}

func TestSendRaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.NewWith(t, chargetest.Options{Keys: []chargeingest.Key{{
			Secret: "k", Subject: "s", Permissions: []chargeingest.Permission{chargeingest.PermissionIngest}, Platforms: []string{"a", "b"},
		}}})
		c := newClient(t, srv, func(cfg *chargeclient.Config) { cfg.APIKey, cfg.Platform = "k", "a" })
		send := func(platform, key string, references ...string) int {
			r := rawSamples(t, references...)
			r.Platform, r.IdempotencyKey = platform, key
			replayed, err := c.SendRaw(t.Context(), r)
			require.NoError(t, err)
			return replayed
		}
		require.Equal(t, 0, send("", "", "r-1"))
		require.Equal(t, 1, send("", "", "r-1"))
		require.Equal(t, 1, send("", "", "r-2", "r-1", "r-3"))
		require.Equal(t, 0, send("b", "", "r-1", "r-2"))
		require.Equal(t, 0, send("b", "key", ""))
		require.Equal(t, 1, send("b", "key", ""))
		srv.AssertCount(t, 6)
		requests := srv.Requests()
		require.Equal(t, chargeingest.RouteSingle, requests[0].Route)
		require.Equal(t, chargeingest.RouteBatch, requests[2].Route)
		require.Equal(t, "b", requests[3].Header.Get("X-Platform-Id"))
		srv.AssertNoRejections(t)
	})
}

func TestInvalidRawRequests(t *testing.T) {
	c := newClientOf(t, func(*http.Request) (*http.Response, error) { panic("sent") })
	for name, change := range map[string]func(*chargeclient.RawRequest){
		"no event":                       func(r *chargeclient.RawRequest) { r.Events, r.References = nil, nil },
		"no reference of an event":       func(r *chargeclient.RawRequest) { r.References = r.References[:1] },
		"neither reference nor key":      func(r *chargeclient.RawRequest) { r.References[1] = "" },
		"a space after the platform":     func(r *chargeclient.RawRequest) { r.Platform = "a " },
		"a line break in the platform":   func(r *chargeclient.RawRequest) { r.Platform = "a\r\nX-B: c" },
		"a space that headers may trim":  func(r *chargeclient.RawRequest) { r.Platform = "\u00a0a" },
		"only a space in the platform":   func(r *chargeclient.RawRequest) { r.Platform = " " },
		"a tabulator before a platform":  func(r *chargeclient.RawRequest) { r.Platform = "\ta" },
		"a deleted character in between": func(r *chargeclient.RawRequest) { r.Platform = "a\x7fb" },
	} {
		t.Run(name, func(t *testing.T) {
			r := rawSamples(t, "a", "b")
			change(&r)
			_, err := c.SendRaw(t.Context(), r)
			require.ErrorContains(t, err, "RawRequest")
		})
	}
}

func TestRawResponses(t *testing.T) {
	const a, b = `{"id":"chda_1","reference":"a","value":{"id":1,"reference":2}}`, `{"reference":"\u0062","id":"chda_2"}`
	batch := func(events ...string) string {
		return `{"more":[{}],"charge_datas":[` + strings.Join(events, ",") + `]} `
	}
	for _, c := range []struct {
		name, single, batch string
		problem             string
	}{
		{"as sent", a + "\n", batch(a, b), ""},
		{"not JSON", "{" + a, batch("{" + a), "not valid JSON"},
		{"damaged at the end", a + "]", batch(a, b) + "]", "not valid JSON"},
		{"another event", b, batch(a, a), "has the reference"},
		{"another order", `{"id":"chda_1","reference":null}`, batch(b, a), "has the reference"},
		{"an event too many", `{"charge_datas":[]}`, batch(a, b, b), ""},
		{"an event too few", `{}`, batch(a), ""},
		{"no id", `{"reference":"a"}`, batch(a, `{"reference":"b"}`), "not a response of the charge event endpoint"},
		{"a wrong id", `{"id":1,"reference":"a"}`, batch(a, `{"id":[],"reference":"b"}`), "not a response of the charge event endpoint"},
		{"a wrong reference", `{"id":"x","reference":["a"]}`, batch(a, `{"id":"x","reference":{}}`), "not a response of the charge event endpoint"},
		{"another type", `[` + a + `]`, `[` + a + `,` + b + `]`, "not a response of the charge event endpoint"},
		{"a text", `"a"`, `{"charge_datas":"a"}`, "not a response of the charge event endpoint"},
		{"an object", `{"charge_data":` + a + `}`, `{"charge_datas":{"0":` + a + `}}`, "not a response of the charge event endpoint"},
	} {
		for name, body := range map[string]string{"single": c.single, "batch": c.batch} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				client := newClientOf(t, func(r *http.Request) (*http.Response, error) {
					return respond(r, 201, body, "Idempotent-Replayed-Count: 1")
				}, func(cfg *chargeclient.Config) { cfg.MaxAttempts = 1 })
				r := rawSamples(t, "a", "b")
				if name == "single" {
					r = rawSamples(t, "a")
				}
				replayed, err := client.SendRaw(t.Context(), r)
				if c.name == "as sent" {
					require.NoError(t, err)
					require.Equal(t, 1, replayed)
					return
				}
				require.ErrorContains(t, err, c.problem)
				require.ErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
			})
		}
	}
}

func TestMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for attempts := 1; attempts <= 3; attempts++ {
			srv := chargetest.New(t)
			srv.FailNext(10, chargetest.Status(503).RetryAfter(7*time.Second))
			c := newClient(t, srv, func(cfg *chargeclient.Config) { cfg.MaxAttempts = attempts })
			start := time.Now()
			_, err := c.SendJSON(t.Context(), chargeclient.Request{Events: []json.RawMessage{rawSamples(t, "a").Events[0]}})
			var failed *chargeclient.Error
			require.ErrorAs(t, err, &failed)
			require.Equal(t, 7*time.Second, failed.RetryAfter)
			require.Equal(t, attempts, failed.Attempts)
			require.Len(t, srv.Requests(), attempts)
			require.Equal(t, attempts == 1, time.Since(start) == 0)
		}
	})
}
