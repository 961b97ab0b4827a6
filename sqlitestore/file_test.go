package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
)

// contents returns every file of a folder but the lock and the state file.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".lock") || strings.HasSuffix(e.Name(), ".state") || e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(folder, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = string(data)
	}
	return files
}

// made runs statements on a database without the store.
func made(t *testing.T, path string, statements ...string) {
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

func TestForeignFilesAreRefusedAndLeftAlone(t *testing.T) {
	const ours = "PRAGMA application_id = 1667785825"
	require.Equal(t, "PRAGMA application_id = 1667785825", fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	text := func(s string) func(*testing.T, string) {
		return func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte(s), 0o600)) }
	}
	database := func(statements ...string) func(*testing.T, string) {
		return func(t *testing.T, path string) { made(t, path, statements...) }
	}
	inUse := func(t *testing.T, path string) {
		made(t, path+".in-use", "PRAGMA application_id = 7", "PRAGMA journal_mode = wal", "CREATE TABLE t (a)")
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
		"a text":                         text(strings.Repeat("This is no database. ", 1000)),
		"a header and nothing else":      text("SQLite format 3\x00"),
		"another application":            database("PRAGMA application_id = 7", "CREATE TABLE events (seq INTEGER)"),
		"another application with a log": inUse,
		"a database of no application":   database("CREATE TABLE t (a)"),
		"a database without tables":      database("PRAGMA user_version = 1"),
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			make(t, setup.path)
			before := contents(t, filepath.Dir(setup.path))
			require.ErrorIs(t, setup.failure(t), ErrNotEventDatabase)
			require.Equal(t, before, contents(t, filepath.Dir(setup.path)))
		})
	}
	t.Run("a folder", func(t *testing.T) {
		setup := newSetup(t)
		require.NoError(t, os.Mkdir(setup.path, 0o700))
		require.ErrorIs(t, setup.failure(t), ErrNotEventDatabase)
	})
	t.Run("our mark on other tables", func(t *testing.T) {
		setup := newSetup(t)
		made(t, setup.path, ours, "CREATE TABLE t (a)")
		require.ErrorIs(t, setup.failure(t), ErrNotEventDatabase)
	})
	t.Run("our mark alone is a beginning", func(t *testing.T) {
		setup := newSetup(t)
		made(t, setup.path, ours)
		fresh(t, setup.open(t), charges("acme", "a"))
	})
}

func TestACreationThatWasCutOffIsBegunAgain(t *testing.T) {
	setup := newSetup(t)
	made(t, setup.path, "PRAGMA application_id = 1667785825")
	// A rollback journal that says: the database had no page before, of 4096
	// bytes, and sectors have 512.
	journal := make([]byte, 512)
	copy(journal, "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
	binary.BigEndian.PutUint32(journal[20:], 512)
	binary.BigEndian.PutUint32(journal[24:], 4096)
	require.NoError(t, os.WriteFile(setup.path+"-journal", journal, 0o600))

	fresh(t, setup.open(t), charges("acme", "a"))
	crashed := setup
	crashed.path = crash(t, setup.path)
	replayed(t, crashed.open(t), charges("acme", "a"))
}

func TestEveryOpeningIsSynced(t *testing.T) {
	setup := newSetup(t)
	fresh(t, setup.open(t), charges("acme", "a"))
	setup.path = crash(t, setup.path)
	require.NoError(t, setup.open(t).Close())
	setup.faults.clear()
	setup.open(t)
	// Nothing is to be done, but who knows whether the file was ever synced.
	// A checkpoint does it where there is something to move.
	written := slices.Index(setup.faults.seen, "COMMIT")
	require.Positive(t, written)
	require.Greater(t, slices.Index(setup.faults.seen, "PRAGMA wal_checkpoint(TRUNCATE)"), written)
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	setup := newSetup(t)
	require.NoError(t, setup.open(t).Close())
	made(t, setup.path, "PRAGMA user_version = 99")
	before := contents(t, filepath.Dir(setup.path))
	require.ErrorIs(t, setup.failure(t), ErrSchemaTooNew)
	require.Equal(t, before, contents(t, filepath.Dir(setup.path)))
}

func TestANewerVersionInTheLogIsSeen(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	require.NoError(t, s.writer.do(t.Context(), func() error { return s.writer.session.exec("PRAGMA user_version = 99") }))
	crashed := setup
	crashed.path = crash(t, setup.path)
	require.ErrorIs(t, crashed.failure(t), ErrSchemaTooNew)
}

// crash copies a database that is in use, as a killed process leaves it, and
// returns the path of the copy.
func crash(t *testing.T, path string) string {
	t.Helper()
	folder := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "charges.db"+suffix), data, 0o600))
	}
	return filepath.Join(folder, "charges.db")
}

func TestTheLogOfACrashIsInTheDatabaseBeforeServing(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	stored := fresh(t, s, charges("acme", "a", "b"))
	crashed := setup
	crashed.path = crash(t, setup.path)
	log, err := os.Stat(crashed.path + "-wal")
	require.NoError(t, err)
	require.NotZero(t, log.Size(), "there is something to take over")

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
	require.Equal(t, 2, n, "without the log")
	require.Equal(t, stored, replayed(t, again, charges("acme", "a", "b")))
}

func TestACommitThatWasCutOffIsNotThere(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	stored := fresh(t, s, charges("acme", "a"))
	whole, err := os.Stat(setup.path + "-wal")
	require.NoError(t, err)
	fresh(t, s, charges("acme", "b"))
	setup.path = crash(t, setup.path)
	require.NoError(t, os.Truncate(setup.path+"-wal", whole.Size()+5000))
	again := setup.open(t)
	require.Equal(t, stored, listed(t, again, "acme"))
	fresh(t, again, charges("acme", "b"))
}

func TestALogWithoutItsDatabaseIsNotOverwritten(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	setup.path = crash(t, setup.path)
	database, err := os.ReadFile(setup.path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(setup.path))
	before := contents(t, filepath.Dir(setup.path))
	setup.failure(t)
	require.Equal(t, before, contents(t, filepath.Dir(setup.path)))
	require.NoError(t, os.WriteFile(setup.path, database, 0o600))
	require.Len(t, listed(t, setup.open(t), "acme"), 1)
}

func TestAReaderInTheWayKeepsTheLogFromBeingTakenOver(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.busyTimeout = "1"
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	setup.path = crash(t, setup.path)
	end := foreignReader(t, setup.path)
	require.ErrorContains(t, setup.failure(t), "transaction open")
	end()
	replayed(t, setup.open(t), charges("acme", "a"))
}

func TestOneStoreHasADatabaseAtATime(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	require.ErrorIs(t, setup.failure(t), ErrLocked)
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(setup.path, link))
	linked := setup
	linked.path = link
	require.ErrorIs(t, linked.failure(t), ErrLocked)
	fresh(t, s, charges("acme", "a"))

	require.NoError(t, s.Close())
	replayed(t, linked.open(t), charges("acme", "a"))
	require.ErrorIs(t, setup.failure(t), ErrLocked)
}

func TestEveryFileNameWorks(t *testing.T) {
	for _, name := range []string{
		"a b", "a?b=c", "a?mode=memory", "a#b", "a%20b", "100%", "a&b", "a+b", "a;b", "a'b", `a"b`, `a\b`, "ä\u0308", ":memory:", "file:a.db",
		"-", "charges",
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			folder := filepath.Dir(setup.path)
			setup.path = filepath.Join(folder, name)
			s := setup.open(t)
			stored := fresh(t, s, charges("acme", "a"))
			require.NoError(t, s.Backup(t.Context(), setup.path+".copy"))
			require.NoError(t, s.Close())
			files := contents(t, folder)
			require.Len(t, files, 2)
			require.Contains(t, files, name)
			require.Contains(t, files, name+".copy")
			require.Equal(t, stored, listed(t, setup.open(t), "acme"))
			setup.path += ".copy"
			require.Equal(t, stored, listed(t, setup.open(t), "acme"))
		})
	}
}

func TestPathsThatAreNoFile(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	for _, path := range []string{"", ":memory:", "file:a.db", "file::memory:?cache=shared", "a\x00b", "missing/a.db"} {
		setup := newSetup(t)
		setup.path = path
		setup.failure(t)
	}
	require.Empty(t, contents(t, folder))
}

func TestRelativePathsAndLinks(t *testing.T) {
	folder, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	t.Chdir(folder)
	require.NoError(t, os.Mkdir("data", 0o700))
	require.NoError(t, os.Symlink("data", "link"))
	setup := newSetup(t)
	setup.path = "link/charges.db"
	s := setup.open(t)
	require.Equal(t, filepath.Join(folder, "data", "charges.db"), s.file.path)
	require.FileExists(t, filepath.Join(folder, "data", "charges.db.lock"))

	require.NoError(t, os.Symlink("nowhere.db", "dangling.db"))
	setup.path = "dangling.db"
	require.ErrorIs(t, setup.failure(t), fs.ErrNotExist)
	require.NoFileExists(t, "nowhere.db")
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
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
	require.Equal(t, fs.FileMode(0o640), info.Mode().Perm(), "one that was there keeps its mode")
}

func TestOpeningThatFailsLeavesNothingOpen(t *testing.T) {
	for _, statement := range []string{
		"CONNECT", "PRAGMA busy_timeout", "PRAGMA journal_mode", "PRAGMA synchronous", "PRAGMA application_id = ",
		"SELECT user_version", "BEGIN", "CREATE TABLE platforms", "PRAGMA user_version = ", "COMMIT", "PRAGMA wal_checkpoint(TRUNCATE)",
		"SELECT id FROM events", "PRAGMA query_only",
	} {
		t.Run(statement, func(t *testing.T) {
			setup := newSetup(t)
			setup.faults.on(statement, errIO)
			require.ErrorIs(t, setup.failure(t), errIO)
			setup.faults.clear()
			fresh(t, setup.open(t), charges("acme", "a"))
		})
	}
	setup := newSetup(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := open(ctx, setup.path, setup.options, setup.tuning)
	require.ErrorIs(t, err, context.Canceled)
	setup.open(t)
}

func TestOptionsThatAreWrongAreNamed(t *testing.T) {
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

// TestACheckpointThatWasCutOffAfterAnyWriteIsFinished leaves the database as a
// process does that is killed while it moves the log: the first pages, which say
// how many there are, are new, and the last ones are missing.
func TestACheckpointThatWasCutOffAfterAnyWriteIsFinished(t *testing.T) {
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

		setup.path = crash(t, setup.path)
		replayed(t, setup.open(t), charges("acme", numbered(100)...))
	}
}

func TestClosingStoresWhatWaitsAndRefusesTheRest(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	release := hold(s)
	var calls []sending
	for i := range 10 {
		calls = append(calls, send(t.Context(), s, charges("acme", fmt.Sprint(i))))
	}
	closed := make(chan error, 2)
	for range cap(closed) {
		go func() { closed <- s.Close() }()
	}
	<-s.running.Done()
	require.ErrorIs(t, s.Ready(t.Context()), chargeingest.ErrClosed)
	release()
	require.NoError(t, <-closed)
	require.NoError(t, <-closed)
	for _, pending := range calls {
		require.NoError(t, (<-pending).Err)
	}

	_, err := s.Append(t.Context(), charges("acme", "late"))
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	_, err = s.Get(t.Context(), "acme", "any")
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	_, err = s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	require.ErrorIs(t, s.Ready(t.Context()), chargeingest.ErrClosed)
	require.ErrorIs(t, s.Backup(t.Context(), setup.path+".copy"), chargeingest.ErrClosed)
	_, err = s.Prune(t.Context(), time.Now())
	require.ErrorIs(t, err, chargeingest.ErrClosed)

	require.Len(t, contents(t, filepath.Dir(setup.path)), 1, "the log is gone")
	require.Len(t, listed(t, setup.open(t), "acme"), 10)
}
