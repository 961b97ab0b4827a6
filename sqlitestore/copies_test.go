package sqlitestore

import (
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// copyFile copies a file over another one, as cp does: into the same inode.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o600))
}

// crashed copies all files of a database that is in use, as a killed process
// leaves them.
func killedCopy(t *testing.T, s setup) setup {
	t.Helper()
	from := s.path
	s.path = killedPair(t, from)
	copyFile(t, from+".state", s.path+".state")
	return s
}

// copies are ways to copy a database with one event, "copied", so that the copy
// is of use without the write-ahead log.
func copyMethods() map[string]func(t *testing.T, s *Store, path, to string) *Store {
	return map[string]func(t *testing.T, s *Store, path, to string) *Store{
		"Backup": func(t *testing.T, s *Store, _, to string) *Store {
			require.NoError(t, s.Backup(t.Context(), to))
			return s
		},
		"cp after Close": func(t *testing.T, s *Store, path, to string) *Store {
			require.NoError(t, s.Close())
			copyFile(t, path, to)
			return nil
		},
		"cp while it is open": func(t *testing.T, s *Store, path, to string) *Store {
			checkpointAll(t, s)
			copyFile(t, path, to)
			return s
		},
		"VACUUM INTO": func(t *testing.T, s *Store, path, to string) *Store {
			sqlite3Shell(t, path, "VACUUM INTO '"+to+"'")
			return s
		},
		".backup": func(t *testing.T, s *Store, path, to string) *Store {
			sqlite3Shell(t, path, ".backup '"+to+"'")
			return s
		},
		"opened elsewhere": func(t *testing.T, s *Store, path, to string) *Store {
			require.NoError(t, s.Close())
			elsewhere := newSetup(t)
			copyFile(t, path, elsewhere.path)
			require.NoError(t, elsewhere.open(t).Close())
			copyFile(t, elsewhere.path, to)
			return nil
		},
		"an earlier version": func(t *testing.T, s *Store, _, to string) *Store {
			makeVersion4(t, to)
			return s
		},
	}
}

// settled moves the whole log into the database, as the writer does.
func checkpointAll(t *testing.T, s *Store) {
	t.Helper()
	require.NoError(t, s.writer.do(t.Context(), func() error {
		s.writer.finishCheckpoint()
		return nil
	}))
}

// cp copies a file that is in use. To close it in this process would release the
// locks that SQLite holds.
func cp(t *testing.T, from, to string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "cp", from, to).CombinedOutput()
	require.NoError(t, err, string(out))
}

// crash copies a database that is in use, as a killed process leaves it, and
// returns the path of the copy.
func killedPair(t *testing.T, path string) string {
	t.Helper()
	folder := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "charges.db"+suffix), data, 0o600))
	}
	return filepath.Join(folder, "charges.db")
}

// contents returns every file of a folder but the lock and the state file.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".lock") || strings.HasSuffix(e.Name(), ".state") || e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = string(data)
	}
	return files
}

// made runs statements on a database without the store.
func execSQL(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, statement := range statements {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
}
