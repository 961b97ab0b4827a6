package chargeingest_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

const (
	maxCredentialHeader = 16 << 10
	maxQuery            = 16 << 10
	maxPath             = 4 << 10
)

var credentialHeaders = []string{"X-Api-Key", "Authorization", "Proxy-Authorization", "Cookie"}

func TestLongCredentialHeadersAre401(t *testing.T) {
	t.Parallel()
	lines := func(n int, line string) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = line
		}
		return list
	}
	calls := 0
	f := newFixture(t, withAuthorizer(chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
		calls++
		return chargeingest.Principal{Platforms: []string{"pf_a"}}, nil
	})))
	for _, header := range credentialHeaders {
		for _, c := range []struct {
			name   string
			values []string
			long   bool
		}{
			{"one value at the limit", []string{strings.Repeat("a", maxCredentialHeader-1)}, false},
			{"one value beyond the limit", []string{strings.Repeat("a", maxCredentialHeader)}, true},
			{"many values", lines(10_000, "ab"), true},
			{"many empty values", lines(20_000, ""), true},
		} {
			for _, route := range everyRoute {
				r := request(route.method, strings.ReplaceAll(route.path, "{id}", "x"), strings.NewReader(route.body))
				r.Header[header] = c.values
				calls = 0
				resp := responseOf(t, f.handler, r)
				if !c.long {
					require.Equal(t, 1, calls, "%s: %s", header, c.name)
					continue
				}
				resp.requireError(t, http.StatusUnauthorized, "UNAUTHORISED", "")
				require.Equal(t, "Bearer", resp.header.Get("WWW-Authenticate"))
				require.Zero(t, calls, "the authorizer is not called")
			}
		}
	}
	require.Contains(t, f.log.text(), "a credential header is longer than 16384 bytes")
}

func TestAPIKeyOrBearerLongHeaders(t *testing.T) {
	t.Parallel()
	for header, prefix := range map[string]string{"X-Api-Key": "", "Authorization": "Bearer "} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(header, prefix+strings.Repeat("a", maxCredentialHeader-len(prefix)-1))
		got, err := chargeingest.APIKeyOrBearer(r)
		require.NoError(t, err)
		require.Len(t, got, maxCredentialHeader-len(prefix)-1)
		r.Header.Set(header, r.Header.Get(header)+"a")
		_, err = chargeingest.APIKeyOrBearer(r)
		require.ErrorIs(t, err, chargeingest.ErrInvalidCredential)
	}
	k := validKey(strings.Repeat("a", maxCredentialHeader))
	_, err := chargeingest.NewKeys(k)
	require.ErrorContains(t, err, "key 0: field Secret must be shorter than 16384 bytes")
}

func TestLongQueries(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	t.Run("at the limit", func(t *testing.T) {
		f.get(t, eventPath+"?"+strings.Repeat("&", maxQuery-len("limit=0"))+"limit=0").requireError(t, http.StatusBadRequest, "INVALID_FIELD", "limit")
	})
	t.Run("beyond the limit", func(t *testing.T) {
		f.get(t, eventPath+"?"+strings.Repeat("&", maxQuery+1)).requireError(t, http.StatusBadRequest, "BAD_REQUEST", "")
	})
	t.Run("names with the same first 128 characters", func(t *testing.T) {
		long := strings.Repeat("x", 200)
		require.Len(t, f.get(t, eventPath+"?"+long+"a=1&"+long+"b=1").violations(t), 1)
	})
	t.Run("1,000 unknown names", func(t *testing.T) {
		var query strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&query, "n%03d&", i)
		}
		require.LessOrEqual(t, len(f.get(t, eventPath+"?"+query.String()).violations(t)), 100)
	})
}

type getCountingStore struct {
	*memstore.Store
	calls int
}

func (s *getCountingStore) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	s.calls++
	return s.Store.Get(ctx, platform, id)
}

func TestLongPathsAre404(t *testing.T) {
	t.Parallel()
	store := &getCountingStore{Store: memstore.New()}
	f := newFixture(t, withStore(store))
	for name, path := range map[string]string{
		"nowhere":       "/" + strings.Repeat("a", maxPath),
		"an id":         eventPath + "/" + strings.Repeat("a", maxPath),
		"escapes":       eventPath + "/" + strings.Repeat("%41", maxPath/3),
		"slashes":       strings.Repeat("/", maxPath+1),
		"a shorter id":  eventPath + "/" + strings.Repeat("a", 257),
		"a longer name": eventPath + strings.Repeat("s", 300),
	} {
		t.Run(name, func(t *testing.T) {
			f.get(t, path).requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND", "")
		})
	}
	require.Zero(t, store.calls, "ids are shorter")
	f.get(t, "/v"+strings.Repeat("1", maxPath)+"/ingest/charge-data").
		requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION", "")
}

// The minimum of several runs excludes other goroutines.
func TestLongHeaderCost(t *testing.T) {
	const maxAlloc = 32 << 10
	h, err := chargeingest.New(chargeingest.Config{
		Store: memstore.New(), Authorizer: newKeySet(t),
		Logger: slog.New(slog.NewJSONHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	for _, size := range []int{256 << 10, 1 << 20} {
		for name, r := range longHeadRequests(t, size) {
			least := uint64(math.MaxUint64)
			for range 3 {
				w := httptest.NewRecorder()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				h.ServeHTTP(w, r)
				runtime.ReadMemStats(&after)
				least = min(least, after.TotalAlloc-before.TotalAlloc)
				require.GreaterOrEqual(t, w.Code, 400, name)
				require.LessOrEqual(t, w.Body.Len(), 16<<10, name)
			}
			limit := maxAlloc
			if strings.Contains(name, "path") {
				limit += 2 * size
			}
			require.LessOrEqual(t, least, uint64(limit), "%s of %d bytes", name, size)
		}
	}
}

func longHeadRequests(tb testing.TB, size int) map[string]*http.Request {
	tb.Helper()
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	heads := make(map[string]*http.Request)
	for _, header := range append([]string{"X-Platform-Id", "X-Request-Id"}, credentialHeaders...) {
		for kind, values := range map[string][]string{
			"one value": {strings.Repeat("a", size)}, "many parts": {numbered("part%d=value%[1]d; ")}, "many values": strings.Fields(numbered("value%d ")),
		} {
			r := request(http.MethodGet, eventPath+"?limit=0", nil)
			r.Header[header] = values
			heads[header+" of "+kind] = r
		}
	}
	for kind, query := range map[string]string{
		"names": numbered("n%d&"), "values": numbered("n%d=1&"), "bad escapes": numbered("n%d=%%zz&"), "escapes": strings.Repeat("%41", size/3),
		"one name": strings.Repeat("a", size), "one parameter": strings.Repeat("reference=a&", size/12), "nothing": strings.Repeat("&", size),
	} {
		r := request(http.MethodGet, eventPath, nil)
		r.URL.RawQuery = query
		heads["a query of "+kind] = r
	}
	for kind, path := range map[string]string{
		"one name": "/" + strings.Repeat("a", size), "slashes": strings.Repeat("/", size), "escapes": "/" + strings.Repeat("%41", size/3),
		"a version": "/v" + strings.Repeat("a", size) + "/ingest/charge-data", "an id": eventPath + "/" + strings.Repeat("%c3%a9", size/6),
	} {
		u, err := url.ParseRequestURI(path)
		require.NoError(tb, err)
		r := request(http.MethodGet, "/", nil)
		r.URL = u
		heads["a path of "+kind] = r
	}
	heads["a method"] = request(strings.Repeat("A", size), eventPath, nil)
	return heads
}

func BenchmarkLongHeads(b *testing.B) {
	h, err := chargeingest.New(chargeingest.Config{
		Store: memstore.New(), Authorizer: newKeySet(b), Logger: slog.New(slog.NewJSONHandler(io.Discard, nil)),
	})
	require.NoError(b, err)
	for name, r := range longHeadRequests(b, 1<<20) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(&discardWriter{header: make(http.Header)}, r)
			}
		})
	}
}
