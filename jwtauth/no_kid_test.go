package jwtauth_test

import (
	"crypto/elliptic"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestNoKidNewKey(t *testing.T) {
	for name, next := range map[string]signer{
		"of the same type":                 edSigner(""),
		"of a new type":                    ecSigner("", elliptic.P256()),
		"with an ID, tokens without a kid": edSigner("next"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old := edSigner("")
				l := newLoginServer(old)
				a, _ := newRemote(t, l)
				require.NoError(t, authorize(a, old.token(longLived())))
				advance(time.Minute)
				require.Equal(t, 1, l.takeFetches())

				l.serveKeys(old, next)
				require.NoError(t, authorize(a, next.token(longLived(), "kid", nil)), "with the first request")
				require.NoError(t, authorize(a, old.token(longLived())))
				require.NoError(t, authorize(a, next.token(longLived(), "kid", nil)))
				require.Equal(t, 1, l.takeFetches())
			})
		})
	}
}

func TestNoKidUnverified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stranger := edSigner(""), edSigner("")
		forged := stranger.token(longLived())
		l := newLoginServer(s)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, s.token(longLived())))

		start := time.Now()
		for range 100 {
			require.Equal(t, 10*time.Second, requireFetchNotDue(t, authorize(a, forged)))
		}
		require.Zero(t, time.Since(start))
		require.Equal(t, 1, l.takeFetches(), "the next fetch is not due")

		advance(time.Minute)
		requireRejected(t, authorize(a, forged), chargeingest.ErrInvalidCredential, forged)
		require.Equal(t, 1, l.takeFetches(), "the key could be new")

		advance(time.Minute)
		l.goDown()
		for range 100 {
			err := authorize(a, forged)
			requireUnavailable(t, err)
			require.ErrorContains(t, err, "connection refused")
		}
		require.NoError(t, authorize(a, s.token(longLived())))
		require.Equal(t, 1, l.takeFetches())
	})
}

func TestNoKidFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stranger := edSigner(""), edSigner("")
		good, forged := s.token(longLived()), stranger.token(longLived())
		l := newLoginServer(s)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, good))
		require.Equal(t, 1, l.takeFetches())
		var all sync.WaitGroup
		for i := range 60 {
			for range 50 {
				all.Go(func() {
					if i < 10 {
						require.LessOrEqual(t, requireFetchNotDue(t, authorize(a, forged)), 10*time.Second)
					} else {
						requireRejected(t, authorize(a, forged), chargeingest.ErrInvalidCredential, forged)
					}
				})
			}
			advance(time.Second)
			require.NoError(t, authorize(a, good))
		}
		all.Wait()
		require.LessOrEqual(t, l.takeFetches(), 6, "3,000 tokens in a minute")
	})
}

func TestNoKidInvalidMakesNoFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("")
		l := newLoginServer(s)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, s.token(longLived())))
		advance(time.Minute)
		l.takeFetches()
		for name, token := range map[string]string{
			"an algorithm that is not accepted": s.token(longLived(), "alg", "HS256"),
			"none":                              s.token(longLived(), "alg", "none"),
			"crit":                              s.token(longLived(), "crit", []string{"exp"}),
			"an empty kid":                      s.token(longLived(), "kid", ""),
			"a signature that is not base64url": s.token(longLived()) + "AAA",
			"expired but genuine":               s.token(longLived("exp", 1)),
			"genuine, for another audience":     s.token(longLived("aud", "other")),
		} {
			requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
			require.Zero(t, l.takeFetches(), name)
		}
	})
}
