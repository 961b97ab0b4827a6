package sqlitestore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func (l *servers) rearrange(t *testing.T) {
	t.Helper()
	steps := []func(*testing.T){l.move, l.copyPair, l.moveDirectory, l.link, l.restoreBackup, l.restoreCopy, l.otherProgram}
	seldom := 8
	if *roundsFlag > 0 {
		seldom = 3
	}
	if l.random.IntN(seldom) > 0 {
		return
	}
	if _, err := os.Stat(l.path); err != nil {
		return
	}
	l.tidy(t)
	steps[l.random.IntN(len(steps))](t)
}

func (l *servers) tidy(t *testing.T) {
	left, err := filepath.Glob(filepath.Join(l.dir, "moved-*"))
	require.NoError(t, err)
	if filepath.Dir(l.path) != l.dir {
		first, err := filepath.Glob(filepath.Join(l.dir, "charges.db*"))
		require.NoError(t, err)
		left = append(left, first...)
	}
	for _, path := range left {
		if path != filepath.Dir(l.path) {
			require.NoError(t, os.RemoveAll(path))
		}
	}
	old, err := filepath.Glob(l.path + "*.old")
	require.NoError(t, err)
	for _, path := range old {
		require.NoError(t, os.Remove(path))
	}
}

func (l *servers) elsewhere(t *testing.T) string {
	t.Helper()
	l.moves++
	folder := filepath.Join(l.dir, fmt.Sprint("moved-", l.moves))
	require.NoError(t, os.Mkdir(folder, 0o700))
	return filepath.Join(folder, "charges.db")
}

func (l *servers) files(t *testing.T, f func(suffix string) error, suffixes ...string) {
	t.Helper()
	for _, suffix := range suffixes {
		if _, err := os.Stat(l.path + suffix); err == nil {
			require.NoError(t, f(suffix))
		}
	}
}

func (l *servers) move(t *testing.T) {
	to := l.elsewhere(t)
	suffixes := []string{"", "-wal", "-journal"}
	if l.random.IntN(2) == 0 {
		suffixes = append(suffixes, ".state", ".lock", "-shm")
	}
	l.files(t, func(suffix string) error { return os.Rename(l.path+suffix, to+suffix) }, suffixes...)
	l.path = to
}

func (l *servers) copyPair(t *testing.T) {
	to := l.elsewhere(t)
	suffixes := []string{"", "-wal", "-journal"}
	if l.random.IntN(2) == 0 {
		suffixes = append(suffixes, ".state")
	}
	l.files(t, func(suffix string) error { copyFile(t, l.path+suffix, to+suffix); return nil }, suffixes...)
	l.path = to
}

func (l *servers) moveDirectory(t *testing.T) {
	if filepath.Dir(l.path) == l.dir {
		l.move(t)
		return
	}
	to := filepath.Dir(l.elsewhere(t))
	require.NoError(t, os.Remove(to))
	require.NoError(t, os.Rename(filepath.Dir(l.path), to))
	l.path = filepath.Join(to, "charges.db")
}

func (l *servers) link(t *testing.T) {
	to := l.elsewhere(t)
	l.files(t, func(suffix string) error { return os.Link(l.path+suffix, to+suffix) }, "", "-wal", "-journal")
	l.path = to
}

func (l *servers) restoreBackup(t *testing.T) {
	l.restore(t, func(s *Store, _, to string) error {
		return errors.Join(s.Backup(t.Context(), to), s.Close())
	})
}

func (l *servers) restoreCopy(t *testing.T) {
	l.restore(t, func(s *Store, path, to string) error {
		return errors.Join(s.Close(), os.Rename(path, to))
	})
}

func (l *servers) restore(t *testing.T, backup func(s *Store, path, to string) error) {
	whole := l.elsewhere(t)
	l.files(t, func(suffix string) error { copyFile(t, l.path+suffix, whole+suffix); return nil }, "", "-wal", "-journal")
	quiet := Options{Logger: slog.New(slog.DiscardHandler)}
	s, err := OpenWith(t.Context(), whole, quiet)
	require.NoError(t, err)
	require.NoError(t, backup(s, whole, whole+".backup"))
	copyFile(t, whole+".backup", l.path)
	log, err := (&file{path: l.path}).readWAL()
	require.NoError(t, err)
	if _, err := os.Stat(l.path + ".state"); err != nil && len(log.marks) == 0 {
		// Killed before the database was open: the store cannot detect the WAL.
		l.files(t, func(suffix string) error { return os.Remove(l.path + suffix) }, "-wal")
		log.frames = 0
	}
	l.files(t, func(suffix string) error { return os.Remove(l.path + suffix) }, "-journal")

	s, err = OpenWith(t.Context(), l.path, quiet)
	if log.frames > 0 {
		require.ErrorIs(t, err, ErrWALMismatch)
		require.NoError(t, os.Rename(l.path+"-wal", l.path+"-wal.old"))
		return
	}
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func (l *servers) otherProgram(t *testing.T) {
	statements := []string{"SELECT count(*) FROM sqlite_schema", "ANALYZE", "VACUUM", "PRAGMA auto_vacuum = 1; VACUUM",
		"CREATE INDEX IF NOT EXISTS mine ON events (timestamp_s)", "DROP INDEX IF EXISTS mine"}
	if _, err := os.Stat(l.path + ".state"); err != nil {
		statements = statements[:1]
	}
	execSQL(t, l.path, statements[l.random.IntN(len(statements))])
}
