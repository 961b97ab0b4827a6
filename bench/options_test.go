package main

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUsageErrors(t *testing.T) {
	for line, want := range map[string]string{
		"-nonsense":                       "-nonsense",
		"more":                            `unexpected argument "more"`,
		"-rounds 0":                       "-rounds: must be from 1 to 100, but is 0",
		"-time 1ms":                       "-time: must be from 10ms to 10m, but is 1ms",
		"-only z":                         `-only: no row "z"`,
		"-only c@0":                       `-only: "c@0": connections of a server row must be from 1 to 1024`,
		"-only e@8":                       `-only: "e@8": connections of a server row`,
		"postgres -only i@3":              `-only: "i@3": connections of a server row`,
		"-seed x":                         "-seed",
		"-dir /no/such/directory":         "-dir: ",
		"-chart /no/such/directory/c.svg": "-chart: no directory for ",
		"-events 0":                       "-events: must be positive, but is 0",
		"growth -events 1":                "-events: must be at least 500, but is 1",
		"growth -only c":                  "-only",
		"child":                           "child is internal",
		"child cook":                      "child is internal",
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
	for _, name := range []string{"-dir", "-chart"} {
		tp := newTestProgram(t)
		require.Equal(t, statusUsage, tp.run(t.Context(), []string{name, t.TempDir() + "/x\n"}))
		require.Contains(t, tp.log.String(), name+": must not have control characters")
		require.Contains(t, tp.log.String(), `/x\n"`)
	}
}

func TestDirectoryInMemory(t *testing.T) {
	tp := newTestProgram(t)
	tp.fileSystem = func(string) (string, bool, error) { return "tmpfs", true, nil }
	dir := t.TempDir()
	require.Equal(t, statusUsage, tp.run(t.Context(), []string{"-dir", dir}))
	require.Contains(t, tp.log.String(), dir+" is on tmpfs, which has nothing to sync: set -dir to a directory on a disk")
	require.Empty(t, filesIn(t, dir))
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"-help"}, {"growth", "-help"}, {"postgres", "-help"}} {
		tp := newTestProgram(t)
		require.Equal(t, statusOK, tp.run(t.Context(), args))
		require.Contains(t, tp.out.String(), "usage: bench")
		for _, name := range []string{"-dir directory", "-rounds", "-time", "-seed"} {
			require.Contains(t, tp.out.String(), name)
		}
		require.NotContains(t, tp.out.String(), "%!")
		require.Empty(t, tp.log.String())
	}
}

func TestSelectRows(t *testing.T) {
	for list, want := range map[string]string{
		"":                  "c@1 o@64 f@64 a@64 n@64 c@64 s@64 p@64 b@64 c@256 d@8 e q r",
		"c@64,d@8,f@64":     "c@64 d@8 f@64",
		"g,e,a@64,c@3,a,c@": "",
		"q,e,a@64,c@3,a":    "q e a@64 c@3",
		"c":                 "c@1 c@64 c@256",
		"c,s@8":             "c@1 c@64 c@256 s@8",
		"c@1,s":             "",
	} {
		selected, err := selectRows(compareRows(), list)
		var names []string
		for _, r := range selected {
			names = append(names, r.name())
		}
		require.Equal(t, want == "", err != nil, list)
		require.Equal(t, want, strings.Join(names, " "))
	}
}

func filesIn(t *testing.T, dir string) []string {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestInterruption(t *testing.T) {
	tp := newTestProgram(t)
	ctx, cancel := context.WithCancel(t.Context())
	tp.log.first = cancel
	dir := t.TempDir()
	require.Equal(t, statusFailure, tp.run(ctx, []string{"-dir", dir, "-only", "a@1,c@1", "-time", "10m"}))
	require.True(t, strings.HasSuffix(tp.log.String(), "bench: interrupted\n"), tp.log.String())
	require.Empty(t, filesIn(t, dir))
	require.Empty(t, tp.out.String())
}
