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

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o600))
}

func copyKilledWithState(t *testing.T, s setup) setup {
	t.Helper()
	from := s.path
	s.path = copyKilled(t, from)
	copyFile(t, from+".state", s.path+".state")
	return s
}

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

func checkpointAll(t *testing.T, s *Store) {
	t.Helper()
	require.NoError(t, s.writer.do(t.Context(), func() error {
		s.writer.finishCheckpoint()
		return nil
	}))
}

// Closing an open file in this process would release SQLite's locks.
func cp(t *testing.T, from, to string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "cp", from, to).CombinedOutput()
	require.NoError(t, err, string(out))
}

func copyKilled(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "charges.db"+suffix), data, 0o600))
	}
	return filepath.Join(dir, "charges.db")
}

func readFiles(t *testing.T, dir string) map[string]string {
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

// SQLite would use WAL mode only until the WAL is empty.
func TestBackupNextToUnusableWAL(t *testing.T) {
	for name, log := range map[string][]byte{"garbage": make([]byte, 5000), "a part of a header": []byte("part"), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			setup.tuning.busyTimeout = "100"
			s := setup.open(t)
			fresh(t, s, charges("acme", "a"))
			setup.path = filepath.Join(t.TempDir(), "charges.db")
			require.NoError(t, s.Backup(t.Context(), setup.path))
			require.NoError(t, os.WriteFile(setup.path+"-wal", log, 0o600))
			s = setup.open(t)
			replayed(t, s, charges("acme", "a"))
			fresh(t, s, charges("acme", "b"))
			checkpointAll(t, s)
			require.Len(t, listed(t, s, "acme"), 2)
			moved, err := filepath.Glob(setup.path + "-wal.replaced-*")
			require.NoError(t, err)
			require.Len(t, moved, min(1, len(log)))
		})
	}
}
