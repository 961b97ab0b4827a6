package pgstore

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

func TestConcurrentMigrations(t *testing.T) {
	schema := newSchema(t, newPool(t))
	var all sync.WaitGroup
	for i := range 8 {
		pool := newPool(t, func(c *pgxpool.Config) {
			c.ConnConfig.RuntimeParams["default_transaction_isolation"] = []string{"read committed", "serializable"}[i%2]
		})
		all.Go(func() {
			s, err := New(context.Background(), pool, Options{Schema: schema, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			require.NoError(t, s.Close())
		})
	}
	all.Wait()
	var versions int
	require.NoError(t, newPool(t).QueryRow(t.Context(), "SELECT count(*) FROM "+schema+".migrations").Scan(&versions))
	require.Equal(t, newest, versions)
}

func TestSchemaTooNew(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	newStore(t, pool, Options{Schema: schema})
	_, err := pool.Exec(t.Context(), "INSERT INTO "+schema+".migrations (version) VALUES (99)")
	require.NoError(t, err)
	_, err = New(t.Context(), pool, Options{Schema: schema})
	require.ErrorIs(t, err, ErrSchemaTooNew)
	require.ErrorContains(t, err, "version 99")
}

func asRole(t *testing.T, admin *pgxpool.Pool, schema string, statements ...string) *pgxpool.Pool {
	t.Helper()
	role := schema + "_role"
	for _, statement := range append([]string{"CREATE ROLE $role"}, statements...) {
		_, err := admin.Exec(t.Context(), strings.NewReplacer("$role", role, "$schema", schema).Replace(statement))
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		_, err := admin.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role)
		require.NoError(t, err)
	})
	return newPool(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = role })
}

func TestRoleWithoutCreateTable(t *testing.T) {
	admin := newPool(t)
	schema := newSchema(t, admin)
	newStore(t, admin, Options{Schema: schema})
	pool := asRole(t, admin, schema, "GRANT USAGE ON SCHEMA $schema TO $role",
		"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA $schema TO $role", "GRANT UPDATE (last, last_id) ON $schema.platforms TO $role")
	s := newStore(t, pool, Options{Schema: schema})
	appended(t, s, charges("acme", "a"))
	appended(t, s, charges("acme", "a"))
	require.Len(t, listed(t, s, "acme"), 1)
	require.NoError(t, s.Ready(t.Context()))

	_, err := admin.Exec(t.Context(), "REVOKE INSERT ON "+schema+".requests, "+schema+".events FROM "+schema+"_role")
	require.NoError(t, err)
	missing := "needs to be granted INSERT on \"" + schema + "\".events, INSERT on \"" + schema + "\".requests"
	require.ErrorContains(t, s.Ready(t.Context()), missing)
	_, err = New(t.Context(), pool, Options{Schema: schema})
	require.ErrorContains(t, err, missing)
	require.ErrorContains(t, err, schema+"_role")
}

func TestRoleWithoutCreateSchema(t *testing.T) {
	admin := newPool(t)
	schema := newSchema(t, admin)
	pool := asRole(t, admin, schema, "CREATE SCHEMA $schema AUTHORIZATION $role")
	s := newStore(t, pool, Options{Schema: schema})
	appended(t, s, charges("acme", "a"))

	_, err := New(t.Context(), pool, Options{Schema: schema + "_other"})
	require.ErrorContains(t, err, "create the schema "+schema+"_other: ERROR: permission denied for database")
}

func TestRoleWithoutSelect(t *testing.T) {
	admin := newPool(t)
	schema := newSchema(t, admin)
	newStore(t, admin, Options{Schema: schema})
	_, err := New(t.Context(), asRole(t, admin, schema, "GRANT USAGE ON SCHEMA $schema TO $role"), Options{Schema: schema})
	require.ErrorContains(t, err, "permission denied for table migrations")
}

func TestNonDurableServer(t *testing.T) {
	pool := newPool(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["synchronous_commit"] = "off" })
	_, err := New(t.Context(), pool, Options{Schema: newSchema(t, pool)})
	require.ErrorIs(t, err, ErrNotDurable)
	require.ErrorContains(t, err, "synchronous_commit is off")

	var log bytes.Buffer
	s := newStore(t, pool, Options{AllowNonDurable: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	appended(t, s, charges("acme", "a"))
	require.Contains(t, log.String(), "synchronous_commit")

	pool = poolOf(t, newOwnServer(t, "fsync=off").Address())
	_, err = New(t.Context(), pool, Options{})
	require.ErrorIs(t, err, ErrNotDurable)
	require.ErrorContains(t, err, "fsync is off")
}

func TestInvalidOptions(t *testing.T) {
	for field, o := range map[string]Options{
		"Schema": {Schema: "Robert'); DROP TABLE"}, "StatementTimeout": {StatementTimeout: 1}, "AcquireTimeout": {AcquireTimeout: -1},
		"ScanTimeout": {ScanTimeout: -1}, "MaxQueuedEvents": {MaxQueuedEvents: -1}, "MaxTransactionEvents": {MaxTransactionEvents: -1},
	} {
		_, err := New(t.Context(), nil, o)
		require.ErrorContains(t, err, "Options."+field)
	}
}

func TestNewWithoutServer(t *testing.T) {
	cfg, err := pgxpool.ParseConfig("host=" + t.TempDir() + " connect_timeout=1")
	require.NoError(t, err)
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer pool.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = New(ctx, pool, Options{})
	require.ErrorContains(t, err, "connect")
}

func TestSchemaNamedByKeyword(t *testing.T) {
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

func TestClientEncodingMustBeUTF8(t *testing.T) {
	pool := newPool(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["client_encoding"] = "LATIN1" })
	_, err := New(t.Context(), pool, Options{Schema: newSchema(t, newPool(t))})
	require.ErrorContains(t, err, "client_encoding is LATIN1, but must be UTF8")
}
