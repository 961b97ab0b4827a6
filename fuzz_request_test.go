package chargeingest_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

type countingStore struct {
	*memstore.Store
	batches map[string]int
}

func (s *countingStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	s.batches[b.Platform]++
	return memstore.New().Append(ctx, b)
}

// Only the owner of a key can store events, on a platform of that key.
func FuzzRequest(f *testing.F) {
	type seed struct{ method, target, key, authorization, platform, media, encoding, idempotency, id string }
	for _, s := range []seed{
		{"POST", eventPath, fullSecret, "", "", "application/json", "", "", ""},
		{"POST", eventsPath, "", "Bearer " + fullSecret, "pf_b", "application/vnd.a+json; charset=utf-8", "identity", "key-1", "reqr_1"},
		{"post", "/v1//ingest/charge-data", ingestSecret, "bearer x", "pf_c", "text/plain", "gzip", "a b", "é"},
		{"GET", eventPath + "/chda_0", viewSecret, "Basic eDp5", "pf_a", "", "br", "", strings.Repeat("x", 129)},
		{"HEAD", eventPath + "?limit=1&after=%00", viewSecret, "", "", "", "", "", ""},
		{"DELETE", "/v01/ingest/charge-data/..", wrongSecret, "Bearer ", " ", "application/json", "", "\x7f", "\t"},
		{"POST", "/v1/ingest/../ingest/charge-data", fullSecret + " ", "", "pf_a,pf_b", "application/json", "", "", ""},
		{"POST", "/v1/ingest/charge%2Fdata", strings.ToUpper(fullSecret), "", "", "application/json", "", "", ""},
		{"POST", "/v1%2fingest/charge-data", "", "BEARER  " + otherSecret, "pf_c", "application/json", "", "", ""},
		{"OPTIONS", "/v/ingest/charge-data", "", "", "", "", "", "", ""},
	} {
		f.Add(s.method, s.target, s.key, s.authorization, s.platform, s.media, s.encoding, s.idempotency, s.id)
	}
	store := &countingStore{Store: memstore.New()}
	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: newKeySet(f), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, method, target, key, authorization, platform, media, encoding, idempotency, id string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Skip("net/http rejects this target")
		}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(event(`"reference":"r"`)))
		r.Method, r.URL, r.RequestURI = method, u, target
		for name, value := range map[string]string{
			"X-Api-Key": key, "Authorization": authorization, "X-Platform-Id": platform, "Content-Type": media,
			"Content-Encoding": encoding, "Idempotency-Key": idempotency, "X-Request-Id": id,
		} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		store.batches = make(map[string]int)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		requireContractResponse(t, r, w)
		if w.Code == http.StatusCreated {
			owned := ingestPlatforms(r)
			if platform == "" {
				owned = owned[:1]
			} else {
				require.Contains(t, owned, platform)
				owned = []string{platform}
			}
			require.Equal(t, map[string]int{owned[0]: 1}, store.batches)
		} else {
			require.Empty(t, store.batches)
		}
		for _, secret := range []string{fullSecret, ingestSecret, viewSecret, otherSecret} {
			if id != secret {
				require.NotContains(t, w.Body.String()+w.Header().Get("X-Request-Id"), secret)
			}
		}
	})
}

func ingestPlatforms(r *http.Request) []string {
	secret := r.Header.Get("X-Api-Key")
	if len(r.Header.Values("X-Api-Key")) == 0 {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "bearer") {
			return nil
		}
		secret = strings.TrimSpace(token)
	}
	return map[string][]string{
		fullSecret: {"pf_a", "pf_b"}, ingestSecret: {"pf_a"}, otherSecret: {"pf_c"},
	}[secret]
}

func requireContractResponse(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	require.Contains(t, []int{200, 201, 400, 401, 403, 404, 405, 413, 415}, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Regexp(t, `^[!-~]{1,128}$`, w.Header().Get("X-Request-Id"))
	require.Equal(t, w.Code == 401, slices.Equal(w.Header().Values("WWW-Authenticate"), []string{"Bearer"}))
	require.Equal(t, w.Code == 405, w.Header().Get("Allow") != "")
	if r.Method == http.MethodHead {
		require.Zero(t, w.Body.Len())
		return
	}
	require.True(t, json.Valid(w.Body.Bytes()), w.Body.String())
	require.LessOrEqual(t, w.Body.Len(), 16<<10)
}
