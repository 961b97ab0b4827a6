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

// needServer skips a test where there is no server. Where there has to be one
// that is a failure.
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

// newPool returns a pool of the tests' server.
func newPool(t testing.TB, changes ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	needServer(t)
	return poolOf(t, addressOf(t), changes...)
}

// databases are the addresses of those that tests have to themselves, by name of the
// test.
var databases sync.Map

// parallel lets a test run while others do. Its database is its own, so that it waits
// for none of them: migrations of one database are made one after the other, and wait
// for the transactions that are open.
func parallel(t *testing.T) {
	t.Helper()
	t.Parallel()
	needServer(t)
	if os.Getenv(pgtest.Variable) != "" {
		return // who named the server may not be allowed to make databases
	}
	conn, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	name := fmt.Sprintf("test_%05d", schemas.Add(1))
	_, err = conn.Exec(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	databases.Store(t.Name(), address+" dbname="+name)
}

// addressOf returns the address of a test's database.
func addressOf(t testing.TB) string {
	for name := t.Name(); name != "."; name = path.Dir(name) {
		if own, ok := databases.Load(name); ok {
			return own.(string)
		}
	}
	return address
}

// poolOf returns a pool of a server.
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

// newSchema returns the name of a schema that does not exist yet. No name is part of
// another one, so that queries with the name are those of one test. On a server that
// outlives the tests the schema is dropped when the test ends.
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

// newStore returns a store in a schema of its own, unless o names one.
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

// charge is an event with a reference.
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

// changed is a charge with other content under the same reference.
func changed(platform, reference string) chargeingest.Batch {
	b := charges(platform, reference)
	b.Events[0].Content = fmt.Sprintf(`{"product_item_id":"q","reference":%q,"timestamp":"2026-03-01T12:00:00Z"}`, reference)
	b.Events[0].Digest[0] = 1
	return b
}

// newOwnServer starts a server for one test, with settings of its own.
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

// numbered are n references.
func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(prefix, "-", i)
	}
	return list
}
