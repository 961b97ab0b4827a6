package sqlitestore

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestReplacedFileIsNotChanged(t *testing.T) {
	t.Parallel()
	appending := func(t *testing.T, s *Store) {
		_, err := s.Append(t.Context(), charges("acme", "after"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.Error(t, s.Ready(t.Context()))
	}
	for name, use := range map[string]func(*testing.T, *Store){
		"nothing is done": func(*testing.T, *Store) {},
		"Append":          appending,
		"a checkpoint":    checkpointAll,
		"a checkpoint beside appends": func(t *testing.T, s *Store) {
			require.NoError(t, s.writer.do(t.Context(), func() error {
				s.writer.startCheckpoint()
				return nil
			}))
		},
		"List": func(t *testing.T, s *Store) {
			_, _ = s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
		},
	} {
		for kind, copied := range copyMethods() {
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
					checkpointAll(t, s)
					fresh(t, s, charges("acme", "in the WAL"))
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
					requireNoOpenFiles(t, s.file.path)
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
						replayed(t, before.open(t), charges("acme", "in the WAL"))
					}
				})
			}
		}
	}
}

func TestWALOfDeletedDatabaseIsKept(t *testing.T) {
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

func TestReplacedDatabaseIsNotRead(t *testing.T) {
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

func TestForeignWALIsMovedAway(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.walCheckEvery = time.Hour
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

func TestOlderCopyOverOpenDatabase(t *testing.T) {
	setup := newSetup(t)
	s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
	require.NoError(t, err)
	fresh(t, s, charges("acme", numbered(20)...))
	checkpointAll(t, s)
	older, err := os.ReadFile(setup.path)
	require.NoError(t, err)
	_, err = s.Prune(t.Context(), received().Add(time.Hour))
	require.NoError(t, err)
	checkpointAll(t, s)
	require.NoError(t, os.WriteFile(setup.path, older, 0o600))
	_, err = s.Append(t.Context(), charges("acme", "later"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	require.ErrorIs(t, s.Close(), errReplaced)
	now, err := os.ReadFile(setup.path)
	require.NoError(t, err)
	require.Equal(t, older, now)
}
