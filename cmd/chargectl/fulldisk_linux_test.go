package main

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFullDiskStopsLoad(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("only root can mount a small file system: %v: %s", err, out)
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", dir).Run()) })
	s := newServer(t)
	lines := slices.Concat(slices.Repeat([]string{"{}"}, 2000), eventLines(1))
	tp := newOfflineProgram(s)
	require.Equal(t, 1, tp.runLoad(t.Context(), offline, writeEvents(t, lines...), "-rejects", filepath.Join(dir, "rejects")))
	require.Regexp(t, `^chargectl: load stopped: -rejects: write \S+: no space left on device; `+
		`so far 1000 events: 0 new, 0 already stored, 1000 rejected\n$`, tp.log.String())
	require.Empty(t, tp.out.String())
	require.Empty(t, s.events(t), "the load went on")
}
