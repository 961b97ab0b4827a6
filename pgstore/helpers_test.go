package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/memdir"
	"example.com/chargeingest/internal/pgtest"
)

func needServer(t testing.TB) {
	t.Helper()
	if address != "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("CI=true: ", reason)
	}
	t.Skip("skipped: ", reason)
}

func newPool(t testing.TB, changes ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	needServer(t)
	return poolOf(t, addressOf(t), changes...)
}

var databases sync.Map

// Migrations of one database wait for each other.
func parallel(t *testing.T) {
	t.Helper()
	t.Parallel()
	needServer(t)
	if os.Getenv(pgtest.Variable) != "" {
		return // the role may not create databases
	}
	conn, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	name := fmt.Sprintf("test_%05d", schemas.Add(1))
	_, err = conn.Exec(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	databases.Store(t.Name(), address+" dbname="+name)
}

func addressOf(t testing.TB) string {
	for name := t.Name(); name != "."; name = path.Dir(name) {
		if own, ok := databases.Load(name); ok {
			return own.(string)
		}
	}
	return address
}

func poolOf(t testing.TB, address string, changes ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(address)
	require.NoError(t, err)
	for _, change := range changes {
		change(cfg)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

var schemas atomic.Int64

// newSchema returns a name that contains no other, for tests that find their queries.
func newSchema(t testing.TB, pool *pgxpool.Pool) string {
	name := fmt.Sprintf("test_%d_%05d", os.Getpid(), schemas.Add(1))
	if os.Getenv(pgtest.Variable) == "" {
		return name
	}
	t.Cleanup(func() {
		_, err := pool.Exec(context.Background(), "DROP SCHEMA IF EXISTS "+name+" CASCADE")
		require.NoError(t, err)
	})
	return name
}

func newStore(t testing.TB, pool *pgxpool.Pool, o Options) *Store {
	t.Helper()
	if o.Schema == "" {
		o.Schema = newSchema(t, pool)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := New(context.Background(), pool, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func charge(reference string) chargeingest.NewEvent {
	at := time.Date(2026, 3, 1, 12, 0, 0, 987_654_321, time.UTC)
	return chargeingest.NewEvent{
		Content:   fmt.Sprintf(`{"product_item_id":"p","reference":%q,"timestamp":"2026-03-01T12:00:00Z"}`, reference),
		Reference: reference, ProductItemID: "p", Timestamp: at.Truncate(time.Second), ReceivedAt: at,
	}
}

func charges(platform string, references ...string) chargeingest.Batch {
	b := chargeingest.Batch{Platform: platform, Route: chargeingest.RouteBatch}
	for _, reference := range references {
		b.Events = append(b.Events, charge(reference))
	}
	return b
}

func changed(platform, reference string) chargeingest.Batch {
	b := charges(platform, reference)
	b.Events[0].Content = fmt.Sprintf(`{"product_item_id":"q","reference":%q,"timestamp":"2026-03-01T12:00:00Z"}`, reference)
	b.Events[0].Digest[0] = 1
	return b
}

func newOwnServer(t *testing.T, settings ...string) *pgtest.Server {
	t.Helper()
	needServer(t)
	if err := pgtest.Available(); err != nil {
		t.Skipf("skipped: %v", err)
	}
	srv, err := pgtest.NewIn(t.Context(), memdir.Path(), settings...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Remove()) })
	require.NoError(t, srv.Start(t.Context()))
	return srv
}

func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(prefix, "-", i)
	}
	return list
}

func appended(t *testing.T, s *Store, b chargeingest.Batch) (ids []string, replayed []bool) {
	t.Helper()
	result, err := s.Append(t.Context(), b)
	require.NoError(t, err)
	for _, o := range result.Outcomes {
		ids, replayed = append(ids, o.ID), append(replayed, o.Replayed)
	}
	return ids, replayed
}

func listed(t *testing.T, s *Store, platform string) (ids []string) {
	t.Helper()
	page, err := s.List(t.Context(), chargeingest.Query{Platform: platform, Order: chargeingest.Ascending, Limit: 10_000})
	require.NoError(t, err)
	for _, e := range page.Events {
		ids = append(ids, e.ID)
	}
	return ids
}

func lockPlatform(t *testing.T, pool *pgxpool.Pool, schema, platform string) (end func()) {
	t.Helper()
	tx, err := pool.Begin(context.Background())
	require.NoError(t, err)
	_, err = tx.Exec(context.Background(), "INSERT INTO "+schema+".platforms AS p (name, last, last_id) VALUES ($1, 0, '') ON CONFLICT (name) DO UPDATE SET last = p.last", platform)
	require.NoError(t, err)
	end = sync.OnceFunc(func() { _ = tx.Rollback(context.Background()) })
	t.Cleanup(end)
	return end
}

func awaitLockWaits(t *testing.T, pool *pgxpool.Pool, schema string, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		var found int
		err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1", "%"+schema+"%").Scan(&found)
		return err == nil && found >= n
	}, 10*time.Second, time.Millisecond)
}
