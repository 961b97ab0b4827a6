package sqlitestore

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWALWithoutMark(t *testing.T) {
	setup := newSetup(t)
	fresh(t, setup.open(t), charges("acme", "a"))
	old := newSetup(t)
	makeVersion4(t, old.path)
	db, err := sql.Open("sqlite", old.path)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec("PRAGMA journal_mode = wal; CREATE VIEW mine AS SELECT 1")
	require.NoError(t, err)
	pair := readPair(t, old.path)
	require.NotEmpty(t, pair["-wal"])

	dead := copyKilledWithState(t, setup)
	pair.write(t, dead.path)
	err = dead.openError(t)
	require.ErrorIs(t, err, ErrWALMismatch)
	require.ErrorContains(t, err, "If both files were put there together: mv "+dead.path+".state "+dead.path+".state.old")
	require.NoError(t, os.Rename(dead.path+".state", dead.path+".state.old"))
	require.EqualValues(t, 1, value[int64](t, dead.open(t), "SELECT count(*) FROM sqlite_schema WHERE name = 'mine'"))
}

func TestFileAndWALOfDifferentMoments(t *testing.T) {
	t.Parallel()
	partly := func(t *testing.T, s *Store, more func()) {
		db, err := sql.Open("sqlite", s.file.path)
		require.NoError(t, err)
		db.SetMaxOpenConns(1)
		_, err = db.Exec("BEGIN; SELECT count(*) FROM events")
		require.NoError(t, err)
		more()
		checkpointAll(t, s)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		_, err = db.Exec("ROLLBACK")
		require.NoError(t, err)
	}
	keyOnly := charges("acme", "a")
	keyOnly.IdempotencyKey = "key"
	for name, do := range map[string]func(t *testing.T, s *Store, path, copied string) (suffix string){
		"the file has a part of the WAL, events follow": func(t *testing.T, s *Store, path, copied string) string {
			fresh(t, s, charges("acme", "b"))
			partly(t, s, func() { fresh(t, s, charges("acme", "c")) })
			cp(t, path, copied)
			checkpointAll(t, s)
			return ""
		},
		"the file has a part of the WAL, a key follows": func(t *testing.T, s *Store, path, copied string) string {
			fresh(t, s, charges("acme", "b"))
			partly(t, s, func() { replayed(t, s, keyOnly) })
			cp(t, path, copied)
			checkpointAll(t, s)
			return ""
		},
		"the file has a part of the WAL, events are pruned": func(t *testing.T, s *Store, path, copied string) string {
			fresh(t, s, charges("acme", "b"))
			partly(t, s, func() {
				_, err := s.Prune(t.Context(), received().Add(time.Hour))
				require.NoError(t, err)
			})
			cp(t, path, copied)
			checkpointAll(t, s)
			return ""
		},
		"the WAL ends before events of the file": func(t *testing.T, s *Store, path, copied string) string {
			fresh(t, s, charges("acme", "b"))
			cp(t, path+"-wal", copied)
			fresh(t, s, charges("acme", "c"))
			checkpointAll(t, s)
			return "-wal"
		},
		"the WAL ends before a key of the file": func(t *testing.T, s *Store, path, copied string) string {
			fresh(t, s, charges("acme", "b"))
			cp(t, path+"-wal", copied)
			replayed(t, s, keyOnly)
			checkpointAll(t, s)
			return "-wal"
		},
		"the WAL has no events, and ends before some of the file": func(t *testing.T, s *Store, path, copied string) string {
			_, err := s.Prune(t.Context(), received().Add(time.Hour))
			require.NoError(t, err)
			checkpointAll(t, s)
			require.NoError(t, s.writer.do(t.Context(), func() error { return s.writer.transact((*session).probeWrite) }))
			cp(t, path+"-wal", copied)
			fresh(t, s, charges("acme", "c"))
			checkpointAll(t, s)
			return "-wal"
		},
		"another program has deleted events": func(t *testing.T, _ *Store, path, copied string) string {
			cp(t, path, copied)
			sqlite3Shell(t, path, "DELETE FROM events WHERE seq < 200; PRAGMA wal_checkpoint(TRUNCATE)")
			return ""
		},
		"another program has changed the schema, and begun a WAL": func(t *testing.T, _ *Store, path, copied string) string {
			cp(t, path, copied)
			sqlite3Shell(t, path, "CREATE INDEX mine ON events (timestamp_s); PRAGMA wal_checkpoint(TRUNCATE)")
			sqlite3Shell(t, path, "CREATE VIEW mine2 AS SELECT 1")
			return ""
		},
		"SQLite made the copy before the schema was changed": func(t *testing.T, _ *Store, path, copied string) string {
			sqlite3Shell(t, path, "VACUUM INTO '"+copied+"'")
			sqlite3Shell(t, path, "CREATE VIEW mine AS SELECT 1")
			return ""
		},
	} {
		for _, stateless := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", without the state file ", stateless), func(t *testing.T) {
				setup := newSetup(t)
				s := setup.open(t)
				fresh(t, s, charges("acme", append(numbered(300), "a")...))
				checkpointAll(t, s)
				copied := filepath.Join(t.TempDir(), "copy")
				suffix := do(t, s, setup.path, copied)
				if suffix == "" {
					fresh(t, s, charges("acme", "in the WAL"))
				}
				dead := copyKilledWithState(t, setup)
				copyFile(t, copied, dead.path+suffix)
				if stateless {
					require.NoError(t, os.Remove(dead.path+".state"))
				}
				before := readFiles(t, filepath.Dir(dead.path))
				require.ErrorIs(t, dead.openError(t), ErrWALMismatch)
				after := readFiles(t, filepath.Dir(dead.path))
				delete(after, "charges.db-shm")
				require.Equal(t, before, after)
			})
		}
	}
}

func TestOldBackupAfterInterruptedMigration(t *testing.T) {
	t.Parallel()
	insert := "INSERT INTO events SELECT value, printf('chda_0%025d', value), 1, 'r' || value, NULL, NULL, NULL, NULL, 'p', 0, 0, 0, 0, 0, zeroblob(32), '{}' FROM generate_series"
	for n := 3; ; n += 5 {
		setup := newSetup(t)
		path, err := realPath(setup.path)
		require.NoError(t, err)
		makeVersion4(t, path)
		execSQL(t, path, "INSERT INTO platforms VALUES (1, 'acme')", "PRAGMA journal_mode = wal")
		sqlite3Shell(t, path, insert+"(1, 100)")
		backup, err := os.ReadFile(path)
		require.NoError(t, err)
		sqlite3Shell(t, path, insert+"(101, 200)")
		cut, more := openUntil(t, setup, n)
		if !more {
			require.Greater(t, n, 10)
			return
		}
		dead := newSetup(t)
		cut.write(t, dead.path)
		wal, err := (&file{path: dead.path}).readWAL()
		require.NoError(t, err)
		if wal.frames == 0 {
			continue
		}
		require.NoError(t, os.WriteFile(dead.path, backup, 0o600))
		require.ErrorIs(t, dead.openError(t), ErrWALMismatch, n)
		cut.write(t, dead.path)
		require.EqualValues(t, 200, value[int64](t, dead.open(t), "SELECT count(*) FROM events"))
	}
}

// A checkpoint writes a page of another program's WAL before the power is cut.
func TestPowerCutAfterForeignWAL(t *testing.T) {
	for _, statement := range []string{
		"CREATE INDEX mine ON events (timestamp_s)", "VACUUM",
		"UPDATE events SET content = json_set(content, '$.description', hex(zeroblob(1000))) WHERE seq = 60",
	} {
		setup := newSetup(t)
		s := setup.open(t)
		fresh(t, s, charges("acme", numbered(100)...))
		checkpointAll(t, s)
		to := filepath.Join(t.TempDir(), "copy.db")
		cp(t, setup.path, to)
		sqlite3Shell(t, setup.path, statement)
		log, err := os.ReadFile(setup.path + "-wal")
		require.NoError(t, err)
		for at := 32; at < len(log); at += 24 + 4096 {
			if binary.BigEndian.Uint32(log[at:]) == 1 {
				_, err := s.file.data.WriteAt(log[at+24:][:4096], 0)
				require.NoError(t, err)
			}
		}
		fresh(t, s, charges("acme", "d"))
		dead := copyKilledWithState(t, setup)
		for _, stateless := range []bool{false, true} {
			again := setup
			again.path = copyKilled(t, dead.path)
			copyFile(t, to, again.path)
			if !stateless {
				copyFile(t, dead.path+".state", again.path+".state")
			}
			replayed(t, again.open(t), charges("acme", append(numbered(100), "d")...))
		}
	}
}

// VACUUM copies the mark, whose header is older.
func TestWALBegunByVacuum(t *testing.T) {
	for _, before := range []string{"SELECT 1", "CREATE INDEX mine ON events (timestamp_s)"} {
		setup := newSetup(t)
		s := setup.open(t)
		fresh(t, s, charges("acme", "a"))
		fresh(t, s, charges("acme", numbered(100)...))
		checkpointAll(t, s)
		sqlite3Shell(t, setup.path, before+"; PRAGMA wal_checkpoint")
		sqlite3Shell(t, setup.path, "VACUUM")
		dead := copyKilledWithState(t, setup)
		require.Positive(t, fileSize(dead.path+"-wal"))
		stateless := dead
		stateless.path = copyKilled(t, dead.path)
		replayed(t, dead.open(t), charges("acme", append(numbered(100), "a")...))
		replayed(t, stateless.open(t), charges("acme", append(numbered(100), "a")...))
	}
}

// A process died between the header of a frame and its page in a restarted WAL.
func TestHalfWrittenFrame(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	checkpointAll(t, s)
	for range 3 {
		require.NoError(t, s.writer.do(t.Context(), func() error { return s.writer.transact((*session).probeWrite) }))
	}
	checkpointAll(t, s)
	before := copyKilledWithState(t, setup)
	fresh(t, s, charges("acme", "b"))
	after := copyKilledWithState(t, setup)
	log, err := os.ReadFile(before.path + "-wal")
	require.NoError(t, err)
	written, err := os.ReadFile(after.path + "-wal")
	require.NoError(t, err)
	require.NotEqual(t, log[:32], written[:32], "the WAL was restarted")
	for n := 0; 32+n < len(log); n += 24 + 4096 {
		copy(log, written[:32+n+24])
		dead := setup
		dead.path = copyKilled(t, before.path)
		require.NoError(t, os.WriteFile(dead.path+"-wal", log, 0o600))
		replayed(t, dead.open(t), charges("acme", "a"))
	}
}
