package jwtauth_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestUnknownKidFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, stranger := edSigner("known"), edSigner("")
		l := newLoginServer(known)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, known.token(longLived())))
		require.Equal(t, 1, l.takeFetches())

		var all sync.WaitGroup
		var refused atomic.Int64
		for i := range 60 {
			for j := range 50 {
				all.Go(func() {
					token := stranger.token(longLived(), "kid", fmt.Sprintf("kid-%d-%d", i, j))
					if err := authorize(a, token); errors.Is(err, chargeingest.ErrInvalidCredential) {
						refused.Add(1)
					} else {
						require.LessOrEqual(t, requireFetchNotDue(t, err), 10*time.Second)
					}
				})
			}
			advance(time.Second)
			require.NoError(t, authorize(a, known.token(longLived())))
		}
		all.Wait()
		fetches := l.takeFetches()
		require.LessOrEqual(t, fetches, 6, "3,000 tokens in a minute")
		require.Equal(t, int64(fetches), refused.Load(), "one per fetch")

		next := edSigner("next")
		requireRejected(t, authorize(a, stranger.token(longLived(), "kid", "last")), chargeingest.ErrInvalidCredential, "")
		l.serveKeys(known, next)
		advance(requireFetchNotDue(t, authorize(a, next.token(longLived()))))
		require.NoError(t, authorize(a, next.token(longLived())))
	})
}

func TestInvalidKidMakesNoFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, s.token(longLived())))
		advance(time.Minute)
		l.takeFetches()
		for _, kid := range []any{strings.Repeat("k", 257), strings.Repeat("k", 5000), "", 1, []string{"k"}} {
			token := s.token(longLived(), "kid", kid)
			requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
		}
		require.Zero(t, l.takeFetches())
		require.ErrorIs(t, authorize(a, s.token(longLived(), "kid", strings.Repeat("k", 256))), chargeingest.ErrInvalidCredential)
		require.Equal(t, 1, l.takeFetches())
	})
}
