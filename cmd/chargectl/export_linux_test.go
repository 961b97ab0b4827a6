package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFullDisk(t *testing.T) {
	s, empty := startServer(t), startServer(t)
	s.storeJSON(t, eventLines(2*maxPageEvents)...)
	for _, size := range []string{"4k", "64k"} {
		dir := smallDisk(t, "size="+size)
		path := filepath.Join(dir, "out")
		for command, run := range map[string]func(*testProgram) int{
			"export": func(tp *testProgram) int { return tp.runExport(t.Context(), s.url, "-format", "ndjson", "-o", path) },
			"verify": func(tp *testProgram) int {
				return tp.runVerify(t.Context(), empty.url, writeEvents(t, eventLines(5000)...), "-o", path)
			},
		} {
			tp := newTestProgram()
			require.Equal(t, 1, run(tp), command)
			lines := strings.Split(tp.log.String(), "\n")
			require.Equal(t, "chargectl: "+command+": write "+path+": no space left on device; the file was not created", lines[len(lines)-2])
			require.Empty(t, dirNames(t, dir))
		}
	}
}
