package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/pgserver"
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
	return poolOf(t, address, changes...)
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

// newSchema returns the name of a schema that is not there yet, and is dropped
// when the test ends.
func newSchema(t testing.TB, pool *pgxpool.Pool) string {
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), schemas.Add(1))
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

// numbered are n references.
func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(prefix, "-", i)
	}
	return list
}
