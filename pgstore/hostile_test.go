package pgstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/pgserver"
	"example.com/chargeingest/internal/queue"
)

// newOwnServer starts a server for one test, with settings of its own.
func newOwnServer(t *testing.T, settings ...string) *pgserver.Server {
	t.Helper()
	needServer(t)
	if err := pgserver.Available(); err != nil {
		t.Skipf("skipped: %v", err)
	}
	srv, err := pgserver.New(t.Context(), settings...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Remove()) })
	require.NoError(t, srv.Start(t.Context()))
	return srv
}

// A standby that is away makes commits wait. Who cancels that wait makes the server
// report a success, with a warning.
func TestACommitThatNoStandbyHasIsUnknown(t *testing.T) {
	srv := newOwnServer(t)
	pool := poolOf(t, srv.Address(), WatchStandby)
	s := newStore(t, pool, Options{Schema: "chargeingest"})
	appended(t, s, charges("acme", "a"))
	other := poolOf(t, srv.Address())
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"} {
		_, err := other.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	for i := 0; i < 2; {
		s.writer.expectKnown = i == 1
		done := make(chan error, 1)
		go func() { _, err := s.Append(context.Background(), charges("acme", rand.Text())); done <- err }()
		var err error
		require.Eventually(t, func() bool {
			_, _ = other.Exec(t.Context(), "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			select {
			case err = <-done:
				return true
			default:
				return false
			}
		}, 10*time.Second, time.Millisecond)
		if err == nil {
			continue // the server had not taken its new setting up yet
		}
		require.ErrorContains(t, err, "on this server alone")
		require.NotErrorIs(t, err, chargeingest.ErrNotStored)
		i++
	}
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
	require.ErrorIs(t, err, chargeingest.ErrBadCursor)
	appended(t, s, charges("acme", "c")) // gets the place of the one that is lost
	_, err = s.List(t.Context(), q)
	require.ErrorIs(t, err, chargeingest.ErrBadCursor)
	appended(t, s, charges("acme", "d"))
	_, err = s.List(t.Context(), q)
	require.ErrorIs(t, err, chargeingest.ErrBadCursor)
}

func TestWhatAnErrorMeansDependsOnWhereItComes(t *testing.T) {
	of := func(severity, unlocalized, code, routine string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{Severity: severity, SeverityUnlocalized: unlocalized, Code: code, Routine: routine})
	}
	for _, c := range []struct {
		name               string
		err                error
		undone, undoneAtIt bool // before the commit, and at it
		gone, goneAtIt     bool
	}{
		{"a refused row", of("ERROR", "ERROR", "23505", ""), true, true, false, false},
		{"a severity in another language", of("FEHLER", "ERROR", "23505", ""), true, true, false, false},
		{"a severity that is not there untranslated", of("ERROR", "", "23505", ""), true, true, false, false},
		{"a commit whose end is not known", of("ERROR", "ERROR", "40003", ""), false, false, false, false},
		{"a proxy that lost its server", of("ERROR", "ERROR", "08006", ""), false, false, false, false},
		{"a broken disk", of("ERROR", "ERROR", "58030", ""), true, false, false, false},
		{"a broken server", of("ERROR", "ERROR", "XX000", ""), true, false, false, false},
		{"a shutdown", of("FATAL", "FATAL", "57P01", "ProcessInterrupts"), false, false, true, false},
		{"a shutdown of a proxy", of("FATAL", "FATAL", "57P01", ""), false, false, false, false},
		{"a session that was idle in its transaction", of("FATAL", "FATAL", "25P03", ""), false, false, true, true},
		{"a transaction that took too long", of("FATAL", "FATAL", "25P04", "ProcessInterrupts"), false, false, true, false},
		{"a panic of the server", of("PANIC", "PANIC", "XX000", ""), false, false, false, false},
		{"no answer", errors.New("unexpected EOF"), false, false, false, false},
	} {
		require.Equal(t, c.undone, isUndone(c.err, false), c.name)
		require.Equal(t, c.undoneAtIt, isUndone(c.err, true), c.name)
		require.Equal(t, c.gone, isGone(c.err, false), c.name)
		require.Equal(t, c.goneAtIt, isGone(c.err, true), c.name)
	}
}

// What the server says in the commit, whatever it means by it.
func TestAnErrorOfTheCommitThatSaysNothingIsUnknown(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	appended(t, s, charges("acme", "a"))
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF length(NEW.reference) = 5 THEN RAISE EXCEPTION 'as told' USING ERRCODE = NEW.reference; END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON `+schema+`.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION `+schema+`.fail()`)
	require.NoError(t, err)
	for code, unknown := range map[string]bool{"40003": true, "08006": true, "58030": true, "XX000": true, "23514": false, "P0001": false} {
		_, err := s.Append(t.Context(), charges("acme", code))
		require.Error(t, err)
		require.Equal(t, unknown, !errors.Is(err, chargeingest.ErrNotStored), "%s: %v", code, err)
	}
}

func TestASessionThatIsNotDurableIsMadeSo(t *testing.T) {
	pool := newPool(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF current_setting('synchronous_commit') = 'off' THEN RAISE EXCEPTION 'not durable'; END IF; RETURN NULL; END $$;
CREATE TRIGGER look AFTER INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.look()`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "SET synchronous_commit = off")
	require.NoError(t, err)
	for _, known := range []bool{false, true} {
		s.writer.expectKnown = known
		appended(t, s, charges("acme", fmt.Sprint(known)))
	}
	var after string
	require.NoError(t, pool.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&after))
	require.Equal(t, "off", after, "the session is the host's")
}

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
// that come are smaller from the start.
func TestAServerThatIsSlowGetsSmallerGroups(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	var refused atomic.Int64
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Second})
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.03); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.slow()`)
	require.NoError(t, err)
	var all sync.WaitGroup
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
	all.Wait()
	require.Len(t, listed(t, s, "acme"), 100)
	require.Less(t, refused.Load(), int64(100))
	require.Less(t, s.writer.most, 100)
	_, err = pool.Exec(t.Context(), "DROP TRIGGER slow ON "+schema+".events")
	require.NoError(t, err)
	for i := range 30 {
		appended(t, s, charges("acme", numbered(fmt.Sprint("fast-", i), 200)...))
	}
	require.Greater(t, s.writer.most, 100)
}

// numbered are n references.
func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(prefix, "-", i)
	}
	return list
}

func TestIdleConnectionsThatTheServerEndedCostNothing(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, newPool(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["application_name"] = schema }), Options{Schema: schema})
	for i := range 5 {
		_, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", schema)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			var n int
			err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", schema).Scan(&n)
			return err == nil && n == 0
		}, 10*time.Second, time.Millisecond)
		appended(t, s, charges("acme", fmt.Sprint(i)))
	}
}

func TestASchemaMayBeAWordOfSQL(t *testing.T) {
	pool := newPool(t)
	t.Cleanup(func() {
		_, err := pool.Exec(context.Background(), `DROP SCHEMA IF EXISTS "order" CASCADE`)
		require.NoError(t, err)
	})
	s := newStore(t, pool, Options{Schema: "order"})
	appended(t, s, charges("acme", "a"))
	appended(t, s, charges("acme", "a"))
	require.Len(t, listed(t, s, "acme"), 1)
	var path string
	require.NoError(t, pool.QueryRow(t.Context(), "SHOW search_path").Scan(&path))
	require.NotContains(t, path, "order")
}

func TestTextsThatAreNotUTF8AreRefusedAtTheStart(t *testing.T) {
	pool := newPool(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["client_encoding"] = "LATIN1" })
	_, err := New(t.Context(), pool, Options{Schema: newSchema(t, newPool(t))})
	require.ErrorContains(t, err, "client_encoding is LATIN1, and must be UTF8")
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

func TestEveryWayOfExecutingQueriesWorks(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		s := newStore(t, newPool(t, func(c *pgxpool.Config) {
			c.ConnConfig.DefaultQueryExecMode = mode
			c.ConnConfig.RuntimeParams["bytea_output"] = "escape"
		}), Options{})
		keyed := charges("acme", "a", "b")
		keyed.IdempotencyKey = "key"
		for _, b := range []chargeingest.Batch{keyed, keyed, charges("acme", "a", "c")} {
			appended(t, s, b)
		}
		require.Len(t, listed(t, s, "acme"), 3, mode)
		require.NoError(t, s.Ready(t.Context()))
	}
}

// cutting is a connection that is cut at the next answer, once.
type cutting struct {
	net.Conn
	armed *atomic.Bool
}

func (c cutting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && c.armed.CompareAndSwap(true, false) {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// stalling is a connection whose client stops while it sends: once armed, the first
// bytes that are written arrive, and nothing after that.
type stalling struct {
	net.Conn
	armed   *atomic.Int64 // bytes that still arrive, on one connection; negative for all
	stalled chan net.Conn
	dead    atomic.Bool
}

func (s *stalling) Write(p []byte) (int, error) {
	left := s.armed.Load()
	switch {
	case s.dead.Load():
		return len(p), nil
	case left < 0:
		return s.Conn.Write(p)
	case int64(len(p)) <= left:
		s.armed.Add(-int64(len(p)))
		return s.Conn.Write(p)
	}
	s.dead.Store(true)
	s.armed.Store(-1)
	_, err := s.Conn.Write(p[:left])
	s.stalled <- s.Conn
	return len(p), err
}

func TestAClientThatStopsWhileItSendsHoldsUpNobody(t *testing.T) {
	var armed atomic.Int64
	armed.Store(-1)
	stalled := make(chan net.Conn, 1)
	pool := newPool(t, func(c *pgxpool.Config) {
		dial := c.ConnConfig.DialFunc
		c.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &stalling{Conn: conn, armed: &armed, stalled: stalled}, nil
		}
	})
	schema := newSchema(t, newPool(t))
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 500 * time.Millisecond})
	other := newStore(t, newPool(t), Options{Schema: schema})
	for i, known := range []bool{false, true} {
		appended(t, s, charges("acme", fmt.Sprint("before ", i)))
		s.writer.expectKnown = known
		armed.Store(64 << 10)
		done := make(chan error, 1)
		go func() {
			_, err := s.Append(context.Background(), charges("acme", numbered("lost", 1000)...))
			done <- err
		}()
		conn := <-stalled
		appended(t, other, charges("acme", fmt.Sprint("meanwhile ", i)))
		err := <-done
		_ = conn.Close() // so that the pool need not wait for the server to do so
		if known {
			// The lock was taken before: the server ended the session, and said so.
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
	}
	require.Len(t, listed(t, other, "acme"), 1004)
}

// Nothing tells an event without a reference from the same again: what may have
// been stored must not be sent a second time.
func TestAnAnswerThatIsLostIsNeverANewTry(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		var armed atomic.Bool
		pool := newPool(t, func(c *pgxpool.Config) {
			c.ConnConfig.DefaultQueryExecMode = mode
			dial := c.ConnConfig.DialFunc
			c.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return cutting{conn, &armed}, nil
			}
		})
		s := newStore(t, pool, Options{})
		appended(t, s, charges("acme", ""))
		// What was not to be committed yet can be sent again.
		s.writer.expectKnown = true
		armed.Store(true)
		appended(t, s, charges("acme", ""))
		require.Len(t, listed(t, s, "acme"), 2, mode)

		require.False(t, s.writer.expectKnown)
		armed.Store(true)
		_, err := s.Append(t.Context(), charges("acme", ""))
		stored := len(listed(t, s, "acme")) - 2
		require.LessOrEqual(t, stored, 1, mode)
		if errors.Is(err, chargeingest.ErrNotStored) {
			require.Zero(t, stored, mode)
		}
		if err == nil {
			require.Equal(t, 1, stored, mode)
		}
	}
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
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Second})
	for _, code := range []string{codeSerializationFailure, codeDeadlock} {
		for _, known := range []bool{false, true} {
			failing(t, pool, schema, code, 10)
			s.writer.expectKnown = known
			appended(t, s, charges("acme", fmt.Sprint(code, known)))
		}
		failing(t, pool, schema, code, 1_000_000)
		start := time.Now()
		_, err := s.Append(t.Context(), charges("acme", "never"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.GreaterOrEqual(t, time.Since(start), time.Second)
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

// A platform for which the server undoes whatever is tried.
func TestATransactionThatIsAlwaysUndoneHarmsNoOther(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Second})
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
	k := &known{
		conn: conn.Conn(), sql: s.sql,
		unread: map[named]bool{{"acme", "a"}: true}, unreadRequests: map[named]bool{{"acme", "key"}: true},
	}
	for range 2 {
		e, err := k.EventByReference(t.Context(), "acme", "a")
		require.NoError(t, err)
		require.Equal(t, keyed.Events[0].Content, e.Content)
		r, err := k.BoundRequest(t.Context(), "acme", "key")
		require.NoError(t, err)
		require.Len(t, r.Events, 2)
		require.Equal(t, 3*len(e.Content), k.fetched)
	}
}

func TestAGroupEndsWhereItHasHadItsShareOfMemoryOrTime(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	var requests []*queue.Request
	for i := range 3 {
		requests = append(requests, &queue.Request{Batch: charges("acme", fmt.Sprint(i))})
	}
	decided := func(k *known, until time.Time) int {
		g, err := decide(t.Context(), requests, k, s.writer.ids.Next, until)
		require.NoError(t, err)
		require.Equal(t, len(g.answers), g.rows.len())
		return len(g.answers)
	}
	later := time.Now().Add(time.Hour)
	require.Equal(t, 3, decided(&known{}, later))
	require.Equal(t, 1, decided(&known{}, time.Now().Add(-1)))
	require.Equal(t, 1, decided(&known{fetched: maxFound + 1}, later))
}

func TestAConnectionThatCannotBeMadeIsNoEventsFault(t *testing.T) {
	var connections atomic.Int64
	var failing atomic.Bool
	pool := newPool(t, func(c *pgxpool.Config) {
		c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			connections.Add(1)
			if failing.Load() {
				_, err := conn.Exec(ctx, "SET ROLE nobody_of_that_name") // 22023
				return err
			}
			return nil
		}
	})
	s := newStore(t, pool, Options{})
	appended(t, s, charges("acme", "a"))
	failing.Store(true)
	pool.Reset()
	before := connections.Load()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			_, err := s.Append(t.Context(), charges("acme", fmt.Sprint("x", i)))
			require.ErrorIs(t, err, chargeingest.ErrNotStored)
		})
	}
	all.Wait()
	require.Less(t, connections.Load()-before, int64(200), "a group was taken apart")
	failing.Store(false)
	appended(t, s, charges("acme", "b"))
	require.Len(t, listed(t, s, "acme"), 2)
}

// losing is a store on a pool that loses a connection when something of the host's
// panics: to close it would be to wait for that for ever.
func losing(t *testing.T, change func(*pgxpool.Config)) *Store {
	t.Helper()
	cfg := newPool(t).Config()
	change(cfg)
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	require.NoError(t, err)
	return newStore(t, pool, Options{Schema: newSchema(t, newPool(t))})
}

func TestAPanicWhereAConnectionIsPreparedIsNotStored(t *testing.T) {
	var panicking atomic.Bool
	s := losing(t, func(c *pgxpool.Config) {
		c.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) {
			if panicking.Load() {
				panic("not prepared")
			}
			return true, nil
		}
	})
	panicking.Store(true)
	_, err := s.Append(t.Context(), charges("acme", "a"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	require.ErrorContains(t, err, "not prepared")
	panicking.Store(false)
	appended(t, s, charges("acme", "a"))
}

// releasing is a tracer of the host's that fails when a connection is given back.
type releasing struct {
	panicky
	broken atomic.Bool
}

func (r *releasing) TraceRelease(*pgxpool.Pool, pgxpool.TraceReleaseData) {
	if r.broken.CompareAndSwap(true, false) {
		panic("not released")
	}
}

func TestAPanicWhereAConnectionIsGivenBackIsUnknown(t *testing.T) {
	tracer := new(releasing)
	s := losing(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = tracer })
	appended(t, s, charges("acme", ""))
	tracer.broken.Store(true)
	_, err := s.Append(t.Context(), charges("acme", ""))
	require.ErrorContains(t, err, "not released")
	require.NotErrorIs(t, err, chargeingest.ErrNotStored)
	require.Len(t, listed(t, s, "acme"), 2)
}

func TestAReadOnlyServerIsNotConnectedToNorToldOfAllTheTime(t *testing.T) {
	var connections atomic.Int64
	var writable atomic.Bool
	pool := newPool(t, func(c *pgxpool.Config) {
		c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			connections.Add(1)
			if writable.Load() {
				return nil
			}
			_, err := conn.Exec(ctx, "SET default_transaction_read_only = on")
			return err
		}
	})
	schema := newSchema(t, newPool(t))
	newStore(t, newPool(t), Options{Schema: schema}) // makes the tables
	var log bytes.Buffer
	s := newStore(t, pool, Options{Schema: schema, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	start, before := time.Now(), connections.Load()
	for range 30 {
		_, err := s.Append(t.Context(), charges("acme", "a"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
	}
	require.LessOrEqual(t, connections.Load()-before, 2+int64(time.Since(start)/resetPause))
	told := strings.Count(log.String(), "was not stored")
	require.Positive(t, told)
	require.LessOrEqual(t, told, 1+int(time.Since(start)/time.Second))
	require.NotContains(t, log.String(), "stored again")
	writable.Store(true)
	require.Eventually(t, func() bool { _, err := s.Append(t.Context(), charges("acme", "a")); return err == nil }, 10*time.Second, time.Millisecond)
	appended(t, s, charges("acme", "b"))
	require.NoError(t, s.Close()) // nobody writes to the log any more
	require.Equal(t, 1, strings.Count(log.String(), "stored again"))
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
		s.sql.findRequests: "('{a}', '{b}', 1)", s.sql.findRequest: "('a', 'b')", s.sql.get: "('a', 'b')",
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
	var generic, custom int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT sum(generic_plans), sum(custom_plans) FROM pg_prepared_statements
WHERE statement LIKE '%.events %' AND statement NOT LIKE 'WITH locked%' AND statement NOT LIKE '%pg_prepared%'`).Scan(&generic, &custom))
	require.Zero(t, generic)
	require.GreaterOrEqual(t, custom, 40)
}

func TestTimeOutsAreSetForTheTransactionAlone(t *testing.T) {
	pool := newPool(t, func(c *pgxpool.Config) {
		c.MaxConns = 1
		c.ConnConfig.RuntimeParams["statement_timeout"] = "77s"
	})
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 3 * time.Second})
	_, err := pool.Exec(t.Context(), `CREATE TABLE `+schema+`.seen (settings text);
CREATE FUNCTION `+schema+`.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO `+schema+`.seen VALUES (
current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') || ' ' || current_setting('idle_in_transaction_session_timeout')); RETURN NEW; END $$;
CREATE TRIGGER look BEFORE INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.look()`)
	require.NoError(t, err)
	for _, known := range []bool{false, true} {
		s.writer.expectKnown = known
		appended(t, s, charges("acme", fmt.Sprint(known)))
	}
	rows, err := pool.Query(t.Context(), "SELECT settings FROM "+schema+".seen")
	require.NoError(t, err)
	seen, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"3s 600ms 3s", "3s 600ms 3s"}, seen)
	var after string
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout')").Scan(&after))
	require.Equal(t, "77s 0", after)
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

// breaking is a tracer of the host's that lets a statement fail before a batch that
// has a commit and nothing else.
type breaking struct{}

func (breaking) TraceBatchStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	if q := d.Batch.QueuedQueries; len(q) == 1 && q[0].SQL == "COMMIT" {
		_, _ = conn.Exec(ctx, "SELECT 1/0")
		q[0].SQL = "COMMIT /* traced */" // as they do that hand on a context
	}
	return ctx
}

func (breaking) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (breaking) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}
func (breaking) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (breaking) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestACommitThatWasARollbackIsNotStored(t *testing.T) {
	s := newStore(t, newPool(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = breaking{} }), Options{})
	appended(t, s, charges("acme", "a"))
	_, err := s.Append(t.Context(), charges("acme", "a"))
	require.ErrorIs(t, err, errRolledBack)
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	appended(t, s, charges("acme", "b"))
}

// panicky is a tracer of the host's.
type panicky struct{ armed atomic.Bool }

func (p *panicky) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (p *panicky) TraceBatchQuery(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	if d.SQL == "COMMIT" && d.Err == nil && p.armed.CompareAndSwap(true, false) {
		panic("no more traces")
	}
}

func (p *panicky) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func (p *panicky) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (p *panicky) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestAPanicOfTheHostsInTheCommitIsUnknown(t *testing.T) {
	tracer := new(panicky)
	s := newStore(t, newPool(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = tracer }), Options{})
	appended(t, s, charges("acme", ""))
	for _, known := range []bool{false, true} {
		s.writer.expectKnown = known
		tracer.armed.Store(true)
		_, err := s.Append(t.Context(), charges("acme", ""))
		require.ErrorContains(t, err, "no more traces")
		require.NotErrorIs(t, err, chargeingest.ErrNotStored)
	}
	require.Len(t, listed(t, s, "acme"), 3)
}

func TestALockedTableIsA503InTimeForAll(t *testing.T) {
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
