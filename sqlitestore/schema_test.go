package sqlitestore

import (
	"database/sql"
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The store does not notice the checkpoint of a schema change.
func TestWALMatchesAfterSchemaChange(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{"CREATE INDEX mine ON events (timestamp_s)", "ANALYZE", "VACUUM"} {
		for name, more := range map[string]func(t *testing.T, s *Store){
			"crash": func(*testing.T, *Store) {},
			"events and a crash": func(t *testing.T, s *Store) {
				fresh(t, s, charges("acme", "b"))
				require.NoError(t, s.Ready(t.Context()))
			},
		} {
			t.Run(statement+" "+name, func(t *testing.T) {
				setup := newSetup(t)
				s := setup.open(t)
				fresh(t, s, charges("acme", "a"))
				sqlite3Shell(t, setup.path, statement+"; PRAGMA wal_checkpoint")
				more(t, s)
				dead := copyKilledWithState(t, setup)
				again := dead.open(t)
				replayed(t, again, charges("acme", "a"))
				require.Equal(t, name != "crash", appended(t, again, charges("acme", "b"))[0].Replayed)
			})
		}
	}
}

func TestSchemaChangedByProgramThatStaysOpen(t *testing.T) {
	setup := newSetup(t)
	s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
	require.NoError(t, err)
	fresh(t, s, charges("acme", "a"))
	db, err := sql.Open("sqlite", setup.path)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec("CREATE VIEW mine AS SELECT 1")
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Positive(t, fileSize(setup.path+"-wal"))
	again := setup.open(t)
	replayed(t, again, charges("acme", "a"))
	require.NoError(t, db.Close())
}

func vacuumed(t *testing.T) (setup setup, s *Store, pages map[int64][]byte) {
	t.Helper()
	setup = newSetup(t)
	s = setup.open(t)
	fresh(t, s, charges("acme", numbered(600)...))
	checkpointAll(t, s)
	sqlite3Shell(t, setup.path, "PRAGMA auto_vacuum = 1; VACUUM") // appends the pages
	fresh(t, s, charges("acme", "a"))
	log, err := os.ReadFile(setup.path + "-wal")
	require.NoError(t, err)
	pages = make(map[int64][]byte)
	size := int(binary.BigEndian.Uint32(log[8:]))
	for at := 32; at+24+size <= len(log) && string(log[at+8:at+16]) == string(log[16:24]); at += 24 + size {
		pages[int64(binary.BigEndian.Uint32(log[at:]))] = log[at+24:][:size]
	}
	require.Greater(t, len(pages), 40)
	return setup, s, pages
}

func TestInterruptedCheckpointAfterVacuum(t *testing.T) {
	t.Parallel()
	setup, s, pages := vacuumed(t)
	numbers := slices.Sorted(maps.Keys(pages))
	first := copyKilledWithState(t, setup)
	require.NoError(t, s.Close())
	before := readPair(t, first.path)
	for range 2 {
		for n := 1; n < min(len(numbers), 40); n += 3 {
			dead := newSetup(t)
			before.write(t, dead.path)
			data, err := os.OpenFile(dead.path, os.O_RDWR, 0)
			require.NoError(t, err)
			for _, number := range numbers[:n] {
				_, err := data.WriteAt(pages[number], (number-1)*4096)
				require.NoError(t, err)
			}
			require.NoError(t, data.Close())
			again, err := open(t.Context(), dead.path, dead.options, dead.tuning)
			require.NoError(t, err, numbers[:n])
			replayed(t, again, charges("acme", append(numbered(600), "a")...))
			require.NoError(t, again.Close())
		}
		slices.Reverse(numbers)
	}
}

func TestAppendDuringForeignCheckpoint(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		for _, backwards := range []bool{false, true} {
			setup, s, pages := vacuumed(t)
			numbers := slices.Sorted(maps.Keys(pages))
			if backwards {
				slices.Reverse(numbers)
			}
			for i, reference := range numbered(640)[600:] {
				_, err := s.file.data.WriteAt(pages[numbers[i]], (numbers[i]-1)*4096)
				require.NoError(t, err)
				fresh(t, s, charges("acme", reference))
				require.Len(t, listed(t, s, "acme"), 602+i, i)
			}
			if fails {
				setup.faults.once("COMMIT", func() error { return errIO })
				_, err := s.Append(t.Context(), charges("acme", "b"))
				unknown(t, err)
			}
			fresh(t, s, charges("acme", "b"))
			require.NoError(t, s.Close())
			replayed(t, setup.open(t), charges("acme", append(numbered(640), "a", "b")...))
		}
	}
}

func TestReopenAfterSchemaChange(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	setup.faults.once("COMMIT", func() error {
		return errIO
	})
	_, err := s.Append(t.Context(), charges("acme", "b"))
	unknown(t, err)
	sqlite3Shell(t, setup.path, "ANALYZE; PRAGMA wal_checkpoint")
	fresh(t, s, charges("acme", "b"))
	require.NoError(t, s.Close())
	replayed(t, setup.open(t), charges("acme", "a", "b"))
}

// The opening of the older pair is unknown if it was opened since.
func TestRestoredPairIsAccepted(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		setup := newSetup(t)
		s := setup.open(t)
		fresh(t, s, charges("acme", "a"))
		if !reopened {
			checkpointAll(t, s)
			fresh(t, s, charges("acme", "a in the WAL"))
		}
		dead := copyKilledWithState(t, setup)
		pair := readPair(t, dead.path)
		delete(pair, ".state")
		if reopened {
			s = dead.open(t)
		}
		fresh(t, s, charges("acme", "later"))
		checkpointAll(t, s)
		fresh(t, s, charges("acme", "in the WAL"))
		path := s.file.path
		restored := setup
		restored.path = copyKilled(t, path)
		copyFile(t, path+".state", restored.path+".state")
		pair.write(t, restored.path)
		if !reopened {
			err := restored.openError(t)
			require.ErrorIs(t, err, ErrEventsMissing)
			require.ErrorContains(t, err, "mv "+restored.path+".state "+restored.path+".state.old")
			require.NoError(t, os.Rename(restored.path+".state", restored.path+".state.old"))
		}
		again := restored.open(t)
		replayed(t, again, charges("acme", "a"))
		fresh(t, again, charges("acme", "later"))
	}
}

func TestOldWALNextToEmptyCopy(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	to := filepath.Join(t.TempDir(), "copy.db")
	copyFile(t, setup.path, to)
	fresh(t, s, charges("acme", numbered(1000)...))
	checkpointAll(t, s)
	fresh(t, s, charges("acme", "in the WAL"))
	dead := copyKilledWithState(t, setup)
	copyFile(t, to, dead.path)
	before := readFiles(t, filepath.Dir(dead.path))
	require.ErrorIs(t, dead.openError(t), ErrWALMismatch)
	require.Equal(t, before, readFiles(t, filepath.Dir(dead.path)))
}

func TestSchemaChangedByAnotherProgram(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{"CREATE INDEX mine ON events (timestamp_s)", "VACUUM", "DROP VIEW charge_events_view; VACUUM"} {
		t.Run(statement, func(t *testing.T) {
			setup := newSetup(t)
			s := setup.open(t)
			fresh(t, s, charges("acme", numbered(100)...))
			_, err := s.Prune(t.Context(), received().Add(time.Second))
			require.NoError(t, err)
			fresh(t, s, charges("acme", "a"))
			sqlite3Shell(t, setup.path, statement)
			fresh(t, s, charges("acme", "b"))
			dead := copyKilledWithState(t, setup)
			replayed(t, dead.open(t), charges("acme", "a", "b"))
			sqlite3Shell(t, setup.path, "PRAGMA wal_checkpoint")
			fresh(t, s, charges("acme", "c"))
			checkpointAll(t, s)
			fresh(t, s, charges("acme", "d"))
			dead = copyKilledWithState(t, setup)
			replayed(t, dead.open(t), charges("acme", "a", "b", "c", "d"))
			require.NoError(t, s.Close())
			require.NoFileExists(t, setup.path+"-wal")
			replayed(t, setup.open(t), charges("acme", "a", "b", "c", "d"))
		})
	}
}
