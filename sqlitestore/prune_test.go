package sqlitestore

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

func at(hours int, b chargeingest.Batch) chargeingest.Batch {
	for i := range b.Events {
		b.Events[i].ReceivedAt = received().Add(time.Duration(hours) * time.Hour)
	}
	return b
}

func keyed(key string, b chargeingest.Batch) chargeingest.Batch {
	b.IdempotencyKey = key
	return b
}

func pruned(t *testing.T, s *Store, hours int) int64 {
	t.Helper()
	n, err := s.Prune(t.Context(), received().Add(time.Duration(hours)*time.Hour))
	require.NoError(t, err)
	require.Empty(t, value[any](t, s, "SELECT group_concat(integrity_check) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"))
	require.Zero(t, value[int64](t, s, "SELECT count(*) FROM pragma_foreign_key_check"))
	return n
}

func TestPrune(t *testing.T) {
	s := newSetup(t).open(t)
	old := fresh(t, s, at(0, charges("acme", numbered(450)...)))
	fresh(t, s, at(0, charges("globex", "a", "")))
	kept := fresh(t, s, at(2, charges("acme", "kept-0", "kept-1")))
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
	later := fresh(t, s, at(3, charges("acme", "kept-0", "ref-0")))
	q.After = page.Position
	page, err = s.List(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, page.Events, 2, "seqs are never reused")
	require.Equal(t, later[0], page.Events[0].ID)
}

func TestPrunePrecision(t *testing.T) {
	s := newSetup(t).open(t)
	fresh(t, s, charges("acme", "a"))
	for _, step := range []struct {
		before  time.Duration
		deleted int64
	}{{0, 0}, {time.Millisecond, 1}} {
		n, err := s.Prune(t.Context(), received().Add(step.before))
		require.NoError(t, err)
		require.Equal(t, step.deleted, n)
	}
	n, err := s.Prune(t.Context(), time.Time{})
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestPruneDeletesKeysWithTheirEvents(t *testing.T) {
	s := newSetup(t).open(t)
	old := at(0, keyed("old", charges("acme", "a", "", "")))
	fresh(t, s, old)
	young := at(2, keyed("young", charges("acme", "", "")))
	fresh(t, s, young)

	require.EqualValues(t, 3, pruned(t, s, 1))
	replayed(t, s, young)
	fresh(t, s, at(3, keyed("old", charges("acme", "", ""))))
	require.EqualValues(t, 4, pruned(t, s, 4))
	fresh(t, s, at(5, young))
	require.EqualValues(t, 1, value[int64](t, s, "SELECT count(*) FROM requests"))
}

func TestPruneKeepsEventsOfLaterKeys(t *testing.T) {
	s := newSetup(t).open(t)
	shared := fresh(t, s, at(0, keyed("first", charges("acme", "shared", "own", ""))))[0]
	second := at(2, keyed("second", charges("acme", "shared", "shared")))
	require.Equal(t, []string{shared, shared}, replayed(t, s, second))

	require.EqualValues(t, 2, pruned(t, s, 1))
	require.Equal(t, []string{shared}, listed(t, s, "acme"))
	require.Equal(t, []string{shared, shared}, replayed(t, s, second))
	replayed(t, s, charges("acme", "shared"))
	require.EqualValues(t, 1, value[int64](t, s, "SELECT count(*) FROM requests"))

	require.EqualValues(t, 1, pruned(t, s, 3))
	require.Empty(t, listed(t, s, "acme"))
	fresh(t, s, keyed("second", charges("acme", "shared")))
}

func TestPruneAfterClockWasAhead(t *testing.T) {
	const years = 10 * 365 * 24
	s := newSetup(t).open(t)
	ahead := fresh(t, s, at(years, charges("acme", "ahead")))
	fresh(t, s, at(0, charges("acme", numbered(450)...)))
	fresh(t, s, at(0, keyed("old", charges("acme", "x"))))
	young := at(2, keyed("young", charges("acme", "y")))
	kept := fresh(t, s, young)
	holding := at(0, keyed("holding", charges("acme", "ahead")))
	require.Equal(t, ahead, replayed(t, s, holding))

	require.EqualValues(t, 451, pruned(t, s, 1))
	require.Equal(t, slices.Concat(ahead, kept), listed(t, s, "acme"))
	replayed(t, s, young)
	replayed(t, s, holding)
	require.EqualValues(t, 1, pruned(t, s, 3))
	require.EqualValues(t, 1, pruned(t, s, years+1))
	for _, table := range []string{"events", "requests", "request_events", "backdated", "platforms"} {
		require.Zero(t, value[int64](t, s, "SELECT count(*) FROM "+table), table)
	}
}

func TestPruneOfEventsOutOfOrder(t *testing.T) {
	s := newSetup(t).open(t)
	var kept []string
	for _, c := range []struct {
		after time.Duration
		gone  bool
	}{
		{time.Second, false}, {-time.Second, true}, {0, false}, {-time.Millisecond, true}, {9 * time.Second, false},
		{-500 * time.Millisecond, true}, {10 * time.Second, false}, {-time.Millisecond, true}, {0, false},
	} {
		b := charges("acme", "")
		b.Events[0].ReceivedAt = received().Add(time.Hour).Add(c.after)
		if ids := fresh(t, s, b); !c.gone {
			kept = append(kept, ids...)
		}
	}
	require.EqualValues(t, 2, value[int64](t, s, "SELECT count(*) FROM backdated"))
	require.EqualValues(t, 4, pruned(t, s, 1))
	require.Equal(t, kept, listed(t, s, "acme"))
}

func TestPruneOfPlatforms(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.pruneBatch = 2
	s := setup.open(t)
	for i := range 9 {
		fresh(t, s, at(i%2*2, charges(fmt.Sprint("p", i), "a")))
	}
	pruned(t, s, 1)
	require.Equal(t, "p1 p3 p5 p7", value[string](t, s, "SELECT group_concat(name, ' ' ORDER BY id) FROM platforms"))
	fresh(t, s, at(2, charges("q", "a")))
	require.Empty(t, listed(t, s, "p8"))
	fresh(t, s, at(2, charges("p8", "a")))
	for _, platform := range []string{"p1", "p8", "q"} {
		require.Len(t, listed(t, s, platform), 1)
		replayed(t, s, charges(platform, "a"))
	}
}

func TestRolledBackPruneOfPlatforms(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, at(0, charges("acme", "a")))
	setup.faults.on("DELETE FROM platforms", resultError(sqlite3.SQLITE_FULL))
	_, err := s.Prune(t.Context(), received().Add(time.Hour))
	require.ErrorIs(t, err, resultError(sqlite3.SQLITE_FULL))
	setup.faults.clear()
	fresh(t, s, at(2, charges("acme", "a")))
	require.Zero(t, pruned(t, s, 1))
	require.Len(t, listed(t, s, "acme"), 1)
}

func TestPruneOfAnEarlierVersion(t *testing.T) {
	setup := newSetup(t)
	statements := []string{
		fmt.Sprintf("PRAGMA application_id = %d", applicationID), scripts[0], scripts[1], "PRAGMA user_version = 2",
		"INSERT INTO platforms VALUES (1, 'acme'), (2, 'unused')",
	}
	ahead := received().AddDate(10, 0, 0)
	for seq, e := range []struct {
		id, received time.Time
	}{{received(), received()}, {ahead, ahead}, {ahead, received()}, {ahead, received().Add(2 * time.Hour)}} {
		id := storekit.FirstID(e.id)
		statements = append(statements, fmt.Sprintf(`INSERT INTO events (seq, id, platform, product_item_id,
			timestamp_s, timestamp_ns, timestamp_assigned, received_s, received_ns, digest, content)
			VALUES (%d, '%s', 1, 'item', 0, 0, 0, %d, %d, zeroblob(32), '{}')`,
			seq+1, id[:len(id)-1]+fmt.Sprint(seq), e.received.Unix(), e.received.Nanosecond()))
	}
	for i, r := range []struct {
		bound time.Time
		event int
	}{{received(), 1}, {received().Add(2 * time.Hour), 1}, {ahead, 3}, {ahead, 4}} {
		statements = append(statements,
			fmt.Sprintf("INSERT INTO requests VALUES (%d, 1, 'key-%d', 'r', zeroblob(32), '%s')", i+1, i+1, storekit.FirstID(r.bound)),
			fmt.Sprintf("INSERT INTO request_events VALUES (%d, 0, %d)", i+1, r.event))
	}
	execSQL(t, setup.path, statements...)
	s := setup.open(t)
	state := func() string {
		return value[string](t, s, "SELECT coalesce((SELECT group_concat(seq, ' ' ORDER BY seq) FROM events), '') || ' | ' || "+
			"coalesce((SELECT group_concat(id, ' ' ORDER BY id) FROM requests), '') || ' | ' || (SELECT count(*) FROM backdated)")
	}
	require.Equal(t, "1 2 3 4 | 1 2 3 4 | 2", state())
	require.EqualValues(t, 1, pruned(t, s, 1))
	require.Equal(t, "1 2 4 | 2 4 | 1", state())
	require.EqualValues(t, 2, pruned(t, s, 3))
	require.Equal(t, "2 |  | 0", state())
	require.EqualValues(t, 1, value[int64](t, s, "SELECT count(*) FROM platforms"))
}

func TestPruneUsesSmallTransactions(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	release := hold(s)
	var calls []sending
	for _, key := range numbered(300) {
		calls = append(calls, send(t.Context(), s, at(0, keyed(key, charges("acme", "", "")))))
	}
	release()
	for _, pending := range calls {
		require.NoError(t, (<-pending).Err)
	}
	setup.faults.clear()
	require.EqualValues(t, 600, pruned(t, s, 1))
	require.Equal(t, 8, setup.faults.count("COMMIT"))
	require.Zero(t, value[int64](t, s, "SELECT count(*) FROM request_events"))
}

func TestPruneEndsWithContextOrStore(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", numbered(500)...))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Prune(ctx, received().Add(time.Hour))
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, listed(t, s, "acme"), 500)

	closed := make(chan error, 1)
	setup.faults.once("DELETE FROM events", func() error {
		go func() { closed <- s.Close() }()
		<-s.running.Done()
		return nil
	})
	n, err := s.Prune(t.Context(), received().Add(time.Hour))
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	require.EqualValues(t, setup.tuning.pruneBatch, n)
	require.NoError(t, <-closed)
	require.Len(t, listed(t, setup.open(t), "acme"), 500-setup.tuning.pruneBatch)
}

func TestPruneThatFails(t *testing.T) {
	for _, statement := range []string{"SELECT id, bound_ms FROM requests", "SELECT DISTINCT event FROM request_events", "DELETE FROM requests", "DELETE FROM events", "SELECT seq, received_s"} {
		setup := newSetup(t)
		s := setup.open(t)
		b := charges("acme", "a")
		b.IdempotencyKey = "key"
		fresh(t, s, b)
		fresh(t, s, charges("acme", "b"))
		setup.faults.on(statement, resultError(sqlite3.SQLITE_FULL))
		_, err := s.Prune(t.Context(), received().Add(time.Hour))
		require.ErrorIs(t, err, resultError(sqlite3.SQLITE_FULL), statement)
		setup.faults.clear()
		replayed(t, s, charges("acme", "b"))
	}
}
