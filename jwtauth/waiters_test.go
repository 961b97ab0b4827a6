package jwtauth_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestConcurrentRequestsShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		a, _ := newRemote(t, l)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { require.NoError(t, authorize(a, s.token(longLived()))) })
		}
		all.Wait()
		require.Equal(t, 1, l.takeFetches())
	})
}

func TestKnownKidDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, unknown := edSigner("known"), edSigner("unknown")
		l := newLoginServer(known)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, known.token(longLived())))
		advance(time.Minute)

		l.hang()
		result := make(chan error, 1)
		start := time.Now()
		go func() { result <- authorize(a, unknown.token(longLived())) }()
		synctest.Wait()
		for range 100 {
			require.NoError(t, authorize(a, known.token(longLived())))
		}
		require.Zero(t, time.Since(start))
		requireUnavailable(t, <-result)
		require.Equal(t, 5*time.Second, time.Since(start), "a fetch times out")

		requireUnavailable(t, authorize(a, unknown.token(longLived())))
		require.Equal(t, 5*time.Second, time.Since(start), "the next request does not wait")
	})
}

func TestCancelledRequestKeepsFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		release := make(chan struct{})
		set := l.handler
		l.handle(func(r *http.Request) (*http.Response, error) {
			select {
			case <-release:
				return set(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		a, _ := newRemote(t, l)
		ctx, giveUp := context.WithCancel(t.Context())
		cancelled, waiting := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := a.Authorize(request(s.token(longLived())).WithContext(ctx), chargeingest.PermissionIngest)
			cancelled <- err
		}()
		go func() { waiting <- authorize(a, s.token(longLived())) }()
		synctest.Wait()
		giveUp()
		err := <-cancelled
		require.ErrorIs(t, err, context.Canceled)
		requireUnavailable(t, err)
		require.ErrorContains(t, err, "the request ended")
		require.NotContains(t, err.Error(), "fetch JWKS", "the fetch may still succeed")
		close(release)
		require.NoError(t, <-waiting)
		require.Equal(t, 1, l.takeFetches())
	})
}

func TestMaxWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := edSigner("known")
		unknown := known.token(longLived(), "kid", "unknown")
		l := newLoginServer(known)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, known.token(longLived())))
		advance(time.Minute)
		l.hang()
		ctx, giveUp := context.WithCancel(t.Context())
		results := make(chan error, 300)
		startWaiting := func(ctx context.Context) {
			go func() {
				_, err := a.Authorize(request(unknown).WithContext(ctx), chargeingest.PermissionIngest)
				results <- err
			}()
		}
		startWaiting(ctx)
		for range 255 {
			startWaiting(t.Context())
		}
		synctest.Wait()
		require.Empty(t, results)

		start := time.Now()
		for range 1000 {
			err := authorize(a, unknown)
			requireUnavailable(t, err)
			require.ErrorContains(t, err, "too many requests wait")
		}
		require.NoError(t, authorize(a, known.token(longLived())), "a known kid needs no fetch")
		require.Zero(t, time.Since(start))

		giveUp()
		require.ErrorIs(t, <-results, context.Canceled)
		startWaiting(t.Context())
		synctest.Wait()
		require.Empty(t, results)
		requireUnavailable(t, authorize(a, unknown))

		advance(5 * time.Second)
		require.Len(t, results, 256)
		requireUnavailable(t, authorize(a, unknown))
		require.Equal(t, 2, l.takeFetches())
	})
}

func TestRetryAfterTooManyWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("old"), edSigner("next")
		l := newLoginServer(old)
		a, _ := newRemote(t, l)
		h := newEndpoint(t, a)
		advance(time.Minute)
		l.serveKeys(old, next)
		set := l.handler
		l.handle(func(r *http.Request) (*http.Response, error) {
			time.Sleep(4 * time.Second)
			return set(r)
		})
		stranger := edSigner("")
		for i := range 256 {
			go authorize(a, stranger.token(longLived(), "kid", fmt.Sprint(i)))
		}
		advance(time.Second)
		token := next.token(viewClaims())
		status, after := sendToken(t, h, token)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Equal(t, 4*time.Second, after)
		advance(after)
		status, _ = sendToken(t, h, token)
		require.Equal(t, http.StatusOK, status)
	})
}
