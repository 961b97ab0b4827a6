package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBackupUnderLoad(t *testing.T) {
	dir := t.TempDir()
	db, out := filepath.Join(dir, "charges.db"), filepath.Join(t.TempDir(), "backup.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 100)
	require.NoError(t, os.Chmod(db, 0o644))
	backup := asProcess(t, "backup", "-db", db, out)
	require.NoError(t, backup.Start())
	ended := make(chan error, 1)
	go func() { ended <- backup.Wait() }()
	last := 100
	for running := true; running; {
		last++
		s.storeBatches(t, last, last)
		select {
		case err := <-ended:
			require.NoError(t, err)
			running = false
		default:
		}
	}
	s.storeBatches(t, last+1, last+10)
	require.Equal(t, wholeBatches(last+10), s.batches(t))
	s.stop(t)

	info, err := os.Stat(out)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode())
	copied := batchesOf(t, out)
	require.GreaterOrEqual(t, len(copied), 100)
	require.Less(t, len(copied), last+10)
	require.Equal(t, wholeBatches(len(copied)), copied)
	require.Equal(t, wholeBatches(last+10), batchesOf(t, db))
}

func TestBackupAfterKill(t *testing.T) {
	dir := t.TempDir()
	db, out := filepath.Join(dir, "charges.db"), filepath.Join(t.TempDir(), "backup.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 20)
	s.kill()
	before := databaseFiles(t, dir)
	require.NotRegexp(t, `^0 `, before["charges.db-wal"])
	require.Regexp(t, `^`+out+`: 100 events, \d+\.\d KB, integrity check passed, [0-9.]+m?s\n$`, requireTool(t, "backup", "-db", db, out))
	require.Equal(t, before, databaseFiles(t, dir))
	require.Equal(t, wholeBatches(20), batchesOf(t, out))
	require.Equal(t, wholeBatches(20), batchesOf(t, db))
}

func TestBackupOfStoppedServer(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "charges.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 2)
	s.stop(t)
	before := databaseFiles(t, dir)
	require.NotContains(t, before, "charges.db-wal")
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(db, link))
	t.Chdir(t.TempDir())
	requireTool(t, "backup", "-db", link, "backup.db")
	require.Equal(t, before, databaseFiles(t, dir))
	require.Equal(t, wholeBatches(2), batchesOf(t, "backup.db"))
}

func TestBackupPaths(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	t.Chdir(dir)
	s := startRealServer(t, "charges.db")
	s.storeBatches(t, 1, 1)
	s.stop(t)
	require.NoError(t, os.Symlink("gone", "link"))
	for _, name := range []string{"exists", "with-wal"} {
		require.NoError(t, os.WriteFile(name, []byte("text"), 0o600))
	}
	names := func() (list []string) {
		entries, err := os.ReadDir(".")
		require.NoError(t, err)
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	before := names()
	for _, c := range []struct {
		args   []string
		status int
		stderr string
	}{
		{[]string{"-db", "none.db", "out"}, 1, "stat " + dir + "/none.db: no such file or directory"},
		{[]string{"-db", "link", "out"}, 1, `"` + dir + `/link" is a symbolic link to "gone", which does not exist`},
		{[]string{"-db", "exists", "out"}, 1, "not a charge event database"},
		{[]string{"-db", ".", "out"}, 1, "not a charge event database"},
		{[]string{"-db", "charges.db", "exists"}, 1, "exists: file already exists"},
		{[]string{"-db", "charges.db", "with"}, 1, "with-wal: file already exists"},
		{[]string{"-db", "charges.db", "link"}, 1, "link: file already exists"},
		{[]string{"-db", "charges.db", "charges.db"}, 1, "charges.db: file already exists"},
		{[]string{"-db", "charges.db", "no/out"}, 1, "no such file or directory"},
		{[]string{"-db", "charges.db", "out\n"}, 2, "OUT must not have control characters"},
		{[]string{"-db", "charges.db\n", "out"}, 2, "-db: must not have control characters"},
		{[]string{"-db", "postgres://h/d", "out"}, 2, "-db: must be the path of a SQLite file; for PostgreSQL use pg_dump"},
		{[]string{"-db", "charges.db"}, 2, "backup: one OUT must be given, not 0"},
		{[]string{"out"}, 2, "backup: -db or CHARGEINGEST_DB must be given"},
	} {
		t.Run(fmt.Sprint(c.args), func(t *testing.T) {
			status, stdout, stderr := runTool(t, append([]string{"backup"}, c.args...)...)
			require.Equal(t, c.status, status)
			require.Contains(t, stderr, c.stderr)
			require.Empty(t, stdout)
			require.Equal(t, before, names())
		})
	}
}
