package inspector

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func newViewed(t *testing.T, change func(*Config)) *Inspector {
	t.Helper()
	view := []chargeingest.Permission{chargeingest.PermissionView}
	keys, err := chargeingest.NewKeys(
		chargeingest.Key{Secret: "ada", Subject: "Ada", Permissions: view, Platforms: []string{"a", "b"}},
		chargeingest.Key{Secret: "bob", Subject: "Bob", Permissions: view, Platforms: []string{"b"}},
		chargeingest.Key{Secret: "ingest", Permissions: []chargeingest.Permission{chargeingest.PermissionIngest}, Platforms: []string{"a"}},
	)
	require.NoError(t, err)
	cfg := Config{
		Reader: memstore.New(), Authorizer: keys, Now: func() time.Time { return testTime },
	}
	if change != nil {
		change(&cfg)
	}
	i, err := New(cfg)
	require.NoError(t, err)
	return i
}

type call struct {
	method, key, platform string
	header                http.Header
}

func (c call) do(h http.Handler, path string) *httptest.ResponseRecorder {
	if c.method == "" {
		c.method = http.MethodGet
	}
	r := httptest.NewRequest(c.method, "/"+path, nil)
	for name, values := range c.header {
		r.Header[name] = values
	}
	if c.key != "" {
		r.Header.Set("X-Api-Key", c.key)
	}
	if c.platform != "" {
		r.Header.Set("X-Platform-Id", c.platform)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get[T any](t *testing.T, h http.Handler, key, path string) T {
	t.Helper()
	w := call{key: key}.do(h, path)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	var value T
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &value))
	return value
}

func headerOf(name, value string) texts {
	var b buffers
	b.add(name)
	b.add(value)
	return texts(b.texts)
}

func sampleRecord(change func(*record)) *record {
	r := &record{
		time: testTime, duration: 1234 * time.Microsecond, method: "POST", scheme: "http", host: "example.org",
		uri: "/v1/ingest/charge-data", client: "192.0.2.1:5000", status: 201,
		header: headerOf("Content-Type", "application/json"),
		body:   []byte(`{"reference":"order-1","customer_id":"c-1"}`),
		stats: chargeingest.RequestStats{
			RequestID: "reqr_1", Subject: "Cy", Platform: "a", Route: chargeingest.RouteSingle, Method: "POST", Status: 201, Events: 1,
		},
	}
	if change != nil {
		change(r)
	}
	return r
}

func addRecord(i *Inspector, change func(*record)) int64 {
	r := sampleRecord(change)
	i.requests.add(r)
	return r.id
}

func requestPath(id int64) string { return fmt.Sprintf("api/requests/%d", id) }

var dataPaths = []string{"api/session", "api/requests", "api/requests/1", "api/stream", "api/events", "api/events/chda_x", "api/overview"}

func TestViewerAuthorization(t *testing.T) {
	authorizers := map[string]chargeingest.AuthorizerFunc{
		"keys": nil,
		"panic": func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
			panic("secret")
		},
		"no platform": func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
			return chargeingest.Principal{Subject: "x"}, nil
		},
		"empty platform": func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
			return chargeingest.Principal{Platforms: []string{"a", ""}}, nil
		},
		"failure": func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
			return chargeingest.Principal{}, errors.New("secret")
		},
		"slow failure": func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
			return chargeingest.Principal{}, timedError{errors.New("secret")}
		},
	}
	for _, c := range []struct {
		name, authorizer string
		call             call
		status           int
		code             string
		retryAfter       string
	}{
		{"no credential", "keys", call{}, 401, "UNAUTHORISED", ""},
		{"an unknown key", "keys", call{key: "eve"}, 401, "UNAUTHORISED", ""},
		{"a long credential", "keys", call{key: "ada", header: http.Header{"Cookie": {strings.Repeat("x", 17<<10)}}}, 401, "UNAUTHORISED", ""},
		{"a key without the permission", "keys", call{key: "ingest"}, 403, "USER_NOT_ALLOWED", ""},
		{"another platform", "keys", call{key: "bob", platform: "a"}, 403, "USER_NOT_ALLOWED", ""},
		{"two platforms", "keys", call{key: "ada", header: http.Header{"X-Platform-Id": {"a", "a"}}}, 403, "USER_NOT_ALLOWED", ""},
		{"a panic", "panic", call{}, 500, "INTERNAL_ERROR", ""},
		{"a principal without a platform", "no platform", call{}, 500, "INTERNAL_ERROR", ""},
		{"a principal with an empty platform", "empty platform", call{}, 500, "INTERNAL_ERROR", ""},
		{"a failing authorizer", "failure", call{}, 503, "INTERNAL_ERROR", "1"},
		{"a failing authorizer with a time", "slow failure", call{}, 503, "INTERNAL_ERROR", "8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newViewed(t, func(cfg *Config) {
				if f := authorizers[c.authorizer]; f != nil {
					cfg.Authorizer = f
				}
				cfg.Sandbox = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the sandbox was called") })
			})
			for _, path := range append([]string{"sandbox/state"}, dataPaths...) {
				w := c.call.do(i, path)
				require.Equal(t, c.status, w.Code, path)
				require.Equal(t, "application/json", w.Header().Get("Content-Type"), path)
				require.Equal(t, c.retryAfter, w.Header().Get("Retry-After"), path)
				require.Equal(t, c.status == 401, w.Header().Get("WWW-Authenticate") == "Bearer", path)
				require.Contains(t, w.Body.String(), c.code, path)
				require.NotContains(t, w.Body.String(), "secret", path)
			}
		})
	}
}

type timedError struct{ error }

func (timedError) RetryAfter() time.Duration { return 7500 * time.Millisecond }

func TestPlatformIsolation(t *testing.T) {
	for _, shown := range []bool{false, true} {
		i := newViewed(t, func(cfg *Config) { cfg.ShowUnauthenticated = shown })
		own := addRecord(i, nil)
		other := addRecord(i, func(r *record) { r.stats.Platform = "b" })
		unknown := addRecord(i, func(r *record) { r.stats = chargeingest.RequestStats{}; r.status = 401 })
		for _, c := range []struct {
			name    string
			call    call
			visible []int64
		}{
			{"the first platform", call{key: "ada"}, []int64{own}},
			{"a chosen platform", call{key: "ada", platform: "b"}, []int64{other}},
			{"the only platform", call{key: "bob"}, []int64{other}},
		} {
			t.Run(c.name, func(t *testing.T) {
				if shown {
					c.visible = append([]int64{unknown}, c.visible...)
				}
				var list shownList
				require.NoError(t, json.Unmarshal(c.call.do(i, "api/requests").Body.Bytes(), &list))
				ids := []int64{}
				for _, r := range list.Requests {
					ids = append(ids, r.ID)
				}
				require.Equal(t, c.visible, ids)
				require.Equal(t, c.visible[0], list.Newest)
				for _, id := range []int64{own, other, unknown} {
					status := c.call.do(i, requestPath(id)).Code
					require.Equal(t, slices.Contains(c.visible, id), status == http.StatusOK)
				}
				var o overview
				require.NoError(t, json.Unmarshal(c.call.do(i, "api/overview").Body.Bytes(), &o))
				require.Equal(t, len(c.visible), o.Requests.Count)
			})
		}
	}
}

type statsFunc func() chargeingest.StoreStats

func (f statsFunc) Stats() chargeingest.StoreStats { return f() }

func TestSession(t *testing.T) {
	i := newViewed(t, func(cfg *Config) { cfg.ShowUnauthenticated = true; cfg.Stats = statsFunc(nil) })
	w := call{key: "ada", platform: "b"}.do(i, "api/session")
	require.JSONEq(t, `{"subject":"Ada","platform":"b","platforms":["a","b"],"show_unauthenticated":true,"stats":true,
		"sandbox":false,"relay":false,"may_resolve":false,"now":"2026-09-01T12:00:00Z","max_requests":10000}`, w.Body.String())
}

func TestMethodsAndPaths(t *testing.T) {
	i := newViewed(t, nil)
	id := addRecord(i, nil)
	for _, path := range []string{
		"", "app.css", "icon.svg", "js/main.js", "api/session", "api/requests", requestPath(id),
		"api/stream", "api/events", "api/events/chda_x", "api/overview",
	} {
		if path != "api/stream" {
			viewed, head := call{key: "ada"}.do(i, path), call{key: "ada", method: "HEAD"}.do(i, path)
			require.Equal(t, viewed.Code, head.Code, path)
			require.Equal(t, viewed.Header().Get("Content-Length"), head.Header().Get("Content-Length"), path)
			require.Empty(t, head.Body.Bytes(), path)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
			w := call{key: "ada", method: method}.do(i, path)
			require.Equal(t, http.StatusMethodNotAllowed, w.Code, path)
			require.Equal(t, "GET, HEAD", w.Header().Get("Allow"), path)
			require.Contains(t, w.Body.String(), "INVALID_OPERATION")
		}
	}
	for _, path := range []string{
		"x", "index.html/", "js", "js/", "js/none.js", "api", "api/", "api/x", "api/requests/", "api/requests/x", "api/requests/1",
		"api/requests/-1", "api/events/", "sandbox", "sandbox/state", "page.go", "../page.go", "api/session/x",
	} {
		w := call{key: "ada"}.do(i, path)
		require.Equal(t, http.StatusNotFound, w.Code, path)
		require.Contains(t, w.Body.String(), `"code":"RESOURCE_NOT_FOUND"`, path)
	}
}

func TestSecurityHeaders(t *testing.T) {
	i := newViewed(t, func(cfg *Config) {
		cfg.Sandbox = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
	})
	for _, key := range []string{"", "ada"} {
		for _, path := range append([]string{"", "app.css", "js/main.js", "unknown", "sandbox/state"}, dataPaths...) {
			if path == "api/stream" && key != "" {
				continue
			}
			h := call{key: key}.do(i, path).Header()
			require.Equal(t, "no-store", h.Get("Cache-Control"), path)
			require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
			require.Equal(t, "no-referrer", h.Get("Referrer-Policy"), path)
			require.Equal(t, "same-origin", h.Get("Cross-Origin-Resource-Policy"), path)
			policy := h.Get("Content-Security-Policy")
			require.Contains(t, policy, "default-src 'none'", path)
			require.Contains(t, policy, "frame-ancestors 'none'", path)
			require.NotContains(t, policy, "unsafe", path)
			for name := range h {
				require.False(t, strings.HasPrefix(name, "Access-Control-"), path)
			}
		}
	}
	require.Equal(t, "/state", call{key: "ada"}.do(i, "sandbox/state").Body.String())
	require.Equal(t, "/faults/1", call{key: "ada", method: "DELETE"}.do(i, "sandbox/faults/1").Body.String())
}

func TestMounting(t *testing.T) {
	i := newViewed(t, nil)
	for _, c := range []struct {
		name, prefix, target string
		location             string
	}{
		{"the root", "", "/", ""},
		{"a prefix", "/inspector", "/inspector/", ""},
		{"a prefix with a slash", "/inspector/", "/inspector/", ""},
		{"a query", "/inspector", "/inspector/?status=4xx", ""},
		{"without a slash", "/inspector", "/inspector", "./inspector/"},
		{"without a slash and with a query", "/a/b", "/a/b?text=%2F", "./b/?text=%2F"},
		{"a prefix with a colon", "/a:b", "/a:b", "./a:b/"},
		{"an escaped prefix", "/a/b?c", "/%61/b%3Fc", "./b%3Fc/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, c.target, nil)
			w := httptest.NewRecorder()
			r.URL.Path = strings.TrimPrefix(r.URL.Path, c.prefix)
			i.ServeHTTP(w, r)
			require.Equal(t, c.location, w.Header().Get("Location"))
			if c.location == "" {
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
			} else {
				require.Equal(t, http.StatusTemporaryRedirect, w.Code)
			}
		})
	}
}
