package pgstore

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func pruneDay(hours int) time.Time {
	return time.Date(2026, 3, 1, hours, 0, 0, 987_654_321, time.UTC)
}

func keyed(key string, b chargeingest.Batch) chargeingest.Batch {
	b.IdempotencyKey = key
	return b
}

func pruned(t *testing.T, s *Store, hour int) int64 {
	t.Helper()
	n, err := s.Prune(t.Context(), pruneDay(hour))
	require.NoError(t, err)
	require.NoError(t, danglingRows(t.Context(), s.pool, s.options.Schema))
	return n
}

func TestPrune(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	s.pruneBatch = 200
	old, _ := appended(t, s, at(charges("acme", numbered("old", 450)...), pruneDay(0)))
	appended(t, s, at(charges("globex", "a", ""), pruneDay(0)))
	kept, _ := appended(t, s, at(charges("acme", "kept-0", "kept-1"), pruneDay(2)))
	q := chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 449}
	page, err := s.List(t.Context(), q)
	require.NoError(t, err)

	require.Zero(t, pruned(t, s, 0))
	require.EqualValues(t, 452, pruned(t, s, 1))
	require.Equal(t, kept, listed(t, s, "acme"))
	require.Empty(t, listed(t, s, "globex"))
	_, err = s.Get(t.Context(), "acme", old[0])
	require.ErrorIs(t, err, chargeingest.ErrNotFound)
	q.After = page.Next
	page, err = s.List(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, page.Events, 2, "cursors stay valid")

	require.EqualValues(t, 2, pruned(t, s, 3))
	empty, err := s.List(t.Context(), q)
	require.NoError(t, err)
	require.Empty(t, empty.Events)
	later, _ := appended(t, s, at(charges("acme", "kept-0", "old-0"), pruneDay(3)))
	for _, position := range []string{page.Position, empty.Position} {
		q.After = position
		next, err := s.List(t.Context(), q)
		require.NoError(t, err)
		require.Len(t, next.Events, 2, "positions are never reused")
		require.Equal(t, later[0], next.Events[0].ID)
	}
}

func TestPrunePrecision(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	appended(t, s, at(charges("acme", "a"), pruneDay(0)))
	for _, step := range []struct {
		before  time.Time
		deleted int64
	}{{time.Time{}, 0}, {pruneDay(0).Add(300 * time.Microsecond), 0}, {pruneDay(0).Add(time.Millisecond), 1}} {
		n, err := s.Prune(t.Context(), step.before)
		require.NoError(t, err)
		require.Equal(t, step.deleted, n)
	}
}

func TestPruneDeletesKeysWithTheirEvents(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	s.pruneBatch = 1
	old := keyed("old", at(charges("acme", "a", "", ""), pruneDay(0)))
	appended(t, s, old)
	young := keyed("young", at(charges("acme", "", ""), pruneDay(2)))
	appended(t, s, young)

	require.EqualValues(t, 3, pruned(t, s, 1))
	_, replayed := appended(t, s, young)
	require.Equal(t, []bool{true, true}, replayed)
	_, replayed = appended(t, s, keyed("old", at(charges("acme", "", ""), pruneDay(3))))
	require.Equal(t, []bool{false, false}, replayed, "the key can be used again")
	require.EqualValues(t, 4, pruned(t, s, 4))
}

func TestPruneKeepsEventsOfLaterKeys(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	first, _ := appended(t, s, keyed("first", at(charges("acme", "shared", "own", ""), pruneDay(0))))
	second := keyed("second", at(charges("acme", "shared", "shared"), pruneDay(2)))
	appended(t, s, second)

	require.EqualValues(t, 2, pruned(t, s, 1))
	require.Equal(t, first[:1], listed(t, s, "acme"))
	ids, replayed := appended(t, s, second)
	require.Equal(t, []string{first[0], first[0]}, ids)
	require.Equal(t, []bool{true, true}, replayed)
	require.EqualValues(t, 1, pruned(t, s, 3))
	require.Empty(t, listed(t, s, "acme"))
}

func TestPruneAfterClockWasAhead(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	ahead, _ := appended(t, s, at(charges("acme", "ahead"), pruneDay(20)))
	appended(t, s, at(charges("acme", "x"), pruneDay(0)))
	holding := keyed("holding", at(charges("acme", "ahead", "y"), pruneDay(0)))
	ids, _ := appended(t, s, holding)
	require.EqualValues(t, 1, pruned(t, s, 1))
	require.Equal(t, []string{ahead[0], ids[1]}, listed(t, s, "acme"))
	_, replayed := appended(t, s, holding)
	require.Equal(t, []bool{true, true}, replayed)
	require.EqualValues(t, 2, pruned(t, s, 21))
}

func TestPruneDuringAppends(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	s.pruneBatch = 3
	old := numbered("old", 150)
	appended(t, s, at(charges("acme", old...), pruneDay(0)))
	var running sync.WaitGroup
	for worker := range 4 {
		running.Go(func() { // old references under new keys
			for i := worker; i < len(old); i += 4 {
				if _, err := s.Append(t.Context(), keyed(fmt.Sprint("key-", i), at(charges("acme", old[i], ""), pruneDay(2)))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var deleted [2]int64
	for i := range deleted {
		other := newStore(t, pool, Options{Schema: schema})
		other.pruneBatch = 3
		running.Go(func() {
			var err error
			if deleted[i], err = other.Prune(t.Context(), pruneDay(1)); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	require.NoError(t, danglingRows(t.Context(), pool, schema))
	t.Logf("deleted %v of 150 events; the others were returned under a later key", deleted)
	for i := range old {
		_, replayed := appended(t, s, keyed(fmt.Sprint("key-", i), at(charges("acme", old[i], ""), pruneDay(3))))
		require.Equal(t, []bool{true, true}, replayed)
	}
	require.Len(t, listed(t, s, "acme"), 300)
	s.pruneBatch = pruneBatch
	require.EqualValues(t, 300, pruned(t, s, 4))
}

func TestPruneWaitsForALockedPlatform(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	s := newStore(t, pool, Options{StatementTimeout: 500 * time.Millisecond})
	appended(t, s, at(charges("acme", "a"), pruneDay(0)))
	appended(t, s, at(charges("globex", "a"), pruneDay(0)))
	end := lockPlatform(t, pool, s.options.Schema, "globex")
	n, err := s.Prune(t.Context(), pruneDay(1))
	require.Equal(t, codeLockNotAvailable, codeOf(err))
	require.EqualValues(t, 1, n, "the events of the other platform")
	end()
	require.EqualValues(t, 1, pruned(t, s, 1))
}

func TestPruneEndsWithContextOrStore(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	s.pruneBatch = 1
	appended(t, s, keyed("k", at(charges("acme", "a", "", ""), pruneDay(0))))
	appended(t, s, at(charges("acme", "b"), pruneDay(0)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Prune(ctx, pruneDay(1))
	require.ErrorIs(t, err, context.Canceled)

	end := lockPlatform(t, pool, schema, "acme")
	result := make(chan error, 1)
	go func() {
		n, err := s.Prune(t.Context(), pruneDay(1))
		if n != 3 { // the events of a key
			err = fmt.Errorf("%d events: %w", n, err)
		}
		result <- err
	}()
	awaitLockWaits(t, pool, schema, 1)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	require.Eventually(t, s.isClosed, 10*time.Second, time.Millisecond)
	end()
	require.Equal(t, chargeingest.ErrClosed, <-result, "after the transaction that was in progress")
	require.NoError(t, <-closed)
	_, err = s.Prune(t.Context(), pruneDay(1))
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	require.Len(t, listed(t, newStore(t, pool, Options{Schema: schema}), "acme"), 1)
}

func TestPruneLosesItsConnection(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	s := newStore(t, pool, Options{})
	s.pruneBatch = 1
	appended(t, s, at(charges("acme", "a"), pruneDay(0)))
	appended(t, s, at(charges("globex", "a"), pruneDay(0).Add(time.Second)))
	end := lockPlatform(t, pool, s.options.Schema, "globex")
	var n int64
	result := make(chan error, 1)
	go func() {
		var err error
		n, err = s.Prune(t.Context(), pruneDay(1))
		result <- err
	}()
	awaitLockWaits(t, pool, s.options.Schema, 1)
	_, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1", "%"+s.options.Schema+"%")
	require.NoError(t, err)
	err = <-result
	require.Error(t, err)
	require.NotErrorIs(t, err, chargeingest.ErrClosed)
	require.EqualValues(t, 1, n)
	end()
	require.EqualValues(t, 1, pruned(t, s, 1))
}

func TestPrunePrivileges(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	owner := newStore(t, pool, Options{Schema: schema})
	appended(t, owner, at(charges("acme", "a", ""), pruneDay(0)))
	role := schema + "_role"
	grants := documented(t, "../docs/postgres.md", "Privileges", schema)
	_, err := pool.Exec(t.Context(), "CREATE ROLE "+role)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := pool.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role)
		require.NoError(t, err)
	})
	ingest, prune, found := strings.Cut(strings.NewReplacer("charges;", role+";", " chargeingest ", " "+schema+" ").Replace(grants), "-- only for -retain and Prune\n")
	require.True(t, found)
	_, err = pool.Exec(t.Context(), ingest)
	require.NoError(t, err)
	as := newPool(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = role })
	s := newStore(t, as, Options{Schema: schema})
	appended(t, s, at(charges("acme", "b"), pruneDay(0)))
	_, err = s.Prune(t.Context(), pruneDay(1))
	require.EqualError(t, err, fmt.Sprintf(`pgstore: prune: the role %s needs to be granted DELETE on "%s".event_references, DELETE on "%[2]s".events, DELETE on "%[2]s".requests`, role, schema))
	_, err = pool.Exec(t.Context(), prune)
	require.NoError(t, err)
	require.EqualValues(t, 3, pruned(t, s, 1))
}

func TestPruneOfPartitions(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	_, err := pool.Exec(t.Context(), page(t, "Partitions", schema))
	require.NoError(t, err)
	appended(t, s, keyed("k", at(charges("acme", "a", "b"), time.Date(2027, 1, 15, 0, 0, 0, 0, time.UTC))))
	kept, _ := appended(t, s, at(charges("acme", "c"), time.Date(2027, 2, 15, 0, 0, 0, 0, time.UTC)))
	n, err := s.Prune(t.Context(), time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	require.Equal(t, kept, listed(t, s, "acme"))
	require.NoError(t, danglingRows(t.Context(), pool, schema))
}

// Statistics are missing after a load.
func TestPrunePlans(t *testing.T) {
	pool := newPool(t)
	s := newStore(t, pool, Options{})
	for i := range 20 {
		appended(t, s, keyed(fmt.Sprint("k", i), at(charges("acme", numbered(fmt.Sprint("r", i), 100)...), pruneDay(i))))
	}
	ids := listed(t, s, "acme")[:100]
	for _, c := range []struct {
		statement string
		arguments []any
		indexes   []string
	}{
		{s.sql.oldEvents, []any{pruneDay(1), pruneDay(0), "", 0, 100}, []string{"events_received_at"}},
		{s.sql.oldRequests, []any{"acme", ids, pruneDay(1)}, []string{"requests_event_ids", "events_by_id"}},
		{s.sql.deleteRequests, []any{"acme", []string{"k0"}}, []string{"requests_pkey"}},
		{s.sql.deleteEvents, []any{"acme", ids, pruneDay(1)}, []string{"requests_event_ids", "events_by_id", "events_pkey", "event_references_pkey"}},
	} {
		var plan []string
		err := s.writeTransaction(t.Context(), func(tx pgx.Tx) error {
			rows, err := tx.Query(t.Context(), "EXPLAIN (COSTS off) "+c.statement, c.arguments...)
			if err == nil {
				plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			return err
		})
		require.NoError(t, err)
		used := regexp.MustCompile(`(?m)Scan (?:using|on) (\w+_(?:pkey|by_id|at|event_ids))`).FindAllStringSubmatch(strings.Join(plan, "\n"), -1)
		var indexes []string
		for _, found := range used {
			indexes = append(indexes, found[1])
		}
		require.ElementsMatch(t, c.indexes, indexes)
		require.NotContains(t, strings.Join(plan, "\n"), "Seq Scan")
	}
}

func TestStatsOfTheDatabase(t *testing.T) {
	pool := newPool(t)
	s := newStore(t, pool, Options{})
	require.Zero(t, s.Stats().NewestEvent)
	appended(t, s, at(charges("acme", "a"), pruneDay(0)))
	require.WithinDuration(t, pruneDay(0), s.Stats().NewestEvent, time.Millisecond)
	require.Eventually(t, func() bool { return s.Stats().DatabaseBytes > 100_000 }, 10*time.Second, time.Millisecond)

	pool.Close()
	s.size.mu.Lock()
	s.size.measured = time.Time{}
	s.size.mu.Unlock()
	require.Eventually(t, func() bool { return s.Stats().DatabaseBytes == 0 }, 10*time.Second, time.Millisecond, "no old size after a failure")
}
