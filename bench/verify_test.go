package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVerifySQLite(t *testing.T) {
	const some = "(SELECT seq FROM events ORDER BY seq LIMIT 1 OFFSET 100)"
	whole, acknowledged := storedDatabase(t)
	text, err := os.ReadFile(whole)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		changes []string
		wrong   string // empty if the database is valid
	}{
		"as it was acknowledged":   {},
		"with a row missing":       {[]string{"DELETE FROM events WHERE seq = " + some}, "acknowledged"},
		"without any row":          {[]string{"DELETE FROM events"}, "acknowledged"},
		"with a reference altered": {[]string{"UPDATE events SET content = json_set(content, '$.reference', '00000000-0000-4000-8000-000000000001') WHERE seq = " + some}, "acknowledged"},
		"with a reference other than a UUID": {
			[]string{"UPDATE events SET content = json_set(content, '$.reference', 'order-1') WHERE seq = " + some}, "never sent"},
		"with a row twice": {
			[]string{"CREATE TABLE copies AS SELECT * FROM events", "DROP TABLE events",
				"INSERT INTO copies SELECT * FROM copies WHERE seq = (SELECT max(seq) FROM copies)", "ALTER TABLE copies RENAME TO events"},
			"acknowledged"},
		"with a row twice instead of another": {
			[]string{"CREATE TABLE copies AS SELECT * FROM events", "DROP TABLE events",
				"UPDATE copies SET content = (SELECT content FROM copies ORDER BY seq LIMIT 1) WHERE seq = (SELECT max(seq) FROM copies)",
				"ALTER TABLE copies RENAME TO events"},
			"acknowledged"},
		"with an index that differs from its rows": {
			[]string{"CREATE INDEX other ON events (id)", "PRAGMA writable_schema = 1",
				"UPDATE sqlite_schema SET sql = 'CREATE INDEX other ON events (seq + 1)' WHERE name = 'other'"},
			"integrity_check"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "charges.db")
			require.NoError(t, os.WriteFile(path, text, 0o600))
			change(t, path, append([]string{"DROP VIEW IF EXISTS charge_events_view"}, c.changes...)...)
			err := verifySQLite(t.Context(), path, acknowledged)
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, errMismatch)
			require.ErrorContains(t, err, c.wrong)
		})
	}
}

func TestCheckStored(t *testing.T) {
	require.NoError(t, checkStored(tally{3, 7}, tally{3, 7}))
	require.ErrorIs(t, checkStored(tally{2, 7}, tally{3, 7}), errMismatch)
	require.ErrorIs(t, checkStored(tally{3, 8}, tally{3, 7}), errMismatch)
}

func TestVerifyMissingDatabase(t *testing.T) {
	require.Error(t, verifySQLite(t.Context(), filepath.Join(t.TempDir(), "charges.db"), tally{}))
}
