package sqlitestore

import (
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"
)

func TestDiskFullAndFreedAgain(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "24m")
	l := newProcesses(t, seed(t), filepath.Join(dir, "charges.db"))
	l.start(t, kill{})
	for range 2 {
		filler := filepath.Join(dir, "filler")
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

func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("only root can mount a small file system: %v: %s", err, out)
	}
	t.Cleanup(func() { command(t, "umount", dir) })
	return dir
}

func TestBackupToFullDisk(t *testing.T) {
	t.Parallel()
	b := charges("acme", numbered(4)...)
	for i := range b.Events { // exceeds SQLite's cache
		b.Events[i].Content = `{"description":"` + strings.Repeat("x", 3<<20) + `"}`
	}
	for _, size := range []string{"4k", "16k", "1m", "8m"} {
		copied := filepath.Join(smallDisk(t, size), "charges.db")
		setup := newSetup(t)
		s := setup.open(t)
		fresh(t, s, b)
		for range 2 {
			require.Equal(t, sqlite3.SQLITE_FULL, resultCode(s.Backup(t.Context(), copied)))
			require.Empty(t, fileNames(t, copied), size)
		}
	}
}

func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	_, err = io.Copy(file, rand.Reader)
	require.Error(t, err)
	require.NoError(t, file.Close())
}
