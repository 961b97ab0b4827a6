package inspector

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

func TestRelay(t *testing.T) {
	store := memstore.New()
	journal := store.Journal()
	s := relay.Stream{Destination: "vendor", Platform: "a"}
	_, err := journal.Lease(t.Context(), s, relay.LeaseRequest{Holder: "test"})
	require.NoError(t, err)
	keys, err := chargeingest.NewKeys(
		chargeingest.Key{Secret: "view", Platforms: []string{"a"}, Permissions: []chargeingest.Permission{chargeingest.PermissionView}},
		chargeingest.Key{Secret: "all", Platforms: []string{"a"}, Permissions: []chargeingest.Permission{chargeingest.PermissionView, chargeingest.PermissionIngest}})
	require.NoError(t, err)
	i, err := New(Config{Reader: store, Authorizer: keys, Relay: journal})
	require.NoError(t, err)

	require.Contains(t, call{key: "view"}.do(i, "api/session").Body.String(), `"relay":true,"may_resolve":false`)
	require.Contains(t, call{key: "all"}.do(i, "api/session").Body.String(), `"relay":true,"may_resolve":true`)
	require.Contains(t, call{key: "view"}.do(i, "relay/status").Body.String(), `"destination":"vendor"`)
	require.Equal(t, http.StatusUnauthorized, call{}.do(i, "relay/status").Code)
	for key, want := range map[string]int{"view": http.StatusForbidden, "all": http.StatusOK} {
		r := httptest.NewRequest(http.MethodPost, "/relay/resolve", strings.NewReader(`{"destination":"vendor","action":"retry","state":"dead"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Api-Key", key)
		w := httptest.NewRecorder()
		i.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, w.Body)
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
	}
	i = newViewed(t, func(*Config) {})
	require.Equal(t, http.StatusNotFound, call{key: "ada"}.do(i, "relay/status").Code)
}
