package sqlitestore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
)

func otherNames() map[string]func(t *testing.T, path string) string {
	return map[string]func(t *testing.T, path string) string{
		"the same": func(_ *testing.T, path string) string { return path },
		"a hard link": func(t *testing.T, path string) string {
			link := filepath.Join(filepath.Dir(path), "hard.db")
			require.NoError(t, os.Link(path, link))
			return link
		},
		"a hard link in another directory": func(t *testing.T, path string) string {
			link := filepath.Join(filepath.Dir(path), "sub", "charges.db")
			require.NoError(t, os.Mkdir(filepath.Dir(link), 0o700))
			require.NoError(t, os.Link(path, link))
			return link
		},
		"a symbolic link": func(t *testing.T, path string) string {
			link := filepath.Join(t.TempDir(), "symbolic.db")
			require.NoError(t, os.Symlink(path, link))
			return link
		},
		"a directory that is a symbolic link": func(t *testing.T, path string) string {
			link := filepath.Join(t.TempDir(), "symbolic")
			require.NoError(t, os.Symlink(filepath.Dir(path), link))
			return filepath.Join(link, filepath.Base(path))
		},
		"a file that is mounted": func(t *testing.T, path string) string {
			mounted := filepath.Join(t.TempDir(), "mounted.db")
			require.NoError(t, os.WriteFile(mounted, nil, 0o600))
			if out, err := exec.CommandContext(t.Context(), "mount", "--bind", path, mounted).CombinedOutput(); err != nil {
				t.Skipf("only root can mount a file: %v: %s", err, out)
			}
			t.Cleanup(func() {
				require.NoError(t, exec.CommandContext(context.WithoutCancel(t.Context()), "umount", mounted).Run())
			})
			return mounted
		},
		"a new name": func(t *testing.T, path string) string {
			require.NoError(t, os.Rename(path, path+".new"))
			t.Cleanup(func() { require.NoError(t, os.Rename(path+".new", path)) })
			return path + ".new"
		},
	}
}

func TestLockUnderAnotherName(t *testing.T) {
	t.Parallel()
	for name, rename := range otherNames() {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			s := setup.open(t)
			fresh(t, s, charges("acme", "a"))
			second := setup
			second.path = rename(t, setup.path)
			for _, lockFile := range []bool{true, false} {
				if !lockFile {
					for _, path := range []string{setup.path, second.path} {
						if err := os.Remove(path + ".lock"); !errors.Is(err, fs.ErrNotExist) {
							require.NoError(t, err)
						}
					}
				}
				require.ErrorIs(t, second.openError(t), ErrLocked)
				_, err := crashtest.Start(t.Context(), childSpec{Path: second.path})
				require.ErrorIs(t, err, crashtest.ErrEnded)
				require.ErrorContains(t, err, ErrLocked.Error())
			}
			// If SQLite's locks still exist, another program that closes the database keeps
			// the WAL.
			sqlite3Shell(t, second.path, "PRAGMA user_version")
			if name != "a new name" {
				require.FileExists(t, setup.path+"-wal")
				fresh(t, s, charges("acme", "b"))
			}
		})
	}
}

func TestCloseReleasesLock(t *testing.T) {
	setup := newSetup(t)
	setup.faults.on("PRAGMA query_only", errIO)
	require.ErrorIs(t, setup.openError(t), errIO)
	setup.faults.clear()
	require.NoError(t, setup.open(t).Close())
	p, err := crashtest.Start(t.Context(), childSpec{Path: setup.path})
	require.NoError(t, err)
	require.ErrorIs(t, setup.openError(t), ErrLocked)
	require.NoError(t, p.Stop())
	setup.open(t)
}

func TestSecondStoreIsLockedOut(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	require.ErrorIs(t, setup.openError(t), ErrLocked)
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(setup.path, link))
	linked := setup
	linked.path = link
	require.ErrorIs(t, linked.openError(t), ErrLocked)
	fresh(t, s, charges("acme", "a"))

	require.NoError(t, s.Close())
	replayed(t, linked.open(t), charges("acme", "a"))
	require.ErrorIs(t, setup.openError(t), ErrLocked)
}
