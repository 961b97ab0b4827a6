package sqlitestore

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
)

type restoring struct {
	setup
	backup string

	before, restored []string
}

func newRestoring(t *testing.T, dir string) restoring {
	t.Helper()
	setup := newSetup(t)
	s := setup.open(t)
	r := restoring{setup: setup, before: []string{"a", "b", "c"}, restored: []string{"a"}, backup: filepath.Join(dir, "backup.db")}
	r.path = filepath.Join(dir, "charges.db")
	fresh(t, s, charges("acme", "a"))
	require.NoError(t, s.Backup(t.Context(), r.backup))
	fresh(t, s, charges("acme", "b"))
	checkpointAll(t, s)
	fresh(t, s, charges("acme", "c"))
	for _, suffix := range []string{"", "-wal", "-shm", ".state"} {
		cp(t, setup.path+suffix, r.path+suffix)
	}
	require.NoError(t, s.Close())
	return r
}

func (r restoring) references(t *testing.T, path string) (list []string) {
	t.Helper()
	opened := r.setup
	opened.path = path
	s, err := open(t.Context(), path, r.options, r.tuning)
	require.NoError(t, err)
	for _, reference := range r.before {
		events, err := s.List(t.Context(), byReferenceQuery(reference))
		require.NoError(t, err)
		if len(events.Events) > 0 {
			list = append(list, reference)
		}
	}
	require.NoError(t, s.Close())
	return list
}

func copyDir(t *testing.T, from string) (to string) {
	t.Helper()
	to = filepath.Join(t.TempDir(), "copy")
	out, err := exec.CommandContext(t.Context(), "cp", "-a", from, to).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return to
}

func (r restoring) requireComplete(t *testing.T) string {
	t.Helper()
	dir := copyDir(t, filepath.Dir(r.path))
	path := filepath.Join(dir, "charges.db")
	copied := r.setup
	copied.path = path
	s, err := open(t.Context(), path, r.options, r.tuning)
	if err == nil {
		require.NoError(t, s.Close())
		found := r.references(t, path)
		if len(found) == len(r.before) {
			return "old"
		}
		require.Equal(t, r.restored, found)
		return "new"
	}
	require.ErrorIs(t, err, ErrRestoreUnfinished)
	require.ErrorContains(t, err, "Run chargectl restore again")
	_, err = Check(t.Context(), path)
	require.ErrorIs(t, err, ErrRestoreUnfinished)
	_, err = Backup(t.Context(), path, path+".copy")
	require.ErrorIs(t, err, ErrRestoreUnfinished)
	return "refused"
}

func (r restoring) requireRestorable(t *testing.T) {
	t.Helper()
	_, err := Restore(t.Context(), r.backup, r.path)
	require.NoError(t, err)
	dir := filepath.Dir(r.path)
	drafts, err := filepath.Glob(filepath.Join(dir, ".charges.db-draft-*"))
	require.NoError(t, err)
	require.Empty(t, drafts)
	require.NoFileExists(t, r.path+".restoring")
	for _, suffix := range []string{"-wal", "-shm", ".state"} {
		require.NoFileExists(t, r.path+suffix)
	}
	require.Equal(t, r.restored, r.references(t, r.path))

	aside, err := filepath.Glob(r.path + ".before-restore-*")
	require.NoError(t, err)
	complete := 0
	for _, moved := range aside {
		if _, err := os.Stat(filepath.Join(moved, "charges.db-wal")); err == nil {
			complete++
			require.Equal(t, r.before, r.references(t, filepath.Join(copyDir(t, moved), "charges.db")))
		}
	}
	require.Equal(t, 1, complete)
}

func TestRestoreKilledAtEachStep(t *testing.T) {
	t.Parallel()
	seen := make(map[string]int)
	for n := 1; ; n++ {
		r := newRestoring(t, t.TempDir())
		_, err := crashtest.Start(t.Context(), childSpec{Path: r.path, Restore: r.backup, Kill: kill{Nth: n}})
		require.ErrorIs(t, err, crashtest.ErrEnded)
		if isEnded(err) {
			break
		}
		require.ErrorContains(t, err, "signal: killed")
		seen[r.requireComplete(t)]++
		r.requireRestorable(t)
	}
	require.Equal(t, map[string]int{"old": 1, "refused": 10, "new": 1}, seen)
}

func isEnded(err error) bool {
	return err.Error() == fmt.Sprintf("%s: exit status 0: ", crashtest.ErrEnded)
}

func TestRestoreContinuesAfterError(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	interrupted := &restorer{before: func(operation string) {
		if operation == "move charges.db-wal" {
			moved, err := filepath.Glob(r.path + ".before-restore-*")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(moved[0], "charges.db-wal"), nil, 0o600))
		}
	}}
	_, err := interrupted.restore(t.Context(), r.backup, r.path)
	require.ErrorIs(t, err, os.ErrExist)
	require.ErrorIs(t, err, ErrRestoreUnfinished)
	require.Equal(t, "refused", r.requireComplete(t))
	moved, err := filepath.Glob(r.path + ".before-restore-*/charges.db-wal")
	require.NoError(t, err)
	require.NoError(t, os.Remove(moved[0]))
	r.requireRestorable(t)
}

func TestDamagedRestoreMarker(t *testing.T) {
	for _, text := range []string{"", "{}", `{"moved_to": "../x", "moved": []}`, `{"moved_to": "x", "moved": ["/etc/passwd"]}`} {
		r := newRestoring(t, t.TempDir())
		require.NoError(t, os.WriteFile(r.path+".restoring", []byte(text), 0o600))
		before := fileNames(t, r.path)
		require.ErrorIs(t, r.openError(t), ErrRestoreUnfinished)
		_, err := Restore(t.Context(), r.backup, r.path)
		require.ErrorIs(t, err, ErrRestoreUnfinished)
		require.ErrorContains(t, err, "is damaged. Move the database and all files")
		require.Subset(t, append(before, "charges.db.lock"), fileNames(t, r.path))
	}
}
