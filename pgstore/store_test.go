package pgstore

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

// appended stores a batch and returns the ids, and whether they were replayed.
func appended(t *testing.T, s *Store, b chargeingest.Batch) (ids []string, replayed []bool) {
	t.Helper()
	receipt, err := s.Append(t.Context(), b)
	require.NoError(t, err)
	for _, o := range receipt.Outcomes {
		ids, replayed = append(ids, o.ID), append(replayed, o.Replayed)
	}
	return ids, replayed
}

// listed are the ids of a platform's events, first stored first.
func listed(t *testing.T, s *Store, platform string) (ids []string) {
	t.Helper()
	page, err := s.List(t.Context(), chargeingest.Query{Platform: platform, Order: chargeingest.Ascending, Limit: 10_000})
	require.NoError(t, err)
	for _, e := range page.Events {
		ids = append(ids, e.ID)
	}
	return ids
}

// locked is another process's transaction that has the lock of a platform, as
// one has that stores for it and is not committed yet. End ends it.
func locked(t *testing.T, pool *pgxpool.Pool, schema, platform string) (end func()) {
	t.Helper()
	tx, err := pool.Begin(context.Background())
	require.NoError(t, err)
	_, err = tx.Exec(context.Background(), "INSERT INTO "+schema+".platforms AS p (name, last, last_id) VALUES ($1, 0, '') ON CONFLICT (name) DO UPDATE SET last = p.last", platform)
	require.NoError(t, err)
	end = sync.OnceFunc(func() { _ = tx.Rollback(context.Background()) })
	t.Cleanup(end)
	return end
}

// waiting returns once as many backends wait for a lock.
func waiting(t *testing.T, pool *pgxpool.Pool, schema string, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		var found int
		err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1", "%"+schema+"%").Scan(&found)
		return err == nil && found >= n
	}, 10*time.Second, time.Millisecond)
}

func TestWhatWaitsIsStoredInOneTransaction(t *testing.T) {
	pool := newPool(t)
	told := make(chan chargeingest.CommitStats, 100)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute, Observer: func(c chargeingest.CommitStats) { told <- c }})
	end := locked(t, pool, schema, "acme")
	var sending sync.WaitGroup
	send := func(b chargeingest.Batch) {
		sending.Go(func() {
			_, err := s.Append(t.Context(), b)
			require.NoError(t, err)
		})
	}
	send(charges("acme", "first"))
	waiting(t, pool, schema, 1)
	for i := range 20 {
		send(charges(fmt.Sprintf("platform-%d", i%3), fmt.Sprint(i)))
	}
	require.Eventually(t, func() bool { return s.Stats().QueuedRequests == 20 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 20, s.Stats().QueuedEvents)
	end()
	sending.Wait()
	require.Equal(t, 1, (<-told).Events)
	group := <-told
	require.Equal(t, 20, group.Events)
	require.Equal(t, 20, group.Requests)
	require.Positive(t, group.Duration)
	require.EqualValues(t, 2, s.Stats().Commits)
}

// A conflict within a group is decided by what is stored, though nothing of the
// group was looked up.
func TestARequestOfAGroupIsDecidedByItself(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute})
	first, _ := appended(t, s, charges("acme", "a"))

	end := locked(t, pool, schema, "acme")
	results := make(map[string]chan error)
	send := func(name string, b chargeingest.Batch) {
		done := make(chan error, 1)
		results[name] = done
		go func() {
			_, err := s.Append(context.Background(), b)
			done <- err
		}()
		if n := len(results) - 1; n > 0 { // each behind the one before
			require.Eventually(t, func() bool { return s.Stats().QueuedRequests == n }, 10*time.Second, time.Millisecond)
		}
	}
	send("holds the writer", charges("acme", "b"))
	waiting(t, pool, schema, 1)
	keyed := charges("acme", "k1", "k2")
	keyed.IdempotencyKey = "key"
	send("new", charges("acme", "c"))
	send("the same again", charges("acme", "c"))
	send("other content", changed("acme", "c"))
	send("other content of what is stored", changed("acme", "a"))
	send("a replay", charges("acme", "a"))
	send("half new", charges("acme", "a", "d"))
	send("half a conflict", chargeingest.Batch{Platform: "acme", Events: append(charges("acme", "e").Events, changed("acme", "a").Events...)})
	send("keyed", keyed)
	send("keyed again", keyed)
	end()
	for name, done := range results {
		err := <-done
		var conflict *chargeingest.ConflictError
		switch name {
		case "other content", "other content of what is stored", "half a conflict":
			require.ErrorAs(t, err, &conflict, name)
		default:
			require.NoError(t, err, name)
		}
		if name == "other content of what is stored" {
			require.Equal(t, first[0], conflict.EventID)
			require.Equal(t, []string{"product_item_id"}, conflict.Fields)
		}
	}
	// a, b, c, d and the two with the key; nothing of the half that conflicts.
	require.Len(t, listed(t, s, "acme"), 6)
}

// After a crash of the server an event can be there that no standby has. Only a
// commit waits for that, and only one that has written something.
func TestAReplayIsAnsweredBehindACommit(t *testing.T) {
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

func TestAnEventThatTheDatabaseRefusesHarmsNoOther(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	var log bytes.Buffer
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	end := locked(t, pool, schema, "acme")
	results := make(chan error, 3)
	send := func(b chargeingest.Batch) {
		go func() { _, err := s.Append(context.Background(), b); results <- err }()
	}
	send(charges("acme", "a"))
	waiting(t, pool, schema, 1)
	bad := charges("acme", "bad")
	bad.Events[0].CustomerID = "\x00" // no handler lets it through
	send(bad)
	send(charges("acme", "good"))
	require.Eventually(t, func() bool { return s.Stats().QueuedRequests == 2 }, 10*time.Second, time.Millisecond)
	end()
	failed := 0
	for range 3 {
		if err := <-results; err != nil {
			require.ErrorIs(t, err, chargeingest.ErrNotStored)
			failed++
		}
	}
	require.Equal(t, 1, failed)
	require.Len(t, listed(t, s, "acme"), 2)
	require.Contains(t, log.String(), "22021")
}

func TestALockThatIsHeldForLongIsA503(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Second})
	appended(t, s, charges("acme", "a"))
	for _, known := range []bool{false, true} {
		end := locked(t, pool, schema, "acme")
		s.writer.lookupFirst = known
		_, err := s.Append(t.Context(), charges("acme", "b"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.Regexp(t, "55P03|57014", err.Error())
		end()
	}
	appended(t, s, charges("acme", "b"))
	require.Len(t, listed(t, s, "acme"), 2)
}

func TestAPoolWithoutAFreeConnectionTakesEvents(t *testing.T) {
	parallel(t)
	pool := newPool(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
	s := newStore(t, pool, Options{AcquireTimeout: time.Second}) // also for the writer to connect
	taken, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer taken.Release() // or the pool would wait for it
	appended(t, s, charges("acme", "a"))
	_, err = s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
	require.ErrorContains(t, err, "no connection")
	ended, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = s.List(ended, chargeingest.Query{Platform: "acme", Limit: 1})
	require.ErrorIs(t, err, context.DeadlineExceeded, "the caller has given up")
	require.Error(t, s.Ready(t.Context()))
	taken.Release()
	require.Len(t, listed(t, s, "acme"), 1)
	require.NoError(t, s.Ready(t.Context()))
}

// The handler answers what is not known with a 500 or a safe 503.
func TestAConnectionThatIsLostInTheCommitIsUnknown(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	appended(t, s, charges("acme", "a"))
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF NEW.reference = 'die' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER die AFTER INSERT ON `+schema+`.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION `+schema+`.die()`)
	require.NoError(t, err)
	for _, known := range []bool{false, true} {
		s.writer.lookupFirst = known
		_, err = s.Append(t.Context(), charges("acme", "die"))
		require.Error(t, err)
		require.NotErrorIs(t, err, chargeingest.ErrNotStored)
		var conflict *chargeingest.ConflictError
		require.NotErrorAs(t, err, &conflict)
		appended(t, s, charges("acme", fmt.Sprint("after ", known)))
	}
	require.Len(t, listed(t, s, "acme"), 3)
}

func TestAConnectionThatIsLostBeforeTheCommitIsNotStored(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 500 * time.Millisecond})
	appended(t, s, charges("acme", "a"))
	end := locked(t, pool, schema, "acme")
	s.writer.lookupFirst = true // the lock is taken before anything is to be committed
	done := make(chan error, 1)
	go func() { _, err := s.Append(context.Background(), charges("acme", "b")); done <- err }()
	waiting(t, pool, schema, 1)
	_, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1", "%"+schema+"%")
	require.NoError(t, err)
	require.ErrorIs(t, <-done, chargeingest.ErrNotStored)
	end()
	appended(t, s, charges("acme", "b"))
}

func TestAReadOnlyServerIsA503AndLeftBehind(t *testing.T) {
	parallel(t)
	schema := newSchema(t, newPool(t))
	newStore(t, newPool(t), Options{Schema: schema}) // makes the tables
	for i, ask := range []func(*Store) error{
		func(s *Store) error { _, err := s.Append(t.Context(), charges("acme", "a")); return err },
		func(s *Store) error {
			s.writer.lookupFirst = true
			_, err := s.Append(t.Context(), charges("acme", "a"))
			return err
		},
		func(s *Store) error { return s.Ready(t.Context()) },
	} {
		readOnly := true
		pool := newPool(t, func(c *pgxpool.Config) {
			c.MaxConns = 20
			c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
				if !readOnly {
					return nil
				}
				_, err := conn.Exec(ctx, "SET default_transaction_read_only = on")
				return err
			}
		})
		s := newStore(t, pool, Options{Schema: schema})
		var idle []*pgxpool.Conn
		for range 20 {
			conn, err := pool.Acquire(t.Context())
			require.NoError(t, err)
			idle = append(idle, conn)
		}
		for _, conn := range idle {
			conn.Release()
		}
		if i == 2 {
			require.ErrorIs(t, ask(s), errReadOnly)
			readOnly = false
			require.NoError(t, ask(s))
			continue
		}
		// Those that the pool connects to now take writes; that it has others costs
		// nobody a refusal.
		readOnly = false
		require.NoError(t, ask(s))

		readOnly = true
		pool.Reset()
		require.NoError(t, s.writer.session.conn.Close(t.Context()))
		err := ask(s)
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.Contains(t, err.Error(), "25006")
		require.Error(t, s.Ready(t.Context()))
		readOnly = false
		require.Eventually(t, func() bool { return ask(s) == nil }, 10*time.Second, time.Millisecond)
	}
}

func TestOtherIsolationLevelsDoNoHarm(t *testing.T) {
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

func TestContentBeyondTheBudgetIsFetchedWhenItIsNeeded(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	s := newStore(t, pool, Options{})
	large := func(reference string) chargeingest.NewEvent {
		e := charge(reference)
		e.Content = strings.TrimSuffix(e.Content, "}") + `,"description":"` + strings.Repeat("x", 7<<20) + `"}`
		return e
	}
	var references []string
	for i := range 4 {
		references = append(references, fmt.Sprint(i))
		b := chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteSingle, Events: []chargeingest.NewEvent{large(fmt.Sprint(i))}}
		appended(t, s, b)
	}
	keyedAgain := func(i int) chargeingest.Batch {
		b := chargeingest.Batch{Platform: "keyed", Route: chargeingest.RouteSingle, IdempotencyKey: fmt.Sprint(i), Events: []chargeingest.NewEvent{large("")}}
		b.Events[0].Reference = ""
		return b
	}
	for i := range 4 {
		appended(t, s, keyedAgain(i))
	}
	s.writer.lookupFirst = true
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			receipt, err := s.Append(t.Context(), keyedAgain(i))
			require.NoError(t, err)
			require.True(t, receipt.Outcomes[0].Replayed)
			require.Len(t, receipt.Outcomes[0].Content, len(large("").Content))
			other := charges("keyed")
			other.Route, other.IdempotencyKey, other.Events = chargeingest.RouteSingle, fmt.Sprint(i), charges("keyed", "").Events
			other.Digest[0] = 1
			other.Events[0].Digest[0] = 1
			_, err = s.Append(t.Context(), other)
			var conflict *chargeingest.ConflictError
			require.ErrorAs(t, err, &conflict)
			require.True(t, conflict.IdempotencyKey)
		})
	}
	all.Wait()
	for _, reference := range references {
		b := chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteSingle, Events: []chargeingest.NewEvent{large(reference)}}
		_, replayed := appended(t, s, b)
		require.Equal(t, []bool{true}, replayed)
	}
	again := charges("acme", references...)
	for i := range again.Events {
		again.Events[i] = large(references[i])
	}
	_, replayed := appended(t, s, again)
	require.Equal(t, []bool{true, true, true, true}, replayed)
	again = charges("acme", references...)
	again.Duplicates = chargeingest.ReturnOriginal
	for i := range again.Events {
		again.Events[i].Digest[0] = 1
	}
	_, err := s.Append(t.Context(), again)
	require.ErrorIs(t, err, chargeingest.ErrResponseTooLarge)

	page, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 10, MaxBytes: 15 << 20})
	require.NoError(t, err)
	require.Len(t, page.Events, 2)
	require.NotEmpty(t, page.Next)
}

func TestAPlatformsNameMayBeAnything(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	names := []string{"a", "A", "a\x00", "a\\00", "a\\", "\xff", "\xfe", "\\ff", "ä", "ä ", "a'--", strings.Repeat("x", 2000)}
	for _, name := range names {
		appended(t, s, charges(name, "r"))
	}
	for _, name := range names {
		require.Len(t, listed(t, s, name), 1, "%q", name)
	}
}

func TestAClosedStoreLeavesThePool(t *testing.T) {
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
