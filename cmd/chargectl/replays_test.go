package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestLoadInDifferentBatches(t *testing.T) {
	all := eventLines(45)
	for _, c := range []struct {
		name          string
		first, second []string
		batch         string
		replayed      int
	}{
		{"smaller batches", all, all, "7", 45},
		{"larger batches", all, all, "1000", 45},
		{"one event per batch", all, all, "1", 45},
		{"the first load stopped early", all[:10], all, "20", 10},
		{"lines were removed at the start", all, all[9:], "10", 36},
		{"lines were added at the start", all[9:], all, "10", 36},
		{"lines were added in the middle", slices.Concat(all[:12], all[20:]), all, "7", 37},
		{"the order of the lines was changed", all, reversed(all), "10", 45},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			tp := newOfflineProgram(s)
			require.Equal(t, 0, tp.runLoad(t.Context(), offline, writeEvents(t, c.first...)), tp.log)
			again := newOfflineProgram(s)
			require.Equal(t, 0, again.runLoad(t.Context(), offline, writeEvents(t, c.second...), "-batch", c.batch), again.log)
			n := len(c.second)
			require.Equal(t, fmt.Sprintf("%d events: %d new, %d already stored, 0 rejected\n", n, n-c.replayed, c.replayed), again.out.String())
			require.ElementsMatch(t, eventNumbers(all), eventNumbers(s.events(t)))
		})
	}
}

func reversed(lines []string) []string {
	lines = slices.Clone(lines)
	slices.Reverse(lines)
	return lines
}

func TestLoadReformattedFileStoresOnce(t *testing.T) {
	lines := eventLines(30)
	var edited []string
	for _, line := range lines {
		first, rest, _ := strings.Cut(line, ",")
		edited = append(edited, "", "{ "+strings.TrimSuffix(rest, "}")+" , "+strings.TrimPrefix(first, "{")+"}\r")
	}
	s := newServer(t)
	for _, lines := range [][]string{lines, edited} {
		tp := newOfflineProgram(s)
		require.Equal(t, 0, tp.runLoad(t.Context(), offline, writeEvents(t, lines...)), tp.log)
	}
	require.ElementsMatch(t, eventNumbers(lines), eventNumbers(s.events(t)))
}

func TestLoadStoresEqualUnreferencedLines(t *testing.T) {
	s := newServer(t)
	lines := []string{unreferencedLine(1), unreferencedLine(2), unreferencedLine(1), unreferencedLine(1), eventLine(5), eventLine(5)}
	for i, c := range []struct {
		lines []string
		args  []string
		out   string
	}{
		{lines[:3], nil, "3 events: 3 new, 0 already stored, 0 rejected\n"},
		{lines, nil, "6 events: 2 new, 4 already stored, 0 rejected\n"},
		{lines, []string{"-batch", "1"}, "6 events: 0 new, 6 already stored, 0 rejected\n"},
	} {
		tp := newOfflineProgram(s)
		require.Equal(t, 0, tp.runLoad(t.Context(), offline, writeEvents(t, c.lines...), c.args...), tp.log)
		require.Equal(t, c.out, tp.out.String(), i)
	}
	require.ElementsMatch(t, []string{"1", "2", "1", "1", "5"}, eventNumbers(s.events(t)))
}

func TestLoadID(t *testing.T) {
	s := newServer(t)
	dir := t.TempDir()
	for _, c := range []struct {
		file     string
		args     []string
		replayed bool
	}{
		{"a/events.ndjson", nil, false},
		{"a/events.ndjson", nil, true},
		{"b/events.ndjson", nil, true}, // the same name
		{"b/events.ndjson", []string{"-load-id", "b"}, false},
		{"b/events.ndjson", []string{"-load-id", "b"}, true},
		{"b/other.ndjson", nil, false},
		{"c/renamed.ndjson", []string{"-load-id", "events.ndjson"}, true},
	} {
		file := filepath.Join(dir, c.file)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(eventLine(1)+"\n"+strings.Repeat(unreferencedLine(2)+"\n\n", 11)), 0o600))
		tp := newOfflineProgram(s)
		require.Equal(t, 0, tp.runLoad(t.Context(), offline, file, c.args...), tp.log)
		if c.replayed {
			require.Equal(t, "12 events: 0 new, 12 already stored, 0 rejected\n", tp.out.String())
			require.Equal(t, file+": warning: events without a reference that had already been stored, by an earlier load with the same -load-id: 11 "+
				"(lines 2, 4, 6, 8, 10, 12, 14, 16, 18, 20 and 1 more). They were not stored again. If this is a different file, load it with another -load-id\n",
				tp.log.String())
		} else {
			require.Contains(t, tp.out.String(), "12 events: 1")
			require.Empty(t, tp.log.String())
		}
	}
	require.Len(t, s.events(t), 1+3*11)
}

func TestLoadWarningAfterRetry(t *testing.T) {
	file := writeEvents(t, unreferencedLine(1))
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		tp := newOfflineProgram(s.intercept(func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				s.loseResponse(r)
			}
			s.ServeHTTP(w, r)
		}))
		require.Equal(t, 0, tp.runLoad(t.Context(), offline, file), tp.log)
		require.Contains(t, tp.log.String(), "already been stored, by an earlier load with the same -load-id, or by a request of this load that was retried: 1 (line 1)")
		require.Len(t, s.events(t), 1)
	})
}
