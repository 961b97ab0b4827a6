package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"
)

func TestConnectionPragmas(t *testing.T) {
	setup := newSetup(t)
	setup.options.MaxReaders = 3
	s := setup.open(t)
	every := map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"}

	for name, want := range every {
		require.Equal(t, want, fmt.Sprint(value[any](t, s, "PRAGMA "+name)), name)
	}
	require.EqualValues(t, 5000, value[int64](t, s, "PRAGMA busy_timeout"))
	require.Zero(t, value[int64](t, s, "PRAGMA query_only"))
	require.Zero(t, value[int64](t, s, "PRAGMA wal_autocheckpoint"))

	for range setup.options.MaxReaders {
		reader, err := s.readers.Conn(t.Context())
		require.NoError(t, err)
		defer reader.Close()
		read := func(name string) (value string) {
			require.NoError(t, reader.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&value))
			return value
		}
		for name, want := range every {
			require.Equal(t, want, read(name), name)
		}
		require.Equal(t, "5000", read("busy_timeout"))
		require.Equal(t, "1", read("query_only"))
		_, err = reader.ExecContext(t.Context(), "DELETE FROM events")
		require.Equal(t, sqlite3.SQLITE_READONLY, resultCode(err))
	}
	require.Equal(t, 3, s.readers.Stats().OpenConnections)
}

func TestPragmaThatCannotBeSet(t *testing.T) {
	setup := newSetup(t)
	require.NoError(t, setup.open(t).Close())
	for _, p := range []pragma{
		{"synchronos", "2"},
		{"synchronous", "fulll"}, // SQLite sets another value instead
		{"journal_mode", "wall"},
		{"journal_mode", "off; DELETE FROM events"},
	} {
		db, err := (&file{path: setup.path, tuning: setup.tuning}).open([]pragma{p})
		require.NoError(t, err)
		require.ErrorContains(t, db.PingContext(t.Context()), p.name)
		require.NoError(t, db.Close())
	}
}

func TestScanTypes(t *testing.T) {
	row := []driver.Value{int64(1), "text", []byte("blob"), nil}
	var n int64
	var yes bool
	var text string
	var fromText, fromBlob []byte
	require.NoError(t, scan([]driver.Value{row[0], row[0], row[1], row[1], row[2]}, &n, &yes, &text, &fromText, &fromBlob))
	require.Equal(t, int64(1), n)
	require.True(t, yes)
	require.Equal(t, "text", text)
	require.Equal(t, "text", string(fromText))
	require.Equal(t, "blob", string(fromBlob))
	for _, wrong := range []struct {
		value       driver.Value
		destination any
	}{{"1", &n}, {"1", &yes}, {int64(1), &text}, {int64(1), &fromText}, {nil, &text}, {nil, &fromBlob}, {1.5, &n}, {int64(1), new(int)}} {
		require.Error(t, scan([]driver.Value{wrong.value}, wrong.destination), "%T into %T", wrong.value, wrong.destination)
	}
}

type bareConn struct{ driver.Conn }

func (bareConn) Prepare(string) (driver.Stmt, error) { return bareStmt{}, nil }

type bareStmt struct{ driver.Stmt }

func (bareStmt) Close() error { return nil }

func TestDriverWithoutContexts(t *testing.T) {
	require.Error(t, conn{bareConn{}}.exec("BEGIN"))
	_, err := conn{bareConn{}}.query("SELECT 1")
	require.Error(t, err)
}

func TestListQueriesUseIndexes(t *testing.T) {
	s := newSetup(t).open(t)
	require.NoError(t, s.read(t.Context(), "acme", false, func(ctx context.Context, tx *sql.Tx) error {
		explain := func(statement string, arguments []any) string {
			plan := explainQuery(ctx, t, tx, statement, arguments)
			scans := strings.NewReplacer("SCAN json_each", "", "SCAN merged", "", "SCAN runs", "").Replace(plan)
			require.NotContains(t, scans, "SCAN", statement)
			require.NotContains(t, plan, "TEMP B-TREE", statement)
			return plan
		}
		for _, q := range queries() {
			pager := pager{query: q, newest: 3, lastSeq: 1}
			plan := explain(pager.statement(wholePlatform, nil, nil))
			require.Contains(t, plan, "SEARCH events USING INDEX events_platform (platform=? AND rowid", q)
			plan = explain(pager.statement(bySeq, []string{inSeqs}, []any{"[1, 2]"}))
			require.Contains(t, plan, "SEARCH events USING INTEGER PRIMARY KEY (rowid=?)", q)
		}
		for _, direction := range []string{"ASC", "DESC"} {
			plan := explain(fmt.Sprintf(chunksBetweenSQL, direction), []any{[]byte{}, []byte{}})
			require.Contains(t, plan, "SEARCH chunks USING INDEX chunks_last (run=? AND last>? AND last<?)")
		}
		return nil
	}))
}

func explainQuery(ctx context.Context, t *testing.T, tx *sql.Tx, statement string, arguments []any) (plan string) {
	t.Helper()
	rows, err := tx.QueryContext(ctx, "EXPLAIN QUERY PLAN "+statement, arguments...)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
		plan += detail + "\n"
	}
	require.NoError(t, rows.Err())
	return plan
}
