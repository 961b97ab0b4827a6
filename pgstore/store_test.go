package pgstore

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

// See statements.lock.
func TestReplayWritesAndCommits(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	written := func() (xmin int64) {
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT xmin::text::bigint FROM "+schema+".platforms").Scan(&xmin))
		return xmin
	}
	appended(t, s, charges("acme", "a"))
	for range 3 {
		before := written()
		_, replayed := appended(t, s, charges("acme", "a"))
		require.Equal(t, []bool{true}, replayed)
		require.Greater(t, written(), before)
	}
}

func TestIsolationLevels(t *testing.T) {
	parallel(t)
	for _, level := range []string{"repeatable read", "serializable"} {
		pool := newPool(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_isolation"] = level })
		schema := newSchema(t, pool)
		var all sync.WaitGroup
		for range 3 {
			s := newStore(t, pool, Options{Schema: schema})
			all.Go(func() {
				for i := range 50 {
					_, err := s.Append(t.Context(), charges("acme", fmt.Sprint(i)))
					require.NoError(t, err, level)
				}
			})
		}
		all.Wait()
		require.Len(t, listed(t, newStore(t, pool, Options{Schema: schema}), "acme"), 50)
	}
}

func TestPlatformNames(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	names := []string{"a", "A", "a\x00", "a\\00", "a\\", "\xff", "\xfe", "\\ff", "ä", "ä ", "a'--", strings.Repeat("x", 2000)}
	for _, name := range names {
		appended(t, s, charges(name, "r"))
	}
	for _, name := range names {
		require.Len(t, listed(t, s, name), 1, "%q", name)
	}
}

func TestClose(t *testing.T) {
	pool := newPool(t)
	s := newStore(t, pool, Options{})
	appended(t, s, charges("acme", "a"))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	require.Zero(t, pool.Stat().AcquiredConns())
	require.NoError(t, pool.Ping(t.Context()))
}
