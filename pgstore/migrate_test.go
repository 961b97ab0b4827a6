package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

func version1(t *testing.T, pool *pgxpool.Pool, schema string, n int, partition string) {
	t.Helper()
	text, err := migrations.ReadFile("migrations/0001_events.sql")
	require.NoError(t, err)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	results, err := conn.Conn().PgConn().Exec(t.Context(), strings.NewReplacer("$schema", schema, "$n", fmt.Sprint(n)).Replace(`BEGIN;
CREATE SCHEMA $schema; SET LOCAL search_path = $schema;
CREATE TABLE migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
INSERT INTO migrations (version) VALUES (1);`+string(text)+`COMMIT;`+partition+`BEGIN; SET LOCAL search_path = $schema;
INSERT INTO platforms SELECT 'acme', $n, 'chda_' || lpad('$n', 26, '0');
INSERT INTO events SELECT 'acme', i, 'chda_' || lpad(i::text, 26, '0'), '{"product_item_id":"p"}', false, decode(repeat('00', 32), 'hex'),
'2027-01-01Z'::timestamptz + i % 60 * interval '1 day', 0, 0, 'r' || i, 'c', '', '', '', 'p' FROM generate_series(1, $n) AS i;
INSERT INTO event_references SELECT 'acme', 'r' || i, i FROM generate_series(1, $n) AS i;
COMMIT;`)).ReadAll()
	require.NoError(t, err)
	require.NotEmpty(t, results)
	t.Cleanup(func() {
		_, err := pool.Exec(context.Background(), "DROP SCHEMA IF EXISTS "+schema+" CASCADE")
		require.NoError(t, err)
	})
}

// old replaces the index of version 2 in SQL of docs/postgres.md with that of version 1.
func old(text string) string { return strings.ReplaceAll(text, "events (id)", "events (platform, id)") }

func indexesOf(t *testing.T, pool *pgxpool.Pool, schema string) (byID, byPlatformAndID, invalid int) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT pg_get_indexdef(i.indexrelid), i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname LIKE 'events%'`, schema)
	require.NoError(t, err)
	var definition string
	var valid bool
	_, err = pgx.ForEachRow(rows, []any{&definition, &valid}, func() error {
		switch {
		case !valid:
			invalid++
		case strings.HasSuffix(definition, "(id)"):
			byID++
		case strings.HasSuffix(definition, "(platform, id)"):
			byPlatformAndID++
		}
		return nil
	})
	require.NoError(t, err)
	return byID, byPlatformAndID, invalid
}

func versions(t *testing.T, pool *pgxpool.Pool, schema string) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT max(version) FROM "+schema+".migrations").Scan(&n))
	return n
}

func TestUpgradeFromVersion1(t *testing.T) {
	for _, c := range []struct {
		name, section string
		tables        int
		before        string
	}{
		{"plain", "", 1, ""},
		{"an interrupted build left an invalid index", "", 1, `
CREATE INDEX events_by_id ON $schema.events (id);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = '$schema.events_by_id'::regclass;`},
		{"partitioned", "Partitions", 4, ""},
		{"a partitioned build was interrupted", "Partitions", 4, `
CREATE INDEX events_by_id ON ONLY $schema.events (id);`},
		{"an old table became a partition", "A table that already has events", 3, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool := newPool(t)
			schema := newSchema(t, pool)
			partition := ""
			if c.section != "" {
				partition = old(page(t, c.section, schema))
			}
			version1(t, pool, schema, 1000, partition+strings.ReplaceAll(c.before, "$schema", schema))
			s := newStore(t, pool, Options{Schema: schema})
			require.Equal(t, newest, versions(t, pool, schema))
			byID, byPlatformAndID, invalid := indexesOf(t, pool, schema)
			require.Equal(t, []int{c.tables, 0, 0}, []int{byID, byPlatformAndID, invalid})

			e, err := s.Get(t.Context(), "acme", "chda_"+strings.Repeat("0", 25)+"7")
			require.NoError(t, err)
			require.JSONEq(t, `{"product_item_id":"p"}`, e.Content)
			appended(t, s, charges("acme", "new"))
			require.Len(t, listed(t, s, "acme"), 1001)
			require.NoError(t, s.Close())

			_, err = pool.Exec(t.Context(), "DELETE FROM "+schema+".migrations WHERE version > 3") // the downgrade of docs/postgres.md
			require.NoError(t, err)
			newStore(t, pool, Options{Schema: schema})
			require.Equal(t, newest, versions(t, pool, schema))
			_, _, invalid = indexesOf(t, pool, schema)
			require.Zero(t, invalid)
		})
	}
}

const newest = 6

func reader(t *testing.T, pool *pgxpool.Pool, schema string) (end func()) {
	t.Helper()
	tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT count(*) FROM "+schema+".events")
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return func() { require.NoError(t, tx.Rollback(context.Background())) }
}

func TestMigrationDoesNotStopIngest(t *testing.T) {
	for _, section := range []string{"", "Partitions"} {
		t.Run("section "+section, func(t *testing.T) {
			pool := newPool(t, func(c *pgxpool.Config) { c.MaxConns = 8 })
			schema := newSchema(t, pool)
			partition := ""
			if section != "" {
				partition = old(page(t, section, schema))
			}
			version1(t, pool, schema, 20_000, partition)
			before := newUnmigrated(t, pool, schema)
			appended(t, before, charges("acme", "before"))
			end := reader(t, pool, schema)

			limited, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			others := newPool(t)
			go func() { _, err := New(limited, others, Options{Schema: schema}); failed <- err }()
			awaitMigration(t, pool, schema)
			for i := range 20 {
				appended(t, before, charges("acme", fmt.Sprint("while it waits ", i)))
			}
			cancel()
			err := <-failed
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, "migrate the tables: not finished in time")
			require.Equal(t, 1, versions(t, pool, schema))

			done := make(chan *Store, 1)
			go func() {
				s, err := New(context.Background(), others, Options{Schema: schema, Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Error(err)
				}
				done <- s
			}()
			awaitMigration(t, pool, schema)
			for i := range 20 {
				appended(t, before, charges("acme", fmt.Sprint("while it waits again ", i)))
			}
			end()
			after := <-done
			require.Equal(t, newest, versions(t, pool, schema))
			_, platform, invalid := indexesOf(t, pool, schema)
			require.Zero(t, platform+invalid)
			appended(t, after, charges("acme", "after"))
			appended(t, before, charges("acme", "old process"))
			require.NoError(t, after.Close())
		})
	}
}

func awaitMigration(t *testing.T, pool *pgxpool.Pool, schema string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var n int
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INDEX%' AND query LIKE $1`, "%"+schema+"%").Scan(&n)
		return err == nil && n > 0
	}, 30*time.Second, time.Millisecond)
}

func newUnmigrated(t *testing.T, pool *pgxpool.Pool, schema string) *Store {
	t.Helper()
	_, err := pool.Exec(t.Context(), strings.ReplaceAll(`INSERT INTO $schema.migrations (version) VALUES (2), (3), (4), (5), (6);
ALTER TABLE $schema.requests ADD COLUMN sent text[]`, "$schema", schema))
	require.NoError(t, err)
	s := newStore(t, pool, Options{Schema: schema})
	_, err = pool.Exec(t.Context(), "DELETE FROM "+schema+".migrations WHERE version > 1")
	require.NoError(t, err)
	return s
}

// Older versions wait for the advisory lock with a snapshot.
func TestMigrationNextToAnOldProcess(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	version1(t, pool, schema, 100, "")
	end := reader(t, pool, schema)
	done := make(chan error, 1)
	others := newPool(t)
	go func() {
		s, err := New(t.Context(), others, Options{Schema: schema, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = s.Close()
		}
		done <- err
	}()
	awaitMigration(t, pool, schema)
	waits := make(chan error, 1)
	go func() {
		_, err := pool.Exec(t.Context(), "SELECT pg_advisory_xact_lock($1)", int64(migrationLock))
		waits <- err
	}()
	require.Eventually(t, func() bool {
		var n int
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'`).Scan(&n)
		return err == nil && n > 0
	}, 10*time.Second, time.Millisecond)
	end()
	if err := <-waits; err != nil {
		require.Equal(t, codeDeadlock, codeOf(err))
	}
	require.NoError(t, <-done)
	require.Equal(t, newest, versions(t, pool, schema))
}

func TestShortLockWait(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	end := reader(t, pool, schema)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	add := func() error {
		return withShortLockWait(t.Context(), conn.Conn(), func(tx pgx.Tx) error {
			return execSimple(t.Context(), tx.Conn(), "ALTER TABLE "+schema+".events ADD COLUMN more text NULL")
		})
	}
	err = add()
	require.Equal(t, codeLockNotAvailable, codeOf(err))
	require.True(t, isBusy(err))
	appended(t, s, charges("acme", "a"))
	end()
	require.NoError(t, add())
	appended(t, s, charges("acme", "b"))
	appended(t, s, charges("acme", "a"))
	require.Len(t, listed(t, s, "acme"), 2)
}
