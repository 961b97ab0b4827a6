package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func startEcho(t *testing.T, setHeader func(n int, h http.Header)) (url string) {
	t.Helper()
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		setHeader(n, w.Header())
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestLoadCountsReplayedEvents(t *testing.T) {
	counts := []string{"0", "3", "10", "2"}
	for name, c := range map[string]struct {
		setHeader func(n int, h http.Header)
		out       string
	}{
		"Idempotent-Replayed-Count": {
			func(n int, h http.Header) { h.Set("Idempotent-Replayed-Count", counts[n-1]) },
			"35 events: 20 new, 15 already stored, 0 rejected\n",
		},
		"Idempotent-Replayed only": {func(n int, h http.Header) {
			if n == 3 {
				h.Set("Idempotent-Replayed", "true")
			}
		}, "35 events: 25 new, 10 already stored, 0 rejected\n"},
		"impossible count": {
			func(_ int, h http.Header) { h.Set("Idempotent-Replayed-Count", "11") },
			"35 events: 35 new, 0 already stored, 0 rejected\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tp := newTestProgram()
			require.Equal(t, 0, tp.runLoad(t.Context(), startEcho(t, c.setHeader), writeEvents(t, eventLines(35)...)), tp.log)
			require.Equal(t, c.out, tp.out.String())
		})
	}
}

func TestLoadWarnsOfPartlyStoredBatch(t *testing.T) {
	s := startServer(t)
	s.store(t, 5, 13) // without the last event of the first batch, which has no reference
	file := writeEvents(t, eventLines(30)[4:]...)
	tp := newTestProgram()
	require.Equal(t, 0, tp.runLoad(t.Context(), s.url, file), tp.log)
	require.Equal(t, "26 events: 17 new, 9 already stored, 0 rejected\n", tp.out.String())
	require.Contains(t, tp.log.String(), "lines 1 to 10: warning: ")
	require.Len(t, s.events(t), 26)
}

func TestLoadWarnsOnce(t *testing.T) {
	partly := func(_ int, h http.Header) { h.Set("Idempotent-Replayed-Count", "9") }
	file := writeEvents(t, eventLines(30)...)
	tp := newTestProgram()
	require.Equal(t, 0, tp.runLoad(t.Context(), startEcho(t, partly), file))
	require.Equal(t, file+": lines 1 to 10: warning: only some of these events were already stored; "+
		"if the ones without a reference were, they are now stored twice: line 4\n", tp.log.String())

	var referenced []string
	for _, line := range eventLines(30) {
		if strings.Contains(line, `"ref-`) {
			referenced = append(referenced, line)
		}
	}
	tp = newTestProgram()
	require.Equal(t, 0, tp.runLoad(t.Context(), startEcho(t, partly), writeEvents(t, referenced...)))
	require.Empty(t, tp.log.String(), "all events have a reference")
}

func TestLoadInDifferentBatches(t *testing.T) {
	all := eventLines(45)
	for _, c := range []struct {
		name          string
		first, second []string
		batch         string
		stored        int
		stderr        string // empty if it succeeds
	}{
		{"smaller batches", all, all, "7", 45, `lines 1 to 7: this file was sent before with another -batch or other lines; this batch was not sent, .*: line 4; .*so far 0 events`},
		{"larger batches", all, all, "20", 45, `lines 1 to 20: .* stored twice: lines 4, 14; `},
		{"one event per batch", all, all, "1", 45, `:4: .* stored twice: line 4; .*so far 3 events`},
		{"the first load stopped early", all[:10], all, "20", 10, `lines 1 to 20: `},
		{"lines were added", all[:33], append(all[:33:33], all[40:]...), "10", 33, `lines 31 to 38: .*: line 37; .*so far 30 events`},
		{"a line was changed", all, append(append(all[:12:12], all[44]), all[13:]...), "10", 45, `lines 11 to 20: .*: line 14; .*so far 10 events`},
		{"all events have a reference", all[4:13], all[4:13], "3", 9, ""},
		{"later events have no reference", all[4:13], all[4:23], "5", 9, `lines 6 to 10: .*: line 10; .*so far 5 events`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t)
			tp := newTestProgram()
			require.Equal(t, 0, tp.runLoad(t.Context(), s.url, writeEvents(t, c.first...)), tp.log)
			file := writeEvents(t, c.second...)
			again := newTestProgram()
			status := again.runLoad(t.Context(), s.url, file, "-batch", c.batch)
			if c.stderr == "" {
				require.Equal(t, 0, status, again.log)
			} else {
				require.Equal(t, 1, status)
				require.Regexp(t, `^chargectl: load stopped: `+file+`:? ?`+c.stderr, again.log.String())
			}
			require.Len(t, s.events(t), c.stored)
		})
	}
}

func TestLoadID(t *testing.T) {
	s := startServer(t)
	unreferenced := eventLine(4)
	for i, c := range []struct {
		lines []string
		args  []string
		ok    bool
	}{
		{[]string{unreferenced, eventLine(1)}, nil, true},
		{[]string{unreferenced, eventLine(2)}, nil, false},
		{[]string{unreferenced, eventLine(2)}, []string{"-load-id", "b"}, true},
		{[]string{unreferenced, eventLine(2)}, []string{"-load-id", "b"}, true}, // replayed
	} {
		tp := newTestProgram()
		require.Equal(t, c.ok, tp.runLoad(t.Context(), s.url, writeEvents(t, c.lines...), c.args...) == 0, "%d: %s", i, tp.log)
	}
	require.Equal(t, []string{"4", "1", "4", "2"}, eventNumbers(s.events(t)))
}
