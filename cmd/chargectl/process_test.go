package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
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
	s := startServer(t)
	file := writeEvents(t, eventLines(45)...)
	reached := make(chan struct{})
	proxy := proxyTo(t, s, func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		if n == 3 {
			forward.ServeHTTP(httptest.NewRecorder(), r)
			close(reached)
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	})
	load := asProcess(t, "load", file, "-url", proxy, "-api-key", apiKey, "-batch", "10")
	require.NoError(t, load.Start())
	ended := make(chan error, 1)
	go func() { ended <- load.Wait() }()
	select {
	case <-reached:
	case err := <-ended:
		require.FailNow(t, "the load ended early", err)
	}
	require.NoError(t, load.Process.Kill())
	require.Error(t, <-ended)
	require.Len(t, s.events(t), 30)

	again := newTestProgram()
	require.Equal(t, 0, again.runLoad(t.Context(), s.url, file), again.log)
	require.Equal(t, "45 events: 15 new, 30 already stored, 0 rejected\n", again.out.String())
	require.Equal(t, eventNumbers(eventLines(45)), eventNumbers(s.events(t)))
}
