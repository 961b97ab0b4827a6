package sqlitestore

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"
)

func TestInterruptedOpen(t *testing.T) {
	t.Parallel()
	step := 20
	if *roundsFlag > 0 {
		step = 1
	}
	for name, from := range map[string]func(*testing.T, setup) setup{
		"after a crash": func(t *testing.T, s setup) setup {
			fresh(t, s.open(t), charges("acme", "a"))
			return copyKilledWithState(t, s)
		},
		"of an earlier version": func(t *testing.T, s setup) setup {
			makeVersion4(t, s.path)
			return s
		},
		"of a new database": func(_ *testing.T, s setup) setup { return s },
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n += step {
				dead := from(t, newSetup(t))
				cut, more := openUntil(t, dead, n)
				if !more {
					require.Greater(t, n, 10)
					return
				}
				again := newSetup(t)
				cut.write(t, again.path)
				require.Equal(t, name == "after a crash", appended(t, again.open(t), charges("acme", "a"))[0].Replayed)
			}
		})
	}
}

func openUntil(t *testing.T, s setup, n int) (cut filePair, more bool) {
	t.Helper()
	path, err := realPath(s.path)
	require.NoError(t, err)
	count := 0
	disks.Store(path, disk(func(operation) int32 {
		if count++; count == n {
			cut = readPair(t, path)
		}
		return 0
	}))
	opened, err := open(t.Context(), path, s.options, s.tuning)
	require.NoError(t, err)
	disks.Delete(path)
	require.NoError(t, opened.Close())
	return cut, count >= n
}

func makeVersion4(t *testing.T, path string) {
	t.Helper()
	statements := []string{fmt.Sprintf("PRAGMA application_id = %d", applicationID)}
	statements = append(statements, scripts[:4]...)
	execSQL(t, path, append(statements, "PRAGMA user_version = 4")...)
}

type filePair map[string][]byte

func readPair(t *testing.T, path string) filePair {
	t.Helper()
	all := make(filePair)
	for _, suffix := range []string{"", "-wal", ".state"} {
		if data, err := os.ReadFile(path + suffix); err == nil {
			all[suffix] = data
		}
	}
	return all
}

func (f filePair) write(t *testing.T, path string) {
	t.Helper()
	for suffix, data := range f {
		require.NoError(t, os.WriteFile(path+suffix, data, 0o600))
	}
}

func TestInterruptedCreation(t *testing.T) {
	setup := newSetup(t)
	execSQL(t, setup.path, "PRAGMA application_id = 1667785825")
	// No page before, page size 4096, sector size 512.
	journal := make([]byte, 512)
	copy(journal, "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
	binary.BigEndian.PutUint32(journal[20:], 512)
	binary.BigEndian.PutUint32(journal[24:], 4096)
	require.NoError(t, os.WriteFile(setup.path+"-journal", journal, 0o600))

	fresh(t, setup.open(t), charges("acme", "a"))
	crashed := setup
	crashed.path = copyKilled(t, setup.path)
	replayed(t, crashed.open(t), charges("acme", "a"))
}

func TestEachOpenSyncs(t *testing.T) {
	setup := newSetup(t)
	fresh(t, setup.open(t), charges("acme", "a"))
	setup.path = copyKilled(t, setup.path)
	require.NoError(t, setup.open(t).Close())
	setup.faults.clear()
	setup.open(t)
	// A checkpoint syncs the file only if the WAL has a transaction.
	written := slices.Index(setup.faults.seen, "COMMIT")
	require.Positive(t, written)
	require.Greater(t, slices.Index(setup.faults.seen, "PRAGMA wal_checkpoint(TRUNCATE)"), written)
}

func TestOpenMovesWALIntoDatabase(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	stored := fresh(t, s, charges("acme", "a", "b"))
	crashed := setup
	crashed.path = copyKilled(t, setup.path)
	log, err := os.Stat(crashed.path + "-wal")
	require.NoError(t, err)
	require.NotZero(t, log.Size(), "the WAL has frames")

	again := crashed.open(t)
	log, err = os.Stat(crashed.path + "-wal")
	require.NoError(t, err)
	require.Zero(t, log.Size())
	alone := filepath.Join(t.TempDir(), "alone.db")
	data, err := os.ReadFile(crashed.path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(alone, data, 0o600))
	var n int
	db, err := sql.Open("sqlite", alone)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.QueryRow("SELECT count(*) FROM events").Scan(&n))
	require.Equal(t, 2, n, "without the WAL")
	require.Equal(t, stored, replayed(t, again, charges("acme", "a", "b")))
}

func TestInterruptedCommit(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	stored := fresh(t, s, charges("acme", "a"))
	whole, err := os.Stat(setup.path + "-wal")
	require.NoError(t, err)
	fresh(t, s, charges("acme", "b"))
	setup.path = copyKilled(t, setup.path)
	require.NoError(t, os.Truncate(setup.path+"-wal", whole.Size()+5000))
	again := setup.open(t)
	require.Equal(t, stored, listed(t, again, "acme"))
	fresh(t, again, charges("acme", "b"))
}

func TestWALWithoutDatabaseIsKept(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	setup.path = copyKilled(t, setup.path)
	database, err := os.ReadFile(setup.path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(setup.path))
	before := readFiles(t, filepath.Dir(setup.path))
	setup.openError(t)
	require.Equal(t, before, readFiles(t, filepath.Dir(setup.path)))
	require.NoError(t, os.WriteFile(setup.path, database, 0o600))
	require.Len(t, listed(t, setup.open(t), "acme"), 1)
}

func TestOpenWithForeignReader(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.busyTimeout = "1"
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	setup.path = copyKilled(t, setup.path)
	end := foreignReader(t, setup.path)
	require.ErrorContains(t, setup.openError(t), "has a transaction open")
	end()
	replayed(t, setup.open(t), charges("acme", "a"))
}

func TestInterruptedCheckpoint(t *testing.T) {
	for writes, more := 0, true; more; writes++ {
		setup := newSetup(t)
		s := setup.open(t)
		fresh(t, s, charges("acme", numbered(100)...))
		more = false
		left := writes
		disks.Store(s.file.path, disk(func(op operation) int32 {
			if op.is("write", "database") {
				if left--; left < 0 {
					more = true
					return sqlite3.SQLITE_IOERR_WRITE
				}
			}
			return sqlite3.SQLITE_OK
		}))
		err := s.writer.do(t.Context(), func() error {
			_, err := s.writer.session.checkpoint("PASSIVE")
			return err
		})
		require.Equal(t, more, err != nil)
		disks.Delete(s.file.path)

		setup.path = copyKilled(t, setup.path)
		replayed(t, setup.open(t), charges("acme", numbered(100)...))
	}
}
