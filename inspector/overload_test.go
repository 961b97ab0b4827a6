package inspector

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
)

type slowReader struct{ failingReader }

func (slowReader) Get(ctx context.Context, _, _ string) (chargeingest.StoredEvent, error) {
	<-ctx.Done()
	return chargeingest.StoredEvent{}, ctx.Err()
}

func TestSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newViewed(t, func(cfg *Config) { cfg.Reader = slowReader{} })
		id := addRecord(i, func(r *record) {
			r.status, r.stats.Code, r.response = 409, chargeingest.CodeResourceAlreadyExists, []byte(`{"resource_id":"chda_x"}`)
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 10 {
			go func() {
				r := httptest.NewRequest(http.MethodGet, "/"+requestPath(id), nil).WithContext(ctx)
				r.Header.Set("X-Api-Key", "ada")
				i.ServeHTTP(httptest.NewRecorder(), r)
			}()
		}
		synctest.Wait()
		require.Len(t, get[shownList](t, i, "ada", "api/requests").Requests, 1)
	})
}

func TestSearchesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newViewed(t, nil)
		addRecord(i, nil)
		i.api.searches = limits.NewGate(1)
		leave, ok := i.api.searches.TryEnter("other")
		require.True(t, ok)
		ctx, cancel := context.WithCancel(t.Context())
		w := httptest.NewRecorder()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r := httptest.NewRequest(http.MethodGet, "/api/requests?text=x", nil).WithContext(ctx)
			r.Header.Set("X-Api-Key", "ada")
			i.ServeHTTP(w, r)
		}()
		synctest.Wait()
		require.False(t, isClosed(ended))
		cancel()
		synctest.Wait()
		require.True(t, isClosed(ended))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		leave()
		require.Len(t, get[shownList](t, i, "ada", "api/requests").Requests, 1)
	})
}

func TestUnreadResponsesAreBounded(t *testing.T) {
	i := newViewed(t, nil)
	unread := limits.Reservation{Budget: i.api.responses, Platform: "b"}
	require.True(t, unread.Resize(maxResponseBytes))
	w := call{key: "ada"}.do(i, "api/session")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	unread.Release()
	require.Equal(t, http.StatusOK, call{key: "ada"}.do(i, "api/session").Code)
}
