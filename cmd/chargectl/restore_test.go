package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRestore(t *testing.T) {
	dir := t.TempDir()
	db, backup := filepath.Join(dir, "charges.db"), filepath.Join(t.TempDir(), "backup.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 5)
	requireTool(t, "backup", "-db", db, backup)
	s.storeBatches(t, 6, 20)

	status, stdout, stderr := runTool(t, "restore", "-from", backup, "-db", db)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "in use by another store")
	require.Empty(t, stdout)
	s.storeBatches(t, 21, 21)
	s.kill()
	old := databaseFiles(t, dir)
	delete(old, "charges.db.lock")

	out := requireTool(t, "restore", "-from", backup, "-db", db)
	require.Regexp(t, `^moved to (.*/charges\.db\.before-restore-\d{8}T\d{6}\.\d{9}Z): charges\.db, charges\.db-shm, charges\.db-wal, charges\.db\.state
.*/charges\.db: restored from .*/backup\.db: 25 events, \d+\.\d KB, integrity check passed
next: start the server, and start every follower again without a position; .*\n$`, out)
	aside, err := filepath.Glob(db + ".before-restore-*")
	require.NoError(t, err)
	require.Len(t, aside, 1)
	require.Equal(t, old, databaseFiles(t, aside[0]))
	require.Equal(t, []string{"charges.db", "charges.db.lock"}, slices.Sorted(maps.Keys(databaseFiles(t, dir))))
	require.Equal(t, wholeBatches(5), batchesOf(t, db))

	for _, suffix := range []string{"", ".state"} {
		require.NoError(t, os.Remove(db+suffix))
	}
	for name := range old {
		require.NoError(t, os.Rename(filepath.Join(aside[0], name), filepath.Join(dir, name)))
	}
	require.Equal(t, wholeBatches(21), batchesOf(t, db))
	require.Equal(t, wholeBatches(5), batchesOf(t, backup))
}

func TestPlainCopyOverOldWAL(t *testing.T) {
	dir := t.TempDir()
	db, backup := filepath.Join(dir, "charges.db"), filepath.Join(t.TempDir(), "backup.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 2)
	requireTool(t, "backup", "-db", db, backup)
	s.storeBatches(t, 3, 4)
	s.kill()
	text, err := os.ReadFile(backup)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(db, text, 0o600))
	before := databaseFiles(t, dir)
	refused := newRealServer(t, db)
	require.Error(t, refused.cmd.Run())
	require.Equal(t, 1, refused.cmd.ProcessState.ExitCode())
	require.Contains(t, refused.log.String(), "write-ahead log does not match the database")
	require.Equal(t, before, databaseFiles(t, dir))

	status, stdout, _ := runTool(t, "check", "-db", db)
	require.Equal(t, 1, status)
	require.Contains(t, stdout, "problem: write-ahead log does not match the database")
	status, _, stderr := runTool(t, "backup", "-db", db, backup+".again")
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "write-ahead log does not match the database")
	require.Equal(t, before, databaseFiles(t, dir))

	requireTool(t, "restore", "-from", backup, "-db", db)
	require.Equal(t, wholeBatches(2), batchesOf(t, db))
}

func TestRestoreRefusesIncompleteBackup(t *testing.T) {
	dir := t.TempDir()
	db, raw := filepath.Join(dir, "charges.db"), filepath.Join(t.TempDir(), "raw.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 2)
	s.kill()
	text, err := os.ReadFile(db)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(raw, text, 0o600))
	before := databaseFiles(t, dir)
	status, _, stderr := runTool(t, "restore", "-from", raw, "-db", db)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "acknowledged events are missing")
	require.Equal(t, before, databaseFiles(t, dir))

	wal, err := os.ReadFile(db + "-wal")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(raw+"-wal", wal, 0o600))
	requireTool(t, "restore", "-from", raw, "-db", db)
	require.Equal(t, wholeBatches(2), batchesOf(t, db))
}

func TestServerRefusesUnfinishedRestore(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "charges.db")
	startRealServer(t, db).stop(t)
	require.NoError(t, os.Rename(db, db+".away"))
	require.NoError(t, os.WriteFile(db+".restoring", []byte(`{"moved_to":"away","moved":["charges.db"]}`), 0o600))
	before := databaseFiles(t, dir)
	refused := newRealServer(t, db)
	require.Error(t, refused.cmd.Run())
	require.Equal(t, 1, refused.cmd.ProcessState.ExitCode())
	require.Contains(t, refused.log.String(), "Run chargectl restore again")
	require.Equal(t, before, databaseFiles(t, dir))
}

func TestRestoreUsage(t *testing.T) {
	for _, c := range []struct {
		args   []string
		stderr string
	}{
		{[]string{"-db", "d"}, "restore: -from must be given"},
		{[]string{"-from", "b"}, "restore: -db or CHARGEINGEST_DB must be given"},
		{[]string{"-from", "b", "-db", "d", "x"}, `restore: unexpected argument "x"`},
		{[]string{"-from", "b\n", "-db", "d"}, "-from: must not have control characters"},
	} {
		status, _, stderr := runTool(t, append([]string{"restore"}, c.args...)...)
		require.Equal(t, 2, status)
		require.Contains(t, stderr, c.stderr)
	}
}
