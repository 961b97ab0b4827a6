package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func asProcess(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Dir = t.TempDir()
	return cmd
}

func TestUsageErrorExitStatus(t *testing.T) {
	var exit *exec.ExitError
	require.ErrorAs(t, asProcess(t, "load").Run(), &exit)
	require.Equal(t, 2, exit.ExitCode())
}

func TestLoadKilledAndRestartedStoresOnce(t *testing.T) {
	for _, killedAt := range []int64{1, 4} { // a batch, a single event
		s := startRealServer(t, filepath.Join(t.TempDir(), "charges.db"))
		file := writeEvents(t, eventLines(65)...)
		reached := make(chan struct{})
		url := proxyTo(t, &testServer{url: s.url}, func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
			forward.ServeHTTP(w, r)
			if n == killedAt {
				close(reached)
			}
			if n >= killedAt {
				panic(http.ErrAbortHandler)
			}
		})
		args := []string{"load", file, "-api-key", apiKey, "-batch", "10", "-url"}
		load := asProcess(t, append(args, url)...)
		require.NoError(t, load.Start())
		<-reached
		require.NoError(t, load.Process.Kill())
		require.Error(t, load.Wait())
		require.NotEmpty(t, eventNumbers(s.events(t)))

		out, err := asProcess(t, append(args, s.url, "-batch", "25")...).Output()
		require.NoError(t, err)
		require.Contains(t, string(out), "65 events: ")
		require.ElementsMatch(t, eventNumbers(eventLines(65)), eventNumbers(s.events(t)))
	}
}

func TestServerKilledDuringLoadAndTail(t *testing.T) {
	s := startRealServer(t, filepath.Join(t.TempDir(), "charges.db"))
	tail := asProcess(t, "tail", "-url", s.url, "-api-key", apiKey, "-interval", "10ms")
	var tailLog strings.Builder
	tail.Stderr = &tailLog
	tailed, err := tail.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, tail.Start())

	file := writeEvents(t, eventLines(300)...)
	url := proxyTo(t, &testServer{url: s.url}, func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		if n == 30 {
			s.killAndRestart(t)
		}
		forward.ServeHTTP(w, r)
		if n == 5 || n == 55 {
			s.killAndRestart(t)
			panic(http.ErrAbortHandler) // the response is lost
		}
	})
	load := asProcess(t, "load", file, "-url", url, "-api-key", apiKey, "-batch", "10")
	var loadLog strings.Builder
	load.Stderr = &loadLog
	out, err := load.Output()
	require.NoError(t, err, loadLog.String())
	require.Contains(t, loadLog.String(), "retrying in ")
	require.Contains(t, string(out), "300 events: ")
	require.ElementsMatch(t, eventNumbers(eventLines(300)), eventNumbers(s.events(t)))

	lines := bufio.NewScanner(tailed)
	var got []string
	for len(got) < 300 && lines.Scan() {
		got = append(got, lines.Text())
	}
	require.NoError(t, tail.Process.Signal(os.Interrupt))
	rest, err := io.ReadAll(tailed)
	require.NoError(t, err)
	require.Empty(t, string(rest), "an event was printed twice")
	require.NoError(t, tail.Wait())
	require.ElementsMatch(t, eventNumbers(eventLines(300)), eventNumbers(got))
	require.Regexp(t, `(?s)retrying in .*\nposition: \S+\n$`, tailLog.String())
}
