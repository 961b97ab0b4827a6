package sqlitestore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
)

func allFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		text := e.Type().String()
		if e.Type().IsRegular() {
			data, err := os.ReadFile(filepath.Join(dir, e.Name()))
			require.NoError(t, err)
			text = string(data)
		}
		files[e.Name()] = text
	}
	return files
}

func newKilled(t *testing.T) setup {
	t.Helper()
	setup := newSetup(t)
	s := setup.open(t)
	b := charges("acme", "a", "")
	b.IdempotencyKey = "key"
	fresh(t, s, b)
	checkpointAll(t, s)
	fresh(t, s, charges("other", "c"))
	return copyKilledWithState(t, setup)
}

func TestToolsAfterCrash(t *testing.T) {
	killed := newKilled(t)
	require.NoError(t, os.Chmod(killed.path, 0o644))
	before := allFiles(t, filepath.Dir(killed.path))
	copied := killed
	copied.path = filepath.Join(t.TempDir(), "copy.db")

	contents, err := Backup(t.Context(), killed.path, copied.path)
	require.NoError(t, err)
	require.EqualValues(t, 3, contents.Events)
	info, err := os.Stat(copied.path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode())
	require.Equal(t, []string{"copy.db"}, fileNames(t, copied.path))

	report, err := Check(t.Context(), killed.path)
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	require.Equal(t, contents, report.Contents)
	require.Equal(t, []PlatformContents{{"acme", 2, 1}, {"other", 1, 0}}, report.Platforms)
	require.Less(t, report.First.ID, report.Last.ID)
	require.Equal(t, received(), report.First.ReceivedAt)
	require.True(t, report.HasWAL && report.WALFrames > 0 && report.HasState && report.StateMatches && !report.InUse)
	require.EqualValues(t, 3, report.AcknowledgedNumber)

	require.Equal(t, before, allFiles(t, filepath.Dir(killed.path)))
	replayed(t, killed.open(t), charges("other", "c"))
	replayed(t, copied.open(t), charges("other", "c"))
}

func TestToolsOfRunningProcess(t *testing.T) {
	t.Parallel()
	setup := newSetup(t)
	s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
	require.NoError(t, err)
	fresh(t, s, charges("acme", "a"))
	require.NoError(t, s.Close())
	p, err := crashtest.Start(t.Context(), childSpec{Path: setup.path})
	require.NoError(t, err)
	before := allFiles(t, filepath.Dir(setup.path))

	report, err := Check(t.Context(), setup.path)
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	require.True(t, report.InUse && report.StateMatches)
	contents, err := Backup(t.Context(), setup.path, filepath.Join(t.TempDir(), "copy.db"))
	require.NoError(t, err)
	require.EqualValues(t, 1, contents.Events)
	after := allFiles(t, filepath.Dir(setup.path))
	delete(before, "charges.db-shm")
	delete(after, "charges.db-shm")
	require.Equal(t, before, after)

	_, err = Restore(t.Context(), setup.path, filepath.Join(t.TempDir(), "new.db"))
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "make a backup of it")
	require.NoError(t, os.Remove(setup.path+".lock"))
	report, err = Check(t.Context(), setup.path)
	require.NoError(t, err)
	require.True(t, report.InUse)
	_, err = Restore(t.Context(), filepath.Join(t.TempDir(), "none.db"), setup.path)
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, p.Stop())
	require.Empty(t, filesNamed(t, setup.path+"-wal"))
}

func filesNamed(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	require.NoError(t, err)
	return found
}

func TestReplacedDatabaseOfRunningProcess(t *testing.T) {
	t.Parallel()
	setup := newSetup(t)
	s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
	require.NoError(t, err)
	fresh(t, s, charges("acme", "a"))
	require.NoError(t, s.Close())
	other := newSetup(t)
	s, err = open(t.Context(), other.path, other.options, other.tuning)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	p, err := crashtest.Start(t.Context(), childSpec{Path: setup.path})
	require.NoError(t, err)
	copyFile(t, other.path, setup.path)
	_, err = Backup(t.Context(), setup.path, filepath.Join(t.TempDir(), "copy.db"))
	require.ErrorIs(t, err, errReplaced)
	p.Kill()
}

func TestToolsRefuseMismatchedFiles(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, path string)
		want error
		text string
	}{
		"the WAL of another database": {func(t *testing.T, path string) {
			copyFile(t, newKilled(t).path+"-wal", path+"-wal")
		}, ErrWALMismatch, "does not belong to"},
		"a restored backup next to the old WAL": {func(t *testing.T, path string) {
			out := filepath.Join(t.TempDir(), "copy.db")
			_, err := Backup(t.Context(), path, out)
			require.NoError(t, err)
			copyFile(t, out, path)
		}, ErrWALMismatch, "does not belong to"},
		"no WAL": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path+"-wal"))
		}, ErrEventsMissing, "number 3 was acknowledged"},
		"a damaged WAL": {func(t *testing.T, path string) {
			require.NoError(t, os.Truncate(path+"-wal", 100))
		}, ErrEventsMissing, "number 3 was acknowledged"},
		"a copy without its WAL": {func(t *testing.T, path string) {
			require.NoError(t, errors.Join(os.Remove(path+"-wal"), os.Remove(path+".state")))
		}, ErrEventsMissing, ", or may be"},
		"a rollback journal": {func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path+"-journal", []byte("x"), 0o600))
		}, nil, "-journal was left by an interrupted transaction"},
	} {
		t.Run(name, func(t *testing.T) {
			killed := newKilled(t)
			c.do(t, killed.path)
			before := allFiles(t, filepath.Dir(killed.path))
			out := filepath.Join(t.TempDir(), "copy.db")
			_, err := Backup(t.Context(), killed.path, out)
			require.ErrorContains(t, err, c.text)
			_, restoreErr := Restore(t.Context(), killed.path, out)
			require.ErrorContains(t, restoreErr, c.text)
			require.NoFileExists(t, out)
			report, checkErr := Check(t.Context(), killed.path)
			require.NoError(t, checkErr)
			require.Len(t, report.Problems, 1)
			require.ErrorContains(t, report.Problems[0], c.text)
			for _, err := range []error{err, restoreErr, report.Problems[0]} {
				if c.want != nil {
					require.ErrorIs(t, err, c.want)
				}
			}
			require.Equal(t, before, allFiles(t, filepath.Dir(killed.path)))
		})
	}
}

func TestToolsRefuseOtherFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(at("text"), []byte("some text that is not a database"), 0o600))
	require.NoError(t, os.WriteFile(at("empty"), nil, 0o600))
	require.NoError(t, os.Mkdir(at("directory"), 0o700))
	require.NoError(t, os.Symlink("gone", at("link")))
	execSQL(t, at("foreign"), "CREATE TABLE t (a)")
	execSQL(t, at("newer"), "PRAGMA application_id = 1667785825", "PRAGMA user_version = 1000", "CREATE TABLE t (a)")
	setup := newSetup(t)
	backup := at("backup")
	s := setup.open(t)
	require.NoError(t, s.Backup(t.Context(), backup))
	before := allFiles(t, dir)
	for name, want := range map[string]error{
		"text": ErrNotEventDatabase, "empty": ErrNotEventDatabase, "directory": ErrNotEventDatabase, "foreign": ErrNotEventDatabase,
		"missing": fs.ErrNotExist, "link": fs.ErrNotExist, "no/directory": fs.ErrNotExist, "newer": ErrSchemaTooNew,
	} {
		_, err := Backup(t.Context(), at(name), at("out"))
		require.ErrorIs(t, err, want, name)
		_, err = Check(t.Context(), at(name))
		require.ErrorIs(t, err, want, name)
		_, err = Restore(t.Context(), at(name), filepath.Join(t.TempDir(), "new.db"))
		require.ErrorIs(t, err, want, name)
		if errors.Is(want, ErrNotEventDatabase) && name != "empty" {
			_, err = Restore(t.Context(), backup, at(name))
			require.ErrorIs(t, err, want, name)
			require.NoError(t, os.Remove(at(name)+".lock"))
		}
	}
	for path, want := range map[string]error{setup.path: ErrLocked, backup + "\n": nil} {
		_, err := Backup(t.Context(), path, at("out"))
		require.Error(t, err)
		if want != nil {
			require.ErrorIs(t, err, want)
		}
	}
	require.Equal(t, before, allFiles(t, dir))
	fresh(t, s, charges("acme", "a"))
}

func TestAbandonedDraftIsRemoved(t *testing.T) {
	path := newKilled(t).path
	out := filepath.Join(t.TempDir(), "copy.db")
	abandoned, err := newDraft(out)
	require.NoError(t, err)
	active, err := newDraft(out)
	require.NoError(t, err)
	require.DirExists(t, abandoned.dir)
	require.NoError(t, errors.Join(abandoned.Close(), abandoned.lock.Close()))
	_, err = Backup(t.Context(), path, out)
	require.NoError(t, err)
	require.NoDirExists(t, abandoned.dir)
	require.DirExists(t, active.dir)
	require.NoError(t, active.remove())
	require.Equal(t, []string{"copy.db"}, fileNames(t, out))
}

func TestCanceledTools(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := fileNames(t, r.path)
	_, err := Backup(ctx, r.path, r.path+".copy")
	require.ErrorIs(t, err, context.Canceled)
	_, err = Restore(ctx, r.backup, r.path)
	require.ErrorIs(t, err, context.Canceled)
	require.ElementsMatch(t, append(before, "charges.db.lock"), fileNames(t, r.path))
}
