package inspector

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

const (
	testKey   = "key-for-tests-0123456789"
	eventPath = "/v1/ingest/charge-data"
	testEvent = `{"product_item_id":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","reference":"order-42"}`
)

var testTime = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func newKeys(tb testing.TB) *chargeingest.Keys {
	tb.Helper()
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret: testKey, Subject: "ada", Platforms: []string{"pf_a", "pf_b"},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	})
	require.NoError(tb, err)
	return keys
}

func newInspector(tb testing.TB, set ...func(*Config)) *Inspector {
	tb.Helper()
	cfg := Config{Reader: memstore.New(), Authorizer: newKeys(tb), Now: func() time.Time { return testTime }}
	for _, s := range set {
		s(&cfg)
	}
	i, err := New(cfg)
	require.NoError(tb, err)
	return i
}

func newHandler(tb testing.TB) *chargeingest.Handler {
	tb.Helper()
	h, err := chargeingest.New(chargeingest.Config{
		Store: memstore.New(), Authorizer: newKeys(tb), Now: func() time.Time { return testTime },
	})
	require.NoError(tb, err)
	return h
}

func post(path, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("X-Api-Key", testKey)
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func (i *Inspector) only(t *testing.T) *record {
	t.Helper()
	list := i.requests.list(scope{platform: "pf_a", unidentified: true}, 0, 0)
	require.Len(t, list, 1)
	return list[0]
}

func TestRecord(t *testing.T) {
	i := newInspector(t)
	w := httptest.NewRecorder()
	i.Middleware(newHandler(t)).ServeHTTP(w, post(eventPath+"?x=1", testEvent, "X-Request-Id: mine", "User-Agent: test"))
	r := i.only(t)
	require.Equal(t, http.StatusCreated, w.Code)
	require.Equal(t, testTime.UnixMicro(), r.id)
	require.Equal(t, "POST http example.com "+eventPath+"?x=•••", r.method+" "+r.scheme+" "+r.host+" "+r.uri)
	require.Equal(t, []headerField{
		{"Content-Type", "application/json"}, {"User-Agent", "test"}, {"X-Api-Key", "•••"}, {"X-Request-Id", "mine"},
	}, r.header)
	require.Equal(t, testEvent, string(r.body))
	require.Equal(t, http.StatusCreated, r.status)
	require.Equal(t, w.Body.String(), string(r.response))
	require.Contains(t, r.responseHeader, headerField{"X-Request-Id", "mine"})
	require.Equal(t, "pf_a", r.stats.Platform)
	require.Equal(t, "ada", r.stats.Subject)
}
