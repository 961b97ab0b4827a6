package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFullDiskStopsLoad(t *testing.T) {
	dir := smallDisk(t, "size=4k")
	s := newServer(t)
	lines := slices.Concat(slices.Repeat([]string{"{}"}, 2000), eventLines(1))
	tp := newOfflineProgram(s)
	require.Equal(t, 1, tp.runLoad(t.Context(), offline, writeEvents(t, lines...), "-rejects", filepath.Join(dir, "rejects")))
	require.Regexp(t, `^chargectl: load stopped: -rejects: write \S+: no space left on device; `+
		`so far 1000 events: 0 new, 0 already stored, 1000 rejected\n$`, tp.log.String())
	require.Empty(t, tp.out.String())
	require.Empty(t, s.events(t), "the load went on")
}
