package sqlitestore

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

type powerDisk struct{ image, dir string }

func newPowerDisk(t *testing.T) *powerDisk {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount the file system whose power is cut")
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("there is no " + tool)
		}
	}
	d := &powerDisk{filepath.Join(t.TempDir(), "image"), t.TempDir()}
	require.NoError(t, os.WriteFile(d.image, nil, 0o600))
	require.NoError(t, os.Truncate(d.image, 256<<20))
	command(t, "mkfs.ext4", "-q", "-F", d.image)
	if out, err := exec.CommandContext(t.Context(), "mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		t.Skipf("root may not mount a file system here: %s", out)
	}
	t.Cleanup(func() { command(t, "umount", d.dir) })
	return d
}

func (d *powerDisk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *powerDisk) cut(t *testing.T) {
	t.Helper()
	require.NoError(t, cutPower(d.dir))
}

func cutPower(path string) error {
	const (
		shutdown   = 0x8004587d // EXT4_IOC_SHUTDOWN, fs/ext4/ext4.h of Linux
		noLogFlush = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
	)
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, noLogFlush), dir.Close())
}

func (d *powerDisk) sync(t *testing.T) {
	t.Helper()
	dir, err := os.Open(d.dir)
	require.NoError(t, err)
	require.NoError(t, unix.Syncfs(int(dir.Fd())))
	require.NoError(t, dir.Close())
}

func (d *powerDisk) restore(t *testing.T) {
	t.Helper()
	command(t, "umount", d.dir)
	command(t, "mount", "-o", "loop", d.image, d.dir)
}

func command(t *testing.T, name string, arguments ...string) {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), name, arguments...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
