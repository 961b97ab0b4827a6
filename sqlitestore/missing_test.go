package sqlitestore

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDeletedWAL(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, wal string){
		"deleted": func(t *testing.T, wal string) { require.NoError(t, os.Remove(wal)) },
		"emptied": func(t *testing.T, wal string) { require.NoError(t, os.Truncate(wal, 0)) },
		"cut off": func(t *testing.T, wal string) { require.NoError(t, os.Truncate(wal, 5000)) },
		"damaged": func(t *testing.T, wal string) {
			data, err := os.ReadFile(wal)
			require.NoError(t, err)
			data[100]++
			require.NoError(t, os.WriteFile(wal, data, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			s := setup.open(t)
			fresh(t, s, charges("acme", "a", "b"))
			checkpointAll(t, s)
			fresh(t, s, charges("acme", "c"))
			_, err := s.Prune(t.Context(), received().Add(time.Second))
			require.NoError(t, err)
			require.Empty(t, listed(t, s, "acme"))
			fresh(t, s, charges("acme", "d"))
			require.NoError(t, s.Ready(t.Context())) // writes the state file
			dead := copyKilledWithState(t, setup)
			wal := dead.path + "-wal"
			copyFile(t, wal, wal+".saved")
			damage(t, wal)
			before := readFiles(t, filepath.Dir(dead.path))
			for range 2 {
				err := dead.openError(t)
				require.ErrorIs(t, err, ErrEventsMissing)
				require.ErrorContains(t, err, "number 4 was acknowledged")
				require.ErrorContains(t, err, "mv "+dead.path+".state "+dead.path+".state.old")
				after := readFiles(t, filepath.Dir(dead.path))
				delete(after, "charges.db-shm")
				require.Equal(t, before, after)
			}

			repaired, lost := dead, dead
			lost.path = copyKilled(t, copyOf(t, dead).path)
			fresh(t, lost.open(t), charges("acme", "d"))
			require.NoError(t, os.Rename(wal+".saved", wal))
			replayed(t, repaired.open(t), charges("acme", "d"))
		})
	}
}

func copyOf(t *testing.T, s setup) setup {
	t.Helper()
	to := filepath.Join(t.TempDir(), "charges.db")
	copyFile(t, s.path, to)
	require.NoError(t, os.WriteFile(to+"-wal", nil, 0o600))
	s.path = to
	return s
}

func TestWALDeletedBeforeStateIsWritten(t *testing.T) {
	for name, first := range map[string]func(t *testing.T, s *Store){
		"a new database": func(*testing.T, *Store) {},
		"after a checkpoint": func(t *testing.T, s *Store) {
			fresh(t, s, charges("acme", "before"))
			checkpointAll(t, s)
		},
		"after Prune": func(t *testing.T, s *Store) {
			fresh(t, s, charges("acme", "before"))
			checkpointAll(t, s)
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
			dead := copyKilledWithState(t, setup)
			require.NoError(t, os.Remove(dead.path+"-wal"))
			require.ErrorIs(t, dead.openError(t), ErrEventsMissing)
		})
	}
}

func TestMissingDatabase(t *testing.T) {
	for _, gone := range []func(path string) error{os.Remove, func(path string) error { return os.Truncate(path, 0) }} {
		setup := newSetup(t)
		s := setup.open(t)
		require.NoError(t, s.Close())
		require.NoError(t, gone(setup.path))
		s = setup.open(t)
		fresh(t, s, charges("acme", "a"))
		require.NoError(t, s.Close())
		require.NoError(t, gone(setup.path))
		before := readFiles(t, filepath.Dir(setup.path))
		err := setup.openError(t)
		require.ErrorIs(t, err, ErrEventsMissing)
		require.ErrorContains(t, err, "had events up to number 1. Restore it, or start with a new database: mv "+setup.path+".state "+setup.path+".state.old")
		require.Equal(t, before, readFiles(t, filepath.Dir(setup.path)))
		require.NoError(t, os.Rename(setup.path+".state", setup.path+".state.old"))
		require.Empty(t, listed(t, setup.open(t), "acme"))
	}
}

func TestWALMovedByShell(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a", "b"))
	dead := copyKilledWithState(t, setup)
	require.Equal(t, "2", sqlite3Shell(t, dead.path, "SELECT count(*) FROM events"))
	require.NoFileExists(t, dead.path+"-wal")
	again := dead.open(t)
	replayed(t, again, charges("acme", "a", "b"))

	dead = copyKilledWithState(t, dead)
	require.Empty(t, sqlite3Shell(t, dead.path, "DELETE FROM events"))
	require.Empty(t, listed(t, dead.open(t), "acme"))

	dead = copyKilledWithState(t, setup)
	require.Empty(t, sqlite3Shell(t, dead.path, "VACUUM"))
	replayed(t, dead.open(t), charges("acme", "a", "b"))
}

func TestHardLinkWithoutWAL(t *testing.T) {
	for _, served := range []bool{false, true} {
		setup := newSetup(t)
		linked := setup
		linked.path = filepath.Join(t.TempDir(), "linked.db")
		s := setup.open(t)
		require.NoError(t, os.Link(setup.path, linked.path))
		if served {
			require.NoError(t, s.Close())
			require.NoError(t, linked.open(t).Close())
			s = setup.open(t)
		}
		fresh(t, s, charges("acme", "a"))
		dead := copyKilledWithState(t, setup)
		require.NoError(t, os.Remove(linked.path))
		require.NoError(t, os.Link(dead.path, linked.path))
		before := readFiles(t, filepath.Dir(linked.path))
		err := linked.openError(t)
		require.ErrorIs(t, err, ErrEventsMissing)
		require.ErrorContains(t, err, "-samefile "+linked.path)
		require.Equal(t, before, readFiles(t, filepath.Dir(linked.path)))

		again := dead.open(t)
		replayed(t, again, charges("acme", "a"))
		require.NoError(t, again.Close())
		replayed(t, linked.open(t), charges("acme", "a"))
	}
}
