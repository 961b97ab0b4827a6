package pgstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestLockTimeout(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Second})
	appended(t, s, charges("acme", "a"))
	for _, lookupFirst := range []bool{false, true} {
		end := lockPlatform(t, pool, schema, "acme")
		s.writer.lookupFirst = lookupFirst
		_, err := s.Append(t.Context(), charges("acme", "b"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.Regexp(t, "55P03|57014", err.Error())
		end()
	}
	appended(t, s, charges("acme", "b"))
	require.Len(t, listed(t, s, "acme"), 2)
}

func TestLockedTable(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 500 * time.Millisecond})
	appended(t, s, charges("acme", "a"))
	for _, fresh := range []bool{false, true} {
		if fresh {
			pool.Reset()
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
		require.Less(t, time.Since(start), 20*time.Second)
		require.NoError(t, tx.Rollback(t.Context()))
	}
}

func TestExhaustedPool(t *testing.T) {
	parallel(t)
	pool := newPool(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
	s := newStore(t, pool, Options{AcquireTimeout: time.Second})
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	appended(t, s, charges("acme", "a"))
	_, err = s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
	require.ErrorContains(t, err, "no connection")
	ended, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = s.List(ended, chargeingest.Query{Platform: "acme", Limit: 1})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Error(t, s.Ready(t.Context()))
	conn.Release()
	require.Len(t, listed(t, s, "acme"), 1)
	require.NoError(t, s.Ready(t.Context()))
}

func TestConnectionLostInCommit(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	appended(t, s, charges("acme", "a"))
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF NEW.reference = 'die' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER die AFTER INSERT ON `+schema+`.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION `+schema+`.die()`)
	require.NoError(t, err)
	for _, lookupFirst := range []bool{false, true} {
		s.writer.lookupFirst = lookupFirst
		_, err = s.Append(t.Context(), charges("acme", "die"))
		require.Error(t, err)
		require.ErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
		require.NotErrorIs(t, err, chargeingest.ErrNotStored)
		var conflict *chargeingest.ConflictError
		require.NotErrorAs(t, err, &conflict)
		appended(t, s, charges("acme", fmt.Sprint("after ", lookupFirst)))
	}
	require.Len(t, listed(t, s, "acme"), 3)
}

func TestConnectionLostBeforeCommit(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 500 * time.Millisecond})
	appended(t, s, charges("acme", "a"))
	end := lockPlatform(t, pool, schema, "acme")
	s.writer.lookupFirst = true // it waits for the lock before it sends the commit
	done := make(chan error, 1)
	go func() { _, err := s.Append(context.Background(), charges("acme", "b")); done <- err }()
	awaitLockWaits(t, pool, schema, 1)
	_, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1", "%"+schema+"%")
	require.NoError(t, err)
	require.ErrorIs(t, <-done, chargeingest.ErrNotStored)
	end()
	appended(t, s, charges("acme", "b"))
}

func TestReadOnlyServer(t *testing.T) {
	parallel(t)
	schema := newSchema(t, newPool(t))
	newStore(t, newPool(t), Options{Schema: schema})
	for i, use := range []func(*Store) error{
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
			require.ErrorIs(t, use(s), errReadOnly)
			readOnly = false
			require.NoError(t, use(s))
			continue
		}
		readOnly = false
		require.NoError(t, use(s))

		readOnly = true
		pool.Reset()
		require.NoError(t, s.writer.session.conn.Close(t.Context()))
		err := use(s)
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.Contains(t, err.Error(), "25006")
		require.Error(t, s.Ready(t.Context()))
		readOnly = false
		require.Eventually(t, func() bool { return use(s) == nil }, 10*time.Second, time.Millisecond)
	}
}

func failing(t *testing.T, pool *pgxpool.Pool, schema, code string, times int) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `CREATE SEQUENCE IF NOT EXISTS `+schema+`.tries; ALTER SEQUENCE `+schema+`.tries RESTART;
CREATE OR REPLACE FUNCTION `+schema+`.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF nextval('`+schema+`.tries') <= `+fmt.Sprint(times)+` THEN RAISE EXCEPTION 'injected' USING ERRCODE = '`+code+`'; END IF; RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.fail()`)
	require.NoError(t, err)
}

func TestTransientErrorsAreRetried(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute})
	const timeout = 200 * time.Millisecond
	impatient := newStore(t, pool, Options{Schema: schema, StatementTimeout: timeout})
	for _, code := range []string{codeSerializationFailure, codeDeadlock} {
		for _, lookupFirst := range []bool{false, true} {
			failing(t, pool, schema, code, 10)
			s.writer.lookupFirst = lookupFirst
			appended(t, s, charges("acme", fmt.Sprint(code, lookupFirst)))
		}
		failing(t, pool, schema, code, 1_000_000)
		start := time.Now()
		_, err := impatient.Append(t.Context(), charges("acme", "never"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.GreaterOrEqual(t, time.Since(start), timeout)
	}
	require.Len(t, listed(t, s, "acme"), 4)
}

func TestSlowServerGetsSmallerGroups(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	var refused atomic.Int64
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
			require.Fail(t, "not stored")
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
