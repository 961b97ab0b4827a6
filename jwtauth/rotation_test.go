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

// Login servers with one key need no kid, and then nothing in a token says that
// its key is a new one.

func TestWithoutAKidANewKeyIsFoundAfterOneFetch(t *testing.T) {
	for name, next := range map[string]signer{
		"of the same type":                     edSigner(""),
		"of a type that none was of":           ecSigner("", elliptic.P256()),
		"with an id that its tokens leave out": edSigner("next"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old := edSigner("")
				l := newLogin(old)
				a, _ := remote(t, l)
				require.NoError(t, authorize(a, old.token(everlasting())))
				pass(time.Minute)
				require.Equal(t, 1, l.count())

				l.has(old, next)
				require.NoError(t, authorize(a, next.token(everlasting(), "kid", nil)), "at the first request already")
				require.NoError(t, authorize(a, old.token(everlasting())))
				require.NoError(t, authorize(a, next.token(everlasting(), "kid", nil)))
				require.Equal(t, 1, l.count())
			})
		})
	}
}

func TestWithoutAKidATokenThatNoKeyVerifiesIs401OnlyWhereTheKeysAreFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stranger := edSigner(""), edSigner("")
		forged := stranger.token(everlasting())
		l := newLogin(s)
		a, _ := remote(t, l)
		require.NoError(t, authorize(a, s.token(everlasting())))

		start := time.Now()
		for range 100 {
			require.Equal(t, 10*time.Second, requireSuppressed(t, authorize(a, forged)))
		}
		require.Zero(t, time.Since(start))
		require.Equal(t, 1, l.count(), "the next is not due")

		pass(time.Minute)
		requireRefused(t, authorize(a, forged), chargeingest.ErrInvalidCredential, forged)
		require.Equal(t, 1, l.count(), "it could have been of a new key")

		pass(time.Minute)
		l.isDown()
		for range 100 {
			err := authorize(a, forged)
			requireUnavailable(t, err)
			require.ErrorContains(t, err, "connection refused")
		}
		require.NoError(t, authorize(a, s.token(everlasting())))
		require.Equal(t, 1, l.count())
	})
}

func TestWithoutAKidAFloodMakesOneFetchInTenSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stranger := edSigner(""), edSigner("")
		good, forged := s.token(everlasting()), stranger.token(everlasting())
		l := newLogin(s)
		a, _ := remote(t, l)
		require.NoError(t, authorize(a, good))
		require.Equal(t, 1, l.count())
		var all sync.WaitGroup
		for i := range 60 {
			for range 50 {
				all.Go(func() {
					if i < 10 {
						require.LessOrEqual(t, requireSuppressed(t, authorize(a, forged)), 10*time.Second)
					} else { // from the first fetch after it was seen
						requireRefused(t, authorize(a, forged), chargeingest.ErrInvalidCredential, forged)
					}
				})
			}
			pass(time.Second)
			require.NoError(t, authorize(a, good))
		}
		all.Wait()
		require.LessOrEqual(t, l.count(), 6, "3,000 tokens in a minute")
	})
}

func TestWithoutAKidWhatNoKeyCouldVerifyMakesNoFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("")
		l := newLogin(s)
		a, _ := remote(t, l)
		require.NoError(t, authorize(a, s.token(everlasting())))
		pass(time.Minute)
		l.count()
		for name, token := range map[string]string{
			"an algorithm that is not accepted": s.token(everlasting(), "alg", "HS256"),
			"none":                              s.token(everlasting(), "alg", "none"),
			"crit":                              s.token(everlasting(), "crit", []string{"exp"}),
			"a kid that is empty":               s.token(everlasting(), "kid", ""),
			"a signature that is no base64url":  s.token(everlasting()) + "AAA",
			"expired, and genuine":              s.token(everlasting("exp", 1)),
			"for others, and genuine":           s.token(everlasting("aud", "other")),
		} {
			requireRefused(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
			require.Zero(t, l.count(), name)
		}
	})
}
