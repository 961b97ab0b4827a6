package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMistakesAreToldAndEndWithStatusTwo(t *testing.T) {
	for line, want := range map[string]string{
		"-nonsense":                       "-nonsense",
		"more":                            `unexpected argument "more"`,
		"-rounds 0":                       "-rounds: must be a number from 1 to 100, not 0",
		"-time 1ms":                       "-time: must be from 10ms to 10m, not 1ms",
		"-uuid 5":                         "-uuid: must be 4 or 7, not 5",
		"-only z":                         `-only: must be variants such as c@64,a@64 with letters from a to i, not "z"`,
		"-only c@0":                       "-only: must have a number of connections from 1 to 1024",
		"-only c@8,g@64":                  "-only: must have c@64 for g@64",
		"-seed x":                         "-seed",
		"-dir /no/such/folder":            "-dir: ",
		"-report /no/such/folder/r.md":    "-report: there is no folder",
		"-chart /no/such/folder/c.svg":    "-chart: there is no folder",
		"growth -events 1":                "-events must be at least 500",
		"growth -only c":                  "-only",
		"child":                           "how this program calls itself",
		"child cook":                      "no such role: cook",
		"-dir " + os.DevNull + "/x -only": "-only",
	} {
		t.Run(line, func(t *testing.T) {
			tp := newTestProgram(t)
			require.Equal(t, statusUsage, tp.run(t.Context(), strings.Fields(line)))
			require.Contains(t, tp.log.String(), want)
			require.Equal(t, 1, strings.Count(tp.log.String(), "\n"))
			require.Empty(t, tp.out.String())
		})
	}
}

func TestPathsWithControlCharacters(t *testing.T) {
	for _, name := range []string{"-dir", "-profile", "-report", "-chart"} {
		tp := newTestProgram(t)
		require.Equal(t, statusUsage, tp.run(t.Context(), []string{name, t.TempDir() + "/x\n"}))
		require.Contains(t, tp.log.String(), name+": must not have control characters")
		require.Contains(t, tp.log.String(), `/x\n"`)
	}
}

func TestFolderInMemoryIsRefused(t *testing.T) {
	tp := newTestProgram(t)
	tp.fileSystem = func(string) (string, bool, error) { return "tmpfs", true, nil }
	folder := t.TempDir()
	require.Equal(t, statusUsage, tp.run(t.Context(), []string{"-dir", folder}))
	require.Contains(t, tp.log.String(), folder+" is on tmpfs, where a sync costs nothing: give -dir a folder on a real disk")
	require.Empty(t, filesIn(t, folder))
}

func TestHelpExplainsTheFlags(t *testing.T) {
	for _, args := range [][]string{{"-help"}, {"growth", "-help"}} {
		tp := newTestProgram(t)
		require.Equal(t, statusOK, tp.run(t.Context(), args))
		require.Contains(t, tp.out.String(), "usage: bench")
		for _, name := range []string{"-dir folder", "-rounds", "-time", "-seed", "-report file"} {
			require.Contains(t, tp.out.String(), name)
		}
		require.Empty(t, tp.log.String())
	}
}

func TestWhatIsDividedIsMeasuredInTurn(t *testing.T) {
	var names []string
	for _, t := range round() {
		names = append(names, t.String())
	}
	require.Equal(t, "b@64 c@64 a@64 f@64 g@64 c@1 c@8 i@8 d@8 e h", strings.Join(names[:11], " "))
	require.ElementsMatch(t, strings.Fields("a@1 a@8 a@256 b@1 b@8 b@256 c@256 d@1 d@64 f@1 f@8 f@256"), names[11:])
}

func TestOnlyNamesVariantsInAnyOrder(t *testing.T) {
	o, err := parseCompare(strings.Fields("-only g,e,a@64,c@64,c@3,e"), nil)
	require.NoError(t, err)
	require.Equal(t, "[c@64 a@64 g@64 e c@3]", fmt.Sprint(o.tasks))
	require.Empty(t, o.chart)
}

func TestChartGoesToTheFolderOfTheCommandWhereThatIs(t *testing.T) {
	t.Chdir(t.TempDir())
	o, err := parseCompare(nil, nil)
	require.NoError(t, err)
	require.Empty(t, o.chart)
	require.NoError(t, os.Mkdir("bench", 0o750))
	o, err = parseCompare(nil, nil)
	require.NoError(t, err)
	require.Equal(t, filepath.Join("bench", "chart.svg"), o.chart)
	o, err = parseCompare([]string{"-chart", "none"}, nil)
	require.NoError(t, err)
	require.Empty(t, o.chart)
	require.Equal(t, []time.Duration{2 * time.Second}, []time.Duration{o.time})
}

// filesIn lists a folder.
func filesIn(t *testing.T, folder string) []string {
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestInterruptionLeavesNothingBehind(t *testing.T) {
	tp := newTestProgram(t)
	ctx, cancel := context.WithCancel(t.Context())
	tp.log.first = cancel
	folder := t.TempDir()
	require.Equal(t, statusFailure, tp.run(ctx, []string{"-dir", folder, "-only", "a@1,c@1", "-time", "10m"}))
	require.True(t, strings.HasSuffix(tp.log.String(), "bench: interrupted\n"), tp.log.String())
	require.Empty(t, filesIn(t, folder))
	require.Empty(t, tp.out.String())
}
