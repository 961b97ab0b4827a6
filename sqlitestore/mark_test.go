package sqlitestore

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

// TestAnOlderCopyIsNoticedWhateverCameAfterIt copies the file of a store that is
// serving, changes the database in one way, has the log started over, kills the
// store, and puts the copy back. The log belongs to a later state of the file: with
// it, pages of both would be mixed.
func TestAnOlderCopyIsNoticedWhateverCameAfterIt(t *testing.T) {
	t.Parallel()
	keyOnly := charges("acme", "copied 1")
	keyOnly.IdempotencyKey = "key"
	changes := map[string]func(t *testing.T, s *Store){
		"events": func(t *testing.T, s *Store) { fresh(t, s, charges("acme", "later")) },
		"all is pruned": func(t *testing.T, s *Store) {
			_, err := s.Prune(t.Context(), received().Add(time.Hour))
			require.NoError(t, err)
		},
		"a key that binds a stored event": func(t *testing.T, s *Store) { replayed(t, s, keyOnly) },
	}
	empty := map[string]func(t *testing.T, s *Store, path string){
		"the store": func(t *testing.T, s *Store, _ string) { settled(t, s) },
		"a shell":   func(t *testing.T, _ *Store, path string) { shell(t, path, "PRAGMA wal_checkpoint(TRUNCATE)") },
	}
	ends := map[string]func(t *testing.T, s *Store){
		"an event":   func(t *testing.T, s *Store) { fresh(t, s, charges("acme", "in the log")) },
		"a key only": func(t *testing.T, s *Store) { replayed(t, s, keyOnly) },
	}
	for change, changed := range changes {
		for by, emptied := range empty {
			for end, ended := range ends {
				if change != "events" && end == "a key only" {
					continue // there may be no event for it
				}
				for _, stateless := range []bool{false, true} {
					t.Run(fmt.Sprint(change, ", emptied by ", by, ", ", end, ", without the state file ", stateless), func(t *testing.T) {
						setup := newSetup(t)
						s := setup.open(t)
						for i := range 20 {
							fresh(t, s, charges("acme", fmt.Sprint("copied ", i)))
						}
						settled(t, s)
						to := filepath.Join(t.TempDir(), "copy.db")
						copyFile(t, setup.path, to)
						changed(t, s)
						emptied(t, s, setup.path)
						ended(t, s)

						dead := crashed(t, setup)
						require.Positive(t, fileSize(dead.path+"-wal"))
						copyFile(t, to, dead.path)
						if stateless {
							require.NoError(t, os.Remove(dead.path+".state"))
						}
						before := contents(t, filepath.Dir(dead.path))
						err := dead.failure(t)
						require.ErrorIs(t, err, ErrWALMismatch)
						require.Equal(t, before, contents(t, filepath.Dir(dead.path)))
					})
				}
			}
		}
	}
}

// TestACopyThatSQLiteMadeIsNoticedAtOnce, while the log has been started over by
// nobody: its pages are not those that the log continues.
func TestACopyThatSQLiteMadeIsNoticedAtOnce(t *testing.T) {
	for _, by := range []string{"VACUUM INTO", ".backup"} {
		setup := newSetup(t)
		s := setup.open(t)
		fresh(t, s, charges("acme", "copied"))
		to := filepath.Join(t.TempDir(), "copy.db")
		copies()[by](t, s, setup.path, to)
		fresh(t, s, charges("acme", "later"))
		dead := crashed(t, setup)
		copyFile(t, to, dead.path)
		require.ErrorIs(t, dead.failure(t), ErrWALMismatch, by)
		require.NoError(t, os.Remove(dead.path+".state"))
		require.ErrorIs(t, dead.failure(t), ErrWALMismatch, by)
	}
}

// TestAnOlderCopyIsNoticedWhileTheStoreIsOpen: nothing is written over it.
func TestAnOlderCopyIsNoticedWhileTheStoreIsOpen(t *testing.T) {
	setup := newSetup(t)
	s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
	require.NoError(t, err)
	fresh(t, s, charges("acme", numbered(20)...))
	settled(t, s)
	older, err := os.ReadFile(setup.path)
	require.NoError(t, err)
	_, err = s.Prune(t.Context(), received().Add(time.Hour))
	require.NoError(t, err)
	settled(t, s)
	require.NoError(t, os.WriteFile(setup.path, older, 0o600))
	_, err = s.Append(t.Context(), charges("acme", "later"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	require.ErrorIs(t, s.Close(), errReplaced)
	now, err := os.ReadFile(setup.path)
	require.NoError(t, err)
	require.Equal(t, older, now)
}

// TestALogWithoutAMarkIsJudgedByTheState: another program wrote all of it.
func TestALogWithoutAMarkIsJudgedByTheState(t *testing.T) {
	setup := newSetup(t)
	fresh(t, setup.open(t), charges("acme", "a"))
	old := newSetup(t)
	madeVersion4(t, old.path)
	db, err := sql.Open("sqlite", old.path)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec("PRAGMA journal_mode = wal; CREATE VIEW mine AS SELECT 1")
	require.NoError(t, err)
	pair := filesOf(t, old.path)
	require.NotEmpty(t, pair["-wal"])

	dead := crashed(t, setup)
	pair.write(t, dead.path)
	err = dead.failure(t)
	require.ErrorIs(t, err, ErrWALMismatch)
	require.ErrorContains(t, err, "If both were put there together: mv "+dead.path+".state "+dead.path+".state.old")
	require.NoError(t, os.Rename(dead.path+".state", dead.path+".state.old"))
	require.EqualValues(t, 1, value[int64](t, dead.open(t), "SELECT count(*) FROM sqlite_schema WHERE name = 'mine'"))
}

// TestAMarkThatIsHalfWrittenIsNoOtherMark: a checkpoint was cut off within the page,
// and the log has all of it.
func TestAMarkThatIsHalfWrittenIsNoOtherMark(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	first := crashed(t, setup)
	before := filesOf(t, first.path)
	log := before["-wal"]
	size := int(binary.BigEndian.Uint32(log[8:]))
	at, offset := int64(0), 0
	var written []byte // the newest page with a mark
	for frame := 32; frame+24+size <= len(log); frame += 24 + size {
		if marks, found := marksIn(log[frame+24:][:size]); len(marks) > 0 {
			written, offset = log[frame+24:][:size], found
			at = int64(binary.BigEndian.Uint32(log[frame:])-1) * int64(size)
		}
	}
	require.NotNil(t, written)
	for n := offset; n <= offset+markSize; n += 4 {
		for _, stateless := range []bool{false, true} {
			dead := newSetup(t)
			before.write(t, dead.path)
			if stateless {
				require.NoError(t, os.Remove(dead.path+".state"))
			}
			data, err := os.OpenFile(dead.path, os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = data.WriteAt(written[:n], at)
			require.NoError(t, err)
			require.NoError(t, data.Close())
			again, err := open(t.Context(), dead.path, dead.options, dead.tuning)
			require.NoError(t, err, "%d bytes of the mark", n-offset)
			replayed(t, again, charges("acme", "a"))
			require.NoError(t, again.Close())
		}
	}
}

func TestDamagedMarksAreNone(t *testing.T) {
	require.False(t, utf8.Valid(markMagic), "no text of a client has it")
	m := mark{stamp{newToken(), 1}, stamp{newToken(), 1 << 40}, 5, header(bytes.Repeat([]byte{7}, 20)), true}
	data := m.encode()
	require.Len(t, data, markSize)
	page := append(append([]byte("page"), data...), data...)
	marks, offset := marksIn(page)
	require.Equal(t, []mark{m, m}, marks)
	require.Equal(t, 4+markSize, offset)
	for i := range data {
		_, ok := decodeMark(data[:i])
		require.False(t, ok, i)
		changed := append([]byte(nil), data...)
		changed[i] ^= 1
		_, ok = decodeMark(changed)
		require.False(t, ok, i)
	}
}

// cp copies a file that is in use. To close it in this process would release the
// locks that SQLite holds.
func cp(t *testing.T, from, to string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "cp", from, to).CombinedOutput()
	require.NoError(t, err, string(out))
}

// TestAFileAndALogOfOtherMomentsAreRefused copies the file or the log of a store that
// is serving, and later puts it in the place of the one that a killed store left.
// The marks of the copy alone would let it pass.
func TestAFileAndALogOfOtherMomentsAreRefused(t *testing.T) {
	t.Parallel()
	// partly moves the log into the file up to this moment, while more comes.
	partly := func(t *testing.T, s *Store, more func()) {
		db, err := sql.Open("sqlite", s.file.path)
		require.NoError(t, err)
		db.SetMaxOpenConns(1)
		_, err = db.Exec("BEGIN; SELECT count(*) FROM events")
		require.NoError(t, err)
		more()
		settled(t, s)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		_, err = db.Exec("ROLLBACK")
		require.NoError(t, err)
	}
	keyOnly := charges("acme", "a")
	keyOnly.IdempotencyKey = "key"
	for name, do := range map[string]func(t *testing.T, s *Store, path, copied string) (suffix string){
		"the file has a part of the log, events follow": func(t *testing.T, s *Store, path, copied string) string {
			fresh(t, s, charges("acme", "b"))
			partly(t, s, func() { fresh(t, s, charges("acme", "c")) })
			cp(t, path, copied)
			settled(t, s)
			return ""
		},
		"the file has a part of the log, a key follows": func(t *testing.T, s *Store, path, copied string) string {
			fresh(t, s, charges("acme", "b"))
			partly(t, s, func() { replayed(t, s, keyOnly) })
			cp(t, path, copied)
			settled(t, s)
			return ""
		},
		"the file has a part of the log, events are pruned": func(t *testing.T, s *Store, path, copied string) string {
			fresh(t, s, charges("acme", "b"))
			partly(t, s, func() {
				_, err := s.Prune(t.Context(), received().Add(time.Hour))
				require.NoError(t, err)
			})
			cp(t, path, copied)
			settled(t, s)
			return ""
		},
		"the log ends before events of the file": func(t *testing.T, s *Store, path, copied string) string {
			fresh(t, s, charges("acme", "b"))
			cp(t, path+"-wal", copied)
			fresh(t, s, charges("acme", "c"))
			settled(t, s)
			return "-wal"
		},
		"the log ends before a key of the file": func(t *testing.T, s *Store, path, copied string) string {
			fresh(t, s, charges("acme", "b"))
			cp(t, path+"-wal", copied)
			replayed(t, s, keyOnly)
			settled(t, s)
			return "-wal"
		},
		"the log has no events, and ends before some of the file": func(t *testing.T, s *Store, path, copied string) string {
			_, err := s.Prune(t.Context(), received().Add(time.Hour))
			require.NoError(t, err)
			settled(t, s)
			require.NoError(t, s.writer.do(t.Context(), func() error { return s.writer.transact((*session).touch) }))
			cp(t, path+"-wal", copied)
			fresh(t, s, charges("acme", "c"))
			settled(t, s)
			return "-wal"
		},
		"another program has deleted events": func(t *testing.T, _ *Store, path, copied string) string {
			cp(t, path, copied)
			shell(t, path, "DELETE FROM events WHERE seq < 200; PRAGMA wal_checkpoint(TRUNCATE)")
			return ""
		},
		"another program has changed the schema, and begun the log": func(t *testing.T, _ *Store, path, copied string) string {
			cp(t, path, copied)
			shell(t, path, "CREATE INDEX mine ON events (product_item_id); PRAGMA wal_checkpoint(TRUNCATE)")
			shell(t, path, "CREATE VIEW mine2 AS SELECT 1")
			return ""
		},
		"SQLite made the copy before the schema was changed": func(t *testing.T, _ *Store, path, copied string) string {
			shell(t, path, "VACUUM INTO '"+copied+"'")
			shell(t, path, "CREATE VIEW mine AS SELECT 1")
			return ""
		},
	} {
		for _, stateless := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", without the state file ", stateless), func(t *testing.T) {
				setup := newSetup(t)
				s := setup.open(t)
				fresh(t, s, charges("acme", append(numbered(300), "a")...))
				settled(t, s)
				copied := filepath.Join(t.TempDir(), "copy")
				suffix := do(t, s, setup.path, copied)
				if suffix == "" {
					fresh(t, s, charges("acme", "in the log"))
				}
				dead := crashed(t, setup)
				copyFile(t, copied, dead.path+suffix)
				if stateless {
					require.NoError(t, os.Remove(dead.path+".state"))
				}
				before := contents(t, filepath.Dir(dead.path))
				require.ErrorIs(t, dead.failure(t), ErrWALMismatch)
				after := contents(t, filepath.Dir(dead.path))
				delete(after, "charges.db-shm")
				require.Equal(t, before, after)
			})
		}
	}
}

// TestABackupOfAnEarlierVersionAfterAnUpdateThatWasCutOff: neither the database nor
// most of the log has a mark.
func TestABackupOfAnEarlierVersionAfterAnUpdateThatWasCutOff(t *testing.T) {
	t.Parallel()
	insert := "INSERT INTO events SELECT value, printf('chda_0%025d', value), 1, 'r' || value, NULL, NULL, NULL, NULL, 'p', 0, 0, 0, 0, 0, zeroblob(32), '{}' FROM generate_series"
	for n := 3; ; n += 5 {
		setup := newSetup(t)
		path, err := realPath(setup.path)
		require.NoError(t, err)
		madeVersion4(t, path)
		made(t, path, "INSERT INTO platforms VALUES (1, 'acme')", "PRAGMA journal_mode = wal")
		shell(t, path, insert+"(1, 100)")
		backup, err := os.ReadFile(path)
		require.NoError(t, err)
		shell(t, path, insert+"(101, 200)")
		cut, more := openedUntil(t, setup, n)
		if !more {
			require.Greater(t, n, 10)
			return
		}
		dead := newSetup(t)
		cut.write(t, dead.path)
		if len(cut["-wal"]) < 24+4096 {
			continue // there is nothing in it
		}
		require.NoError(t, os.WriteFile(dead.path, backup, 0o600))
		require.ErrorIs(t, dead.failure(t), ErrWALMismatch, n)
		cut.write(t, dead.path)
		require.EqualValues(t, 200, value[int64](t, dead.open(t), "SELECT count(*) FROM events"))
	}
}

// TestAPowerCutTakesWhatAnotherProgramBegan: another program begins the log, its
// checkpoint has written a page when the store sets a mark, and the power is cut
// before that is synced.
func TestAPowerCutTakesWhatAnotherProgramBegan(t *testing.T) {
	for _, statement := range []string{
		"CREATE INDEX mine ON events (product_item_id)", "VACUUM",
		"UPDATE events SET product_item_id = hex(zeroblob(2000)) WHERE seq = 60",
	} {
		setup := newSetup(t)
		s := setup.open(t)
		fresh(t, s, charges("acme", numbered(100)...))
		settled(t, s)
		to := filepath.Join(t.TempDir(), "copy.db")
		cp(t, setup.path, to)
		shell(t, setup.path, statement)
		log, err := os.ReadFile(setup.path + "-wal")
		require.NoError(t, err)
		for at := 32; at < len(log); at += 24 + 4096 {
			if binary.BigEndian.Uint32(log[at:]) == 1 {
				_, err := s.file.data.WriteAt(log[at+24:][:4096], 0)
				require.NoError(t, err)
			}
		}
		fresh(t, s, charges("acme", "d"))
		dead := crashed(t, setup)
		for _, stateless := range []bool{false, true} {
			again := setup
			again.path = crash(t, dead.path)
			copyFile(t, to, again.path)
			if !stateless {
				copyFile(t, dead.path+".state", again.path+".state")
			}
			replayed(t, again.open(t), charges("acme", append(numbered(100), "d")...))
		}
	}
}

// TestALogThatVacuumBeganIsTheDatabases: it has the mark that was there, which tells
// of an older header.
func TestALogThatVacuumBeganIsTheDatabases(t *testing.T) {
	for _, before := range []string{"SELECT 1", "CREATE INDEX mine ON events (product_item_id)"} {
		setup := newSetup(t)
		s := setup.open(t)
		fresh(t, s, charges("acme", "a"))
		fresh(t, s, charges("acme", numbered(100)...))
		settled(t, s)
		shell(t, setup.path, before+"; PRAGMA wal_checkpoint")
		shell(t, setup.path, "VACUUM")
		dead := crashed(t, setup)
		require.Positive(t, fileSize(dead.path+"-wal"))
		stateless := dead
		stateless.path = crash(t, dead.path)
		replayed(t, dead.open(t), charges("acme", append(numbered(100), "a")...))
		replayed(t, stateless.open(t), charges("acme", append(numbered(100), "a")...))
	}
}

// TestAFrameThatIsHalfWrittenIsNone: a log was started over, and the process was
// killed between the header of a frame and its page, or the power was cut before both
// were synced. The page is what was there before, perhaps with a mark.
func TestAFrameThatIsHalfWrittenIsNone(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	settled(t, s)
	for range 3 {
		require.NoError(t, s.writer.do(t.Context(), func() error { return s.writer.transact((*session).touch) }))
	}
	settled(t, s)
	before := crashed(t, setup)
	fresh(t, s, charges("acme", "b"))
	after := crashed(t, setup)
	log, err := os.ReadFile(before.path + "-wal")
	require.NoError(t, err)
	written, err := os.ReadFile(after.path + "-wal")
	require.NoError(t, err)
	require.NotEqual(t, log[:32], written[:32], "the log was started over")
	for n := 0; 32+n < len(log); n += 24 + 4096 {
		copy(log, written[:32+n+24])
		dead := setup
		dead.path = crash(t, before.path)
		require.NoError(t, os.WriteFile(dead.path+"-wal", log, 0o600))
		replayed(t, dead.open(t), charges("acme", "a"))
	}
}
