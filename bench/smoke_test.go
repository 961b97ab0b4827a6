package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/pgtest"
)

func TestComparisonFromEndToEnd(t *testing.T) {
	t.Parallel()
	tp := newTestProgram(t)
	folder, results := t.TempDir(), t.TempDir()
	report, chart := filepath.Join(results, "report.md"), filepath.Join(results, "chart.svg")
	args := []string{
		"-rounds", "1", "-time", "50ms", "-dir", folder, "-report", report, "-chart", chart, "-profile", results,
		"-only", "a@64,b@64,c@1,c@64,d@8,e,f@64,g,h",
	}
	require.Equal(t, statusOK, tp.run(t.Context(), args), tp.log.String())
	for _, want := range []string{"a: empty net/http handler | 64 |", "b: ", "c: sqlitestore, single events | 1 |", "d: ", "e: ", "f: ", "g: ", "h: ", "testfs"} {
		require.Contains(t, tp.out.String(), want)
	}
	require.NotContains(t, tp.out.String(), "NaN")
	written, err := os.ReadFile(report)
	require.NoError(t, err)
	require.Equal(t, tp.out.String(), string(written))
	drawn, err := os.ReadFile(chart)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(drawn), "<svg "))
	require.Contains(t, string(drawn), "naive endpoint")
	require.FileExists(t, filepath.Join(results, "c@64-round1.pprof"))
	require.Empty(t, filesIn(t, folder))
}

func TestGrowthFromEndToEnd(t *testing.T) {
	t.Parallel()
	tp := newTestProgram(t)
	folder := t.TempDir()
	args := []string{"growth", "-rounds", "1", "-time", "20ms", "-dir", folder, "-events", "1000", "-soak", "300", "-lists", "50"}
	require.Equal(t, statusOK, tp.run(t.Context(), args), tp.log.String())
	for _, want := range []string{"UUIDv7: ", "UUIDv4: ", "1,000 events stored", "300 single events"} {
		require.Contains(t, tp.out.String(), want)
	}
	require.Equal(t, 8, strings.Count(tp.out.String(), "≥ ")+strings.Count(tp.out.String(), "≤ "))
	require.NotContains(t, tp.out.String(), "NaN")
	require.Empty(t, filesIn(t, folder))
}

func TestPostgresFromEndToEnd(t *testing.T) {
	t.Parallel()
	if err := pgtest.Available(); err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), err)
		t.Skipf("skipped: %v", err)
	}
	tp := newTestProgram(t)
	require.Equal(t, statusOK, tp.run(t.Context(), []string{"postgres", "-rounds", "1", "-time", "20ms"}), tp.log.String())
	for _, row := range postgresRows() {
		require.Contains(t, tp.out.String(), "| "+row.name+" | ")
	}
	require.Equal(t, 4, strings.Count(tp.out.String(), "≥ "))
	require.NotContains(t, tp.out.String(), "NaN")
}
