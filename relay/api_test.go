package relay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

var apiNow = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

type apiHost struct {
	t       *testing.T
	store   *memstore.Store
	journal *memstore.Journal
	api     http.Handler
	log     bytes.Buffer
}

// newAPIHost has the keys ingest, view and other (of another platform).
func newAPIHost(t *testing.T) *apiHost {
	h := &apiHost{t: t, store: memstore.New()}
	h.journal = h.store.Journal()
	key := func(name string, platforms []string, permissions ...chargeingest.Permission) chargeingest.Key {
		return chargeingest.Key{Secret: name, Subject: name, Platforms: platforms, Permissions: permissions}
	}
	all := []chargeingest.Permission{chargeingest.PermissionView, chargeingest.PermissionIngest}
	unnamed := key("unnamed", []string{"acme"}, all...)
	unnamed.Subject = ""
	keys, err := chargeingest.NewKeys(key("ingest", []string{"acme", "beta"}, all...), unnamed,
		key("view", []string{"acme"}, chargeingest.PermissionView), key("other", []string{"other"}, all...))
	require.NoError(t, err)
	h.api, err = relay.NewAPI(relay.APIConfig{Ledger: h.journal, Authorizer: keys,
		Now: func() time.Time { return apiNow }, Logger: slog.New(slog.NewTextHandler(&h.log, nil))})
	require.NoError(t, err)
	return h
}

func (h *apiHost) reject(platform, destination string, n int) (ids []string) {
	h.t.Helper()
	s := relay.Stream{Destination: destination, Platform: platform}
	state, err := h.journal.Lease(h.t.Context(), s, relay.LeaseRequest{Holder: "test", TTL: time.Minute})
	require.NoError(h.t, err)
	progress := relay.Progress{Token: state.Token}
	for i := range n {
		r, err := h.store.Append(h.t.Context(), chargeingest.Batch{Platform: platform,
			Events: []chargeingest.NewEvent{{Content: `{}`}}})
		require.NoError(h.t, err)
		ids = append(ids, r.Outcomes[0].ID)
		c := relay.EntryChange{EventID: ids[i], State: relay.Dead, Attempt: relay.Attempt{At: apiNow.Add(-time.Hour), Outcome: "rejected",
			Reason: relay.Reason{Status: 400, Code: "INVALID_FIELD", Field: "value.number", Message: "must be a decimal"}}}
		if i%2 == 1 {
			c.State, c.NextAttempt = relay.Parked, apiNow.Add(time.Hour)
			c.Attempt.Outcome, c.Attempt.Reason = "deferred", relay.Reason{Status: 429}
		}
		progress.Entries = append(progress.Entries, c)
	}
	require.NoError(h.t, h.journal.Save(h.t.Context(), s, progress))
	return ids
}

func (h *apiHost) call(method, target, key, body string, header ...string) *httptest.ResponseRecorder {
	h.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if key != "" {
		r.Header.Set("X-Api-Key", key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	require.Equal(h.t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(h.t, "application/json", w.Header().Get("Content-Type"))
	return w
}

func (h *apiHost) get(target, key string, header ...string) (found struct {
	Streams []relay.Status
	Entries []relay.Entry
	Next    string
}) {
	h.t.Helper()
	w := h.call(http.MethodGet, target, key, "", header...)
	require.Equal(h.t, http.StatusOK, w.Code, w.Body)
	require.NoError(h.t, json.Unmarshal(w.Body.Bytes(), &found))
	return found
}

func (h *apiHost) resolve(key, body string) int {
	h.t.Helper()
	w := h.call(http.MethodPost, "/resolve", key, body)
	require.Equal(h.t, http.StatusOK, w.Code, w.Body)
	var done struct{ Changed int }
	require.NoError(h.t, json.Unmarshal(w.Body.Bytes(), &done))
	return done.Changed
}

func TestAPIStatus(t *testing.T) {
	h := newAPIHost(t)
	require.JSONEq(t, `{"streams":[]}`, h.call("GET", "/status", "view", "").Body.String())
	h.reject("acme", "vendor", 4)
	h.reject("beta", "vendor", 1)
	streams := h.get("/status", "view").Streams
	require.Len(t, streams, 1)
	require.Equal(t, relay.Stream{Destination: "vendor", Platform: "acme"}, streams[0].Stream)
	require.Equal(t, []int64{2, 2}, []int64{streams[0].Parked, streams[0].Dead})
	require.Equal(t, "beta", h.get("/status", "ingest", "X-Platform-Id", "beta").Streams[0].Platform)
	require.Empty(t, h.get("/status", "other").Streams)
	require.Equal(t, http.StatusForbidden, h.call("GET", "/status", "view", "", "X-Platform-Id", "beta").Code)

	head := h.call("HEAD", "/status", "view", "")
	require.Equal(t, http.StatusOK, head.Code)
	require.Empty(t, head.Body.String())
}

func TestAPIEntries(t *testing.T) {
	h := newAPIHost(t)
	ids := h.reject("acme", "vendor", 5)
	for query, want := range map[string][]string{
		"":                                 ids,
		"&state=dead":                      {ids[0], ids[2], ids[4]},
		"&state=parked":                    {ids[1], ids[3]},
		"&state=skipped":                   {},
		"&code=INVALID_FIELD&state=dead":   {ids[0], ids[2], ids[4]},
		"&code=INVALID_FIELD&state=parked": {},
		"&event_id=" + ids[3]:              {ids[3]},
	} {
		var found []string
		for after := ""; ; {
			page := h.get("/entries?destination=vendor&limit=2"+query+after, "view")
			require.LessOrEqual(t, len(page.Entries), 2)
			for _, e := range page.Entries {
				found = append(found, e.EventID)
			}
			if page.Next == "" {
				break
			}
			after = "&after=" + page.Next
		}
		require.ElementsMatch(t, want, found, query)
	}
	e := h.get("/entries?destination=vendor&event_id="+ids[0], "view").Entries[0]
	require.Equal(t, relay.Reason{Status: 400, Code: "INVALID_FIELD", Field: "value.number", Message: "must be a decimal"}, e.Reason)
	require.Len(t, e.History, 1)
	require.Contains(t, h.call("GET", "/entries?destination=vendor&state=skipped", "view", "").Body.String(), `"entries":[]`)
}

func TestAPIResolve(t *testing.T) {
	h := newAPIHost(t)
	ids := h.reject("acme", "vendor", 6)
	require.Equal(t, 1, h.resolve("ingest", fmt.Sprintf(`{"destination":"vendor","action":"retry","event_ids":[%q]}`, ids[0])))
	require.Equal(t, 2, h.resolve("ingest", `{"destination":"vendor","action":"skip","state":"dead","code":"INVALID_FIELD"}`))
	require.Equal(t, 0, h.resolve("ingest", `{"destination":"vendor","action":"skip","state":"parked","code":"none"}`))
	require.Equal(t, 2, h.resolve("unnamed", `{"destination":"vendor","action":"retry","state":"skipped"}`))

	history := h.get("/entries?destination=vendor&event_id="+ids[2], "view").Entries[0].History
	require.Equal(t, []relay.Attempt{history[0], {At: apiNow, Outcome: "skip", By: "ingest"}, {At: apiNow, Outcome: "retry", By: "caller without a name"}}, history)
	require.Contains(t, h.log.String(), `msg="relay: skip" destination=vendor platform=acme by=ingest changed=2`)

	h.resolve("ingest", `{"destination":"vendor","action":"retire"}`)
	w := h.call("POST", "/resolve", "ingest", `{"destination":"vendor","action":"retry","state":"dead"}`)
	require.Equal(t, http.StatusConflict, w.Code, w.Body)
	require.Contains(t, w.Body.String(), "the destination was retired: nothing is sent to it any more")
	status := h.get("/status", "view").Streams[0]
	require.Equal(t, "ingest", status.RetiredBy)
	require.True(t, apiNow.Equal(status.RetiredAt))
}

func TestAPIErrors(t *testing.T) {
	h := newAPIHost(t)
	ids := h.reject("acme", "vendor", 1)
	many := `"` + strings.Repeat(`x","`, 1000) + `x"`
	for _, c := range []struct {
		request, key, body string
		want               string // status, code, field
	}{
		{"GET /status", "", "", "401 UNAUTHORISED "},
		{"GET /status", "wrong", "", "401 UNAUTHORISED "},
		{"GET /status?all=1", "view", "", "400 INVALID_FIELD all"},
		{"GET /status/", "view", "", "404 RESOURCE_NOT_FOUND "},
		{"POST /status", "view", "", "405 INVALID_OPERATION "},
		{"GET /resolve", "ingest", "", "405 INVALID_OPERATION "},
		{"GET /entries", "view", "", "400 MISSING_FIELD destination"},
		{"GET /entries?destination=", "view", "", "400 INVALID_FIELD destination"},
		{"GET /entries?destination=vendor&destination=b", "view", "", "400 INVALID_FIELD destination"},
		{"GET /entries?destination=none", "view", "", "404 RESOURCE_NOT_FOUND "},
		{"GET /entries?destination=vendor", "other", "", "404 RESOURCE_NOT_FOUND "},
		{"GET /entries?destination=vendor&state=pending", "view", "", "400 INVALID_FIELD state"},
		{"GET /entries?destination=vendor&limit=0", "view", "", "400 INVALID_FIELD limit"},
		{"GET /entries?destination=vendor&limit=1001", "view", "", "400 INVALID_FIELD limit"},
		{"GET /entries?destination=vendor&after=x", "view", "", "400 INVALID_FIELD after"},
		{"GET /entries?destination=vendor&event_id=none", "view", "", "404 RESOURCE_NOT_FOUND "},
		{"GET /entries?destination=vendor&event_id=a&code=b", "view", "", "400 INVALID_FIELD code"},
		{"GET /entries?destination=vendor&platform=other", "view", "", "400 INVALID_FIELD platform"},
		{"POST /resolve", "view", `{"destination":"vendor","action":"retry","state":"dead"}`, "403 USER_NOT_ALLOWED "},
		{"POST /resolve", "other", `{"destination":"vendor","action":"retry","state":"dead"}`, "404 RESOURCE_NOT_FOUND "},
		{"POST /resolve", "ingest", ``, "415 UNSUPPORTED_MEDIA_TYPE "},
		{"POST /resolve", "ingest", `[]`, "400 BAD_REQUEST "},
		{"POST /resolve", "ingest", `{`, "400 BAD_REQUEST "},
		{"POST /resolve", "ingest", `{"action":"skip","action":"retry"}`, "400 BAD_REQUEST "},
		{"POST /resolve", "ingest", `{"destination":"` + strings.Repeat("x", 1<<20) + `"}`, "413 BAD_REQUEST "},
		{"POST /resolve", "ingest", `{"destination":"vendor"}`, "400 MISSING_FIELD action"},
		{"POST /resolve", "ingest", `{"destination":"vendor","action":"delete","state":"dead"}`, "400 INVALID_FIELD action"},
		{"POST /resolve", "ingest", `{"destination":"vendor","action":"retry"}`, "400 MISSING_FIELD event_ids"},
		{"POST /resolve", "ingest", `{"destination":"vendor","action":"retry","code":"A"}`, "400 MISSING_FIELD event_ids"},
		{"POST /resolve", "ingest", `{"destination":"vendor","action":"retry","event_ids":[]}`, "400 INVALID_FIELD event_ids"},
		{"POST /resolve", "ingest", `{"destination":"vendor","action":"retry","event_ids":["a",1]}`, "400 INVALID_FIELD event_ids"},
		{"POST /resolve", "ingest", `{"destination":"vendor","action":"retry","event_ids":[` + many + `]}`, "400 INVALID_FIELD event_ids"},
		{"POST /resolve", "ingest", `{"destination":"vendor","action":"retry","event_ids":["a"],"state":"dead"}`, "400 INVALID_FIELD state"},
		{"POST /resolve", "ingest", `{"destination":"vendor","action":"skip","state":"skipped"}`, "400 INVALID_FIELD state"},
		{"POST /resolve", "ingest", `{"destination":"vendor","action":"retire","state":"dead"}`, "400 INVALID_FIELD state"},
		{"POST /resolve", "ingest", `{"destination":"vendor","action":"retry","state":"dead","by":"me"}`, "400 INVALID_FIELD by"},
	} {
		t.Run(c.want+c.request, func(t *testing.T) {
			method, target, _ := strings.Cut(c.request, " ")
			w := h.call(method, target, c.key, c.body)
			var e struct{ Type, Code, Field, Message string }
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e))
			require.Equal(t, c.want, fmt.Sprintf("%d %s %s", w.Code, e.Code, e.Field), w.Body)
			require.Equal(t, "INVALID_REQUEST", e.Type)
			require.NotEmpty(t, e.Message)
			require.Equal(t, w.Code == 405, w.Header().Get("Allow") != "")
		})
	}
	require.Equal(t, relay.Dead, h.get("/entries?destination=vendor&event_id="+ids[0], "view").Entries[0].State)

	form := h.call("POST", "/resolve", "ingest", `{"destination":"vendor","action":"retry","state":"dead"}`, "Content-Type", "text/plain")
	require.Equal(t, http.StatusUnsupportedMediaType, form.Code)
	require.NoError(t, h.store.Close())
	w := h.call("GET", "/status", "view", "")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Contains(t, w.Body.String(), `"message":"internal error"`)
	require.Contains(t, h.log.String(), "store")
}
