package sqlitestore

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
)

func sqlite3Shell(t *testing.T, path, query string) string {
	t.Helper()
	program, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("there is no sqlite3 program")
	}
	out, err := exec.CommandContext(t.Context(), program, "-separator", "\x1f", path, query).CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.TrimSuffix(string(out), "\n")
}

func TestShellReadsOpenDatabase(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a", "b"))
	require.Equal(t, "2", sqlite3Shell(t, setup.path, "SELECT count(*) FROM charge_events_view"))
	require.Equal(t, "ok", sqlite3Shell(t, setup.path, "PRAGMA integrity_check"))
	require.Empty(t, sqlite3Shell(t, setup.path, "PRAGMA foreign_key_check"))
	fresh(t, s, charges("acme", "c"))
}

func TestBackup(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	b := charges("acme", "a", "b", "")
	b.IdempotencyKey = "key"
	stored := fresh(t, s, b)
	end := startReading(t, s)
	require.NoError(t, s.Backup(t.Context(), setup.path+".copy"))
	end()
	fresh(t, s, charges("acme", "later"))

	setup.path += ".copy"
	again := setup.open(t)
	require.Equal(t, stored, listed(t, again, "acme"))
	require.Equal(t, stored, replayed(t, again, b))
	fresh(t, again, charges("acme", "later"))
}

func TestBackupToRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	s := newSetup(t).open(t)
	fresh(t, s, charges("acme", "a"))
	require.NoError(t, s.Backup(t.Context(), "copy.db"))
	copied := newSetup(t)
	copied.path = "copy.db"
	replayed(t, copied.open(t), charges("acme", "a"))
}

func TestBackupReplacesNothing(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	for _, name := range []string{"charges.db", "there", "with-wal", "with-journal", "missing/copy.db"} {
		path := filepath.Join(filepath.Dir(setup.path), name)
		switch name {
		case "charges.db", "missing/copy.db":
		case "there":
			require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
		default:
			path = strings.TrimSuffix(strings.TrimSuffix(path, "-wal"), "-journal")
			require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte("x"), 0o600))
		}
		before := fileNames(t, setup.path)
		err := s.Backup(t.Context(), path)
		if name == "missing/copy.db" {
			require.ErrorIs(t, err, fs.ErrNotExist)
		} else {
			require.ErrorIs(t, err, fs.ErrExist, name)
		}
		require.Equal(t, before, fileNames(t, setup.path))
	}
	fresh(t, s, charges("acme", "a"))
}

func fileNames(t *testing.T, path string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestCanceledBackupLeavesNothing(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	before := fileNames(t, setup.path)
	copied := setup.path + ".copy"

	ctx, cancel := context.WithCancel(t.Context())
	setup.faults.once("VACUUM", func() error {
		cancel()
		return nil
	})
	require.ErrorIs(t, s.Backup(ctx, copied), context.Canceled)
	require.Equal(t, before, fileNames(t, setup.path))

	setup.faults.on("VACUUM", resultError(sqlite3.SQLITE_FULL))
	require.ErrorIs(t, s.Backup(t.Context(), copied), resultError(sqlite3.SQLITE_FULL))
	setup.faults.on("PRAGMA synchronous", errIO)
	require.ErrorIs(t, s.Backup(t.Context(), copied), errIO)
	require.Equal(t, before, fileNames(t, setup.path))
	setup.faults.clear()
	require.NoError(t, s.Backup(t.Context(), copied))
}

func TestFailedBackupLeavesNothing(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", numbered(20)...))
	copied := setup.path + ".copy"
	before := fileNames(t, setup.path)
	draftIs := func(do func(draft string)) {
		setup.faults.set(func(st step) error {
			if strings.HasPrefix(st.statement, "VACUUM") {
				do(st.arguments[0].Value.(string))
			}
			return nil
		}, nil)
	}
	for _, code := range []int32{sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR} {
		for failing := 1; ; failing++ {
			operations := 0
			draftIs(func(draft string) {
				disks.Store(draft, disk(func(operation) int32 {
					if operations++; operations >= failing {
						return code
					}
					return sqlite3.SQLITE_OK
				}))
				t.Cleanup(func() { disks.Delete(draft) })
			})
			err := s.Backup(t.Context(), copied)
			if operations < failing {
				require.NoError(t, err)
				require.Greater(t, failing, 10, "each operation failed once")
				break
			}
			require.ErrorContains(t, err, "sqlitestore: backup: ", failing)
			require.Equal(t, before, fileNames(t, setup.path), failing)
		}
		require.NoError(t, os.Remove(copied))
	}

	draftIs(func(string) { panic("driver") })
	require.PanicsWithValue(t, "driver", func() { s.Backup(t.Context(), copied) })
	require.Equal(t, before, fileNames(t, setup.path))

	draftIs(func(string) { require.NoError(t, os.MkdirAll(filepath.Join(copied, "not-empty"), 0o700)) })
	require.Error(t, s.Backup(t.Context(), copied), "it cannot be renamed")
	require.NoError(t, os.RemoveAll(copied))
	require.Equal(t, before, fileNames(t, setup.path))

	setup.faults.clear()
	require.NoError(t, s.Backup(t.Context(), copied))
	require.ElementsMatch(t, append(before, filepath.Base(copied)), fileNames(t, setup.path))
}

func TestCloseEndsBackup(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	copying := make(chan struct{})
	setup.faults.onceIn("VACUUM", func(ctx context.Context) error {
		close(copying)
		<-ctx.Done()
		<-s.writer.stopped
		for range 1000 {
			runtime.Gosched()
		}
		return nil
	})
	ended := make(chan error)
	go func() { ended <- s.Backup(context.Background(), setup.path+".copy") }()
	<-copying
	require.NoError(t, s.Close())
	require.Len(t, readFiles(t, filepath.Dir(setup.path)), 1)
	require.ErrorIs(t, <-ended, chargeingest.ErrClosed)
}
