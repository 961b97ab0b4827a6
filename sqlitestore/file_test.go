package sqlitestore

import (
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

func TestForeignFilesAreRefused(t *testing.T) {
	const ours = "PRAGMA application_id = 1667785825"
	require.Equal(t, "PRAGMA application_id = 1667785825", fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	text := func(s string) func(*testing.T, string) {
		return func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte(s), 0o600)) }
	}
	database := func(statements ...string) func(*testing.T, string) {
		return func(t *testing.T, path string) { execSQL(t, path, statements...) }
	}
	inUse := func(t *testing.T, path string) {
		execSQL(t, path+".in-use", "PRAGMA application_id = 7", "PRAGMA journal_mode = wal", "CREATE TABLE t (a)")
		db, err := sql.Open("sqlite", path+".in-use")
		require.NoError(t, err)
		defer db.Close()
		_, err = db.Exec("INSERT INTO t VALUES (1)")
		require.NoError(t, err)
		for _, suffix := range []string{"", "-wal"} {
			data, err := os.ReadFile(path + ".in-use" + suffix)
			require.NoError(t, err)
			require.NotEmpty(t, data)
			require.NoError(t, os.WriteFile(path+suffix, data, 0o600))
		}
	}
	for name, make := range map[string]func(*testing.T, string){
		"a byte":                         text("x"),
		"a text":                         text(strings.Repeat("Not a database. ", 1000)),
		"a header and nothing else":      text("SQLite format 3\x00"),
		"another application":            database("PRAGMA application_id = 7", "CREATE TABLE events (seq INTEGER)"),
		"another application with a WAL": inUse,
		"a database of no application":   database("CREATE TABLE t (a)"),
		"a database without tables":      database("PRAGMA user_version = 1"),
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			make(t, setup.path)
			before := readFiles(t, filepath.Dir(setup.path))
			require.ErrorIs(t, setup.openError(t), ErrNotEventDatabase)
			require.Equal(t, before, readFiles(t, filepath.Dir(setup.path)))
		})
	}
	t.Run("a directory", func(t *testing.T) {
		setup := newSetup(t)
		require.NoError(t, os.Mkdir(setup.path, 0o700))
		require.ErrorIs(t, setup.openError(t), ErrNotEventDatabase)
	})
	t.Run("our application id on other tables", func(t *testing.T) {
		setup := newSetup(t)
		execSQL(t, setup.path, ours, "CREATE TABLE t (a)")
		require.ErrorIs(t, setup.openError(t), ErrNotEventDatabase)
	})
	t.Run("our application id alone is a new database", func(t *testing.T) {
		setup := newSetup(t)
		execSQL(t, setup.path, ours)
		fresh(t, setup.open(t), charges("acme", "a"))
	})
}

func TestNewerVersionIsRefused(t *testing.T) {
	setup := newSetup(t)
	require.NoError(t, setup.open(t).Close())
	execSQL(t, setup.path, "PRAGMA user_version = 99")
	before := readFiles(t, filepath.Dir(setup.path))
	require.ErrorIs(t, setup.openError(t), ErrSchemaTooNew)
	require.Equal(t, before, readFiles(t, filepath.Dir(setup.path)))
}

func TestNewerVersionInWAL(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	require.NoError(t, s.writer.do(t.Context(), func() error { return s.writer.session.exec("PRAGMA user_version = 99") }))
	crashed := setup
	crashed.path = copyKilled(t, setup.path)
	require.ErrorIs(t, crashed.openError(t), ErrSchemaTooNew)
}

func TestFileModes(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	require.NoError(t, s.Backup(t.Context(), setup.path+".copy"))
	for _, suffix := range []string{"", "-wal", "-shm", ".lock", ".copy"} {
		info, err := os.Stat(setup.path + suffix)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), suffix)
	}

	shared := newSetup(t)
	require.NoError(t, os.WriteFile(shared.path, nil, 0o600))
	require.NoError(t, os.Chmod(shared.path, 0o640))
	fresh(t, shared.open(t), charges("acme", "a"))
	info, err := os.Stat(shared.path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), info.Mode().Perm(), "an existing file keeps its mode")
}

func TestInvalidOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charges.db")
	for name, o := range map[string]Options{
		"ScanTimeout":          {ScanTimeout: -1},
		"MaxQueuedEvents":      {MaxQueuedEvents: -1},
		"MaxTransactionEvents": {MaxTransactionEvents: -1},
		"MaxReaders":           {MaxReaders: -1},
	} {
		_, err := OpenWith(t.Context(), path, o)
		require.ErrorContains(t, err, "Options."+name)
	}
	require.NoFileExists(t, path)
}
