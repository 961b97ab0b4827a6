package pgstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/groupcommit"
	"example.com/chargeingest/storekit"
)

func TestAPlatformThatIsLockedDoesNotHoldUpTheOthers(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 500 * time.Millisecond})
	end := locked(t, pool, schema, "acme")
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

// A group that takes longer than a statement may is stored in parts, and those
// that come are smaller from the start. A hundred events take a quarter more than
// the time, so that half of them have time to spare, also on a machine that is busy.
func TestAServerThatIsSlowGetsSmallerGroups(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	var refused atomic.Int64
	// The observer keeps the writer until all of the group are queued.
	begun, queued := make(chan struct{}), make(chan struct{})
	begin, release := sync.OnceFunc(func() { close(begun) }), sync.OnceFunc(func() { close(queued) })
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 2 * time.Second, Observer: func(chargeingest.CommitStats) {
		begin()
		<-queued
	}})
	defer release()
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.025); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.slow()`)
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		_, err := s.Append(t.Context(), charges("acme", "first"))
		require.NoError(t, err)
	})
	<-begun
	for i := range 100 {
		all.Go(func() {
			for range 20 {
				_, err := s.Append(t.Context(), charges("acme", fmt.Sprint(i)))
				if err == nil {
					return
				}
				require.ErrorIs(t, err, chargeingest.ErrNotStored)
				refused.Add(1)
			}
			require.Fail(t, "it is never stored")
		})
	}
	require.Eventually(t, func() bool { return s.Stats().QueuedRequests == 100 }, 10*time.Second, time.Millisecond)
	release()
	all.Wait()
	require.Len(t, listed(t, s, "acme"), 101)
	require.Less(t, refused.Load(), int64(100))
	require.Less(t, s.writer.maxEvents, 100)
	_, err = pool.Exec(t.Context(), "DROP TRIGGER slow ON "+schema+".events")
	require.NoError(t, err)
	for i := range 30 {
		appended(t, s, charges("acme", numbered(fmt.Sprint("fast-", i), 200)...))
	}
	require.Greater(t, s.writer.maxEvents, 100)
}

// failing makes the first inserts into events fail with a code.
func failing(t *testing.T, pool *pgxpool.Pool, schema, code string, times int) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `CREATE SEQUENCE IF NOT EXISTS `+schema+`.tries; ALTER SEQUENCE `+schema+`.tries RESTART;
CREATE OR REPLACE FUNCTION `+schema+`.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF nextval('`+schema+`.tries') <= `+fmt.Sprint(times)+` THEN RAISE EXCEPTION 'as told' USING ERRCODE = '`+code+`'; END IF; RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.fail()`)
	require.NoError(t, err)
}

func TestATransactionThatIsUndoneForAnotherIsTriedAgainWhileThereIsTime(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	const timeout = 3 * time.Second // for eleven tries, with up to 0.4 s of pauses
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: timeout})
	for _, code := range []string{codeSerializationFailure, codeDeadlock} {
		for _, known := range []bool{false, true} {
			failing(t, pool, schema, code, 10)
			s.writer.lookupFirst = known
			appended(t, s, charges("acme", fmt.Sprint(code, known)))
		}
		failing(t, pool, schema, code, 1_000_000)
		start := time.Now()
		_, err := s.Append(t.Context(), charges("acme", "never"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.GreaterOrEqual(t, time.Since(start), timeout)
	}
	require.Len(t, listed(t, s, "acme"), 4)
}

// An operator has deleted events, and not their references; or what is stored is
// broken.
func TestAReferenceThatIsBrokenHarmsNoOther(t *testing.T) {
	for name, statement := range map[string]string{
		"an event is not there":  "DELETE FROM $schema.events WHERE reference = 'broken'",
		"its content is no JSON": "UPDATE $schema.events SET content = '{' WHERE reference = 'broken'",
	} {
		pool := newPool(t)
		schema := newSchema(t, pool)
		s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute})
		appended(t, s, charges("acme", "broken"))
		_, err := pool.Exec(t.Context(), strings.ReplaceAll(statement, "$schema", schema))
		require.NoError(t, err)

		end := locked(t, pool, schema, "acme")
		var all sync.WaitGroup
		all.Go(func() {
			_, err := s.Append(t.Context(), charges("acme", "first"))
			require.NoError(t, err)
		})
		waiting(t, pool, schema, 1)
		var failures [20]error
		for i := range failures {
			all.Go(func() {
				b := charges("acme", fmt.Sprint(i))
				if i == 10 {
					b = changed("acme", "broken")
				}
				_, failures[i] = s.Append(t.Context(), b)
			})
		}
		require.Eventually(t, func() bool { return s.Stats().QueuedRequests == len(failures) }, 10*time.Second, time.Millisecond)
		end()
		all.Wait()
		for i, err := range failures {
			if i == 10 {
				require.ErrorIs(t, err, chargeingest.ErrNotStored, name)
			} else {
				require.NoError(t, err, name)
			}
		}
	}
}

// A platform for which the server undoes whatever is tried. A group with it takes a
// statement's timeout, its own part another one, and the rest has the third.
func TestATransactionThatIsAlwaysUndoneHarmsNoOther(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 2 * time.Second})
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF NEW.platform = 'evil' THEN RAISE EXCEPTION 'as told' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$;
CREATE TRIGGER fail BEFORE INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.fail()`)
	require.NoError(t, err)
	var all sync.WaitGroup
	for i := range 5 {
		for _, platform := range []string{"evil", "acme", "globex"} {
			all.Go(func() {
				_, err := s.Append(t.Context(), charges(platform, fmt.Sprint(i)))
				if platform == "evil" {
					require.ErrorIs(t, err, chargeingest.ErrNotStored)
				} else {
					require.NoError(t, err)
				}
			})
		}
	}
	all.Wait()
}

// Each of them is a small request, and compares a large event that is stored.
func TestConflictsThatTakeLongToFindFailNobody(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 300 * time.Millisecond})
	large := charges("evil", "large")
	large.Events[0].Content = strings.TrimSuffix(large.Events[0].Content, "}") + `,"description":"` + strings.Repeat("x", 1<<20) + `"}`
	appended(t, s, large)
	end := locked(t, pool, schema, "hold")
	var all sync.WaitGroup
	all.Go(func() { _, _ = s.Append(t.Context(), charges("hold", "a")) })
	waiting(t, pool, schema, 1)
	const many = 250
	for i := range many {
		all.Go(func() {
			_, err := s.Append(t.Context(), changed("evil", "large"))
			var conflict *chargeingest.ConflictError
			require.ErrorAs(t, err, &conflict)
		})
		if i%20 == 0 {
			all.Go(func() {
				_, err := s.Append(t.Context(), charges("acme", fmt.Sprint(i)))
				require.NoError(t, err)
			})
		}
	}
	end()
	all.Wait()
}

func TestWhatIsFetchedIsFetchedOnce(t *testing.T) {
	pool := newPool(t)
	s := newStore(t, pool, Options{})
	keyed := charges("acme", "a", "b")
	keyed.IdempotencyKey = "key"
	appended(t, s, keyed)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	l := &lookup{
		conn: conn.Conn(), sql: s.sql,
		unfetchedEvents: map[scopedName]bool{{"acme", "a"}: true}, unfetchedRecords: map[scopedName]bool{{"acme", "key"}: true},
	}
	for range 2 {
		e, err := l.EventByReference(t.Context(), "acme", "a")
		require.NoError(t, err)
		require.Equal(t, keyed.Events[0].Content, e.Content)
		r, err := l.IdempotencyRecord(t.Context(), "acme", "key")
		require.NoError(t, err)
		require.Len(t, r.Events, 2)
		require.Equal(t, 3*len(e.Content), l.fetchedBytes)
	}
}

func TestAGroupEndsWhereItHasHadItsShareOfMemoryOrTime(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	var requests []*groupcommit.Request
	for i := range 3 {
		requests = append(requests, &groupcommit.Request{Attempt: storekit.Attempt{Batch: charges("acme", fmt.Sprint(i))}})
	}
	decided := func(l *lookup, deadline time.Time) int {
		g, err := decide(t.Context(), requests, l, s.writer.ids.Next, deadline)
		require.NoError(t, err)
		require.Equal(t, len(g.results), g.events.len())
		return len(g.results)
	}
	later := time.Now().Add(time.Hour)
	require.Equal(t, 3, decided(&lookup{}, later))
	require.Equal(t, 1, decided(&lookup{}, time.Now().Add(-1)))
	require.Equal(t, 1, decided(&lookup{fetchedBytes: maxPrefetchBytes + 1}, later))
}

// All that a replay looks for it finds by an index and all of its columns, whatever
// the server knows of the tables.
func TestWhatIsLookedUpIsFoundByItsIndex(t *testing.T) {
	pool := newPool(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
	s := newStore(t, pool, Options{})
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	plan := func(statement, arguments string) string {
		results, err := conn.Conn().PgConn().Exec(t.Context(), "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; PREPARE looked AS "+statement+
			"; EXPLAIN EXECUTE looked"+arguments+"; DEALLOCATE looked; COMMIT").ReadAll()
		require.NoError(t, err)
		var lines []string
		for _, result := range results {
			for _, row := range result.Rows {
				lines = append(lines, string(row[0]))
			}
		}
		return strings.Join(lines, "\n")
	}
	for statement, arguments := range map[string]string{
		s.sql.findReferences: "('{a}', '{b}', 1)", s.sql.findReference: "('a', 'b')",
		s.sql.findRecords: "('{a}', '{b}', 1)", s.sql.findRecord: "('a', 'b')", s.sql.get: "('a', 'b')",
	} {
		found := plan(statement, arguments)
		require.Contains(t, found, "Index Cond")
		require.NotContains(t, found, "Seq Scan")
		require.NotRegexp(t, `Index Cond: \(platform = [^)]*\)
`, found)
	}
	conn.Release()

	// And they are planned anew each time, for what there is by now.
	keyed := charges("acme", "a")
	keyed.IdempotencyKey = "key"
	ids, _ := appended(t, s, keyed)
	many := charges("acme", numbered("many", 50)...)
	appended(t, s, many)
	for range 10 {
		appended(t, s, many)
		appended(t, s, keyed)
		appended(t, s, charges("acme", "a"))
		_, err := s.Get(t.Context(), "acme", ids[0])
		require.NoError(t, err)
		listed(t, s, "acme")
	}
	custom := 0
	count := func(conn interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}) {
		var generic, more int
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT sum(generic_plans), sum(custom_plans) FROM pg_prepared_statements
WHERE statement LIKE '%.events %' AND statement NOT LIKE 'WITH locked%' AND statement NOT LIKE '%pg_prepared%'`).Scan(&generic, &more))
		require.Zero(t, generic)
		custom += more
	}
	count(pool)
	count(s.writer.session.conn)
	require.GreaterOrEqual(t, custom, 40)
}

// Else two processes, each with one that the other waits for, would wait for ever.
func TestPlatformsAreLockedInTheOrderOfTheirNames(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute})
	for i, known := range []bool{false, true} {
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
		hold, b := locked(t, pool, schema, "hold"), locked(t, pool, schema, "b")
		send("hold", map[bool]string{false: "new", true: fmt.Sprint("before ", i)}[known]) // behind a replay the next are looked up
		waiting(t, pool, schema, 1)
		for n, platform := range []string{"c", "b", "a"} {
			send(platform, fmt.Sprint("it ", i))
			require.Eventually(t, func() bool { return s.Stats().QueuedRequests == n+1 }, 10*time.Second, time.Millisecond)
		}
		hold()
		require.Eventually(t, func() bool { return s.Stats().QueuedRequests == 0 }, 10*time.Second, time.Millisecond)
		waiting(t, pool, schema, 1)
		isLocked := func(platform string) bool {
			_, err := pool.Exec(t.Context(), "SELECT FROM "+schema+".platforms WHERE name = $1 FOR UPDATE NOWAIT", platform)
			return codeOf(err) == codeLockNotAvailable
		}
		require.True(t, isLocked("a"), "known %v", known)
		require.False(t, isLocked("c"), "known %v", known)
		b()
		all.Wait()
	}
}

func TestALockedTableIsA503InTimeForAll(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 500 * time.Millisecond})
	appended(t, s, charges("acme", "a"))
	for _, fresh := range []bool{false, true} {
		if fresh {
			pool.Reset() // new connections prepare their statements first
		}
		tx, err := newPool(t).Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "LOCK TABLE "+schema+".events")
		require.NoError(t, err)
		start := time.Now()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				_, err := s.Append(t.Context(), charges(fmt.Sprint("p", i), "r"))
				require.ErrorIs(t, err, chargeingest.ErrNotStored)
			})
		}
		all.Wait()
		require.Less(t, time.Since(start), 20*time.Second) // one after the other it would be 50
		require.NoError(t, tx.Rollback(t.Context()))
	}
}
