package jwtauth_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

func TestRefreshInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("old"), edSigner("next")
		l := newLoginServer(old)
		a, log := newRemote(t, l)
		require.NoError(t, authorize(a, old.token(longLived())))
		require.NoError(t, a.Ready(t.Context()))
		require.Equal(t, 1, l.takeFetches())

		advance(time.Hour + time.Second)
		require.Equal(t, 4, l.takeFetches(), "every 15 minutes")
		require.Equal(t, 1, strings.Count(log.String(), "\n"), "unchanged keys are not logged: %s", log)

		l.serveKeys(next)
		advance(15 * time.Minute)
		require.NoError(t, authorize(a, next.token(longLived())))
		require.Equal(t, 1, l.takeFetches())
		requireRejectedOnRetry(t, a, old.token(longLived()))
	})
}

func TestRefreshJoinsRunningFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		a, _ := newRemote(t, l, func(c *jwtauth.Config) { c.RefreshInterval, c.MinFetchInterval = 3*time.Second, time.Second })
		require.NoError(t, authorize(a, s.token(longLived())))
		advance(2 * time.Second)
		l.hang()
		result := make(chan error, 1)
		go func() { result <- authorize(a, s.token(longLived(), "kid", "other")) }()
		advance(4 * time.Second)
		require.Equal(t, 2, l.takeFetches())
		requireUnavailable(t, <-result)
	})
}

func TestLoginServerDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		l.goDown()
		a, log := newRemote(t, l)
		err := authorize(a, s.token(longLived()))
		requireUnavailable(t, err)
		require.ErrorContains(t, err, "connection refused")
		requireUnavailable(t, a.Ready(t.Context()))
		require.Contains(t, log.String(), "level=WARN")
		requireUnavailable(t, authorize(a, s.token(longLived(), "kid", nil)))
		require.ErrorIs(t, authorize(a, s.token(longLived(), "alg", "none")), chargeingest.ErrInvalidCredential,
			"an unsupported algorithm needs no keys")
		require.Equal(t, 1, l.takeFetches())

		l.serveKeys(s)
		requireUnavailable(t, authorize(a, s.token(longLived())))
		advance(10 * time.Second)
		require.NoError(t, a.Ready(t.Context()), "retried without a request")
		require.NoError(t, authorize(a, s.token(longLived())))
		require.Equal(t, 1, l.takeFetches())
	})
}

func TestReadyBeforeFirstFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoginServer()
		l.hang()
		a, _ := newRemote(t, l)
		require.ErrorContains(t, a.Ready(t.Context()), "the first fetch has not finished yet")
	})
}

func TestLoginServerDownLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, next := edSigner("k"), edSigner("next")
		l := newLoginServer(s)
		a, log := newRemote(t, l)
		require.NoError(t, authorize(a, s.token(longLived())))
		l.goDown()
		for range 24 {
			advance(time.Hour)
			require.NoError(t, authorize(a, s.token(longLived())))
			require.NoError(t, a.Ready(t.Context()))
			requireUnavailable(t, authorize(a, next.token(longLived())))
		}
		require.Contains(t, log.String(), "have_keys=true")
		require.LessOrEqual(t, l.takeFetches(), 1+24*3600/10, "at most every 10 seconds")

		l.serveKeys(s, next)
		advance(10 * time.Second)
		require.NoError(t, authorize(a, next.token(longLived())))
		require.NoError(t, authorize(a, s.token(longLived())))
	})
}

func TestContextEndsRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		ctx, cancel := context.WithCancel(t.Context())
		cfg := config()
		cfg.JWKSURL, cfg.Transport = jwksURL, l
		a, err := jwtauth.New(ctx, cfg)
		require.NoError(t, err)
		require.NoError(t, authorize(a, s.token(longLived())))
		cancel()
		advance(24 * time.Hour)
		require.Equal(t, 1, l.takeFetches())
		require.NoError(t, authorize(a, s.token(longLived())))
		l.hang()
		requireUnavailable(t, authorize(a, s.token(longLived(), "kid", "other")))
	})
}
