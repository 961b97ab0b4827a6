package pgstore

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

// lockedRow is locked for a platform that has events.
func lockedRow(t *testing.T, pool *pgxpool.Pool, s *Store, schema, platform string) (end func()) {
	appended(t, s, charges(platform, "before"))
	return locked(t, pool, schema, platform)
}

func TestLockedPlatformsAreHeld(t *testing.T) {
	parallel(t)
	for _, c := range []struct {
		name   string
		before bool // the platforms have events
	}{{"with events", true}, {"that are inserted", false}} {
		for _, n := range []int{1, 20} {
			t.Run(fmt.Sprint(n, " ", c.name), func(t *testing.T) {
				parallel(t)
				pool := newPool(t, func(c *pgxpool.Config) { c.MaxConns = 30 })
				schema := newSchema(t, pool)
				s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 15 * time.Second})
				var ends []func()
				for i := range n {
					platform := fmt.Sprint("locked-", i)
					if c.before {
						ends = append(ends, lockedRow(t, pool, s, schema, platform))
					} else {
						ends = append(ends, locked(t, pool, schema, platform))
					}
				}
				var all sync.WaitGroup
				for i := range n {
					all.Go(func() {
						_, err := s.Append(t.Context(), charges(fmt.Sprint("locked-", i), "a"))
						require.NoError(t, err)
					})
				}
				var free sync.WaitGroup
				for i := range 50 {
					free.Go(func() {
						_, err := s.Append(t.Context(), charges(fmt.Sprint("free-", i%10), fmt.Sprint(i)))
						require.NoError(t, err)
					})
				}
				free.Wait() // while the others are locked
				for _, end := range ends {
					end()
				}
				all.Wait()
				require.NoError(t, s.Close())
				require.Empty(t, s.writer.locked.platforms)
			})
		}
	}
}

func TestHeldRequests(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	send := func(ctx context.Context, s *Store, reference string) chan error {
		done := make(chan error, 1)
		go func() { _, err := s.Append(ctx, charges("acme", reference)); done <- err }()
		return done
	}
	queued := func(s *Store, n int) {
		require.Eventually(t, func() bool { return s.Stats().QueuedRequests == n }, 10*time.Second, time.Millisecond)
	}

	t.Run("a caller that gives up has nothing stored", func(t *testing.T) {
		s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 15 * time.Second})
		end := lockedRow(t, pool, s, schema, "acme")
		defer end()
		ctx, cancel := context.WithCancel(t.Context())
		first := send(ctx, s, "gives up")
		waiting(t, pool, schema, 1)
		second := send(t.Context(), s, "stays")
		queued(s, 2)
		cancel()
		require.ErrorIs(t, <-first, context.Canceled)
		end()
		require.NoError(t, <-second)
	})
	t.Run("a platform that stays locked is refused", func(t *testing.T) {
		s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Second})
		end := lockedRow(t, pool, s, schema, "acme")
		defer end()
		var done []chan error
		for i := range 10 {
			done = append(done, send(t.Context(), s, fmt.Sprint("refused ", i)))
		}
		for _, d := range done {
			err := <-d
			require.ErrorIs(t, err, chargeingest.ErrNotStored)
			require.Equal(t, codeLockNotAvailable, codeOf(err))
		}
		require.ErrorIs(t, <-send(t.Context(), s, "later"), chargeingest.ErrNotStored)
		end()
		require.NoError(t, <-send(t.Context(), s, "free again"))
	})
	t.Run("Close stores what is held", func(t *testing.T) {
		s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 15 * time.Second})
		end := lockedRow(t, pool, s, schema, "acme")
		defer end()
		first := send(t.Context(), s, "held at the end")
		queued(s, 1)           // it was tried, and held
		s.writer.queue.Close() // Close, which waits for the writer then
		end()
		require.NoError(t, <-first)
		require.NoError(t, s.Close())
	})
	t.Run("Close answers what stays locked", func(t *testing.T) {
		s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Second})
		end := lockedRow(t, pool, s, schema, "acme")
		defer end()
		first := send(t.Context(), s, "never")
		waiting(t, pool, schema, 1)
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-first, chargeingest.ErrNotStored)
	})
}
