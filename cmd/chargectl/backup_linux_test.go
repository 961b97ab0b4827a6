package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func injecting(t *testing.T, inject string, args ...string) *exec.Cmd {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "strace", "-f", "-qq", "-e", "trace=none", "true").CombinedOutput(); err != nil {
		t.Skipf("strace does not work here: %v: %s", err, out)
	}
	cmd := asProcess(t, args...)
	path, err := exec.LookPath("strace")
	require.NoError(t, err)
	cmd.Path, cmd.Args = path, append([]string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=" + inject, os.Args[0]}, args...)
	return cmd
}

func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestBackupKilled(t *testing.T) {
	db := filepath.Join(t.TempDir(), "charges.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 100)
	for _, inject := range []string{"pwrite64:signal=KILL:when=5", "fsync:signal=KILL", "renameat2:signal=KILL"} {
		t.Run(inject, func(t *testing.T) {
			outDir := t.TempDir()
			out := filepath.Join(outDir, "backup.db")
			err := injecting(t, inject, "backup", "-db", db, out).Run()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
			left := filesIn(t, outDir)
			require.Len(t, left, 1)
			require.True(t, strings.HasPrefix(left[0], ".backup.db-draft-"), left[0])

			requireTool(t, "backup", "-db", db, out)
			require.Equal(t, []string{"backup.db"}, filesIn(t, outDir))
			require.Equal(t, wholeBatches(100), batchesOf(t, out))
		})
	}
	s.storeBatches(t, 101, 101)
	s.stop(t)
	require.Equal(t, wholeBatches(101), batchesOf(t, db))
}

func TestBackupInterrupted(t *testing.T) {
	db := filepath.Join(t.TempDir(), "charges.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 100)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		outDir := t.TempDir()
		var stderr strings.Builder
		cmd := injecting(t, "pwrite64:delay_enter=100000", "backup", "-db", db, filepath.Join(outDir, "backup.db"))
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())
		for len(filesIn(t, outDir)) == 0 {
			runtime.Gosched()
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		require.NoError(t, err)
		var child int
		_, err = fmt.Sscan(string(children), &child)
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(child, signal))
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
		require.Equal(t, 1, exit.ExitCode(), stderr.String())
		require.Equal(t, "chargectl: backup: interrupted\n", stderr.String())
		require.Empty(t, filesIn(t, outDir))
	}
	s.storeBatches(t, 101, 101)
}

func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("only root can mount a small file system: %v: %s", err, out)
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", dir).Run()) })
	return dir
}

func TestBackupToFullDisk(t *testing.T) {
	db := filepath.Join(t.TempDir(), "charges.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 100)
	for _, size := range []string{"4k", "16k", "128k"} {
		disk := smallDisk(t, "size="+size)
		status, stdout, stderr := runTool(t, "backup", "-db", db, filepath.Join(disk, "backup.db"))
		require.Equal(t, 1, status)
		require.Contains(t, stderr, "full")
		require.Empty(t, stdout)
		require.Empty(t, filesIn(t, disk))
	}
	disk := smallDisk(t, "size=4m")
	filler := filepath.Join(disk, "filler")
	require.NoError(t, os.WriteFile(filler, make([]byte, 3900<<10), 0o600))
	out := filepath.Join(disk, "backup.db")
	status, _, _ := runTool(t, "backup", "-db", db, out)
	require.Equal(t, 1, status)
	require.Equal(t, []string{"filler"}, filesIn(t, disk))
	require.NoError(t, os.Remove(filler))
	requireTool(t, "backup", "-db", db, out)
	s.storeBatches(t, 101, 101)
}

func TestRestoreToFullDisk(t *testing.T) {
	backup := filepath.Join(t.TempDir(), "backup.db")
	source := filepath.Join(t.TempDir(), "charges.db")
	s := startRealServer(t, source)
	s.storeBatches(t, 1, 100)
	requireTool(t, "backup", "-db", source, backup)
	s.stop(t)
	disk := smallDisk(t, "size=512k")
	db := filepath.Join(disk, "charges.db")
	s = startRealServer(t, db)
	s.storeBatches(t, 1, 1)
	s.kill()
	require.NoError(t, os.Remove(db+"-shm"))
	before := databaseFiles(t, disk)
	status, stdout, stderr := runTool(t, "restore", "-from", backup, "-db", db)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "no space left on device")
	require.Empty(t, stdout)
	require.Equal(t, before, databaseFiles(t, disk))
	require.Len(t, filesIn(t, disk), len(before))
	require.Equal(t, wholeBatches(1), batchesOf(t, db))
}

func TestBackupToReadOnlyDirectory(t *testing.T) {
	db := filepath.Join(t.TempDir(), "charges.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 1)
	disk := smallDisk(t, "ro")
	status, _, stderr := runTool(t, "backup", "-db", db, filepath.Join(disk, "backup.db"))
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "read-only file system")
}

func TestBackupOfReader(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a process of another user")
	}
	program := filepath.Join(t.TempDir(), "chargectl")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	dir, outDir := t.TempDir(), t.TempDir()
	for _, d := range []string{filepath.Dir(dir), filepath.Dir(program), dir} {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	const user = 65534
	require.NoError(t, os.Chown(outDir, user, user))
	db := filepath.Join(dir, "charges.db")
	startRealServer(t, db).stop(t)
	require.NoError(t, os.Chmod(db, 0o644))
	for _, suffix := range []string{".lock", ".state"} {
		require.NoError(t, os.Chmod(db+suffix, 0o644))
	}
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 10)
	for n, end := range []func(){s.kill, func() {}} {
		cmd := exec.CommandContext(t.Context(), program, "backup", "-db", db, filepath.Join(outDir, fmt.Sprint(n)))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		end()
	}
}
