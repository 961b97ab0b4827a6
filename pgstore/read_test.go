package pgstore

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestACursorPassesOverNothingThatIsNotCommittedYet(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	a, b := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute}), newStore(t, newPool(t), Options{Schema: schema, StatementTimeout: time.Minute})
	appended(t, a, charges("acme", "1", "2"))

	seen := make(map[string]int)
	cursor := ""
	walk := func() {
		for more := true; more; {
			page, err := b.List(t.Context(), chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 2, After: cursor})
			require.NoError(t, err)
			for _, e := range page.Events {
				seen[e.ID]++
			}
			cursor, more = page.Position, page.Next != ""
		}
	}
	walk()
	// Another process's transaction has stored an event and is not committed.
	held, err := pool.Begin(t.Context())
	require.NoError(t, err)
	g, e, batch := &decidedGroup{}, charge("held"), new(pgx.Batch)
	g.events.add("acme", "chda_00000000000000000000000000", &e)
	g.insert(batch, a.sql)
	require.NoError(t, held.SendBatch(t.Context(), batch).Close())
	walk()

	later := make(chan error, 1)
	go func() { _, err := b.Append(context.Background(), charges("acme", "3", "4")); later <- err }()
	waiting(t, pool, schema, 1)
	walk()
	require.Len(t, seen, 2)
	require.NoError(t, held.Commit(t.Context()))
	require.NoError(t, <-later)
	appended(t, a, charges("acme", "5"))
	walk()
	require.Len(t, seen, 6)
	for id, times := range seen {
		require.Equal(t, 1, times, id)
	}
	require.Len(t, listed(t, a, "acme"), 6)
	// Another platform waits for nobody.
	end := locked(t, pool, schema, "acme")
	appended(t, b, charges("globex", "1"))
	end()
}

func TestACursorOfEventsThatAreNotThereAnyMoreIsBad(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	appended(t, s, charges("acme", "a", "b"))
	q := chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 10}
	page, err := s.List(t.Context(), q)
	require.NoError(t, err)
	q.After = page.Position
	// As after a failover to a standby that had only the first.
	for _, statement := range []string{
		"DELETE FROM " + schema + ".events WHERE seq = 2", "DELETE FROM " + schema + ".event_references WHERE seq = 2",
		"UPDATE " + schema + ".platforms SET last = 1",
	} {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	_, err = s.List(t.Context(), q)
	require.ErrorIs(t, err, chargeingest.ErrInvalidCursor)
	appended(t, s, charges("acme", "c")) // gets the place of the one that is lost
	_, err = s.List(t.Context(), q)
	require.ErrorIs(t, err, chargeingest.ErrInvalidCursor)
	appended(t, s, charges("acme", "d"))
	_, err = s.List(t.Context(), q)
	require.ErrorIs(t, err, chargeingest.ErrInvalidCursor)
}

// The listing of one platform does not find what another one has.
func TestAReferenceIsLookedForOnItsPlatform(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	appended(t, s, charges("acme", "x", "a"))
	appended(t, s, charges("globex", "a", "b"))
	for platform, want := range map[string]int{"acme": 1, "globex": 1, "initech": 0} {
		page, err := s.List(t.Context(), chargeingest.Query{Platform: platform, Reference: "a", Limit: 10})
		require.NoError(t, err)
		require.Len(t, page.Events, want, platform)
	}
}

func TestAListingThatTakesTooLongIsAScanLimit(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, ScanTimeout: 30 * time.Millisecond})
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(context.Background())) }()
	_, err = tx.Exec(t.Context(), "LOCK TABLE "+schema+".events")
	require.NoError(t, err)
	_, err = s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
	require.ErrorIs(t, err, chargeingest.ErrScanLimit)
}
