package sqlitestore

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
)

// at is a batch that is received a number of hours after the others.
func at(hours int, b chargeingest.Batch) chargeingest.Batch {
	for i := range b.Events {
		b.Events[i].ReceivedAt = received().Add(time.Duration(hours) * time.Hour)
	}
	return b
}

// keyed is a batch with an idempotency key.
func keyed(key string, b chargeingest.Batch) chargeingest.Batch {
	b.IdempotencyKey = key
	return b
}

// pruned prunes what was received before a number of hours had passed.
func pruned(t *testing.T, s *Store, hours int) int64 {
	t.Helper()
	n, err := s.Prune(t.Context(), received().Add(time.Duration(hours)*time.Hour))
	require.NoError(t, err)
	require.Empty(t, value[any](t, s, "SELECT group_concat(integrity_check) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"))
	require.Zero(t, value[int64](t, s, "SELECT count(*) FROM pragma_foreign_key_check"))
	return n
}

func TestPruneDeletesWhatIsOlder(t *testing.T) {
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
	require.Len(t, page.Events, 2, "cursors go on")

	require.EqualValues(t, 2, pruned(t, s, 3))
	later := fresh(t, s, at(3, charges("acme", "kept-0", "ref-0")))
	q.After = page.Position
	page, err = s.List(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, page.Events, 2, "places are never used again")
	require.Equal(t, later[0], page.Events[0].ID)
}

func TestPruneIsToTheMillisecond(t *testing.T) {
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

func TestAKeyGoesWithItsEvents(t *testing.T) {
	s := newSetup(t).open(t)
	old := at(0, keyed("old", charges("acme", "a", "", "")))
	fresh(t, s, old)
	young := at(2, keyed("young", charges("acme", "", "")))
	fresh(t, s, young)

	require.EqualValues(t, 3, pruned(t, s, 1))
	replayed(t, s, young)
	fresh(t, s, at(3, keyed("old", charges("acme", "", "")))) // other content, so that it must be free
	require.EqualValues(t, 4, pruned(t, s, 4))
	fresh(t, s, at(5, young))
	require.EqualValues(t, 1, value[int64](t, s, "SELECT count(*) FROM requests"))
}

func TestAnEventStaysWithAYoungerKey(t *testing.T) {
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

func TestAKeyBoundWithTheClockSetBackLivesAsLongAsItsEvents(t *testing.T) {
	s := newSetup(t).open(t)
	fresh(t, s, at(5, charges("acme", "a")))
	b := at(0, keyed("key", charges("acme", "b"))) // its id is of hour 5
	fresh(t, s, b)
	require.Zero(t, pruned(t, s, 4))
	replayed(t, s, b)
	require.EqualValues(t, 1, value[int64](t, s, "SELECT count(*) FROM requests"))
	require.EqualValues(t, 2, pruned(t, s, 6))
	require.Zero(t, value[int64](t, s, "SELECT count(*) FROM requests"))
}

func TestManyKeysArePrunedInSmallTransactions(t *testing.T) {
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
	// Three times a hundred keys, once to see that there are no more, and once
	// for events without a key.
	require.Equal(t, 5, setup.faults.count("COMMIT"))
	require.Zero(t, value[int64](t, s, "SELECT count(*) FROM request_events"))
}

func TestPruneEndsWithItsContextOrTheStore(t *testing.T) {
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
	require.EqualValues(t, setup.tuning.pruneAtOnce, n)
	require.NoError(t, <-closed)
	require.Len(t, listed(t, setup.open(t), "acme"), 500-setup.tuning.pruneAtOnce)
}

func TestAPruneThatFailsInBetween(t *testing.T) {
	for _, statement := range []string{"SELECT id FROM requests", "SELECT seq, id FROM request_events", "DELETE FROM requests", "DELETE FROM events", "SELECT seq, id FROM events"} {
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
