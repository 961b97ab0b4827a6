package jwtauth_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
	"example.com/chargeingest/memstore"
)

// newHandler returns an endpoint behind an authorizer.
func newHandler(t *testing.T, a *jwtauth.Authorizer) http.Handler {
	t.Helper()
	h, err := chargeingest.New(chargeingest.Config{Store: memstore.New(), Authorizer: a, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return h
}

// respond sends a token and returns the status of the response and its Retry-After.
func respond(t *testing.T, h http.Handler, token string) (status int, after time.Duration) {
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

// viewing are the claims of a token that may list events.
func viewing() map[string]any { return everlasting("permissions", []string{"METER_DATA.VIEW"}) }

// A token of a key that is newer than the last fetch is 503 with an honest
// Retry-After, never 401.
func TestRotation(t *testing.T) {
	const lastDue = 10 * time.Second // after a fetch
	for name, c := range map[string]struct {
		login  func(l *login, next signer)                        // what the login server does at the start, if not the usual
		before func(l *login, a *jwtauth.Authorizer, next signer) // what happens until the first request
		token  []any                                              // members of its header
		after  time.Duration                                      // the Retry-After of the first response
	}{
		"a second after the start": {
			before: func(l *login, _ *jwtauth.Authorizer, next signer) {
				pass(time.Second)
				l.has(next)
			},
			after: lastDue - time.Second,
		},
		"without a kid": {
			before: func(l *login, _ *jwtauth.Authorizer, next signer) {
				pass(time.Second)
				l.has(next)
			},
			token: []any{"kid", nil},
			after: lastDue - time.Second,
		},
		"a fraction of a second before the next fetch is due": {
			before: func(l *login, _ *jwtauth.Authorizer, next signer) {
				synctest.Wait()
				l.has(next)
				pass(9900 * time.Millisecond)
			},
			after: time.Second,
		},
		"during a fetch that brings the old keys": {
			login: func(l *login, next signer) {
				old := l.answer
				l.does(func(r *http.Request) (*http.Response, error) {
					l.has(next)
					time.Sleep(2 * time.Second)
					return old(r)
				})
			},
			before: func(*login, *jwtauth.Authorizer, signer) { time.Sleep(time.Second) },
			after:  lastDue,
		},
		"during a flood of unknown kids": {
			before: func(l *login, a *jwtauth.Authorizer, next signer) {
				stranger := edSigner("")
				flood := func(n int) {
					for i := range 2000 {
						_ = authorize(a, stranger.token(everlasting(), "kid", fmt.Sprint(n, "-", i)))
					}
				}
				synctest.Wait()
				flood(0)
				pass(time.Second)
				l.has(next)
				flood(1)
			},
			after: lastDue - time.Second,
		},
		"while the login server is down": {
			login: func(l *login, _ signer) { l.isDown() },
			before: func(l *login, _ *jwtauth.Authorizer, next signer) {
				pass(13 * time.Second)
				l.has(next)
			},
			after: 7 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, next := edSigner("old"), edSigner("next")
				l := newLogin(old)
				if c.login != nil {
					c.login(l, next)
				}
				a, _ := remote(t, l)
				h := newHandler(t, a)
				c.before(l, a, next)
				token := next.token(viewing(), c.token...)
				status, after := respond(t, h, token)
				require.Equal(t, http.StatusServiceUnavailable, status)
				require.Equal(t, c.after, after)
				pass(after)
				status, _ = respond(t, h, token)
				require.Equal(t, http.StatusOK, status, "it was repeated as told")
			})
		})
	}
}

// Each token that was told to come back is decided about then, however many there
// are: a client whose key was withdrawn is not told to come back for ever.
func TestBadTokensAreRefusedWhenTheyComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		withdrawn := edSigner("withdrawn")
		l := newLogin(edSigner("current"))
		a, _ := remote(t, l)
		h := newHandler(t, a)
		synctest.Wait()
		var tokens []string
		for i := range 50 {
			tokens = append(tokens, withdrawn.token(viewing(), "i", i))
			status, after := respond(t, h, tokens[i])
			require.Equal(t, http.StatusServiceUnavailable, status)
			require.Equal(t, 10*time.Second, after)
		}
		pass(10 * time.Second)
		for range 30 { // also afterwards, if they are sent at least between two fetches
			for _, token := range tokens {
				status, _ := respond(t, h, token)
				require.Equal(t, http.StatusUnauthorized, status)
			}
			pass(time.Second)
		}
		require.LessOrEqual(t, l.count(), 4)

		// Two fetches later they are forgotten.
		for _, i := range []string{"another", "and one more"} {
			pass(time.Minute)
			status, _ := respond(t, h, withdrawn.token(viewing(), "i", i))
			require.Equal(t, http.StatusUnauthorized, status, "it has a fetch of its own")
		}
		status, after := respond(t, h, tokens[0])
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Equal(t, 10*time.Second, after)
	})
}

func TestRequestsThatAreTooManyToWaitAreToldHowLongAFetchTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("old"), edSigner("next")
		l := newLogin(old)
		a, _ := remote(t, l)
		h := newHandler(t, a)
		pass(time.Minute)
		l.has(old, next)
		set := l.answer
		l.does(func(r *http.Request) (*http.Response, error) {
			time.Sleep(4 * time.Second)
			return set(r)
		})
		stranger := edSigner("")
		for i := range 256 {
			go authorize(a, stranger.token(everlasting(), "kid", fmt.Sprint(i)))
		}
		pass(time.Second)
		token := next.token(viewing())
		status, after := respond(t, h, token)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Equal(t, 4*time.Second, after)
		pass(after)
		status, _ = respond(t, h, token)
		require.Equal(t, http.StatusOK, status)
	})
}
