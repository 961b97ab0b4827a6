package sqlitestore

import (
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestADiskThatIsFullLosesNothingAndIsUsedWhenSpaceReturns fills a small file
// system up to its last byte, twice.
func TestADiskThatIsFullLosesNothingAndIsUsedWhenSpaceReturns(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder).CombinedOutput(); err != nil {
		t.Skipf("only root can mount a small file system: %v: %s", err, out)
	}
	t.Cleanup(func() { command(t, "umount", folder) })
	l := newProcesses(seed(t), filepath.Join(folder, "charges.db"))
	l.start(t, kill{})
	for range 2 {
		filler := filepath.Join(folder, "filler")
		fill(t, filler)
		failed := l.history.Count("failed")
		l.traffic(t, 400, func() {})
		require.Greater(t, l.history.Count("failed"), failed)
		require.NoError(t, os.Remove(filler))

		stored := l.history.Count("stored")
		l.traffic(t, 200, func() {})
		require.Greater(t, l.history.Count("stored"), stored)
	}
	require.NoError(t, l.stop())
	l.finish(t)
}

// fill writes a file until there is no space left.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	_, err = io.Copy(file, rand.Reader)
	require.Error(t, err)
	require.NoError(t, file.Close())
}
