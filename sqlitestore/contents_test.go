package sqlitestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckFindsDamage(t *testing.T) {
	events := charges("acme", numbered(300)...)
	for i := range events.Events {
		setCustomer(&events.Events[i], "customer", "")
	}
	events.IdempotencyKey = "key"
	for name, c := range map[string]struct{ sql, problem string }{
		"none":                  {"SELECT 1", ""},
		"a missing chunk":       {"DELETE FROM chunks WHERE rowid = (SELECT max(rowid) FROM chunks)", "to the index"},
		"a missing run":         {"DELETE FROM runs", "to the index"},
		"a changed entry":       {"UPDATE chunks SET entries = CAST(substr(entries, 1, 14) || x'ff' || substr(entries, 16) AS BLOB)", "to the index"},
		"an added entry":        {"UPDATE chunks SET entries = CAST(entries || x'ffffffffff0000000007' AS BLOB), last = x'ffffffffff0000000007' WHERE rowid = (SELECT max(rowid) FROM chunks)", "to the index"},
		"an unsorted chunk":     {"UPDATE chunks SET entries = CAST(substr(entries, 11, 10) || substr(entries, 1, 10) || substr(entries, 21) AS BLOB)", "to the index"},
		"another secret":        {"UPDATE merged SET secret = x'00'", "to the index"},
		"a run of other events": {"UPDATE runs SET id = id - 160; UPDATE chunks SET run = run - 160", "to the index"},
		"a run beyond merged":   {"INSERT INTO runs VALUES (16000000)", "wrong rows in the table runs: 1"},
		"a negative run":        {"INSERT INTO runs VALUES (-5)", "wrong rows in the table runs: 1"},
		"a run twice":           {"INSERT INTO runs SELECT id + 1 FROM runs", "wrong rows in the table runs: 1"},
		"nothing merged":        {"UPDATE merged SET seq = 0", "wrong rows in the table runs: 1"},
		"all merged":            {"UPDATE merged SET seq = 9223372036854775807", "beyond the events: 1"},
		"too many merged":       {"UPDATE merged SET seq = 252", "to the index"},
		"a reference twice":     {"UPDATE events SET content = json_set(content, '$.reference', 'ref-1') WHERE seq = 260", "references stored twice: 1"},
		"a merged one again":    {"UPDATE events SET content = json_set(content, '$.reference', 'ref-1') WHERE seq = 299", "references stored twice: 1"},
		"an unmerged one again": {"UPDATE events SET content = json_set(content, '$.reference', 'ref-298') WHERE seq = 300", "references stored twice: 1"},
		"a missing event":       {"PRAGMA foreign_keys = 0; DROP TRIGGER events_deleted; DELETE FROM events WHERE seq = 8", "rows that refer to missing rows: 1"},
		"a missing platform":    {"PRAGMA foreign_keys = 0; DELETE FROM platforms", "rows that refer to missing rows: 301"},
		"a wrong id":            {"UPDATE events SET id = 'chda_0' WHERE seq = 8", "not after that of the event before: 1"},
		"no merged row":         {"DELETE FROM merged", "table merged: 1"},
		"no identity":           {"DELETE FROM identity", "table identity: 1"},
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			setup.tuning.generationSize = 250
			s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
			require.NoError(t, err)
			fresh(t, s, events)
			require.NoError(t, s.Close())
			s, err = open(t.Context(), setup.path, setup.options, setup.tuning) // makes a run
			require.NoError(t, err)
			copied := filepath.Join(t.TempDir(), "copy.db")
			require.NoError(t, s.Backup(t.Context(), copied))
			require.NoError(t, s.Close())
			execSQL(t, copied, c.sql)
			report, err := Check(t.Context(), copied)
			require.NoError(t, err)
			_, backupErr := Backup(t.Context(), copied, copied+".again")
			_, restoreErr := Restore(t.Context(), copied, copied+".new")
			if c.problem == "" {
				require.Empty(t, report.Problems)
				require.NoError(t, errors.Join(backupErr, restoreErr))
				return
			}
			require.NotEmpty(t, report.Problems)
			require.ErrorContains(t, errors.Join(report.Problems...), c.problem)
			require.ErrorContains(t, backupErr, c.problem)
			require.ErrorContains(t, restoreErr, c.problem)
			require.NoFileExists(t, copied+".again")
			require.NoFileExists(t, copied+".new")
		})
	}
}

func TestFlippedBytesAreFound(t *testing.T) {
	setup := newSetup(t)
	s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
	require.NoError(t, err)
	fresh(t, s, charges("acme", numbered(300)...))
	copied := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, s.Backup(t.Context(), copied))
	require.NoError(t, s.Close())
	intact, err := os.ReadFile(copied)
	require.NoError(t, err)
	for at := 0; at < len(intact); at += 4096 {
		for _, offset := range []int{0, 4} {
			damaged := append([]byte(nil), intact...)
			damaged[at+offset] ^= 0x55
			path := filepath.Join(t.TempDir(), "charges.db")
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			report, err := Check(t.Context(), path)
			require.Error(t, errors.Join(append(report.Problems, err)...), at+offset)
			if _, err = Backup(t.Context(), path, path+".copy"); err == nil {
				require.Equal(t, dump(t, copied), dump(t, path+".copy"), at+offset)
				require.NoError(t, os.Remove(path+".copy"))
			}
			_, err = Restore(t.Context(), path, path+".new")
			require.Error(t, err, at+offset)
			require.Subset(t, []string{"charges.db", "charges.db.lock", "charges.db.new.lock"}, fileNames(t, path))
		}
	}
}

func TestToolsOfEarlierVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charges.db")
	makeVersion4(t, path)
	copied := newSetup(t)
	contents, err := Backup(t.Context(), path, copied.path)
	require.NoError(t, err)
	require.EqualValues(t, 4, contents.SchemaVersion)
	require.NoError(t, copied.open(t).Close())
	restored := newSetup(t)
	_, err = Restore(t.Context(), path, restored.path)
	require.NoError(t, err)
	require.NoError(t, restored.open(t).Close())
	report, err := Check(t.Context(), path)
	require.NoError(t, err)
	require.Empty(t, report.Problems)
}

func TestOverlayReadsAnyRange(t *testing.T) {
	killed := newKilled(t)
	source, problem, err := openSource(context.Background(), killed.path)
	require.NoError(t, errors.Join(problem, err))
	defer source.close()
	whole := make([]byte, source.overlay.size)
	_, err = source.overlay.ReadAt(whole, 0)
	require.NoError(t, err)
	require.Equal(t, []byte{1, 1}, whole[18:20])
	for at := range int64(10_000) {
		part := make([]byte, 1+at%5000)
		n, err := source.overlay.ReadAt(part, at*7%source.overlay.size)
		if n < len(part) {
			require.Error(t, err)
		}
		require.Equal(t, whole[at*7%source.overlay.size:][:n], part[:n], at)
	}
}
