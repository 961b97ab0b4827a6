package sqlitestore

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOldWALNextToRestoredDatabase(t *testing.T) {
	t.Parallel()
	for _, events := range []int{1, 2000} {
		for name, copied := range copyMethods() {
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
				checkpointAll(t, s)
				fresh(t, s, charges("acme", "in the WAL"))

				dead := copyKilledWithState(t, setup)
				copyFile(t, to, dead.path)
				before := readFiles(t, filepath.Dir(dead.path))
				err := dead.openError(t)
				require.ErrorIs(t, err, ErrWALMismatch)
				require.ErrorContains(t, err, "mv "+dead.path+"-wal "+dead.path+"-wal.old")
				require.Equal(t, before, readFiles(t, filepath.Dir(dead.path)))

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
					require.Contains(t, log.String(), "it was restored or replaced")
				}
				require.NoError(t, again.Close())
				log.Reset()
				require.NoError(t, dead.open(t).Close())
				require.NotContains(t, log.String(), "restored")
			})
		}
	}
}

func TestJournalNextToRestoredDatabase(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	require.NoError(t, s.Backup(t.Context(), setup.path+".copy"))
	require.NoError(t, s.Close())
	copyFile(t, setup.path+".copy", setup.path)
	require.NoError(t, os.WriteFile(setup.path+"-journal", []byte("journal"), 0o600))
	err := setup.openError(t)
	require.ErrorIs(t, err, ErrWALMismatch)
	require.ErrorContains(t, err, setup.path+"-journal does not belong")
	require.NoError(t, os.Rename(setup.path+"-journal", setup.path+"-journal.old"))
	setup.open(t)
}

func TestCompleteCopyWarnsNothing(t *testing.T) {
	for _, name := range []string{"Backup", "VACUUM INTO", ".backup", "cp after Close"} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			s := setup.open(t)
			fresh(t, s, charges("acme", "copied"))
			restored := newSetup(t)
			copyMethods()[name](t, s, setup.path, restored.path)
			var log bytes.Buffer
			restored.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
			replayed(t, restored.open(t), charges("acme", "copied"))
			require.Empty(t, log.String())
		})
	}
}

func TestOldWALRemedyKeepsState(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	dead := copyKilledWithState(t, setup)
	copyFile(t, dead.path+"-wal", dead.path+"-wal.saved")
	require.NoError(t, dead.open(t).Close())
	require.NoError(t, os.Rename(dead.path+"-wal.saved", dead.path+"-wal"))
	err := dead.openError(t)
	require.ErrorIs(t, err, ErrWALMismatch)
	require.NotContains(t, err.Error(), ".state")
}

func TestRestoredWALIsCounted(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a", "b"))
	dead := copyKilledWithState(t, setup)
	other := newSetup(t)
	fresh(t, other.open(t), charges("acme", "x"))
	other = copyKilledWithState(t, other)
	copyFile(t, other.path+".state", dead.path+".state")
	var log bytes.Buffer
	dead.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
	replayed(t, dead.open(t), charges("acme", "a", "b"))
	require.Contains(t, log.String(), "restored or replaced")
	require.Contains(t, log.String(), `newest_now=2`)
}

func TestDatabaseMovedWithoutWAL(t *testing.T) {
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

func TestMatchingFilesAreAccepted(t *testing.T) {
	t.Parallel()
	move := func(t *testing.T, from, to string, suffixes ...string) {
		for _, suffix := range suffixes {
			require.NoError(t, os.Rename(from+suffix, to+suffix))
		}
	}
	for name, do := range map[string]func(t *testing.T, path string) string{
		"the database and its log are copied": copyKilled,
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
		"the state file is older": func(t *testing.T, path string) string {
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
			dead := copyKilledWithState(t, setup)
			require.NoError(t, s.Close())
			dead.path = do(t, dead.path)
			replayed(t, dead.open(t), charges("acme", "a"))
		})
	}
}
