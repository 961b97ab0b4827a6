package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/pgtest"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	chart := filepath.Join(t.TempDir(), "chart.svg")
	report := measure(t, "-rounds", "1", "-time", "50ms", "-events", "1000", "-dir", dir, "-chart", chart)
	for _, r := range append(compareRows(), syncRow()) {
		require.Contains(t, report, "| "+r.letter+": "+r.about+" | ")
	}
	require.Contains(t, report, "testfs")
	drawn, err := os.ReadFile(chart)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(drawn), "<svg "))
	require.Contains(t, string(drawn), "written by hand")
	require.Empty(t, filesIn(t, dir))
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	report := measure(t, "growth", "-rounds", "1", "-time", "20ms", "-dir", dir, "-events", "1000")
	for _, want := range []string{"full7: ", "UUIDv7 | 64 | ", "list4: ", "1,000 stored"} {
		require.Contains(t, report, want)
	}
	require.Empty(t, filesIn(t, dir))
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	if err := pgtest.Available(); err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), err)
		t.Skipf("skipped: %v", err)
	}
	report := measure(t, "postgres", "-rounds", "1", "-time", "20ms")
	for _, r := range postgresRows() {
		require.Contains(t, report, "| "+r.letter+": "+r.about+" | ")
	}
}

func measure(t *testing.T, args ...string) string {
	tp := newTestProgram(t)
	require.Equal(t, statusOK, tp.run(t.Context(), args), tp.log.String())
	require.NotContains(t, tp.out.String(), "NaN")
	require.NotContains(t, tp.out.String(), "Inf")
	return tp.out.String()
}
