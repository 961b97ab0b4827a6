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

func lockStored(t *testing.T, pool *pgxpool.Pool, s *Store, schema, platform string) (end func()) {
	appended(t, s, charges(platform, "before"))
	return lockPlatform(t, pool, schema, platform)
}

func TestLockOrder(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute})
	for i, lookupFirst := range []bool{false, true} {
		for _, platform := range []string{"hold", "a", "b", "c"} {
			appended(t, s, charges(platform, fmt.Sprint("before ", i)))
		}
		var all sync.WaitGroup
		send := func(platform, reference string) {
			all.Go(func() {
				_, err := s.Append(t.Context(), charges(platform, reference))
				require.NoError(t, err)
			})
		}
		hold, b := lockPlatform(t, pool, schema, "hold"), lockPlatform(t, pool, schema, "b")
		send("hold", map[bool]string{false: "new", true: fmt.Sprint("before ", i)}[lookupFirst]) // after a replay, lookupFirst is true
		awaitLockWaits(t, pool, schema, 1)
		for n, platform := range []string{"c", "b", "a"} {
			send(platform, fmt.Sprint("it ", i))
			require.Eventually(t, func() bool { return s.Stats().QueuedRequests == n+1 }, 10*time.Second, time.Millisecond)
		}
		hold()
		require.Eventually(t, func() bool { return s.Stats().QueuedRequests == 0 }, 10*time.Second, time.Millisecond)
		awaitLockWaits(t, pool, schema, 1)
		isLocked := func(platform string) bool {
			_, err := pool.Exec(t.Context(), "SELECT FROM "+schema+".platforms WHERE name = $1 FOR UPDATE NOWAIT", platform)
			return codeOf(err) == codeLockNotAvailable
		}
		require.True(t, isLocked("a"), "lookupFirst %v", lookupFirst)
		require.False(t, isLocked("c"), "lookupFirst %v", lookupFirst)
		b()
		all.Wait()
	}
}

func TestLockedPlatformDoesNotDelayOthers(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 500 * time.Millisecond})
	end := lockPlatform(t, pool, schema, "acme")
	defer end()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, err := s.Append(t.Context(), charges("acme", fmt.Sprint(i)))
			require.ErrorIs(t, err, chargeingest.ErrNotStored)
		})
		all.Go(func() {
			_, err := s.Append(t.Context(), charges("globex", fmt.Sprint(i)))
			require.NoError(t, err)
		})
	}
	all.Wait()
	require.Len(t, listed(t, s, "globex"), 20)
	require.Empty(t, listed(t, s, "acme"))
}

func TestLockedPlatforms(t *testing.T) {
	parallel(t)
	for _, c := range []struct {
		name   string
		before bool
	}{{"with events", true}, {"without events", false}} {
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
						ends = append(ends, lockStored(t, pool, s, schema, platform))
					} else {
						ends = append(ends, lockPlatform(t, pool, schema, platform))
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
				free.Wait()
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

func TestRequestsOfLockedPlatforms(t *testing.T) {
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

	t.Run("canceled", func(t *testing.T) {
		s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 15 * time.Second})
		end := lockStored(t, pool, s, schema, "acme")
		defer end()
		ctx, cancel := context.WithCancel(t.Context())
		first := send(ctx, s, "canceled")
		awaitLockWaits(t, pool, schema, 1)
		second := send(t.Context(), s, "not canceled")
		queued(s, 2)
		cancel()
		require.ErrorIs(t, <-first, context.Canceled)
		end()
		require.NoError(t, <-second)
	})
	t.Run("the platform stays locked", func(t *testing.T) {
		s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Second})
		end := lockStored(t, pool, s, schema, "acme")
		defer end()
		var done []chan error
		for i := range 10 {
			done = append(done, send(t.Context(), s, fmt.Sprint("fails ", i)))
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
	t.Run("Close, then the lock is free", func(t *testing.T) {
		s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 15 * time.Second})
		end := lockStored(t, pool, s, schema, "acme")
		defer end()
		first := send(t.Context(), s, "stored by Close")
		queued(s, 1)
		s.writer.queue.Close() // Store.Close would wait
		end()
		require.NoError(t, <-first)
		require.NoError(t, s.Close())
	})
	t.Run("Close, and the platform stays locked", func(t *testing.T) {
		s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Second})
		end := lockStored(t, pool, s, schema, "acme")
		defer end()
		first := send(t.Context(), s, "never")
		awaitLockWaits(t, pool, schema, 1)
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-first, chargeingest.ErrNotStored)
	})
}
