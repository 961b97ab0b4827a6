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
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestCanceledWaitForStandby(t *testing.T) {
	parallel(t)
	srv := newOwnServer(t)
	pool := poolOf(t, srv.Address(), WatchStandby)
	s := newStore(t, pool, Options{Schema: "chargeingest"})
	appended(t, s, charges("acme", "a"))
	other := poolOf(t, srv.Address())
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = 'missing'", "SELECT pg_reload_conf()"} {
		_, err := other.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	for i := 0; i < 2; {
		s.writer.lookupFirst = i == 1
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
			continue
		}
		require.ErrorContains(t, err, "on this server only")
		require.NotErrorIs(t, err, chargeingest.ErrNotStored)
		i++
	}
}

func TestNonDurableSession(t *testing.T) {
	var off atomic.Bool
	pool := newPool(t, func(c *pgxpool.Config) {
		c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			if !off.Load() {
				return nil
			}
			_, err := conn.Exec(ctx, "SET synchronous_commit = off")
			return err
		}
	})
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF current_setting('synchronous_commit') = 'off' THEN RAISE EXCEPTION 'not durable'; END IF; RETURN NULL; END $$;
CREATE TRIGGER look AFTER INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.look()`)
	require.NoError(t, err)
	off.Store(true)
	for _, lookupFirst := range []bool{false, true} {
		s.writer.lookupFirst = lookupFirst
		appended(t, s, charges("acme", fmt.Sprint(lookupFirst)))
	}
	var after string
	require.NoError(t, s.writer.session.conn.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&after))
	require.Equal(t, "off", after, "the setting is local to the transaction")
}

func TestEndedIdleConnections(t *testing.T) {
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

type stalling struct {
	net.Conn
	armed   *atomic.Int64
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

func TestStalledClientDoesNotDelayOthers(t *testing.T) {
	parallel(t)
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
	for i, lookupFirst := range []bool{false, true} {
		appended(t, s, charges("acme", fmt.Sprint("before ", i)))
		s.writer.lookupFirst = lookupFirst
		armed.Store(64 << 10)
		done := make(chan error, 1)
		go func() {
			_, err := s.Append(context.Background(), charges("acme", numbered("lost", 1000)...))
			done <- err
		}()
		conn := <-stalled
		appended(t, other, charges("acme", fmt.Sprint("meanwhile ", i)))
		err := <-done
		_ = conn.Close()
		if lookupFirst {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
	}
	require.Len(t, listed(t, other, "acme"), 1004)
}

// A retry of an event without a reference would store it twice.
func TestLostResponseIsNotRetried(t *testing.T) {
	parallel(t)
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
		s.writer.lookupFirst = true
		armed.Store(true)
		appended(t, s, charges("acme", ""))
		require.Len(t, listed(t, s, "acme"), 2, mode)

		require.False(t, s.writer.lookupFirst)
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

func TestFailingConnectHook(t *testing.T) {
	var connections atomic.Int64
	var failing atomic.Bool
	pool := newPool(t, func(c *pgxpool.Config) {
		c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			connections.Add(1)
			if failing.Load() {
				_, err := conn.Exec(ctx, "SET ROLE missing")
				return err
			}
			return nil
		}
	})
	s := newStore(t, pool, Options{})
	appended(t, s, charges("acme", "a"))
	failing.Store(true)
	require.NoError(t, s.writer.session.conn.Close(t.Context()))
	before := connections.Load()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			_, err := s.Append(t.Context(), charges("acme", fmt.Sprint("x", i)))
			require.ErrorIs(t, err, chargeingest.ErrNotStored)
		})
	}
	all.Wait()
	require.Less(t, connections.Load()-before, int64(200), "the group was split")
	failing.Store(false)
	appended(t, s, charges("acme", "b"))
	require.Len(t, listed(t, s, "acme"), 2)
}

func TestReadOnlyServerLimits(t *testing.T) {
	parallel(t)
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
	newStore(t, newPool(t), Options{Schema: schema})
	var log bytes.Buffer
	s := newStore(t, pool, Options{Schema: schema, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	start, before := time.Now(), connections.Load()
	for range 30 {
		_, err := s.Append(t.Context(), charges("acme", "a"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
	}
	require.LessOrEqual(t, connections.Load()-before, 2+int64(time.Since(start)/resetInterval))
	logged := strings.Count(log.String(), "was not stored")
	require.Positive(t, logged)
	require.LessOrEqual(t, logged, 1+int(time.Since(start)/time.Second))
	require.NotContains(t, log.String(), "succeed again")
	writable.Store(true)
	require.Eventually(t, func() bool { _, err := s.Append(t.Context(), charges("acme", "a")); return err == nil }, 10*time.Second, time.Millisecond)
	appended(t, s, charges("acme", "b"))
	require.NoError(t, s.Close())
	require.Equal(t, 1, strings.Count(log.String(), "succeed again"))
}

func TestTimeoutsAreLocalToTheTransaction(t *testing.T) {
	pool := newPool(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["statement_timeout"] = "77s" })
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 3 * time.Second})
	_, err := pool.Exec(t.Context(), `CREATE TABLE `+schema+`.seen (settings text);
CREATE FUNCTION `+schema+`.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO `+schema+`.seen VALUES (
current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') || ' ' || current_setting('idle_in_transaction_session_timeout')); RETURN NEW; END $$;
CREATE TRIGGER look BEFORE INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.look()`)
	require.NoError(t, err)
	for _, lookupFirst := range []bool{false, true} {
		s.writer.lookupFirst = lookupFirst
		appended(t, s, charges("acme", fmt.Sprint(lookupFirst)))
	}
	rows, err := pool.Query(t.Context(), "SELECT settings FROM "+schema+".seen")
	require.NoError(t, err)
	seen, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"3s 600ms 3s", "3s 600ms 3s"}, seen)
	var after string
	require.NoError(t, s.writer.session.conn.QueryRow(t.Context(), "SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout')").Scan(&after))
	require.Equal(t, "77s 0", after)
}

type breaking struct{}

func (breaking) TraceBatchStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	if q := d.Batch.QueuedQueries; len(q) == 1 && q[0].SQL == "COMMIT" {
		_, _ = conn.Exec(ctx, "SELECT 1/0")
		q[0].SQL = "COMMIT /* traced */"
	}
	return ctx
}

func (breaking) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (breaking) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (breaking) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (breaking) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestCommitThatRollsBack(t *testing.T) {
	s := newStore(t, newPool(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = breaking{} }), Options{})
	appended(t, s, charges("acme", "a"))
	_, err := s.Append(t.Context(), charges("acme", "a"))
	require.ErrorIs(t, err, errRolledBack)
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	appended(t, s, charges("acme", "b"))
}
