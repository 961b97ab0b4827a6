package sqlitestore

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/files"
)

func TestRestoreKeepsOwnerAndMode(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	require.NoError(t, os.Chmod(r.path, 0o640))
	if os.Getuid() == 0 {
		require.NoError(t, os.Chown(r.path, 65534, 65533))
	}
	old, err := os.Stat(r.path)
	require.NoError(t, err)
	backup, err := os.ReadFile(r.backup)
	require.NoError(t, err)
	result, err := Restore(t.Context(), r.backup, r.path)
	require.NoError(t, err)
	require.EqualValues(t, 1, result.Events)
	require.Equal(t, []string{"charges.db", "charges.db-shm", "charges.db-wal", "charges.db.state"}, result.Moved)
	require.ElementsMatch(t, result.Moved, fileNames(t, filepath.Join(result.MovedTo, "x")))
	restored, err := os.Stat(r.path)
	require.NoError(t, err)
	require.Equal(t, old.Mode(), restored.Mode())
	f, err := os.Open(r.path)
	require.NoError(t, err)
	require.NoError(t, files.MatchOwner(f, old), "same owner")
	require.NoError(t, f.Close())
	after, err := os.ReadFile(r.backup)
	require.NoError(t, err)
	require.Equal(t, backup, after)
	require.Equal(t, r.restored, r.references(t, r.path))

	again, err := Restore(t.Context(), filepath.Join(result.MovedTo, "charges.db"), r.path)
	require.NoError(t, err)
	require.NotEqual(t, result.MovedTo, again.MovedTo)
	require.Equal(t, r.before, r.references(t, r.path), "the old database with its WAL")
}

func TestRestoreToNewPath(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "charges.db")
	result, err := Restore(t.Context(), r.backup, path)
	require.NoError(t, err)
	require.Empty(t, result.MovedTo)
	require.ElementsMatch(t, []string{"charges.db", "charges.db.lock"}, fileNames(t, path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode())
	require.Equal(t, r.restored, r.references(t, path))
}

func TestToolsSetNewIdentity(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "charges.db")
	_, err := Restore(t.Context(), r.backup, path)
	require.NoError(t, err)
	_, err = Backup(t.Context(), path, path+".copy")
	require.NoError(t, err)
	marks := make(map[string]bool)
	for _, database := range []string{path, r.backup, path + ".copy"} {
		db, err := sql.Open("sqlite", "file:"+database+"?mode=ro&immutable=1")
		require.NoError(t, err)
		marks[strings.Join(queryTexts(t, db, "SELECT hex(mark) FROM identity"), "")] = true
		require.NoError(t, db.Close())
	}
	require.Len(t, marks, 3)
}

func queryTexts(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	list, err := texts(t.Context(), db, query)
	require.NoError(t, err)
	require.NotEmpty(t, list)
	return list
}

func TestRestoreOfLostDatabase(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	require.NoError(t, os.Remove(r.path))
	result, err := Restore(t.Context(), r.backup, r.path)
	require.NoError(t, err)
	require.Equal(t, []string{"charges.db-shm", "charges.db-wal", "charges.db.state"}, result.Moved)
	require.Equal(t, r.restored, r.references(t, r.path))
}

func TestRestoreOverDamagedDatabase(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	require.NoError(t, os.WriteFile(r.path, []byte("damaged"), 0o600))
	_, err := Restore(t.Context(), r.backup, r.path)
	require.NoError(t, err)
	require.Equal(t, r.restored, r.references(t, r.path))
}

func TestRestoreThroughSymbolicLink(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(r.path, link))
	result, err := Restore(t.Context(), r.backup, link)
	require.NoError(t, err)
	require.Equal(t, filepath.Dir(r.path), filepath.Dir(result.MovedTo))
	require.Equal(t, []string{"link.db"}, fileNames(t, link))
	require.Equal(t, r.restored, r.references(t, r.path))
}

func TestRestoreRefusesItself(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	link := filepath.Join(t.TempDir(), "hard.db")
	require.NoError(t, os.Link(r.path, link))
	for _, backup := range []string{r.path, link} {
		_, err := Restore(t.Context(), backup, r.path)
		require.ErrorContains(t, err, "the backup is the database itself")
	}
	require.NoError(t, os.Remove(link))
	require.Equal(t, r.before, r.references(t, r.path))
}

func TestRestoreRefusesOtherPrograms(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	shell, err := sql.Open("sqlite", r.path)
	require.NoError(t, err)
	shell.SetMaxOpenConns(1)
	_, err = shell.Exec("SELECT count(*) FROM events")
	require.NoError(t, err)
	before := fileNames(t, r.path)
	_, err = Restore(t.Context(), r.backup, r.path)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "sqlite3 shell")
	require.ElementsMatch(t, append(before, "charges.db.lock"), fileNames(t, r.path))
}

func TestPlainCopyOverOldWALIsRefused(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	copyFile(t, r.backup, r.path)
	require.ErrorIs(t, r.openError(t), ErrWALMismatch)
	_, err := Restore(t.Context(), r.backup, r.path)
	require.NoError(t, err)
	require.Equal(t, r.restored, r.references(t, r.path))
}
