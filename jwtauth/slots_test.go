package jwtauth

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func newEd25519Authorizer(t *testing.T, keys int) (a *Authorizer, genuine, forged string) {
	t.Helper()
	cfg := Config{AnyAudience: true, Platform: "p"}
	var private ed25519.PrivateKey
	for i := range keys {
		private = ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+i)), ed25519.SeedSize)))
		cfg.Keys = append(cfg.Keys, Key{Public: private.Public()})
	}
	a, err := New(t.Context(), cfg)
	require.NoError(t, err)
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"alg":"EdDSA"}`)) + "." + b64([]byte(`{"exp":9999999999,"scope":"METER_DATA.INGEST METER_DATA.VIEW"}`)) + "."
	return a, text + b64(ed25519.Sign(private, []byte(strings.TrimSuffix(text, ".")))), text + b64(make([]byte, 64))
}

func authorize(t *testing.T, a *Authorizer, ctx context.Context, token string) *httptest.ResponseRecorder {
	t.Helper()
	h, err := chargeingest.New(chargeingest.Config{
		Store: memstore.New(), Authorizer: a, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/ingest/charge-data", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func (s slots) occupyAll() {
	for range cap(s) {
		s <- struct{}{}
	}
}

func TestTokensWaitForASlot(t *testing.T) {
	for name, c := range map[string]struct {
		freeAfter   time.Duration
		cancelAfter time.Duration
		status      int
		after       time.Duration
	}{
		"until a slot is free":   {time.Second, time.Minute, http.StatusOK, time.Second},
		"until the request ends": {time.Minute, 2 * time.Second, http.StatusServiceUnavailable, 2 * time.Second},
		"for 5 seconds":          {time.Minute, time.Minute, http.StatusServiceUnavailable, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, genuine, forged := newEd25519Authorizer(t, 1)
				a.slots = make(slots, cap(a.slots))
				a.slots.occupyAll()
				time.AfterFunc(c.freeAfter, a.slots.release)
				ctx, cancel := context.WithTimeout(t.Context(), c.cancelAfter)
				defer cancel()
				start := time.Now()
				w := authorize(t, a, ctx, genuine)
				require.Equal(t, c.status, w.Code, w.Body)
				require.Equal(t, c.after, time.Since(start))
				if c.status == http.StatusServiceUnavailable {
					require.NotEmpty(t, w.Header().Get("Retry-After"))
					require.Equal(t, c.status, authorize(t, a, ctx, forged).Code, "an unverified token is not rejected")
				}
			})
		})
	}
}

func TestEndedRequestIsNotVerified(t *testing.T) {
	a, genuine, _ := newEd25519Authorizer(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, http.StatusServiceUnavailable, authorize(t, a, ctx, genuine).Code)
}

func TestSlotsAreReleased(t *testing.T) {
	a, genuine, forged := newEd25519Authorizer(t, 8)
	require.Equal(t, http.StatusOK, authorize(t, a, t.Context(), genuine).Code)
	require.Equal(t, http.StatusUnauthorized, authorize(t, a, t.Context(), forged).Code)
	require.Empty(t, a.slots)
}

func TestSlotsAreHeldForOneKey(t *testing.T) {
	a, _, forged := newEd25519Authorizer(t, 8)
	a.slots = make(slots)
	result := make(chan error)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+forged)
	go func() {
		_, err := a.Authorize(r, chargeingest.PermissionView)
		result <- err
	}()
	for range 8 {
		<-a.slots
		a.slots <- struct{}{}
	}
	require.ErrorIs(t, <-result, chargeingest.ErrInvalidCredential)
}
