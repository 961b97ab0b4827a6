package sqlitestore

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
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
func crashed(t *testing.T, s setup) setup {
	t.Helper()
	from := s.path
	s.path = crash(t, from)
	copyFile(t, from+".state", s.path+".state")
	return s
}

// copies are ways to copy a database with one event, "copied", so that the copy
// is of use without the write-ahead log.
func copies() map[string]func(t *testing.T, s *Store, path, to string) *Store {
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
			settled(t, s)
			copyFile(t, path, to)
			return s
		},
		"VACUUM INTO": func(t *testing.T, s *Store, path, to string) *Store {
			shell(t, path, "VACUUM INTO '"+to+"'")
			return s
		},
		".backup": func(t *testing.T, s *Store, path, to string) *Store {
			shell(t, path, ".backup '"+to+"'")
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
			madeVersion4(t, to)
			return s
		},
	}
}

// settled moves the whole log into the database, as the writer does.
func settled(t *testing.T, s *Store) {
	t.Helper()
	require.NoError(t, s.writer.do(t.Context(), func() error {
		s.writer.finishLog()
		return nil
	}))
}

// TestAnOldLogIsNotReplayedOverARestoredDatabase kills a store, and copies an
// older state of its database over it.
func TestAnOldLogIsNotReplayedOverARestoredDatabase(t *testing.T) {
	t.Parallel()
	for _, events := range []int{1, 2000} {
		for name, copied := range copies() {
			if events > 1 && name != "Backup" {
				continue
			}
			t.Run(fmt.Sprint(name, " ", events), func(t *testing.T) {
				setup := newSetup(t)
				s := setup.open(t)
				fresh(t, s, charges("acme", "copied"))
				fresh(t, s, charges("acme", numbered(events)...))
				to := filepath.Join(t.TempDir(), "copy.db")
				if s = copied(t, s, setup.path, to); s == nil {
					s = setup.open(t)
				}
				fresh(t, s, charges("acme", "later"))
				settled(t, s)
				fresh(t, s, charges("acme", "in the log"))

				dead := crashed(t, setup)
				copyFile(t, to, dead.path)
				before := contents(t, filepath.Dir(dead.path))
				err := dead.failure(t)
				require.ErrorIs(t, err, ErrWALMismatch)
				require.ErrorContains(t, err, "mv "+dead.path+"-wal "+dead.path+"-wal.old")
				require.Equal(t, before, contents(t, filepath.Dir(dead.path)))

				// The remedy.
				isCopy := name == "cp while it is open" || name == "VACUUM INTO" || name == ".backup"
				require.NoError(t, os.Rename(dead.path+"-wal", dead.path+"-wal.old"))
				if isCopy {
					require.ErrorContains(t, err, "mv "+dead.path+".state "+dead.path+".state.old")
					require.NoError(t, os.Rename(dead.path+".state", dead.path+".state.old"))
				}
				var log bytes.Buffer
				dead.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
				again := dead.open(t)
				fresh(t, again, charges("acme", "later"))
				if name != "an earlier version" {
					replayed(t, again, charges("acme", "copied"))
				}
				if !isCopy {
					require.Contains(t, log.String(), "it was restored, or replaced")
				}
				require.NoError(t, again.Close())
				log.Reset()
				require.NoError(t, dead.open(t).Close())
				require.NotContains(t, log.String(), "restored")
			})
		}
	}
}

// TestAnOldJournalIsNotRolledBackIntoARestoredDatabase: SQLite does that, too.
func TestAnOldJournalIsNotRolledBackIntoARestoredDatabase(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	require.NoError(t, s.Backup(t.Context(), setup.path+".copy"))
	require.NoError(t, s.Close())
	copyFile(t, setup.path+".copy", setup.path)
	require.NoError(t, os.WriteFile(setup.path+"-journal", []byte("journal"), 0o600))
	err := setup.failure(t)
	require.ErrorIs(t, err, ErrWALMismatch)
	require.ErrorContains(t, err, setup.path+"-journal does not belong")
	require.NoError(t, os.Rename(setup.path+"-journal", setup.path+"-journal.old"))
	setup.open(t)
}

// TestADeletedLogIsMissed deletes the log of a store that was killed, or a part.
func TestADeletedLogIsMissed(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(t *testing.T, log string){
		"deleted": func(t *testing.T, log string) { require.NoError(t, os.Remove(log)) },
		"emptied": func(t *testing.T, log string) { require.NoError(t, os.Truncate(log, 0)) },
		"cut off": func(t *testing.T, log string) { require.NoError(t, os.Truncate(log, 5000)) },
		"damaged": func(t *testing.T, log string) {
			data, err := os.ReadFile(log)
			require.NoError(t, err)
			data[100]++
			require.NoError(t, os.WriteFile(log, data, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			s := setup.open(t)
			fresh(t, s, charges("acme", "a", "b"))
			settled(t, s)
			fresh(t, s, charges("acme", "c"))
			_, err := s.Prune(t.Context(), received().Add(time.Second))
			require.NoError(t, err)
			require.Empty(t, listed(t, s, "acme"))
			fresh(t, s, charges("acme", "d"))
			require.NoError(t, s.Ready(t.Context())) // the state file is written after Append returns
			dead := crashed(t, setup)
			log := dead.path + "-wal"
			copyFile(t, log, log+".saved")
			harm(t, log)
			before := contents(t, filepath.Dir(dead.path))
			for range 2 {
				err := dead.failure(t)
				require.ErrorIs(t, err, ErrEventsMissing)
				require.ErrorContains(t, err, "number 4 was acknowledged")
				require.ErrorContains(t, err, "mv "+dead.path+".state "+dead.path+".state.old")
				after := contents(t, filepath.Dir(dead.path))
				delete(after, "charges.db-shm")
				require.Equal(t, before, after)
			}

			repaired, lost := dead, dead
			lost.path = crash(t, copyOf(t, dead).path)
			fresh(t, lost.open(t), charges("acme", "d")) // without the state file
			require.NoError(t, os.Rename(log+".saved", log))
			replayed(t, repaired.open(t), charges("acme", "d"))
		})
	}
}

// copyOf copies a database alone, next to an empty log.
func copyOf(t *testing.T, s setup) setup {
	t.Helper()
	to := filepath.Join(t.TempDir(), "charges.db")
	copyFile(t, s.path, to)
	require.NoError(t, os.WriteFile(to+"-wal", nil, 0o600))
	s.path = to
	return s
}

// TestALogDeletedBeforeTheStateFileIsWrittenIsMissed kills a store before the first
// event of its log is in the state file.
func TestALogDeletedBeforeTheStateFileIsWrittenIsMissed(t *testing.T) {
	for name, first := range map[string]func(t *testing.T, s *Store){
		"a new database": func(*testing.T, *Store) {},
		"after a checkpoint": func(t *testing.T, s *Store) {
			fresh(t, s, charges("acme", "before"))
			settled(t, s)
		},
		"after Prune": func(t *testing.T, s *Store) {
			fresh(t, s, charges("acme", "before"))
			settled(t, s)
			_, err := s.Prune(t.Context(), received().Add(time.Second))
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			setup.tuning.stateEvery = time.Hour
			s := setup.open(t)
			first(t, s)
			fresh(t, s, charges("acme", "a"))
			dead := crashed(t, setup)
			require.NoError(t, os.Remove(dead.path+"-wal"))
			require.ErrorIs(t, dead.failure(t), ErrEventsMissing)
		})
	}
}

// TestACompleteCopyIsNotReported restores copies that SQLite made, as the README
// says.
func TestACompleteCopyIsNotReported(t *testing.T) {
	for _, name := range []string{"Backup", "VACUUM INTO", ".backup", "cp after Close"} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			s := setup.open(t)
			fresh(t, s, charges("acme", "copied"))
			restored := newSetup(t)
			copies()[name](t, s, setup.path, restored.path)
			var log bytes.Buffer
			restored.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
			replayed(t, restored.open(t), charges("acme", "copied"))
			require.Empty(t, log.String())
		})
	}
}

// TestADatabaseThatIsGoneIsMissed: it had events, and is deleted or empty.
func TestADatabaseThatIsGoneIsMissed(t *testing.T) {
	for _, gone := range []func(path string) error{os.Remove, func(path string) error { return os.Truncate(path, 0) }} {
		setup := newSetup(t)
		s := setup.open(t)
		require.NoError(t, s.Close())
		require.NoError(t, gone(setup.path))
		s = setup.open(t) // it had none
		fresh(t, s, charges("acme", "a"))
		require.NoError(t, s.Close())
		require.NoError(t, gone(setup.path))
		before := contents(t, filepath.Dir(setup.path))
		err := setup.failure(t)
		require.ErrorIs(t, err, ErrEventsMissing)
		require.ErrorContains(t, err, "had events up to number 1. Put it back, or start with a new one: mv "+setup.path+".state "+setup.path+".state.old")
		require.Equal(t, before, contents(t, filepath.Dir(setup.path)))
		require.NoError(t, os.Rename(setup.path+".state", setup.path+".state.old"))
		require.Empty(t, listed(t, setup.open(t), "acme"))
	}
}

// TestTheRemedyForAnOldLogKeepsTheState puts a log back that was moved into the
// database long ago. The database is whole, so its state file is to stay.
func TestTheRemedyForAnOldLogKeepsTheState(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	dead := crashed(t, setup)
	copyFile(t, dead.path+"-wal", dead.path+"-wal.saved")
	require.NoError(t, dead.open(t).Close())
	require.NoError(t, os.Rename(dead.path+"-wal.saved", dead.path+"-wal"))
	err := dead.failure(t)
	require.ErrorIs(t, err, ErrWALMismatch)
	require.NotContains(t, err.Error(), ".state")
}

// TestTheLogOfARestoredDatabaseIsCounted restores a database with its log: the
// warning must not say that it has no events.
func TestTheLogOfARestoredDatabaseIsCounted(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a", "b"))
	dead := crashed(t, setup)
	other := newSetup(t)
	fresh(t, other.open(t), charges("acme", "x"))
	other = crashed(t, other)
	copyFile(t, other.path+".state", dead.path+".state")
	var log bytes.Buffer
	dead.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
	replayed(t, dead.open(t), charges("acme", "a", "b"))
	require.Contains(t, log.String(), "restored, or replaced")
	require.Contains(t, log.String(), `"newest event now"=2`)
}

// TestALogThatWasMovedIsNotMissed opens a database in the shell after a crash.
// The last program that closes it moves the log into it, and deletes the log.
func TestALogThatWasMovedIsNotMissed(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a", "b"))
	dead := crashed(t, setup)
	require.Equal(t, "2", shell(t, dead.path, "SELECT count(*) FROM events"))
	require.NoFileExists(t, dead.path+"-wal")
	again := dead.open(t)
	replayed(t, again, charges("acme", "a", "b"))

	dead = crashed(t, dead)
	require.Empty(t, shell(t, dead.path, "DELETE FROM lookup; DELETE FROM events"))
	require.Empty(t, listed(t, dead.open(t), "acme"))

	dead = crashed(t, setup)
	require.Empty(t, shell(t, dead.path, "VACUUM"))
	replayed(t, dead.open(t), charges("acme", "a", "b"))
}

// TestALogUnderAnotherNameIsMissed opens a database that was killed by a hard
// link, which has no log.
func TestALogUnderAnotherNameIsMissed(t *testing.T) {
	for _, served := range []bool{false, true} {
		setup := newSetup(t)
		linked := setup
		linked.path = filepath.Join(t.TempDir(), "linked.db")
		s := setup.open(t)
		require.NoError(t, os.Link(setup.path, linked.path))
		if served { // and has a state file
			require.NoError(t, s.Close())
			require.NoError(t, linked.open(t).Close())
			s = setup.open(t)
		}
		fresh(t, s, charges("acme", "a"))
		dead := crashed(t, setup)
		require.NoError(t, os.Remove(linked.path))
		require.NoError(t, os.Link(dead.path, linked.path))
		before := contents(t, filepath.Dir(linked.path))
		err := linked.failure(t)
		require.ErrorIs(t, err, ErrEventsMissing)
		require.ErrorContains(t, err, "-samefile "+linked.path)
		require.Equal(t, before, contents(t, filepath.Dir(linked.path)))

		again := dead.open(t)
		replayed(t, again, charges("acme", "a"))
		require.NoError(t, again.Close())
		replayed(t, linked.open(t), charges("acme", "a"))
	}
}

// TestADatabaseThatWasMovedWithoutItsLogIsReported: no state is known of it.
func TestADatabaseThatWasMovedWithoutItsLogIsReported(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	moved := newSetup(t)
	copyFile(t, setup.path, moved.path)
	var log bytes.Buffer
	moved.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
	require.NoError(t, moved.open(t).Close())
	require.Contains(t, log.String(), "was not closed")
	log.Reset()
	require.NoError(t, moved.open(t).Close())
	require.NoError(t, s.Close())
	copyFile(t, setup.path, moved.path)
	require.NoError(t, moved.open(t).Close())
	require.NotContains(t, log.String(), "was not closed")
}

// TestFilesThatBelongTogetherAreAccepted moves and copies databases whose store
// was killed.
func TestFilesThatBelongTogetherAreAccepted(t *testing.T) {
	t.Parallel()
	move := func(t *testing.T, from, to string, suffixes ...string) {
		for _, suffix := range suffixes {
			require.NoError(t, os.Rename(from+suffix, to+suffix))
		}
	}
	for name, do := range map[string]func(t *testing.T, path string) string{
		"the database and its log are copied": crash,
		"both are moved": func(t *testing.T, path string) string {
			to := filepath.Join(t.TempDir(), "new.db")
			move(t, path, to, "", "-wal")
			return to
		},
		"all files are moved": func(t *testing.T, path string) string {
			to := filepath.Join(t.TempDir(), "new.db")
			move(t, path, to, "", "-wal", ".state")
			return to
		},
		"the directory is moved": func(t *testing.T, path string) string {
			to := filepath.Join(t.TempDir(), "moved")
			require.NoError(t, os.Rename(filepath.Dir(path), to))
			return filepath.Join(to, "charges.db")
		},
		"they are moved away and back": func(t *testing.T, path string) string {
			away := filepath.Join(t.TempDir(), "away.db")
			move(t, path, away, "", "-wal", ".state")
			other := newSetup(t)
			other.path = path
			s := other.open(t)
			fresh(t, s, charges("acme", "other"))
			require.NoError(t, s.Close())
			move(t, away, path, "", "-wal", ".state")
			return path
		},
		"the state file is damaged": func(t *testing.T, path string) string {
			require.NoError(t, os.WriteFile(path+".state", []byte("chargeingest state 1\n"), 0o600))
			return path
		},
		"the state file is that of a moment before": func(t *testing.T, path string) string {
			state, err := os.ReadFile(path + ".state")
			require.NoError(t, err)
			decoded, ok := decodeState(state)
			require.True(t, ok)
			decoded.newest = 0
			require.NoError(t, os.WriteFile(path+".state", decoded.encode(), 0o600))
			return path
		},
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
			require.NoError(t, err)
			fresh(t, s, charges("acme", "a"))
			dead := crashed(t, setup)
			require.NoError(t, s.Close())
			dead.path = do(t, dead.path)
			replayed(t, dead.open(t), charges("acme", "a"))
		})
	}
}

// TestAnOpeningThatWasCutOffIsFinished leaves the files as a process does that is
// killed at an operation on them while it opens the database.
func TestAnOpeningThatWasCutOffIsFinished(t *testing.T) {
	t.Parallel()
	step := 20
	if *roundsFlag > 0 {
		step = 1
	}
	for name, from := range map[string]func(*testing.T, setup) setup{
		"after a crash": func(t *testing.T, s setup) setup {
			fresh(t, s.open(t), charges("acme", "a"))
			return crashed(t, s)
		},
		"of an earlier version": func(t *testing.T, s setup) setup {
			madeVersion4(t, s.path)
			return s
		},
		"of a new database": func(_ *testing.T, s setup) setup { return s },
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n += step {
				dead := from(t, newSetup(t))
				cut, more := openedUntil(t, dead, n)
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

// openedUntil opens a database, and returns its files as they are before the nth
// operation on them, and false if there are fewer.
func openedUntil(t *testing.T, s setup, n int) (cut files, more bool) {
	t.Helper()
	path, err := realPath(s.path)
	require.NoError(t, err)
	came := 0
	disks.Store(path, disk(func(operation) int32 {
		if came++; came == n {
			cut = filesOf(t, path)
		}
		return 0
	}))
	opened, err := open(t.Context(), path, s.options, s.tuning)
	require.NoError(t, err)
	disks.Delete(path)
	require.NoError(t, opened.Close())
	return cut, came >= n
}

// madeVersion4 makes a database of an earlier version, without a token.
func madeVersion4(t *testing.T, path string) {
	t.Helper()
	scripts, err := migrationScripts()
	require.NoError(t, err)
	statements := []string{fmt.Sprintf("PRAGMA application_id = %d", applicationID)}
	statements = append(statements, scripts[:4]...)
	made(t, path, append(statements, "PRAGMA user_version = 4")...)
}

// files are the files of a database, by suffix.
type files map[string][]byte

func filesOf(t *testing.T, path string) files {
	t.Helper()
	all := make(files)
	for _, suffix := range []string{"", "-wal", ".state"} {
		if data, err := os.ReadFile(path + suffix); err == nil {
			all[suffix] = data
		}
	}
	return all
}

func (f files) write(t *testing.T, path string) {
	t.Helper()
	for suffix, data := range f {
		require.NoError(t, os.WriteFile(path+suffix, data, 0o600))
	}
}

// TestAFileThatReplacesAnOpenDatabaseIsLeftAlone replaces the database of a store
// that is serving.
func TestAFileThatReplacesAnOpenDatabaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	appending := func(t *testing.T, s *Store) {
		_, err := s.Append(t.Context(), charges("acme", "after"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.Error(t, s.Ready(t.Context()))
	}
	for name, use := range map[string]func(*testing.T, *Store){
		"nothing is done": func(*testing.T, *Store) {},
		"Append":          appending,
		"a checkpoint":    settled,
		"a checkpoint by its side": func(t *testing.T, s *Store) {
			require.NoError(t, s.writer.do(t.Context(), func() error {
				s.writer.startCheckpoint()
				return nil
			}))
		},
		"List": func(t *testing.T, s *Store) {
			_, _ = s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
		},
	} {
		for kind, copied := range copies() {
			for _, inPlace := range []bool{false, true} {
				if kind != "Backup" && (name != "nothing is done" && name != "Append" || !inPlace) {
					continue
				}
				t.Run(fmt.Sprint(name, " ", kind, " ", inPlace), func(t *testing.T) {
					setup := newSetup(t)
					var log bytes.Buffer
					setup.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
					reopen := func() *Store {
						s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
						require.NoError(t, err)
						return s
					}
					s := reopen()
					fresh(t, s, charges("acme", "copied"))
					to := filepath.Join(filepath.Dir(setup.path), "copy.db")
					if s = copied(t, s, setup.path, to); s == nil {
						s = reopen()
					}
					fresh(t, s, charges("acme", "before"))
					settled(t, s)
					fresh(t, s, charges("acme", "in the log"))
					want, err := os.ReadFile(to)
					require.NoError(t, err)

					if inPlace {
						copyFile(t, to, setup.path)
					} else {
						require.NoError(t, os.Rename(setup.path, setup.path+".before"))
						require.NoError(t, os.Rename(to, setup.path))
					}
					use(t, s)
					require.Equal(t, inPlace, s.Close() != nil)
					requireNoneOpen(t, s.file.path)
					got, err := os.ReadFile(setup.path)
					require.NoError(t, err)
					require.True(t, bytes.Equal(want, got), "the file was changed")
					require.NoFileExists(t, setup.path+"-wal")
					aside, err := filepath.Glob(setup.path + "-wal.replaced-*")
					require.NoError(t, err)
					if inPlace {
						require.Len(t, aside, 1)
						require.Contains(t, log.String(), aside[0])
					} else {
						before := setup
						before.path += ".before"
						replayed(t, before.open(t), charges("acme", "in the log"))
					}
				})
			}
		}
	}
}

// TestTheLogOfADeletedDatabaseIsKept: it may be all that is left.
func TestTheLogOfADeletedDatabaseIsKept(t *testing.T) {
	for _, noticed := range []bool{false, true} {
		setup := newSetup(t)
		s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
		require.NoError(t, err)
		fresh(t, s, charges("acme", "a"))
		want, err := os.ReadFile(setup.path + "-wal")
		require.NoError(t, err)
		require.NoError(t, os.Remove(setup.path))
		if noticed {
			require.Error(t, s.Ready(t.Context()))
		}
		require.NoError(t, s.Close())
		aside, err := filepath.Glob(setup.path + "-wal.replaced-*")
		require.NoError(t, err)
		require.Len(t, aside, 1)
		got, err := os.ReadFile(aside[0])
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	}
}

// TestAReplacedDatabaseIsNotRead: pages of two databases would be mixed.
func TestAReplacedDatabaseIsNotRead(t *testing.T) {
	setup := newSetup(t)
	s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
	require.NoError(t, err)
	require.NoError(t, s.Backup(t.Context(), setup.path+".copy"))
	stored := fresh(t, s, charges("acme", "a"))
	copyFile(t, setup.path+".copy", setup.path)
	_, err = s.Get(t.Context(), "acme", stored[0])
	require.ErrorIs(t, err, errReplaced)
	require.ErrorIs(t, s.Backup(t.Context(), setup.path+".second"), errReplaced)
	require.Error(t, s.Close())
}

// TestALogThatWasPutThereIsMovedAway replaces the log of a store by another one,
// which the next store would take for its own.
func TestALogThatWasPutThereIsMovedAway(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.lookEvery = time.Hour
	s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
	require.NoError(t, err)
	fresh(t, s, charges("acme", "a"))
	other := newSetup(t)
	fresh(t, other.open(t), charges("acme", numbered(50)...))
	require.NoError(t, os.Remove(setup.path+"-wal"))
	copyFile(t, other.path+"-wal", setup.path+"-wal")
	require.NoError(t, s.Close())
	aside, err := filepath.Glob(setup.path + "-wal.replaced-*")
	require.NoError(t, err)
	require.Len(t, aside, 1)
	again := setup.open(t)
	require.Len(t, listed(t, again, "acme"), 1)
}

// TestAnotherProgramMayChangeTheSchema and move all pages while a store is open.
func TestAnotherProgramMayChangeTheSchema(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{"CREATE INDEX mine ON events (product_item_id)", "VACUUM", "DROP VIEW charge_events_view; VACUUM"} {
		t.Run(statement, func(t *testing.T) {
			setup := newSetup(t)
			s := setup.open(t)
			fresh(t, s, charges("acme", numbered(100)...))
			_, err := s.Prune(t.Context(), received().Add(time.Second)) // so that there is something to move
			require.NoError(t, err)
			fresh(t, s, charges("acme", "a"))
			shell(t, setup.path, statement)
			fresh(t, s, charges("acme", "b"))
			dead := crashed(t, setup)
			replayed(t, dead.open(t), charges("acme", "a", "b"))
			shell(t, setup.path, "PRAGMA wal_checkpoint")
			fresh(t, s, charges("acme", "c"))
			settled(t, s)
			fresh(t, s, charges("acme", "d"))
			dead = crashed(t, setup)
			replayed(t, dead.open(t), charges("acme", "a", "b", "c", "d"))
			require.NoError(t, s.Close())
			require.NoFileExists(t, setup.path+"-wal")
			replayed(t, setup.open(t), charges("acme", "a", "b", "c", "d"))
		})
	}
}

func TestABackupHasAMarkOfItsOwn(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	var seen []token
	for i := range 2 {
		to := fmt.Sprint(setup.path, ".", i)
		require.NoError(t, s.Backup(t.Context(), to))
		f := &file{path: to, tuning: setup.tuning, data: s.file.data}
		c := f.look(context.Background())
		require.NoError(t, c.err)
		require.False(t, c.mark.open)
		require.NotContains(t, append(seen, token{}, s.file.mark.opening), c.mark.opening)
		seen = append(seen, c.mark.opening)
	}
}

func TestDamagedStatesAreNone(t *testing.T) {
	s := state{now: newToken(), next: newToken(), at: 8000, newest: 1 << 62}
	text := s.encode()
	require.Less(t, len(text), 512, "one sector")
	require.Len(t, state{}.encode(), len(text))
	decoded, ok := decodeState(text)
	require.True(t, ok)
	require.Equal(t, s, decoded)
	for i := range text {
		_, ok := decodeState(text[:i])
		require.False(t, ok, i)
		changed := bytes.Clone(text)
		changed[i] ^= 1
		_, ok = decodeState(changed)
		require.False(t, ok, i)
	}
	_, ok = decodeState(append(text, '\n'))
	require.False(t, ok)
}

// TestTheStateFileFollows the acknowledged events by itself, and at the latest when
// the store closes.
func TestTheStateFileFollows(t *testing.T) {
	newest := func(s *Store) int64 {
		text, err := os.ReadFile(s.file.path + ".state")
		require.NoError(t, err)
		st, ok := decodeState(text)
		require.True(t, ok)
		return st.newest
	}
	setup := newSetup(t)
	setup.tuning.stateEvery = time.Millisecond
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	fresh(t, s, charges("acme", "b"))
	require.Eventually(t, func() bool { return newest(s) == 2 }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.Close())

	setup.tuning.stateEvery = time.Hour
	s = setup.open(t)
	fresh(t, s, charges("acme", "c"))
	require.EqualValues(t, 3, newest(s), "the first event in the log")
	fresh(t, s, charges("acme", "d"))
	require.EqualValues(t, 3, newest(s))
	require.NoError(t, s.Close())
	require.EqualValues(t, 4, newest(s))
}
