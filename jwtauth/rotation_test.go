package jwtauth_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
	"example.com/chargeingest/memstore"
)

func TestNewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("old"), rsaSigner("next")
		l := newLoginServer(old)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, old.token(longLived())))
		advance(time.Minute)
		require.Equal(t, 1, l.takeFetches())

		l.serveKeys(old, next)
		require.NoError(t, authorize(a, next.token(longLived())), "with the first request")
		require.NoError(t, authorize(a, old.token(longLived())))
		require.NoError(t, authorize(a, next.token(longLived())))
		require.Equal(t, 1, l.takeFetches())

		l.serveKeys(next)
		advance(time.Minute)
		require.NoError(t, authorize(a, old.token(longLived())), "until the refresh")
		advance(15 * time.Minute)
		require.ErrorIs(t, authorize(a, old.token(longLived())), chargeingest.ErrInvalidCredential)
		require.NoError(t, authorize(a, next.token(longLived())))
	})
}

func TestNewKeyWithOldID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("k"), edSigner("k")
		l := newLoginServer(old)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, old.token(longLived())))
		l.serveKeys(next)
		require.ErrorIs(t, authorize(a, next.token(longLived())), chargeingest.ErrInvalidCredential)
		advance(15 * time.Minute)
		require.NoError(t, authorize(a, next.token(longLived())))
		require.ErrorIs(t, authorize(a, old.token(longLived())), chargeingest.ErrInvalidCredential)
	})
}

func TestManyRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stays := edSigner("stays")
		l := newLoginServer(stays)
		a, _ := newRemote(t, l)
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for ctx.Err() == nil {
					require.NoError(t, authorize(a, stays.token(longLived())))
					time.Sleep(7 * time.Second)
				}
			})
		}
		for i := range 50 {
			added := edSigner(fmt.Sprint("added-", i))
			l.serveKeys(stays, added)
			advance(11 * time.Second)
			require.NoError(t, authorize(a, added.token(longLived())))
		}
		stop()
		all.Wait()
	})
}

func newEndpoint(t *testing.T, a *jwtauth.Authorizer) http.Handler {
	t.Helper()
	h, err := chargeingest.New(chargeingest.Config{Store: memstore.New(), Authorizer: a, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return h
}

func sendToken(t *testing.T, h http.Handler, token string) (status int, after time.Duration) {
	t.Helper()
	r := request(token)
	r.Method = http.MethodGet
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code == http.StatusServiceUnavailable {
		seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
		require.NoError(t, err)
		require.Equal(t, "true", w.Header().Get("Idempotency-Retryable"))
		after = time.Duration(seconds) * time.Second
	}
	return w.Code, after
}

func TestRotation(t *testing.T) {
	const interval = 10 * time.Second
	for name, c := range map[string]struct {
		setUp      func(l *loginServer, next signer)
		before     func(l *loginServer, a *jwtauth.Authorizer, next signer)
		header     []any
		retryAfter time.Duration
	}{
		"a second after the start": {
			before: func(l *loginServer, _ *jwtauth.Authorizer, next signer) {
				advance(time.Second)
				l.serveKeys(next)
			},
			retryAfter: interval - time.Second,
		},
		"without a kid": {
			before: func(l *loginServer, _ *jwtauth.Authorizer, next signer) {
				advance(time.Second)
				l.serveKeys(next)
			},
			header:     []any{"kid", nil},
			retryAfter: interval - time.Second,
		},
		"just before the next fetch is due": {
			before: func(l *loginServer, _ *jwtauth.Authorizer, next signer) {
				synctest.Wait()
				l.serveKeys(next)
				advance(9900 * time.Millisecond)
			},
			retryAfter: time.Second,
		},
		"during a fetch of the old keys": {
			setUp: func(l *loginServer, next signer) {
				old := l.handler
				l.handle(func(r *http.Request) (*http.Response, error) {
					l.serveKeys(next)
					time.Sleep(2 * time.Second)
					return old(r)
				})
			},
			before:     func(*loginServer, *jwtauth.Authorizer, signer) { time.Sleep(time.Second) },
			retryAfter: interval,
		},
		"during a flood of unknown kids": {
			before: func(l *loginServer, a *jwtauth.Authorizer, next signer) {
				stranger := edSigner("")
				flood := func(n int) {
					for i := range 2000 {
						_ = authorize(a, stranger.token(longLived(), "kid", fmt.Sprint(n, "-", i)))
					}
				}
				synctest.Wait()
				flood(0)
				advance(time.Second)
				l.serveKeys(next)
				flood(1)
			},
			retryAfter: interval - time.Second,
		},
		"while the login server is down": {
			setUp: func(l *loginServer, _ signer) { l.goDown() },
			before: func(l *loginServer, _ *jwtauth.Authorizer, next signer) {
				advance(13 * time.Second)
				l.serveKeys(next)
			},
			retryAfter: 7 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, next := edSigner("old"), edSigner("next")
				l := newLoginServer(old)
				if c.setUp != nil {
					c.setUp(l, next)
				}
				a, _ := newRemote(t, l)
				h := newEndpoint(t, a)
				c.before(l, a, next)
				token := next.token(viewClaims(), c.header...)
				status, after := sendToken(t, h, token)
				require.Equal(t, http.StatusServiceUnavailable, status)
				require.Equal(t, c.retryAfter, after)
				advance(after)
				status, _ = sendToken(t, h, token)
				require.Equal(t, http.StatusOK, status, "after Retry-After")
			})
		})
	}
}

func TestWithdrawnKeyIsRejectedOnRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		withdrawn := edSigner("withdrawn")
		l := newLoginServer(edSigner("current"))
		a, _ := newRemote(t, l)
		h := newEndpoint(t, a)
		synctest.Wait()
		var tokens []string
		for i := range 50 {
			tokens = append(tokens, withdrawn.token(viewClaims(), "i", i))
			status, after := sendToken(t, h, tokens[i])
			require.Equal(t, http.StatusServiceUnavailable, status)
			require.Equal(t, 10*time.Second, after)
		}
		advance(10 * time.Second)
		for range 30 {
			for _, token := range tokens {
				status, _ := sendToken(t, h, token)
				require.Equal(t, http.StatusUnauthorized, status)
			}
			advance(time.Second)
		}
		require.LessOrEqual(t, l.takeFetches(), 4)

		for _, i := range []string{"another", "and one more"} {
			advance(time.Minute)
			status, _ := sendToken(t, h, withdrawn.token(viewClaims(), "i", i))
			require.Equal(t, http.StatusUnauthorized, status, "its own fetch decides")
		}
		status, after := sendToken(t, h, tokens[0])
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Equal(t, 10*time.Second, after)
	})
}
