package sqlitestore

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
)

func TestRootDoesNotLockOwnerOut(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can open a database of another user and stay root")
	}
	const user, group = 65534, 65533
	for _, mode := range []os.FileMode{0o600, 0o640, 0o660} {
		setup := newSetup(t)
		dir := filepath.Dir(setup.path)
		require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
		require.NoError(t, os.Chown(dir, user, group))
		s := setup.open(t)
		fresh(t, s, charges("acme", "a"))
		require.NoError(t, s.Close())
		// as an earlier version left them
		require.NoError(t, os.Chown(setup.path, user, group))
		require.NoError(t, os.Chmod(setup.path, mode))

		s = setup.open(t)
		fresh(t, s, charges("acme", "b"))
		require.NoError(t, s.Backup(t.Context(), setup.path+".copy"))
		for _, suffix := range []string{"", "-wal", "-shm", ".lock", ".state", ".copy"} {
			info, err := os.Stat(setup.path + suffix)
			require.NoError(t, err)
			require.Equal(t, mode, info.Mode(), suffix)
			require.EqualValues(t, user, info.Sys().(*syscall.Stat_t).Uid, suffix)
			require.EqualValues(t, group, info.Sys().(*syscall.Stat_t).Gid, suffix)
		}
		dead := copyKilledWithState(t, setup)
		require.NoError(t, s.Close())
		for _, path := range []string{setup.path, setup.path + ".copy"} {
			p, err := crashtest.Start(t.Context(), childSpec{Path: path, User: user, Group: group})
			require.NoError(t, err)
			require.NoError(t, p.Stop())
		}

		require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(dead.path)), 0o755))
		for _, path := range []string{filepath.Dir(dead.path), dead.path} {
			require.NoError(t, os.Chown(path, user, group))
		}
		p, err := crashtest.Start(t.Context(), childSpec{Path: dead.path})
		require.NoError(t, err)
		p.Kill()
		p, err = crashtest.Start(t.Context(), childSpec{Path: dead.path, User: user, Group: group})
		require.NoError(t, err)
		require.NoError(t, p.Stop())
	}
}

// A user could make root give away any file.
func TestSideFileLinksAreNotFollowed(t *testing.T) {
	for _, suffix := range []string{".lock", ".state"} {
		setup := newSetup(t)
		require.NoError(t, setup.open(t).Close())
		victim := filepath.Join(t.TempDir(), "victim")
		require.NoError(t, os.WriteFile(victim, []byte("text"), 0o644))
		require.NoError(t, os.Chmod(victim, 0o644))
		require.NoError(t, os.Remove(setup.path+suffix))
		require.NoError(t, os.Symlink(victim, setup.path+suffix))
		require.ErrorIs(t, setup.openError(t), syscall.ELOOP)
		info, err := os.Stat(victim)
		require.NoError(t, err)
		require.EqualValues(t, 4, info.Size())
		require.EqualValues(t, 0o644, info.Mode())
	}
}

func TestSideFilesMustBeRegular(t *testing.T) {
	for _, suffix := range []string{".lock", ".state"} {
		setup := newSetup(t)
		require.NoError(t, setup.open(t).Close())
		require.NoError(t, os.Remove(setup.path+suffix))
		require.NoError(t, syscall.Mkfifo(setup.path+suffix, 0o600))
		require.ErrorContains(t, setup.openError(t), suffix+" is not a regular file: move it away")
		require.NoError(t, os.Remove(setup.path+suffix))
		setup.open(t)
	}
}

func TestPermissionErrorNamesFile(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a file of another user")
	}
	t.Parallel()
	const user = 65534
	suffixes := []string{"", "-wal", "-shm", ".lock", ".state"}
	for _, mode := range []os.FileMode{0o600, 0o644} {
		for _, suffix := range suffixes {
			setup := newSetup(t)
			s := setup.open(t)
			fresh(t, s, charges("acme", "a"))
			dead := copyKilledWithState(t, setup)
			require.NoError(t, s.Close())
			dir := filepath.Dir(dead.path)
			require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
			require.NoError(t, os.Chown(dir, user, user))
			for _, each := range suffixes {
				f, err := os.OpenFile(dead.path+each, os.O_CREATE, 0o600)
				require.NoError(t, err)
				require.NoError(t, f.Close())
				require.NoError(t, os.Chown(dead.path+each, user, user))
			}
			require.NoError(t, os.Chown(dead.path+suffix, 0, 0))
			require.NoError(t, os.Chmod(dead.path+suffix, mode))
			_, err := crashtest.Start(t.Context(), childSpec{Path: dead.path, User: user, Group: user})
			require.ErrorContains(t, err, dead.path+suffix+": permission denied")
			if strings.HasPrefix(suffix, ".") {
				require.ErrorContains(t, err, "chown")
			}
		}
	}
}
